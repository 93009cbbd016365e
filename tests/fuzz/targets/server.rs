//! A whole server and an arbitrary script: bytes of a stranger, a handshake, time, and an owner.

use convocate::ssh::Role;

use crate::drive::ends;
use crate::drive::peer::Offer;
use crate::drive::play::Play;
use crate::drive::script::Script;

pub fn run(input: &[u8]) {
    play(Role::Server, input);
}

/// Starts before the first byte; the first step may be anything.
pub fn play(role: Role, input: &[u8]) {
    let mut script = Script::new(input);
    let (offer, tuning) = (Offer::of(script.byte()), ends::tuning(script.byte()));
    let mut play = Play::new(role, offer, tuning);
    if script.flag() {
        play.peer.start();
        play.settle();
    }
    play.run(&mut script);
}
