//! Who may tell events, and the sentences for those who may not.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use convocate::rpc::STATUS_SUBSYSTEM;
use serde_json::json;

use crate::house::{House, Shell, can};
use crate::support::agent::{AGENT_ID, Agent, AgentFiles};
use crate::support::hub::Hub;
use crate::support::keys::KeyFile;
use crate::support::process::{CONVOCATE_AGENT, Running, command};
use crate::support::wait::{PATIENCE, poll, wait_until};

#[test]
fn keys_that_come_and_go_count_at_once() {
    if !can("keys_that_come_and_go_count_at_once") {
        return;
    }
    let house = House::start();
    house.hub.waits_for_agent(AGENT_ID, "connected");
    let path = house.agent.files.root.paths().status_authorized_keys();
    let keys = fs::read_to_string(&path).expect("the keys");
    fs::write(&path, "# nobody\n").expect("the root is ours");
    house.hub.waits_for_agent(AGENT_ID, "lost");
    let log = house.hub.log();
    assert!(log.contains(&format!("agent {AGENT_ID} is sent away: its key was removed")), "{log}");
    wait_until(PATIENCE, "the agent to be told", || {
        house.agent.log().contains("does not accept the key")
    });
    let log = house.agent.log();
    assert!(
        log.contains("to enrol this agent again, run there: convocate-host init-agent"),
        "{log}"
    );
    wait_until(PATIENCE, "the refusal in the log", || {
        house.hub.log().contains("refused: no agent has it in")
    });
    fs::write(&path, keys).expect("the root is ours");
    house.hub.waits_for_agent(AGENT_ID, "connected");
}

/// Its key goes first: the listener has looked at the registry for that when the entry goes.
#[test]
fn an_agent_that_left_is_forgotten_with_its_names() {
    if !can("an_agent_that_left_is_forgotten_with_its_names") {
        return;
    }
    let house = House::start();
    house.hub.waits_for_agent(AGENT_ID, "connected");
    house.create(&["web", "--dns", "web"]);
    wait_until(PATIENCE, "the name", || house.hosts().contains("web"));
    let paths = house.agent.files.root.paths();
    fs::write(paths.status_authorized_keys(), "# nobody\n").expect("the root is ours");
    house.hub.waits_for_agent(AGENT_ID, "lost");
    fs::remove_dir_all(house.agent.files.entry().dir()).expect("the root is ours");
    wait_until(PATIENCE, "the agent to be forgotten", || {
        house.hub.log().contains(&format!("agent {AGENT_ID} is not of this cluster any more"))
    });
    wait_until(PATIENCE, "its names to be gone", || !house.hosts().contains("web"));
}

#[test]
fn another_host_key_is_refused_by_the_agent() {
    if !can("another_host_key_is_refused_by_the_agent") {
        return;
    }
    let files = AgentFiles::write();
    let paths = files.root.paths();
    let other = KeyFile::make(&files.root, &files.root.dir().join("other"), "another host");
    other.copy_public_to(&files.root, &paths.agent_shell_known_host());
    let _hub = Hub::start(&files);
    let agent = Agent::start_with(files, &["--runtime", "host"]);
    wait_until(PATIENCE, "the mismatch", || agent.log().contains("host key mismatch: "));
    let log = agent.log();
    assert!(
        log.contains("shell_host_key.pub pins SHA256:") && log.contains("shows SHA256:"),
        "{log}"
    );
    assert!(log.contains("convocate-host init-agent"), "{log}");
    // Operations go on; their events wait.
    agent.client(&["new", "one", "--command", "sh"]).expect_done();
}

#[test]
fn an_event_of_another_agent_is_refused_and_the_rest_is_taken() {
    if !can("an_event_of_another_agent_is_refused_and_the_rest_is_taken") {
        return;
    }
    let house = Shell::start();
    let event = |agent: &str| {
        let event =
            json!({ "type": "x.mine", "agent_id": agent, "timestamp": "2026-01-02T03:04:05Z" });
        format!("{event}\n")
    };
    let lines = format!("{}not an event\n{}", event("abcdefghjkmn"), event(AGENT_ID));
    let (mut feed, _) = house.hub.listen();
    house.ssh().subsystem(STATUS_SUBSYSTEM, lines.as_bytes());
    assert_eq!(feed.until("x.mine")["agent_id"], AGENT_ID);
    let log = house.hub.log();
    assert!(log.contains("event refused: it claims to be from agent \"abcdefghjkmn\""), "{log}");
    assert!(log.contains("event skipped"), "{log}");
}

/// A copy of an agent's host: the same files, other processes.
fn copy_of(files: &AgentFiles) -> Running {
    let root = files.root.dir();
    let copy = root.join("copy");
    fs::create_dir(&copy).expect("the root is ours");
    for part in ["etc", "var"] {
        let call = Command::new("cp").arg("-a").arg(root.join(part)).arg(&copy).status();
        assert!(call.expect("cp runs").success());
    }
    let mut call = command(&files.root, CONVOCATE_AGENT);
    call.args(["serve", "--listen", "127.0.0.1:0", "--runtime", "host", "--root"]).arg(&copy);
    Running::start(&mut call)
}

#[test]
fn a_copy_of_an_agents_host_is_named_and_does_not_throw_it_off_again_and_again() {
    let test = "a_copy_of_an_agents_host_is_named_and_does_not_throw_it_off_again_and_again";
    if !can(test) {
        return;
    }
    let house = House::start();
    house.hub.waits_for_agent(AGENT_ID, "connected");
    house.create(&["web"]);
    let (mut feed, _) = house.hub.listen();
    let copy = copy_of(&house.agent.files);
    let told = feed.until("hub.twins")["data"]["error"].as_str().unwrap().to_owned();
    assert!(told.contains("two hosts have the identity of this agent"), "{told}");
    let note = house.agent.client(&["agents"]).expect_done().err();
    assert!(note.contains("one is a copy of the other"), "{note}");
    // Now one holds its place, and the other waits longer each time.
    let sent_away = "another host with this agent's identity is connected";
    let is_told =
        || house.agent.log().contains(sent_away) || copy.stderr.text().contains(sent_away);
    let told = poll(PATIENCE, || is_told().then_some(()));
    let logs = [house.hub.log(), house.agent.log(), copy.stderr.text()];
    assert!(told.is_some(), "{}", logs.join("\n---\n"));
    let replaced = |house: &House| house.hub.log().matches("its older connection").count();
    let before = replaced(&house);
    let logins = |house: &House| house.hub.log().matches("connected from").count();
    let (calm, at) = (logins(&house), Instant::now());
    wait_until(PATIENCE, "some time", || at.elapsed() > Duration::from_secs(4));
    assert_eq!((replaced(&house), logins(&house)), (before, calm), "{}", house.hub.log());
}
