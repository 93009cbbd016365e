//! How many connections a listener holds, and which addresses it turns away.
//!
//! A value that a driver asks before it speaks SSH with a new connection. Connections that are not
//! authenticated have few places and one address has few of those, so that nobody keeps the others
//! out. An address whose connections end without authentication gathers a penalty, which decays
//! with time; above a threshold its connections are refused at once. A mistyped key now and then
//! never gets there.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::limits::{
    SSH_CONNECTIONS_MAX, SSH_PENALIZED_ADDRESSES_MAX, SSH_PENALTY_MAX, SSH_PENALTY_STEP,
    SSH_PENALTY_THRESHOLD, SSH_UNAUTHENTICATED_MAX, SSH_UNAUTHENTICATED_PER_ADDRESS_MAX,
};

#[derive(Debug, Default)]
pub struct ConnectionLimiter {
    authenticated: usize,
    unauthenticated: SortedMap<IpAddr, usize>,
    /// When each address's penalty has decayed to nothing.
    penalties: SortedMap<IpAddr, Mono>,
}

/// Why a connection is closed before anything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionRefused {
    Full,
    /// Too many connections are not authenticated.
    Unauthenticated,
    /// Too many connections from this address are not authenticated.
    UnauthenticatedAddress,
    /// Too many connections from this address ended without authentication: refused for so long.
    Penalty(Duration),
}

impl ConnectionLimiter {
    pub fn new() -> ConnectionLimiter {
        ConnectionLimiter::default()
    }

    /// Counts a new connection from `address`. What follows is either
    /// [`ConnectionLimiter::authenticated`] and [`ConnectionLimiter::closed`], or
    /// [`ConnectionLimiter::closed_unauthenticated`].
    ///
    /// # Errors
    /// [`ConnectionRefused`]; then it is not counted.
    pub fn admit(&mut self, now: Mono, address: IpAddr) -> Result<(), ConnectionRefused> {
        let penalty = self.penalty(now, address);
        let unauthenticated: usize = self.unauthenticated.values().sum();
        let from_address = self.unauthenticated.get(&address).copied().unwrap_or(0);
        if penalty > SSH_PENALTY_THRESHOLD {
            return Err(ConnectionRefused::Penalty(penalty - SSH_PENALTY_THRESHOLD));
        }
        if self.authenticated + unauthenticated >= SSH_CONNECTIONS_MAX {
            return Err(ConnectionRefused::Full);
        }
        if unauthenticated >= SSH_UNAUTHENTICATED_MAX {
            return Err(ConnectionRefused::Unauthenticated);
        }
        if from_address >= SSH_UNAUTHENTICATED_PER_ADDRESS_MAX {
            return Err(ConnectionRefused::UnauthenticatedAddress);
        }
        *self.unauthenticated.or_insert_with(address, Default::default) += 1;
        Ok(())
    }

    /// A connection from `address` has authenticated.
    pub fn authenticated(&mut self, address: IpAddr) {
        self.forget_unauthenticated(address);
        self.penalties.remove(&address);
        self.authenticated += 1;
    }

    /// A connection that had authenticated is closed.
    pub fn closed(&mut self) {
        self.authenticated = self.authenticated.saturating_sub(1);
    }

    /// A connection from `address` is closed and had not authenticated.
    pub fn closed_unauthenticated(&mut self, now: Mono, address: IpAddr) {
        self.forget_unauthenticated(address);
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

    fn forget_unauthenticated(&mut self, address: IpAddr) {
        if let Some(count) = self.unauthenticated.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.unauthenticated.remove(&address);
            }
        }
    }
}

impl fmt::Display for ConnectionRefused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectionRefused::Full => write!(out, "{SSH_CONNECTIONS_MAX} connections are open"),
            ConnectionRefused::Unauthenticated => {
                write!(out, "{SSH_UNAUTHENTICATED_MAX} connections are not authenticated yet")
            }
            ConnectionRefused::UnauthenticatedAddress => write!(
                out,
                "{SSH_UNAUTHENTICATED_PER_ADDRESS_MAX} connections from this address are not \
                 authenticated yet"
            ),
            ConnectionRefused::Penalty(left) => {
                let seconds = left.as_secs() + 1;
                write!(out, "too many failed from this address, refused for {seconds} s")
            }
        }
    }
}

impl std::error::Error for ConnectionRefused {}

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
    fn the_unauthenticated_are_few_and_one_address_cannot_hold_all_places() {
        let mut limiter = ConnectionLimiter::new();
        let mut taken = 0;
        for last in 0..=255 {
            for _ in 0..=SSH_UNAUTHENTICATED_PER_ADDRESS_MAX {
                taken += usize::from(limiter.admit(at(0), address(last)).is_ok());
            }
        }
        assert_eq!(taken, SSH_UNAUTHENTICATED_MAX);
        assert_eq!(limiter.admit(at(0), address(0)), Err(ConnectionRefused::Unauthenticated));
        limiter.authenticated(address(0));
        assert_eq!(limiter.admit(at(0), address(0)), Ok(()));
    }

    #[test]
    fn the_whole_is_bounded_and_places_come_back() {
        let mut limiter = ConnectionLimiter::new();
        for _ in 0..SSH_CONNECTIONS_MAX {
            assert_eq!(limiter.admit(at(0), address(1)), Ok(()));
            limiter.authenticated(address(1));
        }
        assert_eq!(limiter.admit(at(0), address(1)), Err(ConnectionRefused::Full));
        limiter.closed();
        assert_eq!(limiter.admit(at(0), address(1)), Ok(()));
    }

    #[test]
    fn a_few_failures_are_forgiven_and_many_are_not() {
        let mut limiter = ConnectionLimiter::new();
        let mut failures = 0;
        while limiter.admit(at(0), address(1)).is_ok() {
            limiter.closed_unauthenticated(at(0), address(1));
            failures += 1;
        }
        assert!((5..=20).contains(&failures), "{failures}");
        assert!(matches!(limiter.admit(at(0), address(1)), Err(ConnectionRefused::Penalty(_))));
        assert_eq!(limiter.admit(at(0), address(2)), Ok(()), "others are not punished");
        let later = SSH_PENALTY_MAX.as_secs();
        assert_eq!(limiter.admit(at(later), address(1)), Ok(()));
    }

    #[test]
    fn authentication_clears_the_penalty() {
        let mut limiter = ConnectionLimiter::new();
        for _ in 0..3 {
            assert_eq!(limiter.admit(at(0), address(1)), Ok(()));
            limiter.closed_unauthenticated(at(0), address(1));
        }
        assert_eq!(limiter.admit(at(0), address(1)), Ok(()));
        limiter.authenticated(address(1));
        assert_eq!(limiter.penalty(at(0), address(1)), Duration::ZERO);
    }

    #[test]
    fn the_table_of_penalties_is_bounded() {
        let mut limiter = ConnectionLimiter::new();
        for number in 0..u32::try_from(SSH_PENALIZED_ADDRESSES_MAX).unwrap() + 10 {
            let address = IpAddr::from(number.to_be_bytes());
            assert_eq!(limiter.admit(at(0), address), Ok(()));
            limiter.closed_unauthenticated(at(0), address);
        }
        assert_eq!(limiter.penalties.len(), SSH_PENALIZED_ADDRESSES_MAX);
    }
}
