//! The two AEADs of an SSH packet, in place: the inner loops of every transfer.
//!
//! A crate of its own for one reason: the ciphers below are generic, generic code is compiled where
//! it is first used, and this is where it must be compiled for speed. What the ciphers mean, and
//! which nonce may come when, stands in `convocate::ssh::cipher`, which alone calls them.

mod chacha;
mod gcm;

use std::fmt;

pub use chacha::{ChaCha, KEY_BYTES as CHACHA_KEY_BYTES};
pub use gcm::{Gcm, IV_BYTES as GCM_IV_BYTES, KEY_BYTES as GCM_KEY_BYTES};

/// The tag behind each packet, in bytes, of both ciphers.
pub const TAG_BYTES: usize = 16;

/// The length field before each packet, in bytes (RFC 4253 §6).
pub const LENGTH_BYTES: usize = 4;

/// A packet that its sender did not seal, or not with this key, or not in this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagMismatch;

impl fmt::Display for TagMismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("packet does not match its tag")
    }
}

impl std::error::Error for TagMismatch {}

/// A packet, taken apart.
pub struct Parts<'a> {
    /// The length field and all that it counts.
    sealed: &'a mut [u8],
    tag: &'a mut [u8; TAG_BYTES],
}

impl<'a> Parts<'a> {
    /// `None` when there is no room for the two fixed parts.
    pub fn of(packet: &'a mut [u8]) -> Option<Parts<'a>> {
        let (sealed, tag) = packet.split_last_chunk_mut()?;
        (sealed.len() >= LENGTH_BYTES).then_some(Parts { sealed, tag })
    }
}
