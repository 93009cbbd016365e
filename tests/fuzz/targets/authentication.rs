//! From the end of the first exchange on, in both roles: who is in has signed and was wanted.

use convocate::ssh::Role;

use crate::drive::ends;
use crate::drive::peer::Offer;
use crate::drive::play::Play;
use crate::drive::script::Script;

pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let head = script.byte();
    let role = if head & 1 == 0 { Role::Server } else { Role::Client };
    let verdict = if head & 2 == 0 { Some(head & 4 == 0) } else { None };
    let mut play = Play::new(role, Offer::of(head & 0x20), ends::tuning(0));
    play.subject.verdict = verdict;
    play.shake_hands();
    play.run(&mut script);
}
