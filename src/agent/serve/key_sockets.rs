//! The sockets on which sessions are lent their keys: who listens, who is connected, whose turn.
//!
//! Each running session has one, in a directory of its own that it sees. Whoever is neither the
//! session's user nor ours is hung up on. A session has a pace ([`Signer::take_step`]); beyond it
//! its connections are neither taken nor read until it may go on, and nobody else waits for it.

use std::collections::{BTreeSet, VecDeque};
use std::io;

use serde_json::Value;

use super::registry::{Owner, Registry};
use crate::agent::environment::SESSION_SOCKET;
use crate::agent::signer::Signer;
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::daemon::error::private_key;
use crate::io::link::{Link, Next};
use crate::io::listener::{self, Listener};
use crate::io::machine;
use crate::io::reactor::{Interests, Ready};
use crate::limits::{ACCEPT_PAUSE, KEY_CONNECTIONS_MAX, KEY_REQUEST_BYTES_MAX, LINK_LINGER};
use crate::paths::Paths;
use crate::ssh::key_agent::KeyAgentConn;

/// All of them.
pub(super) struct KeySockets {
    paths: Paths,
    lent: SortedMap<Uuid, Lent>,
    /// Whose a key of the registry is.
    owners: SortedMap<Key, Uuid>,
    touched: BTreeSet<Uuid>,
    /// What events are to tell.
    told: VecDeque<(Uuid, Value)>,
}

/// One session's.
struct Lent {
    listener: Listener,
    key: Key,
    signer: Signer,
    /// As whom the session runs, if not as we do.
    uid: Option<u32>,
    connections: SortedMap<Key, Link<KeyAgentConn>>,
    /// Whether somebody may wait to be let in.
    has_waiting: bool,
    /// When it goes on, if it may not now.
    paused_until: Option<Mono>,
}

impl KeySockets {
    pub(super) fn new(paths: &Paths) -> KeySockets {
        KeySockets {
            paths: paths.clone(),
            lent: SortedMap::new(),
            owners: SortedMap::new(),
            touched: BTreeSet::new(),
            told: VecDeque::new(),
        }
    }

    /// Listens for a session, or lends another key than before.
    ///
    /// # Errors
    /// Why the session cannot have its key, in one sentence.
    pub(super) fn lend(
        &mut self,
        registry: &mut Registry,
        id: Uuid,
        uid: Option<u32>,
    ) -> Result<(), String> {
        let pair = private_key(&self.paths.session_key(id)).map_err(|error| error.to_string())?;
        if let Some(lent) = self.lent.get_mut(&id).filter(|lent| lent.uid == uid) {
            lent.signer.replace(pair);
            return Ok(());
        }
        self.end(registry, id);
        let directory = self.paths.session_socket_dir(id);
        if !directory.exists() {
            // It was started by an earlier version, and sees no directory.
            return Ok(());
        }
        let bound = Listener::bind_unix_for(&directory.join(SESSION_SOCKET), uid);
        let listener = bound.map_err(|error| error.to_string())?;
        let key = registry.watch_for(&listener, Owner::KeySocket, Interests::Read);
        let key = key.map_err(|error| error.to_string())?;
        let (signer, connections) = (Signer::new(id, pair), SortedMap::new());
        let (has_waiting, paused_until) = (false, None);
        let lent = Lent { listener, key, signer, uid, connections, has_waiting, paused_until };
        self.lent.insert(id, lent);
        self.owners.insert(key, id);
        Ok(())
    }

    /// Closes a session's socket and all connections.
    pub(super) fn end(&mut self, registry: &mut Registry, id: Uuid) {
        let Some(lent) = self.lent.remove(&id) else { return };
        for key in lent.connections.keys().chain([&lent.key]) {
            self.owners.remove(key);
            registry.release(*key);
        }
    }

    pub(super) fn ready(&mut self, now: Mono, ready: Ready) {
        let Some(id) = self.owners.get(&ready.key) else { return };
        let Some(lent) = self.lent.get_mut(id) else { return };
        match lent.connections.get_mut(&ready.key) {
            Some(link) => link.ready(now, ready),
            None => lent.has_waiting = true,
        }
        self.touched.insert(*id);
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.lent.values().filter_map(Lent::deadline).min()
    }

    pub(super) fn tick(&mut self, now: Mono) {
        let due = |lent: &Lent| lent.deadline().is_some_and(|at| at <= now);
        for (id, lent) in self.lent.iter_mut().filter(|(_, lent)| due(lent)) {
            lent.tick(now);
            self.told.extend(lent.signer.tick(now).map(|data| (*id, data)));
            self.touched.insert(*id);
        }
    }

    /// Moves what can be moved, a bounded share for each session. Whether there is more at once.
    pub(super) fn turn(&mut self, registry: &mut Registry, now: Mono) -> bool {
        for id in std::mem::take(&mut self.touched) {
            let Some(lent) = self.lent.get_mut(&id) else { continue };
            let mut closed = Vec::new();
            let mut is_busy = lent.serve(now, &mut closed, |data| self.told.push_back((id, data)));
            for key in closed {
                lent.connections.remove(&key);
                self.owners.remove(&key);
                registry.release(key);
            }
            if let Some(key) = lent.let_in(registry, now) {
                self.owners.insert(key, id);
                is_busy = true;
            }
            if is_busy && lent.paused_until.is_none() {
                self.touched.insert(id);
            }
        }
        !self.touched.is_empty()
    }

    /// What an event is to tell of a session.
    pub(super) fn next_told(&mut self) -> Option<(Uuid, Value)> {
        self.told.pop_front()
    }
}

impl Lent {
    fn deadline(&self) -> Option<Mono> {
        let links = self.connections.values().filter_map(Link::deadline);
        links.chain(self.paused_until).chain(self.signer.deadline()).min()
    }

    fn tick(&mut self, now: Mono) {
        self.connections.values_mut().for_each(|link| link.tick(now));
        self.paused_until = self.paused_until.filter(|until| *until > now);
    }

    /// Answers what is asked on its connections, and names those that are over. Whether there is
    /// more.
    fn serve(&mut self, now: Mono, closed: &mut Vec<Key>, mut tell: impl FnMut(Value)) -> bool {
        let mut is_busy = false;
        for (key, link) in self.connections.iter_mut() {
            if self.paused_until.is_some() {
                return false;
            }
            link.receive(now, KEY_REQUEST_BYTES_MAX);
            if let Some(message) = link.endpoint().request() {
                if !self.signer.take_step(now) {
                    self.paused_until = self.signer.goes_on_at();
                    return false;
                }
                let (answer, told) = self.signer.answer(now, message);
                told.into_iter().for_each(&mut tell);
                link.endpoint_mut().answer(now, &answer);
                is_busy = true;
            }
            match link.send(now, KEY_REQUEST_BYTES_MAX) {
                Next::Wait => {}
                Next::Again => is_busy = true,
                Next::Closed => closed.push(*key),
            }
        }
        is_busy
    }

    /// Takes one connection that waits, if there is room. Gives its key.
    fn let_in(&mut self, registry: &mut Registry, now: Mono) -> Option<Key> {
        let mut accepted = Vec::new();
        while self.has_waiting
            && self.paused_until.is_none()
            && self.connections.len() < KEY_CONNECTIONS_MAX
        {
            if !self.signer.take_step(now) {
                self.paused_until = self.signer.goes_on_at();
                return None;
            }
            match self.listener.accept(1, &mut accepted) {
                listener::Next::Wait => self.has_waiting = false,
                listener::Next::Again => {}
                listener::Next::Pause(_) => self.paused_until = Some(now + ACCEPT_PAUSE),
            }
            let stream = accepted.pop().map(|it| it.stream);
            let stream = stream.filter(|it| it.peer_user().is_ok_and(|user| self.is_for(user)));
            let Some(stream) = stream else { continue };
            let watched: io::Result<Key> = registry.watch(&stream, Owner::KeySocket);
            // One that cannot be watched is closed: there are too many descriptors.
            let Ok(key) = watched else { return None };
            self.connections.insert(key, Link::open(stream, KeyAgentConn::new(), LINK_LINGER));
            return Some(key);
        }
        None
    }

    fn is_for(&self, user: u32) -> bool {
        self.uid == Some(user) || user == machine::uid()
    }
}
