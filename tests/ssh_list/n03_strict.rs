//! Number 3: Strict kex: IGNORE, DEBUG, UNIMPLEMENTED and unknown messages injected at every
//! position of the first exchange, both directions, end the connection; sequence numbers restart at
//! every NEWKEYS, rekeys too; the first-packet rule holds for the first exchange only.

use convocate::ssh::admit::AdmitState;
use convocate::ssh::cipher::CipherName;
use convocate::ssh::{Error, Role, Tuning, names};

use crate::raw::{Offer, Raw};

const ROLES: [Role; 2] = [Role::Client, Role::Server];
const FIRST: [AdmitState; 3] =
    [AdmitState::FirstKexInit, AdmitState::FirstKex, AdmitState::FirstNewKeys];
/// Each well-formed enough to be dropped where it may come.
const INJECTED: [&[u8]; 4] = [&[2, 0, 0, 0, 0], &[4, 0], &[3, 0, 0, 0, 0], &[199]];

#[test]
fn nothing_can_be_slipped_into_the_first_exchange() {
    for role in ROLES {
        for state in FIRST {
            for message in INJECTED {
                let mut raw = Raw::at(role, state);
                raw.put(message);
                if state == AdmitState::FirstKexInit && raw.error().is_none() {
                    raw.put_kexinit(true);
                }
                assert!(raw.error().is_some(), "{role:?} {state:?} {message:?}");
            }
        }
    }
}

#[test]
fn without_strict_the_harmless_ones_are_dropped() {
    for role in ROLES {
        for state in FIRST {
            for message in &INJECTED[..3] {
                let offer = Offer { strict: false, ..Offer::default() };
                let mut raw = Raw::new(role, offer, Tuning::default());
                raw.advance(state);
                raw.put(message);
                assert_eq!(raw.error(), None, "{role:?} {state:?} {message:?}");
                for next in [
                    AdmitState::FirstKex,
                    AdmitState::FirstNewKeys,
                    AdmitState::Service,
                    AdmitState::Auth,
                ] {
                    if next as usize > state as usize {
                        raw.step_to(next);
                    }
                }
                assert_eq!(raw.error(), None, "{role:?} {state:?} {message:?}");
            }
        }
    }
}

#[test]
fn numbers_restart_at_every_new_key_and_only_when_strict() {
    for role in ROLES {
        for strict in [true, false] {
            let offer = Offer { strict, ..Offer::default() };
            let mut raw = Raw::new(role, offer, Tuning::default());
            raw.advance(AdmitState::NewKeys);
            raw.put_new_keys();
            raw.put(&[2, 0, 0, 0, 0]);
            raw.put(&[200]);
            // UNIMPLEMENTED names the number of the packet that it is about.
            let answer = raw.expect(names::SSH_MSG_UNIMPLEMENTED);
            let number = u32::from_be_bytes([answer[1], answer[2], answer[3], answer[4]]);
            assert_eq!(number, raw.sequence_out - 1, "{role:?} {strict}");
            assert_eq!(number == 1, strict);
        }
    }
}

/// With ChaCha20 the number is in the nonce, so a tag tells too.
#[test]
fn numbers_restart_with_chacha20_through_rekeys() {
    for role in ROLES {
        let offer = Offer { cipher: CipherName::ChaCha20Poly1305, ..Offer::default() };
        let mut raw = Raw::new(role, offer, Tuning::default());
        raw.advance(AdmitState::NewKeys);
        raw.put_new_keys();
        for _ in 0..3 {
            raw.step_to(AdmitState::Kex);
            raw.step_to(AdmitState::NewKeys);
            raw.put_new_keys();
        }
        raw.put(&[200]);
        raw.expect(names::SSH_MSG_UNIMPLEMENTED);
    }
}

#[test]
fn a_later_exchange_may_have_others_between() {
    for role in ROLES {
        let mut raw = Raw::at(role, AdmitState::Open);
        raw.put(&[2, 0, 0, 0, 0]); // so its KEXINIT is not the first packet
        raw.step_to(AdmitState::Kex);
        raw.put(&[4, 0]);
        raw.step_to(AdmitState::NewKeys);
        raw.put(&[2, 0, 0, 0, 0]);
        raw.put_new_keys();
        assert_eq!(raw.error(), None, "{role:?}");
    }
}

#[test]
fn who_is_not_strict_gets_one_cipher_and_our_own_kind_must_be() {
    for role in ROLES {
        let cipher = CipherName::ChaCha20Poly1305;
        let offer = Offer { strict: false, cipher, ..Offer::default() };
        let mut raw = Raw::new(role, offer, Tuning::default());
        raw.advance(AdmitState::FirstKexInit);
        raw.put_kexinit(true);
        assert_eq!(raw.error(), Some(Error::CipherNeedsStrict(cipher.name())));

        let offer = Offer { strict: false, id: "SSH-2.0-convocate_9.9", ..Offer::default() };
        let mut raw = Raw::new(role, offer, Tuning::default());
        raw.advance(AdmitState::FirstKexInit);
        raw.put_kexinit(true);
        assert_eq!(raw.error(), Some(Error::StrictMissing));
    }
}
