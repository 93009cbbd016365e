//! The test is itself tested: each rule is broken once.

use super::{Source, circles, imports, violations};

fn faults(path: &str, text: &str) -> Vec<String> {
    violations(&Source::new(path, text)).iter().map(ToString::to_string).collect()
}

fn assert_fault(path: &str, text: &str, part: &str) {
    let faults = faults(path, text);
    assert!(faults.len() == 1 && faults[0].contains(part), "{text}: {faults:?}");
}

fn assert_clean(path: &str, text: &str) {
    assert_eq!(faults(path, text), Vec::<String>::new(), "{text}");
}

#[test]
fn an_import_upwards_and_where() {
    let text = "//! Doc.\n\nuse crate::agent::work::Work;\n";
    let found = faults("src/ssh/conn.rs", text);
    assert_eq!(found, ["src/ssh/conn.rs:3: ssh may not import agent (crate::agent::work::Work)"]);
}

#[test]
fn protocols_that_import_each_other() {
    assert_fault("src/ssh/conn.rs", "use crate::rpc::RPC_SUBSYSTEM;", "import rpc");
    assert_fault("src/docker/mod.rs", "fn f() { crate::ssh::run() }", "import ssh");
}

#[test]
fn each_end_of_a_tree() {
    let text = "use crate::{base::{time::Mono, uuid::Uuid}, limits,\n    io::{self, pty}};";
    let found = faults("src/agent/core.rs", text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|fault| fault.contains(":2: agent may not import io")));
}

#[test]
fn a_way_out_by_super() {
    assert_fault("src/ssh/kex/hybrid.rs", "use super::super::super::io;", "import io");
    assert_fault("src/ssh/conn.rs", "use super::super::rpc::field;", "import rpc");
    assert_clean("src/ssh/kex/hybrid.rs", "use super::super::names;");
    assert_clean("src/paths.rs", "mod tests { use super::*; }");
    assert_fault("src/paths.rs", "use super::*;", "import lib");
}

#[test]
fn only_drivers_join_a_core_to_io() {
    let text = "use crate::io::reactor::Reactor;";
    assert_fault("src/agent/core.rs", text, "agent may not import io");
    assert_clean("src/agent/serve.rs", text);
    assert_clean("src/agent/serve/links.rs", text);
    assert_clean("src/fleet/run.rs", text);
    assert_fault("src/agent/op/run.rs", text, "agent may not import io");
}

#[test]
fn only_cli_calls_a_driver() {
    assert_fault("src/agent/core.rs", "use crate::agent::serve::X;", "import driver");
    assert_fault("src/fleet/run.rs", "use crate::agent::serve::X;", "import driver");
    assert_fault("src/agent/core.rs", "use super::serve;", "import driver");
    assert_clean("src/agent/serve/links.rs", "use crate::agent::serve::X;");
    assert_clean("src/cli/agent.rs", "use crate::agent::serve::X;");
    assert_clean("src/provision/workflow/x.rs", "use crate::fleet::run::X;");
    assert_fault("src/provision/remote/x.rs", "use crate::provision::workflow::X;", "workflow");
    assert_fault("src/provision/workflow/x.rs", "use crate::cli::X;", "import cli");
    assert_fault("src/bin/x.rs", "fn main() { convocate::agent::serve::main() }", "driver");
    assert_clean("src/bin/x.rs", "fn main() { convocate::cli::agent::main() }");
}

#[test]
fn io_that_looks_up() {
    assert_fault("src/io/link.rs", "use crate::ssh::Conn;", "import ssh");
    assert_fault("src/io/log.rs", "use crate::log::Log;", "import log");
}

#[test]
fn the_machine_in_a_core() {
    for text in [
        "use std::fs;",
        "use std::{fmt, fs::File};",
        "use std::net::TcpStream;",
        "use std::time::{Duration, Instant};",
        "fn f() { ::std::thread::sleep(x) }",
        "fn f() { std::process::abort() }",
        "use std::io;\nfn f() { io::stdin(); }",
        "fn f() -> u64 { std::time::SystemTime::now() }",
        "use std::os::unix::net::UnixStream;",
    ] {
        assert_fault("src/agent/core.rs", text, "reaches the machine");
        assert_clean("src/agent/serve.rs", text);
    }
    assert_fault("src/agent/serve.rs", "use rustix::fs::open;", "belongs to io");
    for text in [
        "use std::net::{IpAddr, SocketAddr};",
        "use std::time::Duration;",
        "use std::{fmt, io};",
        "use std::process::ExitCode;",
        "use std::os::unix::ffi::OsStrExt;",
        "mod tests { use std::fs; }",
    ] {
        assert_clean("src/agent/core.rs", text);
    }
}

#[test]
fn unsafe_and_prints() {
    let text = "fn f() { unsafe { g() } }";
    assert_fault("src/base/buffer.rs", text, "unsafe");
    assert_clean("src/io/pty.rs", text);
    assert_clean("src/lib.rs", "#![deny(unsafe_code)]");
    assert_fault("src/agent/core.rs", "fn f() { eprintln!(\"x\") }", "eprintln!");
    assert_clean("src/agent/core.rs", "mod tests { fn f() { eprintln!(\"x\") } }");
    assert_clean("src/agent/core/tests.rs", "use std::fs; fn f() { eprintln!(\"x\") }");
}

#[test]
fn a_directory_without_a_row() {
    assert_fault("src/extra/mod.rs", "//! Doc.", "no row");
}

/// The circles of files and of folders among these, which are written as path and text.
fn circles_among(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    let imports = imports(&sources);
    (circles::of_files(&imports), circles::of_folders(&imports))
}

#[test]
fn a_circle_of_two_files_and_of_three() {
    let (files, folders) = circles_among(&[
        ("src/ssh/a.rs", "use super::b::B;"),
        ("src/ssh/b.rs", "fn f() { crate::ssh::a::g() }"),
        ("src/ssh/c.rs", "use super::a::A;"),
    ]);
    assert_eq!(files, ["ssh::a -> ssh::b -> ssh::a"]);
    assert_eq!(folders, [""; 0], "a circle of files is reported once");
    let (files, _) = circles_among(&[
        ("src/ssh/a.rs", "use super::b::B;"),
        ("src/ssh/b.rs", "use super::{a2::X, c};"),
        ("src/ssh/c.rs", "use crate::{base::hex, ssh::a::A};"),
        ("src/base/hex.rs", ""),
    ]);
    assert_eq!(files, ["ssh::a -> ssh::b -> ssh::c -> ssh::a"]);
}

#[test]
fn a_circle_through_the_file_of_a_folder() {
    let (files, folders) = circles_among(&[
        ("src/ssh/kex/mod.rs", "use crate::ssh::kex::secret::Secret;"),
        ("src/ssh/kex/secret.rs", "use super::Name;"),
    ]);
    assert_eq!(files, ["ssh::kex -> ssh::kex::secret -> ssh::kex"]);
    assert_eq!(folders, [""; 0]);
}

#[test]
fn a_circle_of_folders_without_one_of_files() {
    let two = [
        ("src/agent/op/start.rs", "use crate::agent::docker::call::Call;"),
        ("src/agent/docker/call.rs", ""),
        ("src/agent/docker/end.rs", "use crate::agent::op::stop::Stop;"),
        ("src/agent/op/stop.rs", ""),
    ];
    let (files, folders) = circles_among(&two);
    assert_eq!(files, [""; 0]);
    assert_eq!(folders, ["agent::docker -> agent::op -> agent::docker"]);
    let (files, folders) = circles_among(&[
        ("src/agent/core.rs", "use super::op::start;"),
        ("src/agent/op/start.rs", ""),
        ("src/agent/op/stop.rs", "use super::super::core::Core;"),
    ]);
    assert_eq!(files, [""; 0]);
    assert_eq!(folders, ["agent::core -> agent::op -> agent::core"]);
}

#[test]
fn no_circle_in_what_points_down_or_in_unit_tests() {
    let (files, folders) = circles_among(&[
        ("src/ssh/a.rs", "use super::b::B;\nuse super::kex::secret;"),
        ("src/ssh/b.rs", "mod tests { use super::super::a::A; }"),
        ("src/ssh/b/tests.rs", "use super::super::a::A;"),
        ("src/ssh/kex/secret.rs", "// use super::super::a::A;"),
        ("src/ssh/mod.rs", "pub use a::A;"),
    ]);
    assert_eq!((files, folders), (Vec::new(), Vec::new()));
}

#[test]
fn nothing_in_comments_and_literals() {
    for text in [
        "// use crate::agent::work;",
        "/* outer /* use crate::io; */ use crate::io; */",
        "const A: &str = \"crate::io::x \\\" unsafe\";",
        "const A: &str = r#\"crate::io::x \" unsafe\"#;",
        "const A: char = '\"'; const B: &str = \"crate::io::x\";",
        "const A: char = '\\''; const B: &str = \"crate::io::x\";",
        "fn f<'a>(x: &'a str) -> &'a str { x }",
    ] {
        assert_clean("src/ssh/conn.rs", text);
    }
    assert_fault("src/ssh/conn.rs", "/* x */ use crate::io::y; // z", "import io");
    assert_fault("src/ssh/conn.rs", "const A: &str = \"x\"; use crate::io::y;", "import io");
}
