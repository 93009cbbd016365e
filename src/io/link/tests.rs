//! Links over real sockets, with an endpoint that echoes in pieces.

use super::super::clock::Clock;
use super::super::reactor::{Interests, Reactor, Watch};
use super::*;
use crate::base::buffer::Buffer;
use crate::base::slots::{Key, Slots};

const LINGER: Duration = Duration::from_secs(5);
const BUDGET: usize = 64 * 1024;

/// Sends back what it gets, once its owner has let it, in pieces of at most `step` bytes.
#[derive(Debug)]
struct Echo {
    space: [u8; 700],
    output: Buffer,
    step: usize,
    open: bool,
    ends: usize,
    finished: bool,
    /// How often it was asked for space, which is once for each read.
    asked: usize,
}

impl Echo {
    fn new(step: usize) -> Echo {
        let output = Buffer::new(4096);
        Echo { space: [0; 700], output, step, open: true, ends: 0, finished: false, asked: 0 }
    }
}

impl Endpoint for Echo {
    fn input_space(&mut self) -> &mut [u8] {
        self.asked += 1;
        let room = if self.open { self.output.space() } else { 0 };
        let len = self.space.len().min(room);
        &mut self.space[..len]
    }

    fn input(&mut self, _: Mono, len: usize) {
        assert_eq!(self.output.push(&self.space[..len]), len);
    }

    fn input_end(&mut self, _: Mono) {
        self.ends += 1;
        self.finished = true;
    }

    fn output(&self) -> &[u8] {
        let held = self.output.as_slice();
        &held[..held.len().min(self.step)]
    }

    fn output_sent(&mut self, len: usize) {
        self.output.consume(len);
    }

    fn deadline(&self) -> Option<Mono> {
        None
    }

    fn tick(&mut self, _: Mono) {}

    fn is_finished(&self) -> bool {
        self.finished
    }
}

fn readable() -> Ready {
    Ready { key: Key::from_bits(0), readable: true, writable: false, closed: false }
}

fn link(step: usize) -> (Link<Echo>, Stream) {
    let (near, far) = Stream::pair().unwrap();
    (Link::open(near, Echo::new(step), LINGER), far)
}

fn turn(link: &mut Link<Echo>) -> Next {
    link.receive(Mono::ZERO, BUDGET);
    link.send(Mono::ZERO, BUDGET)
}

fn read_all(stream: &Stream) -> Vec<u8> {
    let (mut bytes, mut space) = (Vec::new(), [0; 8192]);
    while let Moved::Bytes(count) = stream.read(&mut space) {
        bytes.extend_from_slice(&space[..count]);
    }
    bytes
}

/// Messages through real sockets and the real reactor, split at both ends.
#[test]
fn echo_over_tcp_in_pieces() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        for round in 0..200_u32 {
            let sent = vec![round.to_le_bytes()[0]; 1 + (round as usize * 37) % 5000];
            stream.write_all(&sent).unwrap();
            let mut got = vec![0; sent.len()];
            stream.read_exact(&mut got).unwrap();
            assert_eq!(got, sent);
        }
    });
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    accepted.set_nodelay(true).unwrap();
    let (clock, mut reactor, mut ready) = (Clock::new(), Reactor::new().unwrap(), Vec::new());
    let mut links = Slots::new(1);
    let link = Link::open(Stream::from_socket(accepted.into()), Echo::new(13), LINGER);
    let key = links.insert(link).unwrap();
    let link = links.get_mut(key).unwrap();
    assert_eq!(reactor.watch(link.stream(), key, Interests::Both).unwrap(), Watch::Events);
    let mut next = Next::Wait;
    while next != Next::Closed {
        match next {
            Next::Again => reactor.look(&mut ready).unwrap(),
            _ => reactor.wait(&clock, None, &mut ready).unwrap(),
        }
        for event in &ready {
            assert_eq!(event.key, key);
            link.ready(clock.mono(), *event);
        }
        link.receive(clock.mono(), 1000);
        next = link.send(clock.mono(), 1000);
    }
    assert_eq!(link.endpoint().ends, 1);
    assert!(link.cause().is_none());
    client.join().unwrap();
}

#[test]
fn nothing_is_read_without_space_and_reading_goes_on_without_an_event() {
    let (mut link, far) = link(4096);
    link.endpoint_mut().open = false;
    let _ = far.write(b"hello");
    link.ready(Mono::ZERO, readable());
    assert_eq!(turn(&mut link), Next::Wait);
    link.endpoint_mut().open = true;
    assert_eq!(link.send(Mono::ZERO, BUDGET), Next::Again);
    assert_eq!(turn(&mut link), Next::Wait);
    assert_eq!(read_all(&far), b"hello");
}

/// A short read or write says by itself that the socket has no more: nobody asks again.
#[test]
fn an_exchange_is_one_read_and_one_write() {
    let (mut link, far) = link(4096);
    assert!(matches!(far.write(b"request"), Moved::Bytes(7)));
    link.ready(Mono::ZERO, readable());
    link.receive(Mono::ZERO, BUDGET);
    let quiet = Sides { inward: Inward::Blocked, outward: Outward::Ready };
    assert_eq!(link.endpoint().asked, 1, "nothing was asked for after the short read");
    assert_eq!(link.pump.phase, Phase::Open(quiet));
    assert_eq!(link.send(Mono::ZERO, BUDGET), Next::Wait);
    assert_eq!(link.pump.phase, Phase::Open(quiet));
    assert_eq!(read_all(&far), b"request");
}

#[test]
fn the_budget_ends_a_turn_and_asks_for_another() {
    let (mut link, far) = link(4096);
    let _ = far.write(&[1; 3000]);
    link.ready(Mono::ZERO, readable());
    link.receive(Mono::ZERO, 1000);
    assert_eq!(link.send(Mono::ZERO, 10), Next::Again);
    assert_eq!(read_all(&far).len(), 10);
    let mut got = 10;
    while turn(&mut link) == Next::Again {
        got += read_all(&far).len();
    }
    got += read_all(&far).len();
    assert_eq!(got, 3000);
}

#[test]
fn a_full_socket_blocks_and_an_event_resumes() {
    let (mut link, far) = link(4096);
    let chunk = [5; 4096];
    let mut queued = 0;
    // The far side reads nothing until our socket is full.
    let next = loop {
        queued += link.endpoint_mut().output.push(&chunk);
        let next = link.send(Mono::ZERO, BUDGET);
        if !link.endpoint().output.is_empty() {
            break next;
        }
    };
    assert_eq!(next, Next::Wait);
    let mut got = read_all(&far).len();
    let writable = Ready { readable: false, writable: true, ..readable() };
    link.ready(Mono::ZERO, writable);
    assert_eq!(turn(&mut link), Next::Wait);
    got += read_all(&far).len();
    assert_eq!(got, queued);
}

#[test]
fn a_peers_half_close_still_gets_the_answer_and_then_ours() {
    let (mut link, far) = link(4096);
    let _ = far.write(b"last words");
    far.end_output();
    link.ready(Mono::ZERO, Ready { closed: true, ..readable() });
    assert_eq!(turn(&mut link), Next::Closed);
    assert_eq!(link.endpoint().ends, 1);
    assert_eq!(read_all(&far), b"last words");
    assert!(matches!(far.read(&mut [0; 1]), Moved::Closed));
}

#[test]
fn what_came_before_a_reset_is_still_read() {
    let (mut link, far) = link(4096);
    let _ = far.write(b"bye");
    drop(far);
    assert_eq!(link.endpoint_mut().output.push(b"unheard"), 7);
    // The write fails before anything was read.
    assert_eq!(link.send(Mono::ZERO, BUDGET), Next::Again);
    link.receive(Mono::ZERO, BUDGET);
    assert_eq!(link.endpoint().output.as_slice(), b"unheardbye");
    assert_eq!(link.send(Mono::ZERO, BUDGET), Next::Closed);
    assert_eq!(link.endpoint().ends, 1);
    assert!(link.cause().is_some());
}

#[test]
fn a_peer_that_takes_nothing_any_more_is_an_end() {
    let (mut link, far) = link(4096);
    rustix::net::shutdown(&far, rustix::net::Shutdown::Read).unwrap();
    assert_eq!(link.endpoint_mut().output.push(b"unheard"), 7);
    assert_eq!(link.send(Mono::ZERO, BUDGET), Next::Again);
    link.receive(Mono::ZERO, BUDGET);
    assert_eq!(link.endpoint().ends, 1);
    assert_eq!(link.send(Mono::ZERO, BUDGET), Next::Closed);
}

#[test]
fn a_finished_endpoint_flushes_drains_and_closes() {
    let (mut link, far) = link(4096);
    let _ = far.write(b"unread");
    assert_eq!(link.endpoint_mut().output.push(b"farewell"), 8);
    link.endpoint_mut().finished = true;
    assert_eq!(turn(&mut link), Next::Again);
    assert_eq!(turn(&mut link), Next::Wait);
    assert_eq!(link.deadline(), Some(Mono::ZERO + LINGER));
    assert_eq!(read_all(&far), b"farewell");
    drop(far);
    link.ready(Mono::ZERO, Ready { closed: true, ..readable() });
    assert_eq!(turn(&mut link), Next::Closed);
    assert_eq!(link.endpoint().ends, 0, "a finished endpoint hears nothing more");
}

#[test]
fn a_peer_that_never_closes_is_left_after_the_linger() {
    let (mut link, _far) = link(4096);
    link.endpoint_mut().finished = true;
    assert_eq!(turn(&mut link), Next::Again);
    assert_eq!(turn(&mut link), Next::Wait);
    link.tick(Mono::ZERO + LINGER);
    assert_eq!(turn(&mut link), Next::Closed);
    assert_eq!(link.deadline(), None);
}

#[test]
fn a_peer_that_pours_into_a_closing_link_is_reset() {
    let (mut link, far) = link(4096);
    link.endpoint_mut().finished = true;
    assert_eq!(turn(&mut link), Next::Again);
    assert_eq!(turn(&mut link), Next::Wait);
    let mut poured = 0;
    while poured < 2 * LINK_DRAIN_BYTES_MAX {
        match far.write(&[0; 16 * 1024]) {
            Moved::Bytes(count) => poured += count,
            _ => panic!("{poured} bytes were taken"),
        }
        link.ready(Mono::ZERO, readable());
        if turn(&mut link) == Next::Closed {
            break;
        }
    }
    let allowed = LINK_DRAIN_BYTES_MAX..=LINK_DRAIN_BYTES_MAX + 16 * 1024;
    assert!(allowed.contains(&poured), "{poured}");
}

#[test]
fn a_refused_connection_ends_the_endpoint_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let Ok(stream) = Stream::connect_tcp(address) else {
        return;
    };
    let mut link = Link::connecting(stream, Echo::new(1), LINGER);
    let (clock, mut reactor, mut ready) = (Clock::new(), Reactor::new().unwrap(), Vec::new());
    let key = Key::from_bits(0);
    assert_eq!(reactor.watch(link.stream(), key, Interests::Both).unwrap(), Watch::Events);
    while turn(&mut link) != Next::Closed {
        reactor.wait(&clock, None, &mut ready).unwrap();
        ready.iter().for_each(|event| link.ready(Mono::ZERO, *event));
    }
    assert_eq!(link.endpoint().ends, 1);
    assert_eq!(link.cause().unwrap().kind(), io::ErrorKind::ConnectionRefused);
}
