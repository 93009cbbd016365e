//! Asks agents for their sessions: one connection to each, kept up, none waiting for another.
//!
//! Events are for speed, `list` is the truth: it is asked for whenever a connection comes up and
//! whenever the hub doubts what it knows. An answer during which the agent has told events may be
//! older than these, so it is dropped and asked for again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Owner, Registry};
use crate::base::slots::Key;
use crate::base::time::{Mono, Now};
use crate::base::unreached::Unreached;
use crate::fleet::connection::{Mode, StreamAction};
use crate::fleet::fleet::{Fleet, FleetRequestId};
use crate::fleet::listing::AgentSessions;
use crate::fleet::member::MemberEvent;
use crate::fleet::registry::{KnownAgent, Registry as Known};
use crate::io::dial::{self, Dialler};
use crate::io::entropy;
use crate::io::reactor::Ready;
use crate::io::wire::{Dialled, Flow, Wire};
use crate::limits::{LIST_RETRY, LIST_SETTLE, REDIAL_CAP, RPC_ANSWER_TIMEOUT};
use crate::rpc::agent_id::AgentId;
use crate::rpc::call::Call;
use crate::rpc::session::Session;
use crate::status::hub::Hub;
use crate::status::known::Position;

/// The connections, and who is to be asked.
pub(super) struct Asks {
    fleet: Fleet,
    members: BTreeMap<AgentId, Key>,
    /// Streams of members, or attempts at one, with the key that each is watched under.
    lines: BTreeMap<Key, Line>,
    /// What was asked, and where the agent's events were then.
    open: BTreeMap<FleetRequestId, (AgentId, Option<Position>)>,
    /// Who is to be asked, and when.
    due: BTreeMap<AgentId, Mono>,
    dialler: Dialler,
}

struct Line {
    token: Key,
    wire: Option<Wire>,
}

impl Asks {
    /// Knows nobody yet. `wakes` is the key of the reactor's waker.
    pub(super) fn new(wakes: Key) -> Asks {
        Asks {
            fleet: Fleet::new(Mode::Persistent(REDIAL_CAP), entropy::seed()),
            members: BTreeMap::new(),
            lines: BTreeMap::new(),
            open: BTreeMap::new(),
            due: BTreeMap::new(),
            dialler: Dialler::new(wakes),
        }
    }

    /// These agents are known from now on, and no others.
    pub(super) fn enrol(&mut self, registry: &mut Registry, known: &Known, now: Mono) {
        let ids: BTreeSet<&AgentId> = known.agents.iter().map(|agent| &agent.id).collect();
        let is_old = |(id, key): (&AgentId, &Key)| {
            let had = self.fleet.member(*key).map(|member| member.agent());
            let agent = known.agents.iter().find(|agent| agent.id == *id);
            let stays = agent.zip(had).is_some_and(|(agent, had)| is_same(agent, had));
            (!stays || !ids.contains(id)).then(|| id.clone())
        };
        let old: Vec<AgentId> = self.members.iter().filter_map(is_old).collect();
        for id in old {
            self.forget(registry, &id);
        }
        for agent in &known.agents {
            if !self.members.contains_key(&agent.id)
                && let Some(key) = self.fleet.add(Arc::new(agent.clone()), now)
            {
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
        if let Some(member) = member.and_then(|key| self.fleet.member_mut(key)) {
            member.reconnect_now(now);
        }
    }

    /// Something happened with the connection of a member.
    pub(super) fn ready(&mut self, registry: &mut Registry, now: Mono, member: Key, ready: Ready) {
        let Some(line) = self.lines.get_mut(&member) else { return };
        let (token, Some(wire)) = (line.token, &mut line.wire) else { return };
        if token != ready.key {
            return;
        }
        match wire.note(ready) {
            Dialled::Unchanged => {}
            Dialled::Open => {
                if let Some(member) = self.fleet.member_mut(member) {
                    member.connected(now, entropy::seed());
                }
            }
            Dialled::Failed(error, rest) => {
                let next = match rest.is_empty() {
                    true => Err(error.into()),
                    false => dial::connect(&registry.reactor, token, rest).map(Some),
                };
                self.placed(registry, now, member, next);
            }
        }
    }

    /// Names have been looked up.
    pub(super) fn collect(&mut self, registry: &mut Registry, now: Mono) {
        while let Some((token, wire)) = self.dialler.next_found(&registry.reactor) {
            let line = self.lines.iter().find(|(_, line)| line.token == token);
            if let Some(member) = line.map(|(member, _)| *member) {
                self.placed(registry, now, member, wire.map(Some));
            }
        }
    }

    /// Does what can be done, and hands answers to the hub. Whether there is more at once.
    pub(super) fn turn(&mut self, registry: &mut Registry, now: Now, hub: &mut Hub) -> bool {
        self.ask(now.mono, hub);
        let more = self.pump(registry, now.mono);
        while let Some((member, event)) = self.fleet.poll_event(now.mono) {
            match event {
                MemberEvent::Answered { request, answer } => {
                    let id = FleetRequestId { member, request };
                    let Some((agent, asked_at)) = self.open.remove(&id) else { continue };
                    let told = hub.agent(agent.as_str()).and_then(|it| it.position.clone());
                    match answer.map_err(|error| error.to_string()).and_then(sessions) {
                        Ok(sessions) if told == asked_at => {
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
        self.follow(registry, now.mono);
        more
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.due.values().copied().chain(self.fleet.deadline()).min()
    }

    pub(super) fn tick(&mut self, now: Mono) {
        self.fleet.tick(now);
    }

    /// Asks everyone whose time has come and who is not being asked already.
    fn ask(&mut self, now: Mono, hub: &Hub) {
        let is_asked = |id: &AgentId| self.open.values().any(|(open, _)| open == id);
        let late = self.due.iter().filter(|(id, at)| **at <= now && !is_asked(id));
        let late: Vec<AgentId> = late.map(|(id, _)| id.clone()).collect();
        for id in late {
            self.due.remove(&id);
            let Some(key) = self.members.get(&id) else { continue };
            match self.fleet.request(*key, &Call::List, now + RPC_ANSWER_TIMEOUT) {
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

    fn follow(&mut self, registry: &mut Registry, now: Mono) {
        while let Some((member, action)) = self.fleet.poll_action() {
            self.drop_line(registry, member);
            if action == StreamAction::Dial {
                self.dial(registry, now, member);
            }
        }
    }

    fn dial(&mut self, registry: &mut Registry, now: Mono, member: Key) {
        let Some(found) = self.fleet.member(member) else { return };
        let address = found.agent().address.clone();
        let wire = match registry.reserve(Owner::Member(member)) {
            Err(error) => Err(Unreached::Refused(error.to_string())),
            Ok(token) => {
                self.lines.insert(member, Line { token, wire: None });
                self.dialler.dial(&mut registry.reactor, token, &address)
            }
        };
        self.placed(registry, now, member, wire);
    }

    fn placed(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        member: Key,
        found: Result<Option<Wire>, Unreached>,
    ) {
        let Some(dialled) = self.fleet.member_mut(member) else { return };
        match found {
            Ok(wire) => {
                if wire.is_some() {
                    dialled.connects_started(now);
                }
                if let Some(line) = self.lines.get_mut(&member) {
                    line.wire = wire;
                }
            }
            Err(why) => {
                dialled.dial_failed(now, &why);
                self.drop_line(registry, member);
            }
        }
    }

    fn pump(&mut self, registry: &mut Registry, now: Mono) -> bool {
        let (mut more, mut over) = (false, Vec::new());
        for (key, line) in &mut self.lines {
            let (Some(wire), Some(member)) = (&mut line.wire, self.fleet.member_mut(*key)) else {
                continue;
            };
            match wire.pump(now, member) {
                Flow::Again => more = true,
                Flow::Wait => {}
                Flow::Over => over.push(*key),
            }
        }
        for key in over {
            self.drop_line(registry, key);
        }
        more
    }

    fn drop_line(&mut self, registry: &mut Registry, member: Key) {
        if let Some(line) = self.lines.remove(&member) {
            registry.release(line.token);
        }
    }

    fn forget(&mut self, registry: &mut Registry, id: &AgentId) {
        if let Some(key) = self.members.remove(id) {
            self.drop_line(registry, key);
            self.fleet.take(key);
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
