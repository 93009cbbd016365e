//! Number 9: Authentication: authorise only the key whose signature was verified; a change of user
//! or service mid-way starts over; attempts are counted whatever their kind; requests after success
//! are ignored; an unparseable key fails the attempt, not the process.

use convocate::base::endpoint::Endpoint;
use convocate::base::time::Mono;
use convocate::limits;
use convocate::ssh::admit::AdmitState;
use convocate::ssh::wire::put_string;
use convocate::ssh::{Error, Event, Role, names};

use crate::pair::client_key;
use crate::raw::{Raw, publickey_request};

fn request(method: &str) -> Vec<u8> {
    let mut request = vec![names::SSH_MSG_USERAUTH_REQUEST];
    for text in ["u", names::SSH_CONNECTION, method] {
        put_string(&mut request, text.as_bytes());
    }
    request
}

fn probe() -> Vec<u8> {
    publickey_request("u", names::SSH_CONNECTION, false, &client_key().public().blob())
}

#[test]
fn none_gets_the_list_of_what_there_is() {
    let mut raw = Raw::at(Role::Server, AdmitState::Auth);
    raw.put(&request(names::NONE));
    let mut expected = vec![names::SSH_MSG_USERAUTH_FAILURE];
    put_string(&mut expected, b"publickey");
    expected.push(0);
    assert_eq!(raw.take(), Some(expected));
}

#[test]
fn attempts_count_whatever_their_kind_and_probes_for_themselves() {
    for attempt in [request(names::NONE), request("password"), probe()] {
        for verdict in [true, false] {
            let mut raw = Raw::at(Role::Server, AdmitState::Auth);
            raw.verdict = verdict;
            let mut attempts = 0;
            while raw.error().is_none() {
                raw.put(&attempt);
                attempts += 1;
            }
            assert_eq!(raw.error(), Some(Error::AuthAttempts));
            let expected = match attempt == probe() {
                true => limits::SSH_AUTH_PROBES_MAX + 1,
                false => limits::SSH_AUTH_ATTEMPTS_MAX,
            };
            assert_eq!(attempts, expected);
        }
    }
}

#[test]
fn keys_and_services_that_are_none_fail_the_attempt_and_the_next_may_succeed() {
    let mut raw = Raw::at(Role::Server, AdmitState::Auth);
    let key = client_key();
    let blob = key.public().blob();
    for wrong in [
        publickey_request("u", names::SSH_CONNECTION, false, b""),
        publickey_request("u", names::SSH_CONNECTION, false, &blob[..20]),
        publickey_request("u", "ssh-something", false, &blob),
        publickey_request(&"u".repeat(300), names::SSH_CONNECTION, false, &blob),
    ] {
        raw.put(&wrong);
        raw.expect(names::SSH_MSG_USERAUTH_FAILURE);
        assert!(raw.events.is_empty());
    }
    raw.put(&raw.signed_request("another", &key));
    raw.expect(names::SSH_MSG_USERAUTH_SUCCESS);
    let user = "another".to_owned();
    assert_eq!(raw.events[0], Event::KeyOffered { user, key: *key.public() });
}

#[test]
fn requests_after_success_are_ignored() {
    let mut raw = Raw::at(Role::Server, AdmitState::Open);
    let before = raw.events.len();
    for _ in 0..100 {
        raw.put(&request(names::NONE));
        raw.put(&raw.signed_request("root", &client_key()));
    }
    assert_eq!((raw.take(), raw.error(), raw.events.len()), (None, None, before));
}

#[test]
fn a_service_may_be_asked_for_again_and_only_one_there_is() {
    let mut raw = Raw::at(Role::Server, AdmitState::Auth);
    raw.put_text(names::SSH_MSG_SERVICE_REQUEST, names::SSH_USERAUTH);
    raw.expect(names::SSH_MSG_SERVICE_ACCEPT);
    raw.put_text(names::SSH_MSG_SERVICE_REQUEST, names::SSH_CONNECTION);
    assert_eq!(raw.error(), Some(Error::Service(names::SSH_CONNECTION.to_owned())));
    assert_eq!(raw.expect(names::SSH_MSG_DISCONNECT)[1..5], [0, 0, 0, 7]);
}

#[test]
fn input_stops_while_the_owner_is_asked() {
    let mut raw = Raw::at(Role::Server, AdmitState::Auth);
    let both = [raw.packet(&probe()), raw.packet(&request(names::NONE))].concat();
    let space = raw.conn.input_space();
    space[..both.len()].copy_from_slice(&both);
    raw.conn.input(Mono::from_nanos(1), both.len());
    assert!(raw.conn.output().is_empty());
    assert!(raw.conn.input_space().is_empty());
    assert!(matches!(raw.conn.poll_event(), Some(Event::KeyOffered { .. })));
    assert_eq!(raw.conn.poll_event(), None);
    raw.conn.authorize(false);
    raw.expect(names::SSH_MSG_USERAUTH_FAILURE);
    raw.expect(names::SSH_MSG_USERAUTH_FAILURE);
    raw.conn.authorize(true); // nothing is asked any more
    assert_eq!(raw.take(), None);
}

/// Found by the fuzzer: a verdict that was given twice let in whoever asked next.
#[test]
fn a_verdict_is_never_about_a_key_that_the_owner_has_not_seen() {
    let mut raw = Raw::at(Role::Server, AdmitState::Auth);
    let probe = raw.packet(&probe());
    let space = raw.conn.input_space();
    space[..probe.len()].copy_from_slice(&probe);
    raw.conn.input(Mono::from_nanos(1), probe.len());
    raw.conn.authorize(true);
    assert!(raw.conn.output().is_empty());
    assert!(matches!(raw.conn.poll_event(), Some(Event::KeyOffered { .. })));
    raw.conn.authorize(true);
    raw.expect(names::SSH_MSG_USERAUTH_PK_OK);
}

#[test]
fn a_client_that_is_refused_says_what_the_server_takes() {
    let mut raw = Raw::at(Role::Client, AdmitState::Auth);
    let mut failure = vec![names::SSH_MSG_USERAUTH_FAILURE];
    put_string(&mut failure, b"password");
    failure.push(0);
    raw.put(&failure);
    assert_eq!(raw.error(), Some(Error::AuthRefused { methods: "password".to_owned() }));
    assert_eq!(raw.expect(names::SSH_MSG_DISCONNECT)[1..5], [0, 0, 0, 14]);
}
