//! From authentication on, in both roles: windows, sizes, orders of messages, rekeys between them.

use convocate::ssh::Role;

use crate::drive::ends;
use crate::drive::peer::Offer;
use crate::drive::play::Play;
use crate::drive::script::Script;

pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let head = script.byte();
    let role = if head & 1 == 0 { Role::Server } else { Role::Client };
    let mut play = Play::new(role, Offer::of(head & 2), ends::tuning(head >> 2));
    play.shake_hands();
    play.log_in();
    play.run(&mut script);
}
