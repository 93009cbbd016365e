//! The shared secret, what is hashed with it, and the keys that come out of it (RFC 4253 §7.2, §8).

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::ssh::wire::{length, put_mpint, put_string};

/// A hash of SHA-256, which all methods of the profile use.
const HASH_BYTES: usize = 32;

/// K, in the encoding in which its method hashes it. Wiped when it is dropped.
pub struct SharedSecret {
    /// An mpint for the plain curve, a string for the hybrid.
    encoded: Zeroizing<Vec<u8>>,
}

impl SharedSecret {
    /// The plain curve: K is the number that the output is in big-endian (RFC 8731 §3.1).
    pub(super) fn from_curve(output: &[u8; 32]) -> SharedSecret {
        let mut encoded = SharedSecret::room();
        put_mpint(&mut encoded, output);
        SharedSecret { encoded }
    }

    /// The hybrid: K is the hash of both secrets, the later one's first, as a string
    /// (draft-ietf-sshm-mlkem-hybrid-kex §2.4).
    pub(super) fn from_hybrid(quantum: &[u8; 32], classical: &[u8; 32]) -> SharedSecret {
        let mut hash = Sha256::new_with_prefix(quantum).chain_update(classical).finalize();
        let mut encoded = SharedSecret::room();
        put_string(&mut encoded, &hash);
        hash.zeroize();
        SharedSecret { encoded }
    }

    /// K with its length before it.
    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// As much as either encoding takes: a buffer that grew would leave a copy behind.
    fn room() -> Zeroizing<Vec<u8>> {
        Zeroizing::new(Vec::with_capacity(4 + 1 + HASH_BYTES))
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SharedSecret(..)")
    }
}

/// What both ends have seen of an exchange (RFC 5656 §4, RFC 4253 §8), in the order of the hash.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeHash<'a> {
    /// The client's identification without CR and LF.
    pub v_c: &'a [u8],
    /// The server's identification without CR and LF.
    pub v_s: &'a [u8],
    /// The payload of the client's KEXINIT, message number and all.
    pub i_c: &'a [u8],
    /// The payload of the server's KEXINIT.
    pub i_s: &'a [u8],
    /// The blob of the host key.
    pub k_s: &'a [u8],
    /// The client's public value.
    pub init: &'a [u8],
    /// The server's public value.
    pub reply: &'a [u8],
}

/// H, which the host signs. That of the first exchange is also the session id.
pub fn exchange_hash(inputs: &ExchangeHash<'_>, secret: &SharedSecret) -> [u8; HASH_BYTES] {
    let ExchangeHash { v_c, v_s, i_c, i_s, k_s, init, reply } = inputs;
    let mut hash = Sha256::new();
    for string in [v_c, v_s, i_c, i_s, k_s, init, reply] {
        hash.update(length(string).to_be_bytes());
        hash.update(string);
    }
    hash.update(secret.encoded());
    hash.finalize().into()
}

/// Fills `out` with the key of this letter, `A` to `F` of RFC 4253 §7.2: HASH(K, H, letter, id),
/// and for more bytes than that gives, HASH(K, H, all bytes so far).
pub fn derive_key(
    secret: &SharedSecret,
    hash: &[u8; HASH_BYTES],
    session_id: &[u8; HASH_BYTES],
    letter: u8,
    out: &mut [u8],
) {
    let start = Sha256::new_with_prefix(secret.encoded()).chain_update(hash);
    let mut block = start.clone().chain_update([letter]).chain_update(session_id).finalize();
    let mut filled = 0;
    while filled < out.len() {
        let take = HASH_BYTES.min(out.len() - filled);
        out[filled..filled + take].copy_from_slice(&block[..take]);
        filled += take;
        block = start.clone().chain_update(&out[..filled]).finalize();
    }
    block.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hex;

    const K: &str = "00f1a00deb2c0ccba8edadf29dfec42ca30299c625ebc65acf4895fe197d0f8c3e";

    fn secret() -> SharedSecret {
        SharedSecret::from_curve(hex::bytes(K).last_chunk().unwrap())
    }

    /// All vectors here are computed from the RFC's formulas with Python's `hashlib`.
    #[test]
    fn the_exchange_hash_is_that_of_the_rfc() {
        let inputs = ExchangeHash {
            v_c: b"SSH-2.0-client",
            v_s: b"SSH-2.0-server",
            i_c: b"\x14client",
            i_s: b"\x14server!",
            k_s: b"host key",
            init: &hex::bytes("d53b9fea1dd4d570dbe38180767c236456ca6633f103f1aa0637e7b613d25274"),
            reply: &hex::bytes("c5c4aede10f07dc551ae692813183793bbcc96f56020f8e11dcb8e4824871338"),
        };
        assert_eq!(
            hex::text(&exchange_hash(&inputs, &secret())),
            "05746ccbd2c346a76e6122365ccd868c1882e961997e7f4269c139cba36230a1"
        );
        let swapped = ExchangeHash { i_c: inputs.i_s, i_s: inputs.i_c, ..inputs };
        assert_ne!(exchange_hash(&inputs, &secret()), exchange_hash(&swapped, &secret()));
    }

    #[test]
    fn bytes_that_move_from_one_input_to_the_next_change_the_hash() {
        let none = &b""[..];
        let inputs = ExchangeHash {
            v_c: b"ab",
            v_s: b"c",
            i_c: none,
            i_s: none,
            k_s: none,
            init: none,
            reply: none,
        };
        let moved = ExchangeHash { v_c: b"a", v_s: b"bc", ..inputs };
        assert_ne!(exchange_hash(&inputs, &secret()), exchange_hash(&moved, &secret()));
    }

    #[test]
    fn keys_of_any_length_are_those_of_the_rfc() {
        let hash = hex::bytes("05746ccbd2c346a76e6122365ccd868c1882e961997e7f4269c139cba36230a1");
        let id: Vec<u8> = (0..32).collect();
        for (letter, key) in [
            (b'A', "9ed4c224956ff6d0a94785bc"),
            (b'C', "89ff3e029a837c1de941fa4a11292bc625e75f69ff8b317a2597d338ba72869a"),
            (
                b'D',
                "d91441405c2a757a2091f7d81e697fb6a9e1ea927ba58d4b321f42f7ea90cb57\
                 9f5b3250826b5b8929655adcd10b6ffa04fde605c836a3637da148cfcff5d87e",
            ),
            (
                b'F',
                "14cab880c8c49f8fa8a48147030df70530beb52b985d329773a37d8e12578c64\
                 e569893ac9aa51b70b93219a105690b8ab756eb22728a211845e51e753db5aae\
                 51bba4d4c364de56ee7c9c2dd4a4ce519e48acfec335791594dc771d3bfc9e1e\
                 2d8e4c5e",
            ),
        ] {
            let mut out = vec![0; key.len() / 2];
            derive_key(
                &secret(),
                hash.first_chunk().unwrap(),
                id.first_chunk().unwrap(),
                letter,
                &mut out,
            );
            assert_eq!(hex::text(&out), key, "{letter}");
        }
    }

    #[test]
    fn each_method_encodes_its_secret_in_its_own_way() {
        let mut output = [0; 32];
        assert_eq!(SharedSecret::from_curve(&output).encoded(), [0; 4]);
        output[2] = 0x80;
        let number = SharedSecret::from_curve(&output);
        assert_eq!(number.encoded()[..6], [0, 0, 0, 31, 0, 0x80]);
        output[..3].copy_from_slice(&[0, 0x7f, 0]);
        let number = SharedSecret::from_curve(&output);
        assert_eq!(number.encoded()[..6], [0, 0, 0, 31, 0x7f, 0]);
        // A string keeps all bytes of a hash, zeros too, so its length never varies.
        for byte in 0..=u8::MAX {
            let string = SharedSecret::from_hybrid(&[byte; 32], &output);
            assert_eq!(string.encoded().len(), 36);
            assert_eq!(string.encoded()[..4], [0, 0, 0, 32]);
            assert_eq!(string.encoded()[4..], Sha256::digest([[byte; 32], output].concat())[..]);
        }
    }
}
