//! A server of the library's own transport inside the test: an echo and a source.
//!
//! One thread, one reactor, the same link as the agent's. Each connection that has ended leaves
//! behind what was seen of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use convocate::base::address::Address;
use convocate::base::slots::Key;
use convocate::io::clock::Clock;
use convocate::io::entropy;
use convocate::io::link::{Link, Next};
use convocate::io::listener::{self, Listener};
use convocate::io::reactor::{Interests, Reactor, Ready, Waker, Watch};
use convocate::limits::{ACCEPTS_PER_TURN, LINK_LINGER, LINK_TURN_BYTES};
use convocate::ssh::keys::PublicKey;
use convocate::ssh::{ChannelId, Conn, Error, Event, Role, ServerConfig, Subsystem};

use super::observed::Observed;

/// Sends back what it gets, and exits with [`ECHO_STATUS`] when nothing more comes.
pub const ECHO: &str = "test-echo";
/// What [`ECHO`] exits with: not what a client exits with by itself.
pub const ECHO_STATUS: u32 = 7;

/// What the server offers.
pub const SUBSYSTEMS: &[Subsystem] = &[Subsystem { name: ECHO, window_change: false }];

const LISTENER: Key = Key::from_bits(u64::MAX);
const STOP: Key = Key::from_bits(u64::MAX - 1);

/// A connection that has ended.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What the peer called itself.
    pub peer: String,
    /// Key exchange method and cipher from server to client, as far as it came to that.
    pub agreed: Option<(&'static str, &'static str)>,
    /// Both asked for the strict exchange.
    pub strict: bool,
    /// Key exchanges after the first.
    pub rekeys: u64,
    /// Why it ended.
    pub error: Option<Error>,
}

impl Seen {
    /// What is known of a connection that ended with `error`.
    pub fn of(observed: &Observed, error: Option<Error>) -> Seen {
        let agreed = observed.agreed();
        Seen {
            peer: observed.peer(),
            agreed: agreed.map(|agreed| (agreed.kex.name(), agreed.cipher_to_client.name())),
            strict: agreed.is_some_and(|agreed| agreed.strict),
            rekeys: observed.conn.exchanges().saturating_sub(1),
            error,
        }
    }
}

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    ends: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it on a free port; `client` may log in.
    pub fn start(config: ServerConfig, client: PublicKey) -> Server {
        let listen = Address::parse("127.0.0.1:0").expect("an address");
        let listener = Listener::bind_tcp(&listen).expect("a free port");
        let address = listener.tcp_address().expect("it is TCP");
        let mut reactor = Reactor::new().expect("descriptors");
        let waker = reactor.waker(STOP).expect("descriptors");
        watch(&reactor, &listener, LISTENER, Interests::Read);
        let (seen, ends) = (Arc::default(), Arc::default());
        let mut turns = Turns {
            listener,
            reactor,
            clock: Clock::new(),
            config: Arc::new(config),
            client,
            guests: BTreeMap::new(),
            next: 0,
            seen: Arc::clone(&seen),
        };
        let ended: Arc<AtomicBool> = Arc::clone(&ends);
        let thread = thread::spawn(move || turns.run(&ended));
        Server { address, seen, ends, waker, thread: Some(thread) }
    }

    /// The next connection that has ended, oldest first.
    pub fn next_seen(&self) -> Option<Seen> {
        let mut seen = self.seen.lock().expect("nobody panics with it");
        (!seen.is_empty()).then(|| seen.remove(0))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the server of the test panicked");
        }
    }
}

struct Guest {
    link: Link<Observed>,
    /// Channels with an echo, and whether their input has ended.
    echoes: BTreeMap<ChannelId, bool>,
    error: Option<Error>,
    again: bool,
}

struct Turns {
    listener: Listener,
    reactor: Reactor,
    clock: Clock,
    config: Arc<ServerConfig>,
    client: PublicKey,
    guests: BTreeMap<Key, Guest>,
    next: u64,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Turns {
    fn run(&mut self, ends: &AtomicBool) {
        let mut ready = Vec::new();
        while !ends.load(Ordering::Acquire) {
            self.wait(&mut ready);
            for event in &ready {
                match self.guests.get_mut(&event.key) {
                    Some(guest) => guest.link.ready(self.clock.mono(), *event),
                    None if event.key == LISTENER => self.accept(),
                    None => {}
                }
            }
            self.turn();
        }
    }

    fn wait(&mut self, ready: &mut Vec<Ready>) {
        let again = self.guests.values().any(|guest| guest.again);
        let deadline = self.guests.values().filter_map(|guest| guest.link.deadline()).min();
        let waited = match again {
            true => self.reactor.look(ready),
            false => self.reactor.wait(&self.clock, deadline, ready),
        };
        waited.expect("epoll works");
    }

    fn accept(&mut self) {
        let mut accepted = Vec::new();
        while let listener::Next::Again = self.listener.accept(ACCEPTS_PER_TURN, &mut accepted) {}
        for connection in accepted {
            let key = Key::from_bits(self.next);
            self.next += 1;
            let now = self.clock.mono();
            let conn = Conn::server(Arc::clone(&self.config), entropy::seed(), now);
            let endpoint = Observed::new(conn, Role::Server);
            let link = Link::open(connection.stream, endpoint, LINK_LINGER);
            watch(&self.reactor, link.stream(), key, Interests::Both);
            let guest = Guest { link, echoes: BTreeMap::new(), error: None, again: true };
            self.guests.insert(key, guest);
        }
    }

    fn turn(&mut self) {
        let now = self.clock.mono();
        let (client, seen) = (&self.client, &self.seen);
        self.guests.retain(|_, guest| {
            if guest.link.deadline().is_some_and(|at| at <= now) {
                guest.link.tick(now);
            }
            guest.link.receive(now, LINK_TURN_BYTES);
            guest.act(client);
            let next = guest.link.send(now, LINK_TURN_BYTES);
            guest.again = next == Next::Again;
            if next == Next::Closed {
                let left = Seen::of(guest.link.endpoint(), guest.error.take());
                seen.lock().expect("nobody panics with it").push(left);
            }
            next != Next::Closed
        });
    }
}

impl Guest {
    fn act(&mut self, client: &PublicKey) {
        let conn = &mut self.link.endpoint_mut().conn;
        while let Some(event) = conn.poll_event() {
            match event {
                Event::KeyOffered { key, .. } => conn.authorize(key == *client),
                Event::Subsystem { channel, .. } => {
                    self.echoes.insert(channel, false);
                }
                Event::Eof { channel } => {
                    self.echoes.entry(channel).and_modify(|ended| *ended = true);
                }
                Event::Closed { channel } => {
                    self.echoes.remove(&channel);
                }
                Event::Disconnected(error) => self.error = Some(error),
                _ => {}
            }
        }
        self.echoes.retain(|channel, ended| echo(conn, *channel, *ended));
    }
}

/// Sends back what there is room for, and says whether there is more to come.
fn echo(conn: &mut Conn, channel: ChannelId, ended: bool) -> bool {
    // What was received is borrowed from the connection that is to send it.
    let mut piece = [0; 32 * 1024];
    loop {
        let received = conn.received(channel);
        if received.is_empty() {
            break;
        }
        let len = received.len().min(piece.len());
        piece[..len].copy_from_slice(&received[..len]);
        let taken = conn.send(channel, &piece[..len]);
        conn.consume(channel, taken);
        if taken < len {
            return true;
        }
    }
    if ended {
        conn.send_exit_status(channel, ECHO_STATUS);
        conn.send_eof(channel);
        conn.close(channel);
    }
    !ended
}

/// Watches what can be watched.
pub fn watch(reactor: &Reactor, source: &impl std::os::fd::AsFd, key: Key, interests: Interests) {
    let watch = reactor.watch(source, key, interests).expect("the kernel has room");
    assert_eq!(watch, Watch::Events);
}
