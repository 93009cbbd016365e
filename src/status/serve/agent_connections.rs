//! The connections of tcp/223: which agent each one is, and its bytes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::keys::{AgentKeys, Refreshed};
use super::{Owner, Registry};
use crate::base::slots::Key;
use crate::base::time::{Mono, Now};
use crate::io::entropy;
use crate::io::link::{Link, Next};
use crate::io::listener::{self, Accepted, Entrance, Listener};
use crate::io::reactor::Ready;
use crate::limits::{LINK_LINGER, LINK_TURN_BYTES, STATUS_UNREAD_MAX, STATUS_WARM_MAX};
use crate::log::Log;
use crate::rpc::agent_id::AgentId;
use crate::ssh::keys::PublicKey;
use crate::ssh::limiter::ConnectionLimiter;
use crate::ssh::{ChannelId, ServerConfig};
use crate::status::hub::Hub;
use crate::status::listener::Listener as Channel;
use crate::status::peer::{Peer, PeerEvent};

/// The listener and everyone who came through it.
pub(super) struct AgentConnections {
    entrance: Entrance,
    limiter: ConnectionLimiter,
    config: Arc<ServerConfig>,
    keys: AgentKeys,
    /// In boxes: a tree's nodes have room for eleven, and half of it is empty.
    guests: BTreeMap<Key, Box<Guest>>,
    /// The connection that speaks for each agent.
    speakers: BTreeMap<AgentId, Key>,
    /// Those that have something to do in this turn.
    touched: BTreeSet<Key>,
    /// From where each agent has connected last.
    addresses: BTreeMap<AgentId, IpAddr>,
    /// Those that have moved bytes last, the oldest first: their buffers are kept.
    warm: VecDeque<Key>,
    room: Room,
    /// Agents that have begun to speak and whom [`AgentConnections::next_arrival`] has not told.
    arrivals: Vec<AgentId>,
}

struct Guest {
    link: Link<Peer>,
    address: IpAddr,
    standing: AuthState,
}

/// Whether the hub has room for events. While it has none, who tells them is not read: what comes
/// meanwhile waits in the kernel. If that takes long, it is read, because keepalives count.
#[derive(Clone, Copy)]
enum Room {
    There,
    Gone { until: Mono },
    LongGone,
}

enum AuthState {
    Stranger,
    Known(PublicKey, AgentId),
}

impl AgentConnections {
    pub(super) fn new(listener: Listener, config: ServerConfig, keys: PathBuf) -> AgentConnections {
        AgentConnections {
            entrance: Entrance::new(listener),
            limiter: ConnectionLimiter::new(),
            config: Arc::new(config),
            keys: AgentKeys::new(keys),
            guests: BTreeMap::new(),
            speakers: BTreeMap::new(),
            touched: BTreeSet::new(),
            addresses: BTreeMap::new(),
            warm: VecDeque::new(),
            room: Room::There,
            arrivals: Vec::new(),
        }
    }

    pub(super) fn listener(&self) -> &Listener {
        self.entrance.listener()
    }

    /// From where each agent has connected last.
    pub(super) fn addresses(&self) -> &BTreeMap<AgentId, IpAddr> {
        &self.addresses
    }

    /// An agent that has begun to speak: it can be reached.
    pub(super) fn next_arrival(&mut self) -> Option<AgentId> {
        self.arrivals.pop()
    }

    /// All agents that have a key.
    pub(super) fn enrolled(&self) -> BTreeSet<&str> {
        self.keys.agents()
    }

    // --- coming ---

    pub(super) fn accept(&mut self, registry: &mut Registry, log: &mut Log<impl Write>, now: Mono) {
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
        log: &mut Log<impl Write>,
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
        match registry.watch(link.stream(), Owner::Guest) {
            Ok(key) => {
                let guest = Guest { link, address, standing: AuthState::Stranger };
                self.guests.insert(key, Box::new(guest));
                self.touched.insert(key);
            }
            Err(error) => {
                self.limiter.closed_unauthenticated(now, address);
                log.error(format_args!("connection from {address} dropped: {error}"));
            }
        }
    }

    /// Reads the keys again if they have changed, and sends away those whose key is gone or speaks
    /// for another agent now. Whether they have changed.
    pub(super) fn refresh(&mut self, log: &mut Log<impl Write>) -> bool {
        match self.keys.refresh() {
            Refreshed::Same => return false,
            Refreshed::Changed(problems) => {
                problems.iter().for_each(|problem| log.warning(problem));
            }
            Refreshed::Unreadable(error) if error.is_missing() => {
                log.warning(format_args!("no agent is enrolled yet: {error}"));
            }
            Refreshed::Unreadable(error) => {
                log.error(format_args!("no agent is let in: {error}"));
            }
        }
        for (key, guest) in &mut self.guests {
            let AuthState::Known(proved, agent) = &guest.standing else { continue };
            if self.keys.agent(proved) != Some(agent) {
                log.warning(format_args!("agent {agent} is sent away: its key was removed"));
                guest.link.endpoint_mut().disconnect("key was removed");
                self.touched.insert(*key);
            }
        }
        true
    }

    // --- the turn ---

    pub(super) fn ready(&mut self, now: Mono, key: Key, ready: Ready) {
        if let Some(guest) = self.guests.get_mut(&key) {
            guest.link.ready(now, ready);
            self.touched.insert(key);
        }
    }

    /// Something has become durable, or the hub has room again: everyone who speaks may go on.
    pub(super) fn wake(&mut self) {
        self.touched.extend(self.speakers.values());
    }

    /// Moves what can be moved. Whether there is more at once.
    pub(super) fn turn(
        &mut self,
        registry: &mut Registry,
        log: &mut Log<impl Write>,
        now: Now,
        hub: &mut Hub,
    ) -> bool {
        self.room = match self.room {
            _ if hub.has_room() => Room::There,
            Room::There => Room::Gone { until: now.mono + STATUS_UNREAD_MAX },
            room => room,
        };
        for key in std::mem::take(&mut self.touched) {
            let Some(guest) = self.guests.get_mut(&key) else { continue };
            let is_patient = !matches!(self.room, Room::LongGone) && !hub.has_room();
            let waits = is_patient && guest.link.endpoint().is_telling();
            if !waits {
                guest.link.receive(now.mono, LINK_TURN_BYTES);
            }
            self.hear(log, now, key, hub);
            let Some(guest) = self.guests.get_mut(&key) else { continue };
            match guest.link.send(now.mono, LINK_TURN_BYTES) {
                Next::Again if !waits => {
                    self.touched.insert(key);
                }
                // Whoever waits for room is woken when there is some.
                Next::Wait | Next::Again => {}
                Next::Closed => self.forget(registry, log, now, key, hub),
            }
            self.keep_warm(key);
        }
        !self.touched.is_empty()
    }

    /// This one's buffers are kept, and in its place somebody's who has been quiet for longer are
    /// given back.
    fn keep_warm(&mut self, key: Key) {
        self.warm.retain(|warm| *warm != key);
        self.warm.push_back(key);
        if self.warm.len() > STATUS_WARM_MAX
            && let Some(cold) = self.warm.pop_front()
            && let Some(guest) = self.guests.get_mut(&cold)
        {
            guest.link.endpoint_mut().rest();
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let links = self.guests.values().filter_map(|guest| guest.link.deadline());
        let impatient = match self.room {
            Room::Gone { until } => Some(until),
            Room::There | Room::LongGone => None,
        };
        links.chain(self.entrance.deadline()).chain(impatient).min()
    }

    pub(super) fn tick(&mut self, registry: &mut Registry, log: &mut Log<impl Write>, now: Mono) {
        if self.entrance.is_due(now) {
            self.accept(registry, log, now);
        }
        if matches!(self.room, Room::Gone { until } if until <= now) {
            self.room = Room::LongGone;
            self.wake();
        }
        for (key, guest) in &mut self.guests {
            if guest.link.deadline().is_some_and(|at| at <= now) {
                guest.link.tick(now);
                self.touched.insert(*key);
            }
        }
    }

    /// Ends all connections with a word.
    pub(super) fn leave(&mut self, now: Mono) {
        for guest in self.guests.values_mut() {
            guest.link.endpoint_mut().disconnect("status listener ends");
            let _last_words = guest.link.send(now, LINK_TURN_BYTES);
        }
    }

    // --- what they say ---

    fn hear(&mut self, log: &mut Log<impl Write>, now: Now, key: Key, hub: &mut Hub) {
        while let Some(guest) = self.guests.get_mut(&key) {
            let Some(event) = guest.link.endpoint_mut().poll_event() else { break };
            match event {
                PeerEvent::KeyOffered(offered) => self.authorize(log, key, &offered),
                PeerEvent::Authenticated(proved) => self.authenticated(log, key, proved),
                PeerEvent::Subsystem(channel) => self.begin(log, now, key, channel, hub),
                PeerEvent::Gone(why) => {
                    guest.link.endpoint_mut().work(now, hub);
                    self.silence(log, now, key, &why, hub);
                }
            }
        }
        let Some(guest) = self.guests.get_mut(&key) else { return };
        let peer = guest.link.endpoint_mut();
        peer.work(now, hub);
        while let Some(note) = peer.poll_note() {
            log.warning(note);
        }
        // A line that is too long has ended the connection just now.
        while let Some(PeerEvent::Gone(why)) =
            self.guests.get_mut(&key).and_then(|guest| guest.link.endpoint_mut().poll_event())
        {
            self.silence(log, now, key, &why, hub);
        }
    }

    /// A key is offered: the file decides, as it is now.
    fn authorize(&mut self, log: &mut Log<impl Write>, key: Key, offered: &PublicKey) {
        self.refresh(log);
        let verdict = self.keys.agent(offered).is_some();
        let path = self.keys.path().to_string();
        let Some(guest) = self.guests.get_mut(&key) else { return };
        if !verdict {
            let (address, print) = (guest.address, offered.fingerprint());
            log.warning(format_args!(
                "key {print} from {address} refused: no agent has it in {path}; if it is an \
                 agent of this cluster, run: convocate-host init-agent --host {address}"
            ));
        }
        guest.link.endpoint_mut().authorize(verdict);
    }

    fn authenticated(&mut self, log: &mut Log<impl Write>, key: Key, proved: PublicKey) {
        let Some(guest) = self.guests.get_mut(&key) else { return };
        let Some(agent) = self.keys.agent(&proved) else {
            guest.link.endpoint_mut().disconnect("key was removed");
            return;
        };
        log.info(format_args!("agent {agent} connected from {}", guest.address));
        self.addresses.insert(agent.clone(), guest.address);
        guest.standing = AuthState::Known(proved, agent.clone());
        self.limiter.authenticated(guest.address);
    }

    /// The channel opens: from now on this connection speaks for its agent, and an older one, which
    /// the agent has given up, does not.
    fn begin(
        &mut self,
        log: &mut Log<impl Write>,
        now: Now,
        key: Key,
        channel: ChannelId,
        hub: &mut Hub,
    ) {
        let Some(guest) = self.guests.get_mut(&key) else { return };
        let AuthState::Known(_, agent) = &guest.standing else { return };
        let agent = agent.clone();
        if !hub.connected(now, agent.as_str()) {
            log.error(format_args!("agent {agent} is sent away: there are too many agents"));
            guest.link.endpoint_mut().disconnect("too many agents");
            return;
        }
        self.arrivals.push(agent.clone());
        let listener = Channel::new(agent.as_str(), hub);
        guest.link.endpoint_mut().listen(channel, listener);
        let older = self.speakers.insert(agent.clone(), key).filter(|older| *older != key);
        if let Some((older, guest)) = older.and_then(|it| Some((it, self.guests.get_mut(&it)?))) {
            let address = guest.address;
            log.info(format_args!("agent {agent}: its older connection from {address} ends"));
            guest.link.endpoint_mut().disconnect("a newer connection speaks for this agent");
            self.touched.insert(older);
        }
    }

    /// The connection is over, so nobody speaks for its agent if it was the one who did.
    fn silence(&mut self, log: &mut Log<impl Write>, now: Now, key: Key, why: &str, hub: &mut Hub) {
        let Some(guest) = self.guests.get(&key) else { return };
        let AuthState::Known(_, agent) = &guest.standing else { return };
        if self.speakers.get(agent) == Some(&key) {
            log.info(format_args!("agent {agent} is gone: {why}"));
            hub.lost(now, agent.as_str(), why);
            let agent = agent.clone();
            self.speakers.remove(&agent);
        }
    }

    fn forget(
        &mut self,
        registry: &mut Registry,
        log: &mut Log<impl Write>,
        now: Now,
        key: Key,
        hub: &mut Hub,
    ) {
        self.silence(log, now, key, "its connection broke", hub);
        registry.release(key);
        let Some(guest) = self.guests.remove(&key) else { return };
        match guest.standing {
            AuthState::Stranger => self.limiter.closed_unauthenticated(now.mono, guest.address),
            AuthState::Known(..) => self.limiter.closed(),
        }
    }
}
