//! What a running agent and the client make of files that are broken, changed or not private, of
//! disks that are full, of agents that die, and of hosts that are not there.

mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use convocate::base::uuid::Uuid;
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::Need;
use support::agent::{Agent, AgentFiles};
use support::keys::KeyFile;
use support::process::{CONVOCATE, CONVOCATE_AGENT, Finished, command, run};
use support::terminal::Terminal;
use support::wait::{PATIENCE, wait_until};
use support::wire::Wire;

const SHELL: &str = "env PS1='go> ' sh";
const HOST: &[&str] = &["--runtime", "host"];

fn needs(test: &str) -> bool {
    support::has(test, &[Need::Program("ssh-keygen"), Need::Program("tmux")])
}

fn create(wire: &mut Wire, name: &str) -> String {
    let made = wire.call("create", &json!({ "name": name, "command": SHELL }));
    made.expect("it is created")["uuid"].as_str().expect("an id").to_owned()
}

fn metadata(agent: &Agent, id: &str) -> PathBuf {
    agent.files.root.paths().session_record(Uuid::parse(id).expect("an id"))
}

fn list(wire: &mut Wire) -> Vec<Value> {
    let found = wire.call("list", &Value::Null).expect("it is told");
    found.as_array().expect("an array").clone()
}

/// What `serve` says on files on which it does not serve.
fn refused(files: &AgentFiles, arguments: &[&str]) -> Finished {
    let mut call = command(&files.root, CONVOCATE_AGENT);
    call.args(["serve", "--listen", "127.0.0.1:0", "--root"]).arg(files.root.dir());
    let finished = run(call.args(arguments), b"", PATIENCE);
    assert_eq!((finished.code(), finished.err().lines().count()), (1, 1), "{finished:?}");
    finished
}

/// Ways for a record to be broken, and what is said of each.
const BROKEN: [(&str, &str); 8] = [
    ("torn", "record is torn"),
    ("empty", "record is empty"),
    ("foreign", "record belongs to session"),
    ("list", "record: invalid type"),
    ("huge", "is longer than"),
    ("fifo", "no regular file"),
    ("link", ".json"),
    ("directory", "no regular file"),
];

fn break_metadata(kind: &str, id: &str, path: &Path) -> std::io::Result<()> {
    let text = fs::read_to_string(path)?;
    fs::remove_file(path)?;
    match kind {
        "torn" => fs::write(path, &text[..text.len() / 2]),
        "empty" => fs::write(path, ""),
        "foreign" => fs::write(path, text.replace(id, "01234567-89ab-4def-8123-456789abcdef")),
        "list" => fs::write(path, "[1,2]"),
        "huge" => fs::write(path, vec![b' '; 1 << 20]),
        "fifo" => Ok(rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0)?),
        "link" => {
            let elsewhere = path.with_file_name("elsewhere");
            fs::write(&elsewhere, text)?;
            std::os::unix::fs::symlink(elsewhere, path)
        }
        _ => fs::create_dir(path),
    }
}

#[test]
fn a_session_with_broken_metadata_is_listed_and_can_be_deleted() {
    if !needs("a_session_with_broken_metadata_is_listed_and_can_be_deleted") {
        return;
    }
    let mut agent = Agent::start();
    let mut wire = Wire::to(&agent);
    let whole = create(&mut wire, "whole");
    let ids: Vec<String> = BROKEN.iter().map(|(kind, _)| create(&mut wire, kind)).collect();
    let newer = create(&mut wire, "newer");
    for ((kind, _), id) in BROKEN.iter().zip(&ids) {
        break_metadata(kind, id, &metadata(&agent, id)).expect(kind);
    }
    let text = fs::read_to_string(metadata(&agent, &newer)).expect("it is there");
    let text = text.replacen('{', "{\"colour\": \"red\",", 1);
    fs::write(metadata(&agent, &newer), text).expect("written");
    agent.restart(HOST);

    let mut wire = Wire::to(&agent);
    let found = list(&mut wire);
    assert_eq!(found.len(), BROKEN.len() + 2);
    for ((kind, sentence), id) in BROKEN.iter().zip(&ids) {
        let session = found.iter().find(|it| it["uuid"] == json!(id)).expect("it is listed");
        let why = session["broken"].as_str().unwrap_or_else(|| panic!("{kind}: {session}"));
        assert!(why.contains(sentence), "{kind}: {why}");
        let params = json!({ "id": id, "name": "other" });
        let error = wire.call("edit", &params).expect_err(kind);
        assert!(error.contains("is broken"), "{kind}: {error}");
        wire.call("delete", &json!({ "id": id })).expect(kind);
        let home = agent.files.root.paths().sessions().join(id);
        assert!(!home.exists() && !metadata(&agent, id).exists(), "{kind}");
    }
    for id in [&whole, &newer] {
        let changed = wire.call("edit", &json!({ "id": id, "pids": 99 })).expect("it is whole");
        assert_eq!(changed["broken"], Value::Null);
    }
    let kept = fs::read_to_string(metadata(&agent, &newer)).expect("it is there");
    assert!(kept.contains("colour"), "a newer version's field is kept: {kept}");
    assert_eq!(list(&mut wire).len(), 2);
}

/// What a session may do to its home.
fn spoil(home: &Path, way: &str, id: &str) -> std::io::Result<()> {
    let forged = json!({
        "uuid": id, "name": "forged", "created_at": "2026-01-01T00:00:00Z", "docker": true,
        "last_accessed": "2026-01-01T00:00:00Z", "port": 7777, "dns_name": "forged", "pids": 9999,
    });
    let file = home.join("session.json");
    let mode = |mode| fs::set_permissions(home, fs::Permissions::from_mode(mode));
    match way {
        "forged" => fs::write(file, forged.to_string()),
        "link" => std::os::unix::fs::symlink("/etc/shadow", file),
        "fifo" => Ok(rustix::fs::mknodat(CWD, file, FileType::Fifo, Mode::RUSR, 0)?),
        "locked" => mode(0o500),
        "closed" => mode(0o000),
        _ => fs::remove_dir_all(home),
    }
}

#[test]
fn what_a_session_does_to_its_home_changes_nothing_that_is_believed() {
    let name = "what_a_session_does_to_its_home_changes_nothing_that_is_believed";
    if !needs(name) {
        return;
    }
    let mut agent = Agent::start();
    let ways = ["forged", "link", "fifo", "locked", "closed", "gone"];
    let mut wire = Wire::to(&agent);
    let ids: Vec<String> = ways.iter().map(|way| create(&mut wire, way)).collect();
    let homes = agent.files.root.paths().sessions();
    for (way, id) in ways.iter().zip(&ids) {
        let small = json!({ "id": id, "cpus": 0.05, "memory": 67_108_864 });
        wire.call("edit", &small).expect(way);
        wire.call("restart", &json!({ "id": id })).expect(way);
        spoil(&homes.join(id), way, id).expect(way);
    }
    agent.restart(HOST);
    let mut wire = Wire::to(&agent);
    for (way, id) in ways.iter().zip(&ids) {
        let session = wire.call("get", &json!({ "id": id })).expect(way);
        let told = ["name", "port", "dns_name", "docker", "running"].map(|it| session[it].clone());
        assert_eq!(json!(told), json!([way, 0, "", false, true]), "{way}");
        assert_eq!(session["broken"], Value::Null, "{way}");
        wire.call("edit", &json!({ "id": id, "pids": 99 })).expect(way);
        wire.call("kill", &json!({ "id": id })).expect(way);
        assert_eq!(wire.call("get", &json!({ "id": id })).expect(way)["running"], false, "{way}");
        if *way != "gone" {
            wire.call("restart", &json!({ "id": id })).expect(way);
        }
        wire.call("delete", &json!({ "id": id })).expect(way);
        assert!(!homes.join(id).exists() && !metadata(&agent, id).exists(), "{way}");
    }
}

#[test]
fn a_home_of_an_earlier_version_is_taken_over_once() {
    if !needs("a_home_of_an_earlier_version_is_taken_over_once") {
        return;
    }
    let mut agent = Agent::start();
    let id = create(&mut Wire::to(&agent), "one");
    let home = agent.files.root.paths().sessions().join(&id);
    spoil(&home, "forged", &id).expect("written");
    fs::remove_file(metadata(&agent, &id)).expect("it is there");
    agent.restart(HOST);
    let session = list(&mut Wire::to(&agent)).remove(0);
    assert_eq!((&session["name"], &session["port"]), (&json!("forged"), &json!(7777)));
    assert_eq!((&session["docker"], &session["pids"]), (&json!(false), &json!(9999)));
    wait_until(PATIENCE, "a record", || metadata(&agent, &id).exists());
    let log = agent.log();
    assert!(log.contains("container.edited") && log.contains("taken_over"), "{log}");
    assert!(home.join("session.json").exists(), "what lies in a home is the session's");
    fs::write(home.join("session.json"), "[]").expect("written");
    agent.restart(HOST);
    assert_eq!(list(&mut Wire::to(&agent))[0]["name"], "forged");
}

#[test]
fn metadata_is_whole_whenever_the_agent_dies() {
    if !needs("metadata_is_whole_whenever_the_agent_dies") {
        return;
    }
    let mut agent = Agent::start();
    let id = create(&mut Wire::to(&agent), "one");
    for round in 0..12_u32 {
        let mut wire = Wire::to(&agent);
        let mut last = 0;
        for number in 0..=round * 3 {
            let pids = 100 + round * 100 + number;
            wire.call("edit", &json!({ "id": id, "pids": pids })).expect("it is changed");
            last = pids;
        }
        // One more is on its way when the agent dies.
        let channel = wire.open(convocate::rpc::RPC_SUBSYSTEM);
        let line = json!({ "op": "edit", "params": { "id": id, "pids": 9999 } });
        wire.send(channel, format!("{line}\n").as_bytes());
        agent.restart(HOST);
        let stored: Value =
            serde_json::from_slice(&fs::read(metadata(&agent, &id)).expect("it is there"))
                .expect("it is whole");
        assert!([json!(last), json!(9999)].contains(&stored["pids"]), "{last}: {stored}");
        let found = list(&mut Wire::to(&agent));
        assert_eq!((found.len(), &found[0]["broken"]), (1, &Value::Null));
        assert_eq!(found[0]["pids"], stored["pids"]);
    }
}

#[test]
fn a_second_agent_on_the_same_root_is_refused() {
    if !needs("a_second_agent_on_the_same_root_is_refused") {
        return;
    }
    let agent = Agent::start();
    let error = refused(&agent.files, HOST).err();
    assert!(error.contains("agent.lock"), "{error}");
    Wire::to(&agent).call("ping", &Value::Null).expect("the first one goes on");
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_repair() {
    if !needs("a_key_that_others_can_read_is_refused_with_the_repair") {
        return;
    }
    let open = |path: &Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("it is ours");
    };
    let files = AgentFiles::write();
    open(files.host_key.path());
    let error = refused(&files, HOST).err();
    let path = files.host_key.path().display().to_string();
    assert!(error.contains(&path) && error.contains("chmod"), "{error}");

    let agent = Agent::start();
    open(agent.files.operator.path());
    let found = agent.client(&["show", "x"]);
    let path = agent.files.operator.path().display().to_string();
    assert!(found.code() == 1 && found.err().contains(&path), "{found:?}");
    assert!(found.err().contains("chmod"), "{found:?}");
}

#[test]
fn a_key_that_is_removed_is_sent_away_without_a_restart() {
    if !needs("a_key_that_is_removed_is_sent_away_without_a_restart") {
        return;
    }
    let agent = Agent::start();
    let root = &agent.files.root;
    let keys = root.paths().agent_authorized_keys();
    let other = KeyFile::make(root, &root.dir().join("other"), "another operator");
    assert!(Wire::with_key(&agent, &other).ended.is_some(), "it is not known yet");
    let operator = agent.files.operator.public_line();
    root.write(&keys, &format!("{operator}\n{}\n", other.public_line()), 0o644);
    let mut stays = Wire::to(&agent);
    let mut leaves = Wire::with_key(&agent, &other);
    assert_eq!(leaves.ended, None);
    root.write(&keys, &format!("{operator}\n"), 0o644);
    leaves.until("the end of the connection", |wire| wire.ended.is_some());
    assert!(Wire::with_key(&agent, &other).ended.is_some(), "nobody is let in with it again");
    stays.call("ping", &Value::Null).expect("the other one stays");
    let log = agent.log();
    assert!(log.contains("its key was removed") && log.contains("is not authorized"), "{log}");
}

#[test]
fn a_changed_host_key_is_named_with_both_fingerprints_and_the_file() {
    if !needs("a_changed_host_key_is_named_with_both_fingerprints_and_the_file") {
        return;
    }
    let agent = Agent::start();
    let root = &agent.files.root;
    let other = KeyFile::make(root, &root.dir().join("other"), "another host");
    other.copy_public_to(root, &agent.files.entry().host_key());
    for words in [&["ls"][..], &["show", "x"], &["new", "x"]] {
        let found = agent.client(words);
        let error = found.err();
        assert_eq!(found.code(), 1, "{words:?}: {error}");
        assert_eq!(error.matches("SHA256:").count(), 2, "{words:?}: {error}");
        let path = agent.files.entry().host_key().display().to_string();
        assert!(error.contains("mismatch") && error.contains(&path), "{words:?}: {error}");
    }
    let mut call = command(root, "sh");
    call.args(["-c", "\"$@\" 2>words", "sh", CONVOCATE, "attach", "x", "--root"]);
    let terminal = Terminal::start(root, "one", (80, 24), call.arg(root.dir()));
    assert_eq!(terminal.exit_status(), 255);
    let words = fs::read_to_string(root.dir().join("words")).expect("a file");
    assert_eq!(words.matches("SHA256:").count(), 2, "{words}");
}

#[test]
fn a_silent_agent_delays_a_list_by_its_deadline_at_most() {
    if !needs("a_silent_agent_delays_a_list_by_its_deadline_at_most") {
        return;
    }
    let agent = Agent::start();
    create(&mut Wire::to(&agent), "here");
    // One takes the connection and says nothing, one refuses it.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let refuses = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    let entries =
        [("quaetagent22", silent.local_addr().expect("bound")), ("refuser23456", refuses)];
    let (root, known) = (&agent.files.root, agent.files.entry());
    for (id, address) in entries {
        let entry = root.paths().agent_entry(id);
        fs::create_dir_all(entry.dir()).expect("made");
        fs::copy(known.host_key(), entry.host_key()).expect("copied");
        fs::copy(known.shell_to_agent_key(), entry.shell_to_agent_key()).expect("copied");
        root.write(&entry.host(), &format!("{address}\n"), 0o644);
    }
    let start = Instant::now();
    let found = agent.client(&["ls"]).expect_done();
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert!(found.out().contains("here"), "{found:?}");
    for (id, _) in entries {
        assert!(found.err().contains(&format!("? agent {id}")), "{found:?}");
    }
}

#[test]
fn an_agent_that_is_killed_leaves_its_sessions_running() {
    if !needs("an_agent_that_is_killed_leaves_its_sessions_running") {
        return;
    }
    let mut agent = Agent::start();
    let mut wire = Wire::to(&agent);
    let (runs, stopped) = (create(&mut wire, "runs"), create(&mut wire, "stopped"));
    wire.call("restart", &json!({ "id": runs })).expect("it starts");
    agent.restart(HOST);
    let mut wire = Wire::to(&agent);
    let state = |found: &[Value], id: &str| {
        let it = found.iter().find(|it| it["uuid"] == json!(id)).expect("it is listed").clone();
        (it["running"].clone(), it["locked"].clone())
    };
    let found = list(&mut wire);
    assert_eq!(state(&found, &runs), (json!(true), json!(false)));
    assert_eq!(state(&found, &stopped), (json!(false), json!(false)));
    wire.call("kill", &json!({ "id": runs })).expect("it is this agent's");
    assert_eq!(state(&list(&mut wire), &runs).0, json!(false));
    agent.process().signal(Signal::TERM);
    assert_eq!(agent.stop().code(), 0);
}

/// A small disk of its own, gone with its guard.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn on(path: &Path, root: &support::root::Root) -> SmallDisk {
        let mut call = command(root, "mount");
        call.args(["-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs"]).arg(path);
        run(&mut call, b"", PATIENCE).expect_done();
        SmallDisk(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut call = std::process::Command::new("umount");
        let _gone = call.arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_a_clear_error_and_leaves_nothing_half() {
    let name = "a_full_disk_is_a_clear_error_and_leaves_nothing_half";
    if !needs(name) || !support::has(name, &[Need::Root, Need::Program("mount")]) {
        return;
    }
    let files = AgentFiles::write();
    let homes = files.root.paths().sessions();
    let records = files.root.paths().session_records();
    fs::create_dir_all(&records).expect("made");
    let disk = SmallDisk::on(&records, &files.root);
    let agent = Agent::start_with(files, HOST);
    let mut wire = Wire::to(&agent);
    let id = create(&mut wire, "one");
    let before = fs::read(metadata(&agent, &id)).expect("it is there");
    let filler = records.join("filler");
    // Writes until there is no room for another byte.
    assert!(fs::write(&filler, vec![1; 1 << 20]).is_err());
    for (op, params) in [
        ("create", json!({ "name": "two" })),
        ("clone", json!({ "source_id": id, "name": "two" })),
        ("edit", json!({ "id": id, "name": "uno" })),
    ] {
        let error = wire.call(op, &params).expect_err(op);
        assert!(error.to_lowercase().contains("no space left"), "{op}: {error}");
        assert!(!error.contains('\n'), "{op}: {error}");
    }
    assert_eq!(fs::read(metadata(&agent, &id)).expect("it is there"), before);
    let found = list(&mut wire);
    assert_eq!((found.len(), &found[0]["name"]), (1, &json!("one")));
    let entries: Vec<_> = fs::read_dir(&homes).expect("ours").flatten().collect();
    assert!(entries.len() <= 2, "nothing half is left: {entries:?}");
    fs::remove_file(&filler).expect("removed");
    wire.call("edit", &json!({ "id": id, "name": "uno" })).expect("there is room again");
    create(&mut wire, "two");
    wait_until(PATIENCE, "both", || list(&mut wire).len() == 2);
    drop(agent);
    drop(disk);
}
