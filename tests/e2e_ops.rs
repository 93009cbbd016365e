//! Every operation of a running agent, by its wire and by the command line, and what it says to
//! input that makes no sense.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use convocate::base::uuid::Uuid;
use convocate::rpc::call::OP_NAMES;
use convocate::rpc::{ATTACH_SUBSYSTEM, RPC_SUBSYSTEM};
use serde_json::{Value, json};
use support::Need;
use support::agent::{AGENT_ID, Agent};
use support::process::Finished;
use support::wire::Wire;

const SHELL: &str = "env PS1='$ ' sh";
const NOBODY: &str = "01234567-89ab-4def-8123-456789abcdef";

fn needs(test: &str) -> bool {
    support::has(test, &[Need::Program("ssh-keygen"), Need::Program("tmux")])
}

fn id_of(session: &Value) -> String {
    session["uuid"].as_str().expect("a session has an id").to_owned()
}

fn create(wire: &mut Wire, name: &str) -> String {
    let made = wire.call("create", &json!({ "name": name, "command": SHELL }));
    id_of(&made.expect("it is created"))
}

fn get(wire: &mut Wire, id: &str) -> Value {
    wire.call("get", &json!({ "id": id })).expect("it is there")
}

/// All that an agent has on disk about sessions, by path.
fn homes(agent: &Agent) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![agent.files.root.paths().sessions()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path.clone());
            }
            let content = fs::read(&path).unwrap_or_default();
            found.push((path.display().to_string(), content));
        }
    }
    found.sort();
    found
}

/// Most memory that the agent has ever had, in KiB.
fn memory_peak_kib(agent: &Agent) -> u64 {
    let path = format!("/proc/{}/status", agent.process().pid());
    let status = fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is told");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn every_op_answers_on_the_wire() {
    if !needs("every_op_answers_on_the_wire") {
        return;
    }
    let agent = Agent::start();
    let mut wire = Wire::to(&agent);
    let pong = wire.call("ping", &Value::Null).expect("it is there");
    assert_eq!((&pong["agent_id"], &pong["ops"]), (&json!(AGENT_ID), &json!(OP_NAMES)));
    assert_eq!(wire.call("list", &Value::Null), Ok(json!([])));
    assert_eq!(wire.call("settings-get", &Value::Null), Ok(json!({})));
    assert_eq!(wire.call("settings-set", &json!({ "x": 1 })), Ok(json!({})));

    let params = json!({
        "name": "one", "port": 53, "protocol": "udp", "dns_name": "one", "command": SHELL,
        "memory": 268_435_456, "cpus": 0.5, "pids": 100,
    });
    let made = wire.call("create", &params).expect("it is created");
    for (name, value) in params.as_object().expect("it is one") {
        assert_eq!(&made[name], value, "{name}");
    }
    let id = id_of(&made);
    assert_eq!(get(&mut wire, &id), made);
    let home = agent.files.root.paths().sessions().join(&id);
    let stored: Value = serde_json::from_slice(
        &fs::read(agent.files.root.paths().session_record(Uuid::parse(&id).expect("an id")))
            .expect("it is there"),
    )
    .unwrap();
    assert_eq!((&stored["uuid"], &stored["name"]), (&json!(id), &json!("one")));

    let changed = wire.call("edit", &json!({ "id": id, "name": "uno", "dns_name": "" })).unwrap();
    assert_eq!((&changed["name"], &changed["port"]), (&json!("uno"), &json!(53)));
    assert_eq!(changed["dns_name"], "");
    fs::write(home.join("work"), "half done").expect("a home is writable");
    let copy = wire.call("clone", &json!({ "source_id": id, "name": "copy" })).unwrap();
    assert_eq!((&copy["port"], &copy["running"]), (&json!(0), &json!(false)));
    let copied = agent.files.root.paths().sessions().join(id_of(&copy)).join("work");
    assert_eq!(fs::read_to_string(copied).expect("it was copied"), "half done");

    let id = &json!({ "id": id });
    wire.call("restart", id).expect("it starts");
    assert_eq!(get(&mut wire, id["id"].as_str().unwrap())["running"], true);
    let again = wire.call("restart", id).expect_err("it runs");
    assert_eq!(again, "session \"uno\" is already running");
    for op in ["background", "override", "kill", "kill", "delete"] {
        assert_eq!(wire.call(op, id), Ok(Value::Null), "{op}");
    }
    let gone = wire.call("get", id).expect_err("it is deleted");
    assert!(gone.ends_with("not found"), "{gone}");
    assert!(!home.exists());
    assert_eq!(wire.call("list", &Value::Null).unwrap().as_array().unwrap().len(), 1);
}

/// What a verb printed with `--json`.
fn printed(finished: Finished) -> Value {
    let out = finished.expect_done().out();
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(&out).expect("JSON")
}

#[test]
fn every_verb_works_and_prints_json() {
    if !needs("every_verb_works_and_prints_json") {
        return;
    }
    let agent = Agent::start();
    let call = |words: &[&str]| printed(agent.client(&[words, &["--json"]].concat()));
    assert_eq!(call(&["ls"])["sessions"], json!([]));
    let agents = call(&["agents"]);
    assert!(agents.to_string().contains(AGENT_ID), "{agents}");
    let made = call(&["new", "web one", "--port", "auto", "--dns", "web", "--command", SHELL]);
    assert_eq!((&made["state"], &made["agent_id"]), (&json!("-"), &json!(AGENT_ID)));
    assert!(made["port"].as_u64().is_some_and(|port| port > 1000), "{made}");
    let id = id_of(&made);
    assert_eq!(call(&["show", "web one"])["uuid"], made["uuid"]);
    assert_eq!(call(&["show", &id[..8]])["uuid"], made["uuid"]);
    let changed = call(&["edit", &id, "--name", "web", "--port", "none", "--pids", "77"]);
    assert_eq!((&changed["port"], &changed["pids"]), (&json!(0), &json!(77)));
    let copy = call(&["clone", "web", "copy"]);
    assert_eq!((&copy["name"], &copy["dns_name"]), (&json!("copy"), &json!("")));
    assert_eq!(call(&["restart", "web"])["done"], "restart");
    let state = |name: &str| {
        let listed = call(&["ls"]);
        let rows = listed["sessions"].as_array().expect("an array").clone();
        rows.into_iter().find(|row| row["name"] == name).map(|row| row["state"].clone())
    };
    assert_eq!((state("web"), state("copy")), (Some(json!("R")), Some(json!("-"))));
    for verb in ["background", "override", "kill"] {
        assert_eq!(call(&[verb, "web"])["done"], verb);
    }
    assert_eq!(state("web"), Some(json!("-")));
    assert_eq!(call(&["rm", "web"])["done"], "delete");
    assert_eq!(state("web"), None);
}

#[test]
fn every_verb_tells_by_its_status_how_it_went() {
    if !needs("every_verb_tells_by_its_status_how_it_went") {
        return;
    }
    let agent = Agent::start();
    agent.client(&["new", "a", "--command", SHELL, "--port", "80"]).expect_done();
    // No id begins with z.
    for (words, status, sentence) in [
        (&["ls"][..], 0, ""),
        (&["agents"], 0, ""),
        (&["show", "a"], 0, ""),
        (&["show", "z"], 1, "session \"z\" not found"),
        (&["show", "../x"], 1, "not found"),
        (&["edit", "z", "--name", "c"], 1, "not found"),
        (&["edit", "a", "--name", "a/b"], 2, "name \"a/b\" must be"),
        (&["new", "z", "--port", "80"], 1, "port 80/tcp already in use by session \"a\""),
        (&["new", "z", "--port", "0x50"], 2, "port \"0x50\""),
        (&["new"], 2, "NAME"),
        (&["new", "z", "--agent", "nowhere"], 1, "nowhere"),
        (&["new", "z", "--attach"], 255, "terminal"),
        (&["clone", "z", "c"], 1, "not found"),
        (&["clone", "a"], 2, "NAME"),
        (&["restart", "z"], 1, "not found"),
        (&["restart", "a"], 0, ""),
        (&["start", "a"], 1, "session \"a\" is already running"),
        (&["restart", "a"], 0, ""),
        (&["stop", "z", "a"], 1, "session \"z\" not found"),
        (&["background", "z"], 1, "not found"),
        (&["kill", "z"], 1, "not found"),
        (&["override", "z"], 1, "not found"),
        (&["attach", "a"], 255, "terminal"),
        (&["rm", "z"], 1, "not found"),
        (&["rm"], 2, "SESSION"),
        (&["no-such-verb"], 2, "no-such-verb"),
        (&["rm", "a"], 0, ""),
    ] {
        let found = agent.client(words);
        assert_eq!(found.code(), status, "{words:?}: {found:?}");
        let errors = found.err();
        assert!(errors.contains(sentence), "{words:?}: {errors}");
        assert_eq!(errors.lines().count(), usize::from(status != 0), "{words:?}: {errors}");
        // Of several sessions, what was done to the others is said nevertheless.
        let is_of_several = words == ["stop", "z", "a"];
        let is_silent = found.stdout.is_empty();
        assert!(status == 0 || is_silent != is_of_several, "{words:?}: {}", found.out());
    }
    assert_eq!(agent.client(&["ls", "--json"]).out().matches("uuid").count(), 0);
}

#[test]
fn input_that_makes_no_sense_gets_a_sentence_and_changes_nothing() {
    if !needs("input_that_makes_no_sense_gets_a_sentence_and_changes_nothing") {
        return;
    }
    let agent = Agent::start();
    let mut wire = Wire::to(&agent);
    let made = wire.call("create", &json!({ "name": "a", "port": 53, "dns_name": "a" })).unwrap();
    let id = id_of(&made);
    let before = homes(&agent);
    let named = |op: &str, params: Value| json!({ "op": op, "params": params }).to_string();
    let created = |fields: Value| {
        let mut params = json!({ "name": "b" });
        params.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        named("create", params)
    };
    let mut table: Vec<(String, &str)> = vec![
        (String::new(), "decode request: "),
        ("null".into(), "decode request: "),
        ("[]".into(), "decode request: "),
        ("{\"op\"".into(), "decode request: "),
        ("{\"params\":null}".into(), "missing field `op`"),
        ("{\"op\":1}".into(), "invalid type"),
        ("{\"op\":\"ping\",\"id\":1}".into(), "unknown field `id`"),
        ("{\"op\":\"ping\"}{}".into(), "trailing characters"),
        ("[\"ping\",null]".into(), "decode request: an object is expected"),
        ("[".repeat(60_000), "decode request: "),
        (format!("{{\"op\":\"ping\",\"params\":{}", "[".repeat(60_000)), "recursion limit"),
        (named("reboot", Value::Null), "unknown op \"reboot\""),
        (named("re\nboot\u{1b}[2J", Value::Null), "unknown op \"re\\nboot\\u{1b}[2J\""),
        (created(json!({ "port": 65536 })), "port"),
        (created(json!({ "port": -2 })), "port"),
        (created(json!({ "port": 1.5 })), "invalid type: floating point `1.5`"),
        (created(json!({ "port": "80" })), "invalid type: string \"80\""),
        (created(json!({ "port": 53 })), "port 53/tcp already in use by session \"a\""),
        (created(json!({ "protocol": "sctp" })), "protocol \"sctp\" must be tcp or udp"),
        (created(json!({ "dns_name": "a" })), "dns name \"a\" already in use by session \"a\""),
        (created(json!({ "dns_name": "A" })), "dns name \"A\" must be"),
        (created(json!({ "dns_name": "a.b" })), "dns name \"a.b\" must be"),
        (created(json!({ "command": "a\u{0}b" })), "control characters"),
        (created(json!({ "command": " " })), "command must not be empty"),
        (created(json!({ "memory": 1 })), "memory"),
        (created(json!({ "pids": 0 })), "pids"),
        (created(json!({ "cpus": 0 })), "cpus"),
        (created(json!({ "color": "red" })), "unknown field `color`"),
        (named("edit", json!({ "id": id, "colour": 1 })), "unknown field `colour`"),
        (named("edit", json!({ "id": id, "name": "\u{7f}" })), "name"),
        (
            named("clone", json!({ "source_id": id, "name": "b", "port": 1 })),
            "unknown field `port`",
        ),
        (named("clone", json!({ "source_id": NOBODY, "name": "b" })), "not found"),
        (named("clone", json!({ "source_id": id })), "missing field `name`"),
    ];
    let long = "x".repeat(65);
    for name in ["", "  ", "a\nb", "a\u{1b}[2J", "\u{0}", "a/b", "..\u{202e}", &long] {
        table.push((named("create", json!({ "name": name })), "name "));
    }
    for op in ["get", "edit", "delete", "kill", "background", "restart", "override"] {
        table.push((json!({ "op": op }).to_string(), "decode params: an object is expected"));
        table.push((named(op, json!({})), "decode params: missing field `id`"));
        table.push((named(op, json!({ "id": id, "force": true })), "unknown field `force`"));
        table.push((named(op, json!({ "id": NOBODY })), "session \"01234567-"));
        for wrong in ["", "abc", "../x", ".", "/", "a\nb", &id[..35], &format!("{id}/"), "\u{0}"] {
            table.push((named(op, json!({ "id": wrong })), "decode params: "));
        }
    }
    for (line, sentence) in &table {
        let error = wire.request(line.as_bytes()).expect_err(line);
        assert!(error.contains(sentence), "{line:.200}: {error}");
        assert!(!error.contains(char::is_control) && error.len() < 600, "{line:.200}: {error}");
    }
    let error = wire.request(b"{\"op\":\"\xff\"}").expect_err("not UTF-8");
    assert!(error.starts_with("decode request: "), "{error}");
    assert_eq!(homes(&agent), before);
    assert_eq!(get(&mut wire, &id), made);
    assert_eq!(wire.call("list", &Value::Null).unwrap().as_array().unwrap().len(), 1);
    // The other protocol's port of the same number is free.
    wire.request(created(json!({ "port": 53, "protocol": "udp" })).as_bytes()).expect("it is free");
}

#[test]
fn sixty_four_creates_at_once_get_as_many_ports() {
    if !needs("sixty_four_creates_at_once_get_as_many_ports") {
        return;
    }
    const CREATES: usize = 64;
    let agent = Agent::start();
    let wires: Vec<Wire> = (0..CREATES).map(|_| Wire::to(&agent)).collect();
    let threads: Vec<_> = wires
        .into_iter()
        .enumerate()
        .map(|(number, mut wire)| {
            let params = json!({ "name": format!("s{number}"), "port": -1 });
            thread::spawn(move || wire.call("create", &params).map(|made| made["port"].as_u64()))
        })
        .collect();
    let ports: BTreeSet<Option<u64>> =
        threads.into_iter().map(|it| it.join().expect("it ends").expect("it is created")).collect();
    assert_eq!(ports.len(), CREATES);
    assert!(ports.iter().all(|port| port.is_some_and(|port| port >= 1001)), "{ports:?}");
}

#[test]
fn half_a_request_has_ten_seconds_and_an_endless_one_has_64_kib() {
    if !needs("half_a_request_has_ten_seconds_and_an_endless_one_has_64_kib") {
        return;
    }
    let agent = Agent::start();
    let start = Instant::now();
    let mut slow = Wire::to(&agent);
    let request = slow.open(RPC_SUBSYSTEM);
    slow.send(request, b"{\"op\":\"pi");
    let header = slow.open(ATTACH_SUBSYSTEM);
    slow.send(header, b"{\"id\":");
    let silent = slow.open(RPC_SUBSYSTEM);

    endless_input_is_refused(&agent);
    input_that_ends_early_is_refused(&agent);

    assert_eq!(slow.answer(request), Err("no complete request within 10 s".to_owned()));
    assert_eq!(slow.answer(header), Err("no complete header within 10 s".to_owned()));
    assert_eq!(slow.answer(silent), Err("no complete request within 10 s".to_owned()));
    let took = start.elapsed();
    assert!((9..15).contains(&took.as_secs()), "{took:?}");
    slow.call("ping", &Value::Null).expect("the connection lives on");
}

fn endless_input_is_refused(agent: &Agent) {
    const REQUEST_BYTES: usize = 512 << 20;
    let before = memory_peak_kib(agent);
    let mut wire = Wire::to(agent);
    for (subsystem, sentence) in [
        (RPC_SUBSYSTEM, "request line longer than 262144 bytes"),
        (ATTACH_SUBSYSTEM, "header line longer than 4096 bytes"),
    ] {
        let channel = wire.open(subsystem);
        let piece = vec![b'x'; 1 << 20];
        let mut sent = 0;
        while sent < REQUEST_BYTES {
            wire.turn();
            match wire.send(channel, &piece) {
                len if len == piece.len() => sent += len,
                _ => break,
            }
        }
        assert!(sent < REQUEST_BYTES / 16, "{sent} bytes were taken");
        assert_eq!(wire.answer(channel), Err(sentence.to_owned()));
    }
    let grown = memory_peak_kib(agent) - before;
    assert!(grown < 8 * 1024, "the agent grew by {grown} KiB");
    wire.call("ping", &Value::Null).expect("the connection lives on");
}

fn input_that_ends_early_is_refused(agent: &Agent) {
    let mut wire = Wire::to(agent);
    let header = wire.open(ATTACH_SUBSYSTEM);
    wire.send(header, format!("{{\"id\":\"{NOBODY}\"}}").as_bytes());
    wire.send_eof(header);
    let seen = wire.finish(header);
    assert_eq!(seen.exit_status, Some(255));
    assert!(String::from_utf8_lossy(&seen.bytes).contains("no header line"), "{seen:?}");
    // The end of input also ends a request.
    let request = wire.open(RPC_SUBSYSTEM);
    wire.send(request, b"{\"op\":\"list\"}");
    wire.send_eof(request);
    assert_eq!(wire.answer(request), Ok(json!([])));
    for line in [
        "{}",
        "[]",
        &format!("[\"{NOBODY}\",1,1]"),
        "{\"id\":\"../x\"}",
        &format!("{{\"id\":\"{NOBODY}\"}}"),
    ] {
        let header = wire.open(ATTACH_SUBSYSTEM);
        wire.send(header, format!("{line}\n").as_bytes());
        let error = wire.answer(header).expect_err(line);
        assert!(error.starts_with("decode header: ") || error.ends_with("not found"), "{error}");
    }
}

#[test]
fn operations_on_many_sessions_at_once_do_not_wait_for_each_other() {
    if !needs("operations_on_many_sessions_at_once_do_not_wait_for_each_other") {
        return;
    }
    let agent = Agent::start();
    let mut wire = Wire::to(&agent);
    // It ignores the request to end, so its kill takes the whole grace.
    let stubborn =
        json!({ "name": "stubborn", "command": "trap '' HUP TERM; while :; do sleep 60; done" });
    let stubborn = id_of(&wire.call("create", &stubborn).expect("it is created"));
    wire.call("restart", &json!({ "id": stubborn })).expect("it starts");
    let start = Instant::now();
    let kill = wire.open(RPC_SUBSYSTEM);
    wire.send(kill, json!({ "op": "kill", "params": { "id": stubborn } }).to_string().as_bytes());
    wire.send(kill, b"\n");
    let other = create(&mut wire, "other");
    wire.call("restart", &json!({ "id": other })).expect("it starts");
    wire.call("list", &Value::Null).expect("it answers");
    wire.call("delete", &json!({ "id": other })).expect("it ends");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(wire.answer(kill), Ok(Value::Null));
    assert_eq!(get(&mut wire, &stubborn)["running"], false);
}
