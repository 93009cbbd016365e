//! How many key exchanges with strangers one turn makes: fewer while turns are long, so that others
//! are answered and newcomers are taken meanwhile, on whatever machine this is.

use crate::base::time::Mono;
use crate::limits::{EXCHANGE_TURN, EXCHANGES_PER_TURN_MAX, EXCHANGES_PER_TURN_MIN};
use crate::ssh::limiter::{CLASSES, Class};

#[derive(Debug)]
pub(crate) struct ExchangeBudget {
    per_turn: usize,
    /// How many this turn may still make, of each class.
    left: [usize; CLASSES],
    began: Mono,
    /// Whether the turn before left something to do, so that its time was all its own.
    was_busy: bool,
}

impl Default for ExchangeBudget {
    fn default() -> ExchangeBudget {
        let per_turn = EXCHANGES_PER_TURN_MAX;
        ExchangeBudget { per_turn, left: shares(per_turn), began: Mono::ZERO, was_busy: false }
    }
}

impl ExchangeBudget {
    pub(crate) fn begin_turn(&mut self, now: Mono) {
        if self.was_busy {
            self.per_turn = match now.since(self.began) > EXCHANGE_TURN {
                true => (self.per_turn / 2).max(EXCHANGES_PER_TURN_MIN),
                false => (self.per_turn + 1).min(EXCHANGES_PER_TURN_MAX),
            };
        }
        (self.began, self.left) = (now, shares(self.per_turn));
    }

    pub(crate) fn has_room(&self, class: Class) -> bool {
        self.left[class as usize] > 0
    }

    pub(crate) fn count(&mut self, class: Class) {
        let left = &mut self.left[class as usize];
        *left = left.saturating_sub(1);
    }

    pub(crate) fn end_turn(&mut self, is_busy: bool) {
        self.was_busy = is_busy;
    }
}

/// Sources with a penalty have a quarter of what others have.
fn shares(per_turn: usize) -> [usize; CLASSES] {
    Class::ALL.map(|class| match class {
        Class::Known | Class::Stranger => per_turn,
        Class::Penalized => (per_turn / 4).max(1),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A turn that makes all that it may, each in so many microseconds, and two of them otherwise.
    fn turn(budget: &mut ExchangeBudget, now: &mut Mono, micros: u64) -> u32 {
        budget.begin_turn(*now);
        let mut made = 0;
        while budget.has_room(Class::Stranger) {
            budget.count(Class::Stranger);
            made += 1;
        }
        budget.end_turn(true);
        *now = *now + Duration::from_micros(2000) + made * Duration::from_micros(micros);
        made
    }

    #[test]
    fn turns_stay_short_on_a_slow_machine_and_are_used_on_a_fast_one() {
        let (mut budget, mut now) = (ExchangeBudget::default(), Mono::ZERO);
        let max = u32::try_from(EXCHANGES_PER_TURN_MAX).unwrap();
        for _ in 0..100 {
            assert_eq!(turn(&mut budget, &mut now, 100), max);
        }
        let made: Vec<u32> = (0..100).map(|_| turn(&mut budget, &mut now, 3000)).collect();
        assert!(made[20..].iter().all(|made| (2..=3).contains(made)), "{made:?}");
        (0..20).for_each(|_| _ = turn(&mut budget, &mut now, 100));
        assert_eq!(turn(&mut budget, &mut now, 100), max);
    }

    #[test]
    fn waiting_is_no_slowness_and_each_class_has_its_share() {
        let mut budget = ExchangeBudget::default();
        for second in 1..10 {
            budget.begin_turn(Mono::ZERO + Duration::from_secs(second));
            budget.end_turn(false);
        }
        assert_eq!(budget.per_turn, EXCHANGES_PER_TURN_MAX);
        budget.begin_turn(Mono::ZERO + Duration::from_secs(10));
        (0..99).for_each(|_| budget.count(Class::Stranger));
        let room = Class::ALL.map(|class| budget.has_room(class));
        assert_eq!(room, [true, false, true]);
    }
}
