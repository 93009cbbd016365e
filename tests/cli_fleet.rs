//! The `convocate` program against scripted agents on loopback: real sockets, real keys, a real
//! terminal.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use convocate::base::endpoint::Endpoint;
use convocate::base::time::Mono;
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
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || Served::new(number, stream).run());
        }
    });
    address
}

/// One connection of a scripted agent.
struct Served {
    conn: Conn,
    stream: TcpStream,
    purposes: BTreeMap<ChannelId, &'static str>,
    lines: BTreeMap<ChannelId, Vec<u8>>,
}

impl Served {
    fn new(number: u8, stream: TcpStream) -> Served {
        stream.set_read_timeout(Some(Duration::from_millis(5))).expect("a socket");
        let config = ServerConfig {
            host_key: KeyPair::from_seed([number; 32]),
            subsystems: &SUBSYSTEMS,
            tuning: Tuning::default(),
        };
        let conn = Conn::server(Arc::new(config), [number; 32], Mono::ZERO);
        Served { conn, stream, purposes: BTreeMap::new(), lines: BTreeMap::new() }
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
            let answer = answer(&serde_json::from_slice(&line[..end]).expect("JSON"));
            line.clear();
            self.conn.send(channel, &response::to_line(&answer));
            self.end(channel, None);
            return false;
        }
        let typed: Vec<u8> = line.drain(end + 1..).collect();
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
