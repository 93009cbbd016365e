//! What the core learns of the runtime: listings and events.
//!
//! A listing is the truth of the moment in which it was asked for. Events are hints: what they say
//! is believed after a listing has confirmed it, because they may be the echo of an earlier run.

use std::collections::VecDeque;

use super::Agent;
use crate::agent::action::WorkId;
use crate::agent::listing::ListingReader;
use crate::agent::op::SessionOp;
use crate::agent::queue::{QueuedOp, Waiters};
use crate::agent::session::{End, RunState, Transition, UnconfirmedExit};
use crate::agent::work::{Done, Outcome, Running, WorkError};
use crate::base::time::Now;
use crate::base::uuid::Uuid;

impl Agent {
    pub(super) fn listed(
        &mut self,
        now: Now,
        work: WorkId,
        readers: Vec<ListingReader>,
        outcome: Outcome,
    ) {
        let result = match outcome {
            Ok(Done::Listed(found)) => {
                self.gone = None;
                for id in self.state.apply_listing(now, work, found) {
                    self.sweep(now, id);
                }
                Ok(Done::Done)
            }
            Ok(_) => Err(WorkError::Mismatch),
            Err(error) => {
                self.state.not_compared(now.mono);
                Err(error)
            }
        };
        let stale = result.as_ref().err().map(ToString::to_string);
        self.answer_readers(&readers, stale.as_deref());
        for id in jobs_of(&readers) {
            self.step(now, id, result.clone());
        }
    }

    /// Detaches what a predecessor of this agent has left on a session, before anybody else has
    /// his turn there.
    fn sweep(&mut self, now: Now, id: Uuid) {
        let request = QueuedOp { order: SessionOp::Sweep, waiters: Waiters::default() };
        match self.jobs.get_mut(&id) {
            None => self.begin(now, id, request, VecDeque::new()),
            Some((_, stage)) if stage.sweeps() => {}
            Some((job, _)) => job.behind.push_front(request),
        }
    }

    /// One that is known to run has either started again or is an echo; what is not known to run
    /// may have been stopped since.
    pub(super) fn runtime_started(&mut self, now: Now, running: Running) {
        let Some(session) = self.state.session(running.id) else {
            return;
        };
        match session.run_state {
            _ if session.transition != Transition::Nothing => {}
            RunState::Running { .. } => {
                self.state.saw_running(now, running);
            }
            RunState::Unknown | RunState::Stopped => {
                self.listing.want(&mut self.state.actions, now.mono, None)
            }
        }
    }

    pub(super) fn runtime_ended(&mut self, now: Now, id: Uuid, end: End) {
        if self.state.explain(now, id, end) {
            return;
        }
        let after = self.state.actions.last_work();
        let Some(session) = self.state.session_mut(id) else {
            return;
        };
        if session.run_state == RunState::Stopped && session.transition == Transition::Nothing {
            return;
        }
        session.unconfirmed_exit = Some(UnconfirmedExit { end, after });
        if session.transition == Transition::Nothing {
            self.listing.want(&mut self.state.actions, now.mono, None);
        }
    }
}

fn jobs_of(readers: &[ListingReader]) -> Vec<Uuid> {
    let job = |reader: &ListingReader| match reader {
        ListingReader::Job(id) => Some(*id),
        ListingReader::List(_) | ListingReader::Get(..) => None,
    };
    readers.iter().filter_map(job).collect()
}
