//! How often something may be done: some times at once, and then once every so long.

use std::time::Duration;

use super::time::Mono;

/// The debt that has gathered, as the time at which it is paid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    burst: Duration,
    every: Duration,
    paid_at: Mono,
}

impl Pace {
    pub(crate) fn new(burst: u32, every: Duration) -> Pace {
        Pace { burst: every * burst, every, paid_at: Mono::ZERO }
    }

    /// When the next one may be done: `now`, or later.
    pub(crate) fn next(&self, now: Mono) -> Mono {
        now + self.paid_at.since(now).saturating_sub(self.burst.saturating_sub(self.every))
    }

    /// It is done, and counts as so many.
    pub(crate) fn take(&mut self, now: Mono, count: u32) {
        self.paid_at = self.paid_at.max(now) + self.every * count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_the_rest_is_paced() {
        let every = Duration::from_millis(100);
        let mut pace = Pace::new(3, every);
        let mut now = Mono::ZERO + Duration::from_secs(9);
        for _ in 0..3 {
            assert_eq!(pace.next(now), now);
            pace.take(now, 1);
        }
        assert_eq!(pace.next(now), now + every);
        now = now + every;
        assert_eq!(pace.next(now), now);
        pace.take(now, 4);
        assert_eq!(pace.next(now), now + every * 4);
        now = now + Duration::from_secs(60);
        for _ in 0..3 {
            assert_eq!(pace.next(now), now, "what was not used is not saved up beyond the burst");
            pace.take(now, 1);
        }
        assert!(pace.next(now) > now);
    }
}
