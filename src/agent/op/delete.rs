//! Delete: stops what runs and removes everything, of broken sessions too.
//!
//! The runtime's part goes first, the home last: an agent that dies between them leaves a session
//! that lists and can be deleted again. It is over when the home is set aside; it is erased when
//! nobody waits any more (`deleted_homes`).

use super::kill::{stopped, stopping};
use super::{DELETE, Flow, NOTHING, Stage, lock_work, unlock_work, unlocked};
use crate::agent::state::AgentState;
use crate::agent::work::{DiskWork, Outcome, RuntimeWork, Work};
use crate::base::time::Now;
use crate::base::uuid::Uuid;
use crate::rpc::response::Answer;

/// Where a deletion is.
#[derive(Debug)]
pub(in crate::agent) enum Delete {
    Locking,
    /// What the runtime has of it is being removed.
    Removing,
    /// Its home is being set aside.
    SettingAside,
    /// It could not be had from the runtime, and is left as it is.
    Unlocking(Answer),
}

pub(super) fn begin(now: Now, id: Uuid) -> Flow {
    Flow::Run(Stage::Delete(Delete::Locking), lock_work(now, id, DELETE))
}

impl Delete {
    pub(super) fn step(self, state: &mut AgentState, now: Now, id: Uuid, outcome: Outcome) -> Flow {
        match self {
            // On a full disk there is no room for a lock, and deleting is the way out.
            Delete::Locking => {
                stopping(state, id);
                let remove = Work::Runtime(RuntimeWork::Remove { id });
                Flow::Run(Stage::Delete(Delete::Removing), remove)
            }
            Delete::Removing => match stopped(state, now, id, outcome) {
                Ok(_) => {
                    let set_aside = Work::Disk(DiskWork::SetAside { id });
                    Flow::Run(Stage::Delete(Delete::SettingAside), set_aside)
                }
                Err(text) => {
                    Flow::Run(Stage::Delete(Delete::Unlocking(Err(text))), unlock_work(id))
                }
            },
            Delete::SettingAside => set_aside(state, now, id, outcome),
            Delete::Unlocking(answer) => {
                unlocked(state, now, id, DELETE, outcome);
                Flow::Done(answer)
            }
        }
    }
}

/// The home is not a session's any more; or it is, and the lock stays until somebody deletes it
/// again.
fn set_aside(state: &mut AgentState, now: Now, id: Uuid, outcome: Outcome) -> Flow {
    if let Err(error) = &outcome {
        let answer = Err(error.to_string());
        unlocked(state, now, id, DELETE, outcome);
        return Flow::Done(answer);
    }
    state.remove(now, id);
    state.deleted_homes.add(&mut state.actions, id);
    Flow::Done(NOTHING)
}
