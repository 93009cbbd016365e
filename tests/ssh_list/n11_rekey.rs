//! Number 11: Rekey from either side, from both at once, under full load both ways, with tiny
//! limits; a peer that never finishes one must not grow our memory.

use convocate::base::endpoint::Endpoint;
use convocate::base::rng::Rng;
use convocate::limits;
use convocate::ssh::admit::AdmitState;
use convocate::ssh::{ChannelId, Conn, Error, Event, Role, Tuning, names};

use crate::pair::{Cut, Pair};
use crate::raw::{Raw, data_message, open_message};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

#[test]
fn either_side_and_both_at_once() {
    for (client, server) in [(true, false), (false, true), (true, true)] {
        let mut pair = Pair::ready();
        let (ours, theirs) = pair.open("rpc");
        for round in 0..3 {
            let before = pair.to_server.len();
            if client {
                pair.rekey_client();
            }
            if server {
                pair.rekey_server();
            }
            assert!(client == (pair.client.send(ours, b"x") == 0));
            assert!(server == (pair.server.send(theirs, b"y") == 0));
            pair.settle();
            // What an exchange costs is enough to see that there was one.
            assert!(pair.to_server.len() > before + 1000, "round {round}: no exchange");
            pair.client.send(ours, b"after");
            pair.settle();
            let held = pair.server.received(theirs).len();
            assert!(pair.server.received(theirs).ends_with(b"after"));
            pair.server.consume(theirs, held);
        }
        assert!(!pair.client.is_finished() && !pair.server.is_finished());
    }
}

/// One direction of a flow that checks its bytes.
struct Flow {
    total: usize,
    sent: usize,
    got: usize,
}

impl Flow {
    fn new(total: usize) -> Flow {
        Flow { total, sent: 0, got: 0 }
    }

    fn push(&mut self, conn: &mut Conn, id: ChannelId) {
        let bytes: Vec<u8> = (self.sent..self.total.min(self.sent + 50_000)).map(byte).collect();
        self.sent += conn.send(id, &bytes);
    }

    fn pull(&mut self, conn: &mut Conn, id: ChannelId, rng: &mut Rng) {
        let held = conn.received(id);
        let take = held.len().min(rng.below(60_000) as usize);
        for (at, got) in held[..take].iter().enumerate() {
            assert_eq!(*got, byte(self.got + at));
        }
        self.got += take;
        conn.consume(id, take);
    }

    fn is_done(&self) -> bool {
        self.got == self.total
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a pattern of bytes")]
fn byte(at: usize) -> u8 {
    (at * 7 + at / 251) as u8
}

fn run_loaded(client: Tuning, server: Tuning, seed: u8, total: usize) -> Pair {
    let mut pair = Pair::tuned(client, server);
    pair.rng = Rng::from_seed([seed; 32]);
    pair.cut = Cut::Random;
    pair.settle();
    pair.assert_ready();
    let (ours, theirs) = pair.open("rpc");
    let (mut up, mut down) = (Flow::new(total), Flow::new(total));
    let mut rng = Rng::from_seed([seed ^ 0xff; 32]);
    let mut idle = 0;
    while !(up.is_done() && down.is_done()) {
        let before = (up.got, down.got);
        up.push(&mut pair.client, ours);
        down.push(&mut pair.server, theirs);
        let moved = pair.turn();
        up.pull(&mut pair.server, theirs, &mut rng);
        down.pull(&mut pair.client, ours, &mut rng);
        idle = if moved || before != (up.got, down.got) { 0 } else { idle + 1 };
        assert!(idle < 100, "stuck at {} and {}, seed {seed}", up.got, down.got);
        for conn in [&pair.client, &pair.server] {
            assert!(conn.allocated() <= limits::SSH_CONNECTION_BYTES_MAX);
        }
    }
    let ended = |event: &Event| matches!(event, Event::Disconnected(_));
    assert!(!pair.client_events.iter().chain(&pair.server_events).any(ended));
    pair
}

#[test]
fn under_full_load_with_tiny_limits_not_a_byte_is_lost() {
    for (seed, client_bytes, server_bytes) in
        [(1, 10_000, 1 << 30), (2, 1 << 30, 10_000), (3, 20_000, 20_000), (4, 1, 1)]
    {
        for prefer_aes in [true, false] {
            let tuning = |rekey_bytes| Tuning { rekey_bytes, prefer_aes, ..Tuning::default() };
            let total = if client_bytes == 1 { 100_000 } else { 600_000 };
            let pair = run_loaded(tuning(client_bytes), tuning(server_bytes), seed, total);
            let extra = pair.to_server.len() - total;
            assert!(extra > 5_000, "seed {seed}, no exchange took place: {extra}");
        }
    }
}

#[test]
fn packets_count_too() {
    let tuning = Tuning { rekey_packets: 4, ..Tuning::default() };
    let pair = run_loaded(tuning, Tuning::default(), 5, 300_000);
    assert!(pair.to_server.len() > 306_000, "{}", pair.to_server.len());
}

#[test]
fn who_never_finishes_is_gone_in_time_and_holds_no_memory() {
    for role in ROLES {
        let mut raw = Raw::at(role, AdmitState::Open);
        let rekey = raw.now + limits::SSH_REKEY_AGE;
        raw.conn.tick(rekey);
        raw.expect(names::SSH_MSG_KEXINIT);
        // It goes on as if it had not heard, and asks for much.
        let before = raw.conn.allocated();
        let mut opens = 0;
        while raw.error().is_none() && opens < 10_000 {
            raw.put(&open_message("x", 1, 1, 1));
            opens += 1;
        }
        assert_eq!(raw.error(), Some(Error::Flood), "{role:?}");
        assert!(raw.conn.allocated() < before + 128 * 1024, "{}", raw.conn.allocated());

        let mut raw = Raw::at(role, AdmitState::Open);
        raw.conn.tick(rekey);
        raw.conn.tick(rekey + limits::SSH_REKEY_TIMEOUT);
        raw.take_events();
        assert_eq!(raw.error(), Some(Error::RekeyTimeout), "{role:?}");
    }
}

#[test]
fn data_is_taken_until_the_peers_kexinit_and_not_after() {
    let mut raw = Raw::at(Role::Server, AdmitState::Open);
    let theirs = raw.open_subsystem("rpc");
    raw.conn.tick(raw.now + limits::SSH_REKEY_AGE);
    raw.put(&data_message(theirs, b"in flight"));
    assert_eq!(raw.error(), None);
    raw.step_to(AdmitState::Kex);
    raw.put(&data_message(theirs, b"x"));
    assert_eq!(raw.error(), Some(Error::Unexpected { number: 94, state: AdmitState::Kex }));
}

#[test]
fn a_peer_may_ask_at_any_time_even_before_it_is_authenticated() {
    for role in ROLES {
        for state in [AdmitState::Service, AdmitState::Auth, AdmitState::Open] {
            let mut raw = Raw::at(role, state);
            raw.take_all();
            raw.step_to(AdmitState::Kex);
            raw.step_to(AdmitState::NewKeys);
            raw.put_new_keys();
            raw.put(&[77]);
            assert!(
                matches!(raw.error(), Some(Error::Unexpected { state: now, .. }) if now == state)
            );
        }
    }
}
