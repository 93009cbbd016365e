//! The connections of tcp/223: which agent each one is, and its bytes.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Owner, Registry};
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::{Mono, Now};
use crate::daemon::authorized_keys::KeyFile;
use crate::daemon::ssh_server::{ServerPeer, SshServer};
use crate::io::disk::DiskError;
use crate::io::link::Next;
use crate::io::listener::Listener;
use crate::io::reactor::Ready;
use crate::limits::{STATUS_CONNECTIONS_MAX, STATUS_UNREAD_MAX, STATUS_WARM_MAX};
use crate::log::Log;
use crate::paths::Paths;
use crate::rpc::agent_id::AgentId;
use crate::ssh::keys::{AuthorizedKey, PublicKey};
use crate::ssh::{ChannelId, Conn, ServerConfig};
use crate::status::hub::Hub;
use crate::status::listener::Listener as Channel;
use crate::status::login_pace::LoginPace;
use crate::status::peer::{Peer, PeerEvent};

/// The option that names the agent.
const AGENT_ID: &str = "agent-id";

/// Why the second of two hosts with one identity is sent away.
const TWIN_SPEAKS: &str = "another host with this agent's identity is connected: one of the two \
                           is a copy of the other; see convocate agents on the shell host";

impl ServerPeer for Peer {
    type Event = PeerEvent;

    fn new(config: Arc<ServerConfig>, seed: [u8; 32], now: Mono) -> Peer {
        Peer::new(config, seed, now)
    }

    fn poll_event(&mut self) -> Option<PeerEvent> {
        Peer::poll_event(self)
    }

    fn conn(&self) -> &Conn {
        Peer::conn(self)
    }

    fn conn_mut(&mut self) -> &mut Conn {
        Peer::conn_mut(self)
    }
}

/// The listener and everyone who came through it.
pub(super) struct AgentConnections {
    server: SshServer<Peer, AgentId>,
    /// The connection that speaks for each agent.
    speakers: SortedMap<AgentId, Key>,
    /// From where each agent has connected last.
    addresses: SortedMap<AgentId, IpAddr>,
    pace: LoginPace,
    /// Those that have moved bytes last, the oldest first: their buffers are kept.
    warm: VecDeque<Key>,
    capacity: HubCapacity,
    /// Agents that have begun to speak, for [`AgentConnections::next_arrival`].
    arrivals: Vec<AgentId>,
}

/// Whether the hub has room for events. While it has none, connections that bring them are not
/// read: what comes meanwhile waits in the kernel. If that takes long, they are read, because
/// keepalives count.
#[derive(Clone, Copy)]
enum HubCapacity {
    Free,
    Full { until: Mono },
    LongFull,
}

impl AgentConnections {
    pub(super) fn new(
        listener: Listener,
        config: ServerConfig,
        keys: PathBuf,
        paths: &Paths,
        log: &mut Log<impl Write>,
        now: Now,
    ) -> AgentConnections {
        let keys = KeyFile::new(keys, identify);
        let (most, known) = (STATUS_CONNECTIONS_MAX, paths.status_known_sources());
        AgentConnections {
            server: SshServer::new(listener, config, keys, most, known, log, now),
            speakers: SortedMap::new(),
            addresses: SortedMap::new(),
            pace: LoginPace::default(),
            warm: VecDeque::new(),
            capacity: HubCapacity::Free,
            arrivals: Vec::new(),
        }
    }

    pub(super) fn listener(&self) -> &Listener {
        self.server.listener()
    }

    /// From where each agent has connected last.
    pub(super) fn addresses(&self) -> &SortedMap<AgentId, IpAddr> {
        &self.addresses
    }

    /// An agent that has begun to speak: it can be reached.
    pub(super) fn next_arrival(&mut self) -> Option<AgentId> {
        self.arrivals.pop()
    }

    /// All agents that have a key.
    pub(super) fn enrolled(&self) -> BTreeSet<&str> {
        self.server.keys().identities().map(AgentId::as_str).collect()
    }

    pub(super) fn accept(&mut self, registry: &mut Registry, log: &mut Log<impl Write>, now: Mono) {
        self.server.accept(registry, log, now, Owner::Agent);
    }

    /// Reads the keys again if they have changed, and sends away those whose key is gone or speaks
    /// for another agent now. Whether they have changed.
    pub(super) fn refresh<W: Write>(&mut self, log: &mut Log<W>) -> bool {
        let missing = |log: &mut Log<W>, error: &DiskError| {
            log.warning(format_args!("no agent is enrolled yet: {error}"));
        };
        self.server.refresh(log, missing, |_, agent| format!("agent {agent}"))
    }

    // --- the turn ---

    pub(super) fn ready(&mut self, now: Mono, key: Key, ready: Ready) {
        self.server.ready(now, key, ready);
    }

    /// Something has become durable, or the hub has room again: everyone who speaks may go on.
    pub(super) fn wake(&mut self) {
        self.server.touch(self.speakers.values());
    }

    /// Moves what can be moved. Whether there is more at once.
    pub(super) fn turn(
        &mut self,
        registry: &mut Registry,
        log: &mut Log<impl Write>,
        now: Now,
        hub: &mut Hub,
    ) -> bool {
        self.capacity = match self.capacity {
            _ if hub.has_room() => HubCapacity::Free,
            HubCapacity::Free => HubCapacity::Full { until: now.mono + STATUS_UNREAD_MAX },
            full => full,
        };
        self.server.begin_turn(now.mono);
        for key in self.server.take_touched() {
            let Some(peer) = self.server.peer(key) else { continue };
            let is_patient = !matches!(self.capacity, HubCapacity::LongFull) && !hub.has_room();
            let waits = is_patient && peer.is_telling();
            if !waits {
                self.server.receive(now.mono, key);
            }
            self.work(registry, log, now, key, hub);
            match self.server.send(now.mono, key) {
                Next::Again if !waits => self.server.touch([&key]),
                // Whoever waits for room is woken when there is some.
                Next::Wait | Next::Again => {}
                Next::Closed => {
                    self.silence(log, now, key, "its connection broke", hub);
                    self.server.forget(registry, now.mono, key);
                }
            }
            self.keep_warm(key);
        }
        self.server.end_turn()
    }

    /// This one's buffers are kept, and in its place somebody's who has been quiet for longer are
    /// given back.
    fn keep_warm(&mut self, key: Key) {
        self.warm.retain(|warm| *warm != key);
        self.warm.push_back(key);
        if self.warm.len() > STATUS_WARM_MAX
            && let Some(cold) = self.warm.pop_front()
            && let Some(peer) = self.server.peer_work(cold)
        {
            peer.rest();
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let impatient = match self.capacity {
            HubCapacity::Full { until } => Some(until),
            HubCapacity::Free | HubCapacity::LongFull => None,
        };
        self.server.deadline().into_iter().chain(impatient).min()
    }

    pub(super) fn tick(&mut self, registry: &mut Registry, log: &mut Log<impl Write>, now: Now) {
        self.server.tick(registry, log, now, Owner::Agent);
        let now = now.mono;
        if matches!(self.capacity, HubCapacity::Full { until } if until <= now) {
            self.capacity = HubCapacity::LongFull;
            self.wake();
        }
    }

    /// Ends all connections with a word.
    pub(super) fn leave(&mut self, log: &mut Log<impl Write>, now: Now) {
        self.server.keep_known_sources(log, now);
        self.server.disconnect_all(now.mono, "status listener ends");
    }

    // --- events ---

    /// Acts on what connections tell, and moves events between this one and the hub.
    fn work(
        &mut self,
        registry: &mut Registry,
        log: &mut Log<impl Write>,
        now: Now,
        key: Key,
        hub: &mut Hub,
    ) {
        self.act(registry, log, now, hub);
        let address = self.server.address(key);
        let Some(peer) = self.server.peer_work(key) else { return };
        peer.work(now, hub);
        while let Some(note) = peer.poll_note() {
            match address {
                Some(address) => log.warning(format_args!("{address}: {note}")),
                None => log.warning(note),
            }
        }
        // A line that is too long has ended the connection just now.
        self.act(registry, log, now, hub);
    }

    fn act(&mut self, registry: &mut Registry, log: &mut Log<impl Write>, now: Now, hub: &mut Hub) {
        while let Some((key, event)) = self.server.next_event() {
            match event {
                PeerEvent::KeyOffered(offered) => self.authorize(log, now.mono, key, &offered),
                PeerEvent::Authenticated(proved) => {
                    self.authenticated(registry, log, now.mono, key, proved, hub);
                }
                PeerEvent::Subsystem(channel) => self.begin(log, now, key, channel, hub),
                PeerEvent::Gone(why) => {
                    if let Some(peer) = self.server.peer_work(key) {
                        peer.work(now, hub);
                    }
                    self.silence(log, now, key, &why, hub);
                }
            }
        }
    }

    /// A key is offered: the file decides, as it is now.
    #[cold]
    fn authorize(&mut self, log: &mut Log<impl Write>, now: Mono, key: Key, offered: &PublicKey) {
        self.refresh(log);
        if let Some(address) = self.server.authorize(now, key, offered) {
            let (print, path) = (offered.fingerprint(), self.server.keys().path());
            log.warning(format_args!(
                "key {print} from {address} refused: no agent has it in {path}; if it is an \
                 agent of this cluster, run: convocate-host init-agent --host {address}"
            ));
        }
    }

    #[cold]
    fn authenticated(
        &mut self,
        registry: &mut Registry,
        log: &mut Log<impl Write>,
        now: Mono,
        key: Key,
        proved: PublicKey,
        hub: &mut Hub,
    ) {
        let Some((agent, address)) = self.server.authenticated(now, key, proved) else { return };
        let agent = agent.clone();
        if self.speakers.contains_key(&agent) && hub.refuses_twin(now, agent.as_str(), address) {
            log.info(format_args!(
                "agent {agent} from {address} is sent away: another host speaks for it"
            ));
            if let Some(peer) = self.server.peer_mut(key) {
                peer.disconnect(TWIN_SPEAKS);
            }
            return;
        }
        if let Err(line) = self.pace.login(now, &agent, address) {
            self.server.dismiss(registry, now, key, "this agent logs in too often");
            if let Some(line) = line {
                log.warning(line);
            }
            return;
        }
        log.info(format_args!("agent {agent} connected from {address}"));
        self.end_surplus(registry, log, (now, key), &agent, address);
        self.addresses.insert(agent, address);
    }

    /// An agent has the connection that speaks for it and, while that is being replaced, a new one.
    /// All others end, so that a single agent cannot take the places of many.
    fn end_surplus(
        &mut self,
        registry: &mut Registry,
        log: &mut Log<impl Write>,
        (now, new): (Mono, Key),
        agent: &AgentId,
        address: IpAddr,
    ) {
        let speaker = self.speakers.get(agent).copied();
        let others = self.server.connections_of(agent);
        let surplus: Vec<Key> = others.filter(|key| *key != new && Some(*key) != speaker).collect();
        for key in surplus {
            log.warning(format_args!(
                "agent {agent}: a connection that tells nothing ends for a new one from {address}"
            ));
            self.server.dismiss(registry, now, key, "a newer connection takes its place");
        }
    }

    /// The channel opens: from now on this connection speaks for its agent, and an older one, which
    /// the agent has given up, does not.
    #[cold]
    fn begin(
        &mut self,
        log: &mut Log<impl Write>,
        now: Now,
        key: Key,
        channel: ChannelId,
        hub: &mut Hub,
    ) {
        let Some(agent) = self.server.identity(key).cloned() else { return };
        let Some(peer) = self.server.peer_mut(key) else { return };
        if !hub.connected(now, agent.as_str()) {
            log.error(format_args!("agent {agent} is sent away: there are too many agents"));
            peer.disconnect("too many agents");
            return;
        }
        peer.listen(channel, Channel::new(agent.as_str(), hub));
        self.arrivals.push(agent.clone());
        let older = self.speakers.insert(agent.clone(), key).filter(|older| *older != key);
        let older = older.and_then(|older| Some((older, self.server.address(older)?)));
        if let Some(from) = self.server.address(key) {
            hub.speaks(now, agent.as_str(), from, older.map(|(_, address)| address));
        }
        if let Some((older, address)) = older {
            log.info(format_args!("agent {agent}: its older connection from {address} ends"));
            if let Some(peer) = self.server.peer_mut(older) {
                peer.disconnect("a newer connection speaks for this agent");
            }
        }
    }

    /// The connection is over, so nobody speaks for its agent if it was the one that did.
    fn silence(&mut self, log: &mut Log<impl Write>, now: Now, key: Key, why: &str, hub: &mut Hub) {
        let Some(agent) = self.server.identity(key) else { return };
        if self.speakers.get(agent) == Some(&key) {
            let from = self.server.address(key).map_or_else(String::new, |it| format!(" at {it}"));
            log.info(format_args!("agent {agent}{from} is gone: {why}"));
            hub.lost(now, agent.as_str(), why);
            self.speakers.remove(&agent.clone());
        }
    }
}

/// A line binds one key to one agent, `agent-id="ID" ssh-ed25519 …`. A line without the id, or with
/// any other option, admits nobody.
fn identify(line: &AuthorizedKey) -> Result<AgentId, String> {
    match &line.options[..] {
        [(name, Some(id))] if name == AGENT_ID => {
            AgentId::parse(id).map_err(|error| error.to_string())
        }
        [] => Err(format!("it has no {AGENT_ID}=\"…\" before it")),
        _ => Err(format!("it may have {AGENT_ID}=\"…\" before it, and nothing else")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::keys::{AuthorizedKeys, KeyPair};

    #[test]
    fn a_key_is_bound_to_its_agent_and_to_no_other_thing() {
        let line = |number: u8| KeyPair::from_seed([number; 32]).public().to_line("agent");
        let text = format!(
            "agent-id=\"abcdefghjkmn\" {}\n{}\nagent-id=\"x\" {}\n\
             agent-id=\"abcdefghjkmn\",pty {}\n",
            line(1),
            line(2),
            line(3),
            line(4)
        );
        let keys = AuthorizedKeys::parse(&text).keys;
        let agents: Vec<_> = keys.iter().map(|line| identify(line).ok()).collect();
        assert_eq!(agents, [AgentId::parse("abcdefghjkmn").ok(), None, None, None]);
    }
}
