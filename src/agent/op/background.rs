//! Background: detaches every terminal and leaves the session running.

use super::{Flow, NOTHING, Stage};
use crate::agent::session::{RunState, Session};
use crate::agent::state::AgentState;
use crate::agent::work::{Outcome, RuntimeWork, Work};
use crate::base::uuid::Uuid;

/// Terminals are being detached.
#[derive(Debug)]
pub(in crate::agent) enum Background {
    /// All of them, because somebody asked.
    Detaching,
    /// Those that a predecessor of this agent left. There are none of ours yet.
    Sweeping,
}

/// One that does not run has nothing attached.
pub(super) fn begin(session: &Session) -> Flow {
    if session.run_state == RunState::Stopped {
        return Flow::Done(NOTHING);
    }
    let work = Work::Runtime(RuntimeWork::Detach { id: session.id, uid: session.uid() });
    Flow::Run(Stage::Background(Background::Detaching), work)
}

impl Background {
    pub(super) fn step(self, state: &mut AgentState, id: Uuid, outcome: Outcome) -> Flow {
        if let Err(error) = outcome {
            return Flow::Done(Err(error.to_string()));
        }
        if let Background::Detaching = self {
            state.close_terminals(id);
        }
        Flow::Done(NOTHING)
    }
}
