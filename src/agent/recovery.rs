//! How often a session was started again after the engine or the host had ended it.

use std::time::Duration;

use crate::base::time::Mono;
use crate::limits::{RECOVERED_AFTER, RECOVERIES_MAX, RECOVERY_WAIT_FIRST};

/// What is remembered of a session that ran and did not any more. Nothing of it is on disk: an
/// agent that is started anew begins anew.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// So many times in a row.
    tries: u32,
    /// Since when it runs again, if it does.
    back_since: Option<Mono>,
    /// It ended, and nobody has been told.
    pub(super) is_untold: bool,
    /// Whether somebody was told that it could not be started.
    pub(super) is_failure_told: bool,
}

impl Recovery {
    /// It does not run. If it did for long since the last time, that is another story.
    pub(super) fn fell(&mut self, now: Mono) {
        if self.back_since.is_some_and(|since| now.since(since) >= RECOVERED_AFTER) {
            self.forget();
        }
        self.back_since = None;
    }

    /// It is started again. Whether it may be.
    pub(super) fn begin(&mut self) -> bool {
        let may = self.tries < RECOVERIES_MAX;
        self.tries += u32::from(may);
        may
    }

    /// The last time does not count.
    pub(super) fn take_back(&mut self) {
        self.tries = self.tries.saturating_sub(1);
    }

    /// It runs again.
    pub(super) fn came_back(&mut self, now: Mono) {
        self.back_since = Some(now);
        self.is_failure_told = false;
    }

    /// It could not be started: how long the next time is waited for, if there is one.
    pub(super) fn wait(&self) -> Option<Duration> {
        let doublings = self.tries.saturating_sub(1);
        (self.tries < RECOVERIES_MAX).then(|| RECOVERY_WAIT_FIRST * 2_u32.pow(doublings))
    }

    /// An operator has started it.
    pub(super) fn begin_anew(&mut self) {
        *self = Recovery { is_untold: self.is_untold, ..Recovery::default() };
    }

    /// All of it is another story.
    pub(super) fn forget(&mut self) {
        *self = Recovery::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn five_times_each_after_twice_the_wait_and_no_more() {
        let mut recovery = Recovery::default();
        let mut waits = Vec::new();
        while recovery.begin() {
            waits.push(recovery.wait().map(|wait| wait.as_secs()));
        }
        assert_eq!(waits, [Some(2), Some(4), Some(8), Some(16), None]);
    }

    #[test]
    fn one_that_ran_for_long_has_all_its_tries_again() {
        let mut recovery = Recovery::default();
        for (ran, may) in [(1, true), (1, true), (599, true), (600, true), (3, true), (3, true)] {
            assert_eq!(recovery.begin(), may);
            recovery.came_back(at(1000));
            recovery.fell(at(1000 + ran));
        }
        assert_eq!((0..9).filter(|_| recovery.begin()).count(), 3);
    }
}
