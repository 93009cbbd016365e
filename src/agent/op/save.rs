//! Save: writes down when a terminal was last attached.

use super::{Flow, NOTHING, Stage};
use crate::agent::session::Session;
use crate::agent::state::AgentState;
use crate::agent::work::{DiskWork, Work};
use crate::base::time::Wall;
use crate::base::uuid::Uuid;

/// The metadata is being saved with this `last_accessed`.
#[derive(Debug)]
pub(in crate::agent) struct Save(Wall);

pub(super) fn begin(session: &Session) -> Flow {
    match session.record() {
        Ok(record) => {
            let save = DiskWork::Save { id: session.id, metadata: record.to_bytes(), key: None };
            Flow::Run(Stage::Save(Save(record.last_accessed)), Work::Disk(save))
        }
        Err(text) => Flow::Done(Err(text)),
    }
}

impl Save {
    /// A failure is not tried again until the next terminal comes: it costs a place in a list. What
    /// was taken over from a home is proposed again at the next start.
    pub(super) fn step(self, state: &mut AgentState, id: Uuid) -> Flow {
        if let Some(session) = state.session_mut(id) {
            session.stored_access = self.0;
            session.is_end_unsaved = false;
        }
        Flow::Done(NOTHING)
    }
}
