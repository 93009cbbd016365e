//! Whether the network to an attached terminal is silent, and what was typed meanwhile.
//!
//! A program may say nothing to a key, so its agent is asked whether it is there (a keepalive of
//! the transport, which everybody answers): a second after a key to which nothing has come, and
//! every few seconds where nothing comes at all. What is not answered in time is a silence, until
//! anything comes.

use std::time::Duration;

use crate::base::time::Mono;
use crate::limits::{SILENCE_ASK_AFTER, SILENCE_ASK_EVERY, SILENCE_TOLD_AFTER};

#[derive(Clone, Debug)]
pub(super) struct Silence {
    heard_at: Mono,
    /// The first key since, or the question.
    waits_since: Option<Mono>,
    is_asked: bool,
    /// Keys since something was heard.
    keys: u64,
    /// What was told last.
    told: Option<Duration>,
}

impl Silence {
    /// Something was heard at this time.
    pub(super) fn new(heard_at: Mono) -> Silence {
        Silence { heard_at, waits_since: None, is_asked: false, keys: 0, told: None }
    }

    pub(super) fn heard(&mut self, now: Mono) {
        *self = Silence::new(now);
    }

    pub(super) fn typed(&mut self, now: Mono, keys: u64) {
        if keys > 0 {
            self.waits_since.get_or_insert(now);
            self.keys += keys;
        }
    }

    /// Whether the agent is to be asked now. It was, if so.
    #[must_use]
    pub(super) fn asks(&mut self, now: Mono) -> bool {
        let is_due = self.asks_at().is_some_and(|at| at <= now);
        if is_due {
            self.is_asked = true;
            self.waits_since.get_or_insert(now);
        }
        is_due
    }

    fn asks_at(&self) -> Option<Mono> {
        let at = match self.waits_since {
            Some(since) => since + SILENCE_ASK_AFTER,
            None => self.heard_at + SILENCE_ASK_EVERY,
        };
        (!self.is_asked).then_some(at)
    }

    /// For how long it is silent, in whole seconds, if that is to be told.
    pub(super) fn lasts(&mut self, now: Mono) -> Option<Duration> {
        let span = now.since(self.waits_since.filter(|_| self.is_asked)?);
        self.told = (span >= SILENCE_TOLD_AFTER).then(|| Duration::from_secs(span.as_secs()));
        self.told
    }

    /// Whether a silence was told that has not ended.
    pub(super) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// Keys that may not have been taken.
    pub(super) fn keys(&self) -> u64 {
        self.keys
    }

    /// When [`Silence::asks`] or [`Silence::lasts`] has another answer.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let next = match self.told {
            Some(told) => told + Duration::from_secs(1),
            None => SILENCE_TOLD_AFTER,
        };
        let told = self.waits_since.filter(|_| self.is_asked).map(|since| since + next);
        self.asks_at().into_iter().chain(told).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::at;

    #[test]
    fn a_key_without_an_answer_is_a_question_and_then_a_silence() {
        let mut silence = Silence::new(at(0));
        silence.typed(at(1), 2);
        assert_eq!(silence.deadline(), Some(at(2)));
        assert!(!silence.asks(at(1)) && silence.asks(at(2)) && !silence.asks(at(2)));
        assert_eq!((silence.lasts(at(3)), silence.deadline()), (None, Some(at(4))));
        silence.typed(at(3), 1);
        assert_eq!(silence.lasts(at(4)), Some(Duration::from_secs(3)));
        assert_eq!((silence.keys(), silence.deadline()), (3, Some(at(5))));
        assert_eq!(silence.lasts(at(9)), Some(Duration::from_secs(8)));
        silence.heard(at(9));
        assert_eq!((silence.lasts(at(9)), silence.keys()), (None, 0));
        assert_eq!(silence.deadline(), Some(at(9) + SILENCE_ASK_EVERY));
    }

    #[test]
    fn where_nothing_is_typed_the_agent_is_asked_all_the_same() {
        let mut silence = Silence::new(at(0));
        assert!(silence.asks(at(0) + SILENCE_ASK_EVERY));
        let told = at(0) + SILENCE_ASK_EVERY + SILENCE_TOLD_AFTER;
        assert_eq!(silence.deadline(), Some(told));
        assert_eq!(silence.lasts(told), Some(SILENCE_TOLD_AFTER));
    }
}
