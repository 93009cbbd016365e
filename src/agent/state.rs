//! What the core knows, and the transitions that everybody uses: a session was seen running, was
//! seen stopped, a terminal came, a terminal went.
//!
//! Each transition tells itself: it emits its event when, and only when, something has changed. So
//! an operation and the runtime's news may both report the same end, in any order, and it is told
//! once.

mod attention;
mod disk;
mod egress;
mod ends;
mod recovery;
mod repository;
mod terminals;
mod told;

use std::collections::BTreeMap;

use serde_json::Value;

use ends::LOST;
use recovery::Outage;

use super::action::{Action, ActionQueue, Caller, TerminalId, TerminalPlan, WorkId};
use super::capacity::{self, Taken};
use super::claude_settings::ClaudeOnHost;
use super::config::Config;
use super::deleted_homes::DeletedHomes;
use super::home_growth::HomeGrowth;
use super::record::Record;
use super::reservations::{ReservationError, Reservations};
use super::session::{Body, Cause, End, RunState, Session, Transition};
use super::session_key::SessionKey;
use super::work::{Outcome, Running};
use crate::base::rng::Rng;
use crate::base::sorted_map::SortedMap;
use crate::base::time::{Mono, Now, Wall};
use crate::base::uuid::Uuid;
use crate::limits::{END_NEWS_PATIENCE, SESSIONS_MAX};
use crate::rpc::event::{Event, EventType};
use crate::rpc::response::{self, Answer};

/// Why a session that runs without anything on disk is broken.
const NO_RECORD: &str = "it runs, and has neither a record nor a home";

/// Everything but the operations in flight.
#[derive(Debug)]
pub(super) struct AgentState {
    pub(super) config: Config,
    pub(super) sessions: SortedMap<Uuid, Session>,
    pub(super) reservations: Reservations,
    pub(super) terminals: SortedMap<TerminalId, Terminal>,
    pub(super) deleted_homes: DeletedHomes,
    pub(super) home_growth: HomeGrowth,
    /// The last work that had been handed out when a session was last taken out of the table: an
    /// older listing may still have it.
    removed: WorkId,
    /// When the runtime last told all that runs.
    pub(super) listed_at: Option<Wall>,
    /// Sessions that a listing has found ended before the runtime said how, and until when their
    /// events wait for that.
    unexplained: SortedMap<Uuid, Mono>,
    /// Sessions whose end, or that they run, is to be saved.
    pub(super) ended: Vec<Uuid>,
    /// Those whose record could not be saved, and when that is tried again.
    unsaved: SortedMap<Uuid, Mono>,
    pub(super) outage: Outage,
    /// What this host has of Claude, if that was looked at.
    pub(super) claude: Option<ClaudeOnHost>,
    pub(super) rng: Rng,
    pub(super) actions: ActionQueue,
}

/// A terminal from its header to its end.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) plan: TerminalPlan,
    pub(super) state: TerminalState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TerminalState {
    /// An operation must end first, or the session must start.
    Waiting,
    Opening,
    Open,
}

impl AgentState {
    pub(super) fn new(config: Config, rng: Rng) -> AgentState {
        AgentState {
            config,
            sessions: SortedMap::new(),
            reservations: Reservations::default(),
            terminals: SortedMap::new(),
            deleted_homes: DeletedHomes::default(),
            home_growth: HomeGrowth::default(),
            removed: WorkId(0),
            listed_at: None,
            unexplained: SortedMap::new(),
            ended: Vec::new(),
            unsaved: SortedMap::new(),
            outage: Outage::default(),
            claude: None,
            rng,
            actions: ActionQueue::default(),
        }
    }

    // --- actions ---

    pub(super) fn reply(&mut self, caller: Option<Caller>, answer: &Answer) {
        if let Some(caller) = caller {
            self.actions.push(Action::Reply { caller, line: response::to_line(answer) });
        }
    }

    pub(super) fn refuse(&mut self, terminal: TerminalId, text: String) {
        self.terminals.remove(&terminal);
        self.actions.push(Action::RefuseTerminal { terminal, text });
    }

    /// Tells something of a session. An end that waits to be explained comes before it.
    pub(super) fn emit(&mut self, now: Now, kind: EventType, session: Uuid, data: Value) {
        self.explain(now, session, LOST);
        self.push_event(now, kind, Some(session), data);
    }

    fn push_event(&mut self, now: Now, kind: EventType, session: Option<Uuid>, data: Value) {
        self.actions.push(Action::Emit(Event {
            kind,
            agent_id: self.config.agent_id.clone(),
            session_id: session,
            timestamp: now.wall,
            data,
            epoch: None,
            seq: None,
        }));
    }

    /// Takes the outcome of erasing a deleted home; returns whether the work was that.
    pub(super) fn deleted_homes_done(
        &mut self,
        now: Mono,
        work: WorkId,
        outcome: &Outcome,
    ) -> bool {
        self.deleted_homes.done(&mut self.actions, &self.config, now, work, outcome)
    }

    // --- sessions ---

    pub(super) fn session(&self, id: Uuid) -> Option<&Session> {
        self.sessions.get(&id)
    }

    pub(super) fn session_mut(&mut self, id: Uuid) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    /// Puts a session that an operation has made on disk into the table. Nothing runs in it.
    pub(super) fn add(&mut self, record: Record) {
        let (id, learned) = (record.uuid, self.actions.last_work());
        let session = Session::new(id, Body::Good(Box::new(record)), RunState::Stopped, learned);
        self.sessions.insert(id, session);
    }

    /// The user number of session `id`, where each has its own.
    pub(super) fn reserve_uid(&mut self, id: Uuid) -> Result<Option<u32>, String> {
        if !self.config.has_uids {
            return Ok(None);
        }
        let uid = self.reservations.reserve_uid(id);
        uid.map(Some).map_err(|error| error.to_string())
    }

    /// Why a port or a name cannot be reserved, with the session that has it.
    pub(super) fn reservation_refusal(&self, error: &ReservationError) -> String {
        match error.owner() {
            None => error.to_string(),
            Some(owner) => format!("{error} by {}", self.label(owner)),
        }
    }

    /// A session in sentences, also one without a home here.
    pub(super) fn label(&self, id: Uuid) -> String {
        self.session(id).map_or_else(|| format!("session \"{id}\""), Session::label)
    }

    /// The sessions that run in a container, and its id.
    pub(super) fn containers(&self) -> impl Iterator<Item = (Uuid, &str)> {
        let running = self.sessions.values().filter_map(|session| match &session.run_state {
            RunState::Running { running, .. } => Some(running),
            _ => None,
        });
        running.filter(|it| !it.container.is_empty()).map(|it| (it.id, it.container.as_str()))
    }

    /// The memory of running and starting sessions: what each uses, by `used`, or has reserved,
    /// whichever is more.
    pub(super) fn memory_taken(&self, used: &SortedMap<Uuid, u64>) -> Taken {
        let default = self.config.caps;
        let ours = self.sessions.values();
        let ours = ours.filter_map(|it| Some((it.id, it.caps_in_force(default)?)));
        let mut taken = Taken::default();
        for (id, caps) in ours {
            let reserved = capacity::reservation(self.config.memory_reservation, caps);
            taken.add(id, used.get(&id).copied().unwrap_or(0).max(reserved));
        }
        taken
    }

    /// Has the key that a session has now lent to it, or none.
    pub(super) fn lend_key(&mut self, id: Uuid) {
        let Some(session) = self.session(id) else { return };
        let has_key = session.record().is_ok_and(|it| matches!(it.ssh_key, SessionKey::Made(_)));
        let is_up = session.is_running() || session.transition != Transition::Nothing;
        self.actions.push(match has_key && is_up {
            true => Action::LendKey { session: id, uid: session.uid() },
            false => Action::EndLending { session: id },
        });
    }

    // --- what runs ---

    /// A session runs. Returns whether that is the first that is known of it.
    pub(super) fn saw_running(&mut self, now: Now, running: Running) -> bool {
        let (id, last_work, rebooted) =
            (running.id, self.actions.last_work(), self.config.rebooted);
        let Some(session) = self.sessions.get_mut(&id) else {
            return false;
        };
        let run_state = RunState::Running { running, at: now.wall };
        let was = std::mem::replace(&mut session.run_state, run_state);
        let learned = std::mem::replace(&mut session.learned, last_work);
        let is_first = was == RunState::Unknown;
        let is_again = matches!(was, RunState::Running { .. });
        if !is_again {
            self.runs_again(id);
        }
        match was {
            RunState::Running { running, at } => self.saw_running_again(now, running, at, learned),
            RunState::Stopped => {
                self.tell_untold(now, id);
                self.emit_started(now, id);
            }
            RunState::Unknown if rebooted => self.emit_started(now, id),
            RunState::Unknown => {}
        }
        if !is_again {
            self.lend_key(id);
            self.carry(id);
            self.observe(now.mono, id);
        }
        is_first
    }

    /// It ran before: either this is the same run told again, and what was known stays, or it has
    /// ended and started again unseen.
    fn saw_running_again(&mut self, now: Now, old: Running, at: Wall, learned: WorkId) {
        let id = old.id;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let RunState::Running { running: new, .. } = &session.run_state else { return };
        if new.started_at <= at.max(old.started_at) {
            session.run_state = RunState::Running { running: old, at };
            session.learned = learned;
            return;
        }
        let unconfirmed = session.unconfirmed_exit.take().map(|unconfirmed| unconfirmed.end);
        self.drop_terminals(now, id);
        self.emit_stopped(now, id, unconfirmed.unwrap_or(LOST));
        self.carry(id);
        self.observe(now.mono, id);
        self.emit_started(now, id);
    }

    /// A session does not run. Told once, whoever reports it.
    pub(super) fn saw_stopped(&mut self, now: Now, id: Uuid, end: End) {
        let Some(was) = self.end(now, id) else { return };
        // Before the first listing an operation's stop is told, because it may have changed
        // something; a listing's is not, because it is where the story begins.
        let is_told = match was {
            RunState::Running { .. } => true,
            RunState::Unknown => end.cause == Cause::Op,
            RunState::Stopped => false,
        };
        if is_told {
            self.emit_stopped(now, id, end);
        }
    }

    /// It does not run any more, whatever is told of it. Gives what it did before.
    fn end(&mut self, now: Now, id: Uuid) -> Option<RunState> {
        let last_work = self.actions.last_work();
        let session = self.sessions.get_mut(&id)?;
        let was = std::mem::replace(&mut session.run_state, RunState::Stopped);
        session.unconfirmed_exit = None;
        session.learned = last_work;
        session.attention.forget();
        session.repository.ended();
        self.drop_terminals(now, id);
        if matches!(was, RunState::Running { .. }) {
            self.actions.push(Action::EndLending { session: id });
            self.actions.push(Action::EndCarrying { session: id });
            self.actions.push(Action::EndObserving { session: id });
        }
        Some(was)
    }

    /// A listing has found that a session does not run. The runtime's list can know of an end
    /// before its news tell of it: then the event waits a moment for them, and nothing else does.
    fn saw_gone(&mut self, now: Now, id: Uuid) {
        let session = self.session(id);
        let was_running = session.is_some_and(Session::is_running);
        match session.and_then(|session| session.unconfirmed_exit) {
            None if was_running => {
                self.end(now, id);
                self.unexplained.insert(id, now.mono + END_NEWS_PATIENCE);
            }
            _ => self.saw_stopped(now, id, self.unconfirmed_end(id)),
        }
    }

    /// Takes what the runtime told when it was asked with work `asked`. Returns the sessions that
    /// are known to run for the first time: a predecessor of this agent may have left terminals.
    pub(super) fn apply_listing(
        &mut self,
        now: Now,
        asked: WorkId,
        found: Vec<Running>,
    ) -> Vec<Uuid> {
        // In the engine's order: each would be put in its place by moving all behind it.
        let mut found: BTreeMap<Uuid, Running> =
            found.into_iter().map(|running| (running.id, running)).collect();
        let mut first_seen = Vec::new();
        let ids: Vec<Uuid> = self.sessions.keys().copied().collect();
        for id in ids {
            let running = found.remove(&id);
            if self.knows_more(id, asked) {
                continue;
            }
            match running {
                Some(running) => {
                    first_seen.extend(self.saw_running(now, running).then_some(id));
                }
                None => self.saw_gone(now, id),
            }
            self.settle(id, asked);
            if self.is_over(id) {
                self.remove(now, id);
            }
        }
        if self.removed < asked {
            let room = SESSIONS_MAX.saturating_sub(self.sessions.len());
            for running in found.into_values().take(room) {
                let id = running.id;
                let body = Body::Stray(NO_RECORD.to_owned());
                self.sessions.insert(id, Session::new(id, body, RunState::Unknown, asked));
                first_seen.extend(self.saw_running(now, running).then_some(id));
            }
        }
        self.listed_at = Some(now.wall);
        self.compare(now, asked);
        first_seen
    }

    /// Whether it was nothing but what ran, and runs no more.
    fn is_over(&self, id: Uuid) -> bool {
        self.session(id).is_some_and(|it| matches!(it.body, Body::Stray(_)) && !it.is_running())
    }

    /// A session is no more.
    pub(super) fn remove(&mut self, now: Now, id: Uuid) {
        self.tell_untold(now, id);
        if self.sessions.remove(&id).is_none() {
            return;
        }
        self.reservations.release(id);
        self.removed = self.actions.last_work();
        self.emit(now, EventType::Deleted, id, Value::Null);
    }

    /// Whether a listing asked with work `asked` is older than what is known of a session.
    fn knows_more(&self, id: Uuid, asked: WorkId) -> bool {
        self.session(id).is_none_or(|session| {
            session.transition != Transition::Nothing || session.learned >= asked
        })
    }

    /// What is known of a session now is as old as the listing, and not as what was handed out
    /// since. An unconfirmed one that is older still was that of an earlier run.
    fn settle(&mut self, id: Uuid, asked: WorkId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.learned = asked;
            session.unconfirmed_exit =
                session.unconfirmed_exit.filter(|unconfirmed| unconfirmed.after >= asked);
        }
    }
}
