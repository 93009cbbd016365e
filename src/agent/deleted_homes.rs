//! What deleted sessions leave: homes that were set aside, and are erased one after the other.
//!
//! A deletion is over when its home has another name; the erasing can take minutes and nobody waits
//! for it. What this agent may not erase, because somebody else owns a directory in it, the runtime
//! is asked to empty, and then this agent tries again. What is left all the same is tried later.
//! After a crash the driver finds the homes by their names, and hands them in again.
//!
//! States: at rest, erasing, having it emptied, erasing what was emptied.

use std::collections::VecDeque;
use std::mem;

use super::action::{ActionQueue, WorkId};
use super::config::{Config, RuntimeKind};
use super::work::{DiskWork, Outcome, RuntimeWork, Work, WorkError};
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::limits::{REMAINS_MAX, REMAINS_RETRY};

/// The homes of deleted sessions.
#[derive(Debug, Default)]
pub(super) struct DeletedHomes {
    stage: EraseStage,
    waiting: VecDeque<Uuid>,
    /// What could not be erased, and when that is tried again; in the order of the times.
    left: VecDeque<(Mono, Uuid)>,
}

#[derive(Debug, Default)]
enum EraseStage {
    #[default]
    Rest,
    Erasing(Uuid, WorkId),
    /// The runtime removes what is in it. Why that is needed is told if it fails, too.
    ErasingAsRoot(Uuid, WorkId, WorkError),
    ErasingAgain(Uuid, WorkId),
}

impl DeletedHomes {
    /// A home was set aside. More of them than [`REMAINS_MAX`] are left to the next start.
    pub(super) fn add(&mut self, actions: &mut ActionQueue, id: Uuid) {
        if self.waiting.len() + self.left.len() < REMAINS_MAX {
            self.waiting.push_back(id);
            self.erase_next(actions);
        }
    }

    /// Takes the outcome of a piece of work; returns whether the work was this module's.
    pub(super) fn done(
        &mut self,
        actions: &mut ActionQueue,
        config: &Config,
        now: Mono,
        work: WorkId,
        outcome: &Outcome,
    ) -> bool {
        let (id, failed) = match (mem::take(&mut self.stage), outcome) {
            (EraseStage::Erasing(id, asked), Err(error))
                if asked == work && config.runtime == RuntimeKind::Docker =>
            {
                let image = config.image.clone();
                let work_id = actions.run(Work::Runtime(RuntimeWork::EraseAsRoot { id, image }));
                self.stage = EraseStage::ErasingAsRoot(id, work_id, error.clone());
                return true;
            }
            (EraseStage::ErasingAsRoot(id, asked, _), Ok(_)) if asked == work => {
                let erase = actions.run(Work::Disk(DiskWork::Erase { id }));
                self.stage = EraseStage::ErasingAgain(id, erase);
                return true;
            }
            (EraseStage::ErasingAsRoot(id, asked, why), Err(error)) if asked == work => {
                (id, Some(format!("{why}; and as root: {error}")))
            }
            (EraseStage::Erasing(id, asked) | EraseStage::ErasingAgain(id, asked), outcome)
                if asked == work =>
            {
                (id, outcome.as_ref().err().map(ToString::to_string))
            }
            (other, _) => {
                self.stage = other;
                return false;
            }
        };
        if let Some(why) = failed {
            let text =
                format!("deleted session {id}: its home is not all erased, tried again: {why}");
            actions.warn(text);
            self.left.push_back((now + REMAINS_RETRY, id));
        }
        self.erase_next(actions);
        true
    }

    /// Tries again what is due.
    pub(super) fn tick(&mut self, actions: &mut ActionQueue, now: Mono) {
        while let Some((_, id)) = self.left.pop_front_if(|(at, _)| *at <= now) {
            self.waiting.push_back(id);
        }
        self.erase_next(actions);
    }

    /// When [`DeletedHomes::tick`] is wanted next.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.left.front().map(|(at, _)| *at)
    }

    fn erase_next(&mut self, actions: &mut ActionQueue) {
        if let EraseStage::Rest = self.stage
            && let Some(id) = self.waiting.pop_front()
        {
            let work = actions.run(Work::Disk(DiskWork::Erase { id }));
            self.stage = EraseStage::Erasing(id, work);
        }
    }
}
