//! All agents at once: every member's connection and requests, none waiting for another.
//!
//! A thin table: it routes a request to its member, and gathers what members have to tell. A member
//! that is dead, slow or wrong costs the others nothing.

use std::sync::Arc;

use crate::base::endpoint::Endpoint;
use crate::base::rng::Rng;
use crate::base::slots::{Key, Slots};
use crate::base::time::Mono;
use crate::fleet::connection::{Mode, StreamAction};
use crate::fleet::member::{Member, MemberEvent, RequestError};
use crate::fleet::registry::KnownAgent;
use crate::limits::AGENTS_MAX;
use crate::rpc::call::Call;

/// Names a request of a fleet until it is answered: the member, and the request on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FleetRequestId {
    pub member: Key,
    pub request: Key,
}

pub struct Fleet {
    mode: Mode,
    rng: Rng,
    members: Slots<Member>,
}

impl Fleet {
    /// No members yet. `seed` is for the jitter of their waits.
    pub fn new(mode: Mode, seed: [u8; 32]) -> Fleet {
        Fleet { mode, rng: Rng::from_seed(seed), members: Slots::new(AGENTS_MAX) }
    }

    /// Adds an agent, which wants to be dialled at once. `None` if there are [`AGENTS_MAX`].
    pub fn add(&mut self, agent: Arc<KnownAgent>, now: Mono) -> Option<Key> {
        let member = Member::new(agent, self.mode, self.rng.bytes(), now);
        self.members.insert(member).ok()
    }

    /// Takes a member out, its connection alive.
    pub(crate) fn take(&mut self, member: Key) -> Option<Member> {
        self.members.remove(member)
    }

    /// Asks one agent. The answer comes from [`Fleet::poll_event`], at `deadline` the latest.
    ///
    /// # Errors
    /// As [`Member::request`]; the key must be a live one.
    pub fn request(
        &mut self,
        member: Key,
        call: &Call,
        deadline: Mono,
    ) -> Result<FleetRequestId, RequestError> {
        let found = self.members.get_mut(member).expect("callers keep no keys of removed members");
        found.request(call, deadline).map(|request| FleetRequestId { member, request })
    }

    /// What has happened, and to whom. To be asked until it says `None`, after every other call.
    pub fn poll_event(&mut self, now: Mono) -> Option<(Key, MemberEvent)> {
        self.members.iter_mut().find_map(|(key, member)| Some((key, member.poll_event(now)?)))
    }

    /// What the driver is to do with whose stream. To be asked until it says `None`.
    pub fn poll_action(&mut self) -> Option<(Key, StreamAction)> {
        self.members.iter_mut().find_map(|(key, member)| Some((key, member.poll_action()?)))
    }

    /// When [`Fleet::tick`] is wanted next.
    pub fn deadline(&self) -> Option<Mono> {
        self.members.iter().filter_map(|(_, member)| member.deadline()).min()
    }

    pub fn tick(&mut self, now: Mono) {
        for (_, member) in self.members.iter_mut() {
            member.tick(now);
        }
    }

    pub(crate) fn member(&self, member: Key) -> Option<&Member> {
        self.members.get(member)
    }

    /// One member, for its stream.
    pub fn member_mut(&mut self, member: Key) -> Option<&mut Member> {
        self.members.get_mut(member)
    }

    pub fn members(&self) -> impl Iterator<Item = (Key, &Member)> {
        self.members.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::connection::Lost;
    use crate::fleet::testing::{Peer, agent, at, pump, refused};

    #[test]
    fn a_dead_a_silent_and_a_good_agent_at_once() {
        let mut fleet = Fleet::new(Mode::Once, [1; 32]);
        let keys: Vec<_> = (1..=3)
            .map(|number| fleet.add(Arc::new(agent(number)), at(0)).expect("room"))
            .collect();
        for key in &keys {
            fleet.request(*key, &Call::List, at(12)).expect("room");
        }
        let dials: Vec<_> = std::iter::from_fn(|| fleet.poll_action()).collect();
        assert_eq!(dials.len(), 3);
        fleet
            .member_mut(keys[0])
            .expect("alive")
            .dial_failed(at(1), &refused("connection refused"));
        // The second never gets a stream. The third answers.
        let mut peer = Peer::new(3);
        let good = fleet.member_mut(keys[2]).expect("alive");
        good.connected(at(1), [2; 32]);
        let mut told = Vec::new();
        for _ in 0..4 {
            pump(at(1), fleet.member_mut(keys[2]).expect("alive"), &mut peer);
            if !peer.calls.is_empty() {
                let list = peer.take_call("list");
                peer.answer(list, Ok(serde_json::json!([])));
            }
            told.extend(std::iter::from_fn(|| fleet.poll_event(at(1))));
        }
        let answered = |key| {
            told.iter().find_map(|(found, event)| match event {
                MemberEvent::Answered { answer, .. } if *found == key => Some(answer.is_ok()),
                _ => None,
            })
        };
        assert_eq!(
            (answered(keys[0]), answered(keys[1]), answered(keys[2])),
            (Some(false), None, Some(true))
        );
        // The good one's connection comes to rest first.
        while let Some(early) = fleet.deadline().filter(|early| *early < at(10)) {
            fleet.tick(early);
        }
        assert_eq!(fleet.deadline(), Some(at(10)));
        fleet.tick(at(10));
        let late: Vec<_> = std::iter::from_fn(|| fleet.poll_event(at(10))).collect();
        assert!(matches!(
            late[..],
            [
                (
                    _,
                    MemberEvent::Answered {
                        answer: Err(RequestError::Unreachable(Lost::Dial { .. })),
                        ..
                    }
                ),
                (_, MemberEvent::Lost(_)),
            ]
        ));
    }

    #[test]
    fn a_member_leaves_with_its_connection() {
        let mut fleet = Fleet::new(Mode::Once, [1; 32]);
        let key = fleet.add(Arc::new(agent(1)), at(0)).expect("room");
        let mut member = fleet.take(key).expect("alive");
        assert!(fleet.member(key).is_none());
        member.connected(at(0), [2; 32]);
        pump(at(0), &mut member, &mut Peer::new(1));
        assert!(matches!(member.poll_event(at(0)), Some(MemberEvent::Ready)));
    }
}
