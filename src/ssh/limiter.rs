//! Which connections a listener holds before they have proven a key, and whom it turns away.
//!
//! A value that a listener asks; it is told times, addresses and outcomes and knows no clock and no
//! socket. A *source* is an IPv4 address or an IPv6 /64. A key exchange is over in milliseconds, so
//! there is always a place for a newcomer: when all are taken, the source with the most of them
//! loses the one that has been silent for longest. Silence alone ends a place, too, and so does
//! its age.
//!
//! Sources are of three classes, and none takes a place or a turn of another ([`Class`]). Who has
//! proven a key comes first. Whoever fails at the protocol or with its key gathers a penalty, which
//! decays; above a threshold its source has few places and turns, which it shares with its like. So
//! an operator who shares an address with somebody hostile is slower, and not locked out.

use std::net::IpAddr;
use std::time::Duration;

use super::keys::PublicKey;
use super::refusal::Refusal;
use crate::base::time::Mono;
use crate::limits::{SSH_FULL_WAIT, SSH_PENALIZED_PLACES_MAX, SSH_PLACES_MAX};

mod known;
mod penalties;
mod places;
mod source;
mod tally;

use self::known::KnownSources;
use self::penalties::Penalties;
pub use self::places::PlaceId;
use self::places::Places;
pub use self::source::Source;
pub use self::tally::{Fate, Summary, Tally};

#[derive(Debug)]
pub struct ConnectionLimiter {
    /// Connections that have proven a key, and how many there may be.
    authenticated: usize,
    authenticated_max: usize,
    next_place: u64,
    /// Those of each class.
    places: [Places; CLASSES],
    known: KnownSources,
    penalties: Penalties,
    tally: Tally,
    is_scarce: bool,
}

/// With whom a connection without a proven key competes for places and turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Its source has proven a key lately, and has no penalty whatever fails.
    Known,
    /// Nothing is held against its source.
    Stranger,
    /// Many connections of its source have failed lately.
    Penalized,
}

/// How many classes there are.
pub const CLASSES: usize = 3;

impl Class {
    pub const ALL: [Class; CLASSES] = [Class::Known, Class::Stranger, Class::Penalized];
}

/// What a newcomer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    pub place: PlaceId,
    pub class: Class,
    /// Whose place it has taken: this connection is over, and is not told to the limiter again. It
    /// is the newcomer's own where all others wait for the listener.
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

impl ConnectionLimiter {
    /// For a listener on which so many connections may have proven a key.
    pub fn new(authenticated_max: usize) -> ConnectionLimiter {
        ConnectionLimiter {
            authenticated: 0,
            authenticated_max,
            next_place: 0,
            places: [SSH_PLACES_MAX, SSH_PLACES_MAX, SSH_PENALIZED_PLACES_MAX].map(Places::new),
            known: KnownSources::default(),
            penalties: Penalties::default(),
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
    /// [`ConnectionLimiter::authenticated`], unless it is displaced.
    ///
    /// # Errors
    /// [`ConnectionRefused`]; then it has no place.
    pub fn admit(&mut self, now: Mono, address: IpAddr) -> Result<Admitted, ConnectionRefused> {
        if self.authenticated >= self.authenticated_max {
            return Err(self.refuse(now, address, SSH_FULL_WAIT));
        }
        let source = Source::of(address);
        let class = self.class(now, source);
        let place = PlaceId(self.next_place);
        self.next_place += 1;
        let places = &mut self.places[class as usize];
        let displaced = places.take(now, place, source, self.is_scarce);
        if let Some((_, loser)) = displaced {
            self.tally.count(now, loser, Fate::Displaced);
        }
        Ok(Admitted { place, class, displaced: displaced.map(|(place, _)| place) })
    }

    /// A connection from `address` is closed at once.
    pub fn refuse(&mut self, now: Mono, address: IpAddr, wait: Duration) -> ConnectionRefused {
        let is_news = self.tally.count(now, Source::of(address), Fate::Refused);
        ConnectionRefused { refusal: Refusal::new(address, wait), is_news }
    }

    /// A connection has come further in its key exchange or authentication.
    pub fn progressed(&mut self, now: Mono, place: PlaceId) {
        self.places.iter_mut().for_each(|places| places.progressed(now, place));
    }

    /// How many places the source of a connection has.
    pub fn crowd(&self, place: PlaceId) -> usize {
        self.places.iter().find_map(|places| places.crowd(place)).unwrap_or(0)
    }

    /// Whether a connection has sent something that the listener has not come to yet.
    pub fn set_unread(&mut self, place: PlaceId, is_unread: bool) {
        self.places.iter_mut().for_each(|places| places.set_unread(place, is_unread));
    }

    /// A connection has proven this key. If there is room for it, [`ConnectionLimiter::ended`]
    /// follows with its address; else it is over.
    #[must_use = "a connection without room is to be ended"]
    pub fn authenticated(&mut self, now: Mono, place: PlaceId, key: PublicKey) -> bool {
        let Some(source) = self.leave(place) else { return false };
        self.penalties.forgive(source);
        if self.authenticated >= self.authenticated_max {
            return false;
        }
        self.authenticated += 1;
        self.known.proven(now, source, key);
        true
    }

    /// A connection that had proven a key is closed.
    pub fn ended(&mut self, now: Mono, address: IpAddr) {
        self.authenticated = self.authenticated.saturating_sub(1);
        self.known.ended(now, Source::of(address));
    }

    /// A connection that has proven no key is closed.
    pub fn closed(&mut self, now: Mono, place: PlaceId, outcome: Outcome) {
        let Some(source) = self.leave(place) else { return };
        if outcome == Outcome::Failed && !self.known.has(now, source) {
            self.penalties.add(now, source);
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
        self.places.iter().flat_map(|places| places.overdue(now)).collect()
    }

    /// When [`ConnectionLimiter::overdue`] or [`ConnectionLimiter::poll_summary`] has something.
    pub fn deadline(&self) -> Option<Mono> {
        let places = self.places.iter().filter_map(Places::deadline);
        places.chain(self.tally.deadline()).min()
    }

    /// A line for the log that is due: one a source and minute.
    pub fn poll_summary(&mut self, now: Mono) -> Option<Summary> {
        self.tally.poll(now)
    }

    /// Connections that have proven no key.
    pub fn places_taken(&self) -> usize {
        self.places.iter().map(Places::len).sum()
    }

    /// A source that was known to a listener before this one, for so long.
    pub fn remember(&mut self, now: Mono, source: Source, rest: Duration) {
        self.known.remember(now, source, rest);
    }

    /// The sources that are known, and for how long. It is worth keeping anew when
    /// [`ConnectionLimiter::known_changes`] is another number.
    pub fn remembered(&self, now: Mono) -> impl Iterator<Item = (Source, Duration)> {
        self.known.remembered(now)
    }

    pub fn known_changes(&self) -> u64 {
        self.known.changes()
    }

    fn leave(&mut self, place: PlaceId) -> Option<Source> {
        self.places.iter_mut().find_map(|places| places.leave(place))
    }

    fn class(&self, now: Mono, source: Source) -> Class {
        if self.known.has(now, source) {
            return Class::Known;
        }
        if self.penalties.has(now, source) { Class::Penalized } else { Class::Stranger }
    }
}

#[cfg(test)]
mod tests;
