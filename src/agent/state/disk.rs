//! Who fills the disk of the homes: told in the log and in an event.

use serde_json::json;

use super::AgentState;
use crate::agent::action::WorkId;
use crate::agent::capacity::Grown;
use crate::agent::work::Outcome;
use crate::base::time::Now;
use crate::rpc::event::EventType;

impl AgentState {
    /// Takes the outcome of a look at the disk; returns whether the work was that.
    pub(in crate::agent) fn home_growth_done(
        &mut self,
        now: Now,
        work: WorkId,
        outcome: &Outcome,
    ) -> bool {
        let AgentState { home_growth, actions, .. } = self;
        let (is_ours, told) = home_growth.done(actions, now.mono, work, outcome);
        if let Some((disk, Grown { id, bytes, by })) = told {
            let data = json!({
                "used_percent": disk.used_percent(),
                "home_bytes": bytes,
                "grown_bytes": by.map(|(by, _)| by),
                "seconds": by.map(|(_, time)| time.as_secs()),
            });
            let (label, percent) = (self.label(id), disk.used_percent());
            let text =
                format!("the disk of the homes is {percent} % full: {label} grew most: {data}");
            self.actions.warn(text);
            self.emit(now, EventType::Disk, id, data);
        }
        is_ours
    }
}
