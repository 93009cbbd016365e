//! Joins a [`Fleet`] to its streams: dials members when they want it and moves their bytes.
//!
//! A call of the command line has one, and so has the status listener, which asks agents for their
//! sessions. Each has a loop and a reactor of its own.

use std::sync::Arc;

use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::fleet::connection::{Mode, StreamAction};
use crate::fleet::fleet::Fleet;
use crate::fleet::member::Member;
use crate::fleet::registry::KnownAgent;
use crate::io::entropy;
use crate::io::outbound::{DialEvent, Dialler, Outbound};
use crate::io::reactor::{Reactor, Ready};

/// The members and their connections.
pub(crate) struct FleetDriver {
    pub(crate) fleet: Fleet,
    pub(crate) dialler: Dialler,
    outbound: SortedMap<Key, Outbound>,
}

impl FleetDriver {
    /// Knows nobody yet. `wakes` is the key of the reactor's waker.
    pub(crate) fn new(mode: Mode, wakes: Key) -> FleetDriver {
        FleetDriver {
            fleet: Fleet::new(mode, entropy::seed()),
            dialler: Dialler::new(wakes),
            outbound: SortedMap::new(),
        }
    }

    /// Adds an agent, which is dialled in the next [`FleetDriver::follow`]. `watched` says under
    /// which key its streams are watched. `None` if there are too many agents, or it gives none.
    pub(crate) fn add(
        &mut self,
        agent: Arc<KnownAgent>,
        now: Mono,
        watched: impl FnOnce(Key) -> Option<Key>,
    ) -> Option<Key> {
        let member = self.fleet.add(agent, now)?;
        let Some(key) = watched(member) else {
            self.fleet.take(member);
            return None;
        };
        self.outbound.insert(member, Outbound::new(key));
        Some(member)
    }

    /// Takes an agent out, its connection alive.
    pub(crate) fn take(&mut self, member: Key) -> Option<(Member, Outbound)> {
        Some((self.fleet.take(member)?, self.outbound.remove(&member)?))
    }

    /// Takes an agent out, its connection alive. The others' connections end.
    pub(crate) fn take_only(mut self, member: Key) -> Option<(Member, Outbound, Dialler)> {
        let (member, outbound) = self.take(member)?;
        Some((member, outbound, self.dialler))
    }

    pub(crate) fn is_member(&self, member: Key) -> bool {
        self.outbound.contains_key(&member)
    }

    /// Something happened with the stream of a member.
    pub(crate) fn ready(&mut self, reactor: &Reactor, now: Mono, member: Key, ready: Ready) {
        if let Some(outbound) = self.outbound.get_mut(&member) {
            let event = outbound.ready(reactor, ready);
            self.dialled(now, member, event);
        }
    }

    /// The threads have looked names up.
    pub(crate) fn collect(&mut self, reactor: &Reactor, now: Mono) {
        while let Some(found) = self.dialler.next_found() {
            let waiting = self.outbound.iter_mut().find(|(_, outbound)| outbound.waits_for(&found));
            if let Some((member, outbound)) = waiting {
                let (member, event) = (*member, outbound.found(reactor, found));
                self.dialled(now, member, event);
            }
        }
    }

    /// Dials and hangs up as members want it.
    pub(crate) fn follow(&mut self, reactor: &mut Reactor, now: Mono) {
        while let Some((key, action)) = self.fleet.poll_action() {
            let Some(outbound) = self.outbound.get_mut(&key) else { continue };
            outbound.close();
            if action == StreamAction::Dial
                && let Some(member) = self.fleet.member(key)
            {
                let event = outbound.dial(&mut self.dialler, reactor, &member.agent().address);
                self.dialled(now, key, event);
            }
        }
    }

    /// Moves bytes, and says whether there are more to be moved at once.
    pub(crate) fn pump(&mut self, now: Mono) -> bool {
        let mut is_more = false;
        for (key, outbound) in &mut self.outbound {
            if let Some(member) = self.fleet.member_mut(*key) {
                is_more |= outbound.pump(now, member);
            }
        }
        is_more
    }

    fn dialled(&mut self, now: Mono, member: Key, event: DialEvent) {
        if let Some(member) = self.fleet.member_mut(member) {
            dialled(member, now, event);
        }
    }
}

/// Tells a member what has become of dialling it.
pub(crate) fn dialled(member: &mut Member, now: Mono, event: DialEvent) {
    match event {
        DialEvent::None => {}
        DialEvent::ConnectStarted => member.connects_started(now),
        DialEvent::Connected => member.connected(now, entropy::seed()),
        DialEvent::Failed(why) => member.dial_failed(now, &why),
    }
}
