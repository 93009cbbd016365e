//! Tests of [`super`]: the terminal's core in virtual time.

use super::*;
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::fleet::testing::{Peer, agent, at, pump, refused, silent};

const ID: &str = "01234567-89ab-4def-8123-456789abcdef";

fn header() -> AttachHeader {
    AttachHeader {
        id: Uuid::parse(ID).expect("a UUID"),
        cols: 120,
        rows: 40,
        term: "xterm".to_owned(),
        read_only: false,
        label: "web · web-1".to_owned(),
    }
}

fn fresh(header: AttachHeader) -> Attach {
    let member = Member::new(Arc::new(agent(1)), Mode::Once, [1; 32], at(0));
    Attach::new(member, header, Clipboard::Writable, at(0))
}

/// Bytes both ways and everybody's work, until nothing moves.
fn settle(now: Mono, attach: &mut Attach, peer: &mut Peer) {
    for _ in 0..6 {
        pump(now, attach, peer);
        attach.work(now);
    }
}

fn connect(now: Mono, attach: &mut Attach) -> Peer {
    assert_eq!(attach.poll_action(), Some(StreamAction::Dial));
    let mut peer = Peer::new(1);
    attach.member_mut().connected(now, [2; 32]);
    settle(now, attach, &mut peer);
    peer
}

/// A terminal that shows a prompt.
fn open(header: AttachHeader) -> (Attach, Peer, ChannelId) {
    let mut attach = fresh(header);
    let mut peer = connect(at(0), &mut attach);
    let channel = peer.terminal.expect("the subsystem was asked for");
    peer.send(channel, b"\x1b[2J$ ");
    settle(at(0), &mut attach, &mut peer);
    assert_eq!(take(&mut attach), b"\x1b[2J$ ");
    (attach, peer, channel)
}

fn take(attach: &mut Attach) -> Vec<u8> {
    let mut all = Vec::new();
    while !attach.terminal_output().is_empty() {
        // One byte at a time: the cut must not matter.
        all.push(attach.terminal_output()[0]);
        attach.terminal_output_sent(1);
    }
    all
}

fn answer_get(now: Mono, attach: &mut Attach, peer: &mut Peer, running: bool) {
    let get = peer.take_call("get");
    let mut session = crate::fleet::listing::tests::session("a", "x", 1);
    session.running = running;
    peer.answer(get, Ok(serde_json::to_value(session).expect("JSON")));
    settle(now, attach, peer);
}

#[test]
fn bytes_both_ways_and_sizes() {
    let (mut attach, mut peer, _) = open(header());
    assert!(attach.is_raw());
    assert_eq!(attach.typed(at(1), b"ls\r"), 3);
    attach.resized(TerminalSize::clamped(100, 30));
    settle(at(1), &mut attach, &mut peer);
    let line_end = peer.typed.iter().position(|&byte| byte == b'\n').expect("a header");
    let sent = AttachHeader::parse(&peer.typed[..line_end]).expect("a header");
    assert_eq!(sent, header());
    assert_eq!(&peer.typed[line_end + 1..], b"ls\r");
    let resized =
        |event: &ssh::Event| matches!(event, ssh::Event::WindowChange { cols: 100, rows: 30, .. });
    assert!(peer.events.iter().any(resized));
}

#[test]
fn the_tail_is_delivered_before_the_end() {
    let (mut attach, mut peer, channel) = open(header());
    peer.send(channel, b"[detached]\r\n");
    peer.conn.send_exit_status(channel, 0);
    peer.conn.send_eof(channel);
    peer.conn.close(channel);
    settle(at(1), &mut attach, &mut peer);
    assert_eq!(attach.ended(), None);
    assert_eq!(take(&mut attach), b"[detached]\r\n");
    settle(at(1), &mut attach, &mut peer);
    answer_get(at(1), &mut attach, &mut peer, true);
    assert_eq!(attach.ended(), Some(&AttachEnd::Detached));
    assert!(!attach.is_raw());
}

#[test]
fn the_session_says_whether_it_was_a_detach_or_its_end() {
    for (status, running, end) in [
        (0, true, AttachEnd::Detached),
        (0, false, AttachEnd::SessionEnded),
        (137, false, AttachEnd::SessionEnded),
    ] {
        let (mut attach, mut peer, channel) = open(header());
        peer.conn.send_exit_status(channel, status);
        peer.conn.send_eof(channel);
        peer.conn.close(channel);
        settle(at(1), &mut attach, &mut peer);
        answer_get(at(1), &mut attach, &mut peer, running);
        assert_eq!(attach.ended(), Some(&end));
    }
}

/// A client can end before its session does, when both are being ended.
#[test]
fn a_failed_terminal_asks_again_before_it_says_so() {
    for (status, later, end) in [
        (1, false, AttachEnd::SessionEnded),
        (1, true, AttachEnd::Failed(1)),
        (SESSION_ENDED_STATUS, false, AttachEnd::SessionEnded),
        // tmux's client knew of the end before the agent.
        (0, false, AttachEnd::SessionEnded),
        // Its container takes long to end, and ends.
        (SESSION_ENDED_STATUS, true, AttachEnd::SessionEnded),
    ] {
        let (mut attach, mut peer, channel) = open(header());
        if status == 0 {
            peer.send(channel, b"\x1b[?1049h\x1b[?1049l[exited]\r\n");
        }
        peer.conn.send_exit_status(channel, status);
        peer.conn.send_eof(channel);
        peer.conn.close(channel);
        settle(at(1), &mut attach, &mut peer);
        take(&mut attach);
        settle(at(1), &mut attach, &mut peer);
        answer_get(at(1), &mut attach, &mut peer, true);
        assert_eq!(attach.ended(), None);
        let again = attach.deadline().expect("it asks again");
        assert!(again <= at(2), "{again:?}");
        settle(at(4), &mut attach, &mut peer);
        answer_get(at(4), &mut attach, &mut peer, later);
        assert_eq!(attach.ended(), Some(&end));
    }
}

#[test]
fn a_refusal_is_told_however_it_is_cut() {
    let line = b"{\"ok\":false,\"error\":\"session \\\"x\\\" not found\"}\n";
    for cut in 0..=line.len() {
        let mut attach = fresh(header());
        let mut peer = connect(at(0), &mut attach);
        let channel = peer.terminal.expect("asked for");
        peer.send(channel, &line[..cut]);
        settle(at(0), &mut attach, &mut peer);
        peer.send(channel, &line[cut..]);
        peer.conn.send_eof(channel);
        peer.conn.close(channel);
        settle(at(0), &mut attach, &mut peer);
        let refusal = AttachEnd::Refused("session \"x\" not found".to_owned());
        assert_eq!(attach.ended(), Some(&refusal), "{cut}");
        assert!(attach.terminal_output().is_empty());
    }
}

#[test]
fn output_that_looks_like_json_is_output() {
    for output in [&b"{\"ok\":true}\n"[..], b"{x\n", b"x{\"ok\":false}\n"] {
        let mut attach = fresh(header());
        let mut peer = connect(at(0), &mut attach);
        let channel = peer.terminal.expect("asked for");
        peer.send(channel, output);
        settle(at(0), &mut attach, &mut peer);
        assert_eq!(take(&mut attach), output);
    }
}

#[test]
fn without_a_first_connection_there_is_no_second_try() {
    let mut attach = fresh(header());
    attach.member_mut().dial_failed(at(1), &refused("connection refused"));
    attach.work(at(1));
    assert!(matches!(attach.ended(), Some(AttachEnd::Unreachable(_))));
    assert_eq!(attach.typed(at(1), b"x"), 1);
}

#[test]
fn an_agent_that_gives_no_terminal_is_silent() {
    let mut attach = fresh(header());
    let mut peer = connect(at(0), &mut attach);
    assert_eq!(attach.typed(at(1), b"early"), 0);
    attach.tick(at(60));
    settle(at(60), &mut attach, &mut peer);
    assert_eq!(attach.ended(), Some(&AttachEnd::Silent));
}

fn lose(attach: &mut Attach, now: Mono) {
    attach.input_end(now);
    attach.work(now);
}

fn redial(attach: &mut Attach) -> Mono {
    while attach.poll_action().is_some() {}
    let due = attach.deadline().expect("it waits for the next dial");
    attach.tick(due);
    attach.work(due);
    due
}

#[test]
fn a_lost_terminal_comes_back_with_a_notice_between() {
    let (mut attach, _, _) = open(header());
    lose(&mut attach, at(5));
    assert!(attach.is_raw());
    let notice = String::from_utf8(take(&mut attach)).expect("text");
    assert!(notice.contains("reconnecting, Ctrl-C gives up"), "{notice}");
    assert_eq!(attach.typed(at(1), b"rm -rf\r"), 7, "what is typed into the void is dropped");
    let mut now = redial(&mut attach);
    for _ in 0..4 {
        assert_eq!(attach.poll_action(), Some(StreamAction::Dial));
        attach.member_mut().dial_failed(now, &silent("network unreachable"));
        attach.work(now);
        assert!(take(&mut attach).is_empty(), "one notice is enough");
        now = redial(&mut attach);
    }
    let mut peer = connect(now, &mut attach);
    assert!(peer.terminal.is_none(), "first it is asked whether the session runs");
    answer_get(now, &mut attach, &mut peer, true);
    let channel = peer.terminal.expect("asked for");
    peer.send(channel, b"redrawn");
    settle(now, &mut attach, &mut peer);
    assert_eq!(take(&mut attach), b"redrawn");
    assert_eq!(attach.typed(at(1), b"x"), 1);
    settle(now, &mut attach, &mut peer);
    assert!(peer.typed.ends_with(b"}\nx"));
}

#[test]
fn a_session_that_ended_meanwhile_is_not_started_again() {
    let (mut attach, _, _) = open(header());
    lose(&mut attach, at(5));
    take(&mut attach);
    let now = redial(&mut attach);
    let mut peer = connect(now, &mut attach);
    answer_get(now, &mut attach, &mut peer, false);
    assert_eq!(attach.ended(), Some(&AttachEnd::SessionEnded));
    assert!(peer.terminal.is_none());
}

#[test]
fn a_slow_agent_is_asked_again() {
    let (mut attach, _, _) = open(header());
    lose(&mut attach, at(5));
    take(&mut attach);
    let now = redial(&mut attach);
    let mut peer = connect(now, &mut attach);
    peer.take_call("get");
    let later = now + ATTACH_FAREWELL_TIMEOUT;
    attach.tick(later);
    settle(later, &mut attach, &mut peer);
    answer_get(later, &mut attach, &mut peer, true);
    assert!(peer.terminal.is_some());
}

#[test]
fn it_gives_up_in_time_and_on_ctrl_c() {
    let (mut attach, _, _) = open(header());
    lose(&mut attach, at(5));
    take(&mut attach);
    let mut now = at(5);
    while attach.ended().is_none() {
        now = redial(&mut attach);
        attach.member_mut().dial_failed(now, &silent("network unreachable"));
        attach.work(now);
    }
    assert!(now >= at(5) + ATTACH_GIVE_UP && now < at(10) + ATTACH_GIVE_UP);
    assert!(matches!(attach.ended(), Some(AttachEnd::GivenUp(_))));

    let (mut attach, _, _) = open(header());
    lose(&mut attach, at(5));
    take(&mut attach);
    assert_eq!(attach.typed(at(1), &[CTRL_C]), 1);
    assert!(matches!(attach.ended(), Some(AttachEnd::GivenUp(_))));
}

#[test]
fn another_host_key_ends_it_at_once() {
    let (mut attach, _, _) = open(header());
    lose(&mut attach, at(5));
    take(&mut attach);
    let now = redial(&mut attach);
    assert_eq!(attach.poll_action(), Some(StreamAction::Dial));
    attach.member_mut().connected(now, [2; 32]);
    settle(now, &mut attach, &mut Peer::new(8));
    let Some(AttachEnd::GivenUp(why)) = attach.ended() else { panic!("goes on") };
    assert!(why.contains("host key mismatch"), "{why}");
}

#[test]
fn read_only_keeps_the_keys_here() {
    let (mut attach, mut peer, _) = open(AttachHeader { read_only: true, ..header() });
    assert_eq!(attach.typed(at(1), b"rm\r"), 3);
    settle(at(1), &mut attach, &mut peer);
    assert!(peer.typed.ends_with(b"}\n"));
    assert_eq!(attach.typed(at(1), &[CTRL_C]), 1);
    assert_eq!(attach.ended(), Some(&AttachEnd::Detached));
}

#[test]
fn a_slow_terminal_stops_the_session_and_loses_nothing() {
    let (mut attach, mut peer, channel) = open(header());
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    for round in 0..2000_u32 {
        let chunk = format!("{round:8}").repeat(500).into_bytes();
        let count = peer.conn.send(channel, &chunk);
        sent.extend_from_slice(&chunk[..count]);
        pump(at(1), &mut attach, &mut peer);
        attach.work(at(1));
        let count = attach.terminal_output().len().min(1500);
        got.extend_from_slice(&attach.terminal_output()[..count]);
        attach.terminal_output_sent(count);
        assert!(attach.terminal_output().len() <= 4 << 20);
    }
    settle(at(1), &mut attach, &mut peer);
    while !attach.terminal_output().is_empty() {
        let count = attach.terminal_output().len();
        got.extend_from_slice(attach.terminal_output());
        attach.terminal_output_sent(count);
        settle(at(1), &mut attach, &mut peer);
    }
    assert!(got == sent, "{} {}", got.len(), sent.len());
}

/// Lets time go by without a byte from the other side.
fn wait_in_silence(attach: &mut Attach, from: u64, to: u64) -> String {
    for second in from..=to {
        attach.tick(at(second));
        attach.work(at(second));
    }
    String::from_utf8(take(attach)).expect("text")
}

fn sizes(peer: &Peer) -> Vec<(u32, u32)> {
    let size = |event: &ssh::Event| match event {
        ssh::Event::WindowChange { cols, rows, .. } => Some((*cols, *rows)),
        _ => None,
    };
    peer.events.iter().filter_map(size).collect()
}

#[test]
fn a_silent_network_is_said_with_the_keys_and_the_screen_is_as_before() {
    let (mut attach, mut peer, _) = open(header());
    assert_eq!(attach.typed(at(1), b"ab"), 2);
    assert_eq!(wait_in_silence(&mut attach, 2, 3), "");
    let line = wait_in_silence(&mut attach, 4, 4);
    assert!(line.contains(" no answer from web-1 for 3 s, 2 keys not taken; "), "{line:?}");
    assert!(line.starts_with("\x1b7\x1b[40;1H") && line.ends_with("\x1b8"), "{line:?}");
    assert_eq!(attach.deadline(), Some(at(5)));
    assert!(wait_in_silence(&mut attach, 5, 5).contains(" 4 s, 2 keys "));
    assert_eq!(wait_in_silence(&mut attach, 5, 5), "", "once");
    settle(at(6), &mut attach, &mut peer);
    assert!(peer.typed.ends_with(b"}\nab"));
    assert_eq!(sizes(&peer), [(120, 39), (120, 40)]);
    assert_eq!(take(&mut attach), b"");
    // What an agent answers to the question alone is enough.
    for round in 1..4 {
        wait_in_silence(&mut attach, 6 * round, 6 * round + 3);
        settle(at(6 * round + 4), &mut attach, &mut peer);
    }
    assert_eq!(sizes(&peer).len(), 2);
}

#[test]
fn the_way_out_is_open_whatever_the_network_takes() {
    let (mut attach, _, _) = open(header());
    let paste = vec![b'x'; 4 << 20];
    let mut taken = 0;
    while let count @ 1.. = attach.typed(at(1), &paste[taken..]) {
        taken += count;
    }
    assert!((TERMINAL_FILTER_BYTES..paste.len()).contains(&taken), "{taken}");
    assert!(wait_in_silence(&mut attach, 2, 4).contains(" keys not taken"));
    assert_eq!(attach.typed(at(5), b"y\r~."), 4);
    assert_eq!(attach.ended(), Some(&AttachEnd::Detached));

    let (mut attach, _, _) = open(AttachHeader { read_only: true, ..header() });
    assert_eq!(attach.typed(at(1), b"~."), 2);
    assert_eq!(attach.ended(), Some(&AttachEnd::Detached));

    let (mut attach, _, _) = open(header());
    attach.typed(at(1), b"abc");
    lose(&mut attach, at(5));
    let notice = String::from_utf8(take(&mut attach)).expect("text");
    assert!(notice.contains("Ctrl-C gives up; 3 keys may be lost]"), "{notice}");
    attach.typed(at(6), b"\r~.");
    assert!(matches!(attach.ended(), Some(AttachEnd::GivenUp(_))));
}

#[test]
fn help_stands_at_the_bottom_until_the_next_key() {
    let (mut attach, mut peer, _) = open(header());
    attach.typed(at(1), b"~?");
    attach.work(at(1));
    let line = String::from_utf8(take(&mut attach)).expect("text");
    assert!(line.contains("~. leaves"), "{line:?}");
    settle(at(1), &mut attach, &mut peer);
    assert!(sizes(&peer).is_empty() && peer.typed.ends_with(b"}\n"));
    attach.typed(at(1), b"x");
    settle(at(1), &mut attach, &mut peer);
    assert_eq!(sizes(&peer), [(120, 39), (120, 40)]);
    assert!(peer.typed.ends_with(b"}\nx"));
}
