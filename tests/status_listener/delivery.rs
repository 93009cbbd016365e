//! What was told arrives, once and in order, whoever is killed in between.

use std::collections::BTreeMap;

use convocate::rpc::STATUS_SUBSYSTEM;
use rustix::process::Signal;
use serde_json::Value;

use crate::house::{House, Shell, can};
use crate::support::agent::AGENT_ID;
use crate::support::hub::{Feed, Hub};
use crate::support::process::run;
use crate::support::wait::{PATIENCE, wait_until};

/// The numbers of an agent's events, by epoch, in the order in which the hub tells them.
fn numbers(feed: &mut Feed, until: &str) -> BTreeMap<String, Vec<u64>> {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    loop {
        let event = feed.line()["event"].clone();
        if let (Some(epoch), Some(seq)) = (event["epoch"].as_str(), event["seq"].as_u64()) {
            found.entry(epoch.to_owned()).or_default().push(seq);
        }
        if event["type"] == "container.created" && event["data"]["name"] == until {
            return found;
        }
    }
}

#[test]
fn an_operation_is_told_and_survives_the_listeners_death() {
    if !can("an_operation_is_told_and_survives_the_listeners_death") {
        return;
    }
    let mut house = House::start();
    house.hub.waits_for_agent(AGENT_ID, "connected");
    let (mut feed, _) = house.hub.listen();
    let id = house.create(&["one"]);
    let event = feed.until("container.created");
    assert_eq!((&event["session_id"], &event["agent_id"]), (&id.clone().into(), &AGENT_ID.into()));
    house.hub.kill();
    house.hub.start_again(&house.agent.files.root);
    let agent = house.hub.agent(AGENT_ID);
    assert_eq!(agent["sessions"][0]["uuid"], id, "{agent}");
    let (mut feed, _) = house.hub.listen();
    house.agent.client(&["rm", "one"]).expect_done();
    assert_eq!(feed.until("container.deleted")["session_id"], id);
    wait_until(PATIENCE, "the session to be gone", || {
        house.hub.agent(AGENT_ID)["sessions"] == Value::Array(Vec::new())
    });
}

#[test]
fn what_was_answered_is_told_though_both_ends_are_killed() {
    if !can("what_was_answered_is_told_though_both_ends_are_killed") {
        return;
    }
    let mut house = House::start();
    house.hub.waits_for_agent(AGENT_ID, "connected");
    let root_host = ["--runtime", "host"];
    for round in 0..6 {
        house.create(&[&format!("session-{round}")]);
        match round % 3 {
            0 => house.agent.restart(&root_host),
            1 => {
                house.hub.kill();
                house.create(&[&format!("while-away-{round}")]);
                house.agent.restart(&root_host);
                house.hub.start_again(&house.agent.files.root);
            }
            _ => {
                house.hub.kill();
                house.hub.start_again(&house.agent.files.root);
            }
        }
    }
    house.create(&["the last one"]);
    let (mut feed, _) = house.hub.listen();
    feed.ask_since(0);
    let found = numbers(&mut feed, "the last one");
    assert_eq!(found.len(), 1, "one spool, one epoch: {found:?}");
    let found = &found.values().next().expect("there is one")[..];
    let expected: Vec<u64> = (1..=found.len() as u64).collect();
    assert_eq!(found, expected, "every event once and in order");
    assert!(found.len() >= 9, "{found:?}");
}

#[test]
fn an_agent_says_goodbye_and_a_second_listener_is_turned_away() {
    if !can("an_agent_says_goodbye_and_a_second_listener_is_turned_away") {
        return;
    }
    let House { agent, hub } = House::start();
    hub.waits_for_agent(AGENT_ID, "connected");
    let (mut feed, _) = hub.listen();
    let second = agent.client(&["status-serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code(), 1);
    assert!(second.err().contains("is held by process"), "{}", second.err());
    agent.process().signal(Signal::TERM);
    assert_eq!(feed.until("agent.shutdown")["data"]["reason"], "SIGTERM");
    hub.waits_for_agent(AGENT_ID, "down");
    let ended = Hub::stop(hub);
    assert_eq!(ended.code(), 0, "{}", ended.err());
}

/// The stock client shows what the channel says, though its input ends before it has dialled.
#[test]
fn the_listener_says_hello_first() {
    if !can("the_listener_says_hello_first") {
        return;
    }
    let house = Shell::start();
    for _ in 0..5 {
        let call = &mut house.ssh().command(&["-s"], &[STATUS_SUBSYSTEM]);
        let ended = run(call, b"", PATIENCE);
        let (said, why) = (ended.out(), ended.err());
        assert!(said.starts_with("{\"hello\":{\"ack\":true"), "{said} {why}");
        assert!(!why.contains("isconnect"), "{why}");
    }
}
