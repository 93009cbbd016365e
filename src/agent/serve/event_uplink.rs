//! Events on their way to the shell host: joins spool and emitter to the disk and to SSH.
//!
//! One connection at a time, dialled when the emitter says so. The spool's disk is a thread of its
//! own. Where no shell host is known there is no courier, and no spool.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

use super::registry::{Owner, Registry};
use super::setup::ServeError;
use crate::agent::emitter::{Emitter, EmitterAction, Identity};
use crate::agent::spool::{self, recovery::Recovery};
use crate::agent::uplink::{Shell, Uplink};
use crate::base::endpoint::Endpoint;
use crate::base::rng::Rng;
use crate::base::slots::Key;
use crate::base::time::{Mono, Now};
use crate::base::unreached::Unreached;
use crate::io::dial::{self, Dialler};
use crate::io::disk::{LogDirectory, LogWorker};
use crate::io::entropy;
use crate::io::reactor::{Ready, Waker};
use crate::io::wire::{Dialled, Flow, Wire};
use crate::log::Log;
use crate::paths::{PRIVATE_STATE_DIR, Paths};
use crate::rpc::event::Event;
use crate::ssh::ChannelId;

/// An answer's line, and on which channel of whose connection.
type Reply = (Key, ChannelId, Vec<u8>);

/// Answers of operations whose events are not on disk yet, in their order.
#[derive(Debug, Default)]
pub(super) struct PendingReplies {
    replies: VecDeque<(u64, Reply)>,
}

impl PendingReplies {
    /// Holds an answer until this event is on disk.
    pub(super) fn hold(&mut self, seq: u64, reply: Reply) {
        self.replies.push_back((seq, reply));
    }

    /// The next answer that may go.
    pub(super) fn release(&mut self, courier: &EventUplink) -> Option<Reply> {
        let is_free = self.replies.front().is_some_and(|(seq, _)| courier.covers(*seq));
        is_free.then(|| self.replies.pop_front()).flatten().map(|(_, reply)| reply)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }
}

/// The way to the shell host.
pub(super) struct EventUplink {
    shell: Arc<Shell>,
    emitter: Emitter,
    disk: LogWorker,
    dialler: Dialler,
    line: Line,
    /// What the operator was told last: why there is no connection, or nothing while there is one.
    told: Option<String>,
    told_of_disk: Option<String>,
}

enum Line {
    Down,
    /// A name is looked up, or a stream is being opened.
    Dialling {
        key: Key,
        wire: Option<Wire>,
    },
    Up {
        key: Key,
        wire: Wire,
        uplink: Box<Uplink>,
    },
}

impl EventUplink {
    /// Reads the spool and dials at once. `wakes` is the key of the reactor's waker.
    pub(super) fn start(
        shell: Shell,
        identity: Identity,
        paths: &Paths,
        (wakes, waker): (Key, &Waker),
        now: Now,
    ) -> Result<EventUplink, ServeError> {
        let mut directory = LogDirectory::open(&paths.agent_spool(), PRIVATE_STATE_DIR.1)?;
        let mut rng = Rng::from_seed(entropy::seed());
        let mut recovery =
            Recovery::new(directory.files()?, spool::SpoolTuning::default(), &mut rng);
        while let Some(op) = recovery.poll_disk() {
            recovery.disk_done(directory.execute(op));
        }
        let disk = LogWorker::start(directory, waker)
            .map_err(|error| ServeError::System("threads", error))?;
        let emitter = Emitter::new(identity, recovery.finish(), entropy::seed(), now);
        Ok(EventUplink {
            told: Some(String::new()),
            shell: Arc::new(shell),
            emitter,
            disk,
            dialler: Dialler::new(wakes),
            line: Line::Down,
            told_of_disk: None,
        })
    }

    // --- events ---

    pub(super) fn emit(&mut self, event: &Event) {
        self.emitter.emit(event);
    }

    /// The number of the newest event.
    pub(super) fn newest(&self) -> u64 {
        self.emitter.spool().last_seq()
    }

    /// Whether what this event tells of may be answered: the event is on disk, or the disk takes
    /// nothing, which fails no operation.
    pub(super) fn covers(&self, seq: u64) -> bool {
        self.emitter.synced() >= seq || self.emitter.spool().disk_error().is_some()
    }

    /// The last event of this process.
    pub(super) fn say_goodbye(&mut self, now: Now, reason: &str) {
        self.emitter.shutdown(now, reason);
    }

    /// Whether waiting longer would bring nothing: all is delivered, or on disk and there is nobody
    /// to take it.
    pub(super) fn is_settled(&self) -> bool {
        self.emitter.is_drained() || !self.emitter.is_live() && self.covers(self.newest())
    }

    // --- what happens ---

    /// Something happened with the connection.
    pub(super) fn ready(&mut self, registry: &mut Registry, now: Mono, key: Key, ready: Ready) {
        match &mut self.line {
            Line::Dialling { key: ours, wire: Some(wire) } if *ours == key => {
                match wire.note(ready) {
                    Dialled::Unchanged => {}
                    Dialled::Open => self.go_up(now),
                    Dialled::Failed(error, rest) => {
                        let next = match rest.is_empty() {
                            true => Err(error.into()),
                            false => dial::connect(&registry.reactor, key, rest).map(Some),
                        };
                        self.placed(registry, now, next);
                    }
                }
            }
            Line::Up { key: ours, wire, .. } if *ours == key => {
                let _open_already = wire.note(ready);
            }
            Line::Down | Line::Dialling { .. } | Line::Up { .. } => {}
        }
    }

    /// The threads have results.
    pub(super) fn collect(&mut self, registry: &mut Registry, now: Now) {
        while let Some(done) = self.disk.next_done() {
            self.emitter.disk_done(now, done);
        }
        while let Some((key, wire)) = self.dialler.next_found(&registry.reactor) {
            let wanted = matches!(self.line, Line::Dialling { key: ours, .. } if ours == key);
            if wanted {
                self.placed(registry, now.mono, wire.map(Some));
            }
        }
    }

    /// Moves what can be moved, and says whether there is more at once. `load` are the figures of a
    /// heartbeat.
    pub(super) fn turn(
        &mut self,
        registry: &mut Registry,
        now: Now,
        mut load: impl FnMut() -> Value,
    ) -> bool {
        self.follow(registry, now, &mut load);
        let more = self.pump(registry, now);
        self.follow(registry, now, &mut load);
        more
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let uplink = match &self.line {
            Line::Up { uplink, .. } => uplink.deadline(),
            Line::Down | Line::Dialling { .. } => None,
        };
        self.emitter.deadline().into_iter().chain(uplink).min()
    }

    pub(super) fn tick(&mut self, now: Now) {
        self.emitter.tick(now);
        if let Line::Up { uplink, .. } = &mut self.line
            && uplink.deadline().is_some_and(|at| at <= now.mono)
        {
            uplink.tick(now.mono);
        }
    }

    /// Tells the operator what has changed: once for each reason, however often it is met.
    pub(super) fn tell(&mut self, log: &mut Log<impl std::io::Write>) {
        let address = &self.shell.address;
        match self.emitter.last_error().map(ToString::to_string) {
            Some(why) if self.told.as_ref() != Some(&why) => {
                log.warning(format_args!("status: {why}; events are kept until they can go"));
                self.told = Some(why);
            }
            Some(_) => {}
            None if self.emitter.is_live() && self.told.take().is_some() => {
                log.info(format_args!("status: events go to {address}"));
            }
            None => {}
        }
        let trouble = self.emitter.spool().disk_error().map(ToString::to_string);
        if trouble != self.told_of_disk {
            match &trouble {
                Some(why) => log.error(format_args!("event spool: {why}")),
                None => log.info("event spool: the disk takes events again"),
            }
            self.told_of_disk = trouble;
        }
    }

    // --- the line ---

    fn follow(&mut self, registry: &mut Registry, now: Now, load: &mut impl FnMut() -> Value) {
        while let Some(action) = self.emitter.poll_action() {
            match action {
                EmitterAction::Dial => self.dial(registry, now.mono),
                EmitterAction::HangUp => self.hang_up(registry),
                EmitterAction::Measure => self.emitter.heartbeat(now, load()),
            }
        }
        self.disk.feed(|| self.emitter.poll_disk());
    }

    fn dial(&mut self, registry: &mut Registry, now: Mono) {
        self.hang_up(registry);
        match registry.reserve(Owner::Uplink) {
            Err(error) => self.emitter.closed(now, error.to_string()),
            Ok(key) => {
                self.line = Line::Dialling { key, wire: None };
                let wire = self.dialler.dial(&mut registry.reactor, key, &self.shell.address);
                self.placed(registry, now, wire);
            }
        }
    }

    /// What came of dialling; `Ok(None)` when a name is being looked up.
    fn placed(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        found: Result<Option<Wire>, Unreached>,
    ) {
        match (found, &mut self.line) {
            (Ok(found), Line::Dialling { wire, .. }) => {
                if found.is_some() {
                    self.emitter.connects_started(now);
                }
                *wire = found;
            }
            (Ok(_), Line::Down | Line::Up { .. }) => {}
            (Err(why), _) => {
                self.hang_up(registry);
                let address = &self.shell.address;
                let whole = |text| format!("cannot connect to {address}: {text}");
                self.emitter.unreached(now, why.map(whole));
            }
        }
    }

    fn go_up(&mut self, now: Mono) {
        self.emitter.reached(now);
        self.line = match std::mem::replace(&mut self.line, Line::Down) {
            Line::Dialling { key, wire: Some(wire) } => {
                let uplink = Uplink::new(Arc::clone(&self.shell), entropy::seed(), now);
                Line::Up { key, wire, uplink: Box::new(uplink) }
            }
            line => line,
        };
    }

    fn pump(&mut self, registry: &mut Registry, now: Now) -> bool {
        let Line::Up { wire, uplink, .. } = &mut self.line else { return false };
        uplink.work(now, &mut self.emitter);
        let flow = wire.pump(now.mono, &mut **uplink);
        uplink.work(now, &mut self.emitter);
        match flow {
            Flow::Again => true,
            Flow::Wait => wire.is_writable() && !uplink.output().is_empty(),
            Flow::Over => {
                self.drop_line(registry);
                false
            }
        }
    }

    /// Ends the connection with a word, if there is somebody to hear it.
    fn hang_up(&mut self, registry: &mut Registry) {
        if let Line::Up { wire, uplink, .. } = &mut self.line {
            uplink.leave();
            let _last_words = wire.pump(Mono::ZERO, &mut **uplink);
        }
        self.drop_line(registry);
    }

    fn drop_line(&mut self, registry: &mut Registry) {
        if let Line::Dialling { key, .. } | Line::Up { key, .. } = self.line {
            registry.release(key);
        }
        self.line = Line::Down;
    }
}
