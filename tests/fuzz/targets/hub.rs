//! Arbitrary lines of an agent with a valid key, and the hub's core on a disk in memory: it keeps
//! no more of that agent than it may, the hosts file has whole lines of its own, and nothing of
//! another agent changes; also when it is read again from its journal.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use convocate::base::disk::{DiskDone, DiskOp, FileNo};
use convocate::base::time::{Mono, Now, Wall};
use convocate::limits;
use convocate::rpc::reserved::HostNames;
use convocate::status::dns::HostsFile;
use convocate::status::hub::Hub;
use convocate::status::journal::Tuning;
use convocate::status::listener::Listener;
use convocate::status::recovery::Recovery;
use convocate::status::subscribe::Subscriber;
use serde_json::{Value, json};

const HOSTILE: &str = "abcdefghjkmn";
const HONEST: &str = "bcdefghjkmnp";
const UUID: &str = "01234567-89ab-4def-8123-45678901cde";

struct World {
    hub: Hub,
    disk: BTreeMap<FileNo, Vec<u8>>,
    now: Now,
    hosts: HostsFile,
}

pub fn run(input: &[u8]) {
    let mut world = World::over(BTreeMap::new());
    let mut honest = world.connect(HONEST);
    world.send(&mut honest, &line(HONEST, "container.created", &session(0, "web")));
    let known = format!("{:?}", world.hub.agent(HONEST).map(|it| &it.sessions));
    let mut hostile = world.connect(HOSTILE);
    let mut seq = 0;
    for (number, piece) in input.split(|byte| *byte == b'\n').enumerate() {
        seq += 1;
        world.send(&mut hostile, &written(piece, seq));
        world.check(&known);
        if number % 16 == 15 {
            let disk = std::mem::take(&mut world.disk);
            world = World::over(disk);
            world.check(&known);
            hostile = world.connect(HOSTILE);
        }
    }
    // Another one may still speak, and is told of.
    let mut honest = world.connect(HONEST);
    world.send(&mut honest, &line(HONEST, "container.created", &session(1, "db")));
    assert!(world.text().contains("10.0.0.2 db\n"));
    world.hub.lost(world.now, HOSTILE, &String::from_utf8_lossy(input));
    world.check(&format!("{:?}", world.hub.agent(HONEST).map(|it| &it.sessions)));
}

impl World {
    fn over(mut disk: BTreeMap<FileNo, Vec<u8>>) -> World {
        let files = disk.iter().map(|(file, bytes)| (*file, bytes.len() as u64)).collect();
        let mut recovery =
            Recovery::new(files, Tuning { file_bytes: 64 * 1024, ..Tuning::default() });
        while let Some(op) = recovery.poll_disk() {
            recovery.disk_done(execute(&mut disk, op));
        }
        let now = Now { mono: Mono::from_nanos(1), wall: Wall::new(1_800_000_000, 0) };
        World { hub: recovery.finish(), disk, now, hosts: HostsFile::default() }
    }

    fn connect(&mut self, id: &str) -> Listener {
        assert!(self.hub.connected(self.now, id));
        self.sync();
        Listener::new(id, &self.hub)
    }

    fn send(&mut self, listener: &mut Listener, line: &[u8]) {
        let mut taken = 0;
        while taken < line.len() {
            taken += listener.input(self.now, &line[taken..], &mut self.hub);
            self.sync();
        }
        while listener.poll_note().is_some() {}
        self.now.mono = self.now.mono + Duration::from_millis(100);
        self.hub.tick(self.now);
        while self.hub.poll_want().is_some() || self.hub.poll_notice().is_some() {}
    }

    fn sync(&mut self) {
        while let Some(op) = self.hub.poll_disk() {
            let done = execute(&mut self.disk, op);
            self.hub.disk_done(self.now.mono, done);
        }
    }

    fn text(&mut self) -> String {
        let mut hosts = HostNames::default();
        hosts.insert("host-1");
        let place = |id: &str| {
            let last = if id == HONEST { 2 } else { 3 };
            Some(IpAddr::from([10, 0, 0, last]))
        };
        self.hosts.write(&self.hub, &hosts, place).text
    }

    fn check(&mut self, honest: &str) {
        let text = self.text();
        let is_label = |name: &str| {
            let is_sign =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            (1..=63).contains(&name.len()) && name.bytes().all(is_sign)
        };
        assert!(text.starts_with("# convocate: ") && text.ends_with("# convocate: end\n"));
        let mut lines = text.lines().filter(|line| !line.starts_with("# convocate: "));
        assert!(lines.clone().any(|line| line == "10.0.0.2 web"), "{text}");
        let is_sane = lines.all(|line| match line.split_once(' ') {
            Some(("10.0.0.2", name)) => ["web", "db"].contains(&name),
            Some(("10.0.0.3", name)) => {
                is_label(name) && !["web", "localhost", "wpad", "host-1", "dns"].contains(&name)
            }
            _ => false,
        });
        assert!(is_sane, "{text}");
        let theirs = self.hub.agent(HONEST).map(|it| &it.sessions);
        assert_eq!(format!("{theirs:?}"), honest, "another agent's sessions");
        let kept = self.hub.agent(HOSTILE).map_or(0, |it| it.kept_bytes());
        assert!(kept <= limits::AGENT_BYTES_MAX, "{kept} bytes are kept");
        let mut subscriber = Subscriber::new();
        let snapshot = subscriber.output(&self.hub).to_vec();
        assert!(!snapshot.iter().any(|byte| *byte < 0x20 && *byte != b'\n'), "raw in a snapshot");
    }
}

fn execute(disk: &mut BTreeMap<FileNo, Vec<u8>>, op: DiskOp) -> DiskDone {
    match op {
        DiskOp::Commit { file, offset, bytes } => {
            let content = disk.entry(file).or_default();
            content.truncate(usize::try_from(offset).expect("it is in memory"));
            content.extend_from_slice(&bytes);
            DiskDone::Committed { bytes, result: Ok(()) }
        }
        DiskOp::Read { file, offset, len, mut buffer } => {
            let content = &disk[&file][usize::try_from(offset).expect("it is in memory")..];
            buffer.clear();
            buffer.extend_from_slice(&content[..len.min(content.len())]);
            DiskDone::Read { buffer, result: Ok(()) }
        }
        DiskOp::Remove { file } => {
            disk.remove(&file);
            DiskDone::Removed { result: Ok(()) }
        }
    }
}

fn session(number: u8, dns_name: &str) -> Value {
    json!({
        "uuid": format!("{UUID}{}", number % 10), "name": "web", "dns_name": dns_name,
        "created_at": "2026-01-02T03:04:05Z", "last_accessed": "2026-01-02T03:04:05Z",
    })
}

fn line(id: &str, kind: &str, data: &Value) -> Vec<u8> {
    let event = json!({
        "type": kind, "agent_id": id, "timestamp": "2026-01-02T03:04:05Z", "data": data,
        "session_id": data["uuid"],
    });
    format!("{event}\n").into_bytes()
}

/// A line: as it is if it looks like one, else an event with a field that is anything.
fn written(piece: &[u8], seq: u64) -> Vec<u8> {
    const KINDS: &[&str] = &[
        "container.created",
        "container.edited",
        "container.started",
        "container.stopped",
        "container.deleted",
        "session.attached",
        "agent.started",
        "agent.heartbeat",
        "agent.gap",
        "agent.shutdown",
        "hub.session",
        "hub.removed",
        "hub.forgotten",
        "x.other",
    ];
    const FIELDS: &[&str] = &[
        "dns_name",
        "name",
        "command",
        "image",
        "uuid",
        "broken",
        "stale",
        "created_at",
        "ended",
        "publish",
        "version",
        "image_tag",
        "usage",
        "from",
        "port",
        "cpus",
    ];
    const OUTER: &[&str] = &["session_id", "agent_id", "timestamp", "epoch", "seq", "type", "data"];
    let [kind, field, times, value @ ..] = piece else { return b"\n".to_vec() };
    if *kind == b'{' {
        return [piece, b"\n"].concat();
    }
    let text = String::from_utf8_lossy(value).repeat(usize::from(*times) % 64 + 1);
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    let mut data = session(kind / 16, ["free", "web", "localhost"][usize::from(*times) % 3]);
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let field = usize::from(*field);
    if field < 128 {
        data[FIELDS[field % FIELDS.len()]] = value.clone();
    }
    let mut event: Value =
        serde_json::from_slice(&line(HOSTILE, kind, &data)).expect("it was just written");
    if kind != "agent.heartbeat" {
        (event["epoch"], event["seq"]) = (json!("e"), json!(seq));
    }
    if field >= 128 {
        event[OUTER[field % OUTER.len()]] = value;
    }
    format!("{event}\n").into_bytes()
}
