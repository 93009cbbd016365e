//! An agent that numbers nothing, and a listener that acknowledges nothing.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use convocate::base::endpoint::Endpoint;
use convocate::base::time::Mono;
use convocate::rpc::STATUS_SUBSYSTEM;
use convocate::ssh::keys::KeyPair;
use convocate::ssh::{Conn, Event, ServerConfig, Tuning};
use convocate::status::peer::SUBSYSTEMS;
use serde_json::{Value, json};

use crate::house::{Shell, can};
use crate::support::agent::{AGENT_ID, Agent, AgentFiles};
use crate::support::wait::PATIENCE;

#[test]
fn an_agent_without_numbers_is_heard() {
    if !can("an_agent_without_numbers_is_heard") {
        return;
    }
    let house = Shell::start();
    let (mut feed, _) = house.hub.listen();
    let session = json!({
        "uuid": "01234567-89ab-4def-8123-456789abcdef", "name": "old", "port": 0,
        "created_at": "2026-01-02T03:04:05Z", "last_accessed": "2026-01-02T03:04:05Z",
        "protocol": "tcp", "dns_name": "", "running": false, "attached": false,
    });
    let event = |kind: &str, data: &Value| {
        let event = json!({
            "type": kind, "agent_id": AGENT_ID, "timestamp": "2026-01-02T03:04:05Z", "data": data,
            "session_id": "01234567-89ab-4def-8123-456789abcdef",
        });
        format!("{event}\n")
    };
    let lines = event("container.created", &session) + &event("container.deleted", &Value::Null);
    house.ssh().subsystem(STATUS_SUBSYSTEM, lines.as_bytes());
    assert_eq!(feed.until("container.created")["data"]["name"], "old");
    assert!(feed.until("container.deleted").get("seq").is_none());
}

/// Takes one connection, opens the status channel, says nothing, and gives the first lines of what
/// it is sent.
fn mute_listener(listener: &TcpListener, key: KeyPair, lines: usize) -> Vec<Value> {
    let (mut stream, _) = listener.accept().expect("the agent dials");
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket has a timeout");
    let config = ServerConfig { host_key: key, subsystems: SUBSYSTEMS, tuning: Tuning::default() };
    let start = Instant::now();
    let now = || Mono::from_nanos(u64::try_from(start.elapsed().as_nanos()).expect("a short test"));
    let mut conn = Conn::server(Arc::new(config), [7; 32], now());
    let mut heard = Vec::new();
    loop {
        while let Some(event) = conn.poll_event() {
            match event {
                Event::KeyOffered { .. } => conn.authorize(true),
                Event::Readable { channel } => {
                    heard.extend_from_slice(conn.received(channel));
                    let len = conn.received(channel).len();
                    conn.consume(channel, len);
                }
                _ => {}
            }
        }
        let told: Vec<_> = heard.split_inclusive(|&byte| byte == b'\n').collect();
        if told.len() >= lines && told[lines - 1].ends_with(b"\n") {
            return told.iter().map(|line| serde_json::from_slice(line).expect("JSON")).collect();
        }
        assert!(start.elapsed() < PATIENCE, "heard {:?}", String::from_utf8_lossy(&heard));
        let output = conn.output().to_vec();
        stream.write_all(&output).expect("the agent reads");
        conn.output_sent(output.len());
        let space = conn.input_space();
        if let Ok(count @ 1..) = stream.read(space) {
            conn.input(now(), count);
        }
        conn.tick(now());
    }
}

#[test]
fn a_listener_that_never_says_hello_gets_all_events() {
    if !can("a_listener_that_never_says_hello_gets_all_events") {
        return;
    }
    let files = AgentFiles::write();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    files.root.write(&files.root.paths().agent_shell_host(), &format!("{address}\n"), 0o644);
    let key = std::fs::read(files.status.path()).expect("the key");
    let key = KeyPair::parse_openssh(&key).expect("a key");
    let hears = std::thread::spawn(move || mute_listener(&listener, key, 3));
    let agent = Agent::start_with(files, &["--runtime", "host"]);
    agent.client(&["new", "one", "--command", "sh"]).expect_done();
    agent.client(&["rm", "one"]).expect_done();
    let heard = hears.join().expect("it heard all");
    let kinds: Vec<_> = heard.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds[..3], ["agent.started", "container.created", "container.deleted"]);
}
