//! The agent's decisions: which operation runs when, who is told what, what the runtime is asked.
//!
//! It takes calls, terminals, outcomes, events of the runtime and the time; it gives [`Action`]s
//! and its next deadline. It does no I/O and knows neither Docker nor tmux nor SSH.
//!
//! - Operations on one session run one after the other, those on different sessions at once. At
//!   most [`SESSION_WAITING_OPS_MAX`] wait on a session; the next one is turned away by name.
//! - `ping`, `list` and `get` never wait for an operation. `list` and `get` ask the runtime, all
//!   that come together once, and say so if it does not answer.
//! - Events of the runtime are hints. What they say is believed after a listing has confirmed it,
//!   so that an echo of an earlier run never stops a later one.
//! - An operation goes on when its caller is gone.
//!
//! The driver's turn: one method for what has happened, then [`Agent::poll_action`] until it gives
//! nothing, then [`Agent::deadline`].
//!
//! [`SESSION_WAITING_OPS_MAX`]: crate::limits::SESSION_WAITING_OPS_MAX

mod drive;
mod queries;
mod recovery;
mod repositories;
mod runtime_events;
mod terminals;

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::action::{Action, Caller, WorkId};
use super::attention::{Look, Rules};
use super::claude_settings::ClaudeOnHost;
use super::config::{Config, FoundMetadata, FoundSession};
use super::drive::Drive;
use super::drives::Drives;
use super::listing::{Listing, ListingReader};
use super::load::Load;
use super::lock::{Lock, LockFile};
use super::op::{self, Flow, SessionOp, Stage, not_found};
use super::queue::{Job, QueuedOp, Waiters};
use super::record::Record;
use super::session::{Body, Cause, End, RunState, Session, Transition};
use super::session_key::SessionKey;
use super::state::AgentState;
use super::work::{Outcome, RuntimeEvent, WorkError};
use crate::base::rng::Rng;
use crate::base::sorted_map::SortedMap;
use crate::base::time::{Mono, Now, Wall};
use crate::base::uuid::Uuid;
use crate::limits::SESSIONS_MAX;
use crate::rpc::call::{Call, CloneSession, Create};
use crate::rpc::capacity::Capacity;
use crate::rpc::event::EventType;
use crate::rpc::field::{DnsName, PortChoice, Protocol};

/// The core of one agent.
#[derive(Debug)]
pub struct Agent {
    state: AgentState,
    /// Operations in flight, by the session that each one occupies.
    jobs: SortedMap<Uuid, (Job, Stage)>,
    /// Whose work is whose. A job has one piece of work at a time, or waits for the listing.
    works: SortedMap<WorkId, Uuid>,
    listing: Listing,
    drives: Drives,
    /// Looks that are under way, and at whose repository.
    repository_looks: SortedMap<WorkId, Uuid>,
    /// What a session reaches, as it was just before a call that asks for it.
    egress_now: Option<(Uuid, Value)>,
    /// What room this host has, if that was measured.
    capacity: Option<Capacity>,
    /// Why the runtime cannot be asked, while that is so.
    gone: Option<String>,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Serving,
    /// What runs is finished, nothing new begins.
    Closing,
}

const CLOSING: &str = "the agent is shutting down";

impl Agent {
    /// An agent with the sessions that the driver found on disk. It asks the runtime at once what
    /// runs. `seed` is where new ids come from.
    pub fn new(config: Config, seed: [u8; 32], found: Vec<FoundSession>, now: Now) -> Agent {
        let mut state = AgentState::new(config, Rng::from_seed(seed));
        // What has a record comes first: a proposal takes nothing from it.
        let (proposals, records): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|found| matches!(found.metadata, FoundMetadata::Proposal(_)));
        let proposed: Vec<Uuid> = proposals.iter().map(|found| found.id).collect();
        records.into_iter().for_each(|found| adopt(&mut state, found));
        proposals.into_iter().for_each(|found| take_over(&mut state, now, found));
        let mut listing = Listing::default();
        listing.want(&mut state.actions, now.mono, None);
        let (jobs, works, drives) = (SortedMap::new(), SortedMap::new(), Drives::default());
        let (mode, gone) = (Mode::Serving, None);
        let (repository_looks, egress_now, capacity) = (SortedMap::new(), None, None);
        let mut agent = Agent {
            state,
            jobs,
            works,
            listing,
            drives,
            repository_looks,
            egress_now,
            capacity,
            gone,
            mode,
        };
        // Their records are written.
        proposed.into_iter().for_each(|id| agent.go_on(now, id));
        agent
    }

    /// Homes that a predecessor of this agent has set aside, and had no time to erase.
    pub fn found_deleted_homes(&mut self, ids: impl IntoIterator<Item = Uuid>) {
        ids.into_iter().for_each(|id| self.state.deleted_homes.add(&mut self.state.actions, id));
    }

    /// From now on it is looked at who fills the disk.
    pub fn watch_homes(&mut self, now: Now) {
        self.state.home_growth.watch(now.mono);
    }

    /// Ports that are in use on this host, as they were just before a call that wants a free one.
    pub fn ports_in_use(&mut self, ports: Vec<(Protocol, u16)>) {
        self.state.reservations.note_in_use(ports);
    }

    /// What a session reaches and was refused, as it was just before a call that asks for it.
    pub(crate) fn egress_now(&mut self, id: Uuid, found: Option<Value>) {
        self.egress_now = found.map(|found| (id, found));
    }

    /// What this host has of Claude, as it was just before a ping.
    pub fn claude_on_host(&mut self, found: ClaudeOnHost) {
        self.state.claude = Some(found);
    }

    /// What room this host has, as it was lately before a ping.
    pub(crate) fn capacity_on_host(&mut self, found: Option<Capacity>) {
        self.capacity = found;
    }

    // --- calls ---

    /// A call, which is answered with [`Action::Reply`], now or later.
    pub fn call(&mut self, now: Now, caller: Caller, call: Call) {
        match call {
            Call::Ping => self.pong(now, caller),
            Call::SettingsGet | Call::SettingsSet => self.answer(caller, Ok(json!({}))),
            // They are about a file of the host, which the driver has.
            Call::Certificate | Call::RenewCertificate(_) => {
                self.answer(caller, Err("this agent has no certificate".to_owned()));
            }
            Call::List => self.read(now, ListingReader::List(caller)),
            Call::Get(get) if self.state.session(get.id).is_none() => {
                self.answer(caller, Err(not_found(get.id)));
            }
            Call::Get(get) => self.read(now, ListingReader::Get(caller, get.id)),
            Call::Screen(call) => self.drive(now, caller, call.id, Drive::Screen(call.lines)),
            Call::Send(call) => self.drive(now, caller, call.id, Drive::Send(call)),
            Call::Exec(call) => self.drive(now, caller, call.id, Drive::Exec(call)),
            Call::Egress(call) => self.tell_egress(caller, call.id),
            Call::Wait(call) => self.wait(now, caller, &call),
            _ if self.mode == Mode::Closing => self.answer(caller, Err(CLOSING.to_owned())),
            Call::Create(create) => self.create(now, caller, *create),
            Call::Clone(clone) => self.clone_session(now, caller, clone),
            Call::Override(call) => self.override_lock(now, caller, call.id),
            Call::Edit(edit) => self.order(now, caller, edit.id, SessionOp::Edit(Box::new(edit))),
            Call::Delete(call) => self.order(now, caller, call.id, SessionOp::Delete),
            Call::Kill(call) => self.order(now, caller, call.id, SessionOp::Kill),
            Call::Background(call) => self.order(now, caller, call.id, SessionOp::Background),
            Call::Restart(call) => self.order(now, caller, call.id, SessionOp::Restart),
        }
    }

    /// Nobody waits for this answer any more. What was asked for goes on.
    pub fn caller_gone(&mut self, caller: Caller) {
        self.listing.forget(caller);
        self.drives.forget(caller);
        self.jobs.values_mut().for_each(|(job, _)| job.forget(caller));
    }

    // --- what comes back ---

    /// A session's key has signed, or was asked to too often: what an event tells of it.
    pub(crate) fn signed(&mut self, now: Now, session: Uuid, data: Value) {
        self.state.emit(now, EventType::Signed, session, data);
    }

    /// Something was refused a session: what an event tells of it.
    pub(crate) fn refused(&mut self, now: Now, session: Uuid, data: Value) {
        self.state.emit(now, EventType::Refused, session, data);
    }

    /// [`Action::Carry`] needs sockets of a session's network, that of its proxy or a pool of so
    /// many: they are made and handed over by a program in there.
    pub(crate) fn open_network(&mut self, now: Now, session: Uuid, pool: Option<usize>) {
        self.drive_by_itself(now, session, Drive::OpenNetwork(pool));
    }

    /// A look at a session's status files, as [`Action::Observe`] asks for them.
    pub(crate) fn looked(&mut self, now: Now, session: Uuid, rules: &Rules, look: &Look) {
        self.state.looked(now, session, rules, look);
        self.tell_waits(now);
    }

    /// What a piece of work came to. To be called once for each [`Action::Run`]; anything else is
    /// ignored.
    pub fn done(&mut self, now: Now, work: WorkId, outcome: Outcome) {
        if let Some(readers) = self.listing.finish(&mut self.state.actions, work) {
            self.listed(now, work, readers, outcome);
            self.save_ends(now);
            self.recover_due(now);
        } else if self.state.deleted_homes_done(now.mono, work, &outcome)
            || self.state.home_growth_done(now, work, &outcome)
            || self.drive_done(now, work, &outcome)
            || self.repository_done(now, work, &outcome)
        {
        } else if let Some(id) = self.works.remove(&work) {
            let is_unclear = outcome.as_ref().is_err_and(WorkError::is_of_runtime);
            self.step(now, id, outcome);
            if is_unclear && self.gone.is_none() {
                self.listing.want(&mut self.state.actions, now.mono, None);
            }
        }
        self.tell_waits(now);
    }

    /// The runtime reports something without being asked.
    pub fn runtime_event(&mut self, now: Now, event: RuntimeEvent) {
        self.take_event(now, event);
        self.save_ends(now);
        self.tell_waits(now);
    }

    fn take_event(&mut self, now: Now, event: RuntimeEvent) {
        match event {
            RuntimeEvent::Started(running) => self.runtime_started(now, running),
            RuntimeEvent::Ended { id, exit_code, out_of_memory, was_asked } => {
                let cause = match (out_of_memory, was_asked) {
                    (true, _) => Cause::Oom,
                    (false, true) => Cause::Asked,
                    (false, false) => Cause::Exit,
                };
                self.runtime_ended(now, id, End { cause, exit_code });
            }
            RuntimeEvent::LastScreen { id, screen } => {
                if let Some(session) = self.state.session_mut(id) {
                    session.last_screen = screen;
                }
            }
            RuntimeEvent::Unreachable(text) => {
                self.gone = Some(text);
                self.state.engine_gone();
                let readers = self.listing.take_callers();
                self.answer_readers(&readers, self.gone_text().as_deref());
            }
            RuntimeEvent::Reachable => {
                self.gone = None;
                self.state.engine_back();
                self.listing.want(&mut self.state.actions, now.mono, None);
            }
        }
    }

    pub fn tick(&mut self, now: Now) {
        self.state.deleted_homes.tick(&mut self.state.actions, now.mono);
        self.state.home_growth.tick(&mut self.state.actions, now.mono);
        self.state.tick(now);
        self.state.save_again(now.mono);
        self.save_ends(now);
        self.recover_due(now);
        self.look_at_repositories(now);
        self.tell_waits(now);
        let readers = self.listing.take_impatient(now.mono);
        if !readers.is_empty() {
            let runtime = self.state.config.runtime.as_str();
            self.answer_readers(&readers, Some(&format!("{runtime} does not answer")));
        }
    }

    /// When [`Agent::tick`] is wanted next.
    pub fn deadline(&self) -> Option<Mono> {
        let homes = [self.state.deleted_homes.deadline(), self.state.home_growth.deadline()];
        let others = [self.listing.deadline(), self.drives.deadline(), self.recovery_deadline()];
        let more = [
            self.state.deadline(),
            self.state.unsaved_deadline(),
            self.unsettled_until(),
            self.repositories_due(),
        ];
        homes.into_iter().chain(others).chain(more).flatten().min()
    }

    /// Begins nothing new: what waits for its turn is refused, what runs is finished. The driver
    /// goes on until [`Agent::is_idle`], for as long as it likes.
    pub fn shutdown(&mut self) {
        self.mode = Mode::Closing;
        for (job, _) in self.jobs.values_mut() {
            for request in job.behind.drain(..) {
                request.waiters.refuse(&mut self.state, CLOSING);
            }
        }
    }

    /// What the driver is to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.state.actions.pop()
    }

    /// Whether no operation is in flight, and no event waits to be told.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.state.deadline().is_none()
    }

    /// The load, for heartbeats.
    pub(crate) fn load(&self) -> Load {
        let sessions = self.state.sessions.values();
        Load {
            sessions: sessions.len(),
            running: sessions.clone().filter(|session| session.is_running()).count(),
            attached: sessions.map(|session| session.attached as usize).sum(),
            operations: self.jobs.len(),
        }
    }

    /// The sessions that run in a container, and its id.
    pub(crate) fn containers(&self) -> impl Iterator<Item = (Uuid, &str)> {
        self.state.containers()
    }

    // --- admission ---

    fn order(&mut self, now: Now, caller: Caller, id: Uuid, order: SessionOp) {
        self.admit(now, id, QueuedOp { order, waiters: Waiters::caller(caller) });
    }

    /// Gives a request its turn, a place in the queue, or a refusal.
    fn admit(&mut self, now: Now, id: Uuid, request: QueuedOp) {
        let Some(session) = self.state.session(id) else {
            request.waiters.refuse(&mut self.state, &not_found(id));
            return;
        };
        let label = session.label();
        match self.jobs.get_mut(&id) {
            None => self.begin(now, id, request, VecDeque::new()),
            Some((job, stage)) => {
                let Job { name, since, .. } = *job;
                if let Err(waiters) = job.enqueue(stage, request) {
                    let waiting = job.behind.len();
                    let text = format!(
                        "{label} is busy: {name} is in flight since {since} and {waiting} \
                         operations wait; try again later"
                    );
                    waiters.refuse(&mut self.state, &text);
                }
            }
        }
    }

    fn create(&mut self, now: Now, caller: Caller, create: Create) {
        let begun = self.has_room().and_then(|()| op::begin_create(&mut self.state, now, create));
        self.launch(now, caller, "create", begun);
    }

    fn clone_session(&mut self, now: Now, caller: Caller, clone: CloneSession) {
        let begun = self
            .has_room()
            .and_then(|()| self.is_staying(clone.source_id))
            .and_then(|()| op::begin_clone(&mut self.state, now, clone));
        self.launch(now, caller, "clone", begun);
    }

    /// An operation that makes a session occupies the id that the session will have.
    fn launch(
        &mut self,
        now: Now,
        caller: Caller,
        name: &'static str,
        begun: Result<(Uuid, Flow), String>,
    ) {
        match begun {
            Err(text) => self.answer(caller, Err(text)),
            Ok((id, flow)) => {
                let waiters = Waiters::caller(caller);
                let job = Job { name, since: now.wall, waiters, behind: VecDeque::new() };
                self.advance(now, id, job, flow);
            }
        }
    }

    /// Override looks at the lock now, not after whatever is in flight: that is its point.
    fn override_lock(&mut self, now: Now, caller: Caller, id: Uuid) {
        let session = self.state.session(id);
        match (session, self.jobs.get(&id)) {
            (Some(session), Some((job, _))) => {
                let (label, name, since) = (session.label(), job.name, job.since);
                let text = format!("{label} is not stale: {name} is in flight since {since}");
                self.answer(caller, Err(text));
            }
            _ => self.order(now, caller, id, SessionOp::Override),
        }
    }

    fn has_room(&self) -> Result<(), String> {
        let coming = self.jobs.keys().filter(|id| self.state.session(**id).is_none()).count();
        let count = self.state.sessions.len() + coming;
        if count < SESSIONS_MAX {
            return Ok(());
        }
        Err(format!("there are {count} sessions on this agent, and it holds no more"))
    }

    /// A session that is being deleted cannot be copied.
    fn is_staying(&self, id: Uuid) -> Result<(), String> {
        match (self.state.session(id), self.jobs.get(&id)) {
            (Some(session), Some((_, Stage::Delete(_)))) => {
                Err(format!("{} is being deleted", session.label()))
            }
            _ => Ok(()),
        }
    }

    // --- operations ---

    fn begin(&mut self, now: Now, id: Uuid, request: QueuedOp, behind: VecDeque<QueuedOp>) {
        let (job, flow) = self.turn(now, id, request, behind);
        self.advance(now, id, job, flow);
    }

    fn turn(
        &mut self,
        now: Now,
        id: Uuid,
        request: QueuedOp,
        behind: VecDeque<QueuedOp>,
    ) -> (Job, Flow) {
        let QueuedOp { order, waiters } = request;
        let job = Job { name: order.name(), since: now.wall, waiters, behind };
        (job, op::begin(&mut self.state, now, id, order))
    }

    /// What an operation waited for has come.
    fn step(&mut self, now: Now, id: Uuid, outcome: Outcome) {
        let Some((job, stage)) = self.jobs.remove(&id) else {
            return;
        };
        let flow = stage.step(&mut self.state, now, id, outcome);
        let is_doubted =
            |it: &Session| it.unconfirmed_exit.is_some() && it.transition == Transition::Nothing;
        if self.state.session(id).is_some_and(is_doubted) {
            self.listing.want(&mut self.state.actions, now.mono, None);
        }
        self.advance(now, id, job, flow);
    }

    /// Carries an operation to where it must wait, and on its end the next ones.
    fn advance(&mut self, now: Now, id: Uuid, mut job: Job, mut flow: Flow) {
        loop {
            match flow {
                Flow::Run(stage, work) => {
                    self.works.insert(self.state.actions.run(work), id);
                    self.jobs.insert(id, (job, stage));
                    return;
                }
                Flow::List(stage) => {
                    self.jobs.insert(id, (job, stage));
                    self.listing.want(
                        &mut self.state.actions,
                        now.mono,
                        Some(ListingReader::Job(id)),
                    );
                    return;
                }
                Flow::Done(answer) => {
                    job.waiters.answer(&mut self.state, answer);
                    let Some(next) = job.behind.pop_front().or_else(|| self.own_op(now, id)) else {
                        return;
                    };
                    (job, flow) = self.turn(now, id, next, job.behind);
                }
            }
        }
    }

    /// Where an operation is in flight, its end brings the saving with it.
    fn save_ends(&mut self, now: Now) {
        for id in std::mem::take(&mut self.state.ended) {
            self.go_on(now, id);
        }
    }

    /// A session on which nothing is in flight: begins what the core itself wants.
    fn go_on(&mut self, now: Now, id: Uuid) {
        if self.jobs.contains_key(&id) {
            return;
        }
        if let Some(request) = self.own_op(now, id) {
            self.begin(now, id, request, VecDeque::new());
        }
    }

    /// What the core itself wants to do with a session.
    fn own_op(&self, now: Now, id: Uuid) -> Option<QueuedOp> {
        let session = self.state.session(id)?;
        let request = QueuedOp { order: SessionOp::Save, waiters: Waiters::default() };
        session.is_unsaved().then_some(request).or_else(|| self.recovery(now, id))
    }
}

/// A session with a record. What runs is not known yet.
fn adopt(state: &mut AgentState, found: FoundSession) {
    let (FoundMetadata::Record(metadata) | FoundMetadata::Proposal(metadata)) = found.metadata;
    let parsed = metadata
        .and_then(|bytes| Record::parse(found.id, &bytes).map_err(|error| error.to_string()));
    let body = match parsed {
        Ok(mut record) => {
            state.reservations.adopt(&record);
            if !found.has_key && matches!(record.ssh_key, SessionKey::Made(_)) {
                // It was made on another host, and has stayed there. So did what ran.
                record.ssh_key = SessionKey::NotMade;
                record.runs = false;
            }
            if !state.reservations.adopt_uid(&record) {
                // It gets another one, and its files with it, when it starts.
                record.uid = None;
            }
            Body::Good(Box::new(record))
        }
        Err(why) => Body::Broken(why),
    };
    insert(state, found.id, body, found.lock);
}

/// A home without a record: what it proposes becomes the record, as far as `create` would have it,
/// and an event says what that was.
fn take_over(state: &mut AgentState, now: Now, found: FoundSession) {
    let (FoundMetadata::Record(proposal) | FoundMetadata::Proposal(proposal)) = found.metadata;
    let (mut record, unread) = Record::propose(found.id, &proposal, now.wall);
    let mut refused: Vec<String> = unread.into_iter().collect();
    if let Err(error) = record.dns_name.check_reserved(&state.config.host_names) {
        record.dns_name = DnsName::default();
        refused.push(error.0);
    }
    let mut reserve = |port, name: &DnsName| {
        let choice = if port == 0 { PortChoice::None } else { PortChoice::Fixed(port) };
        let reserved = state.reservations.reserve(found.id, choice, record.protocol, name);
        let refusal = reserved.err().map(|error| state.reservation_refusal(&error));
        let is_refused = refusal.is_some();
        refused.extend(refusal);
        is_refused
    };
    let (no_port, no_name) =
        (reserve(record.port, &DnsName::default()), reserve(0, &record.dns_name));
    if no_port {
        record.port = 0;
    }
    if no_name {
        record.dns_name = DnsName::default();
    }
    insert(state, found.id, Body::Good(Box::new(record)), found.lock);
    if let Some(session) = state.session_mut(found.id) {
        // It stands in no record yet.
        session.stored_access = Wall::new(i64::MIN, 0);
    }
    let mut data = state.wire_value(found.id, None);
    data["taken_over"] = json!({ "from": "session.json", "refused": refused });
    state.emit(now, EventType::Edited, found.id, data);
}

fn insert(state: &mut AgentState, id: Uuid, body: Body, lock: Option<Vec<u8>>) {
    let mut session = Session::new(id, body, RunState::Unknown, WorkId(0));
    session.lock = lock.map(|content| Lock(LockFile::parse(&content)));
    state.sessions.insert(id, session);
}
