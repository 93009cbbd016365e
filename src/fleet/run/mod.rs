//! Drives the fleet for one call of the command line, and a terminal after it.
//!
//! A verb asks some or all agents at once and has every answer, or the sentence in its place, when
//! the slowest is in or the time is up. Connections stay for the verb's next question.

mod load;
pub(crate) mod profiles;
mod steady;
mod terminal;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::{Mono, Wall};
use crate::fleet::attach::AttachEnd;
use crate::fleet::connection::{ConnectionStatus, Mode};
use crate::fleet::driver::FleetDriver;
use crate::fleet::fleet::FleetRequestId;
use crate::fleet::member::{MemberEvent, RequestError};
use crate::fleet::registry::{AgentId, KnownAgent, Registry};
use crate::io::clock::Clock;
use crate::io::reactor::{Reactor, Ready};
use crate::limits::RPC_ANSWER_TIMEOUT;
use crate::paths::Paths;
use crate::rpc::attach::AttachHeader;
use crate::rpc::call::Call;
use crate::terminal::filter::Clipboard;
use terminal::Net;

pub(crate) use load::{load, local_homes};
pub(crate) use terminal::Screen;

/// What the reactor reports when a name was looked up. A member's streams are watched under its own
/// key, which is lower.
const RESOLVER: Key = Key::from_bits(u64::MAX);

/// One agent's part of a survey.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) agent: Arc<KnownAgent>,
    /// What it answered to each call, in their order.
    pub(crate) answers: Vec<Result<Value, RequestError>>,
    /// How long its last answer took, from when it could be asked.
    pub(crate) took: Duration,
    /// When that came, by this host's calendar.
    pub(crate) answered_at: Wall,
}

/// The fleet of one call of the command line.
pub(crate) struct Runner {
    registry: Registry,
    clock: Clock,
    reactor: Reactor,
    driver: FleetDriver,
    members: SortedMap<AgentId, Key>,
    ready_since: SortedMap<Key, Mono>,
    events: Vec<Ready>,
    /// Answers that nobody has taken yet.
    replies: VecDeque<(FleetRequestId, Result<Value, RequestError>)>,
}

impl Runner {
    /// Reads the registry and dials nobody yet.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn open(paths: &Paths) -> Result<Runner, String> {
        Ok(Runner {
            registry: load(paths)?,
            clock: Clock::new(),
            reactor: Reactor::new().map_err(|error| format!("cannot wait for events: {error}"))?,
            driver: FleetDriver::new(Mode::Once, RESOLVER),
            members: SortedMap::new(),
            ready_since: SortedMap::new(),
            events: Vec::new(),
            replies: VecDeque::new(),
        })
    }

    /// The agents that are known, and what is wrong with the others.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn wall(&self) -> Wall {
        self.clock.wall()
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
        let start = self.clock.mono();
        let mut survey = Survey::default();
        for id in agents {
            let member = self.member(id)?;
            let agent = self.agent(member);
            let deadline = start + patience(id);
            let first = survey.replies.len();
            let (took, answered_at) = (Duration::ZERO, Wall::default());
            let mut reply = Reply { agent, answers: Vec::new(), took, answered_at };
            for (place, call) in calls.iter().enumerate() {
                reply.answers.push(Err(RequestError::TimedOut));
                match self.driver.fleet.request(member, call, deadline) {
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
            reply.answered_at = self.clock.wall();
            reply.took = asked.map_or(Duration::ZERO, |since| self.clock.mono().since(since));
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
        let answer = self.ask_within(agent, call, RPC_ANSWER_TIMEOUT)?;
        answer.map_err(|error| error.to_string())
    }

    /// Asks one agent and waits for its answer, `patience` at most.
    ///
    /// # Errors
    /// Only what makes any asking impossible: one sentence.
    pub(crate) fn ask_within(
        &mut self,
        agent: &AgentId,
        call: &Call,
        patience: Duration,
    ) -> Result<Result<Value, RequestError>, String> {
        self.ask_slowly(agent, call, patience, (patience, &mut || {}))
    }

    /// The same of a call that may take long: after `told.0` without an answer, `told.1` says so.
    ///
    /// # Errors
    /// Only what makes any asking impossible: one sentence.
    pub(crate) fn ask_slowly(
        &mut self,
        agent: &AgentId,
        call: &Call,
        patience: Duration,
        told: (Duration, &mut dyn FnMut()),
    ) -> Result<Result<Value, RequestError>, String> {
        let begun = self.clock.mono();
        let member = self.member(agent)?;
        let asked = match self.driver.fleet.request(member, call, begun + patience) {
            Ok(asked) => asked,
            Err(error) => return Ok(Err(error)),
        };
        let (span, tell) = told;
        let mut tell_at = Some(begun + span);
        loop {
            if let Some((request, answer)) = self.poll_reply() {
                if request == asked {
                    return Ok(answer);
                }
                continue;
            }
            if tell_at.is_some_and(|at| at <= self.clock.mono()) {
                tell_at = None;
                tell();
            }
            let turned = self.turn_until(tell_at, &mut Vec::new());
            turned.map_err(|error| format!("cannot wait for events: {error}"))?;
        }
    }

    /// Lets time pass, and keeps the connections alive meanwhile.
    pub(crate) fn pause(&mut self, span: Duration) {
        let until = self.clock.mono() + span;
        while self.clock.mono() < until {
            // What fails here fails in the next question, which says so.
            if self.turn_until(Some(until), &mut Vec::new()).is_err() {
                return;
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
        clipboard: Clipboard,
    ) -> Result<AttachEnd, String> {
        let key = self.member(agent)?;
        // The others' connections end here: nobody would answer on them while the terminal is
        // there.
        let (member, outbound, dialler) =
            self.driver.take_only(key).expect("its key was just looked up");
        let net = Net { clock: self.clock, reactor: self.reactor, dialler, outbound };
        screen.run(net, member, header, clipboard)
    }

    /// The member of a known agent, dialled if it is not yet. One that was lost is dialled again.
    fn member(&mut self, id: &AgentId) -> Result<Key, String> {
        if let Some(key) = self.members.get(id) {
            let member = self.driver.fleet.member(*key);
            if member.is_some_and(|member| member.status() != ConnectionStatus::Over) {
                return Ok(*key);
            }
            self.driver.take(*key);
        }
        let agent = self.registry.find(id.as_str())?.clone();
        let now = self.clock.mono();
        let key = self.driver.add(Arc::new(agent), now, Some).ok_or("too many agents")?;
        self.members.insert(id.clone(), key);
        Ok(key)
    }

    fn agent(&self, member: Key) -> Arc<KnownAgent> {
        let member = self.driver.fleet.member(member).expect("members leave only by attach");
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
        while let Some((member, event)) = self.driver.fleet.poll_event(self.clock.mono()) {
            match event {
                MemberEvent::Answered { request, answer } => {
                    return Some((FleetRequestId { member, request }, answer));
                }
                MemberEvent::Ready => {
                    self.ready_since.insert(member, self.clock.mono());
                }
                MemberEvent::Lost(_) | MemberEvent::Channel(_) => {}
            }
        }
        None
    }

    /// One turn: dial, move bytes, wait until `until` at most, take note. What is ready and no
    /// member's goes to `own`.
    fn turn_until(&mut self, until: Option<Mono>, own: &mut Vec<Ready>) -> io::Result<()> {
        let Runner { clock, reactor, driver, .. } = self;
        driver.follow(reactor, clock.mono());
        let is_more = driver.pump(clock.mono());
        let deadline = driver.fleet.deadline().into_iter().chain(until).min();
        let is_more = is_more || deadline.is_some_and(|at| at <= clock.mono());
        reactor.turn(clock, deadline, is_more, &mut self.events)?;
        let now = clock.mono();
        for ready in self.events.drain(..) {
            match driver.is_member(ready.key) {
                true => driver.ready(reactor, now, ready.key, ready),
                false => own.push(ready),
            }
        }
        driver.collect(reactor, now);
        driver.pump(now);
        driver.fleet.tick(clock.mono());
        Ok(())
    }
}

#[derive(Default)]
struct Survey {
    replies: Vec<Reply>,
    /// Which reply and which of its answers a request is for.
    open: SortedMap<FleetRequestId, (usize, usize)>,
}
