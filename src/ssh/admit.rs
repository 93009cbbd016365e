//! What each state admits: one table, and the one function that is asked before a message is looked
//! at.
//!
//! A message that stands in no row is not known (RFC 4253 §11.4). The table says nothing about
//! content; it says which of the five things in [`Admission`] happens to a number in a
//! [`AdmitState`].

use std::ops::RangeInclusive;

use super::config::Role;
use super::names::{
    SSH_MSG_CHANNEL_CLOSE, SSH_MSG_CHANNEL_DATA, SSH_MSG_CHANNEL_EOF,
    SSH_MSG_CHANNEL_EXTENDED_DATA, SSH_MSG_CHANNEL_FAILURE, SSH_MSG_CHANNEL_OPEN,
    SSH_MSG_CHANNEL_OPEN_CONFIRMATION, SSH_MSG_CHANNEL_OPEN_FAILURE, SSH_MSG_CHANNEL_REQUEST,
    SSH_MSG_CHANNEL_SUCCESS, SSH_MSG_CHANNEL_WINDOW_ADJUST, SSH_MSG_DEBUG, SSH_MSG_DISCONNECT,
    SSH_MSG_EXT_INFO, SSH_MSG_GLOBAL_REQUEST, SSH_MSG_IGNORE, SSH_MSG_KEX_ECDH_INIT,
    SSH_MSG_KEX_ECDH_REPLY, SSH_MSG_KEXINIT, SSH_MSG_NEWKEYS, SSH_MSG_REQUEST_FAILURE,
    SSH_MSG_REQUEST_SUCCESS, SSH_MSG_SERVICE_ACCEPT, SSH_MSG_SERVICE_REQUEST,
    SSH_MSG_UNIMPLEMENTED, SSH_MSG_USERAUTH_BANNER, SSH_MSG_USERAUTH_FAILURE,
    SSH_MSG_USERAUTH_PK_OK, SSH_MSG_USERAUTH_REQUEST, SSH_MSG_USERAUTH_SUCCESS,
};

/// What the connection waits for, as far as it matters to what may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdmitState {
    /// First exchange: the peer's KEXINIT.
    FirstKexInit,
    /// First exchange: the peer's public value.
    FirstKex,
    /// First exchange: the peer's NEWKEYS.
    FirstNewKeys,
    /// The authentication service is not granted yet.
    Service,
    Auth,
    /// Authenticated. Our own KEXINIT may be out: until the peer's comes, all may come.
    Open,
    /// A later exchange: the peer's public value.
    Kex,
    /// A later exchange: the peer's NEWKEYS.
    NewKeys,
}

/// All states, in the order of the table's columns.
pub const ADMIT_STATES: [AdmitState; 8] = [
    AdmitState::FirstKexInit,
    AdmitState::FirstKex,
    AdmitState::FirstNewKeys,
    AdmitState::Service,
    AdmitState::Auth,
    AdmitState::Open,
    AdmitState::Kex,
    AdmitState::NewKeys,
];

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is looked at.
    Handle,
    /// It is dropped.
    Ignore,
    /// It is dropped, but ends the connection if the exchange is strict.
    Lax,
    /// It is answered with UNIMPLEMENTED.
    Unknown,
    /// It ends the connection.
    Refuse,
}

use Admission::{Handle as H, Ignore as I, Lax as L, Refuse as X, Unknown as U};

/// One line of the table.
struct Row {
    numbers: RangeInclusive<u8>,
    /// Whose incoming messages it is about; `None`: both roles'.
    role: Option<Role>,
    admissions: [Admission; 8],
}

const fn both(numbers: RangeInclusive<u8>, admissions: [Admission; 8]) -> Row {
    Row { numbers, role: None, admissions }
}

const fn server(number: u8, admissions: [Admission; 8]) -> Row {
    Row { numbers: number..=number, role: Some(Role::Server), admissions }
}

const fn client(number: u8, admissions: [Admission; 8]) -> Row {
    Row { numbers: number..=number, role: Some(Role::Client), admissions }
}

const fn one(number: u8, admissions: [Admission; 8]) -> Row {
    both(number..=number, admissions)
}

/// The first row that fits counts. Columns: the first exchange (KEXINIT, public value, NEWKEYS);
/// service, authentication, open; a later exchange (public value, NEWKEYS).
#[rustfmt::skip]
const TABLE: &[Row] = &[
    one(SSH_MSG_DISCONNECT,                    [H, H, H,  H, H, H,  H, H]),
    one(SSH_MSG_IGNORE,                        [L, L, L,  I, I, I,  I, I]),
    one(SSH_MSG_UNIMPLEMENTED,                 [L, L, L,  I, I, I,  I, I]),
    one(SSH_MSG_DEBUG,                         [L, L, L,  I, I, I,  I, I]),
    // Some clients ask for the service again before each attempt.
    server(SSH_MSG_SERVICE_REQUEST,            [X, X, X,  H, H, X,  X, X]),
    client(SSH_MSG_SERVICE_ACCEPT,             [X, X, X,  H, X, X,  X, X]),
    both(SSH_MSG_SERVICE_REQUEST..=SSH_MSG_SERVICE_ACCEPT, [X; 8]),
    // Nothing in it concerns us: one signature algorithm is all that there is.
    one(SSH_MSG_EXT_INFO,                      [X, X, X,  I, I, I,  X, X]),
    one(SSH_MSG_KEXINIT,                       [H, X, X,  H, H, H,  X, X]),
    one(SSH_MSG_NEWKEYS,                       [X, X, H,  X, X, X,  X, H]),
    server(SSH_MSG_KEX_ECDH_INIT,              [X, H, X,  X, X, X,  H, X]),
    client(SSH_MSG_KEX_ECDH_REPLY,             [X, H, X,  X, X, X,  H, X]),
    both(SSH_MSG_KEX_ECDH_INIT..=SSH_MSG_KEX_ECDH_REPLY, [X; 8]),
    // RFC 4252 §5.1: requests after success are silently ignored.
    server(SSH_MSG_USERAUTH_REQUEST,           [X, X, X,  X, H, I,  X, X]),
    client(SSH_MSG_USERAUTH_FAILURE,           [X, X, X,  X, H, X,  X, X]),
    client(SSH_MSG_USERAUTH_SUCCESS,           [X, X, X,  X, H, X,  X, X]),
    client(SSH_MSG_USERAUTH_BANNER,            [X, X, X,  X, I, I,  X, X]),
    // The rest of the method's own numbers with it: we sign at once and are asked nothing.
    both(SSH_MSG_USERAUTH_REQUEST..=SSH_MSG_USERAUTH_BANNER, [X; 8]),
    both(SSH_MSG_USERAUTH_PK_OK..=79,          [X; 8]),
    one(SSH_MSG_GLOBAL_REQUEST,                [X, X, X,  X, X, H,  X, X]),
    one(SSH_MSG_REQUEST_SUCCESS,               [X, X, X,  X, X, H,  X, X]),
    one(SSH_MSG_REQUEST_FAILURE,               [X, X, X,  X, X, H,  X, X]),
    one(SSH_MSG_CHANNEL_OPEN,                  [X, X, X,  X, X, H,  X, X]),
    client(SSH_MSG_CHANNEL_OPEN_CONFIRMATION,  [X, X, X,  X, X, H,  X, X]),
    client(SSH_MSG_CHANNEL_OPEN_FAILURE,       [X, X, X,  X, X, H,  X, X]),
    both(SSH_MSG_CHANNEL_OPEN_CONFIRMATION..=SSH_MSG_CHANNEL_OPEN_FAILURE, [X; 8]),
    one(SSH_MSG_CHANNEL_WINDOW_ADJUST,         [X, X, X,  X, X, H,  X, X]),
    one(SSH_MSG_CHANNEL_DATA,                  [X, X, X,  X, X, H,  X, X]),
    one(SSH_MSG_CHANNEL_EXTENDED_DATA,         [X, X, X,  X, X, H,  X, X]),
    one(SSH_MSG_CHANNEL_EOF,                   [X, X, X,  X, X, H,  X, X]),
    one(SSH_MSG_CHANNEL_CLOSE,                 [X, X, X,  X, X, H,  X, X]),
    one(SSH_MSG_CHANNEL_REQUEST,               [X, X, X,  X, X, H,  X, X]),
    // A server of ours never asks for a reply.
    client(SSH_MSG_CHANNEL_SUCCESS,            [X, X, X,  X, X, H,  X, X]),
    client(SSH_MSG_CHANNEL_FAILURE,            [X, X, X,  X, X, H,  X, X]),
    both(SSH_MSG_CHANNEL_SUCCESS..=SSH_MSG_CHANNEL_FAILURE, [X; 8]),
    // Not known. From 80 on a number belongs to the authenticated alone.
    both(0..=79,                               [X, X, X,  U, U, U,  X, X]),
    both(80..=255,                             [X, X, X,  X, X, U,  X, X]),
];

/// What happens to a message with this number.
pub(crate) fn admission(role: Role, state: AdmitState, number: u8) -> Admission {
    let fits = |row: &&Row| row.numbers.contains(&number) && row.role.is_none_or(|of| of == role);
    let row = TABLE.iter().find(fits);
    row.map_or(Admission::Refuse, |row| row.admissions[state as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_in_the_order_of_the_states() {
        for (index, state) in ADMIT_STATES.iter().enumerate() {
            assert_eq!(*state as usize, index);
        }
    }

    #[test]
    fn every_number_has_a_row_in_both_roles() {
        for role in [Role::Client, Role::Server] {
            for number in 0..=u8::MAX {
                assert!(TABLE.iter().any(|row| {
                    row.numbers.contains(&number) && row.role.is_none_or(|of| of == role)
                }));
            }
        }
    }

    #[test]
    fn nothing_of_a_connection_is_admitted_before_it_is_authenticated() {
        for role in [Role::Client, Role::Server] {
            for state in ADMIT_STATES.into_iter().filter(|state| *state != AdmitState::Open) {
                for number in 80..=u8::MAX {
                    assert_eq!(
                        admission(role, state, number),
                        Admission::Refuse,
                        "{state:?} {number}"
                    );
                }
            }
        }
    }
}
