//! Looks at the repositories of sessions, few at once.

use super::{Agent, Mode};
use crate::agent::action::WorkId;
use crate::agent::work::{Done, Outcome};
use crate::base::time::{Mono, Now};
use crate::limits::REPOSITORY_LOOKS_MAX;

impl Agent {
    /// Begins the looks that are due and have room.
    pub(super) fn look_at_repositories(&mut self, now: Now) {
        while let Some((at, id)) = self.next_repository()
            && at <= now.mono
        {
            if let Some(work) = self.state.look_at_repository(now.mono, id) {
                self.repository_looks.insert(work, id);
            }
        }
    }

    /// When the next look is due that has room.
    pub(super) fn repositories_due(&self) -> Option<Mono> {
        self.next_repository().map(|(at, _)| at)
    }

    fn next_repository(&self) -> Option<(Mono, crate::base::uuid::Uuid)> {
        let has_room = self.repository_looks.len() < REPOSITORY_LOOKS_MAX;
        (has_room && self.mode == Mode::Serving && self.gone.is_none())
            .then(|| self.state.repository_due())
            .flatten()
    }

    /// Takes the outcome of a look, if it was one.
    pub(super) fn repository_done(&mut self, now: Now, work: WorkId, outcome: &Outcome) -> bool {
        let Some(id) = self.repository_looks.remove(&work) else { return false };
        let exited = match outcome {
            Ok(Done::Exited(exited)) => Some(exited),
            _ => None,
        };
        self.state.saw_repository(now, id, exited);
        true
    }
}
