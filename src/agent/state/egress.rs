//! What a session reaches by name: whose connections are carried, and who may have that.

use super::AgentState;
use crate::agent::action::Action;
use crate::agent::config::RuntimeKind;
use crate::agent::session::{RunState, Transition};
use crate::base::uuid::Uuid;
use crate::rpc::egress::EgressRules;
use crate::rpc::field::FieldError;
use crate::rpc::network::Egress;

impl AgentState {
    /// Has the connections of a session carried by the rules that it has now, if it reaches names
    /// alone. One that runs is what it was started as.
    pub(in crate::agent) fn carry(&mut self, id: Uuid) {
        let Some(session) = self.session(id) else { return };
        let Ok(record) = session.record() else { return };
        let is_carried = match &session.run_state {
            RunState::Running { running, .. } => running.is_carried,
            RunState::Unknown | RunState::Stopped => {
                record.egress == Egress::List && session.transition != Transition::Nothing
            }
        };
        self.actions.push(match is_carried {
            true => Action::Carry {
                session: id,
                uid: session.uid(),
                rules: record.allow.clone(),
                port: (record.port, record.publish),
            },
            false => Action::EndCarrying { session: id },
        });
    }

    /// Whether a session may have these.
    ///
    /// # Errors
    /// Rules are for sessions that reach names alone, and those are containers.
    pub(in crate::agent) fn check_egress(
        &self,
        egress: Egress,
        rules: &EgressRules,
    ) -> Result<(), FieldError> {
        let why = match egress {
            Egress::List if self.config.runtime == RuntimeKind::Host => {
                "egress list needs a container, and this agent's sessions have none"
            }
            Egress::Open | Egress::None if !rules.is_empty() => {
                "what a session reaches by name is chosen with egress list; add it"
            }
            _ => return Ok(()),
        };
        Err(FieldError(why.to_owned()))
    }
}
