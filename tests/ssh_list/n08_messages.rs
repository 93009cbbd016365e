//! Number 8: Every message number 0–255 in every state; numbers 80 and up before authentication,
//! USERAUTH_SUCCESS to a server, NEWKEYS out of turn.

use convocate::ssh::admit::{ADMIT_STATES, AdmitState};
use convocate::ssh::names::SSH_MSG_UNIMPLEMENTED;
use convocate::ssh::{Error, Role};

use crate::raw::Raw;

const TABLE: &str = include_str!("messages.txt");

/// What the table says.
fn expected(role: Role, state: AdmitState, number: u8) -> char {
    let mut answer = None;
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let of = match words[0] {
            "both" => None,
            "server" => Some(Role::Server),
            "client" => Some(Role::Client),
            other => panic!("{other}"),
        };
        let (from, to) = words[1].split_once('-').unwrap();
        let numbers = from.parse::<u8>().unwrap()..=to.parse().unwrap();
        if numbers.contains(&number) && of.is_none_or(|of| of == role) {
            answer = words[2 + state as usize].chars().next();
        }
    }
    answer.expect("every number has a line")
}

/// What the connection does.
fn observed(role: Role, state: AdmitState, number: u8) -> char {
    let mut raw = Raw::at(role, state);
    raw.take_all();
    raw.put(&[number]);
    let unimplemented = raw.take_all().iter().any(|payload| payload[0] == SSH_MSG_UNIMPLEMENTED);
    if state == AdmitState::FirstKexInit && number != 20 && raw.error().is_none() {
        raw.put_kexinit(true); // only now it is known that the exchange is strict
    }
    match raw.error() {
        Some(Error::Unexpected { .. } | Error::StrictBroken) => 'x',
        Some(_) => 'h',
        None if unimplemented => '?',
        // Success and new keys need no more than their number.
        None if matches!((number, state), (52, AdmitState::Auth) | (21, _)) => 'h',
        None => '.',
    }
}

#[test]
fn every_number_in_every_state_and_role_does_what_the_table_says() {
    for role in [Role::Client, Role::Server] {
        for state in ADMIT_STATES {
            for number in 0..=u8::MAX {
                let found = observed(role, state, number);
                assert_eq!(found, expected(role, state, number), "{role:?} {state:?} {number}");
            }
        }
    }
}
