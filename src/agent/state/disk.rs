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
        if let Some((disk, grown)) = told {
            let (percent, by) = (disk.used_percent(), grown.and_then(|grown| grown.by));
            let data = json!({
                "used_percent": percent,
                "home_bytes": grown.map(|grown| grown.bytes),
                "grown_bytes": by.map(|(by, _)| by),
                "seconds": by.map(|(_, time)| time.as_secs()),
            });
            let whose = match grown {
                Some(Grown { id, by: None, .. }) => {
                    format!("{} is the largest home: {data}", self.label(id))
                }
                Some(Grown { id, .. }) => format!("{} grew most: {data}", self.label(id)),
                None => "it is not by a home that it fills up".to_owned(),
            };
            self.actions.warn(format!("the disk of the homes is {percent} % full: {whose}"));
            self.push_event(now, EventType::Disk, grown.map(|grown| grown.id), data);
        }
        is_ours
    }
}
