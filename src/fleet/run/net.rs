//! What both loops stand on: clock, reactor, and streams to agents.

use std::io;
use std::net::SocketAddr;

use crate::base::address::Address;
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::base::unreached::Unreached;
use crate::io::clock::Clock;
use crate::io::dial::{self, Dialler};
use crate::io::reactor::{Reactor, Ready};
use crate::io::wire::Wire;

/// What the reactor says when a name was looked up.
const RESOLVER: Key = Key::from_bits(u64::MAX);

/// Clock, reactor and resolver.
pub(crate) struct Net {
    pub(crate) clock: Clock,
    pub(crate) reactor: Reactor,
    dialler: Dialler,
}

impl Net {
    /// # Errors
    /// When the process is out of descriptors.
    pub(crate) fn new() -> io::Result<Net> {
        Ok(Net { clock: Clock::new(), reactor: Reactor::new()?, dialler: Dialler::new(RESOLVER) })
    }

    /// As [`Dialler::dial`].
    ///
    /// # Errors
    /// What is known at once.
    pub(crate) fn dial(&mut self, key: Key, address: &Address) -> Result<Option<Wire>, Unreached> {
        self.dialler.dial(&mut self.reactor, key, address)
    }

    /// As [`dial::connect`].
    ///
    /// # Errors
    /// What the system says about the last of them.
    pub(crate) fn connect(&self, key: Key, numbers: Vec<SocketAddr>) -> Result<Wire, Unreached> {
        dial::connect(&self.reactor, key, numbers)
    }

    /// As [`Dialler::next_found`].
    pub(crate) fn next_found(&mut self) -> Option<(Key, Result<Wire, Unreached>)> {
        self.dialler.next_found(&self.reactor)
    }

    /// Waits for events, at most until `deadline`; not at all if there is more to do.
    ///
    /// # Errors
    /// Only if epoll itself fails.
    pub(crate) fn wait(
        &mut self,
        deadline: Option<Mono>,
        has_more: bool,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        match has_more {
            true => self.reactor.look(ready),
            false => self.reactor.wait(&self.clock, deadline, ready),
        }
    }
}
