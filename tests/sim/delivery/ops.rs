//! Operators who call ops, over the real fleet and the real SSH at both ends; and the hub's own
//! asking for lists, which goes the same way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use convocate::agent::peer::{Peer, PeerEvent, SUBSYSTEMS};
use convocate::base::address::Address;
use convocate::base::endpoint::Endpoint;
use convocate::base::slots::Key;
use convocate::base::time::Mono;
use convocate::base::unreached::Unreached;
use convocate::base::uuid::Uuid;
use convocate::fleet::connection::{ConnectionStatus, Mode, StreamAction};
use convocate::fleet::fleet::{Fleet, FleetRequestId};
use convocate::fleet::listing::AgentSessions;
use convocate::fleet::member::{MemberEvent, RequestError};
use convocate::fleet::registry::{AgentId, KnownAgent};
use convocate::limits::{LIST_RETRY, LIST_SETTLE, REDIAL_CAP, RPC_ANSWER_TIMEOUT};
use convocate::paths::Paths;
use convocate::rpc::SSH_USER;
use convocate::rpc::call::Call;
use convocate::ssh::keys::KeyPair;
use convocate::ssh::{ClientConfig, ServerConfig, Tuning};
use convocate::status::known::Position;
use serde_json::{Value, json};

use super::yard::Yard;
use super::{EventRow, KEEPALIVE_TIMEOUT, World};

/// The operators' side, and what is between them and the agents.
pub(super) struct Ops {
    fleet: Fleet,
    members: Vec<Key>,
    pub(super) links: BTreeMap<u64, Link>,
    next_link: u64,
    open: BTreeMap<FleetRequestId, Purpose>,
    /// Agents that the hub wants to have asked, and when.
    due: BTreeMap<usize, Mono>,
    tick_at: Mono,
}

/// A connection of an operator's to an agent.
pub(super) struct Link {
    agent: usize,
    pub(super) peer: Peer,
    is_stalled: bool,
    up_scheduled: bool,
    down_scheduled: bool,
}

/// Who asked.
enum Purpose {
    Operator,
    /// The hub of this life, when it had this of the agent.
    Hub(u64, Option<Position>),
}

fn host_key(agent: usize) -> KeyPair {
    KeyPair::from_seed([1 + u8::try_from(agent).unwrap(); 32])
}

fn known(agent: usize) -> KnownAgent {
    let name = format!("abcdefghjkm{}", agent + 2);
    let config = ClientConfig {
        user: SSH_USER.to_owned(),
        key: KeyPair::from_seed([100; 32]),
        host_key: *host_key(agent).public(),
        tuning: Tuning::default(),
    };
    KnownAgent {
        id: AgentId::parse(&name).unwrap(),
        address: Address::from(SocketAddr::from(([10, 0, 0, 1], 222))),
        config: Arc::new(config),
        entry: Paths::below("/r").agent_entry(&name),
    }
}

impl Ops {
    pub(super) fn new(agents: usize, seed: [u8; 32], now: Mono) -> Ops {
        let mut fleet = Fleet::new(Mode::Persistent(REDIAL_CAP), seed);
        let members =
            (0..agents).map(|agent| fleet.add(Arc::new(known(agent)), now).unwrap()).collect();
        Ops {
            fleet,
            members,
            links: BTreeMap::new(),
            next_link: 1,
            open: BTreeMap::new(),
            due: BTreeMap::new(),
            tick_at: Mono::from_nanos(u64::MAX),
        }
    }
}

impl World {
    // --- asking ---

    /// An operator does something.
    pub(super) fn operate(&mut self) {
        let agent = self.dice.index(self.hosts.len());
        if self.dice.percent(10) {
            self.end_some_session(agent);
        }
        if let Some(line) = self.some_call(agent) {
            let call = Call::parse(line.as_bytes()).unwrap();
            self.request(agent, &call, Purpose::Operator);
        }
        if self.faulty {
            let every = self.knobs.operate_every;
            let delay = self.dice.between(every / 8, every * 2);
            self.after(delay, EventRow::Operate);
        }
    }

    fn some_call(&mut self, agent: usize) -> Option<String> {
        let yard = self.hosts[agent].yard.as_ref()?;
        let ids: Vec<Uuid> = yard.host.homes.keys().copied().collect();
        let (choice, names) = (self.dice.below(12), ["x", "y", "z", ""]);
        let name = names[self.dice.index(names.len())];
        if choice < 3 || ids.is_empty() {
            let port = [-1, 0, 7][self.dice.index(3)];
            let params = json!({ "name": "n", "dns_name": name, "port": port });
            return Some(json!({ "op": "create", "params": params }).to_string());
        }
        let id = ids[self.dice.index(ids.len())];
        let op =
            ["restart", "restart", "kill", "edit", "delete", "clone", "list", "get", "override"];
        let op = op[usize::try_from(choice - 3).unwrap()];
        let params = match op {
            "list" => Value::Null,
            "edit" => json!({ "id": id, "dns_name": name, "port": -1 }),
            "clone" => json!({ "source_id": id, "name": "c" }),
            _ => json!({ "id": id }),
        };
        Some(json!({ "op": op, "params": params }).to_string())
    }

    fn request(&mut self, agent: usize, call: &Call, purpose: Purpose) {
        let deadline = self.now + RPC_ANSWER_TIMEOUT;
        let member = self.ops.members[agent];
        match self.ops.fleet.request(member, call, deadline) {
            Ok(id) => {
                assert!(self.ops.open.insert(id, purpose).is_none(), "a request's name is used");
                self.figures.calls += 1;
            }
            Err(error) => assert_eq!(error, RequestError::Full),
        }
        self.pump_ops(agent);
    }

    /// The hub doubts what it knows of an agent.
    pub(super) fn want_list(&mut self, id: &str, delay: Duration) {
        let Some(agent) = self.hosts.iter().position(|host| host.id == id) else { return };
        if self.hosts[agent].yard.is_none() || self.ops.due.contains_key(&agent) {
            return;
        }
        self.ops.due.insert(agent, self.now + delay);
        self.after(delay, EventRow::Ask { agent });
    }

    pub(super) fn ask(&mut self, agent: usize) {
        if self.ops.due.remove(&agent).is_none() {
            return;
        }
        let Some(hub) = &self.shell.hub else { return };
        let position = hub.agent(&self.hosts[agent].id).and_then(|it| it.position.clone());
        self.request(agent, &Call::List, Purpose::Hub(self.shell.life, position));
    }

    fn answered(&mut self, agent: usize, id: FleetRequestId, answer: Result<Value, RequestError>) {
        let purpose = self.ops.open.remove(&id).expect("a request is answered once");
        let Purpose::Hub(life, asked_at) = purpose else { return };
        let (now, name) = (self.clock(), self.hosts[agent].id.clone());
        let Some(hub) = self.shell.hub.as_mut().filter(|_| self.shell.life == life) else {
            return;
        };
        let told = hub.agent(&name).and_then(|it| it.position.clone());
        let sessions = answer.ok().and_then(|value| AgentSessions::from_result(value).ok());
        match sessions {
            Some(news) if told == asked_at => {
                hub.listed(now, &name, news.sessions().to_vec());
                self.pump_hub();
            }
            Some(_) => self.want_list(&name, LIST_SETTLE),
            None => self.want_list(&name, LIST_RETRY),
        }
    }

    // --- connections ---

    /// Does what is to be done with an agent's connection until nothing is.
    pub(super) fn pump_ops(&mut self, agent: usize) {
        self.hear_peer(agent);
        let now = self.now;
        while let Some((member, action)) = self.ops.fleet.poll_action() {
            let agent = self.ops.members.iter().position(|key| *key == member).unwrap();
            self.drop_links(agent);
            if action == StreamAction::Dial {
                let delay = self.soon(self.knobs.delay_max);
                self.after(delay, EventRow::OpsDialled { agent });
            }
        }
        while let Some((member, event)) = self.ops.fleet.poll_event(now) {
            let agent = self.ops.members.iter().position(|key| *key == member).unwrap();
            if let MemberEvent::Answered { request, answer } = event {
                self.answered(agent, FleetRequestId { member, request }, answer);
            }
        }
        self.schedule_ops(agent);
        let peers = self.ops.links.values().filter_map(|link| link.peer.deadline()).min();
        let deadline = self.ops.fleet.deadline().into_iter().chain(peers).min();
        if let Some(at) = deadline.filter(|at| *at < self.ops.tick_at) {
            self.ops.tick_at = at;
            self.at(at, EventRow::OpsTick);
        }
    }

    pub(super) fn tick_ops(&mut self) {
        self.ops.tick_at = Mono::from_nanos(u64::MAX);
        self.ops.fleet.tick(self.now);
        for link in self.ops.links.values_mut() {
            link.peer.tick(self.now);
        }
        (0..self.hosts.len()).for_each(|agent| self.pump_ops(agent));
    }

    pub(super) fn ops_dialled(&mut self, agent: usize) {
        let (now, seeds) = (self.now, [self.dice.seed(), self.dice.seed()]);
        let is_there = self.hosts[agent].emitter.is_some();
        let key = self.ops.members[agent];
        let member = self.ops.fleet.member_mut(key).unwrap();
        if member.status() != ConnectionStatus::Dialling {
            return;
        }
        if is_there {
            let host_key = host_key(agent);
            let config =
                ServerConfig { host_key, subsystems: SUBSYSTEMS, tuning: Tuning::default() };
            let peer = Peer::new(Arc::new(config), seeds[0], now);
            member.connected(now, seeds[1]);
            let (is_stalled, up_scheduled, down_scheduled) = (false, false, false);
            let link = Link { agent, peer, is_stalled, up_scheduled, down_scheduled };
            self.ops.links.insert(self.ops.next_link, link);
            self.ops.next_link += 1;
        } else {
            member.dial_failed(now, &Unreached::Refused("connection refused".to_owned()));
        }
        self.pump_ops(agent);
    }

    /// Both ends learn that the connection is gone.
    pub(super) fn reset_ops(&mut self, agent: usize) {
        let now = self.now;
        let key = self.ops.members[agent];
        self.ops.fleet.member_mut(key).unwrap().input_end(now);
        self.drop_links(agent);
        self.pump_ops(agent);
    }

    /// From now on nothing arrives; the keepalives of both ends will find out.
    pub(super) fn stall_ops(&mut self, agent: usize) {
        for link in self.ops.links.values_mut().filter(|link| link.agent == agent) {
            link.is_stalled = true;
        }
    }

    /// The agent is killed: the operator's end is told at once, or finds out by itself.
    pub(super) fn lose_ops(&mut self, agent: usize) {
        self.ops.links.retain(|_, link| link.agent != agent);
        let delay = match self.dice.percent(50) {
            true => self.soon(Duration::from_secs(1)),
            false => KEEPALIVE_TIMEOUT,
        };
        self.after(delay, EventRow::OpsBreak { agent, life: self.hosts[agent].life });
    }

    pub(super) fn break_ops(&mut self, agent: usize, life: u64) {
        let is_open = self.ops.links.values().any(|link| link.agent == agent);
        if self.hosts[agent].life == life && !is_open {
            self.reset_ops(agent);
        }
    }

    /// The agent's ends of an operator's connections are gone.
    fn drop_links(&mut self, agent: usize) {
        let now = self.now;
        for link in self.ops.links.values_mut().filter(|link| link.agent == agent) {
            link.peer.input_end(now);
        }
        self.hear_peer(agent);
    }

    /// What operators say to an agent.
    fn hear_peer(&mut self, agent: usize) {
        let ids: Vec<u64> =
            self.ops.links.iter().filter(|it| it.1.agent == agent).map(|it| *it.0).collect();
        for id in ids {
            while let Some(event) =
                self.ops.links.get_mut(&id).and_then(|link| link.peer.poll_event())
            {
                match event {
                    PeerEvent::KeyOffered { .. } => {
                        self.ops.links.get_mut(&id).unwrap().peer.authorize(true);
                    }
                    PeerEvent::Call { channel, call } => self.in_yard(agent, |yard| {
                        yard.note_order(&call);
                        let caller = yard.host.call(call);
                        yard.callers.insert(caller, (id, channel));
                    }),
                    PeerEvent::ChannelGone { channel } => {
                        self.callers_gone(agent, |at| *at == (id, channel));
                    }
                    PeerEvent::Gone(_) => {
                        self.ops.links.remove(&id);
                        self.callers_gone(agent, |at| at.0 == id);
                    }
                    _ => {}
                }
            }
        }
    }

    fn callers_gone(
        &mut self,
        agent: usize,
        is_gone: impl Fn(&(u64, convocate::ssh::ChannelId)) -> bool,
    ) {
        let Some(yard) = &mut self.hosts[agent].yard else { return };
        let gone: Vec<_> =
            yard.callers.iter().filter(|(_, at)| is_gone(at)).map(|(caller, _)| *caller).collect();
        for caller in gone {
            yard.callers.remove(&caller);
            yard.host.agent.caller_gone(caller);
        }
    }

    // --- bytes ---

    fn schedule_ops(&mut self, agent: usize) {
        let ids: Vec<u64> =
            self.ops.links.iter().filter(|it| it.1.agent == agent).map(|it| *it.0).collect();
        let key = self.ops.members[agent];
        for id in ids {
            let (up, down) = (self.soon(self.knobs.delay_max), self.soon(self.knobs.delay_max));
            let Ops { fleet, links, .. } = &mut self.ops;
            let (member, link) = (fleet.member_mut(key).unwrap(), links.get_mut(&id).unwrap());
            if link.is_stalled {
                continue;
            }
            let goes_up = !link.up_scheduled && !member.output().is_empty();
            let goes_down = !link.down_scheduled && !link.peer.output().is_empty();
            link.up_scheduled |= goes_up;
            link.down_scheduled |= goes_down;
            if goes_up {
                self.after(up, EventRow::OpsUp { agent, link: id });
            }
            if goes_down {
                self.after(down, EventRow::OpsDown { agent, link: id });
            }
        }
    }

    pub(super) fn ops_bytes(&mut self, agent: usize, id: u64, is_up: bool) {
        let (now, key) = (self.now, self.ops.members[agent]);
        let Ops { fleet, links, .. } = &mut self.ops;
        let Some(link) = links.get_mut(&id) else { return };
        let member = fleet.member_mut(key).unwrap();
        match is_up {
            true => link.up_scheduled = false,
            false => link.down_scheduled = false,
        }
        if !link.is_stalled {
            match is_up {
                true => shift(now, member, &mut link.peer),
                false => shift(now, &mut link.peer, member),
            }
        }
        self.pump_ops(agent);
    }

    pub(super) fn ops_are_at_rest(&self) -> bool {
        let yards = self.hosts.iter().filter_map(|host| host.yard.as_ref());
        self.ops.open.is_empty()
            && self.ops.due.is_empty()
            && yards.into_iter().all(Yard::is_at_rest)
    }

    /// At the end: every request was answered, and every slot is free.
    pub(super) fn check_ops(&self) {
        assert!(self.ops.open.is_empty(), "{} requests have no answer", self.ops.open.len());
        for (_, member) in self.ops.fleet.members() {
            assert_eq!(member.requests_open(), 0, "a slot of a request is not free");
        }
    }
}

fn shift<S: Endpoint, T: Endpoint>(now: Mono, source: &mut S, target: &mut T) {
    let space = target.input_space();
    let count = source.output().len().min(space.len());
    if count > 0 {
        space[..count].copy_from_slice(&source.output()[..count]);
        source.output_sent(count);
        target.input(now, count);
    }
}
