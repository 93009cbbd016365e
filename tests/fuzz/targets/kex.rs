//! An arbitrary KEXINIT: both ends read the same out of it, and a connection gets through exactly
//! where that says that it should.

use convocate::ssh::cipher::CipherName;
use convocate::ssh::kexinit::{self, Agreed};
use convocate::ssh::{Role, names};

use crate::drive::ends;
use crate::drive::peer::{Offer, Peer};
use crate::drive::play::Play;
use crate::drive::script::Script;

pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let head = script.byte();
    let role = if head & 1 == 0 { Role::Server } else { Role::Client };
    let mut play = Play::new(role, Offer::of(head & 4), ends::tuning(head >> 7));
    play.peer.willing = false;
    let mut theirs = vec![names::SSH_MSG_KEXINIT; 17];
    theirs.extend_from_slice(script.rest());
    theirs.truncate(7000);
    play.peer.start_with(&theirs);
    let output = play.subject.read(usize::MAX);
    play.peer.hear(&output);
    let ours = play.peer.their_kexinit().expect("a connection speaks first").to_vec();
    let agreed = kexinit::agree(role, &ours, &theirs).ok();
    check_both_agree(role, &ours, &theirs, agreed.as_ref());
    match agreed.filter(|agreed| is_acceptable(agreed, &play.peer)) {
        None => {
            play.settle();
            assert!(play.subject.has_ended(), "goes on without an agreement");
        }
        Some(agreed) => go_on(&mut play, &agreed, head),
    }
}

fn check_both_agree(role: Role, ours: &[u8], theirs: &[u8], agreed: Option<&Agreed>) {
    let other = if role == Role::Server { Role::Client } else { Role::Server };
    let same = kexinit::agree(other, theirs, ours).ok();
    let plain = |agreed: &Agreed| Agreed { guess_missed: false, ..*agreed };
    assert_eq!(same.as_ref().map(plain), agreed.map(plain));
    assert!(same.is_none_or(|same| !same.guess_missed), "we never guess");
}

fn is_acceptable(agreed: &Agreed, peer: &Peer) -> bool {
    let ciphers = [agreed.cipher_to_server, agreed.cipher_to_client];
    agreed.strict || (ciphers == [CipherName::Aes256Gcm; 2] && peer.offer.id == "SSH-2.0-other")
}

/// The rest of the exchange, with or without the public value that the method wants.
fn go_on(play: &mut Play, agreed: &Agreed, head: u8) {
    play.peer.offer.kex = agreed.kex;
    play.peer.offer.ciphers = [agreed.cipher_to_server, agreed.cipher_to_client];
    play.peer.offer.strict = agreed.strict;
    play.peer.willing = true;
    if agreed.guess_missed {
        play.peer.put(&[names::SSH_MSG_KEX_ECDH_INIT, 1, 2, 3]);
    }
    let spoiled = head & 2 != 0;
    if spoiled {
        play.peer.put(&[names::SSH_MSG_KEX_ECDH_INIT + (head & 1), 0, 0, 0, 1, 7]);
    }
    if play.subject.role == Role::Server {
        play.peer.put_init();
    }
    play.settle();
    let through = play.peer.session_id.is_some() && !play.subject.has_ended();
    assert_eq!(through, !spoiled, "through the exchange");
}
