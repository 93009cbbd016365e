//! Kill: stops what runs and keeps the home.

use super::{Flow, KILL, NOTHING, Stage, lock_work, unlock_work, unlocked};
use crate::agent::session::{Cause, End, Session, Transition};
use crate::agent::state::AgentState;
use crate::agent::work::{DiskWork, Outcome, RuntimeWork, Work};
use crate::base::time::Now;
use crate::base::uuid::Uuid;
use crate::limits::SESSION_STOP_GRACE;
use crate::rpc::response::Answer;

/// Where a kill is.
#[derive(Debug)]
pub(in crate::agent) enum Kill {
    Locking,
    Stopping,
    /// That it is not to run is written down, so that nobody starts it again.
    Saving(Answer),
    Unlocking(Answer),
}

/// Even one that is not known to run is stopped: knowledge may be late, the kill is not.
pub(super) fn begin(now: Now, id: Uuid) -> Flow {
    Flow::Run(Stage::Kill(Kill::Locking), lock_work(now, id, KILL))
}

impl Kill {
    pub(super) fn step(self, state: &mut AgentState, now: Now, id: Uuid, outcome: Outcome) -> Flow {
        match self {
            // On a full disk there is no room for a lock, and the session may be what fills it.
            Kill::Locking => {
                stopping(state, id);
                let stop = RuntimeWork::Stop { id, grace: SESSION_STOP_GRACE };
                Flow::Run(Stage::Kill(Kill::Stopping), Work::Runtime(stop))
            }
            Kill::Stopping => {
                let answer = stopped(state, now, id, outcome);
                match state.session(id).filter(|it| it.is_unsaved()).map(Session::record) {
                    Some(Ok(record)) => {
                        let save = DiskWork::Save { id, metadata: record.to_bytes(), key: None };
                        Flow::Run(Stage::Kill(Kill::Saving(answer)), Work::Disk(save))
                    }
                    _ => Flow::Run(Stage::Kill(Kill::Unlocking(answer)), unlock_work(id)),
                }
            }
            Kill::Saving(answer) => {
                if let Some(session) = state.session_mut(id) {
                    session.is_end_unsaved = false;
                }
                if outcome.is_err() {
                    state.save_later(now.mono, id);
                }
                Flow::Run(Stage::Kill(Kill::Unlocking(answer)), unlock_work(id))
            }
            Kill::Unlocking(answer) => {
                unlocked(state, now, id, KILL, outcome);
                Flow::Done(answer)
            }
        }
    }
}

/// An operation is about to stop a session.
pub(super) fn stopping(state: &mut AgentState, id: Uuid) {
    if let Some(session) = state.session_mut(id) {
        session.transition = Transition::Stopping;
    }
}

/// It has, or has failed to. The exit status is that of the news, if they came first.
pub(super) fn stopped(state: &mut AgentState, now: Now, id: Uuid, outcome: Outcome) -> Answer {
    if let Some(session) = state.session_mut(id) {
        session.transition = Transition::Nothing;
    }
    outcome.map_err(|error| error.to_string())?;
    // One that went with the engine has ended before.
    state.tell_untold(now, id);
    let exit_code = state.unconfirmed_end(id).exit_code;
    state.saw_stopped(now, id, End { cause: Cause::Op, exit_code });
    state.rests(now, id);
    NOTHING
}
