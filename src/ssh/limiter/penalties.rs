//! Sources from which connections failed at the protocol or with their key.

use std::time::Duration;

use super::source::Source;
use crate::base::time::Mono;
use crate::limits::{
    SSH_PENALIZED_SOURCES_MAX, SSH_PENALTY_MAX, SSH_PENALTY_STEP, SSH_PENALTY_THRESHOLD,
};

/// Each failure adds to a source's penalty, which decays with the time.
#[derive(Debug, Default)]
pub(super) struct Penalties(Vec<Penalty>);

#[derive(Clone, Copy, Debug)]
struct Penalty {
    source: Source,
    /// When it has decayed to nothing.
    until: Mono,
}

impl Penalties {
    /// Whether so much has failed that it is no accident.
    pub(super) fn has(&self, now: Mono, source: Source) -> bool {
        self.of(now, source) > SSH_PENALTY_THRESHOLD
    }

    pub(super) fn of(&self, now: Mono, source: Source) -> Duration {
        let penalty = self.0.iter().find(|penalty| penalty.source == source);
        penalty.map_or(Duration::ZERO, |penalty| penalty.until.since(now))
    }

    /// A connection from there has failed. Where there is no room, the penalty that ends first is
    /// forgiven.
    pub(super) fn add(&mut self, now: Mono, source: Source) {
        let penalty = (self.of(now, source) + SSH_PENALTY_STEP).min(SSH_PENALTY_MAX);
        let until = now + penalty;
        self.0.retain(|it| it.source == source || it.until > now);
        if let Some(known) = self.0.iter_mut().find(|it| it.source == source) {
            known.until = until;
            return;
        }
        if self.0.len() >= SSH_PENALIZED_SOURCES_MAX {
            let ends = self.0.iter().enumerate();
            let first = ends.min_by_key(|(_, it)| it.until).map_or(0, |(index, _)| index);
            self.0.swap_remove(first);
        }
        self.0.push(Penalty { source, until });
    }

    pub(super) fn forgive(&mut self, source: Source) {
        self.0.retain(|it| it.source != source);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
