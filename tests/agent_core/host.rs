//! A host that is not there: a disk, a runtime and peers, driven by the actions of the real core.
//!
//! Work piles up until a test does it, in the order and with the faults that the test chooses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use convocate::agent::Totals;
use convocate::agent::action::{Action, Caller, TerminalId, WorkId};
use convocate::agent::config::{Config, FoundMetadata, FoundSession, RuntimeKind};
use convocate::agent::core::Agent;
use convocate::agent::work::{
    DiskWork, Done, LastRun, Outcome, Running, RuntimeEvent, RuntimeWork, Work, WorkError,
};
use convocate::base::sorted_map::SortedMap;
use convocate::base::time::{Mono, Now, Wall};
use convocate::base::uuid::Uuid;
use convocate::rpc::attach::AttachHeader;
use convocate::rpc::call::Call;
use convocate::rpc::egress::EgressRules;
use convocate::rpc::event::{Event, EventType};
use convocate::rpc::field::{Caps, Cpus};
use convocate::rpc::network::Egress;
use convocate::rpc::reserved::HostNames;
use convocate::rpc::response::{self, Answer};
use serde_json::Value;

pub const GIB: u64 = 1 << 30;

/// What a peer was told about its terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Screen {
    Opening,
    Refused(String),
    Closing,
}

pub struct Host {
    pub agent: Agent,
    pub now: Now,
    /// Homes, with their records.
    pub homes: BTreeMap<Uuid, Vec<u8>>,
    pub locks: BTreeMap<Uuid, Vec<u8>>,
    /// Homes that were set aside.
    pub remains: BTreeSet<Uuid>,
    /// What the log says.
    pub warnings: Vec<String>,
    pub running: BTreeMap<Uuid, Running>,
    /// What the runtime has of sessions that do not run.
    pub last_runs: BTreeMap<Uuid, LastRun>,
    /// Since when a session runs, where a listing does not say.
    pub since: BTreeMap<Uuid, Wall>,
    /// What a start fails with.
    pub start_error: Option<WorkError>,
    pub work: VecDeque<(WorkId, Work)>,
    pub replies: BTreeMap<Caller, Vec<Answer>>,
    pub screens: BTreeMap<TerminalId, Vec<Screen>>,
    pub events: Vec<Event>,
    /// Sessions whose connections are carried, and by which rules.
    pub carried: BTreeMap<Uuid, EgressRules>,
    /// Sessions that are lent their keys, and as whom they run.
    pub lent: BTreeMap<Uuid, Option<u32>>,
    /// Sessions whose status files are looked at.
    pub observed: BTreeSet<Uuid>,
    /// Sessions that come from another host, without their keys.
    pub keyless: BTreeSet<Uuid>,
    pub used_bytes: u64,
    /// What sessions use.
    pub memory: SortedMap<Uuid, u64>,
    /// Every start that the runtime was asked for.
    pub starts: usize,
    /// Every detach that the runtime was asked for.
    pub detaches: usize,
    next: u64,
    generation: u8,
}

pub fn config() -> Config {
    let mut hosts = HostNames::default();
    hosts.insert("yard.example.com");
    Config {
        agent_id: "abcdefghjkmn".to_owned(),
        version: "1.2.3".to_owned(),
        runtime: RuntimeKind::Docker,
        has_uids: true,
        image: "convocate:1".to_owned(),
        caps: Caps { memory: GIB, cpus: Cpus::from_millis(1000).unwrap(), pids: 100 },
        memory_reservation: GIB / 2,
        totals: Totals { cpu_millis: 1_000_000, memory_bytes: 1000 * GIB },
        claude_base_url: None,
        host_names: hosts,
        rebooted: false,
    }
}

impl Host {
    pub fn new() -> Host {
        Host::with(config())
    }

    pub fn with(config: Config) -> Host {
        let now = Now { mono: Mono::from_nanos(1), wall: Wall::new(1_000_000, 0) };
        let mut host = Host {
            agent: Agent::new(config, [1; 32], Vec::new(), now),
            now,
            homes: BTreeMap::new(),
            locks: BTreeMap::new(),
            remains: BTreeSet::new(),
            warnings: Vec::new(),
            running: BTreeMap::new(),
            last_runs: BTreeMap::new(),
            since: BTreeMap::new(),
            start_error: None,
            work: VecDeque::new(),
            replies: BTreeMap::new(),
            screens: BTreeMap::new(),
            events: Vec::new(),
            lent: BTreeMap::new(),
            carried: BTreeMap::new(),
            observed: BTreeSet::new(),
            keyless: BTreeSet::new(),
            used_bytes: 10 * GIB,
            memory: SortedMap::new(),
            starts: 0,
            detaches: 0,
            next: 0,
            generation: 1,
        };
        host.collect();
        host
    }

    /// The agent is killed with -9 and started again: work in flight is lost, and so is everything
    /// that it knew.
    pub fn crash(&mut self) {
        self.crash_into(config());
    }

    pub fn crash_into(&mut self, config: Config) {
        self.work.clear();
        self.screens.clear();
        self.lent.clear();
        self.observed.clear();
        self.generation += 1;
        let ids: BTreeSet<Uuid> = self.homes.keys().chain(self.locks.keys()).copied().collect();
        let found = ids.into_iter().map(|id| FoundSession {
            id,
            metadata: FoundMetadata::Record(
                self.homes.get(&id).cloned().ok_or_else(|| "no record".to_owned()),
            ),
            has_key: !self.keyless.contains(&id),
            lock: self.locks.get(&id).cloned(),
        });
        self.agent = Agent::new(config, [self.generation; 32], found.collect(), self.now);
        self.agent.found_deleted_homes(self.remains.iter().copied());
        self.collect();
    }

    pub fn wait(&mut self, span: Duration) {
        self.now.mono = self.now.mono + span;
        let wall = self.now.wall;
        self.now.wall = Wall::new(wall.seconds() + span.as_secs().cast_signed(), wall.nanos());
        self.agent.tick(self.now);
        self.collect();
    }

    // --- peers ---

    pub fn call(&mut self, call: Call) -> Caller {
        self.next += 1;
        let caller = Caller(self.next);
        self.agent.call(self.now, caller, call);
        self.collect();
        caller
    }

    /// A request line, parsed as the wire's.
    pub fn line(&mut self, line: &str) -> Caller {
        self.call(Call::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}")))
    }

    pub fn op(&mut self, op: &str, id: Uuid) -> Caller {
        self.line(&format!(r#"{{"op":"{op}","params":{{"id":"{id}"}}}}"#))
    }

    pub fn attach(&mut self, id: Uuid) -> TerminalId {
        self.next += 1;
        let terminal = TerminalId(self.next);
        let header = AttachHeader {
            id,
            cols: 100,
            rows: 30,
            term: String::new(),
            read_only: false,
            label: String::new(),
        };
        self.agent.attach(self.now, terminal, header);
        self.collect();
        terminal
    }

    pub fn opened(&mut self, terminal: TerminalId) {
        self.agent.terminal_opened(self.now, terminal);
        self.collect();
    }

    pub fn closed(&mut self, terminal: TerminalId) {
        self.agent.terminal_closed(self.now, terminal);
        self.collect();
    }

    pub fn news(&mut self, news: RuntimeEvent) {
        self.agent.runtime_event(self.now, news);
        self.collect();
    }

    /// The command of a session ends by itself, and the runtime tells.
    pub fn ends(&mut self, id: Uuid, exit_code: i32) {
        self.running.remove(&id);
        self.news(RuntimeEvent::Ended {
            id,
            exit_code: Some(exit_code),
            out_of_memory: false,
            was_asked: false,
        });
    }

    // --- work ---

    /// Does all work, without faults, until none is left.
    pub fn settle(&mut self) {
        while self.step() {}
    }

    /// Does the oldest `count` pieces of work, or all that there are.
    pub fn steps(&mut self, count: usize) {
        (0..count).for_each(|_| {
            self.step();
        });
    }

    /// Does the oldest work.
    pub fn step(&mut self) -> bool {
        let Some((id, work)) = self.work.pop_front() else {
            return false;
        };
        let outcome = self.perform(&work);
        self.report(id, outcome);
        true
    }

    pub fn fail(&mut self, error: WorkError) {
        let (id, _) = self.work.pop_front().expect("there is work");
        self.report(id, Err(error));
    }

    /// Takes the oldest piece of work for which `is_wanted`.
    pub fn take(&mut self, is_wanted: impl Fn(&Work) -> bool) -> (WorkId, Work) {
        let at =
            self.work.iter().position(|(_, work)| is_wanted(work)).expect("there is such work");
        self.work.remove(at).expect("the position is its own")
    }

    pub fn report(&mut self, id: WorkId, outcome: Outcome) {
        self.agent.done(self.now, id, outcome);
        self.collect();
    }

    /// Changes the disk or the runtime as the work says.
    pub fn perform(&mut self, work: &Work) -> Outcome {
        match work {
            Work::Disk(work) => self.disk(work),
            Work::Runtime(work) => self.runtime(work),
        }
    }

    fn disk(&mut self, work: &DiskWork) -> Outcome {
        match work {
            DiskWork::Create { id, metadata, .. } => {
                assert!(self.homes.insert(*id, metadata.clone()).is_none(), "a home twice");
            }
            DiskWork::Save { id, metadata, .. } => {
                self.homes.insert(*id, metadata.clone());
            }
            DiskWork::Clone { source, target, metadata, .. } => {
                assert!(self.homes.contains_key(source), "the source is gone");
                self.homes.insert(*target, metadata.clone());
            }
            DiskWork::SetAside { id } => {
                if self.homes.remove(id).is_some() {
                    self.remains.insert(*id);
                }
                self.locks.remove(id);
            }
            DiskWork::Erase { id } => {
                self.remains.remove(id);
            }
            DiskWork::Lock { id, content, start } => {
                if let Some(metadata) = start.as_ref().and_then(|files| files.metadata.clone()) {
                    self.homes.insert(*id, metadata);
                }
                self.locks.insert(*id, content.clone());
            }
            DiskWork::Unlock { id } => {
                self.locks.remove(id);
            }
            DiskWork::CountHomes { .. } => {
                let homes = self.homes.keys().take(2).map(|id| (*id, 5 * GIB));
                return Ok(Done::HomesCounted(homes.collect()));
            }
            DiskWork::Measure { .. } => {
                let used_bytes = self.used_bytes;
                let memory = self.memory.clone();
                return Ok(Done::Measured { total_bytes: 100 * GIB, used_bytes, memory });
            }
        }
        Ok(Done::Done)
    }

    fn runtime(&mut self, work: &RuntimeWork) -> Outcome {
        match work {
            RuntimeWork::List => {
                return Ok(Done::Listed(self.running.values().cloned().collect()));
            }
            RuntimeWork::Start(plan) => {
                self.starts += 1;
                if let Some(error) = self.start_error.clone() {
                    return Err(error);
                }
                let running = Running {
                    id: plan.id,
                    started_at: self.now.wall,
                    container: String::new(),
                    image: plan.image.clone(),
                    caps: Some(plan.caps),
                    uid: plan.uid,
                    is_carried: plan.egress == Egress::List,
                };
                let was = self.running.insert(plan.id, running.clone());
                assert!(was.is_none(), "started twice");
                return Ok(Done::Started(running));
            }
            RuntimeWork::Stop { id, .. } | RuntimeWork::Remove { id } => {
                self.running.remove(id);
            }
            RuntimeWork::EraseAsRoot { .. } => {}
            RuntimeWork::Detach { .. } => self.detaches += 1,
            RuntimeWork::Look { id } => {
                let runs = self.running.get(id).map(|running| LastRun {
                    since: Some(self.since.get(id).copied().unwrap_or(running.started_at)),
                    exit_code: 0,
                    out_of_memory: false,
                    error: String::new(),
                });
                return Ok(Done::LastRun(runs.or_else(|| self.last_runs.get(id).cloned())));
            }
            RuntimeWork::Exec(_) => return Err(WorkError::NotEnded),
        }
        Ok(Done::Done)
    }

    // --- what came out ---

    fn collect(&mut self) {
        while let Some(action) = self.agent.poll_action() {
            match action {
                Action::Warn(text) => self.warnings.push(text),
                Action::Run { id, work } => self.work.push_back((id, work)),
                Action::Reply { caller, line } => {
                    let answer = response::parse(&line).expect("a response line");
                    self.replies.entry(caller).or_default().push(answer);
                }
                Action::OpenTerminal { terminal, .. } => self.show(terminal, Screen::Opening),
                Action::RefuseTerminal { terminal, text } => {
                    self.show(terminal, Screen::Refused(text));
                }
                Action::CloseTerminals { terminals, .. } => {
                    terminals.into_iter().for_each(|it| self.show(it, Screen::Closing));
                }
                Action::Emit(event) => self.events.push(event),
                Action::LendKey { session, uid } => {
                    self.lent.insert(session, uid);
                }
                Action::EndLending { session } => {
                    self.lent.remove(&session);
                }
                Action::Carry { session, rules, .. } => {
                    self.carried.insert(session, rules);
                }
                Action::EndCarrying { session } => {
                    self.carried.remove(&session);
                }
                Action::Observe { session, .. } => {
                    self.observed.insert(session);
                }
                Action::EndObserving { session } => {
                    self.observed.remove(&session);
                }
            }
        }
    }

    fn show(&mut self, terminal: TerminalId, screen: Screen) {
        self.screens.entry(terminal).or_default().push(screen);
    }

    pub fn screens(&self, terminal: TerminalId) -> &[Screen] {
        self.screens.get(&terminal).map_or(&[], Vec::as_slice)
    }

    /// The one answer of a call that has been answered.
    pub fn answer(&self, caller: Caller) -> Answer {
        match self.replies.get(&caller).map(Vec::as_slice) {
            Some([answer]) => answer.clone(),
            other => panic!("{caller:?} got {other:?}"),
        }
    }

    pub fn is_answered(&self, caller: Caller) -> bool {
        self.replies.contains_key(&caller)
    }

    pub fn error(&self, caller: Caller) -> String {
        self.answer(caller).expect_err("a refusal")
    }

    /// Does all work, then gives a call's answer.
    pub fn settled(&mut self, caller: Caller) -> Value {
        self.settle();
        self.answer(caller).expect("it went well")
    }

    /// Makes a session and gives its id.
    pub fn create(&mut self, name: &str) -> Uuid {
        self.create_with(&format!(r#"{{"name":"{name}"}}"#))
    }

    pub fn create_with(&mut self, params: &str) -> Uuid {
        let caller = self.line(&format!(r#"{{"op":"create","params":{params}}}"#));
        id_of(&self.settled(caller))
    }

    /// A session that runs.
    pub fn create_running(&mut self, name: &str) -> Uuid {
        let id = self.create(name);
        let caller = self.op("restart", id);
        self.settled(caller);
        id
    }

    pub fn list(&mut self) -> Vec<Value> {
        let caller = self.line(r#"{"op":"list","params":null}"#);
        match self.settled(caller) {
            Value::Array(sessions) => sessions,
            other => panic!("{other}"),
        }
    }

    /// A session as `list` tells it.
    pub fn listed(&mut self, id: Uuid) -> Value {
        let is_it = |session: &Value| session["uuid"] == id.to_string();
        self.list().into_iter().find(is_it).unwrap_or(Value::Null)
    }

    /// The kinds of events since the last call of this.
    pub fn told(&mut self) -> Vec<EventType> {
        self.events.drain(..).map(|event| event.kind).collect()
    }

    /// The data of the last event of a kind.
    pub fn last(&self, kind: EventType) -> Value {
        let event = self.events.iter().rev().find(|event| event.kind == kind);
        event.map_or(Value::Null, |event| event.data.clone())
    }
}

pub fn id_of(session: &Value) -> Uuid {
    Uuid::parse(session["uuid"].as_str().unwrap_or_default()).expect("a session has a UUID")
}

pub fn docker_error() -> WorkError {
    WorkError::Docker("no such image".to_owned())
}
