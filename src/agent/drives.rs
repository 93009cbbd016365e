//! The calls that drive sessions, as far as they are under way: what runs for whom, and who waits
//! for whose end.

use super::action::{Caller, WorkId};
use super::drive::Drive;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::limits::{EXECS_MAX, SCREENS_MAX};
use crate::rpc::drive::WaitFor;

/// What runs in sessions for callers, and who waits for what.
#[derive(Debug, Default)]
pub(super) struct Drives {
    pub(super) running: SortedMap<WorkId, Running>,
    pub(super) waits: Vec<Waiting>,
    /// When the waits were looked at last.
    pub(super) looked_at: Mono,
}

#[derive(Debug)]
pub(super) struct Running {
    /// `None` once it is gone.
    pub(super) caller: Option<Caller>,
    pub(super) drive: Drive,
    pub(super) began: Mono,
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) caller: Caller,
    pub(super) ids: Vec<Uuid>,
    pub(super) what: WaitFor,
    pub(super) until: Mono,
}

impl Drives {
    /// When a wait is over.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.waits.iter().map(|wait| wait.until).min()
    }

    pub(super) fn forget(&mut self, caller: Caller) {
        self.waits.retain(|wait| wait.caller != caller);
        for running in self.running.values_mut() {
            running.caller = running.caller.filter(|waiting| *waiting != caller);
        }
    }

    pub(super) fn has_room(&self, drive: &Drive) -> bool {
        let is_exec = |drive: &Drive| matches!(drive, Drive::Exec(_));
        let max = if is_exec(drive) { EXECS_MAX } else { SCREENS_MAX };
        let alike = |running: &&Running| is_exec(&running.drive) == is_exec(drive);
        self.running.values().filter(alike).count() < max
    }
}
