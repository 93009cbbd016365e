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
use crate::limits::{AGENTS_MAX, RESOLVER_THREADS};

struct Lookup {
    key: Key,
    address: Address,
}

struct Found {
    key: Key,
    numbers: Result<Vec<SocketAddr>, String>,
}

/// Opens streams, and watches them.
pub struct Dialler {
    /// Under which the reactor tells that a name was looked up, unless its waker has a key already.
    wakes: Key,
    resolver: Option<Worker<Lookup, Found>>,
}

impl Dialler {
    /// A dialler without threads. `wakes` is the key of the reactor's waker if it has none yet.
    pub const fn new(wakes: Key) -> Dialler {
        Dialler { wakes, resolver: None }
    }

    /// Starts to open a stream to `address`, watched under `key`. A name is looked up first, by a
    /// thread; then the wire comes from [`Dialler::next_found`].
    ///
    /// # Errors
    /// What is known at once, in the system's words.
    pub fn dial(
        &mut self,
        reactor: &mut Reactor,
        key: Key,
        address: &Address,
    ) -> Result<Option<Wire>, String> {
        if let Some(number) = address.as_socket_addr() {
            return connect(reactor, key, vec![number]).map(Some);
        }
        let job = Lookup { key, address: address.clone() };
        let resolver = self.resolver(reactor).map_err(|error| error.to_string())?;
        resolver.submit(job).map_err(|_| "too many names are being looked up".to_owned())?;
        Ok(None)
    }

    /// The next name that was looked up, and the wire that came of it.
    pub fn next_found(&mut self, reactor: &Reactor) -> Option<(Key, Result<Wire, String>)> {
        let Found { key, numbers } = self.resolver.as_mut()?.next_result()?;
        Some((key, numbers.and_then(|numbers| connect(reactor, key, numbers))))
    }

    fn resolver(&mut self, reactor: &mut Reactor) -> io::Result<&mut Worker<Lookup, Found>> {
        if self.resolver.is_none() {
            let waker = reactor.waker(self.wakes)?;
            let crew = Crew { name: "resolver", threads: RESOLVER_THREADS, jobs_max: AGENTS_MAX };
            let look_up = |job: Lookup| Found {
                key: job.key,
                numbers: resolve(&job.address).map_err(|error| error.to_string()),
            };
            self.resolver = Some(Worker::start(crew, &waker, look_up)?);
        }
        Ok(self.resolver.as_mut().expect("it was started above"))
    }
}

/// Opens a stream to the first of `numbers` that takes one, watched under `key`.
///
/// # Errors
/// The system's words about the last of them.
pub fn connect(reactor: &Reactor, key: Key, numbers: Vec<SocketAddr>) -> Result<Wire, String> {
    let wire = Wire::dial(numbers).map_err(|error| error.to_string())?;
    let watch = reactor.watch(wire.stream(), key, Interests::Both);
    match watch.map_err(|error| error.to_string())? {
        Watch::Events | Watch::AlwaysReady => Ok(wire),
    }
}
