//! `convocate-agent install --request` with a released Claude CLI and a login, below a root of its
//! own: fetched and compared, and nothing of the login in what is reported.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[path = "support/mod.rs"]
mod support;

use support::process::CONVOCATE_AGENT;
use support::root::Root;
use support::wait::{PATIENCE, wait_for};
use support::{Need, has};

const PROGRAM: &[u8] = b"#!/bin/sh\necho released\n";
const TOKEN: &str = "sk-ant-oat01-the-token-of-this-test-0123456789";

/// Serves the program to whoever asks. The thread ends with the test's process.
fn publisher() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/2.1.3/linux-x64/claude", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
            let _head: Vec<_> =
                lines.map_while(Result::ok).take_while(|it| !it.is_empty()).collect();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", PROGRAM.len());
            let head = format!("{head}Connection: close\r\n\r\n");
            let _heard = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(PROGRAM));
        }
    });
    url
}

/// Makes a request, whose input stays open until the program ends: its report, line by line.
fn install(root: &Root, request: &Value) -> String {
    let mut call = Command::new(CONVOCATE_AGENT);
    call.args(["install", "--request", "--root"]).arg(root.dir());
    let mut child = call.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("a pipe was asked for");
    input.write_all(format!("{request}\n").as_bytes()).expect("it listens");
    wait_for(PATIENCE, "the end", || child.try_wait().expect("it is ours"));
    drop(input);
    let output = child.wait_with_output().expect("it has ended");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn step(report: &str, name: &str) -> Value {
    let lines = report.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = lines.into_iter().find(|it| it["line"] == "step" && it["step"] == name);
    found.expect("the step is reported")
}

#[test]
fn a_release_is_fetched_compared_and_kept() {
    let needs = [Need::Program("curl"), Need::Program("sha256sum")];
    if !has("a_release_is_fetched_compared_and_kept", &needs) {
        return;
    }
    let (root, url) = (Root::new(), publisher());
    let release = |version: &str, bytes: &[u8]| {
        let sha256: String = Sha256::digest(bytes).iter().map(|it| format!("{it:02x}")).collect();
        let release = json!({ "version": version, "url": url, "sha256": sha256 });
        json!({ "check": false, "claude_login": TOKEN, "claude_release": release })
    };
    let program = root.dir().join("usr/local/bin/claude");
    let first = install(&root, &release("2.1.3", PROGRAM));
    assert_eq!(step(&first, "claude 2.1.3")["result"], "changed", "{first}");
    assert_eq!(fs::read(&program).expect("it is there"), PROGRAM);
    let mode = fs::metadata(&program).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    let again = install(&root, &release("2.1.3", PROGRAM));
    assert!(again.contains(r#""changed":0"#), "{again}");
    let wrong = install(&root, &release("2.1.4", b"another"));
    let failed = step(&wrong, "claude 2.1.4");
    assert_eq!(failed["result"], "failed", "{failed}");
    assert!(
        failed["error"].as_str().is_some_and(|it| it.ends_with("it was thrown away")),
        "{failed}"
    );
    assert_eq!(fs::read(&program).expect("it stays"), PROGRAM);

    assert_eq!(step(&first, "login for claude (OAuth token)")["result"], "changed");
    for report in [&first, &again, &wrong] {
        assert!(!report.contains(TOKEN) && !report.contains("the-token"), "{report}");
    }
    let login = root.dir().join("etc/convocate-agent/claude-token");
    assert_eq!(fs::read_to_string(&login).expect("it is there"), format!("{TOKEN}\n"));
    assert_eq!(fs::metadata(&login).expect("it is there").permissions().mode() & 0o7777, 0o600);
    let refused = install(&root, &json!({ "check": true, "claude_login": "hush-hush" }));
    assert!(!refused.contains("hush"), "{refused}");
}
