//! The `convocate` program against scripted agents on loopback: real sockets, real keys, a real
//! terminal.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use convocate::base::endpoint::Endpoint;
use convocate::base::time::{Mono, Wall};
use convocate::io::process::Program;
use convocate::io::pty::{Pty, Size};
use convocate::io::stream::Moved;
use convocate::paths::Paths;
use convocate::rpc::{ATTACH_SUBSYSTEM, RPC_SUBSYSTEM, response};
use convocate::ssh::keys::KeyPair;
use convocate::ssh::{ChannelId, Conn, Event, ServerConfig, Subsystem, Tuning};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);
const WEB: &str = "01234567-89ab-4def-8123-456789abcdef";
/// A session whose terminal is refused as agents of the system before convocate do: with a text
/// before the refusal, and no status.
const REFUSED: &str = "22222222-89ab-4def-8123-456789abcdef";
const DB: &str = "fedcba98-89ab-4def-8123-456789abcdef";

static SUBSYSTEMS: [Subsystem; 2] = [
    Subsystem { name: RPC_SUBSYSTEM, window_change: false },
    Subsystem { name: ATTACH_SUBSYSTEM, window_change: true },
];

/// A shell host's root directory, removed at the end.
struct Root(PathBuf);

impl Root {
    fn new() -> Root {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("convocate-{}-{count}", std::process::id()));
        fs::create_dir(&path).expect("a fresh directory");
        Root(path)
    }

    /// Makes an agent known that has host key `number`.
    fn enrol(&self, number: u8, address: &str) {
        let id = format!("abcdefghjkm{number}");
        let entry = Paths::below(&self.0).agent_entry(&id);
        fs::create_dir_all(entry.dir()).expect("a directory");
        fs::write(entry.host(), address).expect("written");
        let host_key = KeyPair::from_seed([number; 32]).public().to_line("agent");
        fs::write(entry.host_key(), host_key).expect("written");
        let key = entry.shell_to_agent_key();
        let pair = KeyPair::from_seed([100; 32]);
        fs::write(&key, pair.to_openssh("shell", 7).as_bytes()).expect("written");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("changed");
    }

    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_convocate"))
            .args(words)
            .arg("--root")
            .arg(&self.0)
            .output()
            .expect("the program starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (status.code().expect("an exit"), text(stdout), text(stderr))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Starts an agent with host key `number` and says where it listens. It serves one connection
/// after the other for as long as the test runs.
fn agent(number: u8) -> String {
    scripted(number, answer).0
}

/// What an agent answers to a call.
type Script = fn(&Value) -> Result<Value, String>;
/// The calls that an agent got.
type Asked = Arc<Mutex<Vec<Value>>>;

/// The same with answers of its own, and what it is asked.
fn scripted(number: u8, script: Script) -> (String, Asked) {
    let asked = Asked::default();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let told = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let asked = Arc::clone(&told);
            std::thread::spawn(move || Served::new(number, stream, script, asked).run());
        }
    });
    (address, asked)
}

/// One connection of a scripted agent.
struct Served {
    conn: Conn,
    stream: TcpStream,
    purposes: BTreeMap<ChannelId, &'static str>,
    lines: BTreeMap<ChannelId, Vec<u8>>,
    script: Script,
    asked: Asked,
}

impl Served {
    fn new(number: u8, stream: TcpStream, script: Script, asked: Asked) -> Served {
        stream.set_read_timeout(Some(Duration::from_millis(5))).expect("a socket");
        let config = ServerConfig {
            host_key: KeyPair::from_seed([number; 32]),
            subsystems: &SUBSYSTEMS,
            tuning: Tuning::default(),
        };
        let conn = Conn::server(Arc::new(config), [number; 32], Mono::ZERO);
        let (purposes, lines) = (BTreeMap::new(), BTreeMap::new());
        Served { conn, stream, purposes, lines, script, asked }
    }

    fn run(mut self) {
        let mut bytes = [0; 8192];
        loop {
            let space = self.conn.input_space().len().min(bytes.len());
            match self.stream.read(&mut bytes[..space.max(1)]) {
                Ok(0) => return,
                Ok(count) => {
                    self.conn.input_space()[..count].copy_from_slice(&bytes[..count]);
                    self.conn.input(Mono::ZERO, count);
                }
                // A signal ends a wait with a time limit, too (signal(7)).
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(_) => return,
            }
            while let Some(event) = self.conn.poll_event() {
                if self.act(event) {
                    return;
                }
            }
            let output = self.conn.output().to_vec();
            if self.stream.write_all(&output).is_err() {
                return;
            }
            self.conn.output_sent(output.len());
        }
    }

    /// Says whether the connection is to be dropped.
    fn act(&mut self, event: Event) -> bool {
        match event {
            Event::KeyOffered { key, .. } => {
                self.conn.authorize(key == *KeyPair::from_seed([100; 32]).public());
            }
            Event::Subsystem { channel, name } => {
                self.purposes.insert(channel, name);
                return self.read(channel);
            }
            Event::Readable { channel } => return self.read(channel),
            Event::Disconnected(_) => return true,
            _ => {}
        }
        false
    }

    fn read(&mut self, channel: ChannelId) -> bool {
        let Some(purpose) = self.purposes.get(&channel) else { return false };
        let bytes = self.conn.received(channel).to_vec();
        self.conn.consume(channel, bytes.len());
        let line = self.lines.entry(channel).or_default();
        line.extend(bytes);
        let Some(end) = line.iter().position(|&byte| byte == b'\n') else { return false };
        if *purpose == RPC_SUBSYSTEM {
            let call: Value = serde_json::from_slice(&line[..end]).expect("JSON");
            let answer = (self.script)(&call);
            self.asked.lock().expect("nobody panics").push(call);
            line.clear();
            self.conn.send(channel, &response::to_line(&answer));
            self.end(channel, None);
            return false;
        }
        let header: Value = serde_json::from_slice(&line[..end]).unwrap_or_default();
        let typed: Vec<u8> = line.drain(end + 1..).collect();
        if header["id"] == REFUSED {
            self.conn.send(channel, b"Error response: container is not running\n");
            self.conn.send(channel, &response::to_line(&Err("tmux: no such session".to_owned())));
            self.end(channel, None);
            return false;
        }
        self.type_into(channel, &typed)
    }

    /// The scripted terminal: echoes, `q` ends it, `x` drops the connection.
    fn type_into(&mut self, channel: ChannelId, typed: &[u8]) -> bool {
        if typed.is_empty() {
            self.conn.send(channel, b"\x1b[2Jwelcome\r\n");
        }
        self.conn.send(channel, typed);
        if typed.contains(&b'q') {
            self.conn.send(channel, b"[detached]\r\n");
            self.end(channel, Some(0));
        }
        typed.contains(&b'x')
    }

    fn end(&mut self, channel: ChannelId, status: Option<u32>) {
        if let Some(status) = status {
            self.conn.send_exit_status(channel, status);
        }
        self.conn.send_eof(channel);
        self.conn.close(channel);
    }
}

fn session(id: &str, name: &str) -> Value {
    json!({
        "uuid": id, "name": name, "running": true, "created_at": "2026-01-02T03:04:05Z",
        "last_accessed": "2026-01-02T03:04:05Z", "port": 8080,
    })
}

fn answer(call: &Value) -> Result<Value, String> {
    match call["op"].as_str() {
        Some("list") => Ok(json!([session(WEB, "web"), session(DB, "db\u{1b}[2J")])),
        Some("get") => Ok(session(WEB, "web")),
        Some("ping") => Ok(json!({
            "agent_id": "abcdefghjkm2", "version": "0.1.0", "ops": [], "runtime": "host",
            "server_time": "2026-01-02T03:04:05Z",
        })),
        Some("kill") => Ok(Value::Null),
        Some("restart") => Err("session \"web\" is running".to_owned()),
        Some("create") => Ok(session(WEB, call["params"]["name"].as_str().unwrap_or(""))),
        _ => Err("unknown op".to_owned()),
    }
}

/// An agent of the system before convocate: it tells no ops and no command, has null for no
/// sessions, and takes an absent field of `edit` for an empty one.
fn predecessor(call: &Value) -> Result<Value, String> {
    let told = |id: &str, name: &str, dns_name: &str, running: bool| {
        json!({
            "uuid": id, "name": name, "running": running, "attached": false, "port": 8080,
            "protocol": "udp", "dns_name": dns_name, "created_at": "2026-01-02T03:04:05Z",
            "last_accessed": "2026-01-02T03:04:05Z",
        })
    };
    match call["op"].as_str() {
        Some("list") => Ok(json!([
            told(WEB, "web", "web", true),
            told(DB, "stopped", "", false),
            told(REFUSED, "dotted", "a.example", true),
        ])),
        Some("get") => Ok(told(WEB, "web", "web", true)),
        Some("ping") => Ok(json!({
            "agent_id": "abcdefghjkm2", "version": "0.0.9", "server_time": "2026-01-02T03:04:05Z",
        })),
        Some("edit") => {
            let given = &call["params"];
            let text = |name: &str| given[name].as_str().unwrap_or_default().to_owned();
            let mut session = told(WEB, &text("name"), &text("dns_name"), true);
            session["port"] = json!(given["port"].as_i64().unwrap_or_default());
            session["protocol"] = json!(given["protocol"].as_str().unwrap_or_default());
            Ok(session)
        }
        Some("restart") => Ok(Value::Null),
        _ => Err("unknown op".to_owned()),
    }
}

/// The same without sessions.
fn empty_predecessor(call: &Value) -> Result<Value, String> {
    if call["op"] == "list" { Ok(Value::Null) } else { predecessor(call) }
}

/// An agent whose clock is an hour behind, and one with the right time.
fn slow_clock(call: &Value) -> Result<Value, String> {
    let mut told = answer(call)?;
    if call["op"] == "ping" {
        told["server_time"] = json!(seconds_from_now(-3600).to_string());
    }
    Ok(told)
}

fn right_clock(call: &Value) -> Result<Value, String> {
    let mut told = answer(call)?;
    if call["op"] == "ping" {
        told["server_time"] = json!(seconds_from_now(20).to_string());
    }
    Ok(told)
}

fn seconds_from_now(seconds: i64) -> Wall {
    let now = std::time::UNIX_EPOCH.elapsed().expect("it is later").as_secs();
    Wall::new(now.cast_signed() + seconds, 0)
}

#[test]
fn an_edit_at_a_predecessor_changes_what_was_named_and_nothing_else() {
    let root = Root::new();
    let (address, asked) = scripted(2, predecessor);
    root.enrol(2, &address);
    let (code, output, errors) = root.run(&["edit", "web", "--name", "other", "--json"]);
    assert_eq!(code, 0, "{errors}");
    let changed: Value = serde_json::from_str(&output).expect("JSON");
    let told = ["name", "port", "protocol", "dns_name"].map(|field| changed[field].clone());
    assert_eq!(told, [json!("other"), json!(8080), json!("udp"), json!("web")]);
    // What it does not know is said before it is asked.
    let before = asked.lock().expect("nobody panics").len();
    for more in [["--pids", "77"], ["--allow", "npm"], ["--prompt", "go"]] {
        let (code, _, errors) = root.run(&[&["edit", "web"][..], &more].concat());
        assert!(code == 1 && errors.contains("only name, port, protocol and DNS name"), "{errors}");
    }
    // What our rules refuse is to be given anew, and can be.
    let (code, _, errors) = root.run(&["edit", "dotted", "--name", "fine"]);
    assert!(code == 1 && errors.contains("\"a.example\"") && errors.contains("--dns"), "{errors}");
    let asked_since = asked.lock().expect("nobody panics")[before..].to_vec();
    assert!(asked_since.iter().all(|call| call["op"] != "edit"), "{asked_since:?}");
    let (code, _, errors) = root.run(&["edit", "dotted", "--dns", "a"]);
    assert_eq!(code, 0, "{errors}");
}

#[test]
fn a_predecessor_without_sessions_has_none_and_is_reachable() {
    let root = Root::new();
    root.enrol(2, &scripted(2, empty_predecessor).0);
    let (code, output, errors) = root.run(&["ls", "--json"]);
    let listed: Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!((code, &listed["sessions"], &listed["incomplete"]), (0, &json!([]), &json!([])));
    assert_eq!(errors, "");
    let (_, output, _) = root.run(&["agents", "--json"]);
    let agents: Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!(agents["agents"][0]["sessions"], 0, "{output}");
}

#[test]
fn attaching_at_a_predecessor_starts_what_is_stopped_and_tells_a_refusal() {
    let root = Root::new();
    let (address, asked) = scripted(2, predecessor);
    root.enrol(2, &address);
    let mut attached = Attached::start(&root.0, &["stopped"]);
    attached.wait_for("welcome");
    let started = |asked: &Asked| {
        let asked = asked.lock().expect("nobody panics");
        asked.iter().filter(|call| call["op"] == "restart").count()
    };
    assert_eq!(started(&asked), 1);
    attached.type_keys(b"q");
    attached.wait_for("come back with");
    let mut attached = Attached::start(&root.0, &["dotted"]);
    attached.wait_for("session \"dotted\": tmux: no such session");
    assert_eq!(started(&asked), 1, "one that runs is not started");
}

#[test]
fn clocks_that_are_apart_are_told_once() {
    let root = Root::new();
    root.enrol(2, &scripted(2, slow_clock).0);
    root.enrol(3, &scripted(3, right_clock).0);
    let (code, _, errors) = root.run(&["agents"]);
    assert_eq!((code, errors.matches("the clock of").count()), (0, 1), "{errors}");
    assert!(errors.contains("behind this host's") && errors.contains("timedatectl"), "{errors}");
    let (_, output, _) = root.run(&["agents", "--json"]);
    let agents: Value = serde_json::from_str(&output).expect("JSON");
    let off = agents["agents"][0]["clock_off_seconds"].as_i64().expect("a number");
    assert!((-3600..-3500).contains(&off), "{off}");
}

/// Whether the copy that an agent makes is done.
static IS_COPIED: AtomicBool = AtomicBool::new(false);

fn slow_copier(call: &Value) -> Result<Value, String> {
    if call["op"] != "clone" {
        return answer(call);
    }
    while !IS_COPIED.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
    Ok(session(DB, "copy"))
}

#[test]
fn a_copy_that_takes_long_is_told_and_waited_for() {
    let root = Root::new();
    root.enrol(2, &scripted(2, slow_copier).0);
    let mut cloning = Command::new(env!("CARGO_BIN_EXE_convocate"))
        .args(["clone", "web", "copy", "--root"])
        .arg(&root.0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut errors = BufReader::new(cloning.stderr.take().expect("a pipe"));
    let mut told = String::new();
    errors.read_line(&mut told).expect("a line");
    assert!(told.contains("being copied") && told.contains("60 minutes"), "{told}");
    IS_COPIED.store(true, Ordering::Relaxed);
    let output = cloning.wait_with_output().expect("it ends");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("created session \"copy\""));
}

#[test]
fn a_whole_id_that_two_agents_have_removes_neither() {
    let root = Root::new();
    let agents = [2, 3].map(|number| scripted(number, answer));
    root.enrol(2, &agents[0].0);
    root.enrol(3, &agents[1].0);
    let (code, _, errors) = root.run(&["rm", WEB]);
    assert!(code == 1 && errors.contains("is ambiguous"), "{errors}");
    let hosts = agents.each_ref().map(|(address, _)| address.split(':').next().expect("a host"));
    assert!(hosts.iter().all(|host| errors.contains(host)), "{errors}");
    assert!(errors.contains("--agent"), "{errors}");
    for (_, asked) in &agents {
        let asked = asked.lock().expect("nobody panics");
        assert!(asked.iter().all(|call| call["op"] != "delete"), "{asked:?}");
    }
}

/// A port where nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").to_string()
}

#[test]
fn one_dead_agent_hides_no_session() {
    let root = Root::new();
    root.enrol(2, &agent(2));
    root.enrol(3, &nobody());
    let (code, output, errors) = root.run(&["ls"]);
    assert_eq!(code, 0, "{errors}");
    assert!(output.contains(WEB) && output.contains("8080/tcp"), "{output}");
    assert!(output.contains("db\\u{1b}[2J"), "{output}");
    assert!(errors.contains("? agent abcdefghjkm3") && errors.contains("refused"), "{errors}");
    let (code, output, _) = root.run(&["ls", "--json"]);
    let value: Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!((code, &value["sessions"][0]["state"]), (0, &json!("R")));
    assert_eq!(value["incomplete"][0]["agent_id"], "abcdefghjkm3");
    let (_, output, _) = root.run(&["agents"]);
    assert!(output.contains(" ms") && output.contains("? cannot connect"), "{output}");
}

#[test]
fn verbs_say_what_they_did_or_why_not() {
    let root = Root::new();
    root.enrol(2, &agent(2));
    for (words, code, output, errors) in [
        (&["kill", "web"][..], 0, "stopped session \"web\" 01234567", ""),
        (&["kill", "nope"], 1, "", "convocate: kill: session \"nope\" not found"),
        (&["stop", "nope", "web"], 1, "stopped session \"web\"", "session \"nope\" not found"),
        (&["rm", "0123"], 1, "", "only the start of an id"),
        (&["restart", "web"], 1, "", "convocate: restart: session \"web\" is running"),
        (&["show", WEB], 0, "R running, nobody attached", ""),
        (&["new", "fresh", "--port", "auto"], 0, "created session \"fresh\"", ""),
        (&["attach", "nope"], 255, "", ""),
        // It is of a version that has none of these.
        (&["screen", "web"], 1, "", "has version 0.1.0, which has no screen; update it: convocate"),
        (&["send", "web", "x"], 1, "", "has version 0.1.0, which has no send; update it"),
        (&["exec", "web", "ls"], 125, "", "has version 0.1.0, which has no exec; update it"),
        (&["wait", "web"], 1, "", "has version 0.1.0, which has no wait; update it"),
    ] {
        let found = root.run(words);
        assert_eq!(found.0, code, "{words:?} {found:?}");
        assert!(found.1.contains(output) && found.2.contains(errors), "{words:?} {found:?}");
    }
}

#[test]
fn a_foreign_host_key_is_named_with_its_repair() {
    let root = Root::new();
    root.enrol(3, &agent(2));
    let (code, _, errors) = root.run(&["ls"]);
    assert_eq!(code, 1);
    assert!(errors.contains("host key mismatch") && errors.contains("host_key.pub"), "{errors}");
    assert_eq!(errors.matches("SHA256:").count(), 2, "{errors}");
}

/// `convocate attach` on a terminal of ours.
struct Attached {
    pty: Pty,
    screen: String,
}

impl Attached {
    fn start(root: &Path, words: &[&str]) -> Attached {
        let mut all: Vec<std::ffi::OsString> =
            vec!["attach".into(), "--root".into(), root.as_os_str().to_owned()];
        all.extend(words.iter().map(std::ffi::OsString::from));
        let program = Program::new(env!("CARGO_BIN_EXE_convocate"), all);
        let pty = Pty::spawn(&program, Size { columns: 100, rows: 30 }).expect("a terminal");
        Attached { pty, screen: String::new() }
    }

    fn wait_for(&mut self, text: &str) {
        let start = Instant::now();
        let mut bytes = [0; 4096];
        while !self.screen.contains(text) {
            assert!(start.elapsed() < PATIENCE, "no {text:?} in {:?}", self.screen);
            match self.pty.master.read(&mut bytes) {
                Moved::Bytes(count) => {
                    self.screen.push_str(&String::from_utf8_lossy(&bytes[..count]));
                }
                Moved::Blocked => std::thread::yield_now(),
                Moved::Closed | Moved::Failed(_) => break,
            }
        }
        assert!(self.screen.contains(text), "no {text:?} in {:?}", self.screen);
    }

    fn type_keys(&self, keys: &[u8]) {
        assert!(matches!(self.pty.master.write(keys), Moved::Bytes(count) if count == keys.len()));
    }
}

#[test]
fn attach_shows_types_survives_a_loss_and_leaves() {
    let root = Root::new();
    root.enrol(2, &agent(2));
    let mut attached = Attached::start(&root.0, &["web"]);
    attached.wait_for("welcome");
    attached.type_keys(b"hello");
    attached.wait_for("hello");
    attached.screen.clear();
    attached.type_keys(b"x");
    attached.wait_for("reconnecting, Ctrl-C gives up");
    attached.wait_for("welcome");
    attached.type_keys(b"q");
    attached.wait_for("[detached]");
    attached.wait_for("come back with: convocate attach 01234567");
    attached.wait_for(" --root /");
}

/// Nobody answers on the others' while the terminal is there.
#[test]
fn attach_keeps_no_connection_but_its_own() {
    let root = Root::new();
    root.enrol(2, &agent(2));
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    root.enrol(3, &other.local_addr().expect("bound").to_string());
    let mut attached = Attached::start(&root.0, &[WEB]);
    let (mut asked, _) = other.accept().expect("it is asked, too");
    attached.wait_for("welcome");
    asked.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let ended = asked.read_to_end(&mut Vec::new());
    let is_reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
    assert!(ended.as_ref().map_or_else(is_reset, |_| true), "{ended:?}");
    attached.type_keys(b"q");
    attached.wait_for("[detached]");
}
