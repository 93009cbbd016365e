//! What is refused, in one clear sentence, and changes nothing.

use std::time::Duration;

use convocate::agent::config::{Config, FoundMetadata, FoundSession};
use convocate::agent::core::Agent;
use convocate::agent::work::{RuntimeWork, Work, WorkError};
use convocate::base::uuid::Uuid;
use convocate::rpc::event::EventType;
use serde_json::{Value, json};

use crate::host::{GIB, Host, Screen, config, docker_error};

const NOBODY: &str = "01234567-89ab-4def-8123-456789abcdef";

#[test]
fn an_unknown_session_is_not_found_by_any_op() {
    let mut host = Host::new();
    let id = Uuid::parse(NOBODY).unwrap();
    for op in ["get", "edit", "delete", "kill", "background", "restart", "override"] {
        let caller = host.op(op, id);
        assert_eq!(host.error(caller), format!("session \"{NOBODY}\" not found"), "{op}");
    }
    let line = format!(r#"{{"op":"clone","params":{{"source_id":"{NOBODY}","name":"x"}}}}"#);
    let clone = host.line(&line);
    assert_eq!(host.error(clone), format!("session \"{NOBODY}\" not found"));
    let terminal = host.attach(id);
    let text = format!("session \"{NOBODY}\" not found");
    assert_eq!(host.screens(terminal), [Screen::Refused(text)]);
    host.settle();
    assert!(host.homes.is_empty() && host.locks.is_empty());
}

#[test]
fn taken_ports_and_names_are_refused_by_their_owners_name() {
    let mut host = Host::new();
    let id = host.create_with(r#"{"name":"alpha","port":53,"protocol":"udp","dns_name":"ns"}"#);
    host.create_with(r#"{"name":"beta","port":53,"protocol":"tcp"}"#);
    for (params, sentence) in [
        (
            r#"{"name":"x","port":53,"protocol":"udp"}"#,
            r#"port 53/udp already in use by session "alpha""#,
        ),
        (r#"{"name":"x","port":53}"#, r#"port 53/tcp already in use by session "beta""#),
        (r#"{"name":"x","dns_name":"ns"}"#, r#"dns name "ns" already in use by session "alpha""#),
        (r#"{"name":"x","memory":1}"#, "memory 1 must be at least 16777216 bytes"),
        (r#"{"name":"x","pids":1}"#, "pids 1 must be 8 to 4194304"),
        (
            r#"{"name":"x","dns_name":"yard"}"#,
            "dns name yard is reserved: a host of this cluster has it",
        ),
        (r#"{"name":"x","dns_name":"router"}"#, "dns name router is reserved: it means the router"),
    ] {
        let caller = host.line(&format!(r#"{{"op":"create","params":{params}}}"#));
        assert_eq!(host.error(caller), sentence);
    }
    assert_eq!(host.list().len(), 2);
    let edit = format!(r#"{{"op":"edit","params":{{"id":"{id}","dns_name":"yard"}}}}"#);
    let caller = host.line(&edit);
    assert_eq!(host.error(caller), "dns name yard is reserved: a host of this cluster has it");
}

#[test]
fn restart_refuses_a_running_one_by_name() {
    let mut host = Host::new();
    let id = host.create_running("web");
    let again = host.op("restart", id);
    host.settle();
    assert_eq!(host.error(again), r#"session "web" is already running"#);
    assert_eq!(host.starts, 1);
}

#[test]
fn a_start_that_fails_is_told_to_the_caller_and_to_the_host() {
    let mut host = Host::new();
    let id = host.create("web");
    let restart = host.op("restart", id);
    let is_start = |work: &Work| matches!(work, Work::Runtime(RuntimeWork::Start(_)));
    while !host.work.front().is_some_and(|(_, work)| is_start(work)) {
        assert!(host.step(), "it comes to a start");
    }
    host.fail(docker_error());
    host.settle();
    assert_eq!(host.error(restart), "docker: no such image");
    assert_eq!(host.warnings, [format!("session {id} did not start: docker: no such image")]);
}

#[test]
fn broken_sessions_list_and_can_only_be_stopped_and_deleted() {
    let mut host = Host::new();
    let good = host.create("good");
    let whole = host.homes[&good].clone();
    let broken: Vec<Uuid> =
        (0..3).map(|tail| Uuid::parse(&format!("{}{tail}", &NOBODY[..35])).unwrap()).collect();
    let files = [whole[..whole.len() / 2].to_vec(), Vec::new(), whole.clone()];
    host.homes.extend(broken.iter().copied().zip(files));
    host.crash();
    let reasons = ["record is torn", "record is empty", "record belongs to "];
    for (id, reason) in broken.iter().zip(reasons) {
        let session = host.listed(*id);
        assert!(session["broken"].as_str().unwrap().starts_with(reason), "{session}");
        let restart = host.op("restart", *id);
        let sentence = host.error(restart);
        assert!(sentence.contains(reason) && sentence.contains("can only be deleted"));
        let terminal = host.attach(*id);
        assert!(matches!(host.screens(terminal), [Screen::Refused(_)]));
        let kill = host.op("kill", *id);
        host.settled(kill);
        let delete = host.op("delete", *id);
        host.settled(delete);
    }
    assert_eq!(host.list().len(), 1);
    assert!(host.listed(good)["broken"].is_null());
}

#[test]
fn admission_counts_what_runs_and_what_starts() {
    let totals = convocate::agent::Totals { cpu_millis: 1000, memory_bytes: 2 * GIB };
    let mut host = Host::with(Config { totals, ..config() });
    let ids: Vec<_> = (0..4).map(|number| host.create(&format!("s{number}"))).collect();
    let calls: Vec<_> = ids.iter().map(|id| host.op("restart", *id)).collect();
    host.settle();
    let refused: Vec<_> = calls.iter().filter(|call| host.answer(**call).is_err()).collect();
    assert_eq!(refused.len(), 1, "three of half a GiB each fit in 1.8");
    let sentence = host.error(*refused[0]);
    assert!(
        sentence.ends_with(
            "no capacity: memory: 512.0 MiB requested, 1.5 GiB taken by 3 running sessions (most \
             by session \"s0\": 512.0 MiB), the cap is 1.8 GiB (90 % of 2.0 GiB); kill a session, \
             lower memory-reservation in agent.conf, or use another agent"
        ),
        "{sentence}"
    );
    let running = *host.running.keys().next().unwrap();
    let kill = host.op("kill", running);
    host.settled(kill);
    let stopped = ids.iter().find(|id| **id != running && !host.running.contains_key(id)).unwrap();
    let terminal = host.attach(*stopped);
    host.settle();
    assert_eq!(host.screens(terminal), [Screen::Opening], "there is room again");
    // One that has grown beyond its reservation counts with what it uses.
    let (grown, other) =
        (*host.running.keys().nth(1).unwrap(), *host.running.keys().next().unwrap());
    let kill = host.op("kill", other);
    host.settled(kill);
    host.memory.insert(grown, GIB);
    let restart = host.op("restart", other);
    host.settle();
    let sentence = host.error(restart);
    assert!(sentence.contains(": 1.0 GiB), the cap is 1.8 GiB"), "{sentence}");
}

#[test]
fn a_full_disk_refuses_starts_and_neither_kills_nor_deletions() {
    let mut host = Host::new();
    let (id, runs) = (host.create("a"), host.create("runs"));
    let start = host.op("restart", runs);
    host.settled(start);
    host.used_bytes = 91 * GIB;
    let restart = host.op("restart", id);
    host.settle();
    let mut homes = [(id, "a"), (runs, "runs")];
    homes.sort();
    let [one, two] = homes.map(|(_, name)| name);
    assert_eq!(
        host.error(restart),
        format!(
            "cannot start session \"a\": no capacity: disk: 91.0 GiB in use where the homes are \
             (most by session \"{one}\" 5.0 GiB, session \"{two}\" 5.0 GiB), the cap is 90.0 GiB \
             (90 % of 100.0 GiB); delete files or sessions there, or use another agent"
        )
    );
    let full = || WorkError::Disk("write lock: no space left".to_owned());
    let kill = host.op("kill", runs);
    host.fail(full());
    host.settled(kill);
    assert!(host.running.is_empty() && host.homes.len() == 2);
    let delete = host.op("delete", id);
    host.fail(full());
    host.settled(delete);
    let delete = host.op("delete", runs);
    host.settled(delete);
    assert!(host.homes.is_empty());
}

#[test]
fn who_fills_the_disk_is_told_before_anybody_is_refused() {
    let mut host = Host::new();
    let id = host.create("a");
    host.agent.watch_homes(host.now);
    host.used_bytes = 81 * GIB;
    host.wait(Duration::ZERO);
    host.settle();
    let told = host.last(EventType::Disk);
    assert_eq!((&told["used_percent"], &told["home_bytes"]), (&81.into(), &(5 * GIB).into()));
    assert!(told["grown_bytes"].is_null(), "{told}");
    assert_eq!(host.events.last().and_then(|event| event.session_id), Some(id));
    assert!(host.warnings.last().is_some_and(|told| told.contains("session \"a\" is the largest")));
}

/// A home of an earlier version proposes: `json` beside the fields that there must be.
fn proposal(id: Uuid, json: &str) -> FoundSession {
    let text = format!(
        r#"{{"uuid":"{id}","name":"b","created_at":"1970-01-01T00:00:01Z",
        "last_accessed":"1970-01-01T00:00:01Z",{json}}}"#
    );
    FoundSession {
        id,
        metadata: FoundMetadata::Proposal(Ok(text.into_bytes())),
        has_key: false,
        lock: None,
    }
}

#[test]
fn what_a_home_proposes_takes_nothing_from_others_and_is_recorded_once() {
    let mut host = Host::new();
    let id = host.create_with(r#"{"name":"a","port":8080,"dns_name":"web"}"#);
    let record = FoundMetadata::Record(Ok(host.homes[&id].clone()));
    let recorded = FoundSession { id, metadata: record, has_key: false, lock: None };
    let [first, second] =
        ["00", "01"].map(|tail| Uuid::parse(&format!("{}{tail}", &NOBODY[..34])).unwrap());
    let greedy = proposal(first, r#""port":8080,"dns_name":"web","docker":true,"memory":33554432"#);
    let metadata = FoundMetadata::Proposal(Err("no such file".to_owned()));
    let bare = FoundSession { id: second, metadata, has_key: false, lock: None };
    let third = Uuid::parse(&format!("{}02", &NOBODY[..34])).unwrap();
    let reserved = proposal(third, r#""dns_name":"wpad""#);
    let found = vec![greedy, bare, recorded, reserved];
    host.agent = Agent::new(config(), [9; 32], found, host.now);
    host.settle();
    assert_eq!(host.listed(third)["dns_name"], "");
    let (greedy, bare) = (host.listed(first), host.listed(second));
    assert_eq!((&greedy["port"], &greedy["dns_name"]), (&json!(0), &json!("")));
    assert_eq!((&greedy["docker"], &greedy["memory"]), (&json!(false), &json!(33_554_432)));
    assert_eq!((&bare["name"], &bare["broken"]), (&json!(second.short()), &Value::Null));
    assert_eq!(
        (&host.listed(id)["port"], &host.listed(id)["dns_name"]),
        (&json!(8080), &json!("web"))
    );
    let told: Vec<&Value> = host
        .events
        .iter()
        .filter(|event| event.kind == EventType::Edited)
        .map(|event| &event.data["taken_over"]["refused"])
        .collect();
    assert_eq!(told[0][0], "port 8080/tcp already in use by session \"a\"");
    assert_eq!(told[0][1], "dns name \"web\" already in use by session \"a\"");
    assert_eq!(told[1], &json!(["no such file"]));
    assert!(told[2][0].as_str().is_some_and(|why| why.contains("wpad")), "{told:?}");
    // From now on it is the record that counts, and nothing is told once more.
    host.told();
    host.crash();
    host.settle();
    assert_eq!(host.listed(first)["name"], "b");
    assert!(!host.told().contains(&EventType::Edited));
}

#[test]
fn a_copy_never_inherits_the_hosts_docker_socket() {
    let mut host = Host::new();
    let id = host.create_with(r#"{"name":"a","docker":true}"#);
    assert_eq!(host.listed(id)["docker"], true);
    let line = format!(r#"{{"op":"clone","params":{{"source_id":"{id}","name":"b"}}}}"#);
    let copy = host.line(&line);
    assert_eq!(host.settled(copy)["docker"], false);
}

#[test]
fn after_shutdown_nothing_begins_and_what_runs_is_finished() {
    let mut host = Host::new();
    let id = host.create("a");
    let first = host.op("restart", id);
    let waiting = host.op("kill", id);
    host.agent.shutdown();
    let late = host.op("kill", id);
    let terminal = host.attach(id);
    host.settle();
    assert!(host.answer(first).is_ok());
    for caller in [waiting, late] {
        assert_eq!(host.error(caller), "the agent is shutting down");
    }
    assert!(matches!(host.screens(terminal), [Screen::Refused(_)]));
    assert!(host.agent.is_idle());
}
