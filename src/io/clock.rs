//! The time, for those who hand it to cores.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::base::time::{Mono, Now, Wall};

/// Both clocks. [`Mono`] counts from when this value was made, so a process has one of it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    #[expect(clippy::new_without_default, reason = "a clock that starts unseen is a surprise")]
    pub fn new() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// The monotonic time. It stands still while the machine sleeps.
    pub fn mono(&self) -> Mono {
        Mono::ZERO + self.origin.elapsed()
    }

    pub(crate) fn wall(&self) -> Wall {
        wall_from_system(SystemTime::now())
    }

    pub fn now(&self) -> Now {
        Now { mono: self.mono(), wall: self.wall() }
    }
}

/// The calendar time of a file's timestamp or of the system.
pub(crate) fn wall_from_system(time: SystemTime) -> Wall {
    let seconds = |span: std::time::Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Wall::new(seconds(after), after.subsec_nanos()),
        Err(before) => match (before.duration(), before.duration().subsec_nanos()) {
            (before, 0) => Wall::new(-seconds(before), 0),
            (before, nanos) => Wall::new(-seconds(before) - 1, 1_000_000_000 - nanos),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn mono_starts_at_its_origin_and_wall_is_this_century() {
        let clock = Clock::new();
        let first = clock.now();
        assert!(first.mono.since(Mono::ZERO) < Duration::from_secs(60));
        assert!(clock.mono() >= first.mono);
        assert!(first.wall.seconds() > 1_700_000_000);
    }

    #[test]
    fn times_before_the_epoch_keep_their_fraction() {
        let half = wall_from_system(UNIX_EPOCH - Duration::from_millis(1500));
        assert_eq!(half, Wall::new(-2, 500_000_000));
        assert_eq!(wall_from_system(UNIX_EPOCH - Duration::from_secs(1)), Wall::new(-1, 0));
        assert_eq!(wall_from_system(UNIX_EPOCH + Duration::from_nanos(7)), Wall::new(0, 7));
    }
}
