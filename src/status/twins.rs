//! Two hosts with the identity of one agent: a cloned disk, a restored snapshot.
//!
//! Each agent process has a number of its own, `run`, which it tells when it connects. One that
//! comes back after another has come is not a restart: both are alive. The same is shown by two
//! different events with one number, and by connections from two addresses that take each other's
//! place again and again.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use crate::base::time::Mono;
use crate::limits::{
    TWIN_EVENTS_KEPT, TWIN_FORGOTTEN_AFTER, TWIN_RUNS_KEPT, TWIN_SWAP_SPAN, TWIN_SWAPS_MIN,
};

/// What is known of who has spoken for one agent lately.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    /// From where the connection comes that speaks now.
    address: Option<IpAddr>,
    /// The processes that have spoken, and from where; the last one last.
    runs: VecDeque<(Box<str>, Option<IpAddr>)>,
    /// When a connection from another address has taken the place of one that stood.
    swaps: VecDeque<Mono>,
    /// Numbers of the newest events, and what they were.
    events: VecDeque<(u64, u64)>,
    proof: Option<Proof>,
}

#[derive(Debug)]
struct Proof {
    pair: Pair,
    /// The last sign of it.
    seen: Mono,
}

/// From where the two come, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub(crate) one: Option<IpAddr>,
    pub(crate) other: Option<IpAddr>,
}

impl fmt::Display for Pair {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("two hosts have the identity of this agent")?;
        match (self.one, self.other) {
            (Some(one), Some(other)) if one != other => write!(out, ", {one} and {other}")?,
            (Some(one), _) | (None, Some(one)) => write!(out, ", both seen from {one}")?,
            (None, None) => {}
        }
        out.write_str(
            ": one is a copy of the other, with its keys; only one of them is let in at a time, \
             and events of either may be missing; give the copy an identity of its own: \
             convocate-host uninstall, install and init-agent --host COPY",
        )
    }
}

impl Twins {
    /// A connection speaks for the agent from now on. `stood` is from where the one came that it
    /// takes the place of, if that stood until now.
    pub(crate) fn speaks(&mut self, now: Mono, from: IpAddr, stood: Option<IpAddr>) -> bool {
        self.address = Some(from);
        let Some(other) = stood.filter(|other| *other != from) else { return false };
        self.swaps.retain(|at| now.since(*at) < TWIN_SWAP_SPAN);
        self.swaps.push_back(now);
        self.swaps.len() >= TWIN_SWAPS_MIN && self.prove(now, Some(other), Some(from))
    }

    /// An agent process tells its number.
    pub(crate) fn began(&mut self, now: Mono, run: &str) -> bool {
        if run.is_empty() {
            return false;
        }
        if let Some((last, address)) = self.runs.back_mut()
            && **last == *run
        {
            // It is one process, from wherever it comes.
            self.swaps.clear();
            *address = self.address;
            return false;
        }
        let before = self.runs.iter().position(|(known, _)| **known == *run);
        let is_back = before.is_some();
        if let Some(at) = before {
            self.runs.remove(at);
        }
        let last = self.runs.back().and_then(|(_, address)| *address);
        self.runs.push_back((run.into(), self.address));
        if self.runs.len() > TWIN_RUNS_KEPT {
            self.runs.pop_front();
        }
        is_back && self.prove(now, last, self.address)
    }

    /// An event was taken.
    pub(crate) fn took(&mut self, seq: u64, line: &[u8]) {
        if self.events.back().is_some_and(|(last, _)| *last >= seq) {
            // Another epoch.
            self.events.clear();
        }
        self.events.push_back((seq, digest(line)));
        if self.events.len() > TWIN_EVENTS_KEPT {
            self.events.pop_front();
        }
    }

    /// An event comes with a number that was taken. Whether that was another event.
    pub(crate) fn differs(&self, seq: u64, line: &[u8]) -> bool {
        let known = self.events.iter().find(|(taken, _)| *taken == seq);
        known.is_some_and(|(_, known)| *known != digest(line))
    }

    /// Two events have one number. Whether that is news.
    pub(crate) fn collided(&mut self, now: Mono) -> bool {
        let other = self.runs.iter().rev().map(|(_, address)| *address);
        let other = other.flatten().find(|address| Some(*address) != self.address);
        self.prove(now, self.address, other)
    }

    /// One of the two was sent away.
    pub(crate) fn refused(&mut self, now: Mono, from: IpAddr) {
        if let Some(proof) = &mut self.proof {
            proof.seen = now;
            if Some(from) != proof.pair.one && self.address == proof.pair.one {
                proof.pair.other = Some(from);
            }
        }
    }

    /// The two, as long as there were signs of them lately.
    pub(crate) fn pair(&self) -> Option<&Pair> {
        self.proof.as_ref().map(|proof| &proof.pair)
    }

    /// When [`Twins::tick`] is wanted.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.proof.as_ref().map(|proof| proof.seen + TWIN_FORGOTTEN_AFTER)
    }

    pub(crate) fn tick(&mut self, now: Mono) {
        if self.deadline().is_some_and(|at| at <= now) {
            *self = Twins { address: self.address, ..Twins::default() };
        }
    }

    /// Whether it is news that there are two.
    fn prove(&mut self, now: Mono, one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
        let is_news = self.proof.is_none();
        let pair = self.proof.take().map_or(Pair { one, other }, |proof| proof.pair);
        self.proof = Some(Proof { pair, seen: now });
        is_news
    }
}

fn digest(line: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(seconds)
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_process_that_comes_back_after_another_is_alive_beside_it() {
        let mut twins = Twins::default();
        // Restarts, each a process of its own, and connections anew.
        for (second, run) in ["a", "a", "b", "c", "c"].into_iter().enumerate() {
            twins.speaks(at(second as u64), address(7), None);
            assert!(!twins.began(at(second as u64), run), "{run}");
        }
        assert_eq!(twins.pair(), None);
        twins.speaks(at(10), address(8), None);
        assert!(!twins.began(at(10), "d"));
        twins.speaks(at(11), address(7), None);
        assert!(twins.began(at(11), "c"), "it was replaced and is back");
        let pair = twins.pair().unwrap().to_string();
        assert!(pair.contains("192.0.2.8") && pair.contains("192.0.2.7"), "{pair}");
        twins.speaks(at(13), address(8), None);
        assert!(!twins.began(at(13), "d"), "it is told once");
        twins.refused(at(14), address(7));
        twins.tick(at(13) + TWIN_FORGOTTEN_AFTER);
        assert!(twins.pair().is_some());
        twins.tick(at(14) + TWIN_FORGOTTEN_AFTER);
        assert_eq!(twins.pair(), None);
    }

    #[test]
    fn agents_that_tell_no_number_are_known_by_their_addresses() {
        let mut twins = Twins::default();
        let mut proved = 0;
        for second in 0..20 {
            let (even, odd) = (address(0), address(1));
            let (from, stood) = if second % 2 == 0 { (even, odd) } else { (odd, even) };
            assert!(!twins.began(at(second), ""));
            proved += u32::from(twins.speaks(at(second), from, Some(stood)));
        }
        assert_eq!(proved, 1);
        // Slow changes of the address are a laptop's.
        let mut twins = Twins::default();
        for minute in 0..20 {
            let (from, stood) = (address((minute % 2) as u8), address(9));
            assert!(!twins.speaks(at(60 * minute), from, Some(stood)));
        }
    }

    #[test]
    fn one_number_for_two_events_is_seen() {
        let mut twins = Twins::default();
        for seq in 1..=100 {
            twins.took(seq, format!("event {seq}").as_bytes());
        }
        assert!(!twins.differs(100, b"event 100") && twins.differs(100, b"another"));
        assert!(!twins.differs(1, b"another"), "what is long ago is not known");
        assert!(twins.collided(at(1)) && !twins.collided(at(2)));
        twins.took(1, b"of another epoch");
        assert!(!twins.differs(100, b"another"));
    }
}
