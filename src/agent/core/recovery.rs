//! Sessions that went with the engine or the host, when they are started again.

use super::{Agent, Mode};
use crate::agent::op::SessionOp;
use crate::agent::queue::{QueuedOp, Waiters};
use crate::base::time::{Mono, Now};
use crate::base::uuid::Uuid;

impl Agent {
    /// Begins what is due, each when nothing else is in flight on it.
    pub(super) fn recover_due(&mut self, now: Now) {
        if self.state.take_ask(now.mono) {
            self.listing.want(&mut self.state.actions, now.mono, None);
        }
        for id in self.state.recoveries_due(now.mono) {
            self.go_on(now, id);
        }
    }

    /// When [`Agent::recover_due`] is wanted. A session that has its turn goes on at its end.
    pub(super) fn recovery_deadline(&self) -> Option<Mono> {
        let waiting = self.state.recoveries().filter(|(id, _)| !self.jobs.contains_key(id));
        let due = waiting.map(|(_, at)| at).min().filter(|_| self.mode == Mode::Serving);
        due.into_iter().chain(self.state.asked_deadline()).min()
    }

    /// Starting a session again, if that is due.
    pub(super) fn recovery(&self, now: Now, id: Uuid) -> Option<QueuedOp> {
        let is_due = self.mode == Mode::Serving && self.state.is_recovery_due(now.mono, id);
        is_due.then(|| QueuedOp { order: SessionOp::Recover, waiters: Waiters::default() })
    }
}
