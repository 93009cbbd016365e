//! Asks agents for their sessions: one connection to each, kept up, none waiting for another.
//!
//! Events are for speed, `list` is the truth: it is asked for whenever a connection comes up and
//! whenever the hub doubts what it knows. An answer during which the agent has told events may be
//! older than these, so it is dropped and asked for again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Owner, Registry};
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::{Mono, Now};
use crate::fleet::connection::Mode;
use crate::fleet::driver::FleetDriver;
use crate::fleet::fleet::FleetRequestId;
use crate::fleet::listing::AgentSessions;
use crate::fleet::member::MemberEvent;
use crate::fleet::registry::{KnownAgent, Registry as Known};
use crate::io::reactor::Ready;
use crate::limits::{LIST_RETRY, LIST_SETTLE, REDIAL_CAP, RPC_ANSWER_TIMEOUT};
use crate::rpc::agent_id::AgentId;
use crate::rpc::call::Call;
use crate::rpc::session::Session;
use crate::status::hub::Hub;
use crate::status::known::Position;

/// The connections, and who is to be asked.
pub(super) struct Surveys {
    driver: FleetDriver,
    members: SortedMap<AgentId, Key>,
    /// What was asked, and where the agent's events were then.
    open: SortedMap<FleetRequestId, (AgentId, Option<Position>)>,
    /// Who is to be asked, and when.
    due: SortedMap<AgentId, Mono>,
}

impl Surveys {
    /// Knows nobody yet. `wakes` is the key of the reactor's waker.
    pub(super) fn new(wakes: Key) -> Surveys {
        Surveys {
            driver: FleetDriver::new(Mode::Persistent(REDIAL_CAP), wakes),
            members: SortedMap::new(),
            open: SortedMap::new(),
            due: SortedMap::new(),
        }
    }

    /// These agents are known from now on, and no others.
    pub(super) fn enrol(&mut self, registry: &mut Registry, known: &Known, now: Mono) {
        let ids: BTreeSet<&AgentId> = known.agents.iter().map(|agent| &agent.id).collect();
        let is_old = |(id, key): (&AgentId, &Key)| {
            let had = self.driver.fleet.member(*key).map(|member| member.agent());
            let agent = known.agents.iter().find(|agent| agent.id == *id);
            let stays = agent.zip(had).is_some_and(|(agent, had)| is_same(agent, had));
            (!stays || !ids.contains(id)).then(|| id.clone())
        };
        let old: Vec<AgentId> = self.members.iter().filter_map(is_old).collect();
        for id in old {
            self.forget(registry, &id);
        }
        for agent in &known.agents {
            if self.members.contains_key(&agent.id) {
                continue;
            }
            let watched = |member| registry.reserve(Owner::Member(member)).ok();
            if let Some(key) = self.driver.add(Arc::new(agent.clone()), now, watched) {
                self.members.insert(agent.id.clone(), key);
            }
        }
    }

    /// Whether this agent can be asked.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.members.keys().any(|known| known.as_str() == id)
    }

    /// The hub wants to know what this agent has.
    pub(super) fn want(&mut self, id: &str, now: Mono) {
        if let Some(id) = self.members.keys().find(|known| known.as_str() == id) {
            self.due.insert(id.clone(), now);
        }
    }

    /// This agent has just come to us, so it can be reached.
    pub(super) fn reconnect_now(&mut self, id: &AgentId, now: Mono) {
        let member = self.members.get(id).copied();
        if let Some(member) = member.and_then(|key| self.driver.fleet.member_mut(key)) {
            member.reconnect_now(now);
        }
    }

    /// Something happened with the connection of a member.
    pub(super) fn ready(&mut self, registry: &Registry, now: Mono, member: Key, ready: Ready) {
        self.driver.ready(&registry.reactor, now, member, ready);
    }

    /// Names have been looked up.
    pub(super) fn collect(&mut self, registry: &Registry, now: Mono) {
        self.driver.collect(&registry.reactor, now);
    }

    /// Does what can be done, and hands answers to the hub. Whether there is more at once.
    pub(super) fn turn(&mut self, registry: &mut Registry, now: Now, hub: &mut Hub) -> bool {
        self.ask(now.mono, hub);
        let is_more = self.driver.pump(now.mono);
        while let Some((member, event)) = self.driver.fleet.poll_event(now.mono) {
            match event {
                MemberEvent::Answered { request, answer } => {
                    let id = FleetRequestId { member, request };
                    let Some((agent, asked_at)) = self.open.remove(&id) else { continue };
                    let position = hub.agent(agent.as_str()).and_then(|it| it.position.clone());
                    match answer.map_err(|error| error.to_string()).and_then(sessions) {
                        Ok(sessions) if position == asked_at => {
                            hub.listed(now, agent.as_str(), sessions);
                        }
                        Ok(_) => {
                            self.due.insert(agent, now.mono + LIST_SETTLE);
                        }
                        Err(_) => {
                            self.due.insert(agent, now.mono + LIST_RETRY);
                        }
                    }
                }
                MemberEvent::Ready => {
                    let found = self.members.iter().find(|(_, key)| **key == member);
                    self.due.extend(found.map(|(id, _)| (id.clone(), now.mono)));
                }
                MemberEvent::Lost(_) | MemberEvent::Channel(_) => {}
            }
        }
        self.driver.follow(&mut registry.reactor, now.mono);
        is_more
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.due.values().copied().chain(self.driver.fleet.deadline()).min()
    }

    pub(super) fn tick(&mut self, now: Mono) {
        self.driver.fleet.tick(now);
    }

    /// Asks everyone whose time has come and who is not being asked already.
    fn ask(&mut self, now: Mono, hub: &Hub) {
        let is_asked = |id: &AgentId| self.open.values().any(|(open, _)| open == id);
        let late = self.due.iter().filter(|(id, at)| **at <= now && !is_asked(id));
        let late: Vec<AgentId> = late.map(|(id, _)| id.clone()).collect();
        for id in late {
            self.due.remove(&id);
            let Some(key) = self.members.get(&id) else { continue };
            match self.driver.fleet.request(*key, &Call::List, now + RPC_ANSWER_TIMEOUT) {
                Ok(request) => {
                    let position = hub.agent(id.as_str()).and_then(|it| it.position.clone());
                    self.open.insert(request, (id, position));
                }
                Err(_) => {
                    self.due.insert(id, now + LIST_RETRY);
                }
            }
        }
    }

    fn forget(&mut self, registry: &mut Registry, id: &AgentId) {
        if let Some(key) = self.members.remove(id) {
            if let Some((_, outbound)) = self.driver.take(key) {
                registry.release(outbound.key());
            }
            self.open.retain(|request, _| request.member != key);
            self.due.remove(id);
        }
    }
}

fn is_same(one: &KnownAgent, other: &KnownAgent) -> bool {
    one.address == other.address
        && one.config.host_key == other.config.host_key
        && one.config.key.public() == other.config.key.public()
}

fn sessions(result: serde_json::Value) -> Result<Vec<Session>, String> {
    AgentSessions::from_result(result).map(|news| news.sessions().to_vec())
}
