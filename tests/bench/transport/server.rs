//! The server that is measured: the library's transport over the library's loop.
//!
//! Everyone with a key of `DIR/authorized_keys` may come in, however many they are. Subsystems:
//! `source` sends [`BULK_BYTES`], `sink` takes all and ends, `hoard` never takes anything.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use convocate::base::slots::{Key, Slots};
use convocate::base::time::Mono;
use convocate::io::clock::Clock;
use convocate::io::entropy;
use convocate::io::link::{Link, Next};
use convocate::io::listener::{Accepted, Listener};
use convocate::io::reactor::{Interests, Reactor, Ready};
use convocate::limits::{LINK_LINGER, LINK_TURN_BYTES};
use convocate::ssh::keys::{AuthorizedKeys, KeyPair};
use convocate::ssh::{ChannelId, Conn, Event, ServerConfig, Subsystem, Tuning};

/// What one bulk transfer moves.
pub const BULK_BYTES: u64 = 512 * 1024 * 1024;

/// Its name is that of the file that makes it leave authentication undecided for ever.
pub const UNDECIDED: &str = "undecided";

const SUBSYSTEMS: &[Subsystem] = &[
    Subsystem { name: "source", window_change: false },
    Subsystem { name: "sink", window_change: false },
    Subsystem { name: "hoard", window_change: false },
];

/// Zeros to send.
static CHUNK: [u8; 256 * 1024] = [0; 256 * 1024];

/// Connections at once.
const GUESTS_MAX: usize = 4096;

struct Guest {
    link: Link<Conn>,
    channels: BTreeMap<ChannelId, Channel>,
}

enum Channel {
    Source { left: u64 },
    Sink,
    Hoard,
}

/// Serves until it is killed. Says `listening on ADDRESS` on standard error.
pub fn serve(dir: &Path) {
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let host_key = KeyPair::parse_openssh(text("host_key").as_bytes()).unwrap();
    let tuning = Tuning { login_grace: crate::memory::PATIENCE, ..Tuning::default() };
    let config = ServerConfig { host_key, subsystems: SUBSYSTEMS, tuning };
    let mut server = Server {
        clock: Clock::new(),
        reactor: Reactor::new().unwrap(),
        config: Arc::new(config),
        keys: AuthorizedKeys::parse(&text("authorized_keys")),
        undecided: dir.join(UNDECIDED).exists(),
        guests: Slots::new(GUESTS_MAX),
        again: Vec::new(),
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = Listener::bind_tcp(&address.into()).unwrap();
    let listening = server.reactor.watch(&listener, LISTENER, Interests::Read);
    assert!(listening.is_ok(), "{listening:?}");
    eprintln!("listening on {}", listener.tcp_address().unwrap());
    server.run(listener);
}

/// No guest has this key.
const LISTENER: Key = Key::from_bits(u64::MAX);

struct Server {
    clock: Clock,
    reactor: Reactor,
    config: Arc<ServerConfig>,
    keys: AuthorizedKeys,
    undecided: bool,
    guests: Slots<Guest>,
    again: Vec<Key>,
}

impl Server {
    fn run(&mut self, mut listener: Listener) {
        let mut ready = Vec::new();
        loop {
            if self.again.is_empty() {
                self.reactor.wait(&self.clock, self.deadline(), &mut ready).unwrap();
            } else {
                self.reactor.look(&mut ready).unwrap();
            }
            let now = self.clock.mono();
            let mut touched = std::mem::take(&mut self.again);
            for ready in &ready {
                if ready.key == LISTENER {
                    self.accept(now, &mut listener, &mut touched);
                } else if self.undecided && ready.closed {
                    // A connection whose owner decides nothing reads nothing, the end neither.
                    drop(self.guests.remove(ready.key));
                } else if let Some(guest) = self.guests.get_mut(ready.key) {
                    guest.link.ready(now, *ready);
                    touched.push(ready.key);
                }
            }
            self.tick(now, &ready, &mut touched);
            touched.sort_unstable();
            touched.dedup();
            for key in touched {
                self.turn(now, key);
            }
        }
    }

    fn deadline(&self) -> Option<Mono> {
        self.guests.iter().filter_map(|(_, guest)| guest.link.deadline()).min()
    }

    /// Looks at all deadlines only where nothing else is to be done.
    fn tick(&mut self, now: Mono, ready: &[Ready], touched: &mut Vec<Key>) {
        if !ready.is_empty() {
            return;
        }
        let is_due = |guest: &Guest| guest.link.deadline().is_some_and(|at| at <= now);
        let guests = self.guests.iter().filter(|(_, guest)| is_due(guest));
        for key in guests.map(|(key, _)| key).collect::<Vec<_>>() {
            self.guests.get_mut(key).unwrap().link.tick(now);
            touched.push(key);
        }
    }

    fn accept(&mut self, now: Mono, listener: &mut Listener, touched: &mut Vec<Key>) {
        let mut accepted = Vec::new();
        let _next = listener.accept(GUESTS_MAX, &mut accepted);
        for Accepted { stream, .. } in accepted {
            let conn = Conn::server(Arc::clone(&self.config), entropy::seed(), now);
            let link = Link::open(stream, conn, LINK_LINGER);
            let guest = Guest { link, channels: BTreeMap::new() };
            let Ok(key) = self.guests.insert(guest) else { continue };
            let stream = self.guests.get_mut(key).unwrap().link.stream();
            let _events = self.reactor.watch(stream, key, Interests::Both).unwrap();
            touched.push(key);
        }
    }

    fn turn(&mut self, now: Mono, key: Key) {
        let Some(guest) = self.guests.get_mut(key) else { return };
        guest.link.receive(now, LINK_TURN_BYTES);
        guest.hear_all(&self.keys, self.undecided);
        let next = guest.link.send(now, LINK_TURN_BYTES);
        // What was written may have made room, and nothing else will tell of that.
        let heard = guest.hear_all(&self.keys, self.undecided);
        match next {
            Next::Closed => drop(self.guests.remove(key)),
            Next::Wait if !heard => {}
            Next::Wait | Next::Again => self.again.push(key),
        }
    }
}

impl Guest {
    /// Acts on all events, and says whether there were any.
    fn hear_all(&mut self, keys: &AuthorizedKeys, undecided: bool) -> bool {
        let mut heard = false;
        while let Some(event) = self.link.endpoint_mut().poll_event() {
            heard = true;
            match event {
                Event::KeyOffered { key, .. } if !undecided => {
                    self.link.endpoint_mut().authorize(keys.find(&key).is_some());
                }
                event => self.hear(&event),
            }
        }
        heard
    }

    fn hear(&mut self, event: &Event) {
        match *event {
            Event::Subsystem { channel, name } => {
                let begun = match name {
                    "source" => Channel::Source { left: BULK_BYTES },
                    "sink" => Channel::Sink,
                    _ => Channel::Hoard,
                };
                self.channels.insert(channel, begun);
                self.work(channel, false);
            }
            Event::Readable { channel } | Event::Writable { channel } => self.work(channel, false),
            Event::Eof { channel } => self.work(channel, true),
            Event::Closed { channel } => drop(self.channels.remove(&channel)),
            _ => {}
        }
    }

    fn work(&mut self, id: ChannelId, ended: bool) {
        let conn = self.link.endpoint_mut();
        let done = match self.channels.get_mut(&id) {
            Some(Channel::Source { left }) => {
                send_zeros(conn, id, left);
                *left == 0
            }
            Some(Channel::Sink) => {
                crate::client::take(conn, id);
                ended
            }
            Some(Channel::Hoard) | None => false,
        };
        if done {
            conn.send_exit_status(id, 0);
            conn.send_eof(id);
            conn.close(id);
            self.channels.remove(&id);
        }
    }
}

/// Sends until there is no room, or `left` is zero.
pub fn send_zeros(conn: &mut Conn, id: ChannelId, left: &mut u64) {
    while *left > 0 {
        let wanted = usize::try_from(*left).map_or(CHUNK.len(), |left| left.min(CHUNK.len()));
        let sent = conn.send(id, &CHUNK[..wanted]);
        *left -= sent as u64;
        if sent < wanted {
            return;
        }
    }
}
