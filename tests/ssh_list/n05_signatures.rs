//! Number 5: A signature over another session id, a probe without signature (does not
//! authenticate), wrong lengths and names in the signature. (S ≥ L and small-order keys: below
//! `ssh::keys`.)

use convocate::ssh::admit::AdmitState;
use convocate::ssh::keys::KeyPair;
use convocate::ssh::wire::put_string;
use convocate::ssh::{Event, Role, names};

use crate::pair::client_key;
use crate::raw::{Raw, publickey_request};

fn offers(raw: &Raw) -> usize {
    raw.events.iter().filter(|event| matches!(event, Event::KeyOffered { .. })).count()
}

fn authenticated(raw: &Raw) -> bool {
    raw.events.iter().any(|event| matches!(event, Event::Authenticated { .. }))
}

#[test]
fn a_signature_that_does_not_verify_is_a_failed_attempt_and_asks_nobody() {
    let good = Raw::at(Role::Server, AdmitState::Auth).signed_request("u", &client_key());
    let signature = good.len() - 64;
    let mut wrong: Vec<Vec<u8>> = [signature - 18, signature, good.len() - 1, 5]
        .into_iter()
        .map(|at| {
            let mut changed = good.clone();
            changed[at] ^= 1;
            changed
        })
        .collect();
    let mut other_session = Raw::at(Role::Server, AdmitState::Auth);
    other_session.session_id = Some([0x55; 32]);
    wrong.push(other_session.signed_request("u", &client_key()));
    let mut short = good[..signature - 4 - 4 - 11 - 4].to_vec();
    put_string(&mut short, &good[signature..]);
    wrong.push(short);
    for request in wrong {
        let mut raw = Raw::at(Role::Server, AdmitState::Auth);
        raw.put(&request);
        assert_eq!(raw.error(), None);
        assert_eq!((offers(&raw), authenticated(&raw)), (0, false));
        raw.expect(names::SSH_MSG_USERAUTH_FAILURE);
    }
}

#[test]
fn a_probe_is_answered_and_does_not_authenticate() {
    let mut raw = Raw::at(Role::Server, AdmitState::Auth);
    let blob = client_key().public().blob();
    raw.put(&publickey_request("u", names::SSH_CONNECTION, false, &blob));
    let answer = raw.expect(names::SSH_MSG_USERAUTH_PK_OK);
    assert!(answer.ends_with(&blob));
    assert_eq!((offers(&raw), authenticated(&raw)), (1, false));
    raw.put(&[names::SSH_MSG_CHANNEL_OPEN]);
    assert!(raw.error().is_some());
}

#[test]
fn the_key_that_is_in_is_the_one_that_signed() {
    let mut raw = Raw::at(Role::Server, AdmitState::Auth);
    raw.put(&publickey_request("u", "ssh-connection", false, &client_key().public().blob()));
    let other = KeyPair::from_seed([77; 32]);
    raw.put(&raw.signed_request("v", &other));
    let key = *other.public();
    assert_eq!(
        raw.events[1..],
        [Event::KeyOffered { user: "v".to_owned(), key }, Event::Authenticated { key },]
    );
}
