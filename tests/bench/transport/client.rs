//! One connection of ours to any server, driven by hand.

use std::net::SocketAddr;
use std::sync::Arc;

use convocate::base::slots::Key;
use convocate::io::clock::Clock;
use convocate::io::entropy;
use convocate::io::link::{Link, Next};
use convocate::io::reactor::{Interests, Reactor, Ready};
use convocate::io::stream::Stream;
use convocate::limits::{LINK_LINGER, LINK_TURN_BYTES};
use convocate::ssh::keys::{KeyPair, PublicKey};
use convocate::ssh::{ChannelId, ClientConfig, Conn, Event, Tuning};

use crate::support::keys::KeyFile;

/// A connection and the loop that moves its bytes.
pub struct Client {
    clock: Clock,
    reactor: Reactor,
    ready: Vec<Ready>,
    link: Link<Conn>,
    next: Next,
    /// What came of writing.
    untold: Option<Event>,
}

/// What a client must know of a server whose keys are files.
pub fn config(key: &KeyFile, host_key: &KeyFile, tuning: Tuning) -> Arc<ClientConfig> {
    let key = KeyPair::parse_openssh(&std::fs::read(key.path()).unwrap()).unwrap();
    let (host_key, _) = PublicKey::parse_line(&host_key.public_line()).unwrap();
    Arc::new(ClientConfig { user: user(), key, host_key, tuning })
}

/// Who runs this: the only one whom a stock server lets in.
pub fn user() -> String {
    std::env::var("USER").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "root".into())
}

impl Client {
    /// Dials; the first turn sees to the rest.
    pub fn dial(address: SocketAddr, config: &Arc<ClientConfig>) -> Client {
        let (clock, reactor) = (Clock::new(), Reactor::new().unwrap());
        let stream = Stream::connect_tcp(address).unwrap();
        let conn = Conn::client(Arc::clone(config), entropy::seed(), clock.mono());
        let link = Link::connecting(stream, conn, LINK_LINGER);
        let _events = reactor.watch(link.stream(), Key::from_bits(0), Interests::Both).unwrap();
        Client { clock, reactor, ready: Vec::new(), link, next: Next::Wait, untold: None }
    }

    /// Dials, and is let in.
    pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Client {
        let mut client = Client::dial(address, config);
        client.until(|_, event| matches!(event, Some(Event::Authenticated { .. })).then_some(()));
        client
    }

    /// The connection; a turn is due after acting on it.
    pub fn conn(&mut self) -> &mut Conn {
        self.link.endpoint_mut()
    }

    /// Turns until `act` gives something. It is called for each event, and once a turn without one.
    pub fn until<T>(&mut self, mut act: impl FnMut(&mut Conn, Option<Event>) -> Option<T>) -> T {
        loop {
            let now = self.clock.mono();
            self.link.receive(now, LINK_TURN_BYTES);
            let mut value = None;
            while value.is_none() {
                let event = self.untold.take().or_else(|| self.link.endpoint_mut().poll_event());
                let ended = matches!(event, Some(Event::Disconnected(_)));
                assert!(!ended, "the connection ended: {event:?}, {:?}", self.link.cause());
                let last = event.is_none();
                value = act(self.link.endpoint_mut(), event);
                if last {
                    break;
                }
            }
            self.next = self.link.send(now, LINK_TURN_BYTES);
            if let Some(value) = value {
                return value;
            }
            // What was written may have made room, and nothing else will tell of that.
            self.untold = self.untold.take().or_else(|| self.link.endpoint_mut().poll_event());
            self.wait();
        }
    }

    fn wait(&mut self) {
        if self.next == Next::Again || self.untold.is_some() {
            self.reactor.look(&mut self.ready).unwrap();
        } else {
            let deadline = self.link.deadline();
            self.reactor.wait(&self.clock, deadline, &mut self.ready).unwrap();
        }
        let now = self.clock.mono();
        for ready in &self.ready {
            self.link.ready(now, *ready);
        }
        if self.link.deadline().is_some_and(|at| at <= now) {
            self.link.tick(now);
        }
    }

    /// Opens a channel with a subsystem, sends `request`, takes what comes, says that nothing
    /// follows once something came, and waits until the channel is closed. Gives the number of
    /// bytes.
    pub fn exchange(&mut self, subsystem: &'static str, request: &[u8]) -> u64 {
        let id = self.conn().open_subsystem(subsystem).unwrap();
        let (mut left, mut received) = (Some(request), 0);
        self.until(|conn, event| {
            match event {
                Some(Event::Closed { .. }) => return Some(()),
                Some(Event::Refused { reason, .. }) => unreachable!("{subsystem}: {reason}"),
                _ => {}
            }
            if let Some(unsent) = &mut left {
                *unsent = &unsent[conn.send(id, unsent)..];
            }
            received += take(conn, id);
            if received > 0 && left.is_some_and(<[u8]>::is_empty) {
                conn.send_eof(id);
                left = None;
            }
            None
        });
        received
    }
}

/// Drops what was received, and says how much that was.
pub fn take(conn: &mut Conn, id: ChannelId) -> u64 {
    let count = conn.received(id).len();
    conn.consume(id, count);
    count as u64
}
