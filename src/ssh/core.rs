//! The connection behind [`super::Conn`]: everything but the receive buffer, so that a message can
//! be looked at where it lies while this changes.
//!
//! States: [`ConnStage`]. What comes is counted (before authentication), asked about in
//! [`super::admit`], and handed to the part that it concerns: exchange, authentication, channels.

use super::admit::{Admission, AdmitState, admission};
use super::auth::client::ClientAuth;
use super::auth::server::ServerAuth;
use super::channels::Channels;
use super::config::{Role, Side};
use super::error::{Error, shown};
use super::event::{Event, Events};
use super::exchange::{self, ExchangeContext, KeyExchange, Progress};
use super::identification::{Awaiting, FirstLine};
use super::names::{
    KEEPALIVE, SERVER_SIG_ALGS, SSH_ED25519, SSH_MSG_CHANNEL_OPEN, SSH_MSG_DISCONNECT,
    SSH_MSG_EXT_INFO, SSH_MSG_GLOBAL_REQUEST, SSH_MSG_KEX_ECDH_INIT, SSH_MSG_KEX_ECDH_REPLY,
    SSH_MSG_KEXINIT, SSH_MSG_NEWKEYS, SSH_MSG_REQUEST_FAILURE, SSH_MSG_REQUEST_SUCCESS,
    SSH_MSG_SERVICE_ACCEPT, SSH_MSG_SERVICE_REQUEST, SSH_MSG_UNIMPLEMENTED,
    SSH_MSG_USERAUTH_SUCCESS,
};
use super::packet::{Packet, Receiving};
use super::refusal::Refusal;
use super::sender::Sender;
use super::wire::{Reader, put_name_list, put_string, put_u32};
use crate::base::rng::Rng;
use crate::base::time::Mono;
use crate::base::timers::{Timer, Timers};
use crate::limits;

/// How far the connection has come.
pub(crate) enum ConnStage {
    /// The peer's identification is waited for; our first KEXINIT is out.
    Identifying {
        /// What came so far.
        awaiting: Awaiting,
        kexinit: Vec<u8>,
    },
    Running(Box<KeyExchange>),
    /// Only the first reason for it is reported.
    Ended,
}

pub(crate) enum Auth {
    /// Ours to prove.
    Client(ClientAuth),
    /// Ours to check.
    Server(ServerAuth),
}

/// What is waited for with a deadline.
#[derive(Clone, Copy)]
pub(crate) enum Deadline {
    Login,
    /// Something from the peer.
    Keepalive,
    /// The age of the key.
    RekeyAge,
    /// The end of a key exchange.
    RekeyEnd,
    /// A look at buffers that have grown.
    Trim,
    /// Server: a subsystem on a channel.
    Subsystem,
}

impl Timer for Deadline {
    fn index(self) -> usize {
        self as usize
    }
}

/// A connection without its receive buffer.
pub(crate) struct Core {
    pub(crate) side: Side,
    pub(crate) stage: ConnStage,
    pub(crate) auth: Auth,
    pub(crate) receiving: Receiving,
    pub(crate) sender: Sender,
    pub(crate) channels: Channels,
    pub(crate) events: Events,
    pub(crate) timers: Timers<Deadline, 6>,
    /// The time of the driver's last call.
    pub(crate) now: Mono,
    /// When something came last.
    last_input: Mono,
    rng: Rng,
    /// What an unauthenticated peer has sent.
    preauth_bytes: u64,
    preauth_packets: u32,
    /// Keepalives since something came.
    silent_keepalives: u32,
    /// Keepalives that still have a right to an answer.
    pub(super) open_keepalives: u32,
    /// Whether the next answer to them is to be told.
    pub(super) is_probing: bool,
    /// Key exchanges that are over.
    exchanges: u64,
    /// Whether the first one has been made, as far as it costs anything.
    has_exchanged: bool,
    /// Whether it ended for what the peer did.
    is_failure: bool,
    /// What a listener has said before its identification.
    refusal: Option<Refusal>,
}

impl Core {
    /// The start: identification and KEXINIT are ready to be sent.
    pub(crate) fn new(side: Side, seed: [u8; 32], now: Mono) -> Core {
        let mut rng = Rng::from_seed(seed);
        let mut sender = Sender::new(Rng::from_seed(rng.bytes()));
        let kexinit = exchange::start(&side, &mut sender, &mut rng);
        let mut timers = Timers::new();
        timers.set(Deadline::Login, now + side.tuning().login_grace);
        let channels = Channels::new(side.tuning().window_pool_bytes);
        let auth = match side.role() {
            Role::Client => Auth::Client(ClientAuth::new()),
            Role::Server => Auth::Server(ServerAuth::Service),
        };
        Core {
            side,
            stage: ConnStage::Identifying { awaiting: Awaiting::default(), kexinit },
            auth,
            receiving: Receiving::default(),
            sender,
            channels,
            events: Events::new(),
            timers,
            now,
            last_input: now,
            rng,
            preauth_bytes: 0,
            preauth_packets: 0,
            silent_keepalives: 0,
            open_keepalives: 0,
            is_probing: false,
            exchanges: 0,
            has_exchanged: false,
            is_failure: false,
            refusal: None,
        }
    }

    /// Key exchanges that are over, the first one included.
    pub(crate) fn exchanges(&self) -> u64 {
        self.exchanges
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        matches!(self.auth, Auth::Client(ClientAuth::Done) | Auth::Server(ServerAuth::Done))
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.stage, ConnStage::Ended)
    }

    /// Whether it is over without authentication for what the peer did: it broke the protocol,
    /// tried to authenticate in vain, or left after a key exchange.
    pub(crate) fn is_failure(&self) -> bool {
        self.is_failure
    }

    fn has_tried(&self) -> bool {
        matches!(&self.auth, Auth::Server(ServerAuth::Waiting(attempts)) if attempts.is_any())
    }

    /// Server: whether the peer has had us make a key exchange and has not authenticated.
    pub(crate) fn has_cost_an_exchange(&self) -> bool {
        matches!(self.auth, Auth::Server(_)) && self.has_exchanged && !self.is_authenticated()
    }

    /// How far a connection has come before it is authenticated: a number that grows.
    pub(crate) fn progress(&self) -> u8 {
        match self.stage {
            ConnStage::Identifying { .. } => 0,
            ConnStage::Running(_) => 1 + self.state() as u8,
            ConnStage::Ended => 0,
        }
    }

    /// Whether no input is taken now: the owner is asked about a key, or has events to look at, or
    /// the peer does not read what it asked for.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_ended()
            || matches!(self.auth, Auth::Server(ServerAuth::Deciding { .. }))
            || self.events.len() >= limits::SSH_EVENTS_MAX
            || self.sender.is_over_mark()
    }

    /// The peer sends nothing more.
    pub(crate) fn input_end(&mut self, now: Mono) {
        self.now = now;
        let is_first = matches!(self.stage, ConnStage::Identifying { .. });
        let refusal = self.refusal.filter(|_| is_first);
        self.end(refusal.map_or(Error::StreamEnd, Error::Refused));
    }

    /// The connection ends, with a word to the peer if there is one to say.
    pub(crate) fn end(&mut self, error: Error) {
        if self.is_ended() {
            return;
        }
        if let Some((reason, text)) = error.farewell() {
            self.sender.put(64, |out| {
                out.push(SSH_MSG_DISCONNECT);
                put_u32(out, reason);
                put_string(out, text.as_bytes());
                put_string(out, b"");
            });
        }
        let has_left = matches!(error, Error::StreamEnd | Error::ByPeer { .. });
        self.is_failure =
            error.is_failure() || self.has_tried() || has_left && self.has_cost_an_exchange();
        self.sender.shut(); // nothing follows that word
        self.stage = ConnStage::Ended;
        self.timers = Timers::new();
        self.events.push_back(Event::Disconnected(error));
    }

    /// Takes back what the owner's own doing has added behind the last event.
    pub(crate) fn forget_events_after_the_last(&mut self) {
        let is_last = |event: &Event| matches!(event, Event::Disconnected(_));
        let keep = self.events.iter().position(is_last).map_or(0, |index| index + 1);
        self.events.truncate(keep);
    }

    pub(crate) fn note_input(&mut self, now: Mono) {
        self.now = now;
        self.last_input = now;
        self.silent_keepalives = 0;
    }

    /// Takes one line or packet from the start of `held`, and says how many bytes it was; zero if
    /// there is none yet.
    pub(crate) fn step(&mut self, held: &mut [u8]) -> Result<usize, Error> {
        match &mut self.stage {
            ConnStage::Ended => Ok(0),
            ConnStage::Identifying { .. } => self.step_line(held),
            ConnStage::Running(_) => {
                let Some(packet) = self.receiving.next(held).map_err(Error::Packet)? else {
                    return Ok(0);
                };
                self.packet(&held[packet.payload.clone()], &packet)?;
                Ok(packet.wire_bytes)
            }
        }
    }

    fn step_line(&mut self, held: &[u8]) -> Result<usize, Error> {
        let role = self.side.role();
        let ConnStage::Identifying { awaiting, kexinit } = &mut self.stage else { return Ok(0) };
        match awaiting.look(role, held).map_err(Error::Identification)? {
            FirstLine::Nothing => Ok(0),
            FirstLine::Line(bytes) => {
                self.refusal = self.refusal.or_else(|| Refusal::parse(&held[..bytes]));
                Ok(bytes)
            }
            FirstLine::Identification(bytes, peer) => {
                let exchange = KeyExchange::new(peer, std::mem::take(kexinit));
                self.stage = ConnStage::Running(Box::new(exchange));
                Ok(bytes)
            }
        }
    }

    // --- messages ---

    fn packet(&mut self, payload: &[u8], packet: &Packet) -> Result<(), Error> {
        if !self.is_authenticated() {
            self.charge_unauthenticated(packet.wire_bytes)?;
        }
        let Some(&number) = payload.first() else { return Ok(()) };
        let ConnStage::Running(exchange) = &mut self.stage else { return Ok(()) };
        if exchange.drops_guess(number) {
            return Ok(());
        }
        let strict = exchange.is_strict();
        let state = self.state();
        match admission(self.side.role(), state, number) {
            Admission::Handle => self.message(number, payload, packet.sequence)?,
            Admission::Ignore => {}
            Admission::Lax if !strict => {}
            Admission::Unknown => self.unimplemented(packet.sequence),
            Admission::Lax | Admission::Refuse => {
                return Err(Error::Unexpected { number, state });
            }
        }
        if self.sender.is_flooded() {
            return Err(Error::Flood);
        }
        self.rekey_if_due();
        Ok(())
    }

    /// What is waited for now.
    pub(crate) fn state(&self) -> AdmitState {
        let exchange = match &self.stage {
            ConnStage::Identifying { .. } => Some(AdmitState::FirstKexInit),
            ConnStage::Running(exchange) => exchange.state(),
            ConnStage::Ended => None,
        };
        exchange.unwrap_or(match &self.auth {
            Auth::Client(ClientAuth::Service { .. }) | Auth::Server(ServerAuth::Service) => {
                AdmitState::Service
            }
            Auth::Client(ClientAuth::Done) | Auth::Server(ServerAuth::Done) => AdmitState::Open,
            Auth::Client(_) | Auth::Server(_) => AdmitState::Auth,
        })
    }

    fn charge_unauthenticated(&mut self, bytes: usize) -> Result<(), Error> {
        self.preauth_bytes += bytes as u64;
        self.preauth_packets += 1;
        let over = self.preauth_bytes > limits::SSH_PREAUTH_BYTES_MAX
            || self.preauth_packets > limits::SSH_PREAUTH_PACKETS_MAX;
        if over { Err(Error::PreauthBudget) } else { Ok(()) }
    }

    /// A message that is admitted.
    fn message(&mut self, number: u8, payload: &[u8], sequence: u32) -> Result<(), Error> {
        match number {
            SSH_MSG_DISCONNECT => Err(by_peer(payload)),
            SSH_MSG_KEXINIT | SSH_MSG_NEWKEYS | SSH_MSG_KEX_ECDH_INIT | SSH_MSG_KEX_ECDH_REPLY => {
                self.exchange_message(payload, sequence)
            }
            SSH_MSG_GLOBAL_REQUEST => self.global_request(payload),
            SSH_MSG_REQUEST_SUCCESS | SSH_MSG_REQUEST_FAILURE => self.global_reply(number),
            SSH_MSG_CHANNEL_OPEN.. => {
                let subsystems = match &self.side {
                    Side::Server(config) => Some(config.subsystems),
                    Side::Client(_) => None,
                };
                let (sender, events) = (&mut self.sender, &mut self.events);
                self.channels.receive(payload, subsystems, sender, events)?;
                self.wait_for_subsystem();
                Ok(())
            }
            _ => self.auth_message(number, payload),
        }
    }

    /// A client that opens a channel has something to ask for, at once.
    fn wait_for_subsystem(&mut self) {
        if self.side.role() == Role::Client {
            return;
        }
        match self.channels.is_one_bare() {
            true if self.timers.is_set(Deadline::Subsystem) => {}
            true => {
                self.timers.set(Deadline::Subsystem, self.now + self.side.tuning().subsystem_wait)
            }
            false => self.timers.stop(Deadline::Subsystem),
        }
    }

    fn unimplemented(&mut self, sequence: u32) {
        self.sender.put(5, |out| {
            out.push(SSH_MSG_UNIMPLEMENTED);
            put_u32(out, sequence);
        });
    }

    fn global_request(&mut self, payload: &[u8]) -> Result<(), Error> {
        let mut reader = Reader::new(&payload[1..]);
        let wrong = Error::message(SSH_MSG_GLOBAL_REQUEST);
        let name = reader.string().map_err(&wrong)?;
        let wants_reply = reader.boolean().map_err(&wrong)?;
        if wants_reply {
            let known = name == KEEPALIVE.as_bytes();
            let answer = if known { SSH_MSG_REQUEST_SUCCESS } else { SSH_MSG_REQUEST_FAILURE };
            self.sender.post(|out| out.push(answer));
        }
        Ok(())
    }

    /// All that we ever ask is a keepalive, and any answer will do.
    fn global_reply(&mut self, number: u8) -> Result<(), Error> {
        let left = self.open_keepalives.checked_sub(1);
        self.open_keepalives = left.ok_or(Error::UnaskedReply { number })?;
        if std::mem::take(&mut self.is_probing) {
            self.events.push_back(Event::Probed);
        }
        Ok(())
    }

    // --- key exchange ---

    fn exchange_message(&mut self, payload: &[u8], sequence: u32) -> Result<(), Error> {
        let ConnStage::Running(exchange) = &mut self.stage else { return Ok(()) };
        let mut context = ExchangeContext {
            side: &self.side,
            sender: &mut self.sender,
            receiving: &mut self.receiving,
            rng: &mut self.rng,
        };
        let progress = exchange.receive(payload, sequence, &mut context)?;
        if self.timers_need_rekey_end() {
            self.timers.set(Deadline::RekeyEnd, self.now + self.side.tuning().rekey_timeout);
        }
        match progress {
            Progress::Going => {}
            Progress::Sealed { first, ext_info } => self.sealed(first, ext_info),
            Progress::Over => {
                self.exchanges += 1;
                self.timers.stop(Deadline::RekeyEnd);
                self.timers.set(Deadline::RekeyAge, self.now + self.side.tuning().rekey_age);
            }
        }
        Ok(())
    }

    fn timers_need_rekey_end(&self) -> bool {
        matches!(&self.stage, ConnStage::Running(exchange) if !exchange.is_idle())
            && !self.timers.is_set(Deadline::RekeyEnd)
    }

    /// Our NEWKEYS is out: what waited for it goes.
    fn sealed(&mut self, first: bool, ext_info: bool) {
        if first && ext_info && self.side.role() == Role::Server {
            self.sender.put(64, |out| {
                out.push(SSH_MSG_EXT_INFO);
                put_u32(out, 1);
                put_string(out, SERVER_SIG_ALGS.as_bytes());
                put_name_list(out, &[SSH_ED25519]);
            });
        }
        self.sender.open();
        if first {
            self.has_exchanged = true;
            self.ask_for_service();
            return;
        }
        self.channels.catch_up(&mut self.sender);
        self.channels.wake_senders(&self.sender, &mut self.events);
    }

    /// Starts a key exchange if the keys have served long enough and none is under way.
    pub(crate) fn rekey_if_due(&mut self) {
        let tuning = self.side.tuning();
        let bytes = self.sender.key_bytes.max(self.receiving.key_bytes);
        let packets = self.sender.key_packets.max(self.receiving.key_packets);
        if bytes >= tuning.rekey_bytes || packets >= tuning.rekey_packets {
            self.rekey();
        }
    }

    fn rekey(&mut self) {
        if !self.is_authenticated() {
            return; // the budgets before authentication are far below any limit
        }
        let ConnStage::Running(exchange) = &mut self.stage else { return };
        let proposed = exchange.propose(&mut ExchangeContext {
            side: &self.side,
            sender: &mut self.sender,
            receiving: &mut self.receiving,
            rng: &mut self.rng,
        });
        if proposed {
            self.timers.stop(Deadline::RekeyAge);
            self.timers.set(Deadline::RekeyEnd, self.now + self.side.tuning().rekey_timeout);
        }
    }

    // --- authentication ---

    fn ask_for_service(&mut self) {
        let ConnStage::Running(exchange) = &self.stage else { return };
        if let (Auth::Client(auth), Side::Client(config)) = (&mut self.auth, &self.side) {
            let eager = exchange.peer().is_ours();
            auth.start(eager, config, &exchange.session_id(), &mut self.sender);
        }
    }

    fn auth_message(&mut self, number: u8, payload: &[u8]) -> Result<(), Error> {
        let ConnStage::Running(exchange) = &self.stage else { return Ok(()) };
        let session_id = exchange.session_id();
        let (sender, events) = (&mut self.sender, &mut self.events);
        match (&mut self.auth, &self.side, number) {
            (Auth::Server(auth), _, SSH_MSG_SERVICE_REQUEST) => auth.service(payload, sender),
            (Auth::Server(auth), _, _) => {
                if let Some(offer) = auth.request(payload, &session_id, sender)? {
                    let (user, key) = (offer.user.clone(), offer.key);
                    events.push_back(Event::KeyOffered { user, key });
                }
                Ok(())
            }
            (Auth::Client(auth), Side::Client(config), SSH_MSG_SERVICE_ACCEPT) => {
                auth.accepted(payload, config, &session_id, sender)
            }
            (Auth::Client(auth), Side::Client(config), SSH_MSG_USERAUTH_SUCCESS) => {
                auth.succeeded(payload)?;
                events.push_back(Event::Authenticated { key: *config.key.public() });
                self.authenticated();
                Ok(())
            }
            (Auth::Client(auth), ..) => Err(auth.failed(payload)),
        }
    }

    /// The owner's answer to an offered key.
    pub(crate) fn decide(&mut self, accepted: bool) {
        let Auth::Server(auth @ ServerAuth::Deciding { .. }) = &mut self.auth else { return };
        if let ConnStage::Ended = self.stage {
            return;
        }
        match auth.decide(accepted, &mut self.sender) {
            Ok(None) => {}
            Ok(Some(key)) => {
                self.events.push_back(Event::Authenticated { key });
                self.authenticated();
            }
            Err(error) => self.end(error),
        }
    }

    fn authenticated(&mut self) {
        self.receiving.admit_full_size();
        self.timers.stop(Deadline::Login);
        self.timers.set(Deadline::Keepalive, self.now + self.side.tuning().keepalive);
        if self.side.role() == Role::Server {
            self.timers.set(Deadline::Subsystem, self.now + self.side.tuning().subsystem_wait);
        }
    }

    // --- time ---

    pub(crate) fn tick(&mut self, now: Mono) {
        self.now = now;
        if self.timers.expire(Deadline::Login, now) {
            self.end(Error::LoginGrace);
        }
        if self.timers.expire(Deadline::Subsystem, now) {
            self.end(Error::SubsystemTimeout);
        }
        if self.timers.expire(Deadline::RekeyEnd, now) {
            self.end(Error::RekeyTimeout);
        }
        if self.timers.expire(Deadline::RekeyAge, now) {
            self.rekey();
        }
        if self.timers.expire(Deadline::Keepalive, now) {
            self.keep_alive(now);
        }
    }

    fn keep_alive(&mut self, now: Mono) {
        let (interval, misses) =
            (self.side.tuning().keepalive, self.side.tuning().keepalive_misses);
        let silence = now.since(self.last_input);
        if self.silent_keepalives == 0 && silence < interval {
            self.timers.set(Deadline::Keepalive, self.last_input + interval);
            return;
        }
        if self.silent_keepalives + 1 >= misses {
            self.end(Error::KeepaliveTimeout);
            return;
        }
        self.silent_keepalives += 1;
        self.timers.set(Deadline::Keepalive, now + interval);
        self.ask_alive();
    }

    /// Asks for an answer. During a key exchange silence counts, but nothing may be asked.
    pub(crate) fn ask_alive(&mut self) {
        if self.sender.is_open() {
            self.open_keepalives += 1;
            self.sender.post_keepalive();
        }
    }

    // --- memory ---

    /// Whether buffers that have grown will be looked at.
    pub(crate) fn is_watching(&self) -> bool {
        self.is_ended() || self.timers.is_set(Deadline::Trim)
    }

    /// Sees to it that buffers which have grown are looked at.
    pub(crate) fn watch_buffers(&mut self) {
        self.timers.set(Deadline::Trim, self.now + limits::SSH_TRIM_INTERVAL);
    }

    /// Gives back what is not in use.
    pub(crate) fn trim(&mut self) {
        self.sender.trim();
        self.channels.trim();
        if self.events.is_empty() {
            self.events = Events::new();
        }
    }
}

/// DISCONNECT. One that cannot be read is one all the same.
fn by_peer(payload: &[u8]) -> Error {
    let mut reader = Reader::new(&payload[1..]);
    let reason = reader.u32().unwrap_or(0);
    let text = reader.string().map(shown).unwrap_or_default();
    Error::ByPeer { reason, text }
}
