//! Holds the layers: who may import whom, who may touch the world, who may be `unsafe`; and that
//! nothing imports in a circle.
//!
//! `src/lib.rs` draws the picture; [`LAYERS`] is what holds. The test reads every path that a file
//! names (`crate::…`, `super::…`, `std::…`, in `use` or in code) and judges it by the module that
//! the file belongs to. A new directory of `src/` needs a row here before it compiles green.

#[path = "support/source.rs"]
#[expect(dead_code, reason = "this binary needs only a part of it")]
mod source;

#[path = "layers/circles.rs"]
mod circles;
#[path = "layers/sees.rs"]
mod sees;

use std::collections::BTreeSet;
use std::fmt;

use circles::Imports;
use source::{Source, Token, tokens};

/// What one module of the crate may import. A row is a file or a directory of `src/`.
struct Layer {
    name: &'static str,
    imports: &'static [&'static str],
    joins: &'static [&'static str],
}

const fn layer(name: &'static str, imports: &'static [&'static str]) -> Layer {
    Layer { name, imports, joins: &[] }
}

/// Above the drivers, which it joins.
const fn upper_layer(name: &'static str) -> Layer {
    Layer { name, imports: DRIVER_IMPORTS, joins: &[DRIVER, WORKFLOW] }
}

/// Every module may import itself, its row, and nothing else.
const LAYERS: &[Layer] = &[
    // Values.
    layer("limits", &[]),
    layer("base", &["limits"]),
    layer("paths", &["limits", "base"]),
    layer("exit", &[]),
    layer("log", &["limits", "base"]),
    // Protocols, which never import each other.
    layer("ssh", PROTOCOL),
    layer("x509", PROTOCOL),
    layer("docker", PROTOCOL),
    layer("rpc", PROTOCOL),
    layer("terminal", &["limits", "base"]),
    // Cores. One that rests on another says so here; never both ways.
    layer("agent", CORE),
    layer("fleet", CORE),
    layer("status", CORE),
    layer("tui", TUI),
    layer("provision", CORE),
    // The world, which rests on values alone.
    layer("io", &["limits", "base"]),
    // What two drivers have in common: SSH on the world's sockets, below the cores.
    layer("daemon", &["limits", "paths", "base", "log", "ssh", "io"]),
    // `fleet/driver.rs`, which two drivers use.
    layer("fleet_driver", &["limits", "base", "fleet", "io"]),
    // What joins a core to the world, and what joins those.
    layer(DRIVER, DRIVER_IMPORTS),
    upper_layer(WORKFLOW),
    upper_layer("cli"),
    layer("bin", &["cli", "exit"]),
    layer("lib", &[]),
];

const PROTOCOL: &[&str] = &["limits", "paths", "base"];
const CORE: &[&str] = &["limits", "paths", "base", "ssh", "x509", "docker", "rpc", "terminal"];
const TUI: &[&str] =
    &["limits", "paths", "base", "ssh", "x509", "docker", "rpc", "terminal", "fleet", "status"];
const DRIVER_IMPORTS: &[&str] = &[
    "limits",
    "paths",
    "base",
    "exit",
    "log",
    "ssh",
    "x509",
    "docker",
    "rpc",
    "terminal",
    "agent",
    "fleet",
    "status",
    "tui",
    "provision",
    "io",
    "daemon",
    "fleet_driver",
];
/// The layer of `serve`, `run` and `remote`, files or directories right below a core's.
const DRIVER: &str = "driver";
/// The layer of `provision/workflow`, which joins drivers of several cores.
const WORKFLOW: &str = "workflow";
const DRIVERS: &[&str] = &["serve", "run", "remote"];
const CORES: &[&str] = &["agent", "fleet", "status", "tui", "provision"];

/// Who may use the machine: files, sockets, processes, threads, clocks, streams.
const WORLDLY: &[&str] = &["io", "daemon", "fleet_driver", DRIVER, WORKFLOW, "cli"];

/// Names of `std` that reach the machine, and what of them is a mere value.
const MACHINE: &[(&str, &[&str])] = &[
    ("std::env", &[]),
    ("std::fs", &[]),
    ("std::net", &["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6"]),
    ("std::os", &["unix::ffi"]),
    ("std::process", &["ExitCode", "Termination"]),
    ("std::thread", &[]),
    ("std::time", &["Duration"]),
    ("std::io::stdin", &[]),
    ("std::io::stdout", &[]),
    ("std::io::stderr", &[]),
    ("io::stdin", &[]),
    ("io::stdout", &[]),
    ("io::stderr", &[]),
];

/// Crates that reach the machine; `io` wraps them for everyone.
const MACHINE_CRATES: &[&str] = &["mio", "rustix", "libc", "getrandom"];

/// Macros that write to a standard stream.
const PRINTERS: &[&str] = &["print", "println", "eprint", "eprintln"];

#[derive(Debug, PartialEq, Eq)]
struct Violation {
    path: String,
    line: usize,
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.text)
    }
}

#[test]
fn imports_point_down() {
    let sources = Source::all_below(&["src"]);
    assert!(sources.len() > 30, "only {} files were found", sources.len());
    let violations: Vec<String> =
        sources.iter().flat_map(violations).map(|violation| violation.to_string()).collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn files_do_not_import_in_circles() {
    let circles = circles::of_files(&imports(&Source::all_below(&["src"])));
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

#[test]
fn folders_do_not_import_in_circles() {
    let circles = circles::of_folders(&imports(&Source::all_below(&["src"])));
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

/// Which file names something of which: their module paths. What only unit tests import does not
/// count. A name that no file has belongs to the closest module above it.
fn imports(sources: &[Source]) -> Imports {
    let modules: BTreeSet<Vec<String>> =
        sources.iter().map(|source| Module::of(&source.path).names).collect();
    let holder =
        |path: &[String]| (1..=path.len()).rev().find_map(|len| modules.get(&path[..len]).cloned());
    let mut imports = Imports::new();
    for source in sources {
        let module = Module::of(&source.path);
        let named = paths(&tokens(&source.code), &module).into_iter();
        let names = named.filter(|named| !named.in_tests && named.path[0] == "crate");
        let targets = names.filter_map(|named| holder(&named.path[1..]));
        let targets = targets.filter(|target| *target != module.names).collect();
        imports.insert(module.names.clone(), targets);
    }
    imports
}

/// All that one file does and may not.
fn violations(source: &Source) -> Vec<Violation> {
    let module = Module::of(&source.path);
    let report = |line: usize, text: String| Violation { path: source.path.clone(), line, text };
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == module.layer()) else {
        return vec![report(1, format!("{} has no row in tests/layers.rs", module.layer()))];
    };
    let mut found = Vec::new();
    for named in paths(&tokens(&source.code), &module) {
        if let Some(text) = import_fault(&module, layer, &named.path) {
            found.push(report(named.line, text));
        } else if let Some(text) = machine_fault(layer, &named) {
            found.push(report(named.line, text));
        }
    }
    for (line, text) in word_faults(layer, &module, &tokens(&source.code)) {
        found.push(report(line, text));
    }
    found
}

/// Where a file stands: its path as module names, without `mod`.
struct Module {
    names: Vec<String>,
}

impl Module {
    fn of(path: &str) -> Module {
        let path = path.strip_prefix("src/").unwrap_or(path);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        let path = path.strip_suffix("/mod").unwrap_or(path);
        Module { names: path.split('/').map(str::to_string).collect() }
    }

    /// Whether it is the tests of the module above it, in a file of their own.
    fn is_tests(&self) -> bool {
        self.names.iter().any(|name| name == "tests")
    }

    fn layer(&self) -> &str {
        layer_of(&self.names)
    }
}

fn layer_of(names: &[String]) -> &str {
    match names {
        [fleet, driver, ..] if fleet == "fleet" && driver == "driver" => "fleet_driver",
        [core, workflow, ..] if core == "provision" && workflow == WORKFLOW => WORKFLOW,
        [core, driver, ..]
            if CORES.contains(&core.as_str()) && DRIVERS.contains(&driver.as_str()) =>
        {
            DRIVER
        }
        [first, ..] => first,
        [] => "lib",
    }
}

/// A path that a file names, made absolute where it is the crate's.
#[derive(Debug)]
struct Named {
    path: Vec<String>,
    line: usize,
    in_tests: bool,
}

/// Every path that starts at `crate`, `convocate`, `super` or another crate's name.
fn paths(tokens: &[Token<'_>], module: &Module) -> Vec<Named> {
    let mut found = Vec::new();
    let mut nesting = Nesting::default();
    for (at, token) in tokens.iter().enumerate() {
        nesting.step(tokens, at);
        let starts = tokens.get(at + 1).is_some_and(|next| next.text == "::")
            || (token.text == "crate" && tokens.get(at + 1).is_some_and(|next| next.text == "as"));
        let follows = at > 0 && tokens[at - 1].text == "::" && !is_root(tokens, at - 1);
        if !starts || follows || !token.text.starts_with(source::is_word) {
            continue;
        }
        let in_tests = nesting.in_tests() || module.is_tests();
        for (path, line) in expand(&tokens[at..]) {
            if let Some(path) = absolute(path, module, &nesting) {
                found.push(Named { path, line, in_tests });
            }
        }
    }
    found
}

/// Whether the `::` at `at` opens a path, as in `::std::fs`.
fn is_root(tokens: &[Token<'_>], at: usize) -> bool {
    at == 0
        || !(tokens[at - 1].text.starts_with(source::is_word) || tokens[at - 1].text == ">")
        || tokens[at - 1].text == "use"
}

/// The inline modules that are open.
#[derive(Default)]
struct Nesting {
    depth: usize,
    modules: Vec<(usize, String)>,
}

impl Nesting {
    fn step(&mut self, tokens: &[Token<'_>], at: usize) {
        match tokens[at].text {
            "{" => {
                self.depth += 1;
                if at >= 2 && tokens[at - 2].text == "mod" {
                    self.modules.push((self.depth, tokens[at - 1].text.to_string()));
                }
            }
            "}" => {
                self.modules.retain(|(depth, _)| *depth < self.depth);
                self.depth = self.depth.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn in_tests(&self) -> bool {
        self.modules.iter().any(|(_, name)| name == "tests")
    }
}

/// The paths of a `use` tree or of one expression, with the line of each end.
fn expand(tokens: &[Token<'_>]) -> Vec<(Vec<String>, usize)> {
    let mut found = Vec::new();
    let mut path: Vec<String> = Vec::new();
    // How long the path was before each open brace, so that a comma goes back there.
    let mut open: Vec<usize> = Vec::new();
    let mut expects_name = true;
    let mut last_line = tokens.first().map_or(0, |token| token.line);
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1).map_or("", |next| next.text);
        match token.text {
            "::" => expects_name = true,
            "{" if expects_name => open.push(path.len()),
            "}" | "," if !open.is_empty() => {
                let base = *open.last().unwrap_or(&0);
                if path.len() > base {
                    found.push((path.clone(), last_line));
                    path.truncate(base);
                }
                if token.text == "}" {
                    open.pop();
                    path.truncate(*open.last().unwrap_or(&0));
                }
                expects_name = token.text == ",";
                if open.is_empty() {
                    return found;
                }
            }
            "as" if !open.is_empty() => expects_name = false,
            "self" if !path.is_empty() => {
                found.push((path.clone(), token.line));
                expects_name = false;
            }
            name if expects_name && (name == "*" || name.starts_with(source::is_word)) => {
                path.push(name.to_string());
                last_line = token.line;
                expects_name = false;
            }
            _ if open.is_empty() => break,
            _ => {}
        }
        if open.is_empty() && !expects_name && next != "::" {
            break;
        }
    }
    if !path.is_empty() {
        found.push((path, last_line));
    }
    found
}

/// Makes `crate::x`, `convocate::x` and `super::x` a path that starts with `crate`. `None` for what
/// is below the module itself.
fn absolute(path: Vec<String>, module: &Module, nesting: &Nesting) -> Option<Vec<String>> {
    match path[0].as_str() {
        "self" | "Self" => None,
        "crate" | "convocate" => {
            Some(["crate".to_string()].into_iter().chain(path.into_iter().skip(1)).collect())
        }
        "super" => {
            let ups = path.iter().take_while(|name| *name == "super").count();
            let inner = nesting.modules.iter().map(|(_, name)| name.clone());
            let mut here: Vec<String> = module.names.iter().cloned().chain(inner).collect();
            here.truncate(here.len().saturating_sub(ups));
            let behind = path.into_iter().skip(ups);
            Some(["crate".to_string()].into_iter().chain(here).chain(behind).collect())
        }
        _ => Some(path),
    }
}

/// Whether a path into the crate goes where this layer may not.
fn import_fault(module: &Module, layer: &Layer, path: &[String]) -> Option<String> {
    let [root, names @ ..] = path else { return None };
    if root != "crate" {
        return None;
    }
    let target = match names {
        [] => "lib",
        [first, ..] if first == "*" || first == "as" => "lib",
        _ => layer_of(names),
    };
    let own = target == module.layer() && (target != DRIVER || names[0] == module.names[0]);
    if own || layer.imports.contains(&target) || layer.joins.contains(&target) {
        return None;
    }
    Some(format!("{} may not import {} ({})", layer.name, target, path.join("::")))
}

/// Whether a path reaches the machine from where it may not. Unit tests may.
fn machine_fault(layer: &Layer, named: &Named) -> Option<String> {
    if named.in_tests {
        return None;
    }
    let path = named.path.join("::");
    if MACHINE_CRATES.contains(&named.path[0].as_str()) && layer.name != "io" {
        return Some(format!("{path} belongs to io"));
    }
    if WORLDLY.contains(&layer.name) {
        return None;
    }
    let (prefix, values) = MACHINE.iter().find(|(prefix, _)| is_below(&path, prefix))?;
    let behind = path[prefix.len()..].trim_start_matches("::");
    let is_value = values.iter().any(|value| is_below(behind, value));
    (!is_value).then(|| format!("{path} reaches the machine; only io, drivers and cli may"))
}

/// Whether `path` is `prefix` or goes on behind it.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Words that are bound to a place: `unsafe`, and what prints.
fn word_faults(layer: &Layer, module: &Module, tokens: &[Token<'_>]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut nesting = Nesting::default();
    for (at, token) in tokens.iter().enumerate() {
        nesting.step(tokens, at);
        let in_tests = nesting.in_tests() || module.is_tests();
        let is_macro = tokens.get(at + 1).is_some_and(|next| next.text == "!");
        if token.text == "unsafe" && layer.name != "io" {
            found.push((token.line, "unsafe belongs to io".to_string()));
        } else if is_macro && PRINTERS.contains(&token.text) && !in_tests {
            found.push((token.line, format!("{}! writes past log and cli", token.text)));
        }
    }
    found
}
