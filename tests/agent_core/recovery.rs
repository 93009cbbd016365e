//! After the engine is back, or the agent: what ran is compared with what runs.

use std::time::Duration;

use convocate::agent::config::Config;
use convocate::agent::work::{LastRun, RuntimeEvent, WorkError};
use convocate::base::time::Wall;
use convocate::base::uuid::Uuid;
use convocate::limits::{ASKED_END_PATIENCE, RECOVERED_AFTER, RECOVERIES_MAX};
use convocate::rpc::event::EventType::{self, Started, Stopped};
use serde_json::{Value, json};

use crate::host::{Host, config};

/// How a container is that an engine has taken down, or could not bring up.
fn taken_down(exit_code: i32, error: &str) -> LastRun {
    LastRun { since: None, exit_code, out_of_memory: false, error: error.to_owned() }
}

/// The engine goes, and its containers with it.
fn engine_goes(host: &mut Host) {
    host.news(RuntimeEvent::Unreachable("connection refused".to_owned()));
    for id in std::mem::take(&mut host.running).into_keys() {
        host.last_runs.insert(id, taken_down(143, ""));
    }
}

fn engine_returns(host: &mut Host) {
    host.news(RuntimeEvent::Reachable);
    host.settle();
}

fn record(host: &Host, id: Uuid) -> Value {
    serde_json::from_slice(&host.homes[&id]).unwrap()
}

fn causes(host: &Host) -> Vec<Value> {
    let stops = host.events.iter().filter(|event| event.kind == Stopped);
    stops.map(|event| event.data["cause"].clone()).collect()
}

fn port_taken() -> WorkError {
    WorkError::Docker("Bind for 0.0.0.0:80 failed: port is already allocated".to_owned())
}

#[test]
fn what_an_engine_does_not_bring_back_is_started_by_the_agent() {
    let mut host = Host::new();
    let (up, rests) = (host.create_running("up"), host.create_running("rests"));
    let kill = host.op("kill", rests);
    host.settled(kill);
    host.told();
    engine_goes(&mut host);
    engine_returns(&mut host);
    assert!(host.running.contains_key(&up) && !host.running.contains_key(&rests));
    assert_eq!(causes(&host), ["engine"]);
    assert_eq!(host.told(), [Stopped, Started]);
    assert_eq!(host.listed(up)["running"], true);
    host.wait(Duration::from_secs(3600));
    host.settle();
    assert!(host.told().is_empty());
}

#[test]
fn a_restarted_agent_starts_what_ran_and_tells_what_ended_by_itself() {
    for rebooted in [false, true] {
        let mut host = Host::new();
        let (up, ended) = (host.create_running("up"), host.create_running("ended"));
        let killed = host.create_running("killed");
        let kill = host.op("kill", killed);
        host.settled(kill);
        host.running.clear();
        host.last_runs.insert(up, taken_down(255, ""));
        host.last_runs.insert(ended, taken_down(7, ""));
        host.told();
        host.crash_into(Config { rebooted, ..config() });
        host.settle();
        assert_eq!(host.running.keys().collect::<Vec<_>>(), [&up]);
        let end = &host.listed(ended)["ended"];
        assert_eq!((&end["cause"], &end["exit_code"]), (&json!("exit"), &json!(7)));
        assert_eq!(host.told().iter().filter(|kind| **kind == Stopped).count(), 2);
        // Once more: nothing is left to be done.
        host.crash();
        host.settle();
        assert!(host.told().is_empty());
    }
}

#[test]
fn killed_is_killed_wherever_the_agent_dies() {
    for steps in 0..9 {
        let mut host = Host::new();
        let id = host.create_running("a");
        host.op("kill", id);
        host.steps(steps);
        let was_stopped = host.running.is_empty();
        host.crash();
        host.settle();
        let is_locked = host.listed(id)["locked"] == true;
        let runs = host.running.contains_key(&id);
        assert_eq!(runs, !was_stopped, "after {steps} steps");
        let rests = record(&host, id)["runs"].is_null();
        assert!(is_locked || rests || !was_stopped, "after {steps} steps: {}", record(&host, id));
    }
}

#[test]
fn a_start_that_fails_is_told_in_the_listing_and_by_one_event_and_tried_five_times() {
    let mut host = Host::new();
    let id = host.create_running("a");
    host.told();
    engine_goes(&mut host);
    host.start_error = Some(port_taken());
    let before = host.starts;
    engine_returns(&mut host);
    assert_eq!(host.told(), [Stopped]);
    let reason = |host: &mut Host| host.listed(id)["ended"]["reason"].as_str().unwrap().to_owned();
    let told = reason(&mut host);
    assert!(told.contains("port is already allocated"), "{told}");
    assert!(told.contains("--port auto") && told.ends_with("it is tried again"), "{told}");
    let mut waits = Vec::new();
    while host.starts < before + RECOVERIES_MAX as usize {
        let due = host.agent.deadline().expect("it is tried again");
        let wait = due.since(host.now.mono);
        waits.push(wait.as_secs());
        host.wait(wait);
        host.settle();
    }
    assert_eq!(waits, [2, 4, 8, 16]);
    assert_eq!(host.told(), [Stopped], "that it is given up is told once");
    let told = reason(&mut host);
    assert!(told.contains("tried 5 times") && told.contains("convocate restart"), "{told}");
    assert_eq!(host.agent.deadline(), None);
    assert!(record(&host, id)["runs"].is_null());
    // By hand it starts, when that is mended.
    host.start_error = None;
    let restart = host.op("restart", id);
    host.settled(restart);
    assert_eq!(host.listed(id)["ended"], Value::Null);
}

#[test]
fn what_fails_at_first_runs_when_it_is_mended() {
    let mut host = Host::new();
    let id = host.create_running("a");
    engine_goes(&mut host);
    host.start_error = Some(port_taken());
    engine_returns(&mut host);
    host.start_error = None;
    host.told();
    host.wait(Duration::from_secs(2));
    host.settle();
    assert!(host.running.contains_key(&id));
    assert_eq!(host.told(), [Started]);
}

#[test]
fn a_session_that_goes_with_the_engine_again_and_again_is_left_stopped() {
    let mut host = Host::new();
    let id = host.create_running("a");
    let before = host.starts;
    for _ in 0..=RECOVERIES_MAX {
        engine_goes(&mut host);
        engine_returns(&mut host);
        host.wait(Duration::from_secs(1));
    }
    assert_eq!(host.starts - before, RECOVERIES_MAX as usize);
    let told = host.last(Stopped)["reason"].as_str().unwrap().to_owned();
    assert!(told.contains("5 times"), "{told}");
    assert!(!host.running.contains_key(&id));
    // Nor does it come back by itself.
    host.told();
    engine_goes(&mut host);
    engine_returns(&mut host);
    assert!(host.told().is_empty());
    assert!(!host.running.contains_key(&id));
}

#[test]
fn an_engine_that_goes_again_while_it_is_asked_costs_no_try() {
    let mut host = Host::new();
    let id = host.create_running("a");
    host.told();
    for _ in 0..3 * RECOVERIES_MAX {
        engine_goes(&mut host);
        host.news(RuntimeEvent::Reachable);
        // The listing, and then no answer.
        host.step();
        host.fail(WorkError::DockerGone("connection refused".to_owned()));
    }
    engine_returns(&mut host);
    host.wait(Duration::from_secs(2));
    host.settle();
    assert!(host.running.contains_key(&id));
    assert_eq!(host.told(), [Stopped, Started]);
}

#[test]
fn one_that_runs_for_long_between_is_started_each_time() {
    let mut host = Host::new();
    let id = host.create_running("a");
    for _ in 0..2 * RECOVERIES_MAX {
        engine_goes(&mut host);
        engine_returns(&mut host);
        assert!(host.running.contains_key(&id));
        host.wait(RECOVERED_AFTER);
    }
}

#[test]
fn what_the_engine_itself_started_anew_is_told_for_each_session() {
    let mut host = Host::new();
    let ids = ["a", "b", "c"].map(|name| host.create_running(name));
    host.told();
    host.news(RuntimeEvent::Unreachable("connection refused".to_owned()));
    // An engine's list has the same time as before: that of the container's creation.
    let since = Wall::new(host.now.wall.seconds() + 30, 0);
    for id in [ids[0], ids[1]] {
        host.since.insert(id, since);
    }
    engine_returns(&mut host);
    assert_eq!(causes(&host), ["engine", "engine"]);
    let mut of: Vec<_> = host.events.iter().filter_map(|event| event.session_id).collect();
    of.dedup();
    let mut expected = [ids[0], ids[1]];
    expected.sort();
    assert_eq!(of, expected);
    assert_eq!(host.told(), [Stopped, Started, Stopped, Started]);
}

/// Somebody asks a session to end, as the engine tells it.
fn asked(host: &mut Host, id: Uuid) {
    host.running.remove(&id);
    host.last_runs.insert(id, taken_down(143, ""));
    let (exit_code, out_of_memory, was_asked) = (Some(143), false, true);
    host.news(RuntimeEvent::Ended { id, exit_code, out_of_memory, was_asked });
    host.settle();
}

#[test]
fn an_engine_that_goes_down_has_asked_and_one_that_stays_has_not() {
    for goes in [false, true] {
        let mut host = Host::new();
        let id = host.create_running("a");
        host.told();
        asked(&mut host, id);
        assert_eq!(host.last(Stopped), json!({ "cause": "asked", "exit_code": 143 }));
        if goes {
            engine_goes(&mut host);
            assert_eq!(host.listed(id)["ended"]["cause"], "engine");
        } else {
            host.wait(ASKED_END_PATIENCE);
            host.settle();
            assert!(record(&host, id)["runs"].is_null());
            engine_goes(&mut host);
        }
        engine_returns(&mut host);
        assert_eq!(host.running.contains_key(&id), goes);
        let told: &[EventType] = if goes { &[Stopped, Started] } else { &[Stopped] };
        assert_eq!(host.told(), told);
    }
}

#[test]
fn an_operator_is_quicker() {
    for op in ["kill", "delete", "restart"] {
        let mut host = Host::new();
        let id = host.create_running("a");
        engine_goes(&mut host);
        host.start_error = Some(port_taken());
        engine_returns(&mut host);
        host.start_error = None;
        let call = host.op(op, id);
        host.settled(call);
        host.told();
        host.wait(Duration::from_secs(600));
        host.settle();
        assert!(host.told().is_empty(), "{op}");
        assert_eq!(host.running.contains_key(&id), op == "restart");
    }
}

#[test]
fn what_is_killed_or_deleted_before_it_is_started_again_is_told_as_ended() {
    for op in ["kill", "delete"] {
        let mut host = Host::new();
        let id = host.create_running("a");
        host.told();
        engine_goes(&mut host);
        host.news(RuntimeEvent::Reachable);
        // The listing finds it gone; before it is looked at, an operator comes.
        host.step();
        let (look, _) = host.take(|_| true);
        let call = host.op(op, id);
        host.report(look, Err(WorkError::DockerGone("busy".to_owned())));
        host.settled(call);
        assert_eq!(host.told()[0], Stopped, "{op}");
    }
}

#[test]
fn a_listing_that_fails_is_asked_for_once_more() {
    let mut host = Host::new();
    let id = host.create_running("a");
    engine_goes(&mut host);
    host.news(RuntimeEvent::Reachable);
    host.fail(WorkError::Docker("busy".to_owned()));
    host.wait(Duration::from_secs(2));
    host.settle();
    assert!(host.running.contains_key(&id));
}

#[test]
fn an_end_that_is_told_while_the_engine_is_away_for_long_is_the_engines() {
    let mut host = Host::new();
    let id = host.create_running("a");
    host.running.remove(&id);
    host.last_runs.insert(id, taken_down(143, ""));
    let (exit_code, out_of_memory, was_asked) = (Some(143), false, true);
    host.news(RuntimeEvent::Ended { id, exit_code, out_of_memory, was_asked });
    // The listing that confirms it comes after the engine has gone.
    host.news(RuntimeEvent::Unreachable("connection refused".to_owned()));
    host.settle();
    host.wait(10 * ASKED_END_PATIENCE);
    host.settle();
    engine_returns(&mut host);
    assert!(host.running.contains_key(&id));
}

#[test]
fn a_locked_one_waits_for_its_operator() {
    let mut host = Host::new();
    let id = host.create_running("a");
    host.op("kill", id);
    host.step();
    host.running.clear();
    host.crash();
    host.settle();
    assert!(host.running.is_empty());
    let call = host.op("override", id);
    host.settled(call);
    host.crash();
    host.settle();
    assert!(host.running.is_empty(), "it was decided that it rests");
}
