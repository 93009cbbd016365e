//! Which connections a listener holds before they have proven a key, and whom it turns away.
//!
//! A value that a listener asks; it is told times, addresses and outcomes and knows no clock and no
//! socket. A *source* is an IPv4 address or an IPv6 /64. A key exchange is over in milliseconds, so
//! there is always a place for a newcomer: when all are taken, the source with the most of them
//! loses the one that has been silent for longest. Silence alone ends a place, too, and so does
//! its age.
//!
//! A source that has proven a key, within hours or on a connection that is open, has places of its
//! own, which strangers never take, and no penalty. Any other source that fails at the protocol or
//! with its key gathers a penalty, which decays; above a threshold it is refused and told for how
//! long.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Duration;

use super::refusal::Refusal;
use crate::base::time::Mono;
use crate::limits::{
    SSH_FULL_WAIT, SSH_KNOWN_SOURCE_AGE, SSH_KNOWN_SOURCES_MAX, SSH_LOGIN_GRACE, SSH_LOGIN_SILENCE,
    SSH_PENALIZED_SOURCES_MAX, SSH_PENALTY_MAX, SSH_PENALTY_STEP, SSH_PENALTY_THRESHOLD,
    SSH_PLACES_MAX,
};

mod source;
mod tally;

pub use self::source::Source;
pub use self::tally::{Fate, Summary, Tally};

/// A place of one connection that has not proven a key; never the same twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaceId(u64);

#[derive(Debug)]
pub struct ConnectionLimiter {
    /// Connections that have proven a key, and how many there may be.
    authenticated: usize,
    authenticated_max: usize,
    next_place: u64,
    strangers: Places,
    known_places: Places,
    known: Vec<Known>,
    /// When each source's penalty has decayed to nothing.
    penalties: Vec<(Source, Mono)>,
    tally: Tally,
    is_scarce: bool,
}

/// What a newcomer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    pub place: PlaceId,
    /// Whether its source has proven a key lately.
    pub is_known: bool,
    /// Whose place it has taken: this connection is over, and is not told to the limiter again.
    pub displaced: Option<PlaceId>,
}

/// Why a connection is closed at once, and when another one may be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionRefused {
    pub refusal: Refusal,
    /// Whether nothing of this source was counted lately, so that the log may tell of it.
    pub is_news: bool,
}

/// How a connection without a proven key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It went away.
    Left,
    /// It broke the protocol, or had no key that is wanted.
    Failed,
    /// It was silent for too long.
    Silent,
}

/// A source that has proven a key.
#[derive(Clone, Copy, Debug)]
struct Known {
    source: Source,
    /// Its connections that are open and have proven one.
    live: usize,
    last: Mono,
}

impl ConnectionLimiter {
    /// For a listener on which so many connections may have proven a key.
    pub fn new(authenticated_max: usize) -> ConnectionLimiter {
        ConnectionLimiter {
            authenticated: 0,
            authenticated_max,
            next_place: 0,
            strangers: Places::default(),
            known_places: Places::default(),
            known: Vec::new(),
            penalties: Vec::new(),
            tally: Tally::default(),
            is_scarce: false,
        }
    }

    /// Whether descriptors are scarce: then places do not become more, and a newcomer takes one
    /// that is taken, as it does where all are.
    pub fn set_scarce(&mut self, is_scarce: bool) {
        self.is_scarce = is_scarce;
    }

    /// A new connection from `address`. What follows is one of [`ConnectionLimiter::closed`] and
    /// [`ConnectionLimiter::authenticated`], unless another newcomer displaces it.
    ///
    /// # Errors
    /// [`ConnectionRefused`]; then it has no place.
    pub fn admit(&mut self, now: Mono, address: IpAddr) -> Result<Admitted, ConnectionRefused> {
        let source = Source::of(address);
        let is_known = self.is_known(now, source);
        let wait = match self.authenticated >= self.authenticated_max {
            true => SSH_FULL_WAIT,
            false if is_known => Duration::ZERO,
            false => self.penalty(now, source).saturating_sub(SSH_PENALTY_THRESHOLD),
        };
        if wait > Duration::ZERO {
            return Err(self.refuse(now, address, wait));
        }
        let place = PlaceId(self.next_place);
        self.next_place += 1;
        let places = if is_known { &mut self.known_places } else { &mut self.strangers };
        let places_max = if self.is_scarce { 1 } else { SSH_PLACES_MAX };
        let displaced = places.take(now, place, source, places_max);
        if let Some((_, loser)) = displaced {
            self.tally.count(now, loser, Fate::Displaced);
        }
        Ok(Admitted { place, is_known, displaced: displaced.map(|(place, _)| place) })
    }

    /// A connection from `address` is closed at once.
    pub fn refuse(&mut self, now: Mono, address: IpAddr, wait: Duration) -> ConnectionRefused {
        let is_news = self.tally.count(now, Source::of(address), Fate::Refused);
        ConnectionRefused { refusal: Refusal::new(address, wait), is_news }
    }

    /// A connection has come further in its key exchange or authentication.
    pub fn progressed(&mut self, now: Mono, place: PlaceId) {
        let all = self.known_places.0.iter_mut().chain(&mut self.strangers.0);
        all.filter(|it| it.id == place).for_each(|it| it.progressed = now);
    }

    /// A connection has proven a key. If there is room for it, [`ConnectionLimiter::ended`] follows
    /// with its address; else it is over.
    #[must_use = "a connection without room is to be ended"]
    pub fn authenticated(&mut self, now: Mono, place: PlaceId) -> bool {
        let Some(source) = self.leave(place) else { return false };
        self.penalties.retain(|(penalized, _)| *penalized != source);
        if self.authenticated >= self.authenticated_max {
            return false;
        }
        self.authenticated += 1;
        let known = self.known_mut(source);
        known.live += 1;
        known.last = now;
        true
    }

    /// A connection that had proven a key is closed.
    pub fn ended(&mut self, now: Mono, address: IpAddr) {
        self.authenticated = self.authenticated.saturating_sub(1);
        let source = Source::of(address);
        if let Some(known) = self.known.iter_mut().find(|known| known.source == source) {
            known.live = known.live.saturating_sub(1);
            known.last = now;
        }
    }

    /// A connection that has proven no key is closed.
    pub fn closed(&mut self, now: Mono, place: PlaceId, outcome: Outcome) {
        let Some(source) = self.leave(place) else { return };
        if outcome == Outcome::Failed && !self.is_known(now, source) {
            self.penalize(now, source);
        }
        let fate = match outcome {
            Outcome::Left => return,
            Outcome::Failed => Fate::Failed,
            Outcome::Silent => Fate::Silent,
        };
        self.tally.count(now, source, fate);
    }

    /// A connection from `address` offered a key that nobody has. Says whether the log may tell of
    /// it; what it may not is in a summary.
    pub fn key_refused(&mut self, now: Mono, address: IpAddr) -> bool {
        self.tally.count(now, Source::of(address), Fate::KeyRefused)
    }

    /// Whether nothing was counted lately of this address, and it would have a line of its own.
    pub fn is_news(&self, address: IpAddr) -> bool {
        self.tally.is_news(Source::of(address))
    }

    /// Connections that were silent for too long or are too old without a key, which are to be
    /// closed with [`Outcome::Silent`].
    pub fn overdue(&self, now: Mono) -> Vec<PlaceId> {
        let all = self.strangers.0.iter().chain(&self.known_places.0);
        all.filter(|place| place.deadline() <= now).map(|place| place.id).collect()
    }

    /// When [`ConnectionLimiter::overdue`] or [`ConnectionLimiter::poll_summary`] has something.
    pub fn deadline(&self) -> Option<Mono> {
        let all = self.strangers.0.iter().chain(&self.known_places.0).map(Place::deadline);
        all.chain(self.tally.deadline()).min()
    }

    /// A line for the log that is due: one a source and minute.
    pub fn poll_summary(&mut self, now: Mono) -> Option<Summary> {
        self.tally.poll(now)
    }

    /// Connections that have proven no key.
    pub fn places_taken(&self) -> usize {
        self.strangers.0.len() + self.known_places.0.len()
    }

    fn leave(&mut self, place: PlaceId) -> Option<Source> {
        self.strangers.leave(place).or_else(|| self.known_places.leave(place))
    }

    fn is_known(&self, now: Mono, source: Source) -> bool {
        let known = self.known.iter().find(|known| known.source == source);
        known.is_some_and(|it| it.live > 0 || now.since(it.last) < SSH_KNOWN_SOURCE_AGE)
    }

    /// The entry of a source; where there is no room, the one that proved a key longest ago goes.
    fn known_mut(&mut self, source: Source) -> &mut Known {
        let index = self.known.iter().position(|known| known.source == source);
        let index = index.unwrap_or_else(|| {
            if self.known.len() >= SSH_KNOWN_SOURCES_MAX {
                let ages = self.known.iter().enumerate();
                let least = ages.min_by_key(|(_, known)| (known.live > 0, known.last));
                let least = least.map_or(0, |(index, _)| index);
                self.known.swap_remove(least);
            }
            self.known.push(Known { source, live: 0, last: Mono::ZERO });
            self.known.len() - 1
        });
        &mut self.known[index]
    }

    fn penalty(&self, now: Mono, source: Source) -> Duration {
        let penalty = self.penalties.iter().find(|(penalized, _)| *penalized == source);
        penalty.map_or(Duration::ZERO, |(_, until)| until.since(now))
    }

    /// Where there is no room, the penalty that ends first is forgiven.
    fn penalize(&mut self, now: Mono, source: Source) {
        let penalty = (self.penalty(now, source) + SSH_PENALTY_STEP).min(SSH_PENALTY_MAX);
        self.penalties.retain(|(other, until)| *other != source && *until > now);
        if self.penalties.len() >= SSH_PENALIZED_SOURCES_MAX {
            let ends = self.penalties.iter().enumerate();
            let first = ends.min_by_key(|(_, (_, until))| *until).map_or(0, |(index, _)| index);
            self.penalties.swap_remove(first);
        }
        self.penalties.push((source, now + penalty));
    }
}

/// Places that are taken, at most [`SSH_PLACES_MAX`].
#[derive(Debug, Default)]
struct Places(Vec<Place>);

#[derive(Debug)]
struct Place {
    id: PlaceId,
    source: Source,
    /// How many places its source has.
    crowd: usize,
    opened: Mono,
    progressed: Mono,
}

impl Place {
    fn deadline(&self) -> Mono {
        (self.progressed + SSH_LOGIN_SILENCE).min(self.opened + SSH_LOGIN_GRACE)
    }
}

impl Places {
    /// Gives a place to a newcomer, and says who loses one for it: of the source that has the most,
    /// the newcomer's counted, the connection that came least far lately. Among sources with as
    /// many it is the same.
    fn take(
        &mut self,
        now: Mono,
        id: PlaceId,
        source: Source,
        places_max: usize,
    ) -> Option<(PlaceId, Source)> {
        let mut crowd = 1;
        for place in self.0.iter_mut().filter(|place| place.source == source) {
            place.crowd += 1;
            crowd = place.crowd;
        }
        let loser = match self.0.len() < places_max {
            true => None,
            false => {
                let ranks = self.0.iter().map(|it| (Reverse(it.crowd), it.progressed, it.id));
                ranks.min().map(|(.., id)| id)
            }
        };
        let loser = loser.and_then(|loser| Some((loser, self.leave(loser)?)));
        crowd -= usize::from(loser.is_some_and(|(_, of)| of == source));
        self.0.push(Place { id, source, crowd, opened: now, progressed: now });
        loser
    }

    fn leave(&mut self, id: PlaceId) -> Option<Source> {
        let index = self.0.iter().position(|place| place.id == id)?;
        let source = self.0.swap_remove(index).source;
        let others = self.0.iter_mut().filter(|place| place.source == source);
        others.for_each(|place| place.crowd -= 1);
        Some(source)
    }
}

#[cfg(test)]
mod tests;
