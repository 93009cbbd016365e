//! The Docker Engine's driver: connections to its socket, and its event stream.
//!
//! Each call is made on an idle connection or a new one; a connection whose answer has come is idle
//! again. One more connection follows the events, for as long as the Engine is there; losing it
//! means that the Engine is gone, and it is dialled again until it is back.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::PathBuf;

use super::exec_streams::ExecStreams;
use super::registry::{Owner, Registry};
use super::runtime_report::RuntimeReport;
use super::setup::{has_rules, present_binds};
use crate::agent::action::WorkId;
use crate::agent::docker::description::{Host, container_name};
use crate::agent::docker::runtime_events::{EXIT_ASKED, RuntimeEvents};
use crate::agent::docker::start::read_last_words;
use crate::agent::docker::{Procedure, Step};
use crate::agent::last_words::IN_CONTAINER;
use crate::agent::work::{RuntimeEvent, RuntimeWork, WorkError};
use crate::base::backoff::Backoff;
use crate::base::rng::Rng;
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::docker::conn::{DockerConn, DockerConnEvent, ResponseMode};
use crate::docker::events::EventStream;
use crate::docker::{DockerError, DockerRequest, DockerResponse, call};
use crate::io::link::{Link, Next};
use crate::io::reactor::Ready;
use crate::io::stream::Stream;
use crate::limits::{
    DOCKER_CONNECTIONS_IDLE_MAX, DOCKER_CONNECTIONS_MAX, DOCKER_REDIAL_CAP, DOCKER_REDIAL_FIRST,
    LINK_LINGER, LINK_TURN_BYTES,
};
use crate::rpc::network::Egress;

/// The Engine's connections, and the calls on them.
#[derive(Debug)]
pub(super) struct DockerRuntime {
    socket: PathBuf,
    host: Host,
    links: SortedMap<Key, (Link<DockerConn>, Purpose)>,
    exec_streams: ExecStreams,
    /// Calls that wait for a connection, because there are [`DOCKER_CONNECTIONS_MAX`].
    waiting: VecDeque<(DockerRequest, Purpose)>,
    runtime_events: RuntimeEvents,
    events: EventStream,
    redial: Backoff,
    redial_at: Option<Mono>,
    rng: Rng,
    reports: VecDeque<RuntimeReport>,
}

/// What a connection is used for.
#[derive(Debug)]
enum Purpose {
    Idle,
    Work(WorkId, Procedure),
    /// A call whose answer only this terminal waits for.
    Terminal(Key),
    /// A call after which this is reported, whatever the answer.
    Notice(RuntimeEvent),
    /// The last words of a session of which this is reported then.
    LastWords(Uuid, RuntimeEvent),
    /// A call whose answer does not matter.
    Aside(Option<Procedure>),
    Follow,
}

impl DockerRuntime {
    pub(super) fn new(socket: PathBuf, host: Host, seed: [u8; 32]) -> DockerRuntime {
        DockerRuntime {
            socket,
            host,
            links: SortedMap::new(),
            exec_streams: ExecStreams::default(),
            waiting: VecDeque::new(),
            runtime_events: RuntimeEvents::new(),
            events: EventStream::new(),
            redial: Backoff::new(DOCKER_REDIAL_FIRST, DOCKER_REDIAL_CAP),
            redial_at: Some(Mono::ZERO),
            rng: Rng::from_seed(seed),
            reports: VecDeque::new(),
        }
    }

    pub(super) fn run(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        id: WorkId,
        work: RuntimeWork,
    ) {
        if let RuntimeWork::Start(plan) = &work {
            if plan.egress == Egress::Open && !has_rules(&self.host) {
                self.reports.push_back(RuntimeReport::Outcome(id, Err(WorkError::NoRules)));
                return;
            }
            // What was put there since the agent's start is there for this session.
            self.host.binds = present_binds(&self.host.paths);
        }
        let (procedure, request) = Procedure::begin(work, &self.host);
        self.call(registry, now, request, Purpose::Work(id, procedure));
    }

    /// Makes a call for a terminal; the answer comes as [`RuntimeReport::Answer`].
    pub(super) fn call_for_terminal(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        terminal: Key,
        request: DockerRequest,
    ) {
        self.call(registry, now, request, Purpose::Terminal(terminal));
    }

    /// Makes calls that nobody waits for.
    pub(super) fn call_aside(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        request: DockerRequest,
        procedure: Option<Procedure>,
    ) {
        self.call(registry, now, request, Purpose::Aside(procedure));
    }

    /// The address of this host on which ports of sessions are, too.
    pub(super) fn set_cluster_address(&mut self, address: Option<IpAddr>) {
        self.host.cluster_address = address;
    }

    /// What containers on this host are like.
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// A connection of its own, for a terminal or a stream.
    pub(super) fn dial(&self) -> Result<Link<DockerConn>, WorkError> {
        let gone = |error: std::io::Error| {
            WorkError::DockerGone(format!("{}: {error}", self.socket.display()))
        };
        let stream = Stream::connect_unix(&self.socket).map_err(gone)?;
        Ok(Link::open(stream, DockerConn::new(), LINK_LINGER))
    }

    /// Something happened on a connection. Says whether it is to have another turn.
    pub(super) fn ready(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        key: Key,
        ready: Option<Ready>,
    ) -> bool {
        if self.exec_streams.has(key) {
            let (ended, is_again) = self.exec_streams.ready(registry, now, key, ready);
            if let Some((work, step)) = ended {
                self.go_on(registry, now, None, work, step);
            }
            return is_again;
        }
        let Some((link, _)) = self.links.get_mut(&key) else { return false };
        if let Some(ready) = ready {
            link.ready(now, ready);
        }
        link.receive(now, LINK_TURN_BYTES);
        self.turn(registry, now, key)
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let links = self.links.values().filter_map(|(link, _)| link.deadline());
        links.chain(self.redial_at).chain(self.exec_streams.deadline()).min()
    }

    pub(super) fn tick(&mut self, registry: &mut Registry, now: Mono) {
        if self.redial_at.is_some_and(|at| at <= now) {
            self.redial_at = None;
            self.follow(registry, now);
        }
        for (work, step) in self.exec_streams.tick(registry, now) {
            self.go_on(registry, now, None, work, step);
        }
        let due = |link: &Link<DockerConn>| link.deadline().is_some_and(|at| at <= now);
        let keys: Vec<Key> =
            self.links.iter().filter(|(_, (link, _))| due(link)).map(|(key, _)| *key).collect();
        for key in keys {
            if let Some((link, _)) = self.links.get_mut(&key) {
                link.tick(now);
            }
            self.turn(registry, now, key);
        }
    }

    pub(super) fn next_event(&mut self) -> Option<RuntimeReport> {
        self.reports.pop_front()
    }

    // --- connections ---

    fn call(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        request: DockerRequest,
        purpose: Purpose,
    ) {
        let idle = self.links.iter().find(|(_, held)| is_idle(held));
        if let Some(key) = idle.map(|(key, _)| *key) {
            self.call_on(now, key, &request, purpose);
        } else if self.links.len() >= DOCKER_CONNECTIONS_MAX {
            self.waiting.push_back((request, purpose));
        } else {
            match self.open(registry) {
                Ok(key) => self.call_on(now, key, &request, purpose),
                Err(error) => self.lost(now, purpose, error),
            }
        }
    }

    fn open(&mut self, registry: &mut Registry) -> Result<Key, WorkError> {
        let link = self.dial()?;
        let key = registry
            .watch(link.stream(), Owner::Runtime)
            .map_err(|error| WorkError::DockerGone(error.to_string()))?;
        self.links.insert(key, (link, Purpose::Idle));
        Ok(key)
    }

    fn call_on(&mut self, now: Mono, key: Key, request: &DockerRequest, purpose: Purpose) {
        let Some((link, current)) = self.links.get_mut(&key) else { return };
        let answer = if matches!(purpose, Purpose::Follow) {
            ResponseMode::Stream
        } else {
            ResponseMode::Whole
        };
        if link.endpoint_mut().call(request, answer, now).is_err() {
            let error = WorkError::Docker("request is too long".to_owned());
            self.lost(now, purpose, error);
            return;
        }
        *current = purpose;
        // A connection that breaks in this write is found by the event that follows.
        let _ = link.send(now, LINK_TURN_BYTES);
    }

    /// Acts on a connection's events, then writes. Says whether it is to have another turn.
    fn turn(&mut self, registry: &mut Registry, now: Mono, key: Key) -> bool {
        while let Some((link, _)) = self.links.get_mut(&key) {
            let Some(event) = link.endpoint_mut().poll_event() else { break };
            match event {
                DockerConnEvent::Response(response) => {
                    self.answered(registry, now, key, Ok(response))
                }
                DockerConnEvent::Closed(error) => self.closed(registry, now, key, error),
                DockerConnEvent::Streaming => self.following(),
                DockerConnEvent::Readable => self.read_events(registry, now, key),
                DockerConnEvent::End => self.events_ended(registry, now, key),
                DockerConnEvent::TakenOver | DockerConnEvent::Writable => {}
            }
        }
        let Some((link, _)) = self.links.get_mut(&key) else { return false };
        match link.send(now, LINK_TURN_BYTES) {
            Next::Wait => false,
            Next::Again => true,
            Next::Closed => {
                self.closed(registry, now, key, None);
                false
            }
        }
    }

    fn answered(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        key: Key,
        reply: Result<DockerResponse, DockerError>,
    ) {
        let Some((_, purpose)) = self.links.get_mut(&key) else { return };
        match std::mem::replace(purpose, Purpose::Idle) {
            Purpose::Idle | Purpose::Aside(None) => {}
            Purpose::Work(id, procedure) => {
                let step = procedure.step(reply);
                self.go_on(registry, now, Some(key), id, step);
            }
            Purpose::Aside(Some(procedure)) => {
                if let Step::Call(next, request) = procedure.step(reply) {
                    self.next_call(registry, now, key, request, Purpose::Aside(Some(next)));
                }
            }
            Purpose::Terminal(terminal) => {
                self.reports.push_back(RuntimeReport::Answer(terminal, reply))
            }
            Purpose::Notice(news) => match words_of(&news) {
                Some((id, request)) => {
                    self.next_call(registry, now, key, request, Purpose::LastWords(id, news));
                }
                None => self.reports.push_back(RuntimeReport::Event(news)),
            },
            Purpose::LastWords(id, news) => {
                let screen = read_last_words(reply).screen;
                let screen = RuntimeEvent::LastScreen { id, screen };
                self.reports.extend([screen, news].map(RuntimeReport::Event));
            }
            Purpose::Follow => {
                let text = match reply.and_then(DockerResponse::accepted) {
                    Ok(_) => "event stream did not start".to_owned(),
                    Err(error) => error.to_string(),
                };
                self.gone(now, text);
            }
        }
        self.serve_waiting(registry, now);
    }

    /// Goes on with a piece of work: with its next call on connection `key`, if it stands.
    fn go_on(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        key: Option<Key>,
        id: WorkId,
        step: Step,
    ) {
        match (step, key) {
            (Step::Call(next, request), Some(key)) => {
                self.next_call(registry, now, key, request, Purpose::Work(id, next));
            }
            (Step::Call(next, request), None) => {
                self.call(registry, now, request, Purpose::Work(id, next));
            }
            (Step::Stream(Procedure::Exec(exec), request), _) => {
                let begun = self.dial().and_then(|link| {
                    Ok(self.exec_streams.begin(registry, now, link, (id, exec), &request)?)
                });
                if let Err(error) = begun {
                    self.reports.push_back(RuntimeReport::Outcome(id, Err(error)));
                }
            }
            (Step::Stream(..), _) => {
                let outcome = Err(WorkError::Mismatch);
                self.reports.push_back(RuntimeReport::Outcome(id, outcome));
            }
            (Step::Done(outcome), _) => {
                self.reports.push_back(RuntimeReport::Outcome(id, outcome));
            }
        }
    }

    /// The next call of a procedure: on the same connection if it stands.
    fn next_call(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        key: Key,
        request: DockerRequest,
        purpose: Purpose,
    ) {
        match self.links.get(&key) {
            Some((link, _)) if link.endpoint().is_idle() => {
                self.call_on(now, key, &request, purpose);
            }
            _ => self.call(registry, now, request, purpose),
        }
    }

    fn closed(&mut self, registry: &mut Registry, now: Mono, key: Key, error: Option<DockerError>) {
        let Some((_, purpose)) = self.links.remove(&key) else { return };
        registry.release(key);
        if !matches!(purpose, Purpose::Idle) {
            self.lost(now, purpose, error.unwrap_or(DockerError::Closed).into());
        }
        self.serve_waiting(registry, now);
    }

    /// A call that will not be answered.
    fn lost(&mut self, now: Mono, purpose: Purpose, error: WorkError) {
        match purpose {
            Purpose::Idle | Purpose::Aside(_) => {}
            Purpose::Work(id, _) => self.reports.push_back(RuntimeReport::Outcome(id, Err(error))),
            Purpose::Terminal(terminal) => {
                self.reports.push_back(RuntimeReport::Answer(terminal, Err(DockerError::Closed)));
            }
            Purpose::Notice(news) | Purpose::LastWords(_, news) => {
                self.reports.push_back(RuntimeReport::Event(news));
            }
            Purpose::Follow => self.gone(now, text_of(&error)),
        }
    }

    /// Makes the calls that wait, as far as there are connections for them. All of them fail at
    /// once where there can be none.
    fn serve_waiting(&mut self, registry: &mut Registry, now: Mono) {
        while !self.waiting.is_empty() && self.has_connection() {
            if let Some((request, purpose)) = self.waiting.pop_front() {
                self.call(registry, now, request, purpose);
            }
        }
        self.close_spare(registry);
    }

    fn has_connection(&self) -> bool {
        self.links.len() < DOCKER_CONNECTIONS_MAX || self.links.values().any(is_idle)
    }

    /// Connections that a burst of calls has left behind hold memory for nothing.
    fn close_spare(&mut self, registry: &mut Registry) {
        let idle = self.links.iter().filter(|(_, held)| is_idle(held)).map(|(key, _)| *key);
        let spare: Vec<Key> = idle.skip(DOCKER_CONNECTIONS_IDLE_MAX).collect();
        for key in spare {
            self.links.remove(&key);
            registry.release(key);
        }
    }

    // --- the event stream ---

    fn follow(&mut self, registry: &mut Registry, now: Mono) {
        self.events = EventStream::new();
        match self.open(registry) {
            Ok(key) => self.call_on(now, key, &RuntimeEvents::request(), Purpose::Follow),
            Err(error) => self.gone(now, text_of(&error)),
        }
    }

    /// The stream stands: what happened before it is a listing's to tell.
    fn following(&mut self) {
        self.redial.reset();
        self.reports.push_back(RuntimeReport::Event(RuntimeEvent::Reachable));
    }

    fn gone(&mut self, now: Mono, text: String) {
        self.redial_at = Some(now + self.redial.delay(&mut self.rng));
        self.reports.push_back(RuntimeReport::Event(RuntimeEvent::Unreachable(text)));
    }

    /// The Engine has ended the stream, whatever becomes of its connection: another one is needed.
    fn events_ended(&mut self, registry: &mut Registry, now: Mono, key: Key) {
        self.read_events(registry, now, key);
        if let Some((link, _)) = self.links.get_mut(&key) {
            link.endpoint_mut().close();
        }
    }

    fn read_events(&mut self, registry: &mut Registry, now: Mono, key: Key) {
        let mut notices = Vec::new();
        if let Some((link, _)) = self.links.get_mut(&key) {
            let conn = link.endpoint_mut();
            while !conn.received().is_empty() {
                let Ok((taken, event)) = self.events.read(conn.received()) else {
                    // The stream makes no sense any more; closing it makes a new one.
                    conn.close();
                    break;
                };
                conn.consume(taken);
                notices.extend(event.and_then(|event| self.runtime_events.translate(&event)));
            }
        }
        for notice in notices {
            match notice.call_first {
                Some(request) => self.call(registry, now, request, Purpose::Notice(notice.event)),
                None => self.reports.push_back(RuntimeReport::Event(notice.event)),
            }
        }
    }
}

/// The call that reads what a session left, if it has ended by itself.
fn words_of(news: &RuntimeEvent) -> Option<(Uuid, DockerRequest)> {
    match news {
        RuntimeEvent::Ended { id, exit_code, .. } if *exit_code != Some(EXIT_ASKED) => {
            Some((*id, call::container_archive(&container_name(*id), IN_CONTAINER)))
        }
        _ => None,
    }
}

fn is_idle((link, purpose): &(Link<DockerConn>, Purpose)) -> bool {
    matches!(purpose, Purpose::Idle) && link.endpoint().is_idle()
}

fn text_of(error: &WorkError) -> String {
    match error {
        WorkError::DockerGone(text) | WorkError::Docker(text) => text.clone(),
        other => other.to_string(),
    }
}
