//! The life of a certificate: when it is renewed, when everybody is warned, when it is over.

use super::certificate::Validity;
use crate::base::time::Wall;
use crate::limits::X509_WARN_DAYS;

const SECONDS_PER_DAY: i64 = 86_400;

/// Where in its life a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LifeStage {
    /// It has not begun: a clock is wrong.
    Early,
    /// There is nothing to do.
    Fresh,
    /// Two thirds are over: it is renewed at the next opportunity.
    Due,
    /// Renewal has failed for long, and at most [`X509_WARN_DAYS`] are left.
    Ending,
    /// It is over, and is refused.
    Ended,
}

impl LifeStage {
    /// The stage at `now`.
    pub(crate) fn at(validity: Validity, now: Wall) -> LifeStage {
        if now.seconds() > validity.not_after.seconds() {
            LifeStage::Ended
        } else if now.seconds() < validity.not_before.seconds() {
            LifeStage::Early
        } else if days_left(validity, now) <= X509_WARN_DAYS {
            LifeStage::Ending
        } else if now.seconds() >= renew_at(validity).seconds() {
            LifeStage::Due
        } else {
            LifeStage::Fresh
        }
    }

    /// Whether a new certificate is wanted.
    pub(crate) fn wants_renewal(self) -> bool {
        matches!(self, LifeStage::Due | LifeStage::Ending | LifeStage::Ended)
    }
}

/// When two thirds of a life are over.
pub(crate) fn renew_at(validity: Validity) -> Wall {
    let life = validity.not_after.seconds().saturating_sub(validity.not_before.seconds()).max(0);
    Wall::new(validity.not_after.seconds().saturating_sub(life / 3), 0)
}

/// Whole days until the end; below zero when it is over.
pub fn days_left(validity: Validity, now: Wall) -> i64 {
    validity.not_after.seconds().saturating_sub(now.seconds()).div_euclid(SECONDS_PER_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = SECONDS_PER_DAY;

    fn at(days: i64) -> Wall {
        Wall::new(days * DAY, 0)
    }

    #[test]
    fn a_year_goes_through_all_stages() {
        let validity = Validity { not_before: at(0), not_after: at(366) };
        assert_eq!(renew_at(validity), at(244));
        for (days, stage, left) in [
            (-1, LifeStage::Early, 367),
            (0, LifeStage::Fresh, 366),
            (243, LifeStage::Fresh, 123),
            (244, LifeStage::Due, 122),
            (335, LifeStage::Due, 31),
            (336, LifeStage::Ending, 30),
            (366, LifeStage::Ending, 0),
            (367, LifeStage::Ended, -1),
        ] {
            let now = at(days);
            assert_eq!((LifeStage::at(validity, now), days_left(validity, now)), (stage, left));
        }
        let end = Wall::new(validity.not_after.seconds() + 1, 0);
        assert_eq!(
            (LifeStage::at(validity, end), days_left(validity, end)),
            (LifeStage::Ended, -1)
        );
    }

    #[test]
    fn only_what_is_old_wants_renewal() {
        let stages = [
            LifeStage::Early,
            LifeStage::Fresh,
            LifeStage::Due,
            LifeStage::Ending,
            LifeStage::Ended,
        ];
        assert_eq!(stages.map(LifeStage::wants_renewal), [false, false, true, true, true]);
    }

    #[test]
    fn no_life_is_too_odd() {
        let ends = [i64::MIN, -1, 0, 1, i64::MAX].map(|seconds| Wall::new(seconds, 0));
        for not_before in ends {
            for not_after in ends {
                for now in ends {
                    let validity = Validity { not_before, not_after };
                    let _any = (LifeStage::at(validity, now), days_left(validity, now));
                }
            }
        }
    }
}
