//! Each session has a user number of its own, in its record and in its container.

use convocate::agent::claude_settings::ClaudeSettings;
use convocate::agent::config::{Config, RuntimeKind};
use convocate::agent::work::{DiskWork, RuntimeWork, StartFiles, Work};
use convocate::base::uuid::Uuid;
use serde_json::{Value, json};

use crate::host::{Host, config, docker_error, id_of};

const FIRST: u32 = 2_000_000;

fn record(host: &Host, id: Uuid) -> Value {
    serde_json::from_slice(&host.homes[&id]).unwrap()
}

fn change(host: &mut Host, id: Uuid, change: impl FnOnce(&mut Value)) {
    let mut value = record(host, id);
    change(&mut value);
    host.homes.insert(id, value.to_string().into_bytes());
}

/// Starts a session: what has to be on disk then, and as whom it runs.
fn start(host: &mut Host, id: Uuid) -> (StartFiles, Option<u32>) {
    let caller = host.op("restart", id);
    let is_lock = |work: &Work| matches!(work, Work::Disk(DiskWork::Lock { .. }));
    while !host.work.iter().any(|(_, work)| is_lock(work)) {
        assert!(host.step(), "no lock comes");
    }
    let (_, work) = host.work.front().unwrap();
    let Work::Disk(DiskWork::Lock { start, .. }) = work.clone() else { panic!("{work:?}") };
    host.settled(caller);
    (*start.unwrap(), host.running[&id].uid)
}

#[test]
fn each_has_its_own_and_keeps_it() {
    let mut host = Host::new();
    let [first, second] = ["first", "second"].map(|name| host.create(name));
    for (id, uid) in [(first, FIRST), (second, FIRST + 1)] {
        assert_eq!(record(&host, id)["uid"], json!(uid));
        let owner = Some(uid);
        let settings = Some(ClaudeSettings { has_login: true, base_url: None });
        let files = StartFiles {
            owner,
            metadata: None,
            key: None,
            has_socket: true,
            is_carried: false,
            settings,
        };
        for _ in 0..2 {
            let (mut begun, uid) = start(&mut host, id);
            // It says that the session runs.
            let metadata = begun.metadata.take().expect("a record");
            assert!(String::from_utf8(metadata).unwrap().contains("\"runs\": true"));
            assert_eq!((begun, uid), (files.clone(), owner));
            let kill = host.op("kill", id);
            host.settled(kill);
        }
    }
    host.crash();
    host.settle();
    assert_eq!(start(&mut host, second).1, Some(FIRST + 1));
    let third = host.create("third");
    assert_eq!(record(&host, third)["uid"], json!(FIRST + 2));
}

#[test]
fn a_clone_gets_a_new_one_and_one_that_was_given_back_is_not_the_next() {
    let mut host = Host::new();
    let source = host.create("source");
    let line = json!({"op": "clone", "params": {"source_id": source.to_string(), "name": "copy"}});
    let caller = host.line(&line.to_string());
    let (_, work) = host.work.front().unwrap().clone();
    let Work::Disk(DiskWork::Clone { owner, .. }) = work else { panic!("{work:?}") };
    assert_eq!(owner, Some(FIRST + 1));
    // One that comes meanwhile gets another one, and a failed one gives its own back.
    let other = host.line(r#"{"op":"create","params":{"name":"other"}}"#);
    host.fail(docker_error());
    host.error(caller);
    let other = id_of(&host.settled(other));
    assert_eq!(record(&host, other)["uid"], json!(FIRST + 2));
    let delete = host.op("delete", other);
    host.settled(delete);
    let next = host.create("next");
    assert_eq!(record(&host, next)["uid"], json!(FIRST + 3));
}

#[test]
fn one_without_gets_it_at_its_next_start_and_not_before() {
    let mut host = Host::new();
    let id = host.create_running("old");
    change(&mut host, id, |record| drop(record.as_object_mut().unwrap().remove("uid")));
    host.running.get_mut(&id).unwrap().uid = None;
    host.crash();
    host.settle();
    // Whoever comes to what runs, comes as whom it runs.
    let background = host.op("background", id);
    let is_detach = |work: &Work| matches!(work, Work::Runtime(RuntimeWork::Detach { .. }));
    let (work_id, work) = host.take(is_detach);
    assert_eq!(work, Work::Runtime(RuntimeWork::Detach { id, uid: None }));
    let outcome = host.perform(&work);
    host.report(work_id, outcome);
    host.settled(background);
    assert!(record(&host, id)["uid"].is_null());
    let kill = host.op("kill", id);
    host.settled(kill);
    // A start that fails on the disk has given nothing that anybody knows of.
    let restart = host.op("restart", id);
    while !matches!(host.work.front(), Some((_, Work::Disk(DiskWork::Lock { .. })))) {
        host.step();
    }
    host.fail(docker_error());
    host.error(restart);
    let (files, uid) = start(&mut host, id);
    assert_eq!((files.owner, uid), (Some(FIRST), Some(FIRST)));
    assert_eq!(serde_json::from_slice::<Value>(&files.metadata.unwrap()).unwrap()["uid"], FIRST);
    assert_eq!(record(&host, id)["uid"], json!(FIRST));
}

#[test]
fn of_two_that_have_the_same_one_gets_another() {
    let mut host = Host::new();
    let mut ids = ["one", "two"].map(|name| host.create(name));
    ids.sort();
    ids.iter().for_each(|id| change(&mut host, *id, |record| record["uid"] = json!(FIRST + 9)));
    host.crash();
    host.settle();
    assert_eq!(start(&mut host, ids[0]).1, Some(FIRST + 9));
    let (files, uid) = start(&mut host, ids[1]);
    assert_eq!(uid, Some(FIRST + 10));
    assert!(files.metadata.is_some(), "it is written down");
}

#[test]
fn there_are_none_where_the_agent_cannot_give_files() {
    let mut host = Host::with(Config { runtime: RuntimeKind::Host, has_uids: false, ..config() });
    let id = host.create("here");
    assert!(record(&host, id)["uid"].is_null());
    let (files, uid) = start(&mut host, id);
    assert_eq!((files.owner, uid), (None, None));
}
