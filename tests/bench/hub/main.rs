//! What `scripts/bench status` measures: a running status listener, and agents made of the real
//! spool, emitter and transport, with their events on disk at both ends.
//!
//! `throughput` is one agent that is never idle, until everything is acknowledged; `latency` is one
//! event at a time, from the spool to what `convocate events --json` writes; `list` is `convocate
//! ls`, from its start to its end, with 49 agents that live, and with one more that says nothing at
//! all, of which the listener's last news are shown; `memory` is the listener with
//! 200 agents and 10,000 sessions: at once when the last event is acknowledged, when it has come to
//! rest, and the most that it ever was; `return` is how long 200 agents of one address, which is
//! the worst case, take to be back after the listener was killed and started again. Words after the
//! program's name choose among them.

#![expect(clippy::print_stdout, reason = "samples go to standard output")]
#![expect(clippy::float_cmp, reason = "a figure is the same or it is not")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made ends with its reason")]

#[path = "../../support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use convocate::base::uuid::Uuid;
use convocate::rpc::event::EventType;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use support::agent::AgentFiles;
use support::cluster::Cluster;
use support::hub::Hub;
use support::process::{CONVOCATE, command};
use support::pusher::{self, Pusher, drive};

const THROUGHPUT_EVENTS: u64 = 400_000;
const LATENCY_EVENTS: usize = 200;
const LIST_CALLS: u32 = 11;
const AGENTS: u8 = 200;
const SESSIONS_PER_AGENT: u32 = 50;
/// How long memory must be the same to be taken for settled.
const SETTLED: Duration = Duration::from_millis(2500);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let parts: [(&str, fn()); 5] = [
        ("throughput", throughput),
        ("latency", latency),
        ("list", list),
        ("memory", memory),
        ("return", come_back),
    ];
    for (name, part) in parts {
        if words.is_empty() || words.iter().any(|word| word == name) {
            part();
        }
    }
}

fn report(metric: &str, value: f64, unit: &str) {
    println!("{metric} ours {value} {unit}");
}

/// A listener that knows these agents.
fn shell(agents: u8) -> (AgentFiles, Hub) {
    let files = AgentFiles::write();
    pusher::enrol(&files, agents);
    let hub = Hub::start(&files);
    (files, hub)
}

fn throughput() {
    let (files, hub) = shell(1);
    let mut agents = [Pusher::new(&files, 0, hub.address)];
    drive(&mut agents, |agents| agents[0].is_live());
    let start = Instant::now();
    let mut left = THROUGHPUT_EVENTS;
    drive(&mut agents, |agents| {
        while left > 0 && agents[0].has_room() {
            agents[0].emit(EventType::Attached, session_id(0, 0), json!({ "attached_count": 1 }));
            left -= 1;
        }
        left == 0 && agents[0].is_drained()
    });
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = THROUGHPUT_EVENTS as f64 / start.elapsed().as_secs_f64();
    report("throughput", rate, "events/s");
}

fn latency() {
    let (files, hub) = shell(1);
    let mut agents = [Pusher::new(&files, 0, hub.address)];
    drive(&mut agents, |agents| agents[0].is_live());
    let mut reader = Events::start(&files);
    // Its first line says that it is there: it tells nothing that was before.
    drive(&mut agents, |agents| {
        agents[0].emit(EventType::Stopped, session_id(0, 0), Value::Null);
        reader.has_told()
    });
    let mut spans = Vec::new();
    for number in 0..LATENCY_EVENTS {
        let (told, heard) = std::sync::mpsc::channel();
        let start = Instant::now();
        agents[0].emit(EventType::Stopped, session_id(0, 0), json!({ "number": number }));
        std::thread::scope(|scope| {
            let reader = &mut reader;
            scope.spawn(move || {
                while reader.line()["event"]["data"]["number"] != number {}
                told.send(start.elapsed()).unwrap();
            });
            let mut span: Option<Duration> = None;
            drive(&mut agents, |agents| {
                span = span.or_else(|| heard.try_recv().ok());
                span.is_some() && agents[0].is_drained()
            });
            spans.extend(span);
        });
    }
    spans.sort_unstable();
    report("latency,median", spans[spans.len() / 2].as_secs_f64() * 1000.0, "ms");
    report("latency,p99", spans[spans.len() * 99 / 100].as_secs_f64() * 1000.0, "ms");
}

/// `convocate events --json`, and what it writes.
struct Events {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Events {
    fn start(files: &AgentFiles) -> Events {
        let mut call = command(&files.root, CONVOCATE);
        call.args(["events", "--json", "--root"]).arg(files.root.dir());
        let mut process = call.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Events { process, lines }
    }

    fn has_told(&self) -> bool {
        let mut fds = [PollFd::new(self.lines.get_ref(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|count| count > 0)
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}

fn list() {
    let cluster = Cluster::start(49);
    let root = &cluster.files.root;
    let median = || {
        let span = |_| {
            let mut call = command(root, CONVOCATE);
            let start = Instant::now();
            let ended = call.args(["ls", "--root"]).arg(root.dir()).output().unwrap();
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
            start.elapsed()
        };
        let mut spans: Vec<Duration> = (0..LIST_CALLS).map(span).collect();
        spans.sort_unstable();
        spans[spans.len() / 2].as_secs_f64() * 1000.0
    };
    report("list,49-live", median(), "ms");
    cluster.add_a_dead_one();
    report("list,and-one-dead", median(), "ms");
}

fn memory() {
    let (files, hub) = shell(AGENTS);
    let mut agents: Vec<_> =
        (0..AGENTS).map(|number| Pusher::new(&files, number, hub.address)).collect();
    drive(&mut agents, |agents| agents.iter().all(Pusher::is_live));
    for (agent, number) in agents.iter_mut().zip(0_u32..) {
        for session in 0..SESSIONS_PER_AGENT {
            let id = session_id(number, session);
            agent.emit(EventType::Created, id, session_data(id, number, session));
        }
    }
    drive(&mut agents, |agents| agents.iter().all(Pusher::is_drained));
    report("memory,at-once", resident(&hub, "VmRSS:"), "MiB");
    // Buffers are given back after a second.
    let mut settled = (resident(&hub, "VmRSS:"), Instant::now());
    drive(&mut agents, |_| {
        let now = resident(&hub, "VmRSS:");
        if now != settled.0 {
            settled = (now, Instant::now());
        }
        settled.1.elapsed() > SETTLED
    });
    report("memory", settled.0, "MiB");
    report("memory,peak", resident(&hub, "VmHWM:"), "MiB");
}

fn come_back() {
    let (files, mut hub) = shell(AGENTS);
    let mut agents: Vec<_> =
        (0..AGENTS).map(|number| Pusher::new(&files, number, hub.address)).collect();
    drive(&mut agents, |agents| agents.iter().all(Pusher::is_live));
    for (metric, away) in [("return,at-once", 0), ("return,after-10s", 10)] {
        hub.kill();
        drive(&mut agents, |agents| !agents.iter().any(Pusher::is_live));
        let back = Instant::now() + Duration::from_secs(away);
        drive(&mut agents, |_| Instant::now() >= back);
        hub.start_again(&files.root);
        let start = Instant::now();
        drive(&mut agents, |agents| agents.iter().all(Pusher::is_live));
        report(metric, start.elapsed().as_secs_f64(), "s");
        let refused = hub.log().lines().filter(|line| line.contains(" refused: ")).count();
        report(&format!("{metric},refused"), f64::from(u32::try_from(refused).unwrap()), "dials");
    }
}

/// A figure of the listener's process, in MiB.
fn resident(hub: &Hub, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", hub.process().pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024.0
}

fn session_id(agent: u32, session: u32) -> Uuid {
    Uuid::parse(&format!("{agent:08x}-0000-4000-8000-{session:012x}")).unwrap()
}

fn session_data(id: Uuid, agent: u32, session: u32) -> Value {
    json!({
        "uuid": id, "name": format!("session {session} of agent {agent}"), "port": 1001 + session,
        "created_at": "2026-01-02T03:04:05Z", "last_accessed": "2026-01-02T03:04:05Z",
        "protocol": "tcp", "dns_name": format!("name-{agent}-{session}"), "running": true,
        "attached": false, "attached_count": 0, "image": "convocate:0.1.0", "command": "claude",
        "memory": 4_294_967_296_u64, "cpus": 1.5, "pids": 1024,
    })
}
