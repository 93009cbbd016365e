//! Places of connections that have proven no key, and who loses one for a newcomer.

use std::cmp::Reverse;

use super::source::Source;
use crate::base::time::Mono;
use crate::limits::{SSH_LOGIN_GRACE, SSH_LOGIN_SILENCE};

/// A place of one connection that has not proven a key; never the same twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaceId(pub(super) u64);

/// Those of one class, as many as they may be.
#[derive(Debug)]
pub(super) struct Places {
    taken: Vec<Place>,
    max: usize,
}

#[derive(Debug)]
struct Place {
    id: PlaceId,
    source: Source,
    /// How many places its source has.
    crowd: usize,
    opened: Mono,
    progressed: Mono,
    /// Whether it may have sent something that was not read yet: then it is we who are silent.
    is_unread: bool,
}

impl Place {
    fn deadline(&self) -> Mono {
        (self.progressed + SSH_LOGIN_SILENCE).min(self.opened + SSH_LOGIN_GRACE)
    }
}

impl Places {
    pub(super) fn new(max: usize) -> Places {
        Places { taken: Vec::new(), max }
    }

    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }

    /// Gives a place to a newcomer, and says who loses one for it: of the source that has the most,
    /// the newcomer's counted, the connection that came least far lately. Among sources with as
    /// many it is the same, and whoever waits for us goes last: then it is the newcomer itself, for
    /// an exchange that is begun is worth more than one that is not. With `is_scarce`, places do
    /// not become more.
    pub(super) fn take(
        &mut self,
        now: Mono,
        id: PlaceId,
        source: Source,
        is_scarce: bool,
    ) -> Option<(PlaceId, Source)> {
        let mut crowd = 1;
        for place in self.taken.iter_mut().filter(|place| place.source == source) {
            place.crowd += 1;
            crowd = place.crowd;
        }
        let max = if is_scarce { 1 } else { self.max };
        let is_full = self.taken.len() >= max;
        let is_unread = true;
        self.taken.push(Place { id, source, crowd, opened: now, progressed: now, is_unread });
        if !is_full {
            return None;
        }
        // A newcomer has had no time to be silent, and may have sent something already.
        let waits = |it: &Place| it.is_unread && it.id != id;
        let rank = |it: &Place| (Reverse(it.crowd), waits(it), it.id == id, it.progressed, it.id);
        let loser = self.taken.iter().min_by_key(|it| rank(it))?.id;
        Some((loser, self.leave(loser)?))
    }

    pub(super) fn leave(&mut self, id: PlaceId) -> Option<Source> {
        let index = self.taken.iter().position(|place| place.id == id)?;
        let source = self.taken.swap_remove(index).source;
        let others = self.taken.iter_mut().filter(|place| place.source == source);
        others.for_each(|place| place.crowd -= 1);
        Some(source)
    }

    pub(super) fn crowd(&self, id: PlaceId) -> Option<usize> {
        self.taken.iter().find(|it| it.id == id).map(|it| it.crowd)
    }

    pub(super) fn progressed(&mut self, now: Mono, id: PlaceId) {
        self.taken.iter_mut().filter(|it| it.id == id).for_each(|it| it.progressed = now);
    }

    pub(super) fn set_unread(&mut self, id: PlaceId, is_unread: bool) {
        self.taken.iter_mut().filter(|it| it.id == id).for_each(|it| it.is_unread = is_unread);
    }

    pub(super) fn overdue(&self, now: Mono) -> impl Iterator<Item = PlaceId> {
        self.taken.iter().filter(move |place| place.deadline() <= now).map(|place| place.id)
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.taken.iter().map(Place::deadline).min()
    }
}
