//! What ran, compared with what runs: once after the agent's start, and whenever the engine is
//! back.
//!
//! The record says whether a session was started and nobody has stopped it since. One that does not
//! run all the same went with the engine or the host; it is looked at, and started again.

use super::AgentState;
use crate::agent::action::WorkId;
use crate::agent::config::RuntimeKind;
use crate::agent::session::{Body, Cause, End, RunState, Transition, UnconfirmedExit};
use crate::agent::work::Running;
use crate::base::sorted_map::SortedMap;
use crate::base::text::printable;
use crate::base::time::{Mono, Now, Wall};
use crate::base::uuid::Uuid;
use crate::limits::{
    ASKED_END_PATIENCE, END_REASON_BYTES_MAX, RECOVERIES_MAX, RECOVERY_WAIT_FIRST,
};

/// How a refusal begins if the engine did not answer at all.
const UNREACHABLE: &str = "docker: not reachable";

/// What is known of times without the engine.
#[derive(Debug)]
pub(in crate::agent) struct Outage {
    /// Whether there is one now.
    is_on: bool,
    /// A listing that is asked after this work is compared with what ran.
    compare_after: Option<WorkId>,
    /// When the runtime is asked once more for it, if it has not answered.
    ask_at: Option<Mono>,
    /// Whether the agent has just started: then only records know what ran.
    is_start: bool,
    /// When sessions are started again, or looked at.
    due: SortedMap<Uuid, Mono>,
    /// Sessions that were asked to end, or are lost, and until when that may be because the engine
    /// goes down.
    asked: SortedMap<Uuid, Mono>,
}

impl Default for Outage {
    fn default() -> Outage {
        Outage {
            is_on: false,
            compare_after: Some(WorkId(0)),
            ask_at: None,
            is_start: true,
            due: SortedMap::new(),
            asked: SortedMap::new(),
        }
    }
}

impl AgentState {
    /// The engine is gone. What ended shortly before went with it, and so did what has no other
    /// explanation.
    pub(in crate::agent) fn engine_gone(&mut self) {
        if std::mem::replace(&mut self.outage.is_on, true) {
            return;
        }
        self.outage.due = SortedMap::new();
        for id in std::mem::take(&mut self.outage.asked).keys() {
            let Some(session) = self.sessions.get_mut(id) else { continue };
            let Body::Good(record) = &mut session.body else { continue };
            if let Some(ended) = &mut record.ended {
                Cause::Engine.as_str().clone_into(&mut ended.cause);
                session.is_end_unsaved = true;
                self.ended.push(*id);
            }
        }
        for id in std::mem::take(&mut self.unexplained).keys() {
            if let Some(session) = self.sessions.get_mut(id) {
                session.recovery.is_untold = true;
            }
        }
    }

    /// The engine is back: the next listing is compared with what ran.
    pub(in crate::agent) fn engine_back(&mut self) {
        if std::mem::take(&mut self.outage.is_on) {
            self.outage.compare_after = Some(self.actions.last_work());
        }
    }

    /// A listing has failed. What ran is not forgotten for that.
    pub(in crate::agent) fn not_compared(&mut self, now: Mono) {
        if self.outage.compare_after.is_some() && !self.outage.is_on {
            self.outage.ask_at = Some(now + RECOVERY_WAIT_FIRST);
        }
    }

    /// Whether the runtime is to be asked once more what runs.
    pub(in crate::agent) fn take_ask(&mut self, now: Mono) -> bool {
        self.outage.ask_at.take_if(|at| *at <= now).is_some()
    }

    /// Finds what ran and does not, and what may have been started anew unseen.
    pub(super) fn compare(&mut self, now: Now, asked: WorkId) {
        if self.outage.compare_after.is_none_or(|after| asked <= after) {
            return;
        }
        (self.outage.compare_after, self.outage.ask_at) = (None, None);
        let is_start = std::mem::take(&mut self.outage.is_start);
        // The host runtime's sessions end by themselves, or with the host.
        let ends_alone =
            is_start && self.config.runtime == RuntimeKind::Host && !self.config.rebooted;
        let mut lost = Vec::new();
        for session in self.sessions.values_mut() {
            let Body::Good(record) = &session.body else { continue };
            let is_busy = session.lock.is_some() || session.transition != Transition::Nothing;
            match &session.run_state {
                _ if is_busy || !record.runs => {}
                RunState::Running { .. } if is_start => {}
                RunState::Running { .. } => drop(self.outage.due.insert(session.id, now.mono)),
                _ if ends_alone => lost.push(session.id),
                _ => {
                    session.recovery.fell(now.mono);
                    if record.ended.is_none() {
                        session.recovery.is_untold = true;
                    }
                    self.outage.due.insert(session.id, now.mono);
                }
            }
        }
        for id in lost {
            self.emit_stopped(now, id, super::ends::LOST);
            self.rests(now, id);
        }
        for id in self.outage.due.keys() {
            self.unexplained.remove(id);
            self.outage.asked.remove(id);
        }
    }

    /// Sessions that are to be started again, or looked at, by now.
    pub(in crate::agent) fn recoveries_due(&self, now: Mono) -> Vec<Uuid> {
        let due = self.outage.due.iter().filter(|(_, at)| **at <= now);
        due.map(|(id, _)| *id).collect()
    }

    /// Whether a session went with the engine and is to run again.
    pub(in crate::agent) fn went_with_engine(&self, id: Uuid) -> bool {
        let is_untold = self.session(id).is_some_and(|session| session.recovery.is_untold);
        is_untold || self.outage.due.contains_key(&id)
    }

    pub(in crate::agent) fn is_recovery_due(&self, now: Mono, id: Uuid) -> bool {
        self.outage.due.get(&id).is_some_and(|at| *at <= now)
    }

    /// When that is, of each.
    pub(in crate::agent) fn recoveries(&self) -> impl Iterator<Item = (Uuid, Mono)> {
        self.outage.due.iter().map(|(id, at)| (*id, *at))
    }

    /// It has its turn, whatever comes of that.
    pub(in crate::agent) fn take_recovery(&mut self, id: Uuid) {
        self.outage.due.remove(&id);
    }

    /// A session that is known to run does so since then: if that is later, it is another run.
    pub(in crate::agent) fn saw_since(&mut self, now: Now, id: Uuid, since: Wall) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let RunState::Running { running, at } = &session.run_state else { return };
        if since <= (*at).max(running.started_at) {
            return;
        }
        let again = Running { started_at: since, ..running.clone() };
        let end = End { cause: Cause::Engine, exit_code: None };
        let after = self.actions.last_work();
        session.unconfirmed_exit = Some(UnconfirmedExit { end, after });
        self.saw_running(now, again);
    }

    /// It ended by itself while nobody listened.
    pub(in crate::agent) fn ended_unseen(&mut self, now: Now, id: Uuid, end: End) {
        self.emit_stopped(now, id, end);
    }

    /// A session that fell with the engine is to be started again. Says no if that was tried too
    /// often, and tells so.
    pub(in crate::agent) fn may_recover(&mut self, now: Now, id: Uuid) -> bool {
        let may = self.session_mut(id).is_some_and(|session| session.recovery.begin());
        if !may {
            let text = format!(
                "it was started again {RECOVERIES_MAX} times and did not stay; start it by hand: \
                 convocate restart SESSION"
            );
            self.give_up(now, id, &text);
        }
        may
    }

    /// It was started again, or not.
    pub(in crate::agent) fn recovered(&mut self, now: Now, id: Uuid, outcome: Result<(), &str>) {
        let is_on = self.outage.is_on;
        let Some(session) = self.session_mut(id) else { return };
        let why = match outcome {
            Ok(()) => return session.recovery.came_back(now.mono),
            Err(why) => printable(why).into_owned(),
        };
        let why = &why[..why.floor_char_boundary(END_REASON_BYTES_MAX / 2)];
        if is_on || why.starts_with(UNREACHABLE) {
            // It is not the session's fault.
            session.recovery.take_back();
            if !is_on {
                self.outage.due.insert(id, now.mono + RECOVERY_WAIT_FIRST);
            }
            return;
        }
        match (session.record().is_ok_and(|record| record.runs), session.recovery.wait()) {
            // Its command ended at once, which was told.
            (false, _) => {}
            (true, None) => {
                let text = format!(
                    "{why}; it was tried {RECOVERIES_MAX} times; when that is mended: convocate \
                     restart SESSION"
                );
                self.give_up(now, id, &text);
            }
            (true, Some(wait)) => {
                self.outage.due.insert(id, now.mono + wait);
                self.tell_failure(now, id, &format!("{why}; it is tried again"));
            }
        }
    }

    /// It is left stopped.
    fn give_up(&mut self, now: Now, id: Uuid, why: &str) {
        self.tell_end(now, id, End { cause: Cause::Engine, exit_code: None }, why);
        self.rests(now, id);
        if let Some(session) = self.session_mut(id) {
            session.recovery.forget();
        }
    }

    /// The first failure is told, the next ones stand in the listing.
    fn tell_failure(&mut self, now: Now, id: Uuid, why: &str) {
        let Some(session) = self.session_mut(id) else { return };
        let is_told = std::mem::replace(&mut session.recovery.is_failure_told, true);
        if !is_told || session.recovery.is_untold {
            return self.tell_end(now, id, End { cause: Cause::Engine, exit_code: None }, why);
        }
        if let Body::Good(record) = &mut session.body
            && let Some(ended) = &mut record.ended
        {
            why.clone_into(&mut ended.reason);
        }
    }

    /// Tells the end of a session that is not to wait for its restart any more.
    pub(in crate::agent) fn tell_untold(&mut self, now: Now, id: Uuid) {
        let is_untold = self.session(id).is_some_and(|session| session.recovery.is_untold);
        if is_untold {
            self.tell_end(now, id, End { cause: Cause::Engine, exit_code: None }, "");
        }
    }

    /// An end is told: whether the session is to run all the same.
    pub(super) fn note_end(&mut self, now: Mono, id: Uuid, cause: Cause) {
        self.outage.asked.remove(&id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.recovery.is_untold = false;
        let Body::Good(record) = &mut session.body else { return };
        match cause {
            Cause::Engine => {}
            // It has gone already: its return decides.
            Cause::Asked | Cause::Lost if record.runs && self.outage.is_on => {}
            // If the engine goes now, this was the beginning of that.
            Cause::Asked | Cause::Lost if record.runs => {
                self.outage.asked.insert(id, now + ASKED_END_PATIENCE);
            }
            Cause::Op | Cause::Exit | Cause::Oom | Cause::Asked | Cause::Lost => {
                record.runs = false;
            }
        }
    }

    /// The engine has stayed: it was somebody else who asked.
    pub(super) fn tick_asked(&mut self, now: Now) {
        let due = |until: &Mono| *until <= now.mono;
        let over: Vec<Uuid> =
            self.outage.asked.iter().filter(|(_, until)| due(until)).map(|(id, _)| *id).collect();
        over.into_iter().for_each(|id| self.rests(now, id));
    }

    /// When [`AgentState::tick_asked`] or [`AgentState::take_ask`] is wanted next.
    pub(in crate::agent) fn asked_deadline(&self) -> Option<Mono> {
        self.outage.asked.values().min().copied().into_iter().chain(self.outage.ask_at).min()
    }

    /// It runs, whoever started it: that is what its record says from now on.
    pub(super) fn runs_again(&mut self, id: Uuid) {
        self.outage.due.remove(&id);
        self.outage.asked.remove(&id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.recovery.is_failure_told = false;
        }
        self.note_runs(id, true);
    }

    /// It does not run, and is not to.
    pub(in crate::agent) fn rests(&mut self, now: Now, id: Uuid) {
        self.tell_untold(now, id);
        self.outage.asked.remove(&id);
        if self.outage.due.remove(&id).is_some() {
            // It says that it is tried again.
            self.forget_reason(id);
        }
        self.note_runs(id, false);
    }

    fn forget_reason(&mut self, id: Uuid) {
        if let Some(session) = self.sessions.get_mut(&id)
            && let Body::Good(record) = &mut session.body
            && let Some(ended) = &mut record.ended
        {
            ended.reason.clear();
        }
    }

    fn note_runs(&mut self, id: Uuid, runs: bool) {
        if let Some(session) = self.sessions.get_mut(&id)
            && let Body::Good(record) = &mut session.body
            && std::mem::replace(&mut record.runs, runs) != runs
        {
            session.is_end_unsaved = true;
            self.ended.push(id);
        }
    }
}
