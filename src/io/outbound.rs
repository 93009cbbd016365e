//! The one way out: a connection to a host by name or number, dialled whenever its owner wants.
//!
//! ```text
//! Idle -> LookingUp (a name, on a thread) -> Connecting (to its numbers) -> Open -> Idle
//! ```
//!
//! The owner's core decides when to dial, how long that may take, and when to dial again; it is
//! told of each step by a [`DialEvent`]. The endpoint stays with the owner and outlives the
//! streams: it is lent to [`Outbound::pump`] for each turn.

use std::io;
use std::net::SocketAddr;

use super::happy_eyeballs::{HappyEyeballs, Step};
use super::link::{Next, Pump};
use super::reactor::{Interests, Reactor, Ready};
use super::resolve::resolve;
use super::stream::Stream;
use super::worker::{Crew, Worker};
use crate::base::address::Address;
use crate::base::endpoint::Endpoint;
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::base::unreached::Unreached;
use crate::limits::{AGENTS_MAX, LINK_TURN_BYTES, RESOLVER_THREADS};

/// What has become of dialling.
#[must_use = "the owner's core waits for it"]
#[derive(Debug, PartialEq, Eq)]
pub enum DialEvent {
    /// Nothing new.
    None,
    /// The address is known, and a stream to it is being opened. Comes once for each number that
    /// is tried.
    ConnectStarted,
    /// The stream is open.
    Connected,
    /// No stream came about; the connection is idle.
    Failed(Unreached),
}

/// One connection, or an attempt at one, or neither.
#[derive(Debug)]
pub struct Outbound {
    /// What the streams are watched under.
    key: Key,
    state: OutboundState,
}

#[derive(Debug)]
enum OutboundState {
    Idle,
    /// The number of the lookup that counts.
    LookingUp(u64),
    Connecting(HappyEyeballs),
    Open(Pump),
}

impl Outbound {
    /// Idle. Its streams will be watched under `key`, one at a time.
    pub const fn new(key: Key) -> Outbound {
        Outbound { key, state: OutboundState::Idle }
    }

    pub fn key(&self) -> Key {
        self.key
    }

    /// Drops what there is and starts to open a stream to `address`. A name is looked up first, by
    /// a thread; the answer comes from [`Dialler::next_found`].
    pub fn dial(
        &mut self,
        dialler: &mut Dialler,
        reactor: &mut Reactor,
        address: &Address,
    ) -> DialEvent {
        self.state = OutboundState::Idle;
        if let Some(number) = address.as_socket_addr() {
            return self.connect(reactor, vec![number]);
        }
        match dialler.look_up(reactor, address) {
            Ok(lookup) => {
                self.state = OutboundState::LookingUp(lookup);
                DialEvent::None
            }
            Err(why) => DialEvent::Failed(why),
        }
    }

    /// Drops what there is and starts to open a stream to one of these numbers.
    pub(crate) fn dial_numbers(
        &mut self,
        reactor: &Reactor,
        numbers: Vec<SocketAddr>,
    ) -> DialEvent {
        self.connect(reactor, numbers)
    }

    /// The stream, if it is open: who takes it moves its bytes himself. It is watched as before.
    pub(crate) fn into_stream(self) -> Option<Stream> {
        match self.state {
            OutboundState::Open(pump) => Some(pump.into_stream()),
            _ => None,
        }
    }

    /// Whether this is the lookup that it waits for.
    pub(crate) fn waits_for(&self, found: &Found) -> bool {
        matches!(self.state, OutboundState::LookingUp(lookup) if lookup == found.lookup)
    }

    /// A name was looked up. One that nobody waits for any more is dropped.
    pub(crate) fn found(&mut self, reactor: &Reactor, found: Found) -> DialEvent {
        if !self.waits_for(&found) {
            return DialEvent::None;
        }
        self.state = OutboundState::Idle;
        match found.numbers {
            Ok(numbers) => self.connect(reactor, numbers),
            Err(why) => DialEvent::Failed(why),
        }
    }

    /// Takes note of what the reactor reported. Moves no bytes.
    pub fn ready(&mut self, reactor: &Reactor, ready: Ready) -> DialEvent {
        match &mut self.state {
            OutboundState::Connecting(attempts) => {
                let step = attempts.ready(reactor, ready);
                self.connecting(step)
            }
            OutboundState::Open(pump) => {
                let _opened_before = pump.ready(ready);
                DialEvent::None
            }
            OutboundState::Idle | OutboundState::LookingUp(_) => DialEvent::None,
        }
    }

    /// Moves bytes both ways, at most [`LINK_TURN_BYTES`] each, and says whether there is more to
    /// do at once. A stream whose endpoint has finished is closed; what its peer does not take at
    /// once of the last output is lost.
    pub fn pump(&mut self, now: Mono, endpoint: &mut dyn Endpoint) -> bool {
        let OutboundState::Open(pump) = &mut self.state else { return false };
        pump.receive(now, endpoint, LINK_TURN_BYTES);
        match pump.send(now, endpoint, LINK_TURN_BYTES) {
            Next::Wait => false,
            Next::Again => true,
            Next::Closed => {
                self.state = OutboundState::Idle;
                false
            }
        }
    }

    /// Whether [`Outbound::pump`] has something to do since the owner acted on the endpoint.
    pub fn wants_turn(&self, endpoint: &mut dyn Endpoint) -> bool {
        match &self.state {
            OutboundState::Open(pump) => pump.next(endpoint) == Next::Again,
            _ => false,
        }
    }

    /// Drops the stream, or the attempt at one.
    pub fn close(&mut self) {
        self.state = OutboundState::Idle;
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, OutboundState::Open(_))
    }

    /// Watches the stream, if there is one, with another reactor than before.
    ///
    /// # Errors
    /// As [`Reactor::watch`].
    pub fn watch(&self, reactor: &Reactor) -> io::Result<()> {
        match &self.state {
            OutboundState::Connecting(attempts) => attempts.watch(reactor),
            OutboundState::Open(pump) => {
                reactor.watch(pump.stream(), self.key, Interests::Both).map(drop)
            }
            OutboundState::Idle | OutboundState::LookingUp(_) => Ok(()),
        }
    }

    fn connect(&mut self, reactor: &Reactor, numbers: Vec<SocketAddr>) -> DialEvent {
        let mut attempts = HappyEyeballs::new(self.key, numbers);
        let step = attempts.start(reactor);
        self.state = OutboundState::Connecting(attempts);
        self.connecting(step)
    }

    fn connecting(&mut self, step: Step) -> DialEvent {
        match step {
            Step::Waiting => DialEvent::None,
            Step::Started => DialEvent::ConnectStarted,
            Step::Opened(pump) => {
                self.state = OutboundState::Open(pump);
                DialEvent::Connected
            }
            Step::Failed(why) => {
                self.state = OutboundState::Idle;
                DialEvent::Failed(why)
            }
        }
    }
}

/// Looks names up for any number of connections, on threads that start with the first name.
pub struct Dialler {
    /// Under which the reactor tells that a name was looked up, unless its waker has a key already.
    wakes: Key,
    lookups: u64,
    resolver: Option<Worker<Lookup, Found>>,
}

struct Lookup {
    number: u64,
    address: Address,
}

/// What a lookup has found.
pub(crate) struct Found {
    lookup: u64,
    numbers: Result<Vec<SocketAddr>, Unreached>,
}

impl Found {
    pub(crate) fn lookup(&self) -> u64 {
        self.lookup
    }

    /// All numbers of the name, or why there are none.
    pub(crate) fn numbers(self) -> Result<Vec<SocketAddr>, Unreached> {
        self.numbers
    }

    /// The first number of the name.
    pub(crate) fn number(&self) -> Option<SocketAddr> {
        self.numbers.as_ref().ok()?.first().copied()
    }
}

impl Dialler {
    /// A dialler without threads. `wakes` is the key of the reactor's waker if it has none yet.
    pub const fn new(wakes: Key) -> Dialler {
        Dialler { wakes, lookups: 0, resolver: None }
    }

    /// The next name that was looked up, for [`Outbound::found`].
    pub(crate) fn next_found(&mut self) -> Option<Found> {
        self.resolver.as_mut()?.next_result()
    }

    /// Has a thread look a name up. The number is that of [`Found::lookup`].
    ///
    /// # Errors
    /// Too many are being looked up, or there is no thread.
    pub(crate) fn look_up(
        &mut self,
        reactor: &mut Reactor,
        address: &Address,
    ) -> Result<u64, Unreached> {
        self.lookups += 1;
        let job = Lookup { number: self.lookups, address: address.clone() };
        let full = || Unreached::Refused("too many names are being looked up".to_owned());
        self.resolver(reactor)?.submit(job).map_err(|_| full())?;
        Ok(self.lookups)
    }

    fn resolver(&mut self, reactor: &mut Reactor) -> io::Result<&mut Worker<Lookup, Found>> {
        if self.resolver.is_none() {
            let waker = reactor.waker(self.wakes)?;
            let crew = Crew { name: "resolver", threads: RESOLVER_THREADS, jobs_max: AGENTS_MAX };
            let look_up = |job: Lookup| Found {
                lookup: job.number,
                // Whatever the error: nobody at the address has refused us.
                numbers: resolve(&job.address)
                    .map_err(|error| Unreached::Silent(error.to_string())),
            };
            self.resolver = Some(Worker::start(crew, &waker, look_up)?);
        }
        Ok(self.resolver.as_mut().expect("it was started above"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::super::clock::Clock;
    use super::*;
    use crate::base::pipe::Pipe;

    const KEY: Key = Key::from_bits(1);

    /// Waits for what is next to be told of a connection.
    fn next_event(outbound: &mut Outbound, reactor: &mut Reactor) -> DialEvent {
        let (clock, mut ready) = (Clock::new(), Vec::new());
        loop {
            reactor.wait(&clock, None, &mut ready).unwrap();
            for ready in &ready {
                match outbound.ready(reactor, *ready) {
                    DialEvent::None => {}
                    event => return event,
                }
            }
        }
    }

    #[test]
    fn the_next_number_is_tried_and_the_last_failure_told() {
        let mut reactor = Reactor::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut outbound = Outbound::new(KEY);
        let numbers = vec![closed, listener.local_addr().unwrap()];
        assert_eq!(outbound.connect(&reactor, numbers), DialEvent::ConnectStarted);
        assert_eq!(next_event(&mut outbound, &mut reactor), DialEvent::ConnectStarted);
        assert_eq!(next_event(&mut outbound, &mut reactor), DialEvent::Connected);
        assert!(outbound.is_open());
        let mut dialler = Dialler::new(Key::from_bits(2));
        let event = outbound.dial(&mut dialler, &mut reactor, &Address::from(closed));
        assert_eq!(event, DialEvent::ConnectStarted);
        let failed = next_event(&mut outbound, &mut reactor);
        assert!(matches!(failed, DialEvent::Failed(Unreached::Refused(_))), "{failed:?}");
        assert!(!outbound.is_open());
    }

    #[test]
    fn a_name_is_looked_up_and_a_later_dial_makes_the_answer_void() {
        let (clock, mut reactor) = (Clock::new(), Reactor::new().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mut dialler, mut outbound) = (Dialler::new(Key::from_bits(2)), Outbound::new(KEY));
        let name = Address::parse(&format!("localhost:{port}")).unwrap();
        for _ in 0..2 {
            assert_eq!(outbound.dial(&mut dialler, &mut reactor, &name), DialEvent::None);
        }
        let mut events = Vec::new();
        while events.len() < 2 {
            reactor.wait(&clock, None, &mut Vec::new()).unwrap();
            while let Some(found) = dialler.next_found() {
                let waits = outbound.waits_for(&found);
                events.push((waits, outbound.found(&reactor, found) == DialEvent::ConnectStarted));
            }
        }
        events.sort_unstable();
        assert_eq!(events, [(false, false), (true, true)]);
    }

    #[test]
    fn bytes_go_both_ways_and_a_finished_endpoint_closes_at_once() {
        let (clock, mut reactor) = (Clock::new(), Reactor::new().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut outbound = Outbound::new(KEY);
        let started = outbound.connect(&reactor, vec![listener.local_addr().unwrap()]);
        assert_eq!(started, DialEvent::ConnectStarted);
        assert_eq!(next_event(&mut outbound, &mut reactor), DialEvent::Connected);
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"question").unwrap();
        let (mut pipe, mut ready) = (Pipe::new(100), Vec::new());
        assert_eq!(pipe.send(b"answer"), 6);
        assert!(outbound.wants_turn(&mut pipe));
        loop {
            let is_more = outbound.pump(clock.mono(), &mut pipe);
            if pipe.received() == b"question" {
                break;
            }
            reactor.turn(&clock, None, is_more, &mut ready).unwrap();
            ready.iter().for_each(|it| drop(outbound.ready(&reactor, *it)));
        }
        pipe.finish();
        assert!(!outbound.pump(clock.mono(), &mut pipe) && !outbound.is_open());
        drop(outbound);
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"answer");
    }
}
