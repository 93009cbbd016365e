//! What drives a session without a terminal takes no turn, and waits end when they should.

use std::time::Duration;

use convocate::agent::work::{Done, RuntimeWork, Work, WorkError};
use convocate::base::uuid::Uuid;
use serde_json::json;

use crate::host::Host;

fn op(op: &str, id: Uuid, params: &str) -> String {
    format!(r#"{{"op":"{op}","params":{{"id":"{id}"{params}}}}}"#)
}

fn wait(ids: &[Uuid], seconds: u32) -> String {
    json!({ "op": "wait", "params": { "ids": ids, "seconds": seconds } }).to_string()
}

fn is_exec(work: &Work) -> bool {
    matches!(work, Work::Runtime(RuntimeWork::Exec(_)))
}

#[test]
fn a_command_holds_up_no_operation() {
    let mut host = Host::new();
    let id = host.create_running("web");
    let exec = host.line(&op("exec", id, r#","command":["true"]"#));
    let (work, _) = host.take(is_exec);
    let kill = host.op("kill", id);
    host.settle();
    assert_eq!(host.answer(kill), Ok(json!(null)));
    // It may be told as ended after its session.
    host.report(work, Err(WorkError::NotEnded));
    assert_eq!(host.error(exec), "the program in the session did not end in time");
    host.report(work, Ok(Done::Done));
}

#[test]
fn what_does_not_run_is_not_driven() {
    let mut host = Host::new();
    let id = host.create("web");
    for line in [op("exec", id, r#","command":["true"]"#), op("send", id, r#","keys":["Enter"]"#)] {
        let caller = host.line(&line);
        let sentence = "session \"web\" does not run; start it first: convocate start";
        assert_eq!(host.error(caller), sentence);
    }
    let screen = host.line(&op("screen", id, ""));
    assert_eq!(host.answer(screen), Ok(json!({ "running": false, "screen": "" })));
}

#[test]
fn a_wait_ends_with_the_first_end_with_a_deletion_and_with_its_time() {
    let mut host = Host::new();
    let ids = ["a", "b"].map(|name| host.create_running(name));
    let both = host.line(&wait(&ids, 60));
    let late = host.line(&wait(&ids[..1], 5));
    host.wait(Duration::from_secs(6));
    assert_eq!(host.answer(late), Ok(json!({ "sessions": [], "missing": [] })));
    assert!(!host.is_answered(both));
    host.ends(ids[1], 3);
    host.settle();
    let told = host.answer(both).expect("it is answered");
    assert_eq!(told["sessions"][0]["uuid"], json!(ids[1]));
    assert_eq!(told["sessions"][0]["ended"]["exit_code"], 3);
    let deleted = host.line(&wait(&ids[..1], 60));
    host.op("delete", ids[0]);
    host.settle();
    let told = host.answer(deleted).expect("it is answered");
    assert!(told["sessions"][0]["uuid"] == json!(ids[0]) || told["missing"][0] == json!(ids[0]));
    let gone = host.line(&wait(&ids[..1], 60));
    assert_eq!(host.answer(gone), Ok(json!({ "sessions": [], "missing": [ids[0]] })));
}
