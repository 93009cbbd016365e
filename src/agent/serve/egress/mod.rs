//! The sockets of sessions that reach names and nothing else.
//!
//! Each such session has a Unix socket on which its container hands over the socket that its
//! clients dial ([`crate::io::handover`]); root alone may come to it. From then on connections are
//! taken here, decided by [`crate::agent::egress`], dialled from this host, and carried. A client
//! that stops reading stops being read; nobody waits for it. What dials a session's published port
//! is carried the other way ([`published`]).

mod carried;
mod dialling;
mod published;
mod side;
mod turns;

use std::collections::VecDeque;
use std::net::IpAddr;

use serde_json::{Value, json};

use self::carried::{Carried, Next};
use self::published::Published;
use self::turns::Turns;
use super::registry::{Owner, Registry};
use crate::agent::egress::address::Network;
use crate::agent::egress::conn::Conn;
use crate::agent::egress::gate::Gate;
use crate::agent::egress::{Refusal, Target};
use crate::agent::environment::HANDOVER_SOCKET;
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::{Mono, Now};
use crate::base::uuid::Uuid;
use crate::io::handover::{self, Handed};
use crate::io::listener::{self, Listener, Room};
use crate::io::outbound::Dialler;
use crate::io::reactor::{Interests, Ready};
use crate::io::stream::Stream;
use crate::limits::{
    ACCEPT_PAUSE, EGRESS_ACCEPTS_PER_TURN, EGRESS_CHUNK_BYTES, EGRESS_CONNECTIONS_KEPT,
    EGRESS_CONNECTIONS_MAX, EGRESS_CONNECTIONS_OF_FEW, EGRESS_SEND_BUFFER_BYTES,
    EGRESS_SESSION_CONNECTIONS_MAX, EGRESS_TURN_BYTES_ALL, EGRESS_TURN_COST_BYTES,
    HAND_OVER_PATIENCE, HAND_OVER_RETRY, HAND_OVER_TIMEOUT, HANDOVER_ACCEPTS_MAX,
};
use crate::paths::Paths;
use crate::rpc::egress::EgressRules;
use crate::rpc::network::Publish;

/// Who may hand something over: root in a container.
const ROOT: u32 = 0;
/// Connections that hand something over at once, of one session.
const HANDOVERS_MAX: usize = 4;

/// All of them.
pub(super) struct EgressSockets {
    paths: Paths,
    permitted: Vec<Network>,
    sessions: SortedMap<Uuid, Session>,
    /// Whose a key of the registry is; of a connection's two, which connection's.
    owners: SortedMap<Key, (Uuid, Part)>,
    touched: Turns,
    dialler: Dialler,
    connections: usize,
    space: Vec<u8>,
    told: VecDeque<(Uuid, Value)>,
    wanted: VecDeque<(Uuid, Option<usize>)>,
    warnings: VecDeque<String>,
    /// The address from which this host reaches its shell host, if that is known, and the shell
    /// host's own.
    cluster_address: Option<IpAddr>,
    shell_host: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Where things are handed over.
    Entrance,
    /// A connection on which that is done.
    Handover,
    /// Where the session's clients dial.
    Proxy,
    /// Where others dial the session.
    Published,
    Client,
    /// Of the connection with this key.
    Server(Key),
}

struct Session {
    entrance: Listener,
    entrance_key: Key,
    uid: Option<u32>,
    handovers: SortedMap<Key, (Stream, Mono)>,
    proxy: Option<(Key, Listener)>,
    published: Published,
    gate: Gate,
    rules: EgressRules,
    carried: SortedMap<Key, Carried>,
    lookups: Vec<Lookup>,
    /// Connections whose names wait to be looked up.
    parked: VecDeque<Key>,
    has_waiting: bool,
    paused_until: Option<Mono>,
    /// When it is asked for the proxy's socket, if that has not come.
    ask_at: Option<Mono>,
}

/// A name that is being looked up, and for which connections.
struct Lookup {
    number: u64,
    target: Target,
    keys: Vec<Key>,
}

impl EgressSockets {
    /// `wakes` is the key of the reactor's waker.
    pub(super) fn new(paths: &Paths, permitted: Vec<Network>, wakes: Key) -> EgressSockets {
        EgressSockets {
            paths: paths.clone(),
            permitted,
            sessions: SortedMap::new(),
            owners: SortedMap::new(),
            touched: Turns::default(),
            dialler: Dialler::new(wakes),
            connections: 0,
            space: Vec::new(),
            told: VecDeque::new(),
            wanted: VecDeque::new(),
            warnings: VecDeque::new(),
            cluster_address: None,
            shell_host: None,
        }
    }

    /// Where the shell host is, which no session reaches.
    pub(super) fn set_shell_host(&mut self, address: Option<IpAddr>) {
        self.shell_host = address.map(|address| address.to_canonical());
    }

    /// Carries a session's connections, or by other rules than before: what these do not allow is
    /// closed.
    ///
    /// # Errors
    /// Why that cannot be, in one sentence.
    pub(super) fn carry(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        (id, uid): (Uuid, Option<u32>),
        (rules, port): (EgressRules, (u16, Publish)),
    ) -> Result<(), String> {
        if let Some(session) = self.sessions.get_mut(&id).filter(|session| session.uid == uid) {
            session.ask_at = session.proxy.is_none().then_some(now + HAND_OVER_PATIENCE);
            let is_other = session.published.port != port;
            session.published.port = port;
            if is_other {
                self.publish(registry, id);
            }
            let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
            if session.rules == rules {
                return Ok(());
            }
            session.gate.set_rules(rules.clone());
            session.rules = rules;
            let gate = &session.gate;
            let is_over = |it: &Carried| it.target().is_some_and(|it| gate.ask(it).is_err());
            let over: Vec<Key> =
                session.carried.iter().filter(|(_, it)| is_over(it)).map(|(key, _)| *key).collect();
            over.into_iter().for_each(|key| self.close(registry, id, key));
            return Ok(());
        }
        self.end(registry, id);
        let path = self.paths.session_socket_dir(id).join(HANDOVER_SOCKET);
        // Where sessions share our user, so do their files; who comes is looked at in any case.
        let bound = match uid {
            Some(_) => Listener::bind_unix_for(&path, Some(ROOT)),
            None => Listener::bind_unix(&path, 0o666),
        };
        let entrance = bound.map_err(|error| error.to_string())?;
        let key = registry.watch_for(&entrance, Owner::Egress, Interests::Read);
        let entrance_key = key.map_err(|error| error.to_string())?;
        self.owners.insert(entrance_key, (id, Part::Entrance));
        let session = Session {
            entrance,
            entrance_key,
            uid,
            handovers: SortedMap::new(),
            proxy: None,
            published: Published::new(port),
            gate: Gate::new(rules.clone()),
            rules,
            carried: SortedMap::new(),
            lookups: Vec::new(),
            parked: VecDeque::new(),
            has_waiting: false,
            paused_until: None,
            ask_at: Some(now + HAND_OVER_PATIENCE),
        };
        self.sessions.insert(id, session);
        self.publish(registry, id);
        Ok(())
    }

    /// Closes all of a session's.
    pub(super) fn end(&mut self, registry: &mut Registry, id: Uuid) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.connections -= session.carried.len();
        let servers = session.carried.values().filter_map(Carried::server_key);
        let proxy = session.proxy.iter().map(|(key, _)| *key);
        let proxy = proxy.chain(session.published.listeners.keys().copied());
        let keys = session.carried.keys().chain(session.handovers.keys()).copied();
        for key in keys.chain(servers).chain(proxy).chain([session.entrance_key]) {
            self.owners.remove(&key);
            registry.release(key);
        }
    }

    /// A session in which the proxy's socket is to be opened, or a pool of so many.
    pub(super) fn next_wanted(&mut self) -> Option<(Uuid, Option<usize>)> {
        self.wanted.pop_front()
    }

    /// What the log is to say.
    pub(super) fn next_warning(&mut self) -> Option<String> {
        self.warnings.pop_front()
    }

    /// What an event is to tell of a session.
    pub(super) fn next_told(&mut self) -> Option<(Uuid, Value)> {
        self.told.pop_front()
    }

    /// What a session reaches now, and what was refused.
    pub(super) fn now(&self, id: Uuid) -> Option<Value> {
        let session = self.sessions.get(&id)?;
        let told = |it: &Carried| {
            let target = it.target()?;
            Some(json!({
                "name": target.name.as_str(),
                "port": target.port,
                "address": it.server_address().map(|address| address.ip().to_string()),
                "since": it.since,
                "sent": it.moved[0],
                "received": it.moved[1],
            }))
        };
        let connections: Vec<Value> =
            session.carried.values().filter_map(told).take(CONNECTIONS_TOLD_MAX).collect();
        Some(json!({
            "open": session.proxy.is_some(),
            "count": session.carried.len(),
            "connections": connections,
            "refused": session.gate.refused(),
        }))
    }

    // --- what happens ---

    pub(super) fn ready(&mut self, registry: &mut Registry, now: Now, ready: Ready) {
        let Some((id, part)) = self.owners.get(&ready.key).copied() else { return };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match part {
            Part::Entrance => self.let_in(registry, now.mono, id),
            Part::Handover => self.take_over(registry, now, id, ready.key),
            Part::Proxy => {
                session.has_waiting = true;
                self.accept(registry, now, id);
            }
            Part::Published => {
                if let Some((_, has_waiting)) = session.published.listeners.get_mut(&ready.key) {
                    *has_waiting = true;
                }
                self.accept_published(registry, now, id);
            }
            Part::Client => {
                if let Some(carried) = session.carried.get_mut(&ready.key) {
                    carried.client_ready(ready);
                    self.touched.insert((id, ready.key));
                }
            }
            Part::Server(key) => {
                let Some(carried) = session.carried.get_mut(&key) else { return };
                let event = carried.server_ready(registry, ready);
                self.dialled(now, id, key, event);
                self.touched.insert((id, key));
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.sessions.values().filter_map(Session::deadline).min()
    }

    pub(super) fn tick(&mut self, registry: &mut Registry, now: Now) {
        let due = |session: &Session| session.deadline().is_some_and(|at| at <= now.mono);
        let ids: Vec<Uuid> =
            self.sessions.iter().filter(|(_, it)| due(it)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            if session.ask_at.is_some_and(|at| at <= now.mono) {
                session.ask_at = Some(now.mono + HAND_OVER_RETRY);
                self.wanted.push_back((id, None));
            }
            let late = session.handovers.iter().filter(|(_, (_, until))| *until <= now.mono);
            for key in late.map(|(key, _)| *key).collect::<Vec<_>>() {
                session.handovers.remove(&key);
                self.owners.remove(&key);
                registry.release(key);
            }
            let mut closed = Vec::new();
            for (key, carried) in session.carried.iter_mut() {
                if carried.deadline().is_some_and(|at| at <= now.mono) {
                    if carried.tick(now.mono) {
                        closed.push(*key);
                    } else {
                        self.touched.insert((id, *key));
                    }
                }
            }
            let is_paused = session.paused_until.is_some_and(|until| until > now.mono);
            session.paused_until = session.paused_until.filter(|_| is_paused);
            closed.into_iter().for_each(|key| self.close(registry, id, key));
            self.accept(registry, now, id);
            self.accept_published(registry, now, id);
        }
    }

    /// Moves what can be moved, a bounded share for each connection. Whether there is more at once.
    pub(super) fn turn(&mut self, registry: &mut Registry, now: Now) -> bool {
        self.space.resize(EGRESS_CHUNK_BYTES, 0);
        let mut left = EGRESS_TURN_BYTES_ALL;
        while left > 0 {
            let Some((id, key)) = self.touched.pop() else { break };
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            let Some(carried) = session.carried.get_mut(&key) else { continue };
            let before: u64 = carried.moved.iter().sum();
            let next = carried.turn(now.mono, &mut self.space);
            let moved = carried.moved.iter().sum::<u64>() - before;
            left = left.saturating_sub(moved + EGRESS_TURN_COST_BYTES);
            let ask = carried.conn.next_ask();
            if let Some(target) = ask {
                self.ask(registry, now, id, key, target);
            }
            self.note_refusal(now, id, key);
            match next {
                Next::Wait => {}
                Next::Again => {
                    self.touched.insert((id, key));
                }
                Next::Closed => self.close(registry, id, key),
            }
        }
        !self.touched.is_empty()
    }

    /// Names were looked up.
    pub(super) fn collect(&mut self, registry: &mut Registry, now: Now) {
        while let Some(found) = self.dialler.next_found() {
            self.found(registry, now, found);
        }
    }

    // --- handing over ---

    fn let_in(&mut self, registry: &mut Registry, now: Mono, id: Uuid) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let mut accepted = Vec::new();
        // What is not taken in this turn is hung up on: nobody else comes here.
        for _ in 0..HANDOVER_ACCEPTS_MAX {
            match session.entrance.accept(HANDOVERS_MAX, &mut accepted) {
                listener::Next::Again => {}
                listener::Next::Wait | listener::Next::Pause(_) => break,
            }
            accepted.truncate(HANDOVERS_MAX);
        }
        for one in accepted {
            let is_root = one.stream.peer_user().is_ok_and(|user| user == ROOT);
            if !is_root || session.handovers.len() >= HANDOVERS_MAX {
                continue;
            }
            if let Ok(key) = registry.watch(&one.stream, Owner::Egress) {
                session.handovers.insert(key, (one.stream, now + HAND_OVER_TIMEOUT));
                self.owners.insert(key, (id, Part::Handover));
            }
        }
    }

    fn take_over(&mut self, registry: &mut Registry, now: Now, id: Uuid, key: Key) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some((stream, _)) = session.handovers.get(&key) else { return };
        let handed = match handover::receive(stream) {
            Ok(None) => return,
            Ok(Some(handed)) => Some(handed),
            Err(_) => None,
        };
        session.handovers.remove(&key);
        self.owners.remove(&key);
        registry.release(key);
        if let Some(Handed::Pool(sockets)) = handed {
            session.published.refill(sockets);
            self.accept_published(registry, now, id);
        } else if let Some(Handed::Proxy(listener)) = handed {
            let Ok(new) = registry.watch_for(&listener, Owner::Egress, Interests::Read) else {
                return;
            };
            if let Some((old, _)) = session.proxy.replace((new, listener)) {
                self.owners.remove(&old);
                registry.release(old);
            }
            (session.ask_at, session.has_waiting) = (None, true);
            self.owners.insert(new, (id, Part::Proxy));
            // Those were of an earlier run's network.
            session.published.forget_pool();
            self.accept(registry, now, id);
            self.want_pool(now.mono, id);
        }
    }

    // --- connections ---

    fn accept(&mut self, registry: &mut Registry, now: Now, id: Uuid) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some((_, proxy)) = &mut session.proxy else { return };
        let mut budget = EGRESS_ACCEPTS_PER_TURN;
        while session.has_waiting && session.paused_until.is_none() && budget > 0 {
            if is_full(session.carried.len(), self.connections) {
                return;
            }
            if !proxy.has_waiting() {
                session.has_waiting = false;
                return;
            }
            budget -= 1;
            let mut accepted = Vec::new();
            match proxy.accept(1, &mut accepted) {
                listener::Next::Wait => session.has_waiting = false,
                listener::Next::Again => {}
                listener::Next::Pause(_) => session.paused_until = Some(now.mono + ACCEPT_PAUSE),
            }
            let stream = accepted.pop().filter(|it| it.room != Room::None).map(|it| it.stream);
            let Some(stream) = stream else { continue };
            let Ok(key) = registry.watch(&stream, Owner::Egress) else { continue };
            stream.bound_send_buffer(EGRESS_SEND_BUFFER_BYTES);
            let carried = Carried::new(Conn::new(now.mono), stream, now.wall);
            session.carried.insert(key, carried);
            self.owners.insert(key, (id, Part::Client));
            self.touched.insert((id, key));
            self.connections += 1;
        }
        if session.has_waiting && session.paused_until.is_none() {
            session.paused_until = Some(now.mono);
        }
    }

    fn close(&mut self, registry: &mut Registry, id: Uuid, key: Key) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(carried) = session.carried.remove(&key) else { return };
        self.connections -= 1;
        for key in [Some(key), carried.server_key()].into_iter().flatten() {
            self.owners.remove(&key);
            registry.release(key);
        }
        // There is room for one that waits, here or where all were too many.
        let was_crowded = self.connections + 1 >= EGRESS_CONNECTIONS_MAX - EGRESS_CONNECTIONS_KEPT;
        for (other, session) in self.sessions.iter_mut() {
            if *other != id && !was_crowded {
                continue;
            }
            if session.has_waiting {
                session.paused_until = session.paused_until.or(Some(Mono::ZERO));
            }
            session.published.look_again();
        }
    }

    fn ask(&mut self, registry: &mut Registry, now: Now, id: Uuid, key: Key, target: Target) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match session.gate.ask(&target) {
            Ok(()) => {
                session.parked.push_back(key);
                self.look_up(registry, now, id);
            }
            Err(refusal) => self.refuse(now, id, key, refusal),
        }
    }

    fn refuse(&mut self, now: Now, id: Uuid, key: Key, refusal: Refusal) {
        let session = self.sessions.get_mut(&id);
        if let Some(carried) = session.and_then(|it| it.carried.get_mut(&key)) {
            carried.conn.refuse(now.mono, refusal);
            self.touched.insert((id, key));
        }
    }

    fn note_refusal(&mut self, now: Now, id: Uuid, key: Key) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(carried) = session.carried.get_mut(&key) else { return };
        let Some(refusal) = carried.conn.next_refusal().filter(Refusal::is_attempt) else { return };
        let told = session.gate.note(now, carried.conn.target(), &refusal);
        self.told.extend(told.map(|data| (id, data)));
    }
}

/// Whether a session with so many of `all` connections has to wait for the next one. The last ones
/// are for those that have few.
fn is_full(own: usize, all: usize) -> bool {
    own >= EGRESS_SESSION_CONNECTIONS_MAX
        || all >= EGRESS_CONNECTIONS_MAX
        || (all >= EGRESS_CONNECTIONS_MAX - EGRESS_CONNECTIONS_KEPT
            && own >= EGRESS_CONNECTIONS_OF_FEW)
}

/// Connections that are told of at once.
const CONNECTIONS_TOLD_MAX: usize = 256;

impl Session {
    fn deadline(&self) -> Option<Mono> {
        let carried = self.carried.values().filter_map(Carried::deadline);
        let handovers = self.handovers.values().map(|(_, until)| *until);
        carried
            .chain(handovers)
            .chain(self.paused_until)
            .chain(self.ask_at)
            .chain(self.published.deadline())
            .min()
    }
}
