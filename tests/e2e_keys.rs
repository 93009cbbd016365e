//! Keys of sessions of the `host` runtime: the stock `ssh-add` and `ssh` on the session's socket, a
//! real `sshd` behind it, and a session that asks without end.

#![expect(clippy::print_stdout, reason = "what an attack costs is a measurement")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::Need;
use support::agent::Agent;
use support::git_host::GitHost;
use support::process::{Finished, command, run};
use support::wait::{PATIENCE, pause, poll, wait_for};
use support::wire::Wire;

/// `SSH_AGENTC_REQUEST_IDENTITIES` with its length.
const LIST: [u8; 5] = [0, 0, 0, 1, 11];

fn can(test: &str) -> bool {
    let needs = ["ssh-keygen", "ssh-add", "ssh", "sshd", "git", "tmux"].map(Need::Program);
    support::has(test, &needs)
}

/// A session that runs, its id, and its public key.
fn session(agent: &Agent, more: &Value) -> (String, String) {
    let mut params = json!({ "name": "one", "command": "env >environment; exec cat" });
    for (name, value) in more.as_object().into_iter().flatten() {
        params[name] = value.clone();
    }
    let mut wire = Wire::to(agent);
    let made = wire.call("create", &params).expect("it is created");
    let id = made["uuid"].as_str().expect("an id").to_owned();
    wire.call("restart", &json!({ "id": id })).expect("it starts");
    (id, made["ssh_key"].as_str().expect("a key").to_owned())
}

/// A variable of the session's environment, as its command found it.
fn variable(agent: &Agent, id: &str, name: &str) -> Option<String> {
    let file = agent.files.root.paths().sessions().join(id).join("environment");
    let read = || fs::read_to_string(&file).ok().filter(|text| text.contains("COLORTERM"));
    let text = wait_for(PATIENCE, "the environment", read);
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.map(str::to_owned)
}

fn with_socket(agent: &Agent, socket: &str, script: &str) -> Finished {
    let mut call = command(&agent.files.root, "sh");
    call.args(["-c", script]).env("SSH_AUTH_SOCK", socket).env("HOME", agent.files.root.dir());
    run(&mut call, b"", PATIENCE)
}

#[test]
fn a_session_logs_in_with_its_key_through_its_socket() {
    if !can("a_session_logs_in_with_its_key_through_its_socket") {
        return;
    }
    let mut agent = Agent::start();
    let (id, key) = session(&agent, &json!({}));
    let socket = variable(&agent, &id, "SSH_AUTH_SOCK").expect("it has a socket");
    let paths = agent.files.root.paths();
    let file = paths.agent_state().join("sessions").join(format!("{id}.key"));
    assert_eq!(fs::metadata(&file).expect("a key").permissions().mode() & 0o7777, 0o600);
    let listed = with_socket(&agent, &socket, "ssh-add -l").expect_done().out();
    assert!(listed.contains(&format!("convocate-{} (ED25519)", &id[..8])), "{listed}");
    assert_eq!(with_socket(&agent, &socket, "ssh-add -L").expect_done().out().trim(), key);

    let host = GitHost::start(&agent.files.root, IpAddr::V4(Ipv4Addr::LOCALHOST));
    let login = format!("{} echo in", host.login());
    let refused = with_socket(&agent, &socket, &login);
    assert!(refused.err().contains("Permission denied"), "{}", refused.err());
    host.admit(&[&key]);
    assert_eq!(with_socket(&agent, &socket, &login).expect_done().out(), "in\n");
    let told = |agent: &Agent| agent.log().matches("session.signed").count();
    assert_eq!(told(&agent), 1, "{}", agent.log());
    let line = r#"{"host_key":"SHA256:"#;
    assert!(agent.log().contains(line), "{}", agent.log());

    // The next agent lends the same key at the same place, whatever the last one has left there.
    agent.restart(&["--runtime", "host"]);
    let again = poll(PATIENCE, || {
        let listed = with_socket(&agent, &socket, "ssh-add -L");
        (listed.out().trim() == key).then_some(())
    });
    assert!(again.is_some(), "{}", agent.log());
    agent.client(&["kill", &id]).expect_done();
    assert!(!PathBuf::from(&socket).exists());
    agent.client(&["restart", &id]).expect_done();
    assert_eq!(with_socket(&agent, &socket, "ssh-add -L").expect_done().out().trim(), key);
    agent.client(&["rm", &id]).expect_done();
    assert!(!file.exists() && !PathBuf::from(&socket).parent().is_some_and(|dir| dir.exists()));
}

#[test]
fn none_is_none() {
    if !can("none_is_none") {
        return;
    }
    let agent = Agent::start();
    let (id, key) = session(&agent, &json!({ "ssh_key": "none" }));
    assert_eq!((key.as_str(), variable(&agent, &id, "SSH_AUTH_SOCK")), ("none", None));
    let refused = agent.client(&["new", "x", "--ssh-key", "mine"]);
    assert!(refused.err().contains("new or none"), "{}", refused.err());
}

/// How long the agent takes to answer, the slowest of some pings.
fn slowest_ping(wire: &mut Wire) -> Duration {
    let one = |_| {
        let start = Instant::now();
        wire.call("ping", &Value::Null).expect("it answers");
        start.elapsed()
    };
    (0..50).map(one).max().unwrap_or_default()
}

/// Times that the agent was put to work.
fn wake_ups(agent: &Agent) -> u64 {
    let path = format!("/proc/{}/status", agent.process().pid());
    let status = fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|line| line.trim().parse().ok()).expect("a number")
}

#[test]
fn a_session_that_asks_without_end_is_held_to_its_pace() {
    if !can("a_session_that_asks_without_end_is_held_to_its_pace") {
        return;
    }
    let agent = Agent::start();
    let (id, _) = session(&agent, &json!({}));
    let socket = variable(&agent, &id, "SSH_AUTH_SOCK").expect("it has a socket");
    let mut wire = Wire::to(&agent);
    let before = slowest_ping(&mut wire);
    let mut stream = UnixStream::connect(&socket).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a span");
    let (start, mut answers) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(3) {
        stream.write_all(&LIST).expect("it reads");
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("it answers");
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body).expect("it answers");
        assert_eq!(body[0], 12);
        answers += 1;
    }
    assert!((200..=5 * 200).contains(&answers), "{answers} answers in 3 s");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            // Dials and hangs up.
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    drop(UnixStream::connect(&socket));
                }
            });
        }
        pause(Duration::from_millis(200));
        let meanwhile = slowest_ping(&mut wire);
        println!("slowest ping: {before:?}, under attack {meanwhile:?}; {answers} answers");
        is_over.store(true, Ordering::Relaxed);
    });
    // Until the last of those that dialled has been let in.
    let mut last = UnixStream::connect(&socket).expect("it listens");
    last.set_read_timeout(Some(PATIENCE)).expect("a span");
    last.write_all(&LIST).expect("it reads");
    last.read_exact(&mut [0; 4]).expect("it answers");
    // Others with half a request do not stay, and connections that say nothing cost nothing.
    let mut half = UnixStream::connect(&socket).expect("it listens");
    half.write_all(&LIST[..3]).expect("it reads");
    let _quiet = UnixStream::connect(&socket).expect("it listens");
    pause(Duration::from_secs(2));
    let first = wake_ups(&agent);
    pause(Duration::from_secs(3));
    let more = wake_ups(&agent) - first;
    assert!(more < 10, "{more} wake-ups in 3 s");
    half.set_read_timeout(Some(PATIENCE)).expect("a span");
    assert_eq!(half.read(&mut [0; 1]).expect("it is hung up on"), 0);
}
