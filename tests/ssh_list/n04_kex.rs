//! Number 4: X25519: all-zero and low-order public values refused; ML-KEM: wrong lengths, tampered
//! ciphertexts. (Encodings and leading zeros: below `ssh::kex`.)

use convocate::ssh::admit::AdmitState;
use convocate::ssh::kex::KexError;
use convocate::ssh::wire::{Reader, put_string};
use convocate::ssh::{Error, Role, Tuning, names};

use crate::raw::{Offer, Raw};

fn server_waiting(kex: &'static str) -> Raw {
    let offer = Offer { kex: vec![kex], ..Offer::default() };
    let mut raw = Raw::new(Role::Server, offer, Tuning::default());
    raw.advance(AdmitState::FirstKex);
    raw
}

fn init(value: &[u8]) -> Vec<u8> {
    let mut message = vec![names::SSH_MSG_KEX_ECDH_INIT];
    put_string(&mut message, value);
    message
}

#[test]
fn values_of_low_order_and_wrong_lengths_end_it() {
    let mut one = [0; 32];
    one[0] = 1;
    for value in [[0; 32], one] {
        let mut raw = server_waiting("curve25519-sha256");
        raw.put(&init(&value));
        assert_eq!(raw.error(), Some(Error::Kex(KexError::LowOrder)));
        assert_eq!(raw.expect(names::SSH_MSG_DISCONNECT)[1..5], [0, 0, 0, 3]);
    }
    for (kex, lengths) in
        [("curve25519-sha256", [0, 31, 33]), ("mlkem768x25519-sha256", [32, 1215, 1217])]
    {
        for length in lengths {
            let mut raw = server_waiting(kex);
            raw.put(&init(&vec![9; length]));
            assert!(matches!(raw.error(), Some(Error::Kex(KexError::Length { .. }))), "{length}");
        }
    }
}

#[test]
fn a_tampered_answer_never_verifies() {
    for kex in ["curve25519-sha256", "mlkem768x25519-sha256"] {
        let offer = Offer { kex: vec![kex], ..Offer::default() };
        let mut raw = Raw::new(Role::Client, offer, Tuning::default());
        raw.advance(AdmitState::FirstKex);
        let init = raw.expect(names::SSH_MSG_KEX_ECDH_INIT);
        let reply = raw.reply(&init);
        let mut reader = Reader::new(&reply[1..]);
        let blob = reader.string().unwrap().len();
        let mut tampered = reply.clone();
        tampered[1 + 4 + blob + 4 + 3] ^= 1;
        raw.put(&tampered);
        assert_eq!(raw.error(), Some(Error::HostKeySignature), "{kex}");
        assert_eq!(raw.expect(names::SSH_MSG_DISCONNECT)[1..5], [0, 0, 0, 9]);
    }
}

#[test]
fn another_host_key_than_the_pinned_one_is_refused_with_both_fingerprints() {
    let offer = Offer { host_key: [99; 32], ..Offer::default() };
    let mut raw = Raw::new(Role::Client, offer, Tuning::default());
    raw.advance(AdmitState::FirstKex);
    let init = raw.expect(names::SSH_MSG_KEX_ECDH_INIT);
    let reply = raw.reply(&init);
    raw.put(&reply);
    let Some(Error::HostKeyMismatch { expected, got }) = raw.error() else {
        panic!("{:?}", raw.error())
    };
    assert_eq!(expected, crate::pair::host_key().public().fingerprint());
    assert!(got.starts_with("SHA256:") && got != expected);
}
