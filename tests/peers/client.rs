//! A client of the library's own transport inside the test: one subsystem, from start to end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use convocate::base::slots::Key;
use convocate::io::clock::Clock;
use convocate::io::entropy;
use convocate::io::link::{Link, Next};
use convocate::io::reactor::{Interests, Reactor};
use convocate::io::stream::Stream;
use convocate::limits::LINK_TURN_BYTES;
use convocate::ssh::{ChannelId, ClientConfig, Conn, Error, Event, Role};

use super::observed::Observed;
use super::server::{Seen, watch};

/// The last words to a server that is slow to close.
const LINGER: Duration = Duration::from_millis(200);

/// What came of one call.
#[derive(Debug)]
pub struct Called {
    /// All that the subsystem sent.
    pub output: Vec<u8>,
    /// What it exited with, if it said so.
    pub status: Option<u32>,
    /// What was seen of the connection.
    pub seen: Seen,
}

/// Connects, runs `subsystem` with `input` until it ends or has sent `enough` bytes, and goes.
///
/// # Panics
///
/// After `patience`.
pub fn call(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    (subsystem, enough): (&'static str, usize),
    input: &[u8],
    patience: Duration,
) -> Called {
    let (clock, mut reactor) = (Clock::new(), Reactor::new().expect("descriptors"));
    let conn = Conn::client(Arc::clone(config), entropy::seed(), clock.mono());
    let stream = Stream::connect_tcp(address).expect("loopback");
    let mut link = Link::connecting(stream, Observed::new(conn, Role::Client), LINGER);
    watch(&reactor, link.stream(), Key::from_bits(1), Interests::Both);
    let mut turns = Turns { input, enough, output: Vec::new(), status: None, error: None };
    let (started, mut ready) = (Instant::now(), Vec::new());
    loop {
        let now = clock.mono();
        if link.deadline().is_some_and(|at| at <= now) {
            link.tick(now);
        }
        link.receive(now, LINK_TURN_BYTES);
        turns.act(&mut link.endpoint_mut().conn, subsystem);
        let waited = match link.send(now, LINK_TURN_BYTES) {
            Next::Closed => break,
            Next::Again => reactor.look(&mut ready),
            Next::Wait => {
                let patient = now + Duration::from_millis(100);
                let deadline = link.deadline().map_or(patient, |at| at.min(patient));
                reactor.wait(&clock, Some(deadline), &mut ready)
            }
        };
        waited.expect("epoll works");
        ready.iter().for_each(|event| link.ready(clock.mono(), *event));
        let progress = (turns.output.len(), turns.input.len(), turns.error.as_ref());
        assert!(started.elapsed() < patience, "{link:?} hangs: {progress:?}");
    }
    let seen = Seen::of(link.endpoint(), turns.error);
    Called { output: turns.output, status: turns.status, seen }
}

struct Turns<'a> {
    /// What was not sent yet.
    input: &'a [u8],
    enough: usize,
    output: Vec<u8>,
    status: Option<u32>,
    error: Option<Error>,
}

impl Turns<'_> {
    fn act(&mut self, conn: &mut Conn, subsystem: &'static str) {
        while let Some(event) = conn.poll_event() {
            match event {
                Event::Authenticated { .. } => {
                    conn.open_subsystem(subsystem).expect("the first one");
                }
                Event::Opened { channel } | Event::Writable { channel } => self.send(conn, channel),
                Event::Readable { channel } => self.receive(conn, channel),
                Event::ExitStatus { code, .. } => self.status = Some(code),
                // Its exit status may come behind its last byte, so it is the server that closes.
                Event::Closed { .. } => conn.disconnect("done"),
                Event::Refused { .. } => conn.disconnect("refused"),
                Event::Disconnected(error) => self.error = Some(error),
                _ => {}
            }
        }
    }

    fn send(&mut self, conn: &mut Conn, channel: ChannelId) {
        let taken = conn.send(channel, self.input);
        self.input = &self.input[taken..];
        if self.input.is_empty() && self.output.len() < self.enough {
            conn.send_eof(channel);
        }
    }

    fn receive(&mut self, conn: &mut Conn, channel: ChannelId) {
        let received = conn.received(channel);
        self.output.extend_from_slice(received);
        let len = received.len();
        conn.consume(channel, len);
        if self.output.len() >= self.enough {
            conn.close(channel);
        }
    }
}
