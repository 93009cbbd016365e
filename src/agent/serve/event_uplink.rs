//! Events on their way to the shell host: joins spool and emitter to the disk and to SSH.
//!
//! One connection at a time, dialled when the emitter says so. The spool's disk is a thread of its
//! own. Where no shell host is known there is no uplink, and no spool.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use super::registry::Registry;
use crate::agent::emitter::{Emitter, EmitterAction, Identity};
use crate::agent::spool::{self, recovery::Recovery};
use crate::agent::uplink::{Shell, Uplink};
use crate::base::endpoint::Endpoint;
use crate::base::rng::Rng;
use crate::base::slots::Key;
use crate::base::time::{Mono, Now};
use crate::daemon::error::ServeError;
use crate::io::disk::{LogDirectory, LogWorker};
use crate::io::outbound::{DialEvent, Dialler, Outbound};
use crate::io::reactor::{Ready, Waker};
use crate::io::{entropy, machine};
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
    pub(super) fn release(&mut self, uplink: &EventUplink) -> Option<Reply> {
        let is_free = self.replies.front().is_some_and(|(seq, _)| uplink.covers(*seq));
        is_free.then(|| self.replies.pop_front()).flatten().map(|(_, reply)| reply)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }
}

/// The spool, the emitter, and the connection to the shell host.
pub(super) struct EventUplink {
    shell: Arc<Shell>,
    emitter: Emitter,
    disk: LogWorker,
    dialler: Dialler,
    outbound: Outbound,
    /// There while the stream is open.
    uplink: Option<Box<Uplink>>,
    /// What was logged last: why there is no connection, or nothing while there is one.
    logged: Option<String>,
    logged_of_disk: Option<String>,
    /// The address from which this host reaches the shell host, as it was last found.
    own_address: Option<IpAddr>,
    /// Where the shell host was found last.
    shell_address: Option<IpAddr>,
}

impl EventUplink {
    /// Reads the spool and dials at once. `key` is for the connection, `wakes` the key of the
    /// reactor's waker.
    pub(super) fn start(
        shell: Shell,
        identity: Identity,
        paths: &Paths,
        key: Key,
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
        let disk = LogWorker::start(directory, waker).map_err(ServeError::system("threads"))?;
        let emitter = Emitter::new(identity, recovery.finish(), entropy::seed(), now);
        let own_address = shell.address.as_socket_addr().and_then(machine::address_towards);
        Ok(EventUplink {
            own_address,
            shell_address: shell.address.as_socket_addr().map(|address| address.ip()),
            logged: Some(String::new()),
            shell: Arc::new(shell),
            emitter,
            disk,
            dialler: Dialler::new(wakes),
            outbound: Outbound::new(key),
            uplink: None,
            logged_of_disk: None,
        })
    }

    // --- events ---

    pub(super) fn emit(&mut self, event: &Event) {
        self.emitter.emit(event);
    }

    /// The number of the newest event.
    pub(super) fn newest(&self) -> u64 {
        self.emitter.newest()
    }

    /// Whether what this event tells of may be answered: the event is on disk, or the disk takes
    /// nothing, which fails no operation.
    pub(super) fn covers(&self, seq: u64) -> bool {
        self.emitter.covers(seq) || self.emitter.spool().disk_error().is_some()
    }

    /// The last event of this process.
    pub(super) fn say_goodbye(&mut self, now: Now, reason: &str) {
        self.emitter.shutdown(now, reason);
    }

    /// Whether waiting longer would bring nothing: all is delivered, or on disk without a
    /// connection.
    pub(super) fn is_settled(&self) -> bool {
        self.emitter.is_drained() || !self.emitter.is_live() && self.covers(self.newest())
    }

    pub(super) fn shell_address(&self) -> Option<IpAddr> {
        self.shell_address
    }

    /// The address from which this host reaches the shell host, once that is known.
    pub(super) fn own_address(&self) -> Option<IpAddr> {
        self.own_address
    }

    // --- what happens ---

    /// Something happened with the connection.
    pub(super) fn ready(&mut self, registry: &Registry, now: Mono, ready: Ready) {
        let event = self.outbound.ready(&registry.reactor, ready);
        self.dialled(now, event);
    }

    /// The threads have results.
    pub(super) fn collect(&mut self, registry: &Registry, now: Now) {
        while let Some(done) = self.disk.next_done() {
            self.emitter.disk_done(now, done);
        }
        while let Some(found) = self.dialler.next_found() {
            self.shell_address = found.number().map(|number| number.ip()).or(self.shell_address);
            self.own_address =
                found.number().and_then(machine::address_towards).or(self.own_address);
            let event = self.outbound.found(&registry.reactor, found);
            self.dialled(now.mono, event);
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
        let is_more = self.pump(now);
        self.follow(registry, now, &mut load);
        is_more
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let uplink = self.uplink.as_ref().and_then(|uplink| uplink.deadline());
        self.emitter.deadline().into_iter().chain(uplink).min()
    }

    pub(super) fn tick(&mut self, now: Now) {
        self.emitter.tick(now);
        if let Some(uplink) = &mut self.uplink
            && uplink.deadline().is_some_and(|at| at <= now.mono)
        {
            uplink.tick(now.mono);
        }
    }

    /// Logs what has changed: once for each reason, however often it is met.
    pub(super) fn report(&mut self, log: &mut Log<impl std::io::Write>) {
        let address = &self.shell.address;
        match self.emitter.last_error().map(ToString::to_string) {
            Some(why) if self.logged.as_ref() != Some(&why) => {
                log.warning(format_args!("status: {why}; events are kept until they can go"));
                self.logged = Some(why);
            }
            Some(_) => {}
            None if self.emitter.is_live() && self.logged.take().is_some() => {
                log.info(format_args!("status: events go to {address}"));
            }
            None => {}
        }
        if let Some(lost) = self.emitter.take_went_back() {
            log.warning(format_args!(
                "event spool: {address} has events that are not here any more, as after a restored \
                 disk; numbers start anew, and {lost} events since this start are lost"
            ));
        }
        let trouble = self.emitter.spool().disk_error().map(ToString::to_string);
        if trouble != self.logged_of_disk {
            match &trouble {
                Some(why) => log.error(format_args!("event spool: {why}")),
                None => log.info("event spool: the disk takes events again"),
            }
            self.logged_of_disk = trouble;
        }
    }

    // --- the connection ---

    fn follow(&mut self, registry: &mut Registry, now: Now, load: &mut impl FnMut() -> Value) {
        while let Some(action) = self.emitter.poll_action() {
            match action {
                EmitterAction::Dial => {
                    self.hang_up();
                    let (reactor, address) = (&mut registry.reactor, &self.shell.address);
                    let event = self.outbound.dial(&mut self.dialler, reactor, address);
                    self.dialled(now.mono, event);
                }
                EmitterAction::HangUp => self.hang_up(),
                EmitterAction::Measure => self.emitter.heartbeat(now, load()),
            }
        }
        self.disk.feed(|| self.emitter.poll_disk());
    }

    /// The core or the operator's log learns what has become of dialling.
    fn dialled(&mut self, now: Mono, event: DialEvent) {
        match event {
            DialEvent::None => {}
            DialEvent::ConnectStarted => self.emitter.connects_started(now),
            DialEvent::Connected => {
                self.emitter.reached(now);
                let uplink = Uplink::new(Arc::clone(&self.shell), entropy::seed(), now);
                self.uplink = Some(Box::new(uplink));
            }
            DialEvent::Failed(why) => {
                let address = &self.shell.address;
                let whole = |text| format!("cannot connect to {address}: {text}");
                self.emitter.unreached(now, why.map(whole));
            }
        }
    }

    fn pump(&mut self, now: Now) -> bool {
        let Some(uplink) = &mut self.uplink else { return false };
        uplink.work(now, &mut self.emitter);
        self.outbound.pump(now.mono, &mut **uplink);
        uplink.work(now, &mut self.emitter);
        if !self.outbound.is_open() {
            self.uplink = None;
            return false;
        }
        self.outbound.wants_turn(&mut **uplink)
    }

    /// Ends the connection with a word, if there is one.
    fn hang_up(&mut self) {
        if let Some(mut uplink) = self.uplink.take() {
            uplink.leave();
            self.outbound.pump(Mono::ZERO, &mut *uplink);
        }
        self.outbound.close();
    }
}
