//! Who may admit: how many connections a listener holds, and who has knocked badly too often.
//!
//! A value that a driver asks before it speaks SSH with a new connection. Strangers hold few places
//! and one address holds few of those, so that nobody keeps the others out. An address whose
//! connections end without authentication gathers a penalty, which time takes away again; above a
//! threshold it is turned away at once. A mistyped key now and then never gets there.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::time::Mono;
use crate::limits::{
    SSH_CONNECTIONS_MAX, SSH_PENALIZED_ADDRESSES_MAX, SSH_PENALTY_MAX, SSH_PENALTY_STEP,
    SSH_PENALTY_THRESHOLD, SSH_UNAUTHENTICATED_MAX, SSH_UNAUTHENTICATED_PER_ADDRESS_MAX,
};

/// The state of one listener's limiter.
#[derive(Debug, Default)]
pub struct ConnectionLimiter {
    inside: usize,
    strangers: BTreeMap<IpAddr, usize>,
    /// When each address has nothing left to atone for.
    penalties: BTreeMap<IpAddr, Mono>,
}

/// Why a connection is closed before a word was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many connections.
    Full,
    /// Too many that are not authenticated.
    Crowded,
    /// Too many of those from this address.
    CrowdedAddress,
    /// Too many of them ended badly from this address: refused for so long.
    Penalty(Duration),
}

impl ConnectionLimiter {
    /// Nobody is there.
    pub(crate) fn new() -> ConnectionLimiter {
        ConnectionLimiter::default()
    }

    /// A connection from `address` wants in. If it may, it is a stranger until
    /// [`ConnectionLimiter::recognize`], and is reported with [`ConnectionLimiter::leave`] or [`ConnectionLimiter::leave_stranger`].
    ///
    /// # Errors
    /// [`Refused`]; then it is not counted.
    pub(crate) fn admit(&mut self, now: Mono, address: IpAddr) -> Result<(), Refused> {
        let penalty = self.penalty(now, address);
        let strangers: usize = self.strangers.values().sum();
        let from_there = self.strangers.get(&address).copied().unwrap_or(0);
        if penalty > SSH_PENALTY_THRESHOLD {
            return Err(Refused::Penalty(penalty - SSH_PENALTY_THRESHOLD));
        }
        if self.inside + strangers >= SSH_CONNECTIONS_MAX {
            return Err(Refused::Full);
        }
        if strangers >= SSH_UNAUTHENTICATED_MAX {
            return Err(Refused::Crowded);
        }
        if from_there >= SSH_UNAUTHENTICATED_PER_ADDRESS_MAX {
            return Err(Refused::CrowdedAddress);
        }
        *self.strangers.entry(address).or_default() += 1;
        Ok(())
    }

    /// A stranger from `address` has authenticated.
    pub(crate) fn recognize(&mut self, address: IpAddr) {
        self.forget_stranger(address);
        self.penalties.remove(&address);
        self.inside += 1;
    }

    /// One who had authenticated is gone.
    pub(crate) fn leave(&mut self) {
        self.inside = self.inside.saturating_sub(1);
    }

    /// One from `address` is gone without having authenticated.
    pub(crate) fn leave_stranger(&mut self, now: Mono, address: IpAddr) {
        self.forget_stranger(address);
        self.penalties.retain(|_, until| *until > now);
        if self.penalties.len() >= SSH_PENALIZED_ADDRESSES_MAX
            && !self.penalties.contains_key(&address)
        {
            return;
        }
        let penalty = (self.penalty(now, address) + SSH_PENALTY_STEP).min(SSH_PENALTY_MAX);
        self.penalties.insert(address, now + penalty);
    }

    fn penalty(&self, now: Mono, address: IpAddr) -> Duration {
        self.penalties.get(&address).map_or(Duration::ZERO, |until| until.since(now))
    }

    fn forget_stranger(&mut self, address: IpAddr) {
        if let Some(count) = self.strangers.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.strangers.remove(&address);
            }
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Full => write!(out, "{SSH_CONNECTIONS_MAX} connections are open"),
            Refused::Crowded => {
                write!(out, "{SSH_UNAUTHENTICATED_MAX} connections are not authenticated yet")
            }
            Refused::CrowdedAddress => write!(
                out,
                "{SSH_UNAUTHENTICATED_PER_ADDRESS_MAX} connections from this address are not \
                 authenticated yet"
            ),
            Refused::Penalty(left) => {
                let seconds = left.as_secs() + 1;
                write!(out, "too many failed from this address, refused for {seconds} s")
            }
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn at(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn strangers_are_few_and_one_address_cannot_hold_all_places() {
        let mut limiter = ConnectionLimiter::new();
        let mut taken = 0;
        for last in 0..=255 {
            for _ in 0..=SSH_UNAUTHENTICATED_PER_ADDRESS_MAX {
                taken += usize::from(limiter.admit(at(0), address(last)).is_ok());
            }
        }
        assert_eq!(taken, SSH_UNAUTHENTICATED_MAX);
        assert_eq!(limiter.admit(at(0), address(0)), Err(Refused::Crowded));
        limiter.recognize(address(0));
        assert_eq!(limiter.admit(at(0), address(0)), Ok(()));
    }

    #[test]
    fn the_whole_is_bounded_and_places_come_back() {
        let mut limiter = ConnectionLimiter::new();
        for _ in 0..SSH_CONNECTIONS_MAX {
            assert_eq!(limiter.admit(at(0), address(1)), Ok(()));
            limiter.recognize(address(1));
        }
        assert_eq!(limiter.admit(at(0), address(1)), Err(Refused::Full));
        limiter.leave();
        assert_eq!(limiter.admit(at(0), address(1)), Ok(()));
    }

    #[test]
    fn a_few_failures_are_forgiven_and_many_are_not() {
        let mut limiter = ConnectionLimiter::new();
        let mut failures = 0;
        while limiter.admit(at(0), address(1)).is_ok() {
            limiter.leave_stranger(at(0), address(1));
            failures += 1;
        }
        assert!((5..=20).contains(&failures), "{failures}");
        assert!(matches!(limiter.admit(at(0), address(1)), Err(Refused::Penalty(_))));
        assert_eq!(limiter.admit(at(0), address(2)), Ok(()), "others are not punished");
        let later = SSH_PENALTY_MAX.as_secs();
        assert_eq!(limiter.admit(at(later), address(1)), Ok(()));
    }

    #[test]
    fn authentication_clears_the_penalty() {
        let mut limiter = ConnectionLimiter::new();
        for _ in 0..3 {
            assert_eq!(limiter.admit(at(0), address(1)), Ok(()));
            limiter.leave_stranger(at(0), address(1));
        }
        assert_eq!(limiter.admit(at(0), address(1)), Ok(()));
        limiter.recognize(address(1));
        assert_eq!(limiter.penalty(at(0), address(1)), Duration::ZERO);
    }

    #[test]
    fn the_table_of_penalties_is_bounded() {
        let mut limiter = ConnectionLimiter::new();
        for number in 0..u32::try_from(SSH_PENALIZED_ADDRESSES_MAX).unwrap() + 10 {
            let address = IpAddr::from(number.to_be_bytes());
            assert_eq!(limiter.admit(at(0), address), Ok(()));
            limiter.leave_stranger(at(0), address);
        }
        assert_eq!(limiter.penalties.len(), SSH_PENALIZED_ADDRESSES_MAX);
    }
}
