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

use super::action::WorkId;
use super::config::RuntimeKind;
use super::work::{DiskWork, Outcome, RuntimeWork, Work, WorkError};
use super::world::World;
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::limits::{REMAINS_MAX, REMAINS_RETRY};

/// The homes of deleted sessions.
#[derive(Debug, Default)]
pub(super) struct DeletedHomes {
    stage: Stage,
    waiting: VecDeque<Uuid>,
    /// What could not be erased, and when that is tried again; in the order of the times.
    left: VecDeque<(Mono, Uuid)>,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Rest,
    Erasing(Uuid, WorkId),
    /// The runtime removes what is in it. Why that is needed is told if it fails, too.
    Emptying(Uuid, WorkId, WorkError),
    ErasingEmptied(Uuid, WorkId),
}

/// A home was set aside. More of them than [`REMAINS_MAX`] are left to the next start.
pub(super) fn add(world: &mut World, id: Uuid) {
    let remains = &mut world.remains;
    if remains.waiting.len() + remains.left.len() < REMAINS_MAX {
        remains.waiting.push_back(id);
        go_on(world);
    }
}

/// Takes what a piece of work came to; says whether it was of this.
pub(super) fn done(world: &mut World, now: Mono, work: WorkId, outcome: &Outcome) -> bool {
    let (id, failed) = match (mem::take(&mut world.remains.stage), outcome) {
        (Stage::Erasing(id, asked), outcome) if asked == work => match outcome {
            Err(error) if world.config.runtime == RuntimeKind::Docker => {
                let image = world.config.image.clone();
                let empty = world.run(Work::Runtime(RuntimeWork::Empty { id, image }));
                world.remains.stage = Stage::Emptying(id, empty, error.clone());
                return true;
            }
            outcome => (id, outcome.as_ref().err().map(ToString::to_string)),
        },
        (Stage::Emptying(id, asked, _), Ok(_)) if asked == work => {
            let erase = world.run(Work::Disk(DiskWork::Erase { id }));
            world.remains.stage = Stage::ErasingEmptied(id, erase);
            return true;
        }
        (Stage::Emptying(id, asked, why), Err(error)) if asked == work => {
            (id, Some(format!("{why}; and as root: {error}")))
        }
        (Stage::ErasingEmptied(id, asked), outcome) if asked == work => {
            (id, outcome.as_ref().err().map(ToString::to_string))
        }
        (other, _) => {
            world.remains.stage = other;
            return false;
        }
    };
    if let Some(why) = failed {
        world.warn(format!("deleted session {id}: its home is not all erased, tried again: {why}"));
        world.remains.left.push_back((now + REMAINS_RETRY, id));
    }
    go_on(world);
    true
}

/// Time has passed: what is due is tried again.
pub(super) fn tick(world: &mut World, now: Mono) {
    let remains = &mut world.remains;
    while let Some((_, id)) = remains.left.pop_front_if(|(at, _)| *at <= now) {
        remains.waiting.push_back(id);
    }
    go_on(world);
}

fn go_on(world: &mut World) {
    if let Stage::Rest = world.remains.stage
        && let Some(id) = world.remains.waiting.pop_front()
    {
        let work = world.run(Work::Disk(DiskWork::Erase { id }));
        world.remains.stage = Stage::Erasing(id, work);
    }
}

impl DeletedHomes {
    /// When [`tick`] is wanted next.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.left.front().map(|(at, _)| *at)
    }
}
