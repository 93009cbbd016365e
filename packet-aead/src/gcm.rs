//! `aes256-gcm@openssh.com`: the length field is associated data, the nonce a counter (RFC 5647
//! §7).

use aes_gcm::aead::consts::U12;
use aes_gcm::aes::Aes256Enc;
use aes_gcm::{AeadInOut, AesGcm, KeyInit};

use crate::{LENGTH_BYTES, Parts, TagMismatch};

/// A key of AES-256.
pub const KEY_BYTES: usize = 32;
/// The nonce of the first packet.
pub const IV_BYTES: usize = 12;

/// One direction's key and the nonce of its next packet.
pub struct Gcm {
    /// GCM only ever encrypts blocks; the schedule for decryption would be dead weight.
    cipher: AesGcm<Aes256Enc, U12>,
    nonce: Nonce,
}

impl Gcm {
    pub fn new(key: &[u8; KEY_BYTES], iv: &[u8; IV_BYTES]) -> Gcm {
        Gcm { cipher: AesGcm::new(key.into()), nonce: Nonce::from_iv(iv) }
    }

    pub fn seal(&mut self, parts: Parts<'_>) {
        let (head, body) = parts.sealed.split_at_mut(LENGTH_BYTES);
        let tag = self
            .cipher
            .encrypt_inout_detached((&self.nonce.next()).into(), head, body.into())
            .expect("a packet is far below the 64 GiB of one nonce");
        parts.tag.copy_from_slice(&tag);
    }

    /// The comparison of the tags takes the same time wherever they differ, and comes first.
    pub fn open(&mut self, parts: Parts<'_>) -> Result<(), TagMismatch> {
        let (head, body) = parts.sealed.split_at_mut(LENGTH_BYTES);
        let tag = (&*parts.tag).into();
        self.cipher
            .decrypt_inout_detached((&self.nonce.next()).into(), head, body.into(), tag)
            .map_err(|_| TagMismatch)
    }
}

/// RFC 5647 §7.1: four fixed bytes, and a big-endian number that each packet increments.
struct Nonce {
    fixed: [u8; 4],
    invocation: u64,
}

impl Nonce {
    fn from_iv(iv: &[u8; IV_BYTES]) -> Nonce {
        let [a, b, c, d, invocation @ ..] = *iv;
        Nonce { fixed: [a, b, c, d], invocation: u64::from_be_bytes(invocation) }
    }

    /// This packet's nonce. The number wraps by design; what keeps a nonce from coming back is that
    /// keys are changed after far fewer than 2^64 packets.
    fn next(&mut self) -> [u8; IV_BYTES] {
        let mut nonce = [0; IV_BYTES];
        nonce[..4].copy_from_slice(&self.fixed);
        nonce[4..].copy_from_slice(&self.invocation.to_be_bytes());
        self.invocation = self.invocation.wrapping_add(1);
        nonce
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_the_last_eight_bytes_and_wraps_inside_them() {
        let mut nonce = Nonce::from_iv(&[9, 9, 9, 9, 255, 255, 255, 255, 255, 255, 255, 254]);
        assert_eq!(nonce.next()[4..], [255, 255, 255, 255, 255, 255, 255, 254]);
        assert_eq!(nonce.next()[4..], [255; 8]);
        assert_eq!(nonce.next(), [9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(nonce.next(), [9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
