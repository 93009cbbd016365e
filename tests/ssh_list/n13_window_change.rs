//! Number 13: Window-change with zero, with 2^32−1, a thousand a second.

use convocate::base::endpoint::Endpoint;
use convocate::ssh::admit::AdmitState;
use convocate::ssh::{Event, Role};

use crate::pair::Pair;
use crate::raw::{Raw, size_message};

#[test]
fn every_size_arrives_as_it_was_sent() {
    let mut pair = Pair::ready();
    let (ours, theirs) = pair.open("attach");
    for (cols, rows) in [(0, 0), (u32::MAX, u32::MAX), (80, 0), (120, 40)] {
        pair.client.window_change(ours, cols, rows);
        pair.settle();
        let expected = Event::WindowChange { channel: theirs, cols, rows };
        assert_eq!(pair.server_events.pop(), Some(expected));
    }
}

#[test]
fn a_thousand_at_once_become_the_last_one() {
    let mut pair = Pair::ready();
    let (ours, theirs) = pair.open("attach");
    for cols in 1..=1000 {
        pair.client.window_change(ours, cols, 24);
    }
    pair.settle();
    let Some(Event::WindowChange { channel, cols: 1000, rows: 24 }) = pair.server_events.last()
    else {
        panic!("{:?}", pair.server_events)
    };
    assert_eq!(*channel, theirs);
    assert!(pair.server_events.len() < 10, "{}", pair.server_events.len());
}

#[test]
fn a_thousand_during_a_key_exchange_become_the_last_one() {
    let mut pair = Pair::ready();
    let (ours, _) = pair.open("attach");
    pair.rekey_client();
    for cols in 1..=1000 {
        pair.client.window_change(ours, cols, 24);
    }
    assert!(pair.client.output().len() < 2000);
    pair.settle();
    let sizes: Vec<_> = pair
        .server_events
        .iter()
        .filter(|event| matches!(event, Event::WindowChange { .. }))
        .collect();
    assert!(matches!(sizes[..], [Event::WindowChange { cols: 1000, .. }]), "{sizes:?}");
}

#[test]
fn who_has_no_terminal_has_no_size() {
    let mut raw = Raw::at(Role::Server, AdmitState::Open);
    let theirs = raw.open_subsystem("rpc");
    let before = raw.events.len();
    raw.put(&size_message(theirs, 80, 24));
    assert_eq!((raw.events.len(), raw.error(), raw.take()), (before, None, None));
}
