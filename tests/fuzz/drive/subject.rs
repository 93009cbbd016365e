//! The connection under test with its owner, and what must always hold of it.

use std::collections::BTreeMap;
use std::time::Duration;

use convocate::base::endpoint::Endpoint;
use convocate::base::time::Mono;
use convocate::limits;
use convocate::ssh::keys::PublicKey;
use convocate::ssh::{ChannelId, Conn, Error, Event, OpenError, Role, Tuning};

use super::ends::{client_config, client_key, server_config};

/// What a connection may hold before it is authenticated.
const PREAUTH_BYTES_MAX: usize = 40 * 1024;
/// What an authenticated connection may hold when nothing is under way.
const IDLE_BYTES_MAX: usize = 64 * 1024;
/// What may wait to be written: both queues, what waited for a key exchange, and one message more.
const OUTPUT_BYTES_MAX: usize = limits::SSH_SEND_QUEUE_BYTES
    + limits::SSH_REPLY_QUEUE_BYTES
    + 2 * limits::SSH_DEFERRED_BYTES_MAX
    + limits::SSH_PACKET_BYTES_MAX;

/// How far the owner knows a channel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// Client: asked for.
    Asked,
    Open,
    Dead,
}

/// What the owner knows of a channel.
pub struct Known {
    pub life: Life,
    eof: bool,
    exited: bool,
    pub closed_by_us: bool,
}

impl Known {
    fn new(life: Life) -> Known {
        Known { life, eof: false, exited: false, closed_by_us: false }
    }
}

pub struct Subject {
    pub conn: Conn,
    pub role: Role,
    pub now: Mono,
    pub authenticated: Option<PublicKey>,
    /// The key that the owner is asked about.
    pub asked: Option<PublicKey>,
    /// The key that it has said yes to last.
    approved: Option<PublicKey>,
    /// Why it has ended.
    pub error: Option<Error>,
    pub channels: BTreeMap<ChannelId, Known>,
    /// The owner looks at events.
    pub attentive: bool,
    /// What the owner says about keys without thinking.
    pub verdict: Option<bool>,
}

impl Subject {
    pub fn new(role: Role, tuning: Tuning) -> Subject {
        let now = Mono::from_nanos(1);
        let conn = match role {
            Role::Client => Conn::client(client_config(tuning), [6; 32], now),
            Role::Server => Conn::server(server_config(tuning), [7; 32], now),
        };
        Subject {
            conn,
            role,
            now,
            authenticated: None,
            asked: None,
            approved: None,
            error: None,
            channels: BTreeMap::new(),
            attentive: true,
            verdict: Some(true),
        }
    }

    /// Whether its owner was told that it is over.
    pub fn has_ended(&self) -> bool {
        self.error.is_some()
    }

    // --- what the driver does ---

    /// Hands over the start of `bytes`, in pieces of at most `step`, and says how much was taken.
    pub fn feed(&mut self, bytes: &[u8], step: usize) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            let space = self.conn.input_space();
            let len = space.len().min(bytes.len() - taken).min(step);
            if len == 0 {
                break;
            }
            assert!(self.error.is_none(), "input is taken after the end");
            space[..len].copy_from_slice(&bytes[taken..taken + len]);
            self.conn.input(self.now, len);
            taken += len;
            self.look();
        }
        taken
    }

    /// Takes up to `len` bytes of output.
    pub fn read(&mut self, len: usize) -> Vec<u8> {
        let output = self.conn.output();
        let bytes = output[..len.min(output.len())].to_vec();
        self.conn.output_sent(bytes.len());
        self.look();
        bytes
    }

    /// Time passes, and every deadline in it is kept.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        let mut ticks = 0;
        while let Some(deadline) = self.conn.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.conn.tick(self.now);
            self.look();
            let next = self.conn.deadline();
            assert!(next.is_none_or(|next| next > self.now), "a deadline that is never over");
            ticks += 1;
            assert!(ticks < 20_000, "a deadline after the other");
        }
        self.now = end;
        self.conn.tick(self.now);
        self.look();
    }

    pub fn end_input(&mut self) {
        self.conn.input_end(self.now);
        self.look();
    }

    // --- what the owner does ---

    /// The verdict about a key, or about none: then it means nothing.
    pub fn decide(&mut self, verdict: bool) {
        if let Some(key) = self.asked.take() {
            self.approved = verdict.then_some(key);
        }
        self.conn.authorize(verdict);
        self.look();
    }

    pub fn open(&mut self, name: &'static str) {
        let opened = self.conn.open_subsystem(name);
        match opened {
            Ok(id) => {
                assert!(!self.has_ended() && self.role == Role::Client);
                let before = self.channels.insert(id, Known::new(Life::Asked));
                assert!(before.is_none(), "{id:?} is used again");
            }
            Err(OpenError::Full) => assert!(self.channels.len() >= limits::SSH_CHANNELS_MAX),
            Err(OpenError::NotReady) => assert!(
                self.has_ended()
                    || self.role == Role::Server
                    || self.authenticated.is_none()
                    || !self.attentive
            ),
        }
        self.look();
    }

    /// The `index`th channel that is not dead.
    pub fn channel(&self, index: u8) -> Option<ChannelId> {
        let alive: Vec<ChannelId> = self.living().collect();
        (!alive.is_empty()).then(|| alive[usize::from(index) % alive.len()])
    }

    pub fn living(&self) -> impl Iterator<Item = ChannelId> {
        self.channels.iter().filter(|(_, known)| known.life != Life::Dead).map(|(id, _)| *id)
    }

    pub fn send(&mut self, id: ChannelId, bytes: &[u8]) -> usize {
        let taken = self.conn.send(id, bytes);
        assert!(
            taken <= bytes.len() && (taken == 0 || !self.has_ended()),
            "{taken} bytes are sent"
        );
        self.look();
        taken
    }

    pub fn consume(&mut self, id: ChannelId, len: usize) {
        let held = self.conn.received(id).len();
        let len = len.min(held);
        self.conn.consume(id, len);
        assert_eq!(self.conn.received(id).len(), held - len, "what was consumed is still there");
        self.look();
    }

    pub fn close(&mut self, id: ChannelId) {
        if let Some(known) = self.channels.get_mut(&id) {
            known.closed_by_us = true;
        }
        self.conn.close(id);
        self.look();
    }

    // --- what must hold ---

    /// After every call.
    pub fn look(&mut self) {
        if self.attentive {
            while let Some(event) = self.conn.poll_event() {
                self.event(event);
            }
        }
        self.check();
    }

    /// The owner looks again.
    pub fn wake(&mut self) {
        self.attentive = true;
        self.look();
    }

    fn check(&mut self) {
        let allocated = self.conn.allocated();
        assert!(allocated <= limits::SSH_CONNECTION_BYTES_MAX, "{allocated} bytes are held");
        let waiting = self.conn.output().len();
        assert!(waiting <= OUTPUT_BYTES_MAX, "{waiting} bytes wait to be written");
        if self.attentive && self.authenticated.is_none() {
            assert!(allocated <= PREAUTH_BYTES_MAX, "a stranger holds {allocated} bytes");
        }
        if self.conn.is_finished() {
            assert!(self.conn.input_space().is_empty(), "input is taken after the end");
            assert_eq!(self.conn.deadline(), None, "something is waited for after the end");
            assert!(self.has_ended() || !self.attentive, "an end that nobody hears of");
        } else if self.attentive && self.asked.is_none() && waiting == 0 {
            assert!(!self.conn.input_space().is_empty(), "no input is taken, and nothing waits");
        }
    }

    fn event(&mut self, event: Event) {
        assert!(!self.has_ended(), "{event:?} after the end");
        match event {
            Event::KeyOffered { key, .. } => self.offered(key),
            Event::Authenticated { key } => self.entered(key),
            Event::Disconnected(error) => {
                assert!(error.to_string().len() < 4096, "a message of bounded length");
                self.error = Some(error);
            }
            Event::Subsystem { channel, .. } => {
                assert_eq!(self.role, Role::Server);
                let before = self.channels.insert(channel, Known::new(Life::Open));
                assert!(before.is_none(), "{channel:?} has two subsystems");
            }
            Event::Opened { channel } => self.moves(channel, Life::Asked, Life::Open),
            Event::Refused { channel, .. } => {
                assert_eq!(self.role, Role::Client);
                assert_eq!(self.conn.received(channel), b"");
                self.known(channel).life = Life::Dead;
            }
            Event::Closed { channel } => {
                assert_eq!(self.conn.received(channel), b"", "closed with bytes left");
                assert_eq!(self.conn.send_space(channel), 0);
                let known = self.known(channel);
                assert!(known.closed_by_us || known.eof, "closed without EOF");
                known.life = Life::Dead;
            }
            Event::Eof { channel } => {
                let known = self.open_channel(channel);
                assert!(!std::mem::replace(&mut known.eof, true), "EOF twice");
            }
            Event::ExitStatus { channel, .. } => {
                assert_eq!(self.role, Role::Client);
                let known = self.open_channel(channel);
                assert!(!std::mem::replace(&mut known.exited, true), "two exit statuses");
            }
            Event::Probed => unreachable!("nobody has asked"),
            Event::WindowChange { channel, .. } => {
                assert_eq!(self.role, Role::Server);
                self.open_channel(channel);
            }
            Event::Readable { channel } | Event::Writable { channel } => {
                self.open_channel(channel);
            }
        }
    }

    fn offered(&mut self, key: PublicKey) {
        assert_eq!(self.role, Role::Server);
        assert!(self.authenticated.is_none() && self.asked.is_none(), "asked again");
        self.asked = Some(key);
        if let Some(verdict) = self.verdict {
            self.approved = verdict.then_some(key);
            self.asked = None;
            self.conn.authorize(verdict);
        }
    }

    fn entered(&mut self, key: PublicKey) {
        assert!(self.authenticated.is_none(), "authenticated twice");
        match self.role {
            Role::Server => assert_eq!(self.approved, Some(key), "nobody said yes to this key"),
            Role::Client => assert_eq!(key, *client_key().public()),
        }
        self.authenticated = Some(key);
    }

    /// A channel that the owner must know already.
    fn known(&mut self, id: ChannelId) -> &mut Known {
        let known = self.channels.get_mut(&id).expect("an event of a channel that is known");
        assert!(known.life != Life::Dead, "an event of a dead channel");
        known
    }

    fn open_channel(&mut self, id: ChannelId) -> &mut Known {
        let known = self.known(id);
        assert!(known.life == Life::Open, "an event of a channel that is not open");
        known
    }

    fn moves(&mut self, id: ChannelId, from: Life, to: Life) {
        let known = self.known(id);
        assert!(known.life == from, "{id:?} opens twice");
        known.life = to;
    }

    /// At the end of a script: an owner who deals with everything leaves nothing behind, if no key
    /// exchange is under way either.
    pub fn come_to_rest(&mut self, exchanging: bool) {
        self.wake();
        if self.asked.is_some() {
            self.decide(false);
        }
        for id in self.living().collect::<Vec<_>>() {
            self.consume(id, usize::MAX);
        }
        self.read(usize::MAX);
        for _ in 0..3 {
            self.pass(Duration::from_secs(1));
            self.read(usize::MAX);
        }
        if !self.has_ended() && self.authenticated.is_some() && !exchanging {
            let allocated = self.conn.allocated();
            assert!(allocated <= IDLE_BYTES_MAX, "{allocated} bytes at rest");
        }
    }
}
