//! Number 10: Channels: a flood of opens; requests on channels that do not exist or are closed; a
//! second subsystem; data before the subsystem; data beyond the window or the packet size; window
//! adjust that overflows 2^32; EOF and CLOSE in every order, twice, and during a rekey; unsolicited
//! SUCCESS and FAILURE.

use convocate::limits;
use convocate::ssh::admit::AdmitState;
use convocate::ssh::error::ChannelFault;
use convocate::ssh::wire::{Reader, put_string};
use convocate::ssh::{ChannelRefusal, Error, Event, OpenError, Role, names};

use crate::pair::Pair;
use crate::raw::{Raw, data_message, open_message, request_message, subsystem_message};

use names::{
    SSH_MSG_CHANNEL_CLOSE, SSH_MSG_CHANNEL_DATA, SSH_MSG_CHANNEL_EOF, SSH_MSG_CHANNEL_FAILURE,
    SSH_MSG_CHANNEL_OPEN_CONFIRMATION, SSH_MSG_CHANNEL_OPEN_FAILURE, SSH_MSG_CHANNEL_SUCCESS,
    SSH_MSG_CHANNEL_WINDOW_ADJUST,
};

fn server() -> Raw {
    let mut raw = Raw::at(Role::Server, AdmitState::Open);
    raw.events.clear();
    raw
}

/// A client whose channel was asked for; its number.
fn client_opening() -> (Raw, u32) {
    let mut raw = Raw::at(Role::Client, AdmitState::Open);
    raw.conn.open_subsystem("rpc").unwrap();
    let open = raw.expect(names::SSH_MSG_CHANNEL_OPEN);
    let mut reader = Reader::new(&open[1..]);
    reader.string().unwrap();
    let number = reader.u32().unwrap();
    raw.events.clear();
    (raw, number)
}

fn fault(number: u8, cause: ChannelFault) -> Option<Error> {
    Some(Error::Channel { number, cause })
}

#[test]
fn a_flood_of_opens_is_answered_up_to_128_and_held_to_its_memory() {
    let mut raw = server();
    let mut windows = 0_u64;
    for number in 0..1000 {
        raw.put(&open_message("session", number, 1 << 20, 32 * 1024));
        let answer = raw.take().unwrap();
        if (number as usize) < limits::SSH_CHANNELS_MAX {
            assert_eq!(answer[0], SSH_MSG_CHANNEL_OPEN_CONFIRMATION);
            windows += u64::from(u32::from_be_bytes(answer[9..13].try_into().unwrap()));
        } else {
            assert_eq!(answer[0], SSH_MSG_CHANNEL_OPEN_FAILURE);
            assert_eq!(answer[5..9], [0, 0, 0, 4]);
        }
    }
    assert_eq!(raw.error(), None);
    assert!(windows <= 4 << 20, "{windows}");
    assert!(raw.conn.allocated() < 128 * 1024, "{}", raw.conn.allocated());
}

#[test]
fn a_full_window_on_every_channel_stays_within_the_connections_memory() {
    let mut raw = server();
    let mut open = Vec::new();
    for _ in 0..limits::SSH_CHANNELS_MAX {
        raw.put(&open_message("session", 1, 1 << 20, 32 * 1024));
        let answer = raw.expect(SSH_MSG_CHANNEL_OPEN_CONFIRMATION);
        let number = u32::from_be_bytes(answer[5..9].try_into().unwrap());
        let window = u32::from_be_bytes(answer[9..13].try_into().unwrap());
        raw.put(&subsystem_message(number, "rpc"));
        raw.expect(SSH_MSG_CHANNEL_SUCCESS);
        open.push((number, window as usize));
    }
    assert_eq!(open[0].1, limits::SSH_WINDOW_BYTES as usize);
    let chunk = vec![1; limits::SSH_CHANNEL_DATA_BYTES_MAX as usize];
    for (number, window) in open {
        let mut left = window;
        while left > 0 {
            let len = left.min(chunk.len());
            raw.put(&data_message(number, &chunk[..len]));
            left -= len;
            assert!(raw.conn.allocated() <= limits::SSH_CONNECTION_BYTES_MAX);
        }
    }
    assert_eq!(raw.error(), None);
}

#[test]
fn only_sessions_are_opened_and_only_by_clients() {
    let mut raw = server();
    for kind in ["direct-tcpip", "x11", "forwarded-tcpip", "", "sessions"] {
        raw.put(&open_message(kind, 3, 100, 100));
        let answer = raw.expect(SSH_MSG_CHANNEL_OPEN_FAILURE);
        assert_eq!(answer[1..9], [0, 0, 0, 3, 0, 0, 0, 3]);
    }
    raw.put(&open_message("session", 3, 100, 0));
    raw.expect(SSH_MSG_CHANNEL_OPEN_FAILURE);
    let mut raw = Raw::at(Role::Client, AdmitState::Open);
    raw.put(&open_message("session", 3, 100, 100));
    let answer = raw.expect(SSH_MSG_CHANNEL_OPEN_FAILURE);
    assert_eq!(answer[5..9], [0, 0, 0, 1]);
    assert_eq!(raw.error(), None);
}

#[test]
fn messages_for_channels_that_do_not_exist_end_it() {
    for number in [93, 94, 95, 96, 97, 98] {
        let mut raw = server();
        raw.put_numbers(number, &[5, 0, 0]);
        assert_eq!(raw.error(), Some(Error::NoChannel { number, channel: 5 }));
    }
}

#[test]
fn requests_that_are_not_for_us_fail_and_change_nothing() {
    let mut raw = server();
    let theirs = raw.open_channel(7, 1 << 20, 32 * 1024);
    for kind in ["env", "pty-req", "shell", "exec", "x11-req", "auth-agent-req@openssh.com", ""] {
        let mut request = request_message(theirs, kind, true);
        put_string(&mut request, b"whatever it carries");
        raw.put(&request);
        assert_eq!(raw.take(), Some(vec![SSH_MSG_CHANNEL_FAILURE, 0, 0, 0, 7]), "{kind}");
        request[4 + 1 + 4 + kind.len()] = 0;
        raw.put(&request);
        assert_eq!(raw.take(), None, "{kind} wants no answer");
    }
    for name in ["RPC", "rpc ", "", "sftp", "attach\0"] {
        raw.put(&subsystem_message(theirs, name));
        raw.expect(SSH_MSG_CHANNEL_FAILURE);
    }
    assert!(raw.events.is_empty());
    raw.put(&subsystem_message(theirs, "rpc"));
    raw.expect(SSH_MSG_CHANNEL_SUCCESS);
    raw.put(&subsystem_message(theirs, "attach"));
    raw.expect(SSH_MSG_CHANNEL_FAILURE);
    assert!(matches!(raw.events[..], [Event::Subsystem { name: "rpc", .. }]), "{:?}", raw.events);
}

#[test]
fn data_before_the_subsystem_reaches_nobody() {
    let mut raw = server();
    let theirs = raw.open_channel(7, 1 << 20, 32 * 1024);
    raw.put(&data_message(theirs, b"early"));
    raw.put(&subsystem_message(theirs, "rpc"));
    raw.expect(SSH_MSG_CHANNEL_FAILURE);
    raw.put_numbers(SSH_MSG_CHANNEL_CLOSE, &[theirs]);
    raw.expect(SSH_MSG_CHANNEL_CLOSE);
    assert_eq!((raw.error(), raw.events.len()), (None, 0));
}

#[test]
fn data_beyond_the_window_or_the_packet_size_ends_it() {
    for subsystem in [true, false] {
        let mut raw = server();
        let theirs = raw.open_channel(7, 1 << 20, 32 * 1024);
        if subsystem {
            raw.put(&subsystem_message(theirs, "rpc"));
        }
        let chunk = vec![0; limits::SSH_CHANNEL_DATA_BYTES_MAX as usize];
        for _ in 0..limits::SSH_WINDOW_BYTES / limits::SSH_CHANNEL_DATA_BYTES_MAX {
            raw.put(&data_message(theirs, &chunk));
        }
        assert_eq!(raw.error(), None);
        raw.put(&data_message(theirs, b""));
        assert_eq!(raw.error(), None, "nothing fits a full window");
        raw.put(&data_message(theirs, b"x"));
        assert_eq!(raw.error(), fault(SSH_MSG_CHANNEL_DATA, ChannelFault::Window));
    }
    let mut raw = server();
    let theirs = raw.open_subsystem("rpc");
    let over = vec![0; limits::SSH_CHANNEL_DATA_BYTES_MAX as usize + 1];
    raw.put(&data_message(theirs, &over));
    assert_eq!(raw.error(), fault(SSH_MSG_CHANNEL_DATA, ChannelFault::PacketSize));
}

#[test]
fn extended_data_counts_and_is_granted_again_unread() {
    let mut raw = server();
    let theirs = raw.open_subsystem("rpc");
    let mut granted = 0;
    for _ in 0..200 {
        let mut message = vec![names::SSH_MSG_CHANNEL_EXTENDED_DATA];
        message.extend_from_slice(&theirs.to_be_bytes());
        message.extend_from_slice(&[0, 0, 0, 1]);
        put_string(&mut message, &[1; 32 * 1024]);
        raw.put(&message);
        granted += raw.take_all().len();
    }
    assert_eq!((raw.error(), granted), (None, 6));
    assert_eq!(raw.events.len(), 1);
}

#[test]
fn a_window_that_overflows_ends_it() {
    let mut raw = server();
    let theirs = raw.open_channel(7, u32::MAX - 1, 32 * 1024);
    raw.put_numbers(SSH_MSG_CHANNEL_WINDOW_ADJUST, &[theirs, 1]);
    assert_eq!(raw.error(), None);
    raw.put_numbers(SSH_MSG_CHANNEL_WINDOW_ADJUST, &[theirs, 1]);
    let overflow = fault(SSH_MSG_CHANNEL_WINDOW_ADJUST, ChannelFault::WindowOverflow);
    assert_eq!(raw.error(), overflow);
}

#[test]
fn eof_and_close_in_every_order_and_twice() {
    let (eof, close) = (SSH_MSG_CHANNEL_EOF, SSH_MSG_CHANNEL_CLOSE);
    for (messages, error) in [
        (&[eof][..], None),
        (&[eof, close], None),
        (&[close], None),
        (&[eof, eof], fault(eof, ChannelFault::AfterEnd)),
        (&[close, eof], Some(Error::NoChannel { number: eof, channel: 0 })),
        (&[close, close], Some(Error::NoChannel { number: close, channel: 0 })),
        (&[eof, close, close], Some(Error::NoChannel { number: close, channel: 0 })),
    ] {
        let mut raw = server();
        let theirs = raw.open_subsystem("rpc");
        raw.events.clear();
        for message in messages {
            raw.put_numbers(*message, &[theirs]);
        }
        assert_eq!(raw.error(), error, "{messages:?}");
        let told: Vec<bool> =
            raw.events.iter().map(|event| matches!(event, Event::Closed { .. })).collect();
        let closed = messages.contains(&close);
        assert!(matches!(raw.events[0], Event::Eof { .. }));
        assert_eq!(told.get(1).copied().unwrap_or(false), closed);
        if closed && error.is_none() {
            assert_eq!(raw.take_all(), [[close, 0, 0, 0, 7]], "one answer");
        }
    }
}

#[test]
fn data_after_eof_ends_it() {
    let mut raw = server();
    let theirs = raw.open_subsystem("rpc");
    raw.put_numbers(SSH_MSG_CHANNEL_EOF, &[theirs]);
    raw.put(&data_message(theirs, b"x"));
    assert_eq!(raw.error(), fault(SSH_MSG_CHANNEL_DATA, ChannelFault::AfterEnd));
}

#[test]
fn what_came_before_the_close_waits_for_its_reader() {
    let mut pair = Pair::ready();
    let (ours, theirs) = pair.open("rpc");
    assert_eq!(pair.server.send(theirs, &[5; 100_000]), 100_000);
    pair.server.send_eof(theirs);
    pair.server.close(theirs);
    pair.settle();
    assert_eq!(
        pair.client_events,
        [Event::Readable { channel: ours }, Event::Eof { channel: ours },]
    );
    assert_eq!(pair.client.send(ours, b"too late"), 8, "taken and dropped");
    assert_eq!(pair.client.received(ours).len(), 100_000);
    pair.client.consume(ours, 99_999);
    pair.settle();
    assert_eq!(pair.client_events.len(), 2);
    pair.client.consume(ours, 1);
    pair.settle();
    assert_eq!(pair.client_events[2..], [Event::Closed { channel: ours }]);
    assert_eq!(pair.server_events, [Event::Closed { channel: theirs }]);
    assert!(pair.client.received(ours).is_empty());
}

#[test]
fn eof_and_close_during_a_rekey_follow_the_new_keys() {
    let mut pair = Pair::ready();
    let (ours, theirs) = pair.open("rpc");
    assert_eq!(pair.client.send(ours, b"all of it"), 9);
    pair.rekey_client();
    assert_eq!(pair.client.send(ours, b"more"), 0);
    pair.client.send_eof(ours);
    pair.client.close(ours);
    pair.client.close(ours);
    pair.settle();
    assert_eq!(pair.server.received(theirs), b"all of it");
    pair.server.consume(theirs, 9);
    pair.settle();
    assert_eq!(
        pair.server_events,
        [
            Event::Readable { channel: theirs },
            Event::Eof { channel: theirs },
            Event::Closed { channel: theirs },
        ]
    );
    assert_eq!(pair.client_events, [Event::Closed { channel: ours }]);
}

#[test]
fn answers_that_nobody_asked_for_end_it() {
    let (mut raw, ours) = client_opening();
    raw.put_numbers(SSH_MSG_CHANNEL_OPEN_CONFIRMATION, &[ours, 9, 1000, 1000]);
    raw.put_numbers(SSH_MSG_CHANNEL_SUCCESS, &[ours]);
    assert_eq!(raw.error(), None);
    raw.put_numbers(SSH_MSG_CHANNEL_SUCCESS, &[ours]);
    assert_eq!(raw.error(), fault(SSH_MSG_CHANNEL_SUCCESS, ChannelFault::Unasked));
    for number in [SSH_MSG_CHANNEL_OPEN_CONFIRMATION, SSH_MSG_CHANNEL_OPEN_FAILURE] {
        let mut raw = Raw::at(Role::Client, AdmitState::Open);
        raw.put_numbers(number, &[0, 0, 0, 0]);
        assert_eq!(raw.error(), Some(Error::NoChannel { number, channel: 0 }));
    }
    for role in [Role::Client, Role::Server] {
        for number in [81, 82] {
            let mut raw = Raw::at(role, AdmitState::Open);
            raw.put(&[number]);
            assert_eq!(raw.error(), Some(Error::UnaskedReply { number }));
        }
    }
}

#[test]
fn a_refused_subsystem_is_the_last_of_its_channel() {
    let mut pair = Pair::ready();
    let ours = pair.client.open_subsystem("nope").unwrap();
    pair.settle();
    let reason = ChannelRefusal::Subsystem;
    assert_eq!(
        pair.client_events,
        [Event::Opened { channel: ours }, Event::Refused { channel: ours, reason },]
    );
    assert!(pair.server_events.is_empty());
    for _ in 0..limits::SSH_CHANNELS_MAX {
        pair.client.open_subsystem("nope").unwrap();
    }
    assert_eq!(pair.client.open_subsystem("rpc"), Err(OpenError::Full));
    pair.settle();
    pair.client_events.clear();
    pair.open("rpc");
}

#[test]
fn data_that_races_a_refusal_hurts_nobody() {
    let mut pair = Pair::ready();
    let ours = pair.client.open_subsystem("nope").unwrap();
    while !pair.client_events.contains(&Event::Opened { channel: ours }) {
        assert!(pair.turn());
    }
    pair.client.send(ours, b"early");
    pair.settle();
    pair.client_events.clear();
    pair.open("rpc");
}

#[test]
fn a_channel_closed_while_it_opens_is_closed() {
    let mut pair = Pair::ready();
    let ours = pair.client.open_subsystem("rpc").unwrap();
    pair.client.close(ours);
    pair.settle();
    assert_eq!(pair.client_events, [Event::Closed { channel: ours }]);
    assert!(pair.server_events.is_empty());
}

#[test]
fn a_server_that_refuses_a_channel_is_quoted_clean() {
    let (mut raw, ours) = client_opening();
    let mut refusal = vec![SSH_MSG_CHANNEL_OPEN_FAILURE];
    refusal.extend_from_slice(&ours.to_be_bytes());
    refusal.extend_from_slice(&[0, 0, 0, 4]);
    put_string(&mut refusal, b"no\x1b room");
    put_string(&mut refusal, b"");
    raw.put(&refusal);
    let Some(Event::Refused { reason, .. }) = raw.events.first() else { panic!() };
    assert_eq!(*reason, ChannelRefusal::Channel { code: 4, text: "no room".to_owned() });
}

#[test]
fn ids_are_never_used_again() {
    let mut pair = Pair::ready();
    let (first, theirs) = pair.open("rpc");
    pair.client.close(first);
    pair.settle();
    pair.server_events.clear();
    pair.client_events.clear();
    let (second, also_theirs) = pair.open("rpc");
    assert_ne!(first, second);
    assert_ne!(theirs, also_theirs);
}

/// Found by the fuzzer: a client that reported an exit status on a channel that was not open yet
/// named some other channel, and the server ended the connection.
#[test]
fn what_belongs_to_the_other_role_is_not_sent() {
    let mut pair = Pair::ready();
    let opening = pair.client.open_subsystem("attach").unwrap();
    pair.client.send_exit_status(opening, 1);
    pair.client.window_change(opening, 80, 24);
    pair.settle();
    let (_, theirs) = pair.open("attach");
    pair.server.window_change(theirs, 80, 24);
    pair.settle();
    assert!(pair.client_events.is_empty(), "{:?}", pair.client_events);
    assert!(pair.server_events.is_empty(), "{:?}", pair.server_events);
}
