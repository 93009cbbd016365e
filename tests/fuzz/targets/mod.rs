//! The targets: one part each that strangers, sessions or agents speak to, with what must hold
//! whatever comes.

mod authentication;
mod authorized_keys;
mod channels;
mod client;
mod hub;
mod identification;
mod kex;
mod key_file;
mod keys;
mod limiter;
mod packets;
mod pair;
mod server;
mod terminal;

/// Plays one input. It panics if something does not hold.
pub type Target = fn(&[u8]);

/// All of them, by name. A target's corpus is the directory of its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("identification", identification::run),
    ("packets", packets::run),
    ("kex", kex::run),
    ("authentication", authentication::run),
    ("channels", channels::run),
    ("server", server::run),
    ("client", client::run),
    ("pair", pair::run),
    ("key_file", key_file::run),
    ("authorized_keys", authorized_keys::run),
    ("limiter", limiter::run),
    ("terminal", terminal::run),
    ("keys", keys::run),
    ("hub", hub::run),
];

/// The target of this name.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
