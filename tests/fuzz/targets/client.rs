//! A whole client and an arbitrary script: any server's bytes, a handshake, time, and an owner.

use convocate::ssh::Role;

use super::server::play;

pub fn run(input: &[u8]) {
    play(Role::Client, input);
}
