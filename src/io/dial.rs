//! Streams to hosts by name or number.
//!
//! Numbers are dialled at once. Names are looked up by threads first, which are started when the
//! first name comes; the owner's loop is woken when one is found.

use std::io;
use std::net::SocketAddr;

use super::reactor::{Interests, Reactor, Watch};
use super::resolve::resolve;
use super::wire::Wire;
use super::worker::{Crew, Worker};
use crate::base::address::Address;
use crate::base::slots::Key;
use crate::base::unreached::Unreached;
use crate::limits::{AGENTS_MAX, RESOLVER_THREADS};

struct Lookup {
    key: Key,
    address: Address,
}

struct Found {
    key: Key,
    numbers: Result<Vec<SocketAddr>, Unreached>,
}

/// Opens streams, and watches them.
pub(crate) struct Dialler {
    /// Under which the reactor tells that a name was looked up, unless its waker has a key already.
    wakes: Key,
    resolver: Option<Worker<Lookup, Found>>,
}

impl Dialler {
    /// A dialler without threads. `wakes` is the key of the reactor's waker if it has none yet.
    pub(crate) const fn new(wakes: Key) -> Dialler {
        Dialler { wakes, resolver: None }
    }

    /// Starts to open a stream to `address`, watched under `key`. A name is looked up first, by a
    /// thread; then the wire comes from [`Dialler::next_found`].
    ///
    /// # Errors
    /// What is known at once.
    pub(crate) fn dial(
        &mut self,
        reactor: &mut Reactor,
        key: Key,
        address: &Address,
    ) -> Result<Option<Wire>, Unreached> {
        if let Some(number) = address.as_socket_addr() {
            return connect(reactor, key, vec![number]).map(Some);
        }
        let job = Lookup { key, address: address.clone() };
        let full = || Unreached::Refused("too many names are being looked up".to_owned());
        self.resolver(reactor)?.submit(job).map_err(|_| full())?;
        Ok(None)
    }

    /// The next name that was looked up, and the wire that came of it.
    pub(crate) fn next_found(
        &mut self,
        reactor: &Reactor,
    ) -> Option<(Key, Result<Wire, Unreached>)> {
        let Found { key, numbers } = self.resolver.as_mut()?.next_result()?;
        Some((key, numbers.and_then(|numbers| connect(reactor, key, numbers))))
    }

    fn resolver(&mut self, reactor: &mut Reactor) -> io::Result<&mut Worker<Lookup, Found>> {
        if self.resolver.is_none() {
            let waker = reactor.waker(self.wakes)?;
            let crew = Crew { name: "resolver", threads: RESOLVER_THREADS, jobs_max: AGENTS_MAX };
            let look_up = |job: Lookup| Found {
                key: job.key,
                // It is the network that has not answered, for all that can be told.
                numbers: resolve(&job.address)
                    .map_err(|error| Unreached::Silent(error.to_string())),
            };
            self.resolver = Some(Worker::start(crew, &waker, look_up)?);
        }
        Ok(self.resolver.as_mut().expect("it was started above"))
    }
}

/// Opens a stream to the first of `numbers` that takes one, watched under `key`.
///
/// # Errors
/// What the system says about the last of them.
pub fn connect(reactor: &Reactor, key: Key, numbers: Vec<SocketAddr>) -> Result<Wire, Unreached> {
    let wire = Wire::dial(numbers)?;
    match reactor.watch(wire.stream(), key, Interests::Both)? {
        Watch::Events | Watch::AlwaysReady => Ok(wire),
    }
}
