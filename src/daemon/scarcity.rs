//! Says once a minute that descriptors run out, and not with each connection.

use crate::base::time::Mono;
use crate::limits::SSH_TALLY_SPAN;

/// When it was said last.
#[derive(Debug, Default)]
pub(crate) struct Scarcity {
    told: Option<Mono>,
}

impl Scarcity {
    /// What happens, and what to do.
    pub(crate) const TEXT: &'static str = "few descriptors are left: a newcomer takes the place \
        of another connection without a proven key, or is refused; raise LimitNOFILE= of this \
        service, or ulimit -n";

    /// Whether it is to be said now, which counts as said.
    pub(crate) fn is_news(&mut self, now: Mono) -> bool {
        let is_news = self.told.is_none_or(|told| now.since(told) >= SSH_TALLY_SPAN);
        if is_news {
            self.told = Some(now);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_minute() {
        let mut scarcity = Scarcity::default();
        let at = |seconds| Mono::ZERO + std::time::Duration::from_secs(seconds);
        let told: Vec<u64> = (0..200).filter(|second| scarcity.is_news(at(*second))).collect();
        assert_eq!(told, [0, 60, 120, 180]);
    }
}
