//! Override: clears the lock that a dead agent has left.

use super::{Flow, NOTHING, Stage, unlock_work};
use crate::agent::session::{RunState, Session};
use crate::agent::state::AgentState;
use crate::agent::work::Outcome;
use crate::base::time::Now;
use crate::base::uuid::Uuid;

/// The lock is being removed.
#[derive(Debug)]
pub(in crate::agent) struct Override;

/// One that is not locked is what was wanted.
pub(super) fn begin(session: &Session) -> Flow {
    if session.lock.is_none() {
        return Flow::Done(NOTHING);
    }
    Flow::Run(Stage::Override(Override), unlock_work(session.id))
}

impl Override {
    pub(super) fn step(self, state: &mut AgentState, now: Now, id: Uuid, outcome: Outcome) -> Flow {
        if let Err(error) = outcome {
            return Flow::Done(Err(error.to_string()));
        }
        if let Some(session) = state.session_mut(id) {
            session.lock = None;
        }
        if state.session(id).is_some_and(|session| session.run_state == RunState::Stopped) {
            state.rests(now, id);
        }
        Flow::Done(NOTHING)
    }
}
