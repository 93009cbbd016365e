//! Each session has a git key of its own, which is lent to it while it runs.

use convocate::agent::work::{DiskWork, Work};
use convocate::base::uuid::Uuid;
use convocate::rpc::event::EventType;
use serde_json::{Value, json};

use crate::host::{Host, docker_error, id_of};

fn record(host: &Host, id: Uuid) -> Value {
    serde_json::from_slice(&host.homes[&id]).unwrap()
}

fn told(host: &mut Host, id: Uuid) -> Value {
    let get = host.op("get", id);
    host.settled(get)["ssh_key"].clone()
}

fn edit(host: &mut Host, id: Uuid, choice: &str) -> Value {
    let params = json!({ "id": id.to_string(), "ssh_key": choice });
    let caller = host.line(&json!({ "op": "edit", "params": params }).to_string());
    host.settled(caller)["ssh_key"].clone()
}

#[test]
fn each_has_its_own_and_who_asks_for_one_is_told_its_public_half() {
    let mut host = Host::new();
    let create = host.line(r#"{"op":"create","params":{"name":"one"}}"#);
    host.steps(0);
    let (_, work) = host.work.front().unwrap();
    assert!(!format!("{work:?}").contains("PRIVATE"), "{work:?}");
    let made = host.settled(create);
    let id = id_of(&made);
    let key = made["ssh_key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("ssh-ed25519 AAAA"), "{key}");
    assert!(key.ends_with(&format!(" convocate-{}", id.short())), "{key}");
    assert!(key.starts_with(record(&host, id)["ssh_key"].as_str().unwrap()));
    assert_eq!(told(&mut host, id), json!(key));
    // Whoever sees all is not told.
    assert!(host.listed(id)["ssh_key"].is_null());
    assert!(host.last(EventType::Created)["ssh_key"].is_null());
    let two = host.create("two");
    assert_ne!(told(&mut host, two), json!(key));
    let params = json!({ "source_id": id.to_string(), "name": "copy" });
    let clone = host.line(&json!({ "op": "clone", "params": params }).to_string());
    let copy = host.settled(clone);
    assert!(copy["ssh_key"].as_str().unwrap().starts_with("ssh-ed25519 "), "{copy}");
    assert_ne!(copy["ssh_key"], json!(key));
    // It is kept.
    let restart = host.op("restart", id);
    host.settled(restart);
    host.crash();
    host.settle();
    assert_eq!(told(&mut host, id), json!(key));
}

#[test]
fn one_without_a_key_gets_it_when_it_starts() {
    let mut host = Host::new();
    let id = host.create("old");
    let mut old = record(&host, id);
    old.as_object_mut().unwrap().remove("ssh_key");
    host.homes.insert(id, old.to_string().into_bytes());
    host.crash();
    host.settle();
    assert_eq!(told(&mut host, id), Value::Null);
    let restart = host.op("restart", id);
    host.settled(restart);
    let key = told(&mut host, id);
    assert!(key.as_str().unwrap().starts_with("ssh-ed25519 "), "{key}");
    assert!(key.as_str().unwrap().starts_with(record(&host, id)["ssh_key"].as_str().unwrap()));
    assert!(host.lent.contains_key(&id));
    // Its record comes to another host, and its key does not.
    host.running.clear();
    host.keyless.insert(id);
    host.crash();
    host.settle();
    host.keyless.clear();
    assert_eq!(told(&mut host, id), Value::Null);
    let restart = host.op("restart", id);
    host.settled(restart);
    assert_ne!(told(&mut host, id), key);
    assert_ne!(told(&mut host, id), Value::Null);
}

#[test]
fn it_is_lent_from_before_the_start_until_the_end() {
    let mut host = Host::new();
    let id = host.create("one");
    let uid = u32::try_from(record(&host, id)["uid"].as_u64().unwrap()).unwrap();
    assert!(host.lent.is_empty());
    let restart = host.op("restart", id);
    while !host.work.iter().any(|(_, work)| matches!(work, Work::Runtime(_)))
        || host.starts == 0 && !host.lent.contains_key(&id)
    {
        assert!(host.step(), "it is not lent");
    }
    assert_eq!((host.starts, host.lent.get(&id)), (0, Some(&Some(uid))));
    host.settled(restart);
    assert!(host.lent.contains_key(&id));
    // The next agent lends it again.
    host.crash();
    assert!(host.lent.is_empty());
    host.settle();
    assert_eq!(host.lent.get(&id), Some(&Some(uid)));
    host.ends(id, 0);
    host.settle();
    assert!(host.lent.is_empty());
    let restart = host.op("restart", id);
    while !host.lent.contains_key(&id) {
        assert!(host.step());
    }
    host.fail(docker_error());
    host.settle();
    assert!(host.error(restart).contains("no such image") && host.lent.is_empty());
    let restart = host.op("restart", id);
    host.settled(restart);
    let delete = host.op("delete", id);
    host.settled(delete);
    assert!(host.lent.is_empty());
}

#[test]
fn an_edit_takes_the_key_at_once_and_gives_another() {
    let mut host = Host::new();
    let id = host.create_running("one");
    let first = told(&mut host, id);
    let other = edit(&mut host, id, "new");
    assert_ne!(first, other);
    assert!(host.lent.contains_key(&id));
    assert_eq!(edit(&mut host, id, "none"), json!("none"));
    assert!(host.lent.is_empty());
    host.crash();
    host.settle();
    assert!(host.lent.is_empty());
    assert_eq!(told(&mut host, id), json!("none"));
    // One that has none starts with none, and so does its clone.
    let none = host.create_with(r#"{"name":"none","ssh_key":"none"}"#);
    let restart = host.op("restart", none);
    while !host.work.iter().any(|(_, it)| matches!(it, Work::Disk(DiskWork::Lock { .. }))) {
        assert!(host.step());
    }
    let (_, work) = host.work.front().unwrap();
    let Work::Disk(DiskWork::Lock { start: Some(files), .. }) = work else { panic!("{work:?}") };
    assert!(files.key.is_none() && !files.has_socket);
    host.settled(restart);
    assert!(host.lent.is_empty());
    let params = json!({ "source_id": none.to_string(), "name": "copy" });
    let clone = host.line(&json!({ "op": "clone", "params": params }).to_string());
    assert_eq!(host.settled(clone)["ssh_key"], json!("none"));
}
