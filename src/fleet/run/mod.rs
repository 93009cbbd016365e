//! Drives the fleet for one call of the command line, and a terminal after it.
//!
//! A verb asks some or all agents at once and has every answer, or the sentence in its place, when
//! the slowest is in or the time is up. Connections stay for the verb's next question.

mod load;
mod net;
mod steady;
mod terminal;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::base::slots::Key;
use crate::base::time::{Mono, Wall};
use crate::base::unreached::Unreached;
use crate::fleet::attach::AttachEnd;
use crate::fleet::connection::{ConnectionStatus, Mode, StreamAction};
use crate::fleet::fleet::{Fleet, FleetRequestId};
use crate::fleet::member::{MemberEvent, RequestError};
use crate::fleet::registry::{AgentId, KnownAgent, Registry};
use crate::io::entropy;
use crate::io::reactor::Ready;
use crate::io::wire::{Dialled, Flow, Wire};
use crate::limits::RPC_ANSWER_TIMEOUT;
use crate::paths::Paths;
use crate::rpc::attach::AttachHeader;
use crate::rpc::call::Call;
use net::Net;

pub(crate) use load::{load, local_homes};
pub(crate) use terminal::Screen;

/// One agent's part of a survey.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) agent: Arc<KnownAgent>,
    /// What it answered to each call, in their order.
    pub(crate) answers: Vec<Result<Value, RequestError>>,
    /// How long its last answer took, from when it could be asked.
    pub(crate) took: Duration,
}

/// The fleet of one call of the command line.
pub(crate) struct Runner {
    registry: Registry,
    net: Net,
    fleet: Fleet,
    members: BTreeMap<AgentId, Key>,
    wires: BTreeMap<Key, Wire>,
    ready_since: BTreeMap<Key, Mono>,
    events: Vec<Ready>,
    /// Answers that nobody has taken yet.
    replies: VecDeque<(FleetRequestId, Result<Value, RequestError>)>,
    /// Whether a wire could go on at once.
    has_more: bool,
}

impl Runner {
    /// Reads the registry and dials nobody yet.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn open(paths: &Paths) -> Result<Runner, String> {
        Ok(Runner {
            registry: load(paths)?,
            net: Net::new().map_err(|error| format!("cannot wait for events: {error}"))?,
            fleet: Fleet::new(Mode::Once, entropy::seed()),
            members: BTreeMap::new(),
            wires: BTreeMap::new(),
            ready_since: BTreeMap::new(),
            events: Vec::new(),
            replies: VecDeque::new(),
            has_more: false,
        })
    }

    /// The agents that are known, and what is wrong with the others.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn wall(&self) -> Wall {
        self.net.clock.wall()
    }

    /// Asks these agents all of `calls` at once. Ends when each has answered or its time is up
    /// (`patience` says how long), or when `is_enough` says so of one of the replies; those that
    /// have not answered have errors.
    ///
    /// # Errors
    /// Only what makes any asking impossible: one sentence.
    pub(crate) fn survey(
        &mut self,
        agents: &[AgentId],
        calls: &[Call],
        patience: impl Fn(&AgentId) -> Duration,
        mut is_enough: impl FnMut(&Reply) -> bool,
    ) -> Result<Vec<Reply>, String> {
        let start = self.net.clock.mono();
        let mut survey = Survey::default();
        for id in agents {
            let member = self.member(id)?;
            let agent = self.agent(member);
            let deadline = start + patience(id);
            let first = survey.replies.len();
            let mut reply = Reply { agent, answers: Vec::new(), took: Duration::ZERO };
            for (place, call) in calls.iter().enumerate() {
                reply.answers.push(Err(RequestError::TimedOut));
                match self.fleet.request(member, call, deadline) {
                    Ok(request) => {
                        survey.open.insert(request, (first, place));
                    }
                    Err(error) => reply.answers[place] = Err(error),
                }
            }
            survey.replies.push(reply);
        }
        while !survey.open.is_empty() {
            let (request, answer) = self.next_answer()?;
            let Some((at, place)) = survey.open.remove(&request) else { continue };
            let asked = self.ready_since.get(&request.member).copied();
            let reply = &mut survey.replies[at];
            reply.answers[place] = answer;
            reply.took = asked.map_or(Duration::ZERO, |since| self.net.clock.mono().since(since));
            let is_whole = survey.open.values().all(|(open, _)| *open != at);
            if is_whole && is_enough(&survey.replies[at]) {
                break;
            }
        }
        Ok(survey.replies)
    }

    /// Asks one agent and waits for its answer, [`RPC_ANSWER_TIMEOUT`] at most.
    ///
    /// # Errors
    /// The agent's own words, or why there are none.
    pub(crate) fn ask(&mut self, agent: &AgentId, call: &Call) -> Result<Value, String> {
        let deadline = self.net.clock.mono() + RPC_ANSWER_TIMEOUT;
        let member = self.member(agent)?;
        let asked =
            self.fleet.request(member, call, deadline).map_err(|error| error.to_string())?;
        loop {
            let (request, answer) = self.next_answer()?;
            if request == asked {
                return answer.map_err(|error| error.to_string());
            }
        }
    }

    /// Gives a session's terminal to `screen`, over the connection that is there already or a new
    /// one, and says how it ended.
    ///
    /// # Errors
    /// The screen or the loop failed: one sentence.
    pub(crate) fn attach(
        mut self,
        agent: &AgentId,
        header: AttachHeader,
        screen: Screen,
    ) -> Result<AttachEnd, String> {
        let key = self.member(agent)?;
        let member = self.fleet.take(key).expect("its key was just looked up");
        let wire = self.wires.remove(&key);
        // Nobody would answer on the others' while the terminal is there.
        self.wires.clear();
        screen.run(self.net, key, member, wire, header)
    }

    /// The member of a known agent, dialled if it is not yet. One that was lost is dialled again.
    fn member(&mut self, id: &AgentId) -> Result<Key, String> {
        if let Some(key) = self.members.get(id) {
            let lost =
                self.fleet.member(*key).is_none_or(|it| it.status() == ConnectionStatus::Over);
            if !lost {
                return Ok(*key);
            }
            self.wires.remove(key);
            self.fleet.take(*key);
        }
        let agent = self.registry.find(id.as_str())?.clone();
        let now = self.net.clock.mono();
        let key = self.fleet.add(Arc::new(agent), now).ok_or("too many agents")?;
        self.members.insert(id.clone(), key);
        Ok(key)
    }

    fn agent(&self, member: Key) -> Arc<KnownAgent> {
        let member = self.fleet.member(member).expect("members leave only by attach");
        Arc::clone(member.agent())
    }

    /// Turns the loop until a request is answered. There must be one.
    fn next_answer(&mut self) -> Result<(FleetRequestId, Result<Value, RequestError>), String> {
        loop {
            if let Some(reply) = self.poll_reply() {
                return Ok(reply);
            }
            let turned = self.turn_until(None, &mut Vec::new());
            turned.map_err(|error| format!("cannot wait for events: {error}"))?;
        }
    }

    /// The next answer that members have to tell.
    fn poll_reply(&mut self) -> Option<(FleetRequestId, Result<Value, RequestError>)> {
        while let Some((member, event)) = self.fleet.poll_event(self.net.clock.mono()) {
            match event {
                MemberEvent::Answered { request, answer } => {
                    return Some((FleetRequestId { member, request }, answer));
                }
                MemberEvent::Ready => {
                    self.ready_since.insert(member, self.net.clock.mono());
                }
                MemberEvent::Lost(_) | MemberEvent::Channel(_) => {}
            }
        }
        None
    }

    /// One turn: dial, move bytes, wait until `until` at most, take note. What is ready and no
    /// wire's goes to `own`.
    fn turn_until(&mut self, until: Option<Mono>, own: &mut Vec<Ready>) -> io::Result<()> {
        while let Some((key, action)) = self.fleet.poll_action() {
            self.wires.remove(&key);
            if action == StreamAction::Dial {
                self.dial(key);
            }
        }
        self.pump();
        let deadline = self.fleet.deadline().into_iter().chain(until).min();
        let has_more = self.has_more || deadline.is_some_and(|at| at <= self.net.clock.mono());
        self.net.wait(deadline, has_more, &mut self.events)?;
        for ready in std::mem::take(&mut self.events) {
            match self.wires.contains_key(&ready.key) {
                true => self.note(ready),
                false => own.push(ready),
            }
        }
        while let Some((key, wire)) = self.net.next_found() {
            self.placed(key, wire.map(Some));
        }
        self.pump();
        self.fleet.tick(self.net.clock.mono());
        Ok(())
    }

    fn dial(&mut self, key: Key) {
        let address = self.agent(key).address.clone();
        let wire = self.net.dial(key, &address);
        self.placed(key, wire);
    }

    fn placed(&mut self, key: Key, wire: Result<Option<Wire>, Unreached>) {
        let now = self.net.clock.mono();
        let Some(member) = self.fleet.member_mut(key) else { return };
        match wire {
            Ok(Some(wire)) => {
                member.connects_started(now);
                self.wires.insert(key, wire);
            }
            Ok(None) => {}
            Err(why) => member.dial_failed(now, &why),
        }
    }

    fn note(&mut self, ready: Ready) {
        let Some(wire) = self.wires.get_mut(&ready.key) else { return };
        match wire.note(ready) {
            Dialled::Unchanged => {}
            Dialled::Open => {
                if let Some(member) = self.fleet.member_mut(ready.key) {
                    member.connected(self.net.clock.mono(), entropy::seed());
                }
            }
            Dialled::Failed(error, rest) => {
                self.wires.remove(&ready.key);
                let next = match rest.is_empty() {
                    true => Err(error.into()),
                    false => self.net.connect(ready.key, rest).map(Some),
                };
                self.placed(ready.key, next);
            }
        }
    }

    fn pump(&mut self) {
        let now = self.net.clock.mono();
        self.has_more = false;
        let (fleet, has_more) = (&mut self.fleet, &mut self.has_more);
        self.wires.retain(|key, wire| {
            let Some(member) = fleet.member_mut(*key) else { return false };
            let flow = wire.pump(now, member);
            *has_more |= flow == Flow::Again;
            flow != Flow::Over
        });
    }
}

#[derive(Default)]
struct Survey {
    replies: Vec<Reply>,
    /// Which reply and which of its answers a request is for.
    open: BTreeMap<FleetRequestId, (usize, usize)>,
}
