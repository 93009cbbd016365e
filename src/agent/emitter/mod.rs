//! The agent's end of `convocate-status`: when to dial, what to send, what may be forgotten.
//!
//! It knows the channel's bytes, not what carries them: a driver dials when told to, opens the
//! subsystem and moves the bytes of [`Emitter::input`] and [`Emitter::output`]. Nothing is lost
//! with a connection: on the next one, everything that was not acknowledged is sent again.
//!
//! ```text
//! Waiting ─(time)→ Dialling ─reached→ Connecting ─opened→ AwaitingHello ─hello, or 2 s→ Live
//!    ↑                │                   │                  │                      │
//!    └──────── failed, closed, or nonsense from the peer ────┴──────────────────────┘
//! ```
//!
//! Waits double while there is somebody who does not want us. Where nobody answers they do not, and
//! the stream is opened anew again and again, so that a network that is back is noticed within two
//! seconds.
//!
//! `agent.started` and heartbeats tell of the connection and of now: they are not in the spool,
//! have no number and are not repeated. Every other event is in the spool first.

mod hello;
mod listener;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use self::listener::{Ack, Hello, ListenerLine, Written};
use crate::agent::spool::reader::Peek;
use crate::agent::spool::{Epoch, Spool};
use crate::base::backoff::Backoff;
use crate::base::buffer::Buffer;
use crate::base::disk::{DiskDone, DiskOp};
use crate::base::lines::{LineTooLong, Lines};
use crate::base::rng::Rng;
use crate::base::time::{Mono, Now, Wall};
use crate::base::unreached::Unreached;
use crate::limits::{
    CONNECT_RETRY_AFTER, CONNECT_RETRY_JITTER, EMITTER_OUTPUT_BYTES, HEARTBEAT_INTERVAL,
    REDIAL_CAP, REDIAL_FIRST, STATUS_ANSWER_BYTES_MAX, STATUS_CONNECT_TIMEOUT,
    STATUS_HELLO_TIMEOUT, STATUS_PROVEN_AFTER,
};
use crate::rpc::event::{Event, EventType};

/// Who the agent is, as it says in `agent.started`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub agent_id: String,
    pub version: String,
    /// The image of its new sessions.
    pub image_tag: String,
}

/// What the driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitterAction {
    /// Drop any stream, or attempt at one, and open one. Call [`Emitter::connects_started`] when
    /// its address is known and [`Emitter::reached`] when it is open; then open the subsystem and
    /// call [`Emitter::opened`]. If it does not come so far: [`Emitter::unreached`] or
    /// [`Emitter::closed`].
    Dial,
    /// Drop the connection or the attempt, and say no more about it.
    HangUp,
    /// Measure the load, then [`Emitter::heartbeat`].
    Measure,
}

/// The emitter with its spool.
#[derive(Debug)]
pub struct Emitter {
    identity: Identity,
    spool: Spool,
    link: EmitterLink,
    backoff: Backoff,
    rng: Rng,
    output: Buffer,
    actions: VecDeque<EmitterAction>,
    last_error: Option<EmitterError>,
    /// The last number of this epoch that a listener can have of us: what the spool had when this
    /// process began, and what was sent since.
    shown: u64,
    /// This process among those of this agent.
    run: String,
    /// Numbers of epochs before this one, so that what is waited for stays what it was.
    numbers_before: u64,
    /// How many events were lost because the spool had gone back in time; not told yet.
    went_back: Option<u64>,
    /// The calendar as it was told last, for what is sent without being told it.
    wall: Wall,
}

#[derive(Debug)]
enum EmitterLink {
    Waiting {
        until: Mono,
    },
    /// `reconnect_at` is when the stream is to be opened anew; none while a name is looked up.
    Dialling {
        until: Mono,
        reconnect_at: Option<Mono>,
    },
    Connecting {
        until: Mono,
    },
    AwaitingHello {
        until: Mono,
        input: Lines,
        /// The listener has answered what was asked after the channel was open, and said no hello
        /// until then: it may still be on its way.
        is_mute: bool,
    },
    Live {
        input: Lines,
        heartbeat_at: Mono,
        listener: ListenerKind,
    },
}

/// What is known of the other end.
#[derive(Debug)]
enum ListenerKind {
    Acknowledging,
    /// It has said nothing yet. A hello may be late, so what is written stays in the spool.
    Unknown {
        proven_at: Mono,
        written: Written,
    },
    /// It has answered, and its hello has not come in its time: it is of the old kind, and written
    /// counts as delivered.
    Old {
        written: Written,
    },
}

/// Why the last connection ended, or none came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmitterError {
    /// What the driver said.
    Connection(String),
    /// No stream within [`STATUS_CONNECT_TIMEOUT`].
    NoAnswer,
    /// No subsystem within [`STATUS_CONNECT_TIMEOUT`].
    ConnectTimeout,
    /// The listener sent a line that is too long.
    Line(LineTooLong),
    /// The listener sent a line that is none of the protocol.
    BadLine(String),
}

impl fmt::Display for EmitterError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmitterError::Connection(why) => out.write_str(why),
            EmitterError::NoAnswer => {
                let seconds = STATUS_CONNECT_TIMEOUT.as_secs();
                write!(out, "the shell host has not answered for {seconds} s")
            }
            EmitterError::ConnectTimeout => {
                let seconds = STATUS_CONNECT_TIMEOUT.as_secs();
                write!(out, "no status channel within {seconds} s")
            }
            EmitterError::Line(error) => write!(out, "status listener: {error}"),
            EmitterError::BadLine(why) => write!(out, "status listener: decode answer: {why}"),
        }
    }
}

impl std::error::Error for EmitterError {}

impl Emitter {
    /// An emitter that dials at once.
    pub fn new(identity: Identity, spool: Spool, seed: [u8; 32], now: Now) -> Emitter {
        let mut emitter = Emitter {
            identity,
            spool,
            link: EmitterLink::Waiting { until: now.mono },
            backoff: Backoff::new(REDIAL_FIRST, REDIAL_CAP),
            rng: Rng::from_seed(seed),
            output: Buffer::new(EMITTER_OUTPUT_BYTES),
            actions: VecDeque::new(),
            last_error: None,
            shown: 0,
            run: String::new(),
            numbers_before: 0,
            went_back: None,
            wall: now.wall,
        };
        emitter.shown = emitter.spool.last_seq();
        emitter.run = Epoch::random(&mut emitter.rng).as_str().to_owned();
        emitter.tick(now);
        emitter
    }

    /// Takes an event into the spool and gives it its number. The op that it tells of may be
    /// answered when [`Emitter::synced`] has reached that number.
    pub fn emit(&mut self, event: &Event) -> u64 {
        self.spool.append(event)
    }

    /// The agent is going down: the last event. Wait for [`Emitter::is_drained`], but not long.
    pub(crate) fn shutdown(&mut self, now: Now, reason: &str) {
        self.wall = now.wall;
        let event = self.event(EventType::AgentShutdown, json!({ "reason": reason }));
        self.spool.append(&event);
    }

    /// The load figures that [`EmitterAction::Measure`] asked for, or null.
    pub fn heartbeat(&mut self, now: Now, load: Value) {
        self.wall = now.wall;
        if matches!(self.link, EmitterLink::Live { .. }) {
            let event = self.event(EventType::AgentHeartbeat, load);
            self.push_event(&event);
        }
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<EmitterAction> {
        self.actions.pop_front()
    }

    /// What the spool wants of its disk next. Call until `None`, after every other call.
    pub fn poll_disk(&mut self) -> Option<DiskOp> {
        self.spool.poll_disk()
    }

    /// What became of the oldest disk operation without an answer.
    pub fn disk_done(&mut self, now: Now, done: DiskDone) {
        self.wall = now.wall;
        self.spool.disk_done(now.mono, done);
        self.fill();
    }

    /// The address is known, and a stream to it is being opened.
    pub fn connects_started(&mut self, now: Mono) {
        if let EmitterLink::Dialling { reconnect_at, .. } = &mut self.link {
            let jitter_ms = u32::try_from(CONNECT_RETRY_JITTER.as_millis()).unwrap_or(u32::MAX);
            let jitter = Duration::from_millis(u64::from(self.rng.below(jitter_ms)));
            *reconnect_at = Some(now + CONNECT_RETRY_AFTER + jitter);
        }
    }

    /// The stream is open.
    pub fn reached(&mut self, now: Mono) {
        if matches!(self.link, EmitterLink::Dialling { .. }) {
            self.link = EmitterLink::Connecting { until: now + STATUS_CONNECT_TIMEOUT };
        }
    }

    /// No stream came about; `why` says more than the system does.
    pub fn unreached(&mut self, now: Mono, why: Unreached) {
        match why {
            Unreached::Refused(why) => self.closed(now, why),
            Unreached::Silent(why) if matches!(self.link, EmitterLink::Dialling { .. }) => {
                let wait = self.backoff.brief(&mut self.rng);
                self.wait(now + wait, EmitterError::Connection(why));
            }
            Unreached::Silent(_) => {}
        }
    }

    /// The subsystem is open: bytes may flow.
    pub fn opened(&mut self, now: Mono) {
        if !matches!(self.link, EmitterLink::Dialling { .. } | EmitterLink::Connecting { .. }) {
            return;
        }
        self.output.clear();
        self.spool.rewind();
        let input = Lines::new(STATUS_ANSWER_BYTES_MAX);
        let until = now + STATUS_HELLO_TIMEOUT;
        self.link = EmitterLink::AwaitingHello { until, input, is_mute: false };
    }

    /// The connection is gone, or could not be made, in the words of whoever knows.
    pub fn closed(&mut self, now: Mono, why: String) {
        if !matches!(self.link, EmitterLink::Waiting { .. }) {
            let wait = self.backoff.delay(&mut self.rng);
            self.wait(now + wait, EmitterError::Connection(why));
        }
    }

    /// Bytes from the listener.
    pub fn input(&mut self, now: Now, bytes: &[u8]) {
        self.wall = now.wall;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (EmitterLink::AwaitingHello { input, .. } | EmitterLink::Live { input, .. }) =
                &mut self.link
            else {
                return;
            };
            match input.push(rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) => return self.hang_up(now.mono, EmitterError::Line(error)),
            }
            if let Some(line) = input.next_line() {
                self.answered(now, &line);
            }
        }
        self.fill();
    }

    /// Bytes for the listener.
    pub fn output(&self) -> &[u8] {
        self.output.as_slice()
    }

    /// The first `len` bytes of [`Emitter::output`] have left.
    pub fn output_sent(&mut self, len: usize) {
        self.output.consume(len);
        if let Some(written) = self.written() {
            written.left(len);
        }
        self.deliver_written();
        self.fill();
        if self.output.is_empty() {
            self.output.trim();
        }
    }

    /// When [`Emitter::tick`] is wanted.
    pub fn deadline(&self) -> Option<Mono> {
        let link = match &self.link {
            EmitterLink::Waiting { until }
            | EmitterLink::Connecting { until }
            | EmitterLink::AwaitingHello { until, .. } => *until,
            EmitterLink::Dialling { until, reconnect_at } => {
                reconnect_at.unwrap_or(*until).min(*until)
            }
            EmitterLink::Live { heartbeat_at, listener, .. } => match listener {
                ListenerKind::Unknown { proven_at, .. } => *heartbeat_at.min(proven_at),
                ListenerKind::Old { .. } | ListenerKind::Acknowledging => *heartbeat_at,
            },
        };
        self.spool.deadline().into_iter().chain([link]).min()
    }

    pub fn tick(&mut self, now: Now) {
        self.wall = now.wall;
        self.spool.tick(now.mono);
        match &mut self.link {
            EmitterLink::Waiting { until } if *until <= now.mono => self.dial(now.mono),
            EmitterLink::Dialling { until, reconnect_at } if *until <= now.mono => {
                self.last_error = Some(EmitterError::NoAnswer);
                *until = now.mono + STATUS_CONNECT_TIMEOUT;
                // A name that is looked up for so long is looked up anew.
                if reconnect_at.is_none() {
                    self.actions.push_back(EmitterAction::Dial);
                }
            }
            EmitterLink::Dialling { reconnect_at, .. }
                if reconnect_at.is_some_and(|at| at <= now.mono) =>
            {
                *reconnect_at = None;
                self.actions.push_back(EmitterAction::Dial);
            }
            EmitterLink::Connecting { until } if *until <= now.mono => {
                self.hang_up(now.mono, EmitterError::ConnectTimeout);
            }
            EmitterLink::AwaitingHello { until, is_mute, .. } if *until <= now.mono => {
                let wait = if *is_mute { Duration::ZERO } else { STATUS_PROVEN_AFTER };
                let (proven_at, written) = (now.mono + wait, Written::default());
                self.go_live(now, ListenerKind::Unknown { proven_at, written });
                self.tick_live(now.mono);
            }
            EmitterLink::Live { .. } => self.tick_live(now.mono),
            EmitterLink::Waiting { .. }
            | EmitterLink::Dialling { .. }
            | EmitterLink::Connecting { .. }
            | EmitterLink::AwaitingHello { .. } => {}
        }
        self.fill();
    }

    /// The spool, for its figures.
    pub const fn spool(&self) -> &Spool {
        &self.spool
    }

    /// The newest event, by a number that goes on when an epoch begins.
    pub(crate) fn newest(&self) -> u64 {
        self.numbers_before + self.spool.last_seq()
    }

    /// Whether the event that was [`Emitter::newest`] then is durable, or lost.
    pub(crate) fn covers(&self, newest: u64) -> bool {
        self.numbers_before + self.spool.synced() >= newest
    }

    /// All events up to this one are durable here.
    pub const fn synced(&self) -> u64 {
        self.spool.synced()
    }

    /// Whether every event has been delivered.
    pub fn is_drained(&self) -> bool {
        self.spool.acked() == self.spool.last_seq() && self.output.is_empty()
    }

    pub const fn is_live(&self) -> bool {
        matches!(self.link, EmitterLink::Live { .. })
    }

    /// Why the last connection ended, or none came about; `None` once the listener has answered.
    pub const fn last_error(&self) -> Option<&EmitterError> {
        self.last_error.as_ref()
    }

    fn dial(&mut self, now: Mono) {
        self.link =
            EmitterLink::Dialling { until: now + STATUS_CONNECT_TIMEOUT, reconnect_at: None };
        self.actions.push_back(EmitterAction::Dial);
    }

    fn tick_live(&mut self, now: Mono) {
        let EmitterLink::Live { heartbeat_at, listener, .. } = &mut self.link else { return };
        if *heartbeat_at <= now {
            *heartbeat_at = now + HEARTBEAT_INTERVAL;
            self.actions.push_back(EmitterAction::Measure);
        }
        if let ListenerKind::Unknown { proven_at, written } = listener
            && *proven_at <= now
        {
            *listener = ListenerKind::Old { written: std::mem::take(written) };
            self.proven();
            self.deliver_written();
        }
    }

    /// How far a listener that has not said hello has been written to.
    fn written(&mut self) -> Option<&mut Written> {
        match &mut self.link {
            EmitterLink::Live {
                listener: ListenerKind::Unknown { written, .. } | ListenerKind::Old { written },
                ..
            } => Some(written),
            _ => None,
        }
    }

    fn deliver_written(&mut self) {
        if let EmitterLink::Live { listener: ListenerKind::Old { written }, .. } = &self.link {
            self.spool.deliver(written.delivered);
        }
    }

    fn answered(&mut self, now: Now, line: &[u8]) {
        let answer: ListenerLine = match serde_json::from_slice(line) {
            Ok(answer) => answer,
            Err(error) => return self.hang_up(now.mono, EmitterError::BadLine(error.to_string())),
        };
        self.proven();
        if let Some(Hello { ack: true, epoch, seq }) = answer.hello {
            self.compare(&epoch, seq);
            self.spool.acknowledge(&epoch, seq);
            self.go_live(now, ListenerKind::Acknowledging);
        }
        if let Some(Ack { epoch, seq }) = answer.ack {
            self.spool.acknowledge(&epoch, seq);
        }
    }

    /// The peer has answered something: it is worth dialling soon if it goes.
    fn proven(&mut self) {
        self.backoff.reset();
        self.last_error = None;
    }

    /// Starts sending, or learns late that the listener acknowledges.
    fn go_live(&mut self, now: Now, kind: ListenerKind) {
        match &mut self.link {
            EmitterLink::Live { listener, .. } => *listener = kind,
            EmitterLink::AwaitingHello { input, .. } => {
                let input = std::mem::replace(input, Lines::new(0));
                let heartbeat_at = now.mono + HEARTBEAT_INTERVAL;
                self.link = EmitterLink::Live { input, heartbeat_at, listener: kind };
                let Identity { version, image_tag, .. } = &self.identity;
                let data = json!({ "version": version, "image_tag": image_tag, "run": self.run });
                let started = self.event(EventType::AgentStarted, data);
                self.push_event(&started);
            }
            EmitterLink::Waiting { .. }
            | EmitterLink::Dialling { .. }
            | EmitterLink::Connecting { .. } => {}
        }
    }

    /// Moves what the spool has to the output, as far as there is room.
    fn fill(&mut self) {
        if !self.is_live() {
            return;
        }
        while let Some(peek) = self.spool.peek() {
            let moved = match peek {
                Peek::Hole { from, to } => self.push_gap(from, to),
                Peek::Event { seq } => self.push_spooled(seq),
            };
            if !moved {
                return;
            }
            self.spool.advance();
        }
    }

    fn push_spooled(&mut self, seq: u64) -> bool {
        let line = self.spool.line();
        if line.len() > self.output.space() {
            return false;
        }
        let pushed = self.output.push(line);
        self.shown = self.shown.max(seq);
        self.mark(pushed, Some(seq));
        true
    }

    /// Says what is lost, in its place. The gap carries the number of the last lost event, so that
    /// the listener treats it like any other: in order, once, acknowledged.
    fn push_gap(&mut self, from: u64, to: u64) -> bool {
        let data = json!({ "from": from, "to": to, "count": to - from + 1 });
        let mut gap = self.event(EventType::AgentGap, data);
        gap.epoch = Some(self.spool.epoch().as_str().to_owned());
        gap.seq = Some(to);
        let is_pushed = self.push_event(&gap);
        self.shown = self.shown.max(if is_pushed { to } else { 0 });
        is_pushed
    }

    /// Whether there was room.
    fn push_event(&mut self, event: &Event) -> bool {
        let mut line = serde_json::to_vec(event).expect("an event has only string keys");
        line.push(b'\n');
        if line.len() > self.output.space() {
            return false;
        }
        let pushed = self.output.push(&line);
        self.mark(pushed, event.seq);
        true
    }

    fn mark(&mut self, bytes: usize, seq: Option<u64>) {
        if let Some(written) = self.written() {
            written.pushed(bytes, seq);
        }
    }

    fn event(&self, kind: EventType, data: Value) -> Event {
        Event {
            kind,
            agent_id: self.identity.agent_id.clone(),
            session_id: None,
            timestamp: self.wall,
            data,
            epoch: None,
            seq: None,
        }
    }

    fn hang_up(&mut self, now: Mono, last_error: EmitterError) {
        self.actions.push_back(EmitterAction::HangUp);
        let wait = self.backoff.delay(&mut self.rng);
        self.wait(now + wait, last_error);
    }

    fn wait(&mut self, until: Mono, last_error: EmitterError) {
        self.last_error = Some(last_error);
        self.output.clear();
        self.output.trim();
        self.actions.retain(|action| *action == EmitterAction::HangUp);
        self.link = EmitterLink::Waiting { until };
    }
}

#[cfg(test)]
mod tests;
