//! Events, echoes and silence of the runtime.

use std::time::Duration;

use convocate::agent::work::{Done, LastRun, Running, RuntimeEvent, RuntimeWork, Work, WorkError};
use convocate::base::time::Wall;
use convocate::limits::END_NEWS_PATIENCE;
use convocate::rpc::event::EventType;
use serde_json::{Value, json};

use crate::host::{Host, Screen, config};

fn later(host: &Host, seconds: i64) -> Wall {
    Wall::new(host.now.wall.seconds() + seconds, 0)
}

#[test]
fn a_session_that_ends_by_itself_is_told_once_with_its_exit_status() {
    let mut host = Host::new();
    let id = host.create_running("a");
    let terminal = host.attach(id);
    host.opened(terminal);
    host.settle();
    host.told();
    host.ends(id, 3);
    host.settle();
    assert_eq!(host.last(EventType::Stopped), json!({ "cause": "exit", "exit_code": 3 }));
    assert_eq!(host.told(), [EventType::Detached, EventType::Stopped]);
    assert_eq!(host.screens(terminal), [Screen::Opening, Screen::Closing]);
    host.ends(id, 3);
    host.settle();
    assert!(host.told().is_empty());
}

#[test]
fn out_of_memory_is_told_as_such() {
    let mut host = Host::new();
    let id = host.create_running("a");
    host.running.remove(&id);
    host.news(RuntimeEvent::Ended {
        id,
        exit_code: Some(137),
        out_of_memory: true,
        was_asked: false,
    });
    host.settle();
    assert_eq!(host.last(EventType::Stopped), json!({ "cause": "oom", "exit_code": 137 }));
}

#[test]
fn kill_and_its_echo_are_one_stop() {
    for echo_after in 0..6 {
        let mut host = Host::new();
        let id = host.create_running("a");
        host.told();
        let kill = host.op("kill", id);
        for turn in 0..6 {
            if turn == echo_after {
                host.news(RuntimeEvent::Ended {
                    id,
                    exit_code: Some(137),
                    out_of_memory: false,
                    was_asked: false,
                });
            }
            host.step();
        }
        host.settle();
        assert!(host.answer(kill).is_ok());
        let stops = host.told().iter().filter(|kind| **kind == EventType::Stopped).count();
        assert_eq!(stops, 1, "echo after {echo_after} steps");
        assert_eq!(host.listed(id)["running"], false);
    }
}

#[test]
fn the_echo_of_an_earlier_run_does_not_stop_a_later_one() {
    for echo_after in 0..12 {
        let mut host = Host::new();
        let id = host.create_running("a");
        host.told();
        let kill = host.op("kill", id);
        let restart = host.op("restart", id);
        // The kill's own work is lock, stop, unlock; the echo comes any time after the stop.
        host.steps(2);
        for turn in 0..12 {
            if turn == echo_after {
                host.news(RuntimeEvent::Ended {
                    id,
                    exit_code: Some(0),
                    out_of_memory: false,
                    was_asked: false,
                });
            }
            host.step();
        }
        host.settle();
        assert!(host.answer(kill).is_ok() && host.answer(restart).is_ok());
        assert_eq!(host.told(), [EventType::Stopped, EventType::Started], "{echo_after}");
        assert_eq!(host.listed(id)["running"], true);
    }
}

#[test]
fn an_echo_is_forgotten_once_it_is_known_to_be_one() {
    let mut host = Host::new();
    let id = host.create_running("a");
    host.news(RuntimeEvent::Ended {
        id,
        exit_code: Some(5),
        out_of_memory: false,
        was_asked: false,
    });
    host.settle();
    assert_eq!(host.listed(id)["running"], true);
    host.running.clear();
    host.list();
    host.wait(END_NEWS_PATIENCE);
    assert_eq!(host.last(EventType::Stopped), json!({ "cause": "lost", "exit_code": null }));
}

#[test]
fn a_command_that_ends_at_once_is_not_left_running() {
    let mut host = Host::new();
    let id = host.create("a");
    let restart = host.op("restart", id);
    let (work, start) = loop {
        if host.work.iter().any(|(_, work)| format!("{work:?}").contains("Start(")) {
            break host.take(|work| format!("{work:?}").contains("Start("));
        }
        assert!(host.step());
    };
    let outcome = host.perform(&start);
    host.ends(id, 127);
    host.report(work, outcome);
    host.settle();
    assert!(host.answer(restart).is_ok());
    assert_eq!(host.last(EventType::Stopped), json!({ "cause": "exit", "exit_code": 127 }));
    assert_eq!(host.listed(id)["running"], false);
}

#[test]
fn a_session_that_vanished_without_news_is_lost() {
    let mut host = Host::new();
    let id = host.create_running("a");
    host.running.clear();
    assert_eq!(host.listed(id)["running"], false, "that is known at once");
    assert_eq!(host.last(EventType::Stopped), Value::Null, "how it ended may be told yet");
    assert!(!host.agent.is_idle(), "a shutdown waits for the event");
    let due = host.agent.deadline().expect("somebody is told in time");
    assert_eq!(due, host.now.mono + END_NEWS_PATIENCE);
    host.wait(END_NEWS_PATIENCE);
    assert_eq!(host.last(EventType::Stopped), json!({ "cause": "lost", "exit_code": null }));
    // Its end is written down.
    host.settle();
    assert!(host.agent.is_idle());
}

#[test]
fn an_end_that_the_list_knows_first_is_told_as_its_news_tell_it() {
    let mut host = Host::new();
    let id = host.create_running("a");
    let terminal = host.attach(id);
    host.settle();
    host.opened(terminal);
    host.told();
    // The terminal's end asks for a listing, which finds nothing; then the news come.
    host.running.clear();
    host.closed(terminal);
    host.list();
    assert_eq!(host.told(), [EventType::Detached]);
    host.ends(id, 3);
    assert_eq!(host.last(EventType::Stopped), json!({ "cause": "exit", "exit_code": 3 }));
    host.wait(END_NEWS_PATIENCE);
    host.settle();
    assert_eq!(host.told(), [EventType::Stopped], "once");
    assert_eq!(host.listed(id)["running"], false);
}

#[test]
fn an_end_that_nobody_has_explained_is_told_before_the_next_start() {
    let mut host = Host::new();
    let id = host.create_running("a");
    host.told();
    host.running.clear();
    host.list();
    let restart = host.op("restart", id);
    host.settled(restart);
    assert_eq!(host.told(), [EventType::Stopped, EventType::Started]);
    host.wait(END_NEWS_PATIENCE);
    assert!(host.told().is_empty());
}

#[test]
fn a_listing_that_is_older_than_an_operation_says_nothing_about_it() {
    let mut host = Host::new();
    let id = host.create("a");
    host.settle();
    let list = host.line(r#"{"op":"list","params":null}"#);
    let (listing, _) = host.take(|_| true);
    let terminal = host.attach(id);
    // The start waits for a listing of its own, which is asked when the first one is back.
    host.report(listing, Ok(Done::Listed(Vec::new())));
    host.settle();
    assert!(host.is_answered(list));
    host.opened(terminal);
    host.told();
    let list = host.line(r#"{"op":"list","params":null}"#);
    let (listing, _) = host.take(|work| *work == Work::Runtime(RuntimeWork::List));
    host.settle();
    let kill = host.op("kill", id);
    host.settle();
    let restart = host.op("background", id);
    host.settle();
    assert!(host.answer(kill).is_ok() && host.answer(restart).is_ok());
    host.told();
    let old = Running {
        uid: None,
        id,
        started_at: host.now.wall,
        container: String::new(),
        image: String::new(),
        caps: None,
        is_carried: false,
    };
    host.report(listing, Ok(Done::Listed(vec![old])));
    assert!(host.is_answered(list));
    assert!(host.told().is_empty(), "it was asked before the kill");
}

#[test]
fn what_somebody_else_starts_is_seen_and_told() {
    let mut host = Host::new();
    let id = host.create("a");
    host.told();
    let running = Running {
        uid: None,
        id,
        started_at: later(&host, 1),
        container: String::new(),
        image: "convocate:0".to_owned(),
        caps: None,
        is_carried: false,
    };
    host.running.insert(id, running.clone());
    host.news(RuntimeEvent::Started(running));
    host.settle();
    assert_eq!(host.told(), [EventType::Started]);
    assert_eq!(host.listed(id)["image"], "convocate:0");
}

#[test]
fn what_runs_without_record_and_home_is_listed_and_can_be_killed() {
    let mut host = Host::new();
    let id = host.create_running("a");
    for (op, last) in [("kill", EventType::Deleted), ("delete", EventType::Deleted)] {
        let running = host.running[&id].clone();
        host.homes.clear();
        host.crash();
        host.settle();
        let listed = host.listed(id);
        assert_eq!(listed["running"], true, "{listed}");
        let why = listed["broken"].as_str().unwrap_or_default();
        assert_eq!(why, "it runs, and has neither a record nor a home");
        let restart = host.op("restart", id);
        host.settle();
        assert!(host.error(restart).contains("can only be deleted"));
        host.told();
        let call = host.op(op, id);
        host.settled(call);
        assert!(host.running.is_empty());
        assert_eq!(host.listed(id), Value::Null, "there is nothing of it");
        assert_eq!(host.told().last(), Some(&last));
        host.running.insert(id, running);
    }
    // One that ends by itself goes, too.
    host.listed(id);
    host.told();
    host.ends(id, 0);
    host.settle();
    assert_eq!(host.told(), [EventType::Stopped, EventType::Deleted]);
}

#[test]
fn a_listing_from_before_a_deletion_brings_nothing_back() {
    let mut host = Host::new();
    let id = host.create_running("a");
    let running = host.running[&id].clone();
    host.line(r#"{"op":"list","params":null}"#);
    let (listing, _) = host.take(|work| matches!(work, Work::Runtime(RuntimeWork::List)));
    let delete = host.op("delete", id);
    host.settled(delete);
    host.report(listing, Ok(Done::Listed(vec![running])));
    assert_eq!(host.list(), Vec::<Value>::new());
}

#[test]
fn a_run_that_docker_began_again_is_told_as_an_end_and_a_start() {
    let mut host = Host::new();
    let id = host.create_running("a");
    host.told();
    let again = Running { started_at: later(&host, 60), ..host.running[&id].clone() };
    host.running.insert(id, again.clone());
    host.news(RuntimeEvent::Started(again));
    host.settle();
    assert_eq!(host.told(), [EventType::Stopped, EventType::Started]);
}

#[test]
fn a_runtime_that_is_gone_leaves_the_last_known_states_and_says_so() {
    let mut host = Host::new();
    let id = host.create_running("a");
    host.list();
    let waiting = host.line(r#"{"op":"list","params":null}"#);
    host.news(RuntimeEvent::Unreachable("connection refused".to_owned()));
    let session = &host.answer(waiting).unwrap()[0];
    assert_eq!(session["running"], true);
    let stale = session["stale"].as_str().unwrap();
    assert!(
        stale.starts_with("docker: not reachable: connection refused; what runs is told as of")
    );
    let get = host.op("get", id);
    assert_eq!(host.answer(get).unwrap()["running"], true);
    host.work.clear();
    let kill = host.op("kill", id);
    host.step();
    host.fail(WorkError::DockerGone("connection refused".to_owned()));
    host.settle();
    assert_eq!(host.error(kill), "docker: not reachable: connection refused");
}

#[test]
fn a_runtime_that_comes_back_is_asked_what_runs() {
    let mut host = Host::new();
    let (stays, goes) = (host.create_running("stays"), host.create_running("goes"));
    host.news(RuntimeEvent::Unreachable("restarting".to_owned()));
    host.running.remove(&goes);
    let (since, error) = (None, String::new());
    let ended = LastRun { since, exit_code: 1, out_of_memory: false, error };
    host.last_runs.insert(goes, ended);
    host.told();
    host.news(RuntimeEvent::Reachable);
    host.settle();
    host.wait(END_NEWS_PATIENCE);
    assert_eq!(host.last(EventType::Stopped)["exit_code"], 1);
    assert_eq!(host.told(), [EventType::Stopped]);
    assert!(host.listed(stays)["stale"].is_null());
}

#[test]
fn a_silent_runtime_does_not_hang_lists() {
    let mut host = Host::new();
    host.create_running("a");
    let list = host.line(r#"{"op":"list","params":null}"#);
    let deadline = host.agent.deadline().expect("somebody waits");
    let patience = deadline.since(host.now.mono);
    host.wait(patience - Duration::from_nanos(1));
    assert!(!host.is_answered(list));
    host.wait(Duration::from_nanos(1));
    let answer = host.answer(list).unwrap();
    assert!(answer[0]["stale"].as_str().unwrap().starts_with("docker does not answer; "));
    assert_eq!(host.agent.deadline(), None);
    host.settle();
}

#[test]
fn before_the_first_listing_nothing_is_claimed_to_run() {
    let mut host = Host::new();
    host.create_running("a");
    host.crash();
    host.news(RuntimeEvent::Unreachable("not up yet".to_owned()));
    let list = host.line(r#"{"op":"list","params":null}"#);
    let answer = host.answer(list).unwrap();
    assert_eq!(answer[0]["running"], false);
    assert!(answer[0]["stale"].as_str().unwrap().ends_with("not known since the agent started"));
}

#[test]
fn after_a_reboot_of_the_host_what_runs_again_is_told() {
    let mut host = Host::new();
    let id = host.create_running("a");
    host.told();
    host.crash();
    host.settle();
    assert!(host.told().is_empty(), "the agent's own restart is no start of a session");
    host.crash_into(convocate::agent::config::Config { rebooted: true, ..config() });
    host.settle();
    assert_eq!(host.told(), [EventType::Started]);
    assert_eq!(host.listed(id)["running"], true);
}

#[test]
fn what_a_predecessor_left_attached_is_detached_before_anyone_comes_in() {
    for is_early in [true, false] {
        let mut host = Host::new();
        let id = host.create_running("a");
        host.crash();
        let early = is_early.then(|| host.attach(id));
        host.step();
        let is_detach = |work: &Work| format!("{work:?}").contains("Detach");
        if is_early {
            host.step();
        }
        let terminal = early.unwrap_or_else(|| host.attach(id));
        assert_eq!(host.work.iter().filter(|(_, work)| is_detach(work)).count(), 1);
        assert!(host.screens(terminal).is_empty(), "it waits for the detach");
        host.settle();
        assert_eq!(host.screens(terminal), [Screen::Opening]);
        assert_eq!(host.detaches, 1, "and is not detached itself");
    }
}

#[test]
fn a_terminal_that_could_not_be_opened_makes_the_core_look_again() {
    let mut host = Host::new();
    let id = host.create_running("a");
    let terminal = host.attach(id);
    host.running.remove(&id);
    let text = "docker: container is not running".to_owned();
    host.agent.terminal_failed(host.now, terminal, text.clone());
    host.wait(Duration::ZERO);
    host.settle();
    host.wait(END_NEWS_PATIENCE);
    assert_eq!(host.screens(terminal), [Screen::Opening, Screen::Refused(text)]);
    assert_eq!(host.told().last(), Some(&EventType::Stopped));
}
