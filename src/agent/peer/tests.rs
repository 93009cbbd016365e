//! A client's connection and a peer, joined by a wire without delay.

use super::*;
use crate::limits::{RPC_REQUEST_BYTES_MAX, RPC_REQUEST_TIMEOUT};
use crate::rpc::response;
use crate::ssh::keys::KeyPair;
use crate::ssh::{ClientConfig, Tuning};
use serde_json::json;

const ID: &str = "01234567-89ab-4def-8123-456789abcdef";

/// A client and a peer, joined by a wire without delay.
struct Pair {
    client: Conn,
    peer: Peer,
    now: Mono,
    /// What the client was told.
    heard: Vec<Event>,
    /// What the driver was told.
    told: Vec<PeerEvent>,
}

impl Pair {
    fn new() -> Pair {
        let (host, user) = (KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32]));
        let now = Mono::ZERO;
        let client = ClientConfig {
            user: "claude".to_owned(),
            host_key: *host.public(),
            key: user,
            tuning: Tuning::default(),
        };
        let server =
            ServerConfig { host_key: host, subsystems: SUBSYSTEMS, tuning: Tuning::default() };
        let mut pair = Pair {
            client: Conn::client(Arc::new(client), [3; 32], now),
            peer: Peer::new(Arc::new(server), [4; 32], now),
            now,
            heard: Vec::new(),
            told: Vec::new(),
        };
        pair.run();
        assert!(matches!(
            pair.told[..],
            [PeerEvent::KeyOffered { .. }, PeerEvent::Authenticated { .. }]
        ));
        pair.told.clear();
        pair
    }

    /// Moves bytes until nothing moves.
    fn run(&mut self) {
        loop {
            self.collect();
            let moved = carry(&mut self.client, &mut self.peer, self.now)
                + carry(&mut self.peer, &mut self.client, self.now);
            if moved == 0 {
                return;
            }
        }
    }

    fn collect(&mut self) {
        while let Some(event) = self.peer.poll_event() {
            if matches!(event, PeerEvent::KeyOffered { .. }) {
                self.peer.authorize(true);
            }
            self.told.push(event);
        }
        self.heard.extend(std::iter::from_fn(|| self.client.poll_event()));
    }

    fn open(&mut self, subsystem: &'static str, bytes: &[u8]) -> ChannelId {
        let channel = self.client.open_subsystem(subsystem).unwrap();
        self.run();
        assert_eq!(self.client.send(channel, bytes), bytes.len());
        self.run();
        channel
    }

    /// Everything that the client was sent on a channel, taken.
    fn received(&mut self, channel: ChannelId) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let bytes = self.client.received(channel).to_vec();
            if bytes.is_empty() {
                return all;
            }
            self.client.consume(channel, bytes.len());
            all.extend(bytes);
            self.run();
        }
    }

    fn ended_with(&self, wanted: u32) -> bool {
        let exit =
            |event: &&Event| matches!(event, Event::ExitStatus { code, .. } if *code == wanted);
        self.heard.iter().any(|event| exit(&event))
            && self.heard.iter().any(|event| matches!(event, Event::Closed { .. }))
    }

    /// The channel of the attach header that the driver was told.
    fn attach(&mut self, more: &str) -> (ChannelId, ChannelId) {
        let header = format!("{{\"id\":\"{ID}\"{more}}}\nls\r");
        let outer = self.open(ATTACH_SUBSYSTEM, header.as_bytes());
        let Some(PeerEvent::Attach { channel, .. }) = self.told.pop() else {
            panic!("{:?}", self.told);
        };
        (outer, channel)
    }
}

fn carry(from: &mut impl Endpoint, to: &mut impl Endpoint, now: Mono) -> usize {
    let len = from.output().len().min(to.input_space().len());
    if len > 0 {
        to.input_space()[..len].copy_from_slice(&from.output()[..len]);
        to.input(now, len);
        from.output_sent(len);
    }
    len
}

#[test]
fn a_call_is_answered_and_the_channel_closed() {
    let mut pair = Pair::new();
    let outer = pair.open(RPC_SUBSYSTEM, b"{\"op\":\"list\"}\nlate");
    let Some(PeerEvent::Call { channel, call: Call::List }) = pair.told.pop() else {
        panic!("{:?}", pair.told);
    };
    let long = json!("x".repeat(3_000_000));
    pair.peer.answer(channel, response::success(&long));
    pair.run();
    assert_eq!(response::parse(&pair.received(outer)), Ok(Ok(long)));
    pair.client.close(outer);
    pair.run();
    assert!(pair.ended_with(EXIT_ANSWERED), "{:?}", pair.heard);
    assert!(matches!(pair.told[..], [PeerEvent::ChannelGone { .. }]), "{:?}", pair.told);
    pair.peer.answer(channel, response::refusal("twice"));
}

#[test]
fn half_a_request_and_half_a_header_are_answered_in_time() {
    let mut pair = Pair::new();
    let request = pair.open(RPC_SUBSYSTEM, b"{\"op\"");
    let header = pair.open(ATTACH_SUBSYSTEM, b"{");
    pair.now = pair.now + RPC_REQUEST_TIMEOUT;
    assert!(pair.peer.deadline().is_some_and(|at| at <= pair.now));
    pair.peer.tick(pair.now);
    pair.run();
    for (channel, what) in [(request, "request"), (header, "header")] {
        let answer = response::parse(&pair.received(channel)).unwrap();
        assert_eq!(answer, Err(format!("no complete {what} within 10 s")));
    }
}

#[test]
fn a_terminal_has_all_its_bytes_in_both_directions() {
    let mut pair = Pair::new();
    let (outer, channel) = pair.attach("");
    assert!(pair.peer.terminal_input(channel).is_empty(), "it is not open yet");
    pair.peer.terminal_opened(channel);
    pair.run();
    assert!(matches!(pair.told.pop(), Some(PeerEvent::TerminalInput { .. })));
    assert_eq!(pair.peer.terminal_input(channel), b"ls\r");
    pair.peer.terminal_consumed(channel, 3);

    let output: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let (mut sent, mut seen) = (0, Vec::new());
    while sent < output.len() {
        sent += pair.peer.terminal_output(channel, &output[sent..]);
        pair.run();
        seen.extend(pair.received(outer));
    }
    pair.peer.terminal_ended(channel, 7);
    pair.run();
    seen.extend(pair.received(outer));
    assert!(seen == output, "{} of {} bytes", seen.len(), output.len());
    pair.client.close(outer);
    pair.run();
    assert!(pair.ended_with(7), "{:?}", pair.heard);
    assert!(matches!(pair.told.last(), Some(PeerEvent::ChannelGone { .. })));
}

#[test]
fn a_full_window_says_when_there_is_room_again() {
    let mut pair = Pair::new();
    let (outer, channel) = pair.attach("");
    pair.peer.terminal_opened(channel);
    let chunk = [7; 32 * 1024];
    loop {
        let taken = pair.peer.terminal_output(channel, &chunk);
        pair.run();
        if taken < chunk.len() && pair.peer.terminal_space(channel) == 0 {
            break;
        }
    }
    pair.told.clear();
    pair.received(outer);
    let is_space = |event: &PeerEvent| matches!(event, PeerEvent::TerminalSpace { .. });
    assert!(pair.told.iter().any(is_space), "{:?}", pair.told);
    assert!(pair.peer.terminal_space(channel) > 0);
}

#[test]
fn nothing_that_is_typed_comes_out_of_a_read_only_terminal() {
    let mut pair = Pair::new();
    let (outer, channel) = pair.attach(",\"read_only\":true");
    pair.peer.terminal_opened(channel);
    let typed = vec![b'x'; 1_000_000];
    let mut sent = 0;
    while sent < typed.len() {
        sent += pair.client.send(outer, &typed[sent..]);
        pair.run();
        assert!(pair.peer.terminal_input(channel).is_empty());
    }
    assert!(pair.told.is_empty(), "{:?}", pair.told);
}

#[test]
fn a_refused_terminal_gets_one_line_and_the_end() {
    let mut pair = Pair::new();
    let (outer, channel) = pair.attach("");
    pair.peer.terminal_refused(channel, "session \"x\" not found".to_owned());
    pair.run();
    let line = pair.received(outer);
    assert_eq!(response::parse(&line), Ok(Err("session \"x\" not found".to_owned())));
    pair.client.close(outer);
    pair.run();
    assert!(pair.ended_with(EXIT_REFUSED));
}

#[test]
fn sizes_come_through_also_before_the_terminal_is_open() {
    let mut pair = Pair::new();
    let (outer, channel) = pair.attach("");
    pair.client.window_change(outer, 200, 0);
    pair.run();
    let Some(PeerEvent::Resize { channel: resized, size }) = pair.told.pop() else {
        panic!("{:?}", pair.told);
    };
    assert_eq!((resized, size.cols(), size.rows()), (channel, 200, 24));
}

#[test]
fn a_client_that_leaves_takes_its_terminal_along() {
    let mut pair = Pair::new();
    let (outer, channel) = pair.attach("");
    pair.peer.terminal_opened(channel);
    pair.run();
    pair.peer.terminal_consumed(channel, 3);
    pair.told.clear();
    pair.client.close(outer);
    pair.run();
    assert!(matches!(pair.told[..], [PeerEvent::ChannelGone { .. }]), "{:?}", pair.told);
    assert_eq!(pair.peer.terminal_output(channel, b"x"), 0);

    pair.attach("");
    pair.peer.input_end(pair.now);
    pair.run();
    assert!(matches!(pair.told[..], [_, PeerEvent::Gone(_)]), "{:?}", pair.told);
    assert!(pair.peer.is_finished());
}

#[test]
fn incomplete_requests_are_bounded_in_sum() {
    let mut pair = Pair::new();
    let half = vec![b' '; RPC_REQUEST_BYTES_MAX / 2];
    let mut open = Vec::new();
    for _ in 0..RPC_INCOMPLETE_BYTES_MAX / half.len() {
        open.push(pair.open(RPC_SUBSYSTEM, &half));
    }
    assert!(open.iter().all(|channel| pair.client.received(*channel).is_empty()));
    let one_more = pair.open(RPC_SUBSYSTEM, b" ");
    let refused = String::from_utf8(pair.received(one_more)).unwrap();
    assert!(refused.contains("bytes of incomplete requests are on this connection"), "{refused}");
    // Whole ones are taken still, and so are those that were there before.
    pair.open(RPC_SUBSYSTEM, b"{\"op\":\"ping\"}\n");
    assert!(matches!(pair.told.pop(), Some(PeerEvent::Call { .. })), "{:?}", pair.told);
}
