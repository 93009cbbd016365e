//! What the programs in sessions want of a person.

use serde_json::json;

use super::AgentState;
use crate::agent::action::Action;
use crate::agent::attention::{Known, Look, Rules};
use crate::agent::session::{RunState, Session};
use crate::base::time::{Mono, Now};
use crate::base::uuid::Uuid;
use crate::rpc::event::EventType;

impl AgentState {
    /// Has a session that runs looked at from now on. What was known of it was of an earlier run.
    pub(super) fn observe(&mut self, now: Mono, id: Uuid) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let RunState::Running { running, .. } = &session.run_state else { return };
        session.attention.forget();
        self.actions.push(Action::Observe { session: id, container: running.container.clone() });
        self.started_with_repository(now, id);
    }

    /// Takes a look at a session's status files.
    pub(in crate::agent) fn looked(&mut self, now: Now, id: Uuid, rules: &Rules, look: &Look) {
        self.change_attention(now, id, |known| known.saw(now, rules, look));
    }

    /// A person, or somebody for him, has looked at a session.
    pub(in crate::agent) fn looked_at(&mut self, now: Now, id: Uuid) {
        self.change_attention(now, id, Known::looked_at);
        self.stir_repository(now.mono, id);
    }

    /// Something was typed into a session without a terminal.
    pub(in crate::agent) fn sent(&mut self, now: Now, id: Uuid) {
        self.change_attention(now, id, |known| known.sent(now.mono));
        self.stir_repository(now.mono, id);
    }

    /// Tells what has changed, of one that runs.
    fn change_attention(&mut self, now: Now, id: Uuid, act: impl FnOnce(&mut Known) -> bool) {
        let session = self.sessions.get_mut(&id).filter(|session| Session::is_running(session));
        let Some(session) = session else { return };
        if act(&mut session.attention) {
            let data = json!(session.attention.told());
            self.emit(now, EventType::Attention, id, data);
            self.stir_repository(now.mono, id);
        }
    }
}
