//! Save: writes down what has changed of a session by itself: when a terminal was last attached,
//! how it ended, whether it is to run.

use super::{Flow, NOTHING, Stage};
use crate::agent::session::Session;
use crate::agent::state::AgentState;
use crate::agent::work::{DiskWork, Outcome, Work};
use crate::base::time::{Now, Wall};
use crate::base::uuid::Uuid;

/// The record is being saved as it was when that began.
#[derive(Debug)]
pub(in crate::agent) struct Save {
    last_accessed: Wall,
    record: Vec<u8>,
}

pub(super) fn begin(session: &Session) -> Flow {
    match session.record() {
        Ok(record) => {
            let (last_accessed, bytes) = (record.last_accessed, record.to_bytes());
            let save = DiskWork::Save { id: session.id, metadata: bytes.clone(), key: None };
            let stage = Stage::Save(Save { last_accessed, record: bytes });
            Flow::Run(stage, Work::Disk(save))
        }
        Err(text) => Flow::Done(Err(text)),
    }
}

impl Save {
    /// A failure is tried again later: a session that was killed must not be started by the next
    /// agent. What has changed meanwhile is saved after this.
    pub(super) fn step(
        self,
        state: &mut AgentState,
        now: Now,
        id: Uuid,
        outcome: &Outcome,
    ) -> Flow {
        let Some(session) = state.session_mut(id) else { return Flow::Done(NOTHING) };
        session.stored_access = self.last_accessed;
        session.is_end_unsaved = outcome.is_ok()
            && session.record().is_ok_and(|record| record.to_bytes() != self.record);
        if outcome.is_err() {
            state.save_later(now.mono, id);
        }
        Flow::Done(NOTHING)
    }
}
