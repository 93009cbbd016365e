//! Deadlines in a table that is indexed by what they are for.

use std::marker::PhantomData;

use super::time::Mono;

/// An enum whose variants name timers: `index` is below `N` and differs between variants.
pub(crate) trait Timer: Copy {
    /// The variant's place in the table.
    fn index(self) -> usize;
}

/// `N` deadlines, each set or not.
#[derive(Debug)]
pub(crate) struct Timers<T, const N: usize> {
    deadlines: [Option<Mono>; N],
    names: PhantomData<T>,
}

impl<T: Timer, const N: usize> Timers<T, N> {
    pub(crate) const fn new() -> Self {
        Timers { deadlines: [None; N], names: PhantomData }
    }

    /// Sets or moves one.
    pub(crate) fn set(&mut self, timer: T, at: Mono) {
        self.deadlines[timer.index()] = Some(at);
    }

    pub(crate) fn stop(&mut self, timer: T) {
        self.deadlines[timer.index()] = None;
    }

    /// Whether one is set.
    pub(crate) fn is_set(&self, timer: T) -> bool {
        self.deadlines[timer.index()].is_some()
    }

    /// If one is due at `now`, unsets it and says so.
    #[must_use = "the timer is unset by asking"]
    pub(crate) fn expire(&mut self, timer: T, now: Mono) -> bool {
        let due = self.deadlines[timer.index()].is_some_and(|at| at <= now);
        if due {
            self.stop(timer);
        }
        due
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        self.deadlines.iter().flatten().min().copied()
    }
}

impl<T: Timer, const N: usize> Default for Timers<T, N> {
    fn default() -> Self {
        Timers::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    enum Test {
        Grace,
        Idle,
    }

    impl Timer for Test {
        fn index(self) -> usize {
            self as usize
        }
    }

    #[test]
    fn the_earliest_is_next_and_fires_once() {
        let at = Mono::from_nanos;
        let mut timers: Timers<Test, 2> = Timers::new();
        assert_eq!(timers.next(), None);
        timers.set(Test::Idle, at(20));
        timers.set(Test::Grace, at(10));
        assert_eq!(timers.next(), Some(at(10)));
        assert!(!timers.expire(Test::Grace, at(9)));
        assert!(timers.expire(Test::Grace, at(10)));
        assert!(!timers.expire(Test::Grace, at(11)));
        assert_eq!(timers.next(), Some(at(20)));
    }
}
