//! The one way in: accepts connections, lets in whose key is known, and moves their bytes.
//!
//! Who connects is a stranger, of whom the limiter admits few; after the proof of a key that the
//! file has, it is the identity that the file gives. The daemon decides about channels: it takes
//! the events of a connection's core ([`ServerPeer`]) and hands back what it is asked here.
//!
//! The daemon's turn: [`SshServer::ready`] for what the reactor reported,
//! [`SshServer::begin_turn`], then for those of [`SshServer::take_touched`] receive, act on the
//! events, and send; and [`SshServer::end_turn`]. Only some strangers have a key exchange at once,
//! for it costs more than anything that the others may want.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::authorized_keys::{KeyFile, Refreshed};
use super::exchange_budget::ExchangeBudget;
use super::farewell::{say_last, tell_refused};
use super::known_sources::KnownSourcesFile;
use super::scarcity::Scarcity;
use crate::base::deadlines::{Deadlines, Noted};
use crate::base::endpoint::Endpoint;
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::{Mono, Now};
use crate::io::disk::DiskError;
use crate::io::entropy;
use crate::io::link::{Link, Next};
use crate::io::listener::{self, Accepted, Entrance, Listener, Room};
use crate::io::reactor::Ready;
use crate::io::registry::Registry;
use crate::io::stream::Stream;
use crate::limits::{LINK_LINGER, LINK_TURN_BYTES, SSH_FULL_WAIT};
use crate::log::Log;
use crate::ssh::keys::PublicKey;
use crate::ssh::limiter::{Admitted, Class, ConnectionLimiter, Outcome, PlaceId};
use crate::ssh::{Conn, Error, ServerConfig};

/// The core of one connection.
pub(crate) trait ServerPeer: Endpoint {
    type Event;

    fn new(config: Arc<ServerConfig>, seed: [u8; 32], now: Mono) -> Self;

    /// What has happened, oldest first.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// The connection that it is on.
    fn conn(&self) -> &Conn;

    fn conn_mut(&mut self) -> &mut Conn;
}

/// The listener and everyone who came through it. `I` is whom a key stands for.
#[derive(Debug)]
pub(crate) struct SshServer<P, I> {
    entrance: Entrance,
    limiter: ConnectionLimiter,
    known_sources: KnownSourcesFile,
    scarcity: Scarcity,
    config: Arc<ServerConfig>,
    keys: KeyFile<I>,
    /// In boxes: a new one moves the entries behind it.
    connections: SortedMap<Key, Box<Connection<P, I>>>,
    /// The connections that have proven no key.
    strangers: SortedMap<PlaceId, Key>,
    /// Of the connections.
    deadlines: Deadlines<Key>,
    /// Those that have something to do in this turn.
    touched: BTreeSet<Key>,
    /// Strangers that have something to do and wait for the next turn.
    held_back: BTreeSet<Key>,
    exchanges: ExchangeBudget,
    /// Those that may have events: bytes have come, or they were acted on.
    eventful: BTreeSet<Key>,
}

#[derive(Debug)]
struct Connection<P, I> {
    link: Link<P>,
    address: IpAddr,
    /// What was known of its source when it came.
    class: Class,
    auth: AuthState<I>,
    noted: Noted,
}

#[derive(Debug)]
enum AuthState<I> {
    Stranger {
        place: PlaceId,
        /// How far it has come, see [`Conn::progress`].
        progress: u8,
    },
    Authenticated(PublicKey, I),
}

impl<P: ServerPeer, I: Clone + PartialEq> SshServer<P, I> {
    /// `known_sources` is the file in which they are kept.
    pub(crate) fn new(
        listener: Listener,
        config: ServerConfig,
        keys: KeyFile<I>,
        connections_max: usize,
        known_sources: PathBuf,
        log: &mut Log<impl Write>,
        now: Now,
    ) -> SshServer<P, I> {
        let mut limiter = ConnectionLimiter::new(connections_max);
        let (known_sources, error) = KnownSourcesFile::read(known_sources, &mut limiter, now);
        if let Some(error) = error {
            log.warning(format_args!("who has proven a key before is not known: {error}"));
        }
        SshServer {
            entrance: Entrance::new(listener),
            limiter,
            known_sources,
            scarcity: Scarcity::default(),
            config: Arc::new(config),
            keys,
            connections: SortedMap::new(),
            strangers: SortedMap::new(),
            deadlines: Deadlines::new(),
            touched: BTreeSet::new(),
            held_back: BTreeSet::new(),
            exchanges: ExchangeBudget::default(),
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
        if let Err(error) = self.entrance.accept(now, &mut accepted)
            && self.scarcity.is_news(now)
        {
            log.error(format_args!("cannot accept connections: {error}"));
        }
        for Accepted { stream, peer, room } in accepted {
            let listener::Peer::Tcp(address) = peer else { continue };
            if room != Room::Free && self.scarcity.is_news(now) {
                log.warning(Scarcity::TEXT);
            }
            self.limiter.set_scarce(room != Room::Free);
            let admitted = match room {
                Room::None => Err(self.limiter.refuse(now, address.ip(), SSH_FULL_WAIT)),
                Room::Free | Room::Scarce => self.limiter.admit(now, address.ip()),
            };
            match admitted {
                Ok(admitted) if admitted.displaced == Some(admitted.place) => {
                    self.tell_displaced(now, stream);
                }
                Ok(admitted) => {
                    if let Some(displaced) = admitted.displaced {
                        self.end_stranger(registry, now, displaced, Error::Displaced);
                    }
                    let newcomer = (stream, address.ip().to_canonical());
                    self.open(registry, log, now, owner, newcomer, admitted);
                }
                Err(refused) => {
                    tell_refused(&stream, refused.refusal);
                    if refused.is_news {
                        log.warning(format_args!("connection refused: {}", refused.refusal));
                    }
                }
            }
        }
    }

    /// Tells a newcomer that others are served first.
    #[cold]
    fn tell_displaced(&self, now: Mono, stream: Stream) {
        let peer = P::new(Arc::clone(&self.config), entropy::seed(), now);
        let mut link = Link::open(stream, peer, LINK_LINGER);
        link.endpoint_mut().conn_mut().end(Error::Displaced);
        say_last(&mut link, now);
    }

    /// Ends a connection with a word and waits for nothing: neither that it is read, nor that the
    /// peer closes.
    #[cold]
    pub(crate) fn dismiss<O: Copy>(
        &mut self,
        registry: &mut Registry<O>,
        now: Mono,
        key: Key,
        text: &'static str,
    ) {
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.link.endpoint_mut().conn_mut().disconnect(text);
            say_last(&mut connection.link, now);
        }
        for keys in [&mut self.touched, &mut self.held_back, &mut self.eventful] {
            keys.remove(&key);
        }
        self.forget(registry, now, key);
    }

    fn open<O: Copy>(
        &mut self,
        registry: &mut Registry<O>,
        log: &mut Log<impl Write>,
        now: Mono,
        owner: O,
        (stream, address): (Stream, IpAddr),
        Admitted { place, class, .. }: Admitted,
    ) {
        let peer = P::new(Arc::clone(&self.config), entropy::seed(), now);
        let mut link = Link::open(stream, peer, LINK_LINGER);
        match registry.watch(link.stream(), owner) {
            Ok(key) => {
                if link.send(now, LINK_TURN_BYTES) != Next::Wait {
                    self.touched.insert(key);
                }
                let mut noted = Noted::default();
                self.deadlines.note(key, &mut noted, link.deadline());
                let auth = AuthState::Stranger { place, progress: 0 };
                let connection = Connection { link, address, class, auth, noted };
                self.connections.insert(key, Box::new(connection));
                self.strangers.insert(place, key);
            }
            Err(error) => {
                self.limiter.closed(now, place, Outcome::Left);
                log.error(format_args!("connection from {address} dropped: {error}"));
            }
        }
    }

    /// Ends a connection that has proven no key, with a word if that can be said at once. Says
    /// whether it had failed before.
    #[cold]
    fn end_stranger<O: Copy>(
        &mut self,
        registry: &mut Registry<O>,
        now: Mono,
        place: PlaceId,
        error: Error,
    ) -> bool {
        let Some(&key) = self.strangers.get(&place) else { return false };
        for keys in [&mut self.touched, &mut self.held_back, &mut self.eventful] {
            keys.remove(&key);
        }
        let Some(mut connection) = self.take(registry, key) else { return false };
        let conn = connection.link.endpoint_mut().conn_mut();
        // Whoever has us make an exchange and says nothing more has failed, too.
        let has_failed = conn.is_failure() || conn.has_cost_an_exchange();
        conn.end(error);
        say_last(&mut connection.link, now);
        has_failed
    }

    pub(crate) fn ready(&mut self, now: Mono, key: Key, ready: Ready) {
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.link.ready(now, ready);
            self.touched.insert(key);
            if let AuthState::Stranger { place, .. } = connection.auth {
                self.limiter.set_unread(place, ready.readable);
            }
        }
    }

    /// Those that have something to do, each once: those with whom keys are still to be exchanged
    /// behind all others, and of them first who has the fewest beside it, and then the oldest.
    pub(crate) fn take_touched(&mut self) -> Vec<Key> {
        let mut keys: Vec<Key> = std::mem::take(&mut self.touched).into_iter().collect();
        keys.sort_by_cached_key(|key| {
            let place = self.connections.get(key)?.waits_since()?;
            Some((self.limiter.crowd(place), place))
        });
        keys
    }

    /// These have something to do.
    pub(crate) fn touch<'a>(&mut self, keys: impl IntoIterator<Item = &'a Key>) {
        self.touched.extend(keys);
    }

    /// A turn may cost some key exchanges with strangers of each class. Who comes behind them waits
    /// for the next turn.
    pub(crate) fn begin_turn(&mut self, now: Mono) {
        self.exchanges.begin_turn(now);
    }

    /// Whether there is more to do at once.
    pub(crate) fn end_turn(&mut self) -> bool {
        self.touched.append(&mut self.held_back);
        let is_busy = !self.touched.is_empty();
        self.exchanges.end_turn(is_busy);
        is_busy
    }

    pub(crate) fn receive(&mut self, now: Mono, key: Key) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let wants_exchange = connection.waits_since().is_some();
        if wants_exchange && !self.exchanges.has_room(connection.class) {
            self.held_back.insert(key);
            return;
        }
        connection.link.receive(now, LINK_TURN_BYTES);
        if wants_exchange && connection.link.endpoint().conn().has_cost_an_exchange() {
            self.exchanges.count(connection.class);
        }
        if let AuthState::Stranger { place, progress } = &mut connection.auth {
            self.limiter.set_unread(*place, false);
            let reached = connection.link.endpoint().conn().progress();
            if reached > *progress {
                *progress = reached;
                self.limiter.progressed(now, *place);
            }
        }
        self.eventful.insert(key);
    }

    /// Reads from all that were touched.
    pub(crate) fn receive_all(&mut self, now: Mono) {
        let touched = self.take_touched();
        touched.iter().for_each(|key| self.receive(now, *key));
        self.touched.extend(touched);
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
        let Some(connection) = self.connections.get_mut(&key) else { return Next::Wait };
        let next = connection.link.send(now, LINK_TURN_BYTES);
        self.deadlines.note(key, &mut connection.noted, connection.link.deadline());
        next
    }

    /// Takes a connection out of all tables.
    fn take<O: Copy>(
        &mut self,
        registry: &mut Registry<O>,
        key: Key,
    ) -> Option<Box<Connection<P, I>>> {
        registry.release(key);
        let mut connection = self.connections.remove(&key)?;
        self.deadlines.forget(key, &mut connection.noted);
        if let AuthState::Stranger { place, .. } = connection.auth {
            self.strangers.remove(&place);
        }
        Some(connection)
    }

    pub(crate) fn forget<O: Copy>(&mut self, registry: &mut Registry<O>, now: Mono, key: Key) {
        let Some(connection) = self.take(registry, key) else { return };
        match connection.auth {
            AuthState::Stranger { place, .. } => {
                let has_failed = connection.link.endpoint().conn().is_failure();
                let outcome = if has_failed { Outcome::Failed } else { Outcome::Left };
                self.limiter.closed(now, place, outcome);
            }
            AuthState::Authenticated(..) => self.limiter.ended(now, connection.address),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        let others = self.entrance.deadline().into_iter().chain(self.limiter.deadline());
        let known = self.known_sources.deadline(&self.limiter);
        others.chain(self.deadlines.next()).chain([known]).min()
    }

    pub(crate) fn tick<O: Copy>(
        &mut self,
        registry: &mut Registry<O>,
        log: &mut Log<impl Write>,
        now: Now,
        owner: O,
    ) {
        if self.known_sources.deadline(&self.limiter) <= now.mono {
            self.keep_known_sources(log, now);
        }
        let now = now.mono;
        if self.entrance.is_due(now) {
            self.accept(registry, log, now, owner);
        }
        while let Some(key) = self.deadlines.pop(now) {
            let Some(connection) = self.connections.get_mut(&key) else { continue };
            connection.noted = Noted::default();
            match connection.link.deadline() {
                Some(at) if at <= now => {
                    connection.link.tick(now);
                    self.touched.insert(key);
                    self.eventful.insert(key);
                }
                later => self.deadlines.note(key, &mut connection.noted, later),
            }
        }
        for place in self.limiter.overdue(now) {
            // Who has sent something is heard first: the silence may have been ours.
            if self.strangers.get(&place).is_none_or(|key| !self.touched.contains(key)) {
                let has_failed = self.end_stranger(registry, now, place, Error::LoginGrace);
                let outcome = if has_failed { Outcome::Failed } else { Outcome::Silent };
                self.limiter.closed(now, place, outcome);
            }
        }
        while let Some(summary) = self.limiter.poll_summary(now) {
            log.warning(summary);
        }
    }

    /// At the end of the daemon, too.
    #[cold]
    pub(crate) fn keep_known_sources(&mut self, log: &mut Log<impl Write>, now: Now) {
        if let Err(error) = self.known_sources.write(&self.limiter, now) {
            log.warning(format_args!("who has proven a key is forgotten at a restart: {error}"));
        }
    }

    /// Tells why a connection ends: each on which a key was proven; of the others, which are
    /// counted, the first one of a source that failed.
    pub(crate) fn tell_end(&self, log: &mut Log<impl Write>, key: Key, why: &Error) {
        let Some(connection) = self.connections.get(&key) else { return };
        let (address, conn) = (connection.address, connection.link.endpoint().conn());
        if !connection.is_stranger() || conn.is_failure() && self.limiter.is_news(address) {
            log.info(format_args!("connection from {address} ended: {why}"));
        }
    }

    fn place(&self, key: Key) -> Option<PlaceId> {
        match self.connections.get(&key)?.auth {
            AuthState::Stranger { place, .. } => Some(place),
            AuthState::Authenticated(..) => None,
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
        for (key, connection) in &mut self.connections {
            connection.link.endpoint_mut().conn_mut().disconnect(text);
            let _last_words = connection.link.send(now, LINK_TURN_BYTES);
            self.deadlines.note(*key, &mut connection.noted, connection.link.deadline());
        }
    }

    /// The connections that stand for `identity`.
    pub(crate) fn connections_of(&self, identity: &I) -> impl Iterator<Item = Key> {
        self.connections.iter().filter_map(move |(key, connection)| match &connection.auth {
            AuthState::Authenticated(_, known) if known == identity => Some(*key),
            AuthState::Authenticated(..) | AuthState::Stranger { .. } => None,
        })
    }

    // --- who may come in ---

    /// A peer offers a key: the file decides, as it was when it was last refreshed. Gives the
    /// address of one that is refused, if the log may tell of it.
    pub(crate) fn authorize(&mut self, now: Mono, key: Key, offered: &PublicKey) -> Option<IpAddr> {
        let verdict = self.keys.find(offered).is_some();
        self.peer_mut(key)?.conn_mut().authorize(verdict);
        let address = self.address(key).filter(|_| !verdict)?;
        self.limiter.key_refused(now, address).then_some(address)
    }

    /// A peer has proved a key. Gives who it is; `None` if the key has just lost its place in the
    /// file.
    pub(crate) fn authenticated(
        &mut self,
        now: Mono,
        key: Key,
        proved: PublicKey,
    ) -> Option<(&I, IpAddr)> {
        let Some(identity) = self.keys.find(&proved).cloned() else {
            self.peer_mut(key)?.conn_mut().disconnect("key was removed");
            return None;
        };
        let place = self.place(key)?;
        if !self.limiter.authenticated(now, place, proved) {
            self.peer_mut(key)?.conn_mut().end(Error::Displaced);
            return None;
        }
        let connection = self.connections.get_mut(&key)?;
        connection.auth = AuthState::Authenticated(proved, identity);
        self.strangers.remove(&place);
        Some((self.identity(key)?, self.address(key)?))
    }

    pub(crate) fn identity(&self, key: Key) -> Option<&I> {
        match &self.connections.get(&key)?.auth {
            AuthState::Stranger { .. } => None,
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
                connection.link.endpoint_mut().conn_mut().disconnect("key was removed");
                self.touched.insert(*key);
                self.eventful.insert(*key);
            }
        }
        true
    }
}

impl<P: ServerPeer, I> Connection<P, I> {
    /// Where it has come in, if a key exchange is still to be made before a key is proven.
    fn waits_since(&self) -> Option<PlaceId> {
        match self.auth {
            AuthState::Stranger { place, .. } => {
                Some(place).filter(|_| !self.link.endpoint().conn().has_cost_an_exchange())
            }
            AuthState::Authenticated(..) => None,
        }
    }
}

impl<P, I> Connection<P, I> {
    fn is_stranger(&self) -> bool {
        matches!(self.auth, AuthState::Stranger { .. })
    }
}
