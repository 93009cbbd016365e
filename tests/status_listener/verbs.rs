//! What the command line makes of the hub: `events`, `agents`, and `ls` when an agent is gone.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::house::{House, can};
use crate::support::agent::AGENT_ID;
use crate::support::cluster::{BlackHole, Cluster, KEPT};
use crate::support::process::{CONVOCATE, Running, command, run};
use crate::support::root::Root;
use crate::support::wait::{PATIENCE, wait_until};

fn events(house: &House, arguments: &[&str]) -> Running {
    let root = &house.agent.files.root;
    let mut call = command(root, CONVOCATE);
    call.arg("events").args(arguments).arg("--root").arg(root.dir());
    Running::start(&mut call)
}

fn lines(running: &Running) -> Vec<Value> {
    let text = running.stdout.text();
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    whole.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn events_end_with_their_reader_though_nothing_happens() {
    if !can("events_end_with_their_reader_though_nothing_happens") {
        return;
    }
    let house = House::start();
    house.hub.waits_for_agent(AGENT_ID, "connected");
    let root = &house.agent.files.root;
    let mut call = command(root, CONVOCATE);
    call.args(["events", "--since", "0", "--root"]).arg(root.dir()).stdout(Stdio::piped());
    let mut reading = call.spawn().expect("it starts");
    let mut shown = BufReader::new(reading.stdout.take().expect("a pipe"));
    shown.read_line(&mut String::new()).expect("a line");
    let is_over = |reading: &mut Child| reading.try_wait().expect("it is ours").is_some();
    assert!(!is_over(&mut reading), "it waits");
    drop(shown);
    // Sooner than the next heartbeat, which would tell it, too.
    wait_until(Duration::from_secs(10), "its end", || is_over(&mut reading));
}

#[test]
fn events_are_shown_and_resumed() {
    if !can("events_are_shown_and_resumed") {
        return;
    }
    let mut house = House::start();
    house.hub.waits_for_agent(AGENT_ID, "connected");
    house.create(&["before"]);
    let all = events(&house, &["--json", "--since", "0"]);
    let people = events(&house, &["--since", "1h"]);
    wait_until(PATIENCE, "what was before", || all.stdout.text().contains("\"before\""));
    let newest = lines(&all).last().expect("there are some")["seq"].as_u64().expect("a number");
    house.create(&["after"]);
    let resumed = events(&house, &["--json", "--since", &newest.to_string()]);
    wait_until(PATIENCE, "what came after", || resumed.stdout.text().contains("\"after\""));
    assert!(!resumed.stdout.text().contains("\"before\""));
    house.hub.kill();
    house.hub.start_again(&house.agent.files.root);
    house.create(&["later"]);
    for running in [&all, &resumed, &people] {
        wait_until(PATIENCE, "what came later", || running.stdout.text().contains("\"later\""));
    }
    let seqs: Vec<_> = lines(&all).iter().map(|line| line["seq"].as_u64()).collect();
    assert!(seqs.is_sorted(), "{seqs:?}");
    let created = || {
        let all = lines(&all).into_iter();
        all.filter(|line| line["event"]["type"] == "container.created").count()
    };
    wait_until(PATIENCE, "the last line whole", || created() >= 3);
    assert_eq!(created(), 3, "each once, over the hub's restart");
    assert!(people.stdout.text().contains("  container.created "), "{}", people.stdout.text());
}

/// A hub that tells a new event between its snapshot and what it is asked for.
#[test]
fn what_is_told_while_earlier_events_are_asked_for_loses_none_of_them() {
    let root = Root::new();
    let socket = root.paths().status_socket();
    std::fs::create_dir_all(socket.parent().expect("it has one")).expect("the root is ours");
    let hub = UnixListener::bind(&socket).expect("nobody else is there");
    let mut call = command(&root, CONVOCATE);
    call.args(["events", "--json", "--since", "0", "--root"]).arg(root.dir());
    let reader = Running::start(&mut call);
    let (mut stream, _) = hub.accept().expect("it dials");
    let event = |seq: u64| {
        let event = serde_json::json!({
            "type": "x", "agent_id": AGENT_ID, "timestamp": "2026-01-02T03:04:05Z",
        });
        serde_json::json!({ "seq": seq, "event": event }).to_string() + "\n"
    };
    let mut expected = Vec::new();
    let mut asked = BufReader::new(stream.try_clone().expect("a socket"));
    // At first, and when it was too slow.
    for (newest, earlier) in [(5, 1..=6), (9, 7..=10)] {
        let snapshot = serde_json::json!({ "snapshot": { "seq": newest, "agents": [] } });
        write!(stream, "{snapshot}\n{}", event(newest + 1)).expect("it reads");
        let mut request = String::new();
        asked.read_line(&mut request).expect("it asks");
        for seq in earlier {
            write!(stream, "{}", event(seq)).expect("it reads");
            expected.push(Some(seq));
        }
    }
    wait_until(PATIENCE, "the last event", || lines(&reader).len() >= expected.len());
    let seqs: Vec<_> = lines(&reader).iter().map(|line| line["seq"].as_u64()).collect();
    assert_eq!(seqs, expected);
}

#[test]
fn without_a_hub_one_sentence_says_how_to_start_it() {
    if !can("without_a_hub_one_sentence_says_how_to_start_it") {
        return;
    }
    let mut house = House::start();
    house.hub.kill();
    let ended = house.agent.client(&["events"]);
    assert_eq!(ended.code(), 1);
    assert!(ended.err().contains("no status hub runs at"), "{}", ended.err());
    assert!(ended.err().contains("convocate status-serve --root"), "{}", ended.err());
    let bad = house.agent.client(&["events", "--since", "yesterday"]);
    assert_eq!((bad.code(), bad.err().lines().count()), (2, 1), "{}", bad.err());
}

#[test]
fn the_last_news_of_a_dead_agent_are_shown() {
    if !can("the_last_news_of_a_dead_agent_are_shown") {
        return;
    }
    let house = House::start();
    house.hub.waits_for_agent(AGENT_ID, "connected");
    let id = house.create(&["one"]);
    wait_until(PATIENCE, "the hub to know", || {
        house.hub.agent(AGENT_ID)["sessions"][0]["uuid"] == id
    });
    let agents = house.agent.client(&["agents"]).expect_done().out();
    assert!(agents.contains(" connected "), "{agents}");
    house.agent.process().signal(Signal::KILL);
    house.hub.waits_for_agent(AGENT_ID, "lost");
    // A host that says nothing at all: a port that is bound, with its queue full.
    let hole = BlackHole::new();
    let entry = house.agent.files.entry();
    house.agent.files.root.write(&entry.host(), &format!("{}\n", hole.address()), 0o644);
    let listed = house.agent.client(&["ls"]);
    assert!(listed.out().lines().any(|line| line.starts_with('?') && line.contains("one")));
    assert!(listed.err().contains("last news"), "{}", listed.err());
    let json: Value =
        serde_json::from_str(&house.agent.client(&["agents", "--json"]).out()).expect("JSON");
    assert_eq!(json["agents"][0]["events"]["state"], "lost", "{json}");
}

#[test]
fn one_dead_agent_among_fifty_delays_nothing() {
    if !can("one_dead_agent_among_fifty_delays_nothing") {
        return;
    }
    let cluster = Cluster::start(49);
    cluster.add_a_dead_one();
    let root = &cluster.files.root;
    let mut call = command(root, CONVOCATE);
    let start = Instant::now();
    let listed = run(call.args(["ls", "--root"]).arg(root.dir()), b"", PATIENCE).expect_done();
    let took = start.elapsed();
    assert!(listed.out().lines().any(|line| line.starts_with('?') && line.contains(KEPT)));
    assert!(listed.err().contains("last news"), "{}", listed.err());
    assert_eq!(listed.err().lines().count(), 1, "the others have answered: {}", listed.err());
    // How long exactly is for `scripts/bench status`; waiting for the dead one takes ten seconds.
    assert!(took < Duration::from_secs(5), "{took:?}");
}
