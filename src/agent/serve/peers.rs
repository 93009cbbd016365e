//! The connections of tcp/222: who is let in, and the bytes of each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::keys::{KeyRing, Refreshed};
use super::registry::{Owner, Registry};
use crate::agent::peer::{Peer, PeerEvent};
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::io::entropy;
use crate::io::link::{Link, Next};
use crate::io::listener::{self, Accepted, Entrance, Listener};
use crate::io::reactor::Ready;
use crate::limits::{LINK_LINGER, LINK_TURN_BYTES};
use crate::log::Log;
use crate::ssh::keys::PublicKey;
use crate::ssh::limiter::ConnectionLimiter;
use crate::ssh::{ChannelId, ServerConfig};

/// The listener and everyone who came through it.
#[derive(Debug)]
pub(super) struct Peers {
    entrance: Entrance,
    limiter: ConnectionLimiter,
    config: Arc<ServerConfig>,
    keys: KeyRing,
    guests: BTreeMap<Key, Guest>,
    /// Those that have something to do in this turn.
    touched: BTreeSet<Key>,
    /// Those that may have something to tell: bytes have come, or they were acted on.
    unheard: BTreeSet<Key>,
}

#[derive(Debug)]
struct Guest {
    link: Link<Peer>,
    address: IpAddr,
    standing: AuthState,
}

#[derive(Debug)]
enum AuthState {
    Stranger,
    Authenticated(PublicKey),
}

impl Peers {
    pub(super) fn new(listener: Listener, config: ServerConfig, keys: KeyRing) -> Peers {
        Peers {
            entrance: Entrance::new(listener),
            limiter: ConnectionLimiter::new(),
            config: Arc::new(config),
            keys,
            guests: BTreeMap::new(),
            touched: BTreeSet::new(),
            unheard: BTreeSet::new(),
        }
    }

    pub(super) fn listener(&self) -> &Listener {
        self.entrance.listener()
    }

    pub(super) fn accept(
        &mut self,
        registry: &mut Registry,
        log: &mut Log<impl std::io::Write>,
        now: Mono,
    ) {
        let mut accepted = Vec::new();
        if let Err(error) = self.entrance.accept(now, &mut accepted) {
            log.error(format_args!("cannot accept connections: {error}"));
        }
        for connection in accepted {
            self.admit(registry, log, now, connection);
        }
    }

    fn admit(
        &mut self,
        registry: &mut Registry,
        log: &mut Log<impl std::io::Write>,
        now: Mono,
        Accepted { stream, peer }: Accepted,
    ) {
        let listener::Peer::Tcp(address) = peer else { return };
        let address = address.ip();
        if let Err(refused) = self.limiter.admit(now, address) {
            log.warning(format_args!("connection from {address} refused: {refused}"));
            return;
        }
        let peer = Peer::new(Arc::clone(&self.config), entropy::seed(), now);
        let link = Link::open(stream, peer, LINK_LINGER);
        match registry.watch(link.stream(), Owner::Peer) {
            Ok(key) => {
                self.guests.insert(key, Guest { link, address, standing: AuthState::Stranger });
                self.touched.insert(key);
            }
            Err(error) => {
                self.limiter.closed_unauthenticated(now, address);
                log.error(format_args!("connection from {address} dropped: {error}"));
            }
        }
    }

    pub(super) fn ready(&mut self, now: Mono, key: Key, ready: Ready) {
        if let Some(guest) = self.guests.get_mut(&key) {
            guest.link.ready(now, ready);
            self.touched.insert(key);
        }
    }

    /// Reads from all that were touched.
    pub(super) fn receive(&mut self, now: Mono) {
        for key in &self.touched {
            let Some(guest) = self.guests.get_mut(key) else { continue };
            guest.link.receive(now, LINK_TURN_BYTES);
            self.unheard.insert(*key);
        }
    }

    /// What somebody has to tell. Whatever is done with a connection can make it tell something.
    pub(super) fn next_event(&mut self) -> Option<(Key, PeerEvent)> {
        while let Some(&key) = self.unheard.first() {
            let guest = self.guests.get_mut(&key);
            if let Some(event) = guest.and_then(|guest| guest.link.endpoint_mut().poll_event()) {
                return Some((key, event));
            }
            self.unheard.remove(&key);
        }
        None
    }

    /// Writes to all that were touched. Gives those that are gone, and says whether there is more
    /// to do at once.
    pub(super) fn send(&mut self, registry: &mut Registry, now: Mono, gone: &mut Vec<Key>) -> bool {
        for key in std::mem::take(&mut self.touched) {
            let Some(guest) = self.guests.get_mut(&key) else { continue };
            match guest.link.send(now, LINK_TURN_BYTES) {
                Next::Wait => {}
                Next::Again => {
                    self.touched.insert(key);
                }
                Next::Closed => {
                    self.forget(now, key);
                    registry.release(key);
                    gone.push(key);
                }
            }
        }
        !self.touched.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let links = self.guests.values().filter_map(|guest| guest.link.deadline());
        links.chain(self.entrance.deadline()).min()
    }

    pub(super) fn tick(
        &mut self,
        registry: &mut Registry,
        log: &mut Log<impl std::io::Write>,
        now: Mono,
    ) {
        if self.entrance.is_due(now) {
            self.accept(registry, log, now);
        }
        for (key, guest) in &mut self.guests {
            if guest.link.deadline().is_some_and(|at| at <= now) {
                guest.link.tick(now);
                self.touched.insert(*key);
                self.unheard.insert(*key);
            }
        }
    }

    // --- who may come in ---

    /// A peer offers a key: the file decides, as it is now.
    pub(super) fn authorize(
        &mut self,
        log: &mut Log<impl std::io::Write>,
        key: Key,
        offered: &PublicKey,
    ) {
        self.refresh(log);
        let verdict = self.keys.admits(offered);
        let Some(guest) = self.guests.get_mut(&key) else { return };
        if !verdict {
            let (address, print) = (guest.address, offered.fingerprint());
            log.warning(format_args!("key {print} from {address} is not authorized"));
        }
        guest.link.endpoint_mut().authorize(verdict);
        self.touch(key);
    }

    pub(super) fn authenticated(
        &mut self,
        log: &mut Log<impl std::io::Write>,
        key: Key,
        proved: PublicKey,
    ) {
        let Some(guest) = self.guests.get_mut(&key) else { return };
        log.info(format_args!("{} connected with key {}", guest.address, proved.fingerprint()));
        guest.standing = AuthState::Authenticated(proved);
        self.limiter.authenticated(guest.address);
    }

    /// Reads the keys again if they have changed, and sends away those whose key is gone.
    pub(super) fn refresh(&mut self, log: &mut Log<impl std::io::Write>) {
        match self.keys.refresh() {
            Refreshed::Same => return,
            Refreshed::Changed(problems) => {
                problems.iter().for_each(|problem| log.warning(problem));
            }
            Refreshed::Unreadable(error) => {
                log.error(format_args!("nobody is let in: {error}"));
            }
        }
        for (key, guest) in &mut self.guests {
            let AuthState::Authenticated(proved) = &guest.standing else { continue };
            if !self.keys.admits(proved) {
                log.warning(format_args!("{} is sent away: its key was removed", guest.address));
                guest.link.endpoint_mut().disconnect("key was removed");
                self.touched.insert(*key);
                self.unheard.insert(*key);
            }
        }
    }

    fn forget(&mut self, now: Mono, key: Key) {
        let Some(guest) = self.guests.remove(&key) else { return };
        match guest.standing {
            AuthState::Stranger => self.limiter.closed_unauthenticated(now, guest.address),
            AuthState::Authenticated(_) => self.limiter.closed(),
        }
    }

    // --- channels ---

    pub(super) fn answer(&mut self, peer: Key, channel: ChannelId, line: Vec<u8>) {
        self.with(peer, |peer| peer.answer(channel, line));
    }

    pub(super) fn open_terminal(&mut self, peer: Key, channel: ChannelId) {
        self.with(peer, |peer| peer.terminal_opened(channel));
    }

    pub(super) fn refuse_terminal(&mut self, peer: Key, channel: ChannelId, text: String) {
        self.with(peer, |peer| peer.terminal_refused(channel, text));
    }

    pub(super) fn end_terminal(&mut self, peer: Key, channel: ChannelId, status: u32) {
        self.with(peer, |peer| peer.terminal_ended(channel, status));
    }

    /// What the peer has typed and the session has not taken.
    pub(super) fn terminal_input(&self, peer: Key, channel: ChannelId) -> &[u8] {
        let guest = self.guests.get(&peer);
        guest.map_or(&[], |guest| guest.link.endpoint().terminal_input(channel))
    }

    pub(super) fn terminal_consumed(&mut self, peer: Key, channel: ChannelId, len: usize) {
        if len > 0 {
            self.with(peer, |peer| peer.terminal_consumed(channel, len));
        }
    }

    /// What the session shows: as much as the peer's window has room for.
    pub(super) fn terminal_output(&mut self, peer: Key, channel: ChannelId, bytes: &[u8]) -> usize {
        let Some(guest) = self.guests.get_mut(&peer).filter(|_| !bytes.is_empty()) else {
            return 0;
        };
        let taken = guest.link.endpoint_mut().terminal_output(channel, bytes);
        self.touch(peer);
        taken
    }

    fn with(&mut self, key: Key, act: impl FnOnce(&mut Peer)) {
        if let Some(guest) = self.guests.get_mut(&key) {
            act(guest.link.endpoint_mut());
            self.touch(key);
        }
    }

    fn touch(&mut self, key: Key) {
        self.touched.insert(key);
        self.unheard.insert(key);
    }
}
