//! Listener, hub, journal and subscribers together, on a disk in memory.

use std::time::Duration;

use serde_json::{Value, json};

use super::dns::HostsFile;
use super::hub::{Hub, HubAction};
use super::journal::Tuning;
use super::known::Presence;
use super::listener::{Listener, ListenerNote};
use super::notices::{Finder, Notice};
use super::recovery::Recovery;
use super::subscribe::Subscriber;
use crate::base::disk::memory::Disk;
use crate::base::time::{Mono, Now, Wall};
use crate::limits::{AGENT_BYTES_MAX, EVENT_BYTES_MAX, HEARTBEAT_BYTES_MAX, STATUS_SILENCE};
use crate::rpc::reserved::HostNames;

const AGENT: &str = "abcdefghjkmn";
const SESSION: &str = "01234567-89ab-4def-8123-456789abcdef";

struct Bench {
    hub: Hub,
    disk: Disk,
    now: Now,
}

impl Bench {
    fn new() -> Bench {
        Bench::recover(Disk::default(), Tuning::default())
    }

    fn recover(mut disk: Disk, tuning: Tuning) -> Bench {
        let mut recovery = Recovery::new(disk.lengths(), tuning);
        while let Some(op) = recovery.poll_disk() {
            recovery.disk_done(disk.execute(op));
        }
        let now = Now { mono: Mono::from_nanos(1), wall: Wall::new(1_800_000_000, 0) };
        Bench { hub: recovery.finish(), disk, now }
    }

    fn connect(&mut self) -> Listener {
        assert!(self.hub.connected(self.now, AGENT));
        Listener::new(AGENT, &self.hub)
    }

    fn sync(&mut self) {
        while let Some(op) = self.hub.poll_disk() {
            let done = self.disk.execute(op);
            self.hub.disk_done(self.now.mono, done);
        }
    }

    fn send(&mut self, listener: &mut Listener, bytes: &[u8]) {
        assert_eq!(listener.input(self.now, bytes, &mut self.hub), bytes.len());
    }

    /// Types that the hub tells a subscriber after event `since`.
    fn told(&self, since: u64) -> Vec<String> {
        let lines = read(&mut Subscriber::new(), &self.hub, since);
        let kinds = lines.iter().filter(|line| line.get("event").is_some());
        kinds.map(|line| line["event"]["type"].as_str().unwrap().to_owned()).collect()
    }

    fn snapshot(&self) -> Value {
        read(&mut Subscriber::new(), &self.hub, u64::MAX).remove(0)["snapshot"].take()
    }
}

fn read(subscriber: &mut Subscriber, hub: &Hub, since: u64) -> Vec<Value> {
    subscriber.input(format!("{{\"since\":{since}}}\n").as_bytes(), hub).unwrap();
    drain(subscriber, hub, 7)
}

fn drain(subscriber: &mut Subscriber, hub: &Hub, step: usize) -> Vec<Value> {
    let mut bytes = Vec::new();
    loop {
        let output = subscriber.output(hub);
        let count = output.len().min(step);
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&output[..count]);
        subscriber.output_sent(count, hub);
    }
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn line(kind: &str, seq: u64, data: &Value) -> Vec<u8> {
    let event = json!({
        "type": kind, "agent_id": AGENT, "session_id": SESSION,
        "timestamp": "2027-01-15T08:00:00Z", "data": data, "epoch": "e1", "seq": seq,
    });
    (event.to_string() + "\n").into_bytes()
}

fn session(dns_name: &str) -> Value {
    json!({
        "uuid": SESSION, "name": "web", "created_at": "2027-01-15T08:00:00Z",
        "last_accessed": "2027-01-15T08:00:00Z", "dns_name": dns_name, "running": true,
    })
}

fn output(listener: &mut Listener, hub: &Hub) -> String {
    let text = String::from_utf8(listener.output().to_vec()).unwrap();
    listener.output_sent(text.len(), hub);
    text
}

#[test]
fn acknowledged_and_told_only_when_durable_and_all_at_once() {
    let mut bench = Bench::new();
    let mut listener = bench.connect();
    bench.sync();
    assert_eq!(output(&mut listener, &bench.hub), "{\"hello\":{\"ack\":true}}\n");
    for seq in 1..=3 {
        bench.send(&mut listener, &line("container.stopped", seq, &Value::Null));
    }
    assert_eq!(output(&mut listener, &bench.hub), "");
    assert_eq!(bench.told(0), ["hub.connected"]);
    bench.sync();
    listener.settle(&bench.hub);
    assert_eq!(output(&mut listener, &bench.hub), "{\"ack\":{\"epoch\":\"e1\",\"seq\":3}}\n");
    assert_eq!(bench.told(1), ["container.stopped"; 3]);
}

#[test]
fn lines_are_read_however_they_are_cut() {
    let bytes =
        [line("container.stopped", 1, &Value::Null), line("x.new", 2, &json!([1]))].concat();
    for cut in 1..bytes.len() {
        let mut bench = Bench::new();
        let mut listener = bench.connect();
        bench.send(&mut listener, &bytes[..cut]);
        bench.send(&mut listener, &bytes[cut..]);
        bench.sync();
        assert_eq!(bench.told(1), ["container.stopped", "x.new"], "{cut}");
        assert_eq!(listener.poll_note(), None);
    }
}

#[test]
fn duplicates_are_dropped_and_holes_are_announced() {
    let mut bench = Bench::new();
    let mut listener = bench.connect();
    for seq in [1, 2, 1, 2, 5, 4, 6] {
        bench.send(&mut listener, &line("container.stopped", seq, &Value::Null));
    }
    let gap = json!({ "from": 7, "to": 9, "count": 3 });
    bench.send(&mut listener, &line("agent.gap", 9, &gap));
    bench.send(&mut listener, &line("container.stopped", 10, &Value::Null));
    bench.sync();
    let stopped = "container.stopped";
    assert_eq!(
        bench.told(1),
        [stopped, stopped, "agent.gap", stopped, stopped, "agent.gap", stopped]
    );
    let gap = |from, to, by| Some(Notice::Gap { agent_id: AGENT.into(), from, to, by });
    assert_eq!(bench.hub.poll_notice(), gap(3, 4, Finder::Hub));
    assert_eq!(bench.hub.poll_notice(), gap(7, 9, Finder::Agent));
    assert_eq!(bench.hub.poll_notice(), None);
    assert_eq!(bench.hub.poll_want(), Some(HubAction::Names));
    assert_eq!(bench.hub.poll_want(), Some(HubAction::List(AGENT.into())));
    assert_eq!(bench.hub.poll_want(), None);
}

#[test]
fn a_restart_remembers_positions_sessions_and_numbers() {
    let mut bench = Bench::new();
    let mut listener = bench.connect();
    let started = json!({ "version": "7", "image_tag": "convocate:7" });
    bench.send(&mut listener, &line("agent.started", 1, &started));
    bench.send(&mut listener, &line("container.created", 2, &session("web")));
    bench.sync();
    let told = bench.hub.told();
    bench.send(&mut listener, &line("container.deleted", 3, &Value::Null));
    let mut bench = Bench::recover(bench.disk, Tuning::default());
    assert_eq!(bench.hub.told(), told);
    assert_eq!(bench.hub.names().map(|claim| claim.name).collect::<Vec<_>>(), ["web"]);
    let mut listener = bench.connect();
    let hello = "{\"hello\":{\"ack\":true,\"epoch\":\"e1\",\"seq\":2}}\n";
    assert_eq!(output(&mut listener, &bench.hub), hello);
    bench.send(&mut listener, &line("container.created", 2, &session("web")));
    bench.sync();
    assert_eq!(bench.told(told), ["hub.connected"]);
    let agent = &bench.snapshot()["agents"][0];
    assert_eq!((&agent["version"], &agent["sessions"][0]["name"]), (&json!("7"), &json!("web")));
}

#[test]
fn checkpoints_replace_old_files_and_keep_what_is_known() {
    let tuning = Tuning { file_bytes: 2000, checkpoint_bytes: 1 };
    let mut bench = Bench::recover(Disk::default(), tuning);
    let mut listener = bench.connect();
    bench.send(&mut listener, &line("container.created", 1, &session("web")));
    for seq in 2..200 {
        bench.send(&mut listener, &line("container.stopped", seq, &Value::Null));
        bench.sync();
        assert!(bench.disk.files.len() <= 2);
        assert!(bench.disk.files.values().map(Vec::len).sum::<usize>() < 10_000);
        let bench =
            Bench::recover(Disk { files: bench.disk.files.clone(), ..Disk::default() }, tuning);
        assert_eq!(bench.hub.durable(AGENT).map(|position| position.seq), Some(seq));
        assert_eq!(bench.hub.names().count(), 1);
        assert_eq!(bench.hub.told(), seq + 1);
    }
}

#[test]
fn a_checkpoint_that_the_disk_does_not_take_costs_nothing() {
    for checkpoint_bytes in [1, 100_000] {
        checkpoint_on_a_bad_disk(Tuning { file_bytes: 1000, checkpoint_bytes });
    }
}

fn checkpoint_on_a_bad_disk(tuning: Tuning) {
    let mut bench = Bench::recover(Disk::default(), tuning);
    let mut listener = bench.connect();
    bench.send(&mut listener, &line("container.created", 1, &session("web")));
    bench.sync();
    for seq in 2..60 {
        bench.send(&mut listener, &line("container.stopped", seq, &Value::Null));
        bench.disk.full = true;
        bench.sync();
        let files = bench.disk.files.clone();
        let before = Bench::recover(Disk { files, ..Disk::default() }, tuning);
        assert_eq!(before.hub.names().count(), 1, "{seq}");
        assert_eq!(before.hub.durable(AGENT).map(|position| position.seq), Some(seq - 1));
        bench.disk.full = false;
        bench.now.mono = bench.now.mono + Duration::from_secs(1);
        bench.hub.tick(bench.now);
        bench.sync();
    }
}

#[test]
fn a_full_disk_holds_agents_back_and_loses_nothing() {
    let mut bench = Bench::new();
    let mut listener = bench.connect();
    bench.sync();
    bench.disk.full = true;
    let bytes = line("container.stopped", 1, &json!("x".repeat(1000)));
    let mut seq = 0;
    while bench.hub.has_room() {
        seq += 1;
        bench.send(&mut listener, &line("container.stopped", seq, &json!("x".repeat(1000))));
        bench.sync();
        assert!(seq < 2000, "the hub takes events without end");
    }
    assert_eq!(listener.input(bench.now, &bytes, &mut bench.hub), 0);
    assert!(bench.hub.trouble().is_some());
    assert_eq!(bench.hub.durable(AGENT), None);
    bench.disk.full = false;
    bench.now.mono = bench.now.mono + Duration::from_secs(1);
    bench.hub.tick(bench.now);
    bench.sync();
    assert_eq!(bench.hub.durable(AGENT).map(|position| position.seq), Some(seq));
    let bench = Bench::recover(bench.disk, Tuning::default());
    assert_eq!(bench.hub.durable(AGENT).map(|position| position.seq), Some(seq));
}

#[test]
fn foreign_and_undecodable_events_are_noted_and_skipped() {
    let mut bench = Bench::new();
    let mut listener = bench.connect();
    let foreign = json!({ "type": "x", "agent_id": "other", "timestamp": "t" }).to_string() + "\n";
    bench.send(&mut listener, foreign.as_bytes());
    bench.send(&mut listener, b"\xff\x1b[2J\n");
    bench.send(&mut listener, &line("container.stopped", 1, &Value::Null));
    let sentence = listener.poll_note().unwrap().to_string();
    assert!(sentence.contains("claims to be from agent \"other\""), "{sentence}");
    let sentence = listener.poll_note().unwrap().to_string();
    assert!(!sentence.contains('\u{1b}'), "{sentence}");
    bench.sync();
    assert_eq!(bench.told(1), ["container.stopped"]);
    // A minute of them, one at a time: the log gets few lines, and how many there were.
    let mut notes = Vec::new();
    for _ in 0..6000 {
        bench.now.mono = bench.now.mono + Duration::from_millis(10);
        bench.send(&mut listener, b"{}\n");
        notes.extend(std::iter::from_fn(|| listener.poll_note()));
    }
    let more = notes.iter().map(|note| match note {
        ListenerNote::More(count) => *count,
        _ => 1,
    });
    assert!(notes.len() <= 16 && more.sum::<u64>() > 4900, "{notes:?}");
}

#[test]
fn a_line_over_the_limit_ends_the_channel() {
    let mut bench = Bench::new();
    let mut listener = bench.connect();
    bench.send(&mut listener, &vec![b'x'; EVENT_BYTES_MAX]);
    assert!(!listener.is_failed());
    bench.send(&mut listener, b"x");
    assert!(listener.is_failed());
    bench.send(&mut listener, &line("container.stopped", 1, &Value::Null));
    bench.sync();
    assert_eq!(bench.told(1), [""; 0]);
}

#[test]
fn presence_follows_what_is_heard() {
    let mut bench = Bench::new();
    let mut listener = bench.connect();
    let presence = |bench: &Bench| bench.hub.agent(AGENT).unwrap().presence.clone();
    bench.now.mono = bench.now.mono + STATUS_SILENCE;
    assert_eq!(bench.hub.deadline(), Some(bench.now.mono));
    bench.hub.tick(bench.now);
    assert_eq!(presence(&bench), Presence::Silent);
    assert_eq!(bench.hub.poll_notice(), Some(Notice::Silent { agent_id: AGENT.into() }));
    let beat = json!({
        "type": "agent.heartbeat", "agent_id": AGENT, "timestamp": "2027-01-15T08:00:00Z",
        "data": 5,
    });
    bench.send(&mut listener, (beat.to_string() + "\n").as_bytes());
    assert_eq!(presence(&bench), Presence::Connected);
    assert_eq!(bench.hub.poll_notice(), Some(Notice::Back { agent_id: AGENT.into() }));
    assert_eq!(bench.hub.poll_notice(), None);
    bench.hub.lost(bench.now, AGENT, "connection reset");
    assert_eq!(presence(&bench), Presence::Lost("connection reset".into()));
    bench.sync();
    let told = ["hub.connected", "hub.silent", "hub.connected", "agent.heartbeat", "hub.lost"];
    assert_eq!(bench.told(0), told);
    assert_eq!(bench.snapshot()["agents"][0]["load"], json!(5));
    let mut listener = bench.connect();
    bench.send(&mut listener, &line("agent.shutdown", 1, &json!({ "reason": "SIGTERM" })));
    bench.hub.lost(bench.now, AGENT, "closed");
    assert_eq!(presence(&bench), Presence::Down);
}

#[test]
fn a_list_becomes_the_events_that_were_missed() {
    let mut bench = Bench::new();
    let mut listener = bench.connect();
    bench.send(&mut listener, &line("container.created", 1, &session("web")));
    let list = |value: Value| vec![serde_json::from_value(value).unwrap()];
    bench.hub.listed(bench.now, AGENT, list(session("web")));
    bench.hub.listed(bench.now, AGENT, list(session("www")));
    bench.hub.listed(bench.now, AGENT, Vec::new());
    bench.sync();
    assert_eq!(bench.told(1), ["container.created", "hub.session", "hub.removed"]);
    assert_eq!(bench.hub.names().count(), 0);
}

#[test]
fn a_subscriber_that_is_too_slow_is_told_a_new_snapshot_and_whole_lines() {
    let mut bench = Bench::new();
    let mut listener = bench.connect();
    bench.sync();
    let mut slow = Subscriber::new();
    assert_eq!(drain(&mut slow, &bench.hub, 1000).len(), 1);
    bench.send(&mut listener, &line("container.stopped", 1, &Value::Null));
    bench.sync();
    let start = slow.output(&bench.hub)[..10].to_vec();
    slow.output_sent(10, &bench.hub);
    for seq in 2..6000 {
        bench.send(&mut listener, &line("container.stopped", seq, &Value::Null));
        bench.sync();
    }
    let mut bytes = start;
    while !slow.output(&bench.hub).is_empty() {
        let output = slow.output(&bench.hub).to_vec();
        bytes.extend_from_slice(&output);
        slow.output_sent(output.len(), &bench.hub);
    }
    let lines: Vec<Value> = bytes
        .split_inclusive(|&byte| byte == b'\n')
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["snapshot"]["seq"], json!(bench.hub.told()));
    let again = read(&mut slow, &bench.hub, 1);
    assert!(again[0].get("missed").is_some(), "{}", again[0]);
    assert_eq!(again.last().unwrap()["seq"], json!(bench.hub.told()));
}

#[test]
fn ten_thousand_sessions_are_small() {
    let bytes = size_of::<crate::rpc::session::Session>();
    assert!(bytes <= 280, "{bytes}");
}

#[test]
fn what_an_agent_may_not_say_is_refused_and_its_number_taken() {
    let mut bench = Bench::new();
    let mut listener = bench.connect();
    bench.send(&mut listener, &line("container.created", 1, &session("web")));
    let mut long = session("long");
    long["name"] = json!("x".repeat(100_000));
    let mut escape = session("escape");
    escape["command"] = json!("\u{1b}]52;c;AAAA\u{7}");
    let hostile = [
        line("container.edited", 2, &session("x\n10.9.9.9 github.com")),
        line("container.edited", 3, &long),
        line("container.edited", 4, &escape),
        line("container.edited", 5, &json!("no session")),
        line("hub.forgotten", 6, &Value::Null),
        line("hub.session", 7, &session("forged")),
        line("agent.started", 8, &json!({ "version": "\u{1b}[2J" })),
        line("x\u{1b}", 9, &Value::Null),
        line("container.stopped", u64::MAX, &Value::Null),
    ];
    for line in &hostile {
        bench.send(&mut listener, line);
    }
    bench.send(&mut listener, &line("container.stopped", 10, &Value::Null));
    bench.sync();
    let told = bench.told(0);
    let expected: Vec<&str> = ["hub.connected", "container.created"]
        .into_iter()
        .chain(std::iter::repeat_n("agent.gap", 8))
        .chain(["container.stopped"])
        .collect();
    assert_eq!(told, expected);
    let snapshot = bench.snapshot().to_string();
    assert!(!snapshot.contains("github") && !snapshot.contains("u001b"), "{snapshot}");
    assert_eq!(bench.hub.names().map(|claim| claim.name).collect::<Vec<_>>(), ["web"]);
    assert_eq!(bench.hub.durable(AGENT).unwrap().seq, 10);
    assert!(matches!(bench.hub.poll_notice(), Some(Notice::Refused { .. })));
    // The same after a restart.
    let bench = Bench::recover(bench.disk, Tuning::default());
    assert_eq!(bench.hub.durable(AGENT).unwrap().seq, 10);
    assert_eq!(bench.hub.names().map(|claim| claim.name).collect::<Vec<_>>(), ["web"]);
}

#[test]
fn an_agent_with_too_many_sessions_is_bounded_and_told_of_once() {
    let mut bench = Bench::new();
    let mut listener = bench.connect();
    let mut command = String::from("x");
    command.push_str(&"y".repeat(4000));
    for seq in 1..=1000_u64 {
        let mut data = session("");
        data["uuid"] = json!(format!("01234567-89ab-4def-8123-{seq:012x}"));
        data["command"] = json!(command);
        if seq % 2 == 0 {
            let at = "2026-01-02T03:04:05Z";
            data["ended"] = json!({ "at": at, "cause": "exit", "screen": command });
        }
        bench.send(&mut listener, &line("container.created", seq, &data));
        bench.sync();
    }
    let agent = bench.hub.agent(AGENT).unwrap();
    assert!(agent.sessions.len() > 200, "{}", agent.sessions.len());
    assert!(agent.kept_bytes() <= AGENT_BYTES_MAX, "{}", agent.kept_bytes());
    let is_full = |notice: &Notice| matches!(notice, Notice::TooMany { .. });
    let notices: Vec<Notice> = std::iter::from_fn(|| bench.hub.poll_notice()).collect();
    assert_eq!(notices.iter().filter(|notice| is_full(notice)).count(), 1);
    // A list of all of them keeps to the same bound.
    let all: Vec<crate::rpc::session::Session> = (1..=1000)
        .map(|number| {
            let mut data = session("");
            data["uuid"] = json!(format!("01234567-89ab-4def-8123-{number:012x}"));
            data["command"] = json!(command);
            serde_json::from_value(data).unwrap()
        })
        .collect();
    bench.hub.listed(bench.now, AGENT, all);
    let agent = bench.hub.agent(AGENT).unwrap();
    assert!(agent.sessions.len() < 600 && agent.kept_bytes() <= AGENT_BYTES_MAX);
}

#[test]
fn the_first_keeps_a_name_whatever_the_second_says_and_over_restarts() {
    let (mut bench, place) = (Bench::new(), |_: &str| Some([10, 0, 0, 2].into()));
    let mut first = bench.connect();
    assert!(bench.hub.connected(bench.now, "bcdefghjkmnp"));
    let mut second = Listener::new("bcdefghjkmnp", &bench.hub);
    bench.send(&mut first, &line("container.created", 1, &session("web")));
    let mut older = session("web");
    older["created_at"] = json!("1970-01-02T03:04:05Z");
    let text = String::from_utf8(line("container.created", 1, &older)).unwrap();
    bench.send(&mut second, text.replace(AGENT, "bcdefghjkmnp").as_bytes());
    for _ in 0..2 {
        bench.sync();
        let written = HostsFile::default().write(&bench.hub, &HostNames::default(), place);
        assert!(written.text.contains("10.0.0.2 web\n"), "{}", written.text);
        let [refused] = &written.refused[..] else { panic!("{:?}", written.refused) };
        assert_eq!(&*refused.agent_id, "bcdefghjkmnp");
        bench.hub.name_refused(bench.now, refused);
        bench.sync();
        assert_eq!(bench.told(0).last().map(String::as_str), Some("hub.name_refused"));
        // A small journal begins anew with a checkpoint.
        let tuning = Tuning { file_bytes: 4096, ..Tuning::default() };
        bench = Bench::recover(bench.disk, tuning);
    }
    bench.hub.forget(bench.now, AGENT);
    let written = HostsFile::default().write(&bench.hub, &HostNames::default(), place);
    assert!(written.text.contains("10.0.0.2 web\n") && written.refused.is_empty());
}

#[test]
fn a_heartbeat_that_is_too_large_is_not_kept_and_yet_one() {
    let mut bench = Bench::new();
    let mut listener = bench.connect();
    let beat = |bytes: usize| {
        let event = json!({
            "type": "agent.heartbeat", "agent_id": AGENT, "timestamp": "2026-01-02T03:04:05Z",
            "data": { "usage": "x".repeat(bytes) },
        });
        format!("{event}\n").into_bytes()
    };
    bench.send(&mut listener, &beat(HEARTBEAT_BYTES_MAX - 100));
    bench.now.mono = bench.now.mono + STATUS_SILENCE;
    bench.hub.tick(bench.now);
    bench.send(&mut listener, &beat(HEARTBEAT_BYTES_MAX));
    let agent = bench.hub.agent(AGENT).unwrap();
    assert_eq!(agent.presence, Presence::Connected);
    assert!(agent.kept_bytes() <= HEARTBEAT_BYTES_MAX, "{}", agent.kept_bytes());
    let notices: Vec<Notice> = std::iter::from_fn(|| bench.hub.poll_notice()).collect();
    assert!(
        matches!(notices[..], [.., Notice::Refused { .. }, Notice::Back { .. }]),
        "{notices:?}"
    );
}

#[test]
fn arbitrary_fields_never_reach_names_or_break_the_hub() {
    let mut rng = crate::base::rng::Rng::from_seed([9; 32]);
    let mut bench = Bench::new();
    let mut listener = bench.connect();
    let texts = ["web", "", "x\ny", "\u{1b}[2J", "localhost", "é", "a.b", "-", "agent.gap"];
    let kinds = ["container.created", "container.edited", "agent.gap", "hub.removed", "x", ""];
    let numbers = [json!(0), json!(u64::MAX), json!(-1), json!("1"), Value::Null, json!(1.5)];
    for round in 0..20_000_u64 {
        let mut data = session(texts[rng.below(9) as usize]);
        let fields = ["uuid", "name", "command", "image", "port", "cpus", "broken", "from", "to"];
        for _ in 0..rng.below(3) {
            let field = fields[rng.below(9) as usize];
            data[field] = match rng.below(3) {
                0 => numbers[rng.below(6) as usize].clone(),
                1 => json!(texts[rng.below(9) as usize].repeat(1 + rng.below(400) as usize)),
                _ => json!(round),
            };
        }
        let kind = kinds[rng.below(6) as usize];
        let mut event: Value = serde_json::from_slice(&line(kind, round + 1, &data)).unwrap();
        let outer = ["session_id", "timestamp", "epoch", "seq", "data"];
        if rng.below(3) == 0 {
            event[outer[rng.below(5) as usize]] = numbers[rng.below(6) as usize].clone();
        }
        bench.send(&mut listener, (event.to_string() + "\n").as_bytes());
        bench.sync();
        while bench.hub.poll_want().is_some() || bench.hub.poll_notice().is_some() {}
        while listener.poll_note().is_some() {}
        let _ = output(&mut listener, &bench.hub);
    }
    let is_label = |name: &str| crate::rpc::field::DnsName::parse(name).is_ok();
    assert!(bench.hub.names().all(|claim| is_label(claim.name)));
    assert!(!bench.hub.agent(AGENT).unwrap().sessions.is_empty());
    let snapshot = bench.snapshot().to_string();
    assert!(!snapshot.contains("\\u001b"), "{snapshot}");
}

#[test]
fn two_hosts_with_one_identity_are_told_and_no_event_goes_without_a_word() {
    let mut bench = Bench::new();
    let started = |run: &str| {
        let event = json!({
            "type": "agent.started", "agent_id": AGENT, "timestamp": "2027-01-15T08:00:00Z",
            "data": { "version": "7", "image_tag": "i:7", "run": run },
        });
        (event.to_string() + "\n").into_bytes()
    };
    let mut one = bench.connect();
    bench.send(&mut one, &started("a"));
    bench.send(&mut one, &line("container.created", 1, &session("")));
    let mut other = bench.connect();
    bench.send(&mut other, &started("b"));
    bench.send(&mut other, &line("container.created", 1, &session("")));
    bench.sync();
    assert!(bench.snapshot()["agents"][0]["twins"].is_null(), "the same again is a repetition");
    // Its own event, under a number that was taken.
    bench.send(&mut other, &line("container.stopped", 1, &json!({ "cause": "exit" })));
    bench.sync();
    let told = bench.told(0);
    assert!(told.ends_with(&["agent.gap".to_owned(), "hub.twins".to_owned()]), "{told:?}");
    let twins = bench.snapshot()["agents"][0]["twins"].take();
    assert!(twins.as_str().unwrap().contains("two hosts have the identity"), "{twins}");
    let notices: Vec<_> = std::iter::from_fn(|| bench.hub.poll_notice()).collect();
    assert!(notices.iter().any(|it| it.to_string().contains("two hosts")), "{notices:?}");
    // A process that is back after another: nothing new.
    bench.send(&mut one, &started("a"));
    bench.sync();
    assert_eq!(bench.told(0).iter().filter(|kind| *kind == "hub.twins").count(), 1);
}
