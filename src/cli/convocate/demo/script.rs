//! `convocate demo --script`: what a person would do, unattended, each step with its time.
//!
//! The person is a pty with `convocate attach` on it: keys go through a real terminal, a real
//! client and a real agent, and each step waits for what a person would see.

use std::time::Duration;

use serde_json::Value;

use super::cluster::Cluster;
use super::step;
use crate::base::slots::Key;
use crate::base::uuid::Uuid;
use crate::cli::output::{Failure, Out};
use crate::exit::Exit as Status;
use crate::fleet::run::Runner;
use crate::io::clock::Clock;
use crate::io::process::{Exit, Program};
use crate::io::pty::{Pty, Size};
use crate::io::reactor::{Interests, Reactor};
use crate::io::signals::{Signal, Signals};
use crate::io::stream::Moved;
use crate::limits::{DEMO_ASK_INTERVAL, DEMO_STEP_TIMEOUT};
use crate::rpc::call::{Call, Id};
use crate::rpc::field::SessionCommand;
use crate::rpc::session::Session;
use crate::status::run::Feed;

/// tmux's own keys for leaving.
const DETACH: &[u8] = b"\x02d";
const SMALL: Size = Size { columns: 100, rows: 30 };
const LARGE: Size = Size { columns: 120, rows: 40 };

pub(super) fn run(cluster: &mut Cluster, out: &mut Out<'_>) -> Result<Status, Failure> {
    let clock = &cluster.clock();
    step(out, clock, "status listener: start", || cluster.start_hub())?;
    step(out, clock, "agent: start, with fresh keys on both sides", || cluster.start_agent(0))?;
    out.text(&format!(
        "  {} on {}, {}",
        cluster.agent_id(),
        cluster.address(),
        cluster.runtime_text()
    ))?;
    let mut feed = Feed::open(cluster.paths()).ok().flatten();
    let id = step(out, clock, "session: create", || create(cluster))?.uuid;
    step(out, clock, "event: the listener reports that it was created", || {
        wait_for_created(feed.as_mut().ok_or("the listener closed the connection")?, id)
    })?;
    first_visit(cluster, id, out)?;
    second_visit(cluster, id, out)?;
    step(out, clock, "session: delete; nothing of it is left", || {
        ask(cluster, &Call::Delete(Id { id }))?;
        match cluster.paths().session(id).exists() {
            true => Err("its directory is still there".to_owned()),
            false => Ok(()),
        }
    })?;
    step(out, clock, "agent: end", || cluster.take_down())?;
    Ok(Status::Done)
}

fn first_visit(cluster: &Cluster, id: Uuid, out: &mut Out<'_>) -> Result<(), Failure> {
    let clock = &cluster.clock();
    let mut person =
        step(out, clock, "session: attach, which starts it", || Person::attach(cluster, id))?;
    step(out, clock, "session: type a command and read its output", || {
        person.types("echo sum=$((6*7))\r")?;
        person.sees("sum=42")
    })?;
    step(out, clock, "session: resize the terminal", || {
        person.resize(LARGE)?;
        person.asks_until("stty size\r", " 120")
    })?;
    step(out, clock, "session: detach", || person.detaches())
}

fn second_visit(cluster: &mut Cluster, id: Uuid, out: &mut Out<'_>) -> Result<(), Failure> {
    let clock = &cluster.clock();
    let mut person = step(out, clock, "session: attach again; the screen is still there", || {
        let mut person = Person::attach(cluster, id)?;
        person.sees("sum=42")?;
        Ok(person)
    })?;
    step(out, clock, "connection: cut in the middle (the agent is killed)", || {
        let port = cluster.port();
        cluster.cut_agent()?;
        person.sees("reconnecting")?;
        cluster.start_agent(port)
    })?;
    step(out, clock, "connection: reconnects by itself", || {
        person.sees("sum=42")?;
        person.asks_until("echo back=$((3*7))\r", "back=21")
    })?;
    step(out, clock, "session: kill; the terminal ends with it", || {
        ask(cluster, &Call::Kill(Id { id }))?;
        person.ends()
    })
}

fn create(cluster: &Cluster) -> Result<Session, String> {
    let mut create = cluster.first_session();
    // A shell that reads nothing of the person's own and has a short prompt.
    create.command = SessionCommand::parse("env PS1='$ ' bash --norc").ok();
    let value = ask(cluster, &Call::Create(Box::new(create)))?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn wait_for_created(feed: &mut Feed, id: Uuid) -> Result<(), String> {
    feed.wait_at_most(DEMO_STEP_TIMEOUT).map_err(|error| error.to_string())?;
    let wanted = id.to_string();
    loop {
        let line = feed.next_line().map_err(|error| error.to_string())?;
        let line: Value = serde_json::from_slice(line.ok_or("the listener closed the connection")?)
            .map_err(|error| error.to_string())?;
        let event = &line["event"];
        if event["type"] == "container.created" && event["session_id"] == *wanted {
            return Ok(());
        }
    }
}

fn ask(cluster: &Cluster, call: &Call) -> Result<Value, String> {
    Runner::open(cluster.paths())?.ask(cluster.agent_id(), call)
}

/// Somebody at a terminal of their own.
struct Person {
    pty: Pty,
    reactor: Reactor,
    clock: Clock,
    signals: Signals,
    /// What has been shown since what was last found.
    shown: Vec<u8>,
    has_ended: bool,
}

const PTY: Key = Key::from_bits(1);
const SIGNALS: Key = Key::from_bits(2);

impl Person {
    /// Attaches and waits for the first thing to be shown.
    fn attach(cluster: &Cluster, id: Uuid) -> Result<Person, String> {
        let root = cluster.paths().root().display();
        let arguments = ["attach".to_owned(), id.to_string(), format!("--root={root}")];
        let mut program = Program::new("/proc/self/exe", arguments);
        program.environment = vec![("TERM".into(), "xterm-256color".into())];
        let pty = Pty::spawn(&program, SMALL).map_err(|error| error.to_string())?;
        let signals = Signals::block().map_err(|error| error.to_string())?;
        let watched = |reactor: &Reactor| {
            let _ = reactor.watch(&pty.master, PTY, Interests::Both)?;
            let _ = reactor.watch(&pty.process, PTY, Interests::Read)?;
            reactor.watch(&signals, SIGNALS, Interests::Read)
        };
        let reactor = Reactor::new().map_err(|error| error.to_string())?;
        let _ = watched(&reactor).map_err(|error| error.to_string())?;
        let clock = Clock::new();
        let mut person =
            Person { pty, reactor, clock, signals, shown: Vec::new(), has_ended: false };
        person.sees("$ ")?;
        Ok(person)
    }

    fn types(&mut self, text: &str) -> Result<(), String> {
        self.shown.clear();
        self.writes(text.as_bytes())
    }

    fn writes(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self.pty.master.write(bytes) {
            Moved::Bytes(count) if count == bytes.len() => Ok(()),
            _ => Err("the terminal accepts no input".to_owned()),
        }
    }

    fn resize(&mut self, size: Size) -> Result<(), String> {
        self.pty.resize(size).map_err(|error| error.to_string())
    }

    /// Waits until `text` is shown.
    fn sees(&mut self, text: &str) -> Result<(), String> {
        self.sees_within(DEMO_STEP_TIMEOUT, text)
    }

    fn sees_within(&mut self, time: Duration, text: &str) -> Result<(), String> {
        let wanted = text.as_bytes();
        self.waits(time, |person| person.finds(wanted))
            .map_err(|why| format!("{text:?} was not shown: {why}; {:?}", self.tail()))
    }

    /// Types `question` until `answer` is shown: what was changed from outside takes its time.
    fn asks_until(&mut self, question: &str, answer: &str) -> Result<(), String> {
        let deadline = self.clock.mono() + DEMO_STEP_TIMEOUT;
        loop {
            self.types(question)?;
            match self.sees_within(DEMO_ASK_INTERVAL, answer) {
                Err(_) if self.clock.mono() < deadline => {}
                result => return result,
            }
        }
    }

    fn detaches(mut self) -> Result<(), String> {
        self.writes(DETACH)?;
        self.ends()
    }

    /// Waits for the client's end, which must be a good one.
    fn ends(&mut self) -> Result<(), String> {
        let waited = self.waits(DEMO_STEP_TIMEOUT, |person| {
            person.has_ended && matches!(person.pty.process.try_exit(), Ok(Some(_)))
        });
        waited.map_err(|why| format!("the terminal did not end: {why}"))?;
        match self.pty.process.try_exit() {
            Ok(Some(Exit::Code(0))) => Ok(()),
            Ok(Some(exit)) => Err(format!("convocate attach ended with {exit}: {:?}", self.tail())),
            Ok(None) | Err(_) => Err("convocate attach did not end".to_owned()),
        }
    }

    fn waits(
        &mut self,
        time: Duration,
        mut is_enough: impl FnMut(&mut Person) -> bool,
    ) -> Result<(), String> {
        let deadline = self.clock.mono() + time;
        let mut ready = Vec::new();
        loop {
            self.look();
            if is_enough(self) {
                return Ok(());
            }
            if self.signals.next_signal().is_some_and(|signal| signal != Signal::WindowChange) {
                return Err("interrupted".to_owned());
            }
            if self.clock.mono() >= deadline {
                return Err(format!("waited {} s", time.as_secs()));
            }
            let waited = self.reactor.wait(&self.clock, Some(deadline), &mut ready);
            waited.map_err(|error| error.to_string())?;
        }
    }

    /// Looks for `wanted` in what is shown, and drops all up to its end: what is looked for next
    /// comes after it.
    fn finds(&mut self, wanted: &[u8]) -> bool {
        let place = self.shown.windows(wanted.len()).position(|seen| seen == wanted);
        if let Some(place) = place {
            self.shown.drain(..place + wanted.len());
        }
        place.is_some()
    }

    /// Reads all that is shown now.
    fn look(&mut self) {
        let mut chunk = [0; 4096];
        while !self.has_ended {
            match self.pty.master.read(&mut chunk) {
                Moved::Bytes(count) => self.shown.extend_from_slice(&chunk[..count]),
                Moved::Blocked => return,
                Moved::Closed | Moved::Failed(_) => self.has_ended = true,
            }
        }
    }

    fn tail(&self) -> String {
        let start = self.shown.len().saturating_sub(400);
        String::from_utf8_lossy(&self.shown[start..]).into_owned()
    }
}
