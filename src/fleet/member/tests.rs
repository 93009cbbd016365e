//! Tests of [`super`]: requests over the real transport in memory.

use std::time::Duration;

use super::*;
use crate::fleet::testing::{Peer, agent, at, pump, refused, silent};
use crate::limits::{DIAL_TIMEOUT, REDIAL_CAP};

const PERSISTENT: Mode = Mode::Persistent(REDIAL_CAP);

fn ready(mode: Mode) -> (Member, Peer) {
    let mut member = Member::new(Arc::new(agent(1)), mode, [1; 32], at(0));
    assert_eq!(member.poll_action(), Some(StreamAction::Dial));
    let peer = connect(&mut member, 0);
    (member, peer)
}

fn connect(member: &mut Member, second: u64) -> Peer {
    let mut peer = Peer::new(1);
    member.connected(at(second), [2; 32]);
    pump(at(second), member, &mut peer);
    assert!(matches!(member.poll_event(at(second)), Some(MemberEvent::Ready)));
    peer
}

fn answers(member: &mut Member, second: u64) -> Vec<(Key, Result<Value, RequestError>)> {
    let mut found = Vec::new();
    while let Some(event) = member.poll_event(at(second)) {
        if let MemberEvent::Answered { request, answer } = event {
            found.push((request, answer));
        }
    }
    found
}

#[test]
fn answers_come_in_any_order_and_each_once() {
    let (mut member, mut peer) = ready(Mode::Once);
    let keys: Vec<_> = (0..50).map(|_| member.request(&Call::Ping, at(9)).expect("room")).collect();
    pump(at(1), &mut member, &mut peer);
    assert!(answers(&mut member, 1).is_empty());
    pump(at(1), &mut member, &mut peer);
    assert_eq!(peer.calls.len(), 50);
    for (channel, _) in peer.calls.split_off(0).into_iter().rev() {
        peer.answer(channel, Ok(Value::from(1)));
    }
    pump(at(1), &mut member, &mut peer);
    let found = answers(&mut member, 1);
    assert_eq!(found.len(), 50);
    assert!(keys.iter().all(|key| found.iter().any(|(found, _)| found == key)));
    assert!(found.iter().all(|(_, answer)| *answer == Ok(Value::from(1))));
    assert_eq!(member.requests_open(), 0);
}

#[test]
fn more_requests_than_channels_wait_for_their_turn() {
    let (mut member, mut peer) = ready(Mode::Once);
    let count = MEMBER_REQUESTS_MAX;
    for _ in 0..count {
        member.request(&Call::Ping, at(9)).expect("room");
    }
    assert_eq!(member.request(&Call::Ping, at(9)), Err(RequestError::Full));
    let mut found = 0;
    for _ in 0..20 {
        pump(at(1), &mut member, &mut peer);
        for (channel, _) in peer.calls.split_off(0) {
            peer.answer(channel, Err("no".to_owned()));
        }
        found += answers(&mut member, 1).len();
    }
    assert_eq!(found, count);
}

#[test]
fn a_silent_agent_costs_the_deadline_and_nobody_else() {
    let (mut member, mut peer) = ready(Mode::Once);
    let slow = member.request(&Call::List, at(5)).expect("room");
    let fast = member.request(&Call::Ping, at(9)).expect("room");
    for _ in 0..3 {
        pump(at(1), &mut member, &mut peer);
        assert!(answers(&mut member, 1).is_empty());
    }
    let ping = peer.take_call("ping");
    peer.answer(ping, Ok(Value::Null));
    pump(at(2), &mut member, &mut peer);
    assert_eq!(answers(&mut member, 2), [(fast, Ok(Value::Null))]);
    assert!(member.deadline().is_some_and(|deadline| deadline <= at(5)));
    member.tick(at(5));
    assert_eq!(answers(&mut member, 5), [(slow, Err(RequestError::TimedOut))]);
}

#[test]
fn a_refusal_and_an_answer_without_newline_are_answers() {
    let (mut member, mut peer) = ready(Mode::Once);
    let refused = member.request(&Call::Ping, at(9)).expect("room");
    let rest = member.request(&Call::List, at(9)).expect("room");
    for _ in 0..3 {
        pump(at(1), &mut member, &mut peer);
        assert!(answers(&mut member, 1).is_empty());
    }
    let ping = peer.take_call("ping");
    peer.answer(ping, Err("no".to_owned()));
    let list = peer.take_call("list");
    peer.send(list, br#"{"ok":true,"result":[]}"#);
    peer.conn.send_eof(list);
    pump(at(1), &mut member, &mut peer);
    let found = answers(&mut member, 1);
    assert!(found.contains(&(refused, Err(RequestError::Refused("no".to_owned())))));
    assert!(found.contains(&(rest, Ok(serde_json::json!([])))));
}

#[test]
fn a_loss_after_sending_is_told_as_unknown_and_never_sent_again() {
    let (mut member, mut peer) = ready(PERSISTENT);
    let sent = member.request(&Call::List, at(60)).expect("room");
    for _ in 0..3 {
        pump(at(1), &mut member, &mut peer);
        assert!(answers(&mut member, 1).is_empty());
    }
    assert_eq!(peer.calls.len(), 1);
    member.input_end(at(2));
    let found = answers(&mut member, 2);
    assert!(matches!(found[..], [(key, Err(RequestError::Unknown(_)))] if key == sent));
    let waiting = member.request(&Call::Ping, at(60)).expect("room");
    member.tick(at(4));
    assert_eq!(member.poll_action(), Some(StreamAction::Dial));
    let mut peer = connect(&mut member, 4);
    for _ in 0..3 {
        pump(at(4), &mut member, &mut peer);
        assert!(answers(&mut member, 4).is_empty());
    }
    assert_eq!(peer.calls.len(), 1);
    let ping = peer.take_call("ping");
    peer.answer(ping, Ok(Value::Null));
    pump(at(4), &mut member, &mut peer);
    assert_eq!(answers(&mut member, 4), [(waiting, Ok(Value::Null))]);
}

#[test]
fn once_means_once() {
    let mut member = Member::new(Arc::new(agent(1)), Mode::Once, [1; 32], at(0));
    let early = member.request(&Call::Ping, at(60)).expect("room");
    member.dial_failed(at(1), &refused("connection refused"));
    let found = answers(&mut member, 1);
    assert!(matches!(found[..], [(key, Err(RequestError::Unreachable(_)))] if key == early));
    let error = member.request(&Call::Ping, at(60)).expect_err("over").to_string();
    assert_eq!(
        error,
        "cannot connect to web-1:222: connection refused; nothing listens there: run on that \
         host: systemctl status convocate-agent"
    );
    member.tick(at(100));
    assert_eq!((member.status(), member.deadline()), (ConnectionStatus::Over, None));
}

#[test]
fn the_wait_doubles_until_the_agent_has_answered() {
    let mut member = Member::new(Arc::new(agent(1)), PERSISTENT, [1; 32], at(0));
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..8 {
        member.dial_failed(now, &refused("connection refused"));
        assert!(matches!(member.poll_event(now), Some(MemberEvent::Lost(Lost::Dial { .. }))));
        let ConnectionStatus::Waiting(until) = member.status() else { panic!("not waiting") };
        waits.push(until.since(now));
        now = until;
        member.tick(now);
        assert_eq!(member.status(), ConnectionStatus::Dialling);
    }
    assert!(waits[0] <= Duration::from_secs(1) && waits[7] >= Duration::from_secs(15));
    // A connection alone resets nothing: the next wait is long again.
    member.connected(now, [2; 32]);
    let mut peer = Peer::new(1);
    pump(now, &mut member, &mut peer);
    assert!(matches!(member.poll_event(now), Some(MemberEvent::Ready)));
    member.input_end(now);
    assert!(matches!(member.poll_event(now), Some(MemberEvent::Lost(_))));
    let ConnectionStatus::Waiting(until) = member.status() else { panic!("not waiting") };
    assert!(until.since(now) >= Duration::from_secs(15));
}

/// When packets that ask for a stream leave, if nobody answers: each stream's first one, and those
/// that the kernel adds after one second, two, and four more, while that stream is wanted.
fn asked(dials: &[Mono]) -> Vec<Mono> {
    let end = *dials.last().expect("a dial");
    let mut asked = Vec::new();
    for (at, next) in dials.iter().zip(&dials[1..]) {
        let times = [0, 1, 3, 7].map(|seconds| *at + Duration::from_secs(seconds));
        asked.extend(times.iter().filter(|at| *at < next));
    }
    asked.push(end);
    asked
}

#[test]
fn a_network_that_is_gone_is_noticed_to_be_back_within_two_seconds() {
    let mut member = Member::new(Arc::new(agent(1)), PERSISTENT, [1; 32], at(0));
    let (mut now, mut dials, mut losses) = (at(0), Vec::new(), 0);
    while now < at(3600) {
        if member.poll_action() == Some(StreamAction::Dial) {
            dials.push(now);
            member.connects_started(now);
        }
        while let Some(event) = member.poll_event(now) {
            assert!(matches!(event, MemberEvent::Lost(Lost::Dial { .. })), "{event:?}");
            losses += 1;
        }
        now = member.deadline().expect("it is never given up");
        member.tick(now);
    }
    let asked = asked(&dials);
    let longest = asked.windows(2).map(|pair| pair[1].since(pair[0])).max();
    assert!(longest <= Some(Duration::from_secs(2)), "{longest:?}");
    assert!(asked.len() <= 2 * 3600, "{} packets in an hour", asked.len());
    assert_eq!(losses, 3600 / DIAL_TIMEOUT.as_secs() - 1);
}

#[test]
fn a_wait_does_not_grow_while_nobody_answers_and_ends_with_news() {
    let mut member = Member::new(Arc::new(agent(1)), PERSISTENT, [1; 32], at(0));
    let mut now = at(0);
    let wait = |member: &Member, now| match member.status() {
        ConnectionStatus::Waiting(until) => until.since(now),
        status => panic!("{status:?}"),
    };
    for _ in 0..20 {
        member.dial_failed(now, &silent("no route to host"));
        assert!(wait(&member, now) <= Duration::from_secs(1));
        now = now + wait(&member, now);
        member.tick(now);
    }
    for _ in 0..8 {
        member.dial_failed(now, &refused("connection refused"));
        now = now + wait(&member, now);
        member.tick(now);
    }
    member.dial_failed(now, &refused("connection refused"));
    assert!(wait(&member, now) >= Duration::from_secs(15));
    while member.poll_action().is_some() {}
    member.reconnect_now(now);
    assert_eq!(
        (member.status(), member.poll_action()),
        (ConnectionStatus::Dialling, Some(StreamAction::Dial))
    );
    // It hurries nobody who is at it.
    member.reconnect_now(now);
    assert_eq!(member.poll_action(), None);
}

#[test]
fn a_name_may_take_its_time() {
    let mut member = Member::new(Arc::new(agent(1)), Mode::Once, [1; 32], at(0));
    assert_eq!(member.poll_action(), Some(StreamAction::Dial));
    assert_eq!(member.deadline(), Some(at(0) + DIAL_TIMEOUT));
    member.tick(at(9));
    assert_eq!((member.status(), member.poll_action()), (ConnectionStatus::Dialling, None));
}

#[test]
fn a_dial_without_an_end_is_hung_up() {
    let mut member = Member::new(Arc::new(agent(1)), Mode::Once, [1; 32], at(0));
    assert_eq!(member.poll_action(), Some(StreamAction::Dial));
    member.tick(at(10));
    assert_eq!(member.poll_action(), Some(StreamAction::HangUp));
    let Some(MemberEvent::Lost(lost)) = member.poll_event(at(10)) else { panic!("not lost") };
    assert_eq!(
        lost.to_string(),
        "cannot connect to web-1:222: no answer within 10 s; see whether the host is up, and its \
         firewall lets this port through"
    );
}

#[test]
fn another_host_key_names_both_keys_the_file_and_the_repair() {
    let mut member = Member::new(Arc::new(agent(1)), Mode::Once, [1; 32], at(0));
    let mut foreign = Peer::new(8);
    member.connected(at(0), [2; 32]);
    pump(at(0), &mut member, &mut foreign);
    let Some(MemberEvent::Lost(lost)) = member.poll_event(at(0)) else { panic!("not lost") };
    let text = lost.to_string();
    let pinned = agent(1).config.host_key.fingerprint();
    for part in [
        pinned.as_str(),
        &agent(8).config.host_key.fingerprint(),
        "/r/etc/convocate/agent-keys/abcdefghjkm2/host_key.pub",
        "convocate-host init-agent --host web-1",
    ] {
        assert!(text.contains(part), "{text}: {part}");
    }
}

/// A listener that has too many connections: its line, and the end.
fn turn_away(member: &mut Member, now: Mono, line: &[u8]) {
    assert_eq!(member.poll_action(), Some(StreamAction::Dial));
    member.connected(now, [2; 32]);
    member.input_space()[..line.len()].copy_from_slice(line);
    member.input(now, line.len());
    member.input_end(now);
}

#[test]
fn a_listener_with_too_many_connections_is_dialled_once_more_when_it_says() {
    let line = b"convocate: too many connections from 192.0.2.7, try again in 4 s\r\n";
    let mut member = Member::new(Arc::new(agent(1)), Mode::Once, [1; 32], at(0));
    let call = Call::Ping;
    member.request(&call, at(60)).unwrap();
    turn_away(&mut member, at(0), line);
    assert!(member.poll_event(at(0)).is_none(), "it is not over");
    assert_eq!(member.status(), ConnectionStatus::Waiting(at(4)));
    member.tick(at(4));
    assert_eq!(member.status(), ConnectionStatus::Dialling);
    turn_away(&mut member, at(4), line);
    let Some(MemberEvent::Answered { answer: Err(error), .. }) = member.poll_event(at(4)) else {
        panic!("not answered")
    };
    let wanted = "connection to web-1:222: too many connections from 192.0.2.7, try again in 4 s";
    assert_eq!(error.to_string(), wanted);
    assert_eq!(member.status(), ConnectionStatus::Over);
}

#[test]
fn a_long_wait_is_for_the_caller() {
    let line = b"convocate: too many connections from 192.0.2.7, try again in 6 s\r\n";
    let mut member = Member::new(Arc::new(agent(1)), Mode::Once, [1; 32], at(0));
    turn_away(&mut member, at(0), line);
    let Some(MemberEvent::Lost(lost)) = member.poll_event(at(0)) else { panic!("not lost") };
    assert!(lost.to_string().ends_with("try again in 6 s"), "{lost}");
    let cap = Duration::from_secs(1);
    let mut member = Member::new(Arc::new(agent(1)), Mode::Persistent(cap), [1; 32], at(0));
    turn_away(&mut member, at(0), line);
    assert!(matches!(member.poll_event(at(0)), Some(MemberEvent::Lost(_))));
    assert_eq!(member.status(), ConnectionStatus::Waiting(at(6)), "no sooner than it says");
}
