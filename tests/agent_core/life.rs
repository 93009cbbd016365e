//! The life of a session, one operation after the other.

use convocate::agent::config::Config;
use convocate::rpc::event::EventType;
use serde_json::{Value, json};

use crate::host::{Host, Screen, config, id_of};

#[test]
fn ping_and_settings_are_answered_at_once() {
    let mut host = Host::new();
    let ping = host.line(r#"{"op":"ping","params":null}"#);
    let pong = host.answer(ping).unwrap();
    assert_eq!(pong["agent_id"], "abcdefghjkmn");
    assert_eq!(pong["runtime"], "docker");
    assert_eq!(pong["ops"].as_array().map(Vec::len), Some(20));
    let settings = host.line(r#"{"op":"settings-get","params":null}"#);
    assert_eq!(host.answer(settings), Ok(json!({})));
}

#[test]
fn create_attach_detach_kill_delete() {
    let mut host = Host::new();
    let id = host.create_with(r#"{"name":"web","port":-1,"dns_name":"web"}"#);
    assert_eq!(host.told(), [EventType::Created]);
    assert!(host.running.is_empty(), "create starts nothing");

    let terminal = host.attach(id);
    assert!(host.screens(terminal).is_empty(), "it waits for the start");
    host.settle();
    assert_eq!(host.screens(terminal), [Screen::Opening]);
    host.opened(terminal);
    host.settle();
    assert_eq!(host.told(), [EventType::Started, EventType::Attached]);
    let session = host.listed(id);
    assert_eq!((&session["running"], &session["attached_count"]), (&json!(true), &json!(1)));
    assert_eq!(session["port"], 1001);

    host.closed(terminal);
    assert_eq!(host.last(EventType::Detached), json!({ "attached_count": 0 }));
    host.told();
    let kill = host.op("kill", id);
    assert_eq!(host.settled(kill), Value::Null);
    assert_eq!(host.last(EventType::Stopped), json!({ "cause": "op", "exit_code": null }));
    assert_eq!(host.told(), [EventType::Stopped]);
    assert!(host.homes.contains_key(&id), "kill keeps the home");

    let delete = host.op("delete", id);
    assert_eq!(host.settled(delete), Value::Null);
    assert_eq!(host.told(), [EventType::Deleted]);
    assert!(host.homes.is_empty() && host.locks.is_empty());
    assert!(host.list().is_empty());
    let again = host.create_with(r#"{"name":"web","port":1001,"dns_name":"web"}"#);
    assert_ne!(again, id, "port and name are free again");
}

#[test]
fn delete_stops_what_runs_and_closes_its_terminals() {
    let mut host = Host::new();
    let id = host.create_running("web");
    let terminals = [host.attach(id), host.attach(id)];
    terminals.iter().for_each(|terminal| host.opened(*terminal));
    host.settle();
    host.told();
    let delete = host.op("delete", id);
    host.settled(delete);
    use EventType::{Deleted, Detached, Stopped};
    assert_eq!(host.told(), [Detached, Detached, Stopped, Deleted]);
    for terminal in terminals {
        assert_eq!(host.screens(terminal), [Screen::Opening, Screen::Closing]);
        host.closed(terminal);
    }
    assert!(host.told().is_empty(), "they were told as gone already");
}

#[test]
fn events_come_before_the_answer_they_belong_to() {
    let mut host = Host::new();
    let create = host.line(r#"{"op":"create","params":{"name":"x"}}"#);
    assert!(!host.is_answered(create) && host.events.is_empty());
    host.settle();
    let mut session = host.answer(create).unwrap();
    // Only who has made it is told its key.
    session.as_object_mut().unwrap().remove("ssh_key");
    assert_eq!(host.last(EventType::Created), session);
}

#[test]
fn edit_keeps_what_is_absent_and_moves_claims() {
    let mut host = Host::new();
    let id = host.create_with(r#"{"name":"a","port":53,"protocol":"udp","dns_name":"a"}"#);
    let line = format!(r#"{{"op":"edit","params":{{"id":"{id}","name":"","dns_name":"b"}}}}"#);
    let edit = host.line(&line);
    let session = host.settled(edit);
    assert_eq!((&session["name"], &session["port"]), (&json!("a"), &json!(53)));
    assert_eq!(session["dns_name"], "b");
    host.create_with(r#"{"name":"takes the old name","dns_name":"a"}"#);
    let line = format!(r#"{{"op":"edit","params":{{"id":"{id}","protocol":"tcp"}}}}"#);
    let edit = host.line(&line);
    assert_eq!(host.settled(edit)["protocol"], "tcp");
    host.create_with(r#"{"name":"takes udp","port":53,"protocol":"udp"}"#);
    let refused =
        host.line(&format!(r#"{{"op":"edit","params":{{"id":"{id}","protocol":"udp"}}}}"#));
    assert_eq!(host.error(refused), r#"port 53/udp already in use by session "takes udp""#);
}

#[test]
fn an_edit_that_fails_changes_nothing_and_gives_its_claims_back() {
    let mut host = Host::new();
    let id = host.create_with(r#"{"name":"a","port":80,"dns_name":"a"}"#);
    host.told();
    let edit =
        host.line(&format!(r#"{{"op":"edit","params":{{"id":"{id}","port":81,"dns_name":"b"}}}}"#));
    host.fail(crate::host::docker_error());
    assert!(host.error(edit).contains("no such image"));
    assert!(host.told().is_empty());
    assert_eq!(host.listed(id)["port"], 80);
    host.create_with(r#"{"name":"b","port":81,"dns_name":"b"}"#);
    let taken = host.line(r#"{"op":"create","params":{"name":"c","dns_name":"a"}}"#);
    assert_eq!(host.error(taken), r#"dns name "a" already in use by session "a""#);
}

#[test]
fn a_clone_of_a_running_session_has_its_own_identity() {
    let mut host = Host::new();
    let id = host
        .create_with(r#"{"name":"a","port":80,"dns_name":"a","command":"sh","memory":2147483648}"#);
    let restart = host.op("restart", id);
    host.settled(restart);
    let line = format!(r#"{{"op":"clone","params":{{"source_id":"{id}","name":"copy"}}}}"#);
    let clone = host.line(&line);
    let kill = host.op("kill", id);
    let delete = host.op("delete", id);
    let copying = host.take(|work| format!("{work:?}").contains("Clone"));
    host.settle();
    assert_eq!(host.answer(kill), Ok(Value::Null), "the source is not held up");
    assert!(host.error(delete).contains("is being cloned"));
    let outcome = host.perform(&copying.1);
    host.report(copying.0, outcome);
    let copy = host.answer(clone).unwrap();
    assert_ne!(id_of(&copy), id);
    assert_eq!((&copy["port"], &copy["dns_name"]), (&json!(0), &json!("")));
    assert_eq!((&copy["command"], &copy["running"]), (&json!("sh"), &json!(false)));
    assert_eq!(copy["memory"], 2_147_483_648_u64);
    let delete = host.op("delete", id);
    host.settled(delete);
}

#[test]
fn background_detaches_all_and_leaves_it_running() {
    let mut host = Host::new();
    let id = host.create_running("a");
    let terminals = [host.attach(id), host.attach(id), host.attach(id)];
    terminals.iter().for_each(|terminal| host.opened(*terminal));
    host.settle();
    let background = host.op("background", id);
    host.settled(background);
    for terminal in terminals {
        assert_eq!(host.screens(terminal).last(), Some(&Screen::Closing));
        host.closed(terminal);
    }
    let session = host.listed(id);
    assert_eq!((&session["running"], &session["attached"]), (&json!(true), &json!(false)));
    let stopped = host.create("b");
    let background = host.op("background", stopped);
    assert_eq!(host.answer(background), Ok(Value::Null));
}

#[test]
fn the_newest_access_comes_first_and_is_saved() {
    let mut host = Host::new();
    let first = host.create("first");
    host.wait(std::time::Duration::from_secs(10));
    let second = host.create("second");
    assert_eq!(id_of(&host.list()[0]), second);
    host.wait(std::time::Duration::from_secs(10));
    let terminal = host.attach(first);
    host.settle();
    host.opened(terminal);
    host.settle();
    assert_eq!(id_of(&host.list()[0]), first);
    host.crash();
    assert_eq!(id_of(&host.list()[0]), first, "it stands in the file");
}

#[test]
fn a_new_image_is_for_new_containers() {
    let mut host = Host::new();
    let (old, new) = (host.create_running("old"), host.create("new"));
    host.crash_into(Config { image: "convocate:2".to_owned(), ..config() });
    assert_eq!(host.listed(old)["image"], "convocate:1");
    assert_eq!(host.listed(new)["image"], "convocate:2");
    let restart = host.op("restart", new);
    host.settled(restart);
    assert_eq!(host.running[&new].image, "convocate:2");
}
