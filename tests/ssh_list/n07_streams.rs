//! Number 7: Every bit of a recorded stream flipped once: always a disconnect, never a panic, never
//! a wrong event. Every stream fed byte by byte and in one piece: the same events.

use convocate::base::endpoint::Endpoint;
use convocate::base::time::Mono;
use convocate::limits;
use convocate::ssh::kex::KexName;
use convocate::ssh::names::SSH_MSG_NEWKEYS;
use convocate::ssh::packet::PacketError;
use convocate::ssh::{Conn, Error, Event, Role, Tuning};

use crate::pair::{Cut, Pair, client_config, server_config};

/// A connection with one request and its answer, and what each end heard.
struct Recording {
    tuning: Tuning,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// Where the client had to act before it heard more.
    to_client_turns: Vec<usize>,
    client_events: Vec<Event>,
    server_events: Vec<Event>,
}

fn record(prefer_aes: bool) -> Recording {
    const KEX: &[KexName] = &[KexName::Curve25519]; // its messages are short
    let tuning = Tuning { kex: KEX, prefer_aes, ..Tuning::default() };
    let mut pair = Pair::tuned(tuning.clone(), tuning.clone());
    pair.settle();
    let ours = pair.client.open_subsystem("rpc").unwrap();
    pair.settle();
    pair.client.send(ours, b"ping");
    pair.client.send_eof(ours);
    pair.settle();
    let Pair { to_server, to_client, to_client_turns, client_events, server_events, .. } = pair;
    Recording { tuning, to_server, to_client, to_client_turns, client_events, server_events }
}

/// Plays what one end heard to a fresh one with the same seed, which does what it did then.
fn replay(recording: &Recording, role: Role, stream: &[u8], size: usize) -> Vec<Event> {
    let now = Mono::from_nanos(1);
    let tuning = recording.tuning.clone();
    let mut conn = match role {
        Role::Client => Conn::client(client_config(tuning), [3; 32], now),
        Role::Server => Conn::server(server_config(tuning), [4; 32], now),
    };
    let turns = match role {
        Role::Client => &recording.to_client_turns[..],
        Role::Server => &[],
    };
    let mut events = Vec::new();
    let mut left = stream;
    while !left.is_empty() {
        let space = conn.input_space();
        let at = stream.len() - left.len();
        let turn = turns.iter().find(|end| **end > at).map_or(left.len(), |end| end - at);
        let len = space.len().min(left.len()).min(size).min(turn);
        if len == 0 {
            break;
        }
        space[..len].copy_from_slice(&left[..len]);
        conn.input(now, len);
        left = &left[len..];
        while let Some(event) = conn.poll_event() {
            match &event {
                Event::KeyOffered { .. } => conn.authorize(true),
                Event::Authenticated { .. } if role == Role::Client => {
                    conn.open_subsystem("rpc").unwrap();
                }
                Event::Opened { channel } => {
                    conn.send(*channel, b"ping");
                    conn.send_eof(*channel);
                }
                _ => {}
            }
            events.push(event);
        }
    }
    events
}

#[test]
fn bytes_and_pieces_give_the_same_events() {
    for prefer_aes in [true, false] {
        let recording = record(prefer_aes);
        for size in [1, 2, 7, 16, 100, 1000, usize::MAX] {
            let server = replay(&recording, Role::Server, &recording.to_server, size);
            assert_eq!(server, recording.server_events, "{size}");
            let client = replay(&recording, Role::Client, &recording.to_client, size);
            assert_eq!(client, recording.client_events, "{size}");
        }
    }
}

/// With one cipher every bit, with the other one bit of each byte.
#[test]
fn every_flipped_bit_ends_it_without_a_wrong_event() {
    for prefer_aes in [true, false] {
        let recording = record(prefer_aes);
        for (role, stream, expected) in [
            (Role::Server, &recording.to_server, &recording.server_events),
            (Role::Client, &recording.to_client, &recording.client_events),
        ] {
            let unprotected = clear_padding(stream);
            for bit in (0..stream.len() * 8).filter(|bit| prefer_aes || bit / 8 % 8 == bit % 8) {
                let mut flipped = stream.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let events = replay(&recording, role, &flipped, usize::MAX);
                if unprotected.contains(&(bit / 8)) {
                    assert_eq!(events, *expected, "bit {bit}");
                    continue;
                }
                if check_ended(&events, expected, bit) {
                    continue;
                }
                // A length that was made larger waits for the rest, and that has a wrong tag.
                flipped.extend_from_slice(&[0; limits::SSH_PACKET_BYTES_MAX]);
                let events = replay(&recording, role, &flipped, usize::MAX);
                assert!(check_ended(&events, expected, bit));
                let at_the_end = matches!(
                    events.last(),
                    Some(Event::Disconnected(Error::Packet(PacketError::Length { .. })))
                );
                assert!(!at_the_end, "bit {bit} of {role:?} went unnoticed");
            }
        }
    }
}

/// The padding of packets that have no cipher yet: nothing protects it, and nothing looks at it.
fn clear_padding(stream: &[u8]) -> Vec<usize> {
    let mut at = stream.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut places = Vec::new();
    loop {
        let length = u32::from_be_bytes(stream[at..at + 4].try_into().unwrap()) as usize;
        let (padding, number) = (usize::from(stream[at + 4]), stream[at + 5]);
        at += 4 + length;
        places.extend(at - padding..at);
        if number == SSH_MSG_NEWKEYS {
            return places;
        }
    }
}

/// The events before the flip must be right; says whether the last one says that it is over.
fn check_ended(events: &[Event], expected: &[Event], bit: usize) -> bool {
    let (told, ended) = match events.split_last() {
        Some((Event::Disconnected(_), told)) => (told, true),
        _ => (events, false),
    };
    assert!(expected.starts_with(told), "bit {bit}: {events:?}");
    ended
}

#[test]
fn a_stream_cut_anywhere_ends_with_the_stream() {
    let recording = record(true);
    for cut in 0..recording.to_server.len() {
        let events = replay(&recording, Role::Server, &recording.to_server[..cut], usize::MAX);
        assert!(recording.server_events.starts_with(&events), "{cut}");
    }
    let mut pair = Pair::ready();
    pair.cut = Cut::Whole;
    pair.server.input_end(pair.now);
    pair.take_events();
    assert_eq!(pair.server_events, [Event::Disconnected(Error::StreamEnd)]);
}
