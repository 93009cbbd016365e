//! What a formatter and a linter do not see: shapes that the project keeps.

#[path = "support/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::process::Command;

use source::{Source, files_below, is_word, read_bytes, tokens};

/// Lines of one file: a file is one idea.
const FILE_LINES_MAX: usize = 600;
/// Characters of one line.
const LINE_CHARS_MAX: usize = 100;
/// File names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

/// Marks of unfinished work, spelled so that this file is not one of its own findings.
const MARKS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// Where the project is checked out on one machine says nothing on another.
const MACHINE_PATHS: &[&str] = &[concat!("/", "work/"), concat!("/tmp/", "wt/")];

/// Licences that a static binary may carry without more than their text.
const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unlicense",
    "0BSD",
    "Zlib",
    "Unicode-3.0",
    "Apache-2.0 WITH LLVM-exception",
];

fn sources() -> Vec<Source> {
    Source::all_below(&["src", "tests"])
}

/// Text files that people read and write.
fn texts() -> Vec<(String, String)> {
    let mut paths = files_below(&["src", "tests", "scripts", ".ci"]);
    paths.extend(
        ["README.md", "Cargo.toml", "Dockerfile.build", "vendor/README.md"].map(String::from),
    );
    // Neither what a fuzzer has written nor what is not UTF-8 is anybody's text.
    paths.retain(|path| !path.starts_with("tests/fuzz/corpora/"));
    let text = |path: String| Some((path.clone(), String::from_utf8(read_bytes(&path)).ok()?));
    paths.into_iter().filter_map(text).collect()
}

/// What is read as running text, in a table, as a picture of a wide terminal, or as it is sent.
fn is_prose(path: &str) -> bool {
    let is_sent = path == "tests/wire_lines.txt";
    let is_wide = is_sent || path.starts_with("tests/tui/screens/");
    is_wide || path.ends_with(".md") || path.ends_with(".toml")
}

fn assert_none(findings: Vec<String>) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn lines_fit() {
    let mut findings = Vec::new();
    for (path, text) in texts() {
        for (index, line) in text.lines().enumerate() {
            if !is_prose(&path) && line.chars().count() > LINE_CHARS_MAX {
                findings.push(format!("{path}:{}: over {LINE_CHARS_MAX} characters", index + 1));
            }
            if line.ends_with([' ', '\t']) {
                findings.push(format!("{path}:{}: ends with a blank", index + 1));
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            findings.push(format!("{path}: no newline at the end"));
        }
    }
    assert_none(findings);
}

#[test]
fn files_are_one_idea() {
    let long = sources().into_iter().filter(|source| source.text.lines().count() > FILE_LINES_MAX);
    assert_none(
        long.map(|source| format!("{}: over {FILE_LINES_MAX} lines", source.path)).collect(),
    );
}

#[test]
fn files_say_what_they_are() {
    let silent = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    assert_none(silent.map(|source| format!("{}: no module documentation", source.path)).collect());
}

#[test]
fn names_say_something() {
    let mut findings = Vec::new();
    for source in sources() {
        let names: Vec<&str> = source.path.trim_end_matches(".rs").split('/').collect();
        if names.iter().any(|name| EMPTY_NAMES.contains(name)) {
            findings.push(format!("{}: the name says nothing", source.path));
        }
        for pair in tokens(&source.code).windows(2) {
            let [word, name] = [pair[0].text, pair[1].text];
            let line = pair[1].line;
            if word == "fn" && name.starts_with("get_") && name != "get_mut" {
                findings.push(format!("{}:{line}: {name}: leave out get_", source.path));
            }
            if ["struct", "enum", "trait"].contains(&word) && name.ends_with("Manager") {
                findings.push(format!("{}:{line}: {name}: what does it do?", source.path));
            }
        }
    }
    assert_none(findings);
}

#[test]
fn nothing_is_left_for_later() {
    let mut findings = Vec::new();
    for (path, text) in texts() {
        for (index, line) in text.lines().enumerate() {
            for mark in MARKS.iter().filter(|mark| has_word(line, mark)) {
                findings.push(format!("{path}:{}: {mark}", index + 1));
            }
            for place in MACHINE_PATHS.iter().filter(|place| line.contains(**place)) {
                findings.push(format!("{path}:{}: {place}", index + 1));
            }
        }
    }
    for source in sources() {
        for pair in tokens(&source.code).windows(3) {
            if pair[0].text == "[" && pair[1].text == "ignore" {
                findings.push(format!("{}:{}: a test is off", source.path, pair[1].line));
            }
        }
    }
    assert_none(findings);
}

/// Waiting is done in one place, until a condition holds.
#[test]
fn tests_do_not_sleep() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.path != "tests/support/wait.rs") {
        for token in tokens(&source.code).iter().filter(|token| token.text == "sleep") {
            findings.push(format!("{}:{}: sleep", source.path, token.line));
        }
    }
    assert_none(findings);
}

/// Every program and the library are in one crate; what it rests on is ours to give away.
#[test]
fn licences_allow_a_static_binary() {
    let call = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-musl"])
        .current_dir(source::top())
        .output()
        .expect("cargo runs this test");
    assert!(call.status.success(), "{}", String::from_utf8_lossy(&call.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&call.stdout).expect("cargo's JSON");
    let packages = metadata["packages"].as_array().expect("packages is a list");
    assert!(packages.len() > 10, "only {} packages", packages.len());
    let mut findings = BTreeSet::new();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        if !is_allowed(licence) {
            findings.insert(format!("{}: licence {licence}", package["name"]));
        }
    }
    assert_none(findings.into_iter().collect());
}

/// Reads `A OR B`, `A AND B` and the old `A/B`; of alternatives one must be allowed, of parts all.
fn is_allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[test]
fn the_rules_can_fail() {
    assert!(has_word(concat!("// TO", "DO: x"), MARKS[0]));
    assert!(!has_word("mktemp -d /tmp/a.XXXXXX", MARKS[2]));
    assert!(is_allowed("MIT OR Apache-2.0") && is_allowed("MIT/Apache-2.0"));
    assert!(is_allowed("(MIT OR GPL-3.0) AND Unicode-3.0"));
    assert!(!is_allowed("GPL-3.0") && !is_allowed("MIT AND GPL-3.0") && !is_allowed("none"));
}
