//! Number 2: KEXINIT: wrong guess with first_kex_packet_follows; nothing in common; malformed,
//! empty and repeated names; nonzero reserved field; a second KEXINIT in the exchange.

use convocate::ssh::admit::AdmitState;
use convocate::ssh::kexinit::NegotiationError;
use convocate::ssh::wire::WireError;
use convocate::ssh::{Error, Role, Tuning, names};

use crate::raw::{Offer, Raw};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

fn offering(role: Role, offer: Offer) -> Raw {
    let mut raw = Raw::new(role, offer, Tuning::default());
    raw.advance(AdmitState::FirstKexInit);
    raw
}

#[test]
fn a_wrong_guess_is_skipped_and_a_right_one_used() {
    for role in ROLES {
        for wrong in [true, false] {
            let kex = if wrong { "curve25519-sha256" } else { "mlkem768x25519-sha256" };
            let offer = Offer { follows: true, kex: vec![kex], ..Offer::default() };
            let mut raw = offering(role, offer);
            raw.put_kexinit(true);
            if wrong {
                raw.put(&[names::SSH_MSG_KEX_ECDH_INIT, 1, 2, 3]); // of whatever method
                raw.offer.follows = false;
            }
            if role == Role::Client && !wrong {
                continue; // a server cannot guess right: it speaks second
            }
            for state in
                [AdmitState::FirstNewKeys, AdmitState::Service, AdmitState::Auth, AdmitState::Open]
            {
                raw.step_to(state);
            }
            assert_eq!(raw.error(), None, "{role:?} {wrong}");
        }
    }
}

#[test]
fn only_one_message_can_be_the_guess() {
    let mut raw = offering(Role::Server, Offer { follows: true, ..Offer::default() });
    raw.put_kexinit(true);
    raw.put(&[30, 1]);
    raw.put(&[30, 1]);
    assert!(matches!(raw.error(), Some(Error::Message { number: 30, .. })));
}

#[test]
fn nothing_in_common_says_of_what() {
    for role in ROLES {
        let mut raw = offering(role, Offer { kex: vec!["ecdh-sha2-nistp256"], ..Offer::default() });
        raw.put_kexinit(true);
        let Some(Error::Negotiation(NegotiationError::NothingInCommon { what, .. })) = raw.error()
        else {
            panic!("{:?}", raw.error())
        };
        assert_eq!(what, "key exchange method");
        let farewell = raw.expect(names::SSH_MSG_DISCONNECT);
        assert_eq!(farewell[1..5], [0, 0, 0, 3]);
    }
}

#[test]
fn malformed_lists_end_it_and_odd_ones_do_not() {
    for role in ROLES {
        let mut raw =
            offering(role, Offer { kex: vec!["curve25519-sha256", ""], ..Offer::default() });
        raw.put_kexinit(true);
        let empty = NegotiationError::Wire(WireError::NameEmpty);
        assert_eq!(raw.error(), Some(Error::Negotiation(empty)));
        let twice = vec!["curve25519-sha256", "curve25519-sha256"];
        let mut raw = offering(role, Offer { kex: twice, reserved: 7, ..Offer::default() });
        raw.put_kexinit(true);
        assert_eq!(raw.error(), None);
    }
}

#[test]
fn a_second_kexinit_ends_it_in_every_exchange() {
    for role in ROLES {
        for state in
            [AdmitState::FirstKex, AdmitState::FirstNewKeys, AdmitState::Kex, AdmitState::NewKeys]
        {
            let mut raw = Raw::at(role, state);
            let again = raw.kexinit(false);
            raw.put(&again);
            assert_eq!(raw.error(), Some(Error::Unexpected { number: 20, state }), "{role:?}");
        }
    }
}
