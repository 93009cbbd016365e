//! The agent is killed with -9 before and after each piece of work of each operation.

use convocate::base::uuid::Uuid;
use serde_json::Value;

use crate::host::{Host, Screen};

const KILL: fn(&mut Host, Uuid) = |host, id| {
    host.op("kill", id);
};

/// Runs `ask` and crashes after `steps` pieces of work, the last one done but not reported if
/// `is_unreported`.
fn crash_in(ask: impl Fn(&mut Host, Uuid), steps: usize, is_unreported: bool) -> (Host, Uuid) {
    let mut host = Host::new();
    let id = host.create_running("a");
    ask(&mut host, id);
    host.steps(steps);
    if is_unreported && let Some((_, work)) = host.work.pop_front() {
        host.perform(&work).expect("nothing fails here");
    }
    host.crash();
    (host, id)
}

#[test]
fn every_crash_leaves_sessions_that_list_and_can_be_deleted() {
    let ops = ["kill", "delete", "background", "restart", "override"];
    for op in ops {
        for steps in 0..6 {
            for is_unreported in [false, true] {
                let ask = |host: &mut Host, id| {
                    host.op(op, id);
                };
                let (mut host, id) = crash_in(ask, steps, is_unreported);
                let list = host.list();
                assert_eq!(
                    list.len(),
                    usize::from(host.homes.contains_key(&id) || host.locks.contains_key(&id)),
                    "{op} {steps} {is_unreported}"
                );
                if list.is_empty() {
                    continue;
                }
                let running = host.running.contains_key(&id);
                assert_eq!(list[0]["running"], running, "{op} {steps}");
                let delete = host.op("delete", id);
                assert_eq!(host.settled(delete), Value::Null);
                assert!(host.homes.is_empty() && host.locks.is_empty() && host.running.is_empty());
            }
        }
    }
}

#[test]
fn a_crash_in_a_kill_locks_and_override_or_a_repeat_clears() {
    for repair in ["override", "kill"] {
        let (mut host, id) = crash_in(KILL, 1, true);
        assert_eq!(host.listed(id)["locked"], true);
        let restart = host.op("restart", id);
        host.settle();
        assert_eq!(
            host.error(restart),
            "session \"a\" is locked: kill was in flight when the agent died; do it again, or \
             clear the lock with override"
        );
        let repaired = host.op(repair, id);
        host.settled(repaired);
        assert_eq!(host.listed(id)["locked"], false, "{repair}");
        assert!(host.locks.is_empty());
    }
}

#[test]
fn terminals_come_back_by_themselves_after_a_crash_in_their_start() {
    for steps in 0..6 {
        for is_unreported in [false, true] {
            let mut host = Host::new();
            let id = host.create("a");
            host.settle();
            host.attach(id);
            host.steps(steps);
            if is_unreported && let Some((_, work)) = host.work.pop_front() {
                host.perform(&work).expect("nothing fails here");
            }
            host.crash();
            let terminal = host.attach(id);
            host.settle();
            assert_eq!(host.screens(terminal), [Screen::Opening], "{steps} {is_unreported}");
            assert!(host.locks.is_empty(), "the repetition has finished it");
            assert_eq!(host.listed(id)["locked"], false);
        }
    }
}

#[test]
fn a_torn_lock_is_a_lock() {
    let mut host = Host::new();
    let id = host.create("a");
    host.locks.insert(id, b"{\"op\":\"ki".to_vec());
    host.crash();
    let kill = host.op("kill", id);
    assert!(host.error(kill).contains("is locked: an operation was in flight"));
    let repaired = host.op("override", id);
    host.settled(repaired);
    let kill = host.op("kill", id);
    host.settled(kill);
}

#[test]
fn override_of_what_is_in_flight_is_refused_at_once() {
    let mut host = Host::new();
    let id = host.create_running("a");
    host.op("kill", id);
    let refused = host.op("override", id);
    assert!(host.error(refused).contains("kill is in flight since "));
    host.settle();
    let idle = host.op("override", id);
    assert_eq!(host.answer(idle), Ok(Value::Null));
}

#[test]
fn a_lock_that_cannot_be_removed_shows() {
    let mut host = Host::new();
    let id = host.create_running("a");
    let kill = host.op("kill", id);
    host.steps(3);
    host.fail(convocate::agent::work::WorkError::Disk("unlink: input/output error".to_owned()));
    host.settle();
    assert!(host.answer(kill).is_ok(), "the kill itself is done");
    assert_eq!(host.listed(id)["locked"], true);
}

#[test]
fn a_delete_that_leaves_part_of_the_home_can_be_repeated() {
    let mut host = Host::new();
    let id = host.create("a");
    let delete = host.op("delete", id);
    host.step();
    host.step();
    host.fail(convocate::agent::work::WorkError::Disk("remove x: busy".to_owned()));
    assert_eq!(host.error(delete), "remove x: busy");
    assert_eq!(host.listed(id)["locked"], true);
    let again = host.op("delete", id);
    host.settled(again);
    assert!(host.list().is_empty());
}
