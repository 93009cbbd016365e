//! Who is due next, of many whose deadlines move with every turn.
//!
//! Most deadlines only move further away: a keepalive with each byte that comes. So an entry is
//! moved when its deadline comes closer, and else stays where it is; who looks at it then finds it
//! not due, and notes it anew. A look is at most one per deadline that was noted.

use std::collections::BTreeSet;

use super::time::Mono;

#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    queue: BTreeSet<(Mono, K)>,
}

/// When an owner of a [`Deadlines`] is looked at next; belongs beside the owner.
#[derive(Debug, Default)]
pub(crate) struct Noted(Option<Mono>);

impl<K: Copy + Ord> Deadlines<K> {
    pub(crate) const fn new() -> Deadlines<K> {
        Deadlines { queue: BTreeSet::new() }
    }

    /// The deadline of `key` is `at` now.
    pub(crate) fn note(&mut self, key: K, noted: &mut Noted, at: Option<Mono>) {
        let Some(at) = at.filter(|at| noted.0.is_none_or(|noted| *at < noted)) else { return };
        self.forget(key, noted);
        self.queue.insert((at, key));
        noted.0 = Some(at);
    }

    /// `key` is due no more.
    pub(crate) fn forget(&mut self, key: K, noted: &mut Noted) {
        if let Some(at) = noted.0.take() {
            self.queue.remove(&(at, key));
        }
    }

    /// When somebody may be due.
    pub(crate) fn next(&self) -> Option<Mono> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// One who may be due at `now`. It is taken out: its [`Noted`] is to be set back to the default
    /// and its deadline noted anew.
    pub(crate) fn pop(&mut self, now: Mono) -> Option<K> {
        self.next().filter(|at| *at <= now)?;
        self.queue.pop_first().map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_comes_first_and_a_late_one_is_looked_at_once_too_early() {
        let at = |nanos| Some(Mono::from_nanos(nanos));
        let (mut all, mut one, mut two) = (Deadlines::new(), Noted::default(), Noted::default());
        all.note(1, &mut one, at(10));
        all.note(2, &mut two, at(20));
        all.note(2, &mut two, at(5));
        assert_eq!(all.next(), at(5));
        all.note(2, &mut two, at(30));
        all.note(2, &mut two, None);
        assert_eq!(all.pop(Mono::from_nanos(4)), None);
        assert_eq!(all.pop(Mono::from_nanos(5)), Some(2));
        two = Noted::default();
        all.note(2, &mut two, at(30));
        assert_eq!(all.next(), at(10));
        all.forget(1, &mut one);
        all.forget(1, &mut one);
        assert_eq!(all.next(), at(30));
    }
}
