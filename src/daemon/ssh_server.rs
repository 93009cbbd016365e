//! The one way in: accepts connections, lets in whose key is known, and moves their bytes.
//!
//! Who connects is a stranger, of whom the limiter admits few; after the proof of a key that the
//! file has, it is the identity that the file gives. The daemon decides about channels: it takes
//! the events of a connection's core ([`ServerPeer`]) and hands back what it is asked here.
//!
//! The daemon's turn: [`SshServer::ready`] for what the reactor reported, then for those of
//! [`SshServer::take_touched`] receive, act on the events, and send.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use super::authorized_keys::{KeyFile, Refreshed};
use crate::base::endpoint::Endpoint;
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::io::disk::DiskError;
use crate::io::entropy;
use crate::io::link::{Link, Next};
use crate::io::listener::{self, Accepted, Entrance, Listener};
use crate::io::reactor::Ready;
use crate::io::registry::Registry;
use crate::limits::{LINK_LINGER, LINK_TURN_BYTES};
use crate::log::Log;
use crate::ssh::ServerConfig;
use crate::ssh::keys::PublicKey;
use crate::ssh::limiter::ConnectionLimiter;

/// The core of one connection.
pub(crate) trait ServerPeer: Endpoint {
    type Event;

    fn new(config: Arc<ServerConfig>, seed: [u8; 32], now: Mono) -> Self;

    /// What has happened, oldest first.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// Answers the offer of a key.
    fn authorize(&mut self, verdict: bool);

    fn disconnect(&mut self, text: &'static str);
}

/// The listener and everyone who came through it. `I` is whom a key stands for.
#[derive(Debug)]
pub(crate) struct SshServer<P, I> {
    entrance: Entrance,
    limiter: ConnectionLimiter,
    config: Arc<ServerConfig>,
    keys: KeyFile<I>,
    /// In boxes: a new one moves the entries behind it.
    connections: SortedMap<Key, Box<Connection<P, I>>>,
    /// Those that have something to do in this turn.
    touched: BTreeSet<Key>,
    /// Those that may have events: bytes have come, or they were acted on.
    eventful: BTreeSet<Key>,
}

#[derive(Debug)]
struct Connection<P, I> {
    link: Link<P>,
    address: IpAddr,
    auth: AuthState<I>,
}

#[derive(Debug)]
enum AuthState<I> {
    Stranger,
    Authenticated(PublicKey, I),
}

impl<P: ServerPeer, I: Clone + PartialEq> SshServer<P, I> {
    pub(crate) fn new(
        listener: Listener,
        config: ServerConfig,
        keys: KeyFile<I>,
    ) -> SshServer<P, I> {
        SshServer {
            entrance: Entrance::new(listener),
            limiter: ConnectionLimiter::new(),
            config: Arc::new(config),
            keys,
            connections: SortedMap::new(),
            touched: BTreeSet::new(),
            eventful: BTreeSet::new(),
        }
    }

    pub(crate) fn listener(&self) -> &Listener {
        self.entrance.listener()
    }

    pub(crate) fn keys(&self) -> &KeyFile<I> {
        &self.keys
    }

    // --- connections ---

    /// Takes the connections that wait. Their descriptors are `owner`'s.
    pub(crate) fn accept<O: Copy>(
        &mut self,
        registry: &mut Registry<O>,
        log: &mut Log<impl Write>,
        now: Mono,
        owner: O,
    ) {
        let mut accepted = Vec::new();
        if let Err(error) = self.entrance.accept(now, &mut accepted) {
            log.error(format_args!("cannot accept connections: {error}"));
        }
        for Accepted { stream, peer } in accepted {
            let listener::Peer::Tcp(address) = peer else { continue };
            let address = address.ip();
            if let Err(refused) = self.limiter.admit(now, address) {
                log.warning(format_args!("connection from {address} refused: {refused}"));
                continue;
            }
            let peer = P::new(Arc::clone(&self.config), entropy::seed(), now);
            let link = Link::open(stream, peer, LINK_LINGER);
            match registry.watch(link.stream(), owner) {
                Ok(key) => {
                    let connection = Connection { link, address, auth: AuthState::Stranger };
                    self.connections.insert(key, Box::new(connection));
                    self.touched.insert(key);
                }
                Err(error) => {
                    self.limiter.closed_unauthenticated(now, address);
                    log.error(format_args!("connection from {address} dropped: {error}"));
                }
            }
        }
    }

    pub(crate) fn ready(&mut self, now: Mono, key: Key, ready: Ready) {
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.link.ready(now, ready);
            self.touched.insert(key);
        }
    }

    /// Those that have something to do, each once.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.touched)
    }

    /// These have something to do.
    pub(crate) fn touch<'a>(&mut self, keys: impl IntoIterator<Item = &'a Key>) {
        self.touched.extend(keys);
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.touched.is_empty()
    }

    pub(crate) fn receive(&mut self, now: Mono, key: Key) {
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.link.receive(now, LINK_TURN_BYTES);
            self.eventful.insert(key);
        }
    }

    /// Reads from all that were touched.
    pub(crate) fn receive_all(&mut self, now: Mono) {
        for key in &self.touched {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.link.receive(now, LINK_TURN_BYTES);
                self.eventful.insert(*key);
            }
        }
    }

    /// The next event of a connection. Whatever is done with one can cause another.
    pub(crate) fn next_event(&mut self) -> Option<(Key, P::Event)> {
        while let Some(&key) = self.eventful.first() {
            let connection = self.connections.get_mut(&key);
            if let Some(event) = connection.and_then(|it| it.link.endpoint_mut().poll_event()) {
                return Some((key, event));
            }
            self.eventful.remove(&key);
        }
        None
    }

    /// Writes, and says how it goes on. After [`Next::Closed`], [`SshServer::forget`] is due.
    pub(crate) fn send(&mut self, now: Mono, key: Key) -> Next {
        let connection = self.connections.get_mut(&key);
        connection.map_or(Next::Wait, |connection| connection.link.send(now, LINK_TURN_BYTES))
    }

    pub(crate) fn forget<O: Copy>(&mut self, registry: &mut Registry<O>, now: Mono, key: Key) {
        registry.release(key);
        let Some(connection) = self.connections.remove(&key) else { return };
        match connection.auth {
            AuthState::Stranger => self.limiter.closed_unauthenticated(now, connection.address),
            AuthState::Authenticated(..) => self.limiter.closed(),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        let links = self.connections.values().filter_map(|it| it.link.deadline());
        links.chain(self.entrance.deadline()).min()
    }

    pub(crate) fn tick<O: Copy>(
        &mut self,
        registry: &mut Registry<O>,
        log: &mut Log<impl Write>,
        now: Mono,
        owner: O,
    ) {
        if self.entrance.is_due(now) {
            self.accept(registry, log, now, owner);
        }
        for (key, connection) in &mut self.connections {
            if connection.link.deadline().is_some_and(|at| at <= now) {
                connection.link.tick(now);
                self.touched.insert(*key);
                self.eventful.insert(*key);
            }
        }
    }

    /// The core of a connection, for looking.
    pub(crate) fn peer(&self, key: Key) -> Option<&P> {
        self.connections.get(&key).map(|connection| connection.link.endpoint())
    }

    /// The core of a connection, to be acted on.
    pub(crate) fn peer_mut(&mut self, key: Key) -> Option<&mut P> {
        let connection = self.connections.get_mut(&key)?;
        self.touched.insert(key);
        self.eventful.insert(key);
        Some(connection.link.endpoint_mut())
    }

    /// The core of a connection that has its turn now: it may have events then, and is sent in this
    /// turn without being touched again.
    pub(crate) fn peer_work(&mut self, key: Key) -> Option<&mut P> {
        let connection = self.connections.get_mut(&key)?;
        self.eventful.insert(key);
        Some(connection.link.endpoint_mut())
    }

    pub(crate) fn address(&self, key: Key) -> Option<IpAddr> {
        self.connections.get(&key).map(|connection| connection.address)
    }

    /// Ends all connections with a word.
    #[cold]
    pub(crate) fn disconnect_all(&mut self, now: Mono, text: &'static str) {
        for connection in self.connections.values_mut() {
            connection.link.endpoint_mut().disconnect(text);
            let _last_words = connection.link.send(now, LINK_TURN_BYTES);
        }
    }

    /// The connections that stand for `identity`.
    pub(crate) fn connections_of(&self, identity: &I) -> impl Iterator<Item = Key> {
        self.connections.iter().filter_map(move |(key, connection)| match &connection.auth {
            AuthState::Authenticated(_, known) if known == identity => Some(*key),
            AuthState::Authenticated(..) | AuthState::Stranger => None,
        })
    }

    // --- who may come in ---

    /// A peer offers a key: the file decides, as it was when it was last refreshed. Gives the
    /// address of one that is refused.
    pub(crate) fn authorize(&mut self, key: Key, offered: &PublicKey) -> Option<IpAddr> {
        let verdict = self.keys.find(offered).is_some();
        self.peer_mut(key)?.authorize(verdict);
        self.address(key).filter(|_| !verdict)
    }

    /// A peer has proved a key. Gives who it is; `None` if the key has just lost its place in the
    /// file.
    pub(crate) fn authenticated(&mut self, key: Key, proved: PublicKey) -> Option<(&I, IpAddr)> {
        let Some(identity) = self.keys.find(&proved).cloned() else {
            self.peer_mut(key)?.disconnect("key was removed");
            return None;
        };
        let connection = self.connections.get_mut(&key)?;
        self.limiter.authenticated(connection.address);
        connection.auth = AuthState::Authenticated(proved, identity);
        Some((self.identity(key)?, self.address(key)?))
    }

    pub(crate) fn identity(&self, key: Key) -> Option<&I> {
        match &self.connections.get(&key)?.auth {
            AuthState::Stranger => None,
            AuthState::Authenticated(_, identity) => Some(identity),
        }
    }

    /// Reads the keys again if they have changed, and disconnects those whose key is gone or stands
    /// for somebody else now. Says whether they have changed. `missing` tells the operator that
    /// there is no file.
    pub(crate) fn refresh<W: Write>(
        &mut self,
        log: &mut Log<W>,
        missing: fn(&mut Log<W>, &DiskError),
        name: fn(&IpAddr, &I) -> String,
    ) -> bool {
        match self.keys.refresh() {
            Refreshed::Same => return false,
            Refreshed::Changed(problems) => {
                problems.iter().for_each(|problem| log.warning(problem));
            }
            Refreshed::Missing(error) => missing(log, &error),
            Refreshed::Unreadable(error) => {
                log.error(format_args!("those stay admitted who were: {error}"));
                return false;
            }
        }
        for (key, connection) in &mut self.connections {
            let AuthState::Authenticated(proved, identity) = &connection.auth else { continue };
            if self.keys.find(proved) != Some(identity) {
                let name = name(&connection.address, identity);
                log.warning(format_args!("{name} is sent away: its key was removed"));
                connection.link.endpoint_mut().disconnect("key was removed");
                self.touched.insert(*key);
                self.eventful.insert(*key);
            }
        }
        true
    }
}
