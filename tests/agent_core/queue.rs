//! Many at once, on one session and on many.

use convocate::limits::SESSION_WAITING_OPS_MAX;
use convocate::rpc::event::EventType;
use serde_json::Value;
use std::collections::BTreeSet;

use crate::host::{Host, Screen, docker_error};

#[test]
fn sixty_four_creates_at_once_get_sixty_four_ports() {
    let mut host = Host::new();
    let line = r#"{"op":"create","params":{"name":"x","port":-1}}"#;
    let callers: Vec<_> = (0..64).map(|_| host.line(line)).collect();
    assert!(host.work.len() >= 64, "all of them run at once");
    host.settle();
    let ports: BTreeSet<u64> = callers
        .iter()
        .map(|caller| host.answer(*caller).unwrap()["port"].as_u64().unwrap())
        .collect();
    assert_eq!(ports, (1001..1065).collect());
}

#[test]
fn a_create_that_fails_gives_its_port_and_name_back() {
    let mut host = Host::new();
    host.settle();
    let line = r#"{"op":"create","params":{"name":"x","port":80,"dns_name":"x"}}"#;
    let first = host.line(line);
    let second = host.line(line);
    assert!(host.error(second).starts_with("dns name \"x\" already in use"));
    host.fail(docker_error());
    assert!(host.answer(first).is_err());
    let third = host.line(line);
    host.settled(third);
}

#[test]
fn many_terminals_start_a_session_once() {
    let mut host = Host::new();
    let id = host.create("a");
    let terminals: Vec<_> = (0..100).map(|_| host.attach(id)).collect();
    host.settle();
    assert_eq!(host.starts, 1);
    for terminal in &terminals {
        assert_eq!(host.screens(*terminal), [Screen::Opening]);
        host.opened(*terminal);
    }
    host.settle();
    assert_eq!(host.listed(id)["attached_count"], 100);
}

#[test]
fn terminals_that_joined_a_start_are_refused_with_its_error() {
    let mut host = Host::new();
    let id = host.create("a");
    let restart = host.op("restart", id);
    let terminal = host.attach(id);
    host.step();
    host.step();
    host.step();
    host.fail(docker_error());
    host.settle();
    let text = "docker: no such image".to_owned();
    assert_eq!(host.error(restart), text);
    assert_eq!(host.screens(terminal), [Screen::Refused(text)]);
    assert!(host.locks.is_empty());
}

#[test]
fn a_terminal_behind_a_kill_starts_it_again() {
    let mut host = Host::new();
    let id = host.create_running("a");
    let kill = host.op("kill", id);
    let terminal = host.attach(id);
    let late = host.attach(id);
    host.settle();
    assert_eq!(host.answer(kill), Ok(Value::Null));
    assert_eq!(host.screens(terminal), [Screen::Opening]);
    assert_eq!(host.screens(late), [Screen::Opening]);
    assert_eq!(host.starts, 2);
}

#[test]
fn ops_on_one_session_wait_for_each_other_and_on_others_do_not() {
    let mut host = Host::new();
    let (first, second) = (host.create("first"), host.create("second"));
    let one = host.op("kill", first);
    let two = host.op("restart", first);
    let other = host.op("kill", second);
    assert_eq!(host.work.len(), 2, "one lock each");
    host.settle();
    for caller in [one, two, other] {
        assert_eq!(host.answer(caller), Ok(Value::Null));
    }
    assert!(host.running.contains_key(&first), "the restart came after the kill");
}

#[test]
fn the_queue_is_bounded_and_says_what_is_in_flight() {
    let mut host = Host::new();
    let id = host.create("a");
    let first = host.op("kill", id);
    let waiting: Vec<_> = (0..SESSION_WAITING_OPS_MAX).map(|_| host.op("kill", id)).collect();
    let over = host.op("restart", id);
    let sentence = host.error(over);
    assert!(sentence.starts_with("session \"a\" is busy: kill is in flight since "), "{sentence}");
    let terminal = host.attach(id);
    assert!(matches!(host.screens(terminal), [Screen::Refused(_)]));
    host.settle();
    for caller in waiting.into_iter().chain([first]) {
        assert_eq!(host.answer(caller), Ok(Value::Null));
    }
}

#[test]
fn those_behind_a_delete_find_nothing() {
    let mut host = Host::new();
    let id = host.create("a");
    let delete = host.op("delete", id);
    let kill = host.op("kill", id);
    let terminal = host.attach(id);
    let clone =
        host.line(&format!(r#"{{"op":"clone","params":{{"source_id":"{id}","name":"x"}}}}"#));
    host.settle();
    assert_eq!(host.answer(delete), Ok(Value::Null));
    assert_eq!(host.error(kill), format!("session \"{id}\" not found"));
    assert!(matches!(host.screens(terminal), [Screen::Refused(_)]));
    assert_eq!(host.error(clone), "session \"a\" is being deleted");
}

#[test]
fn what_a_vanished_caller_asked_for_goes_on() {
    let mut host = Host::new();
    let id = host.create("a");
    let restart = host.op("restart", id);
    let kill = host.op("kill", id);
    let list = host.line(r#"{"op":"list","params":null}"#);
    for caller in [restart, kill, list] {
        host.agent.caller_gone(caller);
    }
    host.told();
    host.settle();
    for caller in [restart, kill, list] {
        assert!(!host.is_answered(caller));
    }
    assert_eq!(host.told(), [EventType::Started, EventType::Stopped]);
}

#[test]
fn a_terminal_that_vanishes_while_it_waits_is_not_opened() {
    let mut host = Host::new();
    let id = host.create("a");
    let terminal = host.attach(id);
    host.closed(terminal);
    host.settle();
    assert!(host.screens(terminal).is_empty());
    assert!(host.running.contains_key(&id), "the start goes on");
}

#[test]
fn lists_that_come_together_share_one_listing() {
    let mut host = Host::new();
    host.settle();
    let list = r#"{"op":"list","params":null}"#;
    let first = host.line(list);
    let rest: Vec<_> = (0..50).map(|_| host.line(list)).collect();
    assert_eq!(host.work.len(), 1);
    host.step();
    assert!(host.is_answered(first));
    assert!(rest.iter().all(|caller| !host.is_answered(*caller)), "they asked later");
    assert_eq!(host.work.len(), 1);
    host.step();
    assert!(rest.iter().all(|caller| host.is_answered(*caller)));
    assert_eq!(host.work.len(), 0);
}
