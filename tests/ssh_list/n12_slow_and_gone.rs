//! Number 12: A reader that stops reading; a writer that sends one byte a second; half-open TCP;
//! RST at each state.

use std::time::Duration;

use convocate::base::endpoint::Endpoint;
use convocate::limits;
use convocate::ssh::admit::{ADMIT_STATES, AdmitState};
use convocate::ssh::{Error, Event, Role, Tuning, names};

use crate::pair::Pair;
use crate::raw::{Offer, Raw, open_message};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

#[test]
fn a_reader_that_stops_bounds_what_is_sent_and_is_told_when_it_may_go_on() {
    let mut pair = Pair::ready();
    let (ours, theirs) = pair.open("rpc");
    let chunk = [3; 100_000];
    let mut sent = 0;
    loop {
        let taken = pair.client.send(ours, &chunk);
        sent += taken;
        if taken == 0 && !pair.turn() {
            break;
        }
    }
    assert_eq!(sent, limits::SSH_WINDOW_BYTES as usize);
    assert_eq!(pair.server.received(theirs).len(), sent);
    assert!(pair.server.allocated() < 3 << 20);
    pair.client_events.clear();
    pair.server.consume(theirs, sent / 2);
    pair.settle();
    assert_eq!(pair.client_events, [Event::Writable { channel: ours }]);
    assert!(pair.client.send_space(ours) > 0);
}

#[test]
fn a_stream_that_stops_bounds_what_waits() {
    let mut pair = Pair::ready();
    let (ours, _) = pair.open("rpc");
    while pair.client.send(ours, &[3; 100_000]) > 0 {}
    assert!(pair.client.output().len() <= limits::SSH_SEND_QUEUE_BYTES);
    assert!(pair.client.allocated() < 1 << 20);
    pair.settle();
    assert!(pair.client_events.contains(&Event::Writable { channel: ours }));
}

#[test]
fn who_asks_and_does_not_read_the_answers_is_not_listened_to() {
    for role in ROLES {
        let mut raw = Raw::at(role, AdmitState::Open);
        let mut asked = 0;
        while !raw.conn.input_space().is_empty() {
            let packet = raw.packet(&open_message("x", 1, 1, 1));
            raw.raw(&packet);
            asked += 1;
            assert!(asked < 100_000);
        }
        assert!(raw.conn.allocated() < 1 << 20, "{}", raw.conn.allocated());
        assert_eq!(raw.error(), None);
        let answers = raw.take_all().len();
        assert!(answers + 1 >= asked, "{answers} of {asked}");
        assert!(!raw.conn.input_space().is_empty());
    }
}

#[test]
fn one_byte_a_second_is_too_slow_to_log_in_and_fast_enough_afterwards() {
    let mut raw = Raw::at(Role::Server, AdmitState::Auth);
    let packet = raw.packet(&[2, 0, 0, 0, 0]);
    for byte in packet.iter().cycle() {
        raw.now = raw.now + Duration::from_secs(1);
        raw.raw(&[*byte]);
        raw.conn.tick(raw.now);
        raw.take_events();
        if raw.error().is_some() {
            break;
        }
    }
    assert!(matches!(raw.error(), Some(Error::LoginGrace | Error::Packet(_))));

    let mut raw = Raw::at(Role::Server, AdmitState::Open);
    let packet = raw.packet(&open_message("session", 1, 1, 1));
    for byte in packet {
        raw.now = raw.now + Duration::from_secs(14);
        raw.raw(&[byte]);
        raw.conn.tick(raw.now);
    }
    raw.expect(names::SSH_MSG_CHANNEL_OPEN_CONFIRMATION);
}

/// What is promised.
const HALF_OPEN_FOUND: Duration = Duration::from_secs(45);

#[test]
fn a_half_open_peer_is_asked_twice_and_gone_in_time() {
    for role in ROLES {
        let mut raw = Raw::at(role, AdmitState::Open);
        raw.take_all();
        let mut asked = 0;
        let start = raw.now;
        while raw.error().is_none() {
            raw.now = raw.conn.deadline().expect("something is waited for");
            raw.conn.tick(raw.now);
            raw.take_events();
            asked += raw.take_all().iter().filter(|message| message[0] == 80).count();
        }
        assert_eq!((raw.error(), asked), (Some(Error::KeepaliveTimeout), 2));
        assert!(raw.now.since(start) <= HALF_OPEN_FOUND, "{:?}", raw.now.since(start));
    }
}

#[test]
fn any_answer_keeps_a_peer_and_ours_is_answered_by_our_own() {
    for role in ROLES {
        let mut raw = Raw::at(role, AdmitState::Open);
        raw.take_all();
        for _ in 0..20 {
            raw.now = raw.now + limits::SSH_KEEPALIVE_INTERVAL;
            raw.conn.tick(raw.now);
            raw.expect(names::SSH_MSG_GLOBAL_REQUEST);
            raw.put(&[names::SSH_MSG_REQUEST_FAILURE]);
        }
        assert_eq!(raw.error(), None);
    }
    let mut pair = Pair::ready();
    pair.open("rpc");
    for _ in 0..20 {
        pair.now = pair.now + limits::SSH_KEEPALIVE_INTERVAL;
        pair.client.tick(pair.now);
        pair.server.tick(pair.now);
        pair.settle();
    }
    assert!(!pair.client.is_finished() && !pair.server.is_finished());
}

#[test]
fn a_client_that_asks_for_no_subsystem_is_sent_away() {
    for with_a_bare_channel in [false, true] {
        let mut raw = Raw::new(Role::Server, Offer::default(), Tuning::default());
        raw.advance(AdmitState::Open);
        if with_a_bare_channel {
            raw.now = raw.now + limits::SSH_SUBSYSTEM_WAIT / 2;
            raw.conn.tick(raw.now);
            raw.open_channel(1, 1, 1);
        }
        raw.now = raw.now + limits::SSH_SUBSYSTEM_WAIT;
        raw.conn.tick(raw.now);
        raw.take_events();
        assert_eq!(raw.error(), Some(Error::SubsystemTimeout));
    }
    let mut raw = Raw::new(Role::Server, Offer::default(), Tuning::default());
    raw.advance(AdmitState::Open);
    raw.open_subsystem("rpc");
    raw.now = raw.now + limits::SSH_SUBSYSTEM_WAIT;
    raw.conn.tick(raw.now);
    raw.take_events();
    assert_eq!(raw.error(), None, "who has asked once may be idle");
    raw.open_channel(2, 1, 1);
    raw.now = raw.now + limits::SSH_SUBSYSTEM_WAIT;
    raw.conn.tick(raw.now);
    raw.take_events();
    assert_eq!(raw.error(), Some(Error::SubsystemTimeout), "but not on another channel");
}

#[test]
fn nobody_is_asked_before_authentication() {
    for role in ROLES {
        for state in ADMIT_STATES.into_iter().take(5) {
            let mut raw = Raw::at(role, state);
            raw.take_all();
            raw.now = raw.now + Duration::from_secs(29);
            raw.conn.tick(raw.now);
            assert_eq!(raw.take(), None, "{role:?} {state:?}");
        }
    }
}

#[test]
fn a_reset_at_each_state_is_the_last_that_is_heard() {
    for role in ROLES {
        for state in ADMIT_STATES {
            let mut raw = Raw::at(role, state);
            raw.conn.input_end(raw.now);
            raw.take_events();
            assert_eq!(raw.events.last(), Some(&Event::Disconnected(Error::StreamEnd)));
            assert!(raw.conn.is_finished());
            assert_eq!(raw.conn.deadline(), None);
            raw.conn.input_end(raw.now);
            assert_eq!(raw.conn.poll_event(), None, "told once");
        }
    }
}

#[test]
fn idle_connections_give_their_memory_back() {
    let mut pair = Pair::ready();
    let (ours, theirs) = pair.open("rpc");
    for _ in 0..100 {
        pair.client.send(ours, &[1; 200_000]);
        pair.settle();
        let held = pair.server.received(theirs).len();
        pair.server.consume(theirs, held);
    }
    assert!(pair.server.allocated() > 64 * 1024);
    pair.now = pair.now + limits::SSH_TRIM_INTERVAL;
    pair.client.tick(pair.now);
    pair.server.tick(pair.now);
    let rest = limits::SSH_REST_BYTES;
    assert!(pair.client.allocated() <= rest, "{}", pair.client.allocated());
    assert!(pair.server.allocated() <= rest, "{}", pair.server.allocated());
}

#[test]
fn what_was_received_can_be_read_after_the_end() {
    let mut pair = Pair::ready();
    let (ours, theirs) = pair.open("rpc");
    pair.server.send(theirs, b"the tail");
    pair.server.close(theirs);
    pair.settle();
    pair.client.input_end(pair.now);
    pair.take_events();
    assert_eq!(pair.client_events.last(), Some(&Event::Disconnected(Error::StreamEnd)));
    assert_eq!(pair.client.received(ours), b"the tail");
    pair.client.consume(ours, 8);
    assert!(pair.client.received(ours).is_empty());
    assert_eq!(pair.client.poll_event(), None);
}

#[test]
fn a_buffer_that_grew_by_small_pieces_is_given_back_too() {
    let mut pair = Pair::ready();
    let (ours, theirs) = pair.open("rpc");
    for _ in 0..1000 {
        pair.client.send(ours, &[1; 200]);
        pair.settle();
    }
    pair.server.consume(theirs, 200_000);
    assert!(pair.server.allocated() > 200_000);
    let at = pair.server.deadline().expect("a look at the buffers");
    pair.server.tick(at);
    assert!(pair.server.allocated() <= limits::SSH_REST_BYTES, "{}", pair.server.allocated());
}
