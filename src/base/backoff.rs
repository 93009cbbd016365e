//! How long to wait before the next try.
//!
//! Doubles from a first delay up to a cap, and every delay is jittered, the first one too, so that
//! peers which lost the same server do not come back at the same moment.

use std::time::Duration;

use super::rng::Rng;

/// The delays of one thing that is tried again and again. Retrying never stops.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    cap: Duration,
    next: Duration,
}

impl Backoff {
    /// Delays that start at `first` and double up to `cap`.
    pub(crate) const fn new(first: Duration, cap: Duration) -> Backoff {
        Backoff { first, cap, next: first }
    }

    /// The delay before the next try: between half of the current step and all of it.
    pub(crate) fn delay(&mut self, rng: &mut Rng) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.cap);
        jittered(step, rng)
    }

    /// The delay before the next try where nobody has answered: a first one, however often.
    pub(crate) fn brief(&self, rng: &mut Rng) -> Duration {
        jittered(self.first, rng)
    }

    /// Starts again at the first delay. To be called when the peer has answered something, not when
    /// a connection merely opened.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

fn jittered(step: Duration, rng: &mut Rng) -> Duration {
    let half = step / 2;
    let jitter_ms = u32::try_from(half.as_millis()).unwrap_or(u32::MAX - 1);
    half + Duration::from_millis(u64::from(rng.below(jitter_ms + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_cap_with_jitter_and_resets() {
        let seconds = Duration::from_secs;
        let mut rng = Rng::from_seed([0; 32]);
        let mut backoff = Backoff::new(seconds(1), seconds(30));
        for step in [1, 2, 4, 8, 16, 30, 30] {
            let delay = backoff.delay(&mut rng);
            assert!(delay >= seconds(step) / 2 && delay <= seconds(step), "{step} {delay:?}");
        }
        assert!(backoff.brief(&mut rng) <= seconds(1));
        assert!(backoff.delay(&mut rng) > seconds(1), "a brief wait changes no other");
        backoff.reset();
        assert!(backoff.delay(&mut rng) <= seconds(1));
        let delays: Vec<_> =
            (0..8).map(|_| Backoff::new(seconds(1), seconds(30)).delay(&mut rng)).collect();
        assert!(delays.iter().any(|delay| *delay != delays[0]));
    }
}
