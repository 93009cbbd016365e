//! Processes that tell events. Each is this very test program, asked by its environment to be an
//! agent: real spool, emitter and transport. What it tells on standard output is what has become
//! durable: the driver's side of the books.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use convocate::agent::spool::SpoolTuning;
use convocate::base::uuid::Uuid;
use convocate::rpc::event::EventType;
use serde_json::json;

use crate::support::pusher::{Pusher, Setup, drive};

/// A spool that is full after some 8,000 events.
const TUNING: SpoolTuning =
    SpoolTuning { segment_bytes: 512 * 1024, segments_max: 4, tail_bytes_max: 64 * 1024 };
/// How often an agent tells how far it is.
const TELLS_EVERY: Duration = Duration::from_millis(50);

/// What has become durable at an agent: its life, the epoch, and the newest number.
pub type Mark = (u64, String, u64);

/// What an agent has told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The newest number, durable or not.
    pub newest: u64,
    /// What was durable, in the order of the telling.
    pub marks: Vec<Mark>,
    /// Whether everything was acknowledged when it told last.
    pub drained: bool,
}

/// One agent, alive or not.
pub struct Agent {
    number: u8,
    life: u64,
    goal: u64,
    rate: u64,
    host_key: String,
    home: PathBuf,
    child: Option<Child>,
    told: Arc<Mutex<Told>>,
}

impl Agent {
    /// One that tells `goal` events, `rate` of them a second, to whoever has `host_key`.
    pub fn new(number: u8, (goal, rate): (u64, u64), host_key: &str, home: PathBuf) -> Agent {
        let (host_key, told) = (host_key.to_owned(), Arc::default());
        Agent { number, life: 0, goal, rate, host_key, home, child: None, told }
    }

    pub fn start(&mut self, relay: SocketAddr, wall_back: u64) {
        self.life += 1;
        let words = json!({
            "number": self.number, "life": self.life, "goal": self.goal, "rate": self.rate,
            "relay": relay, "host_key": self.host_key, "spool": self.home.join("spool"),
            "wall_back": wall_back,
        });
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "agent_process", "--nocapture", "--test-threads=1"])
            .env("DELIVERY_AGENT", words.to_string())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (told, stdout) = (Arc::clone(&self.told), child.stdout.take().unwrap());
        told.lock().unwrap().drained = false;
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                note(&mut told.lock().unwrap(), &line);
            }
        });
        self.child = Some(child);
    }

    /// Kills it, like the kernel would. Whether it lived.
    pub fn kill(&mut self) -> bool {
        let Some(mut child) = self.child.take() else { return false };
        child.kill().unwrap();
        child.wait().unwrap();
        true
    }

    pub fn is_alive(&self) -> bool {
        self.child.is_some()
    }

    /// Whether it will tell more.
    pub fn goes_on(&self) -> bool {
        self.is_alive() && self.newest() < self.goal
    }

    /// Where its disk is.
    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn told(&self) -> Told {
        self.told.lock().unwrap().clone()
    }

    pub fn newest(&self) -> u64 {
        self.told.lock().unwrap().newest
    }

    pub fn is_drained(&self) -> bool {
        let told = self.told.lock().unwrap();
        told.drained && told.newest >= self.goal
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A line `durable LIFE EPOCH SYNCED NEWEST DRAINED`. The harness's own lines are let through.
fn note(told: &mut Told, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let ["durable", life, epoch, synced, newest, drained] = words[..] else { return };
    let mark = (life.parse().unwrap(), epoch.to_owned(), synced.parse().unwrap());
    if told.marks.last() != Some(&mark) {
        told.marks.push(mark);
    }
    told.newest = newest.parse().unwrap();
    told.drained = drained == "true";
}

/// The other side: runs until it is killed.
pub fn be_one_if_asked() {
    let Ok(words) = std::env::var("DELIVERY_AGENT") else { return };
    let words: serde_json::Value = serde_json::from_str(&words).unwrap();
    let number = |name: &str| words[name].as_u64().unwrap();
    let text = |name: &str| words[name].as_str().unwrap().to_owned();
    let setup = Setup {
        number: u8::try_from(number("number")).unwrap(),
        address: text("relay").parse().unwrap(),
        host_key: text("host_key"),
        spool: text("spool").into(),
        tuning: TUNING,
    };
    let (life, goal, rate) = (number("life"), number("goal"), number("rate"));
    let mut pusher = Pusher::open(&setup);
    pusher.wall_back = i64::try_from(number("wall_back")).unwrap();
    let (start, first) = (Instant::now(), pusher.emitter().spool().last_seq());
    let mut tell_at = start;
    let session = Uuid::parse("01234567-89ab-4def-8123-456789abcdef").unwrap();
    drive(std::slice::from_mut(&mut pusher), |agents| {
        let agent = &mut agents[0];
        let due = u64::try_from(start.elapsed().as_millis()).unwrap() * rate / 1000;
        while agent.emitter().spool().last_seq() < goal.min(first + due) {
            let next = agent.emitter().spool().last_seq() + 1;
            let data = json!({ "number": next, "life": life, "filler": "f".repeat(60) });
            agent.emit(EventType::Stopped, session, data);
        }
        if tell_at <= Instant::now() {
            tell_at = Instant::now() + TELLS_EVERY;
            let (spool, drained) = (agent.emitter().spool(), agent.is_drained());
            let (epoch, synced, newest) =
                (spool.epoch().as_str(), agent.emitter().synced(), spool.last_seq());
            let line = format!("durable {life} {epoch} {synced} {newest} {drained}\n");
            if std::io::stdout().write_all(line.as_bytes()).is_err() {
                std::process::abort(); // the driver is gone
            }
        }
        false
    });
}
