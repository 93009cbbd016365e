//! Public keys and signatures: blobs (RFC 8709 §4, §6), one-line files, fingerprints.

use std::fmt;

use base64ct::{Base64, Base64Unpadded, Encoding};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use super::KeyError;
use crate::limits::SSH_KEY_FILE_BYTES_MAX;
use crate::ssh::names::SSH_ED25519;
use crate::ssh::wire::{Reader, put_string};

/// An Ed25519 public key: the canonical encoding of a point whose order is not small.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key of these 32 bytes.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Result<PublicKey, KeyError> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Weak)?;
        // It takes a number above the field's for the point that it is beside.
        let is_canonical = key.to_edwards().compress().to_bytes() == bytes;
        if key.is_weak() || !is_canonical { Err(KeyError::Weak) } else { Ok(PublicKey(bytes)) }
    }

    /// The key of a blob, as a peer sends it.
    pub(crate) fn from_blob(blob: &[u8]) -> Result<PublicKey, KeyError> {
        PublicKey::from_bytes(untagged(blob)?)
    }

    /// The key of a `.pub` line, `ssh-ed25519 BASE64 COMMENT`, and its comment, perhaps empty.
    /// White space around the line is no matter; options before the key are for
    /// [`super::AuthorizedKeys`].
    pub fn parse_line(line: &str) -> Result<(PublicKey, String), KeyError> {
        let line = line.trim();
        if line.len() > SSH_KEY_FILE_BYTES_MAX {
            return Err(KeyError::Long { bytes: line.len(), max: SSH_KEY_FILE_BYTES_MAX });
        }
        if line.contains(['\n', '\r']) {
            return Err(KeyError::Lines);
        }
        let (algorithm, rest) = first_word(line);
        let (base64, comment) = first_word(rest);
        match (algorithm, base64) {
            (SSH_ED25519, "") | ("", _) => Err(KeyError::Missing),
            (SSH_ED25519, _) => {
                let blob = Base64::decode_vec(base64).map_err(|_| KeyError::Base64)?;
                Ok((PublicKey::from_blob(&blob)?, comment.to_owned()))
            }
            _ => Err(KeyError::algorithm(algorithm.as_bytes())),
        }
    }

    /// The `.pub` line of this key, without a newline. Control characters in `comment` become
    /// spaces, so that a line stays one line; those at its ends go, so that it is read back as it
    /// stands.
    pub fn to_line(&self, comment: &str) -> String {
        let comment = comment.replace(char::is_control, " ");
        let line =
            format!("{SSH_ED25519} {} {}", Base64::encode_string(&self.blob()), comment.trim());
        line.trim_end().to_owned()
    }

    /// `SHA256:` and the hash of the blob, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.blob())
    }

    /// This key as it stands in messages: the algorithm's name and 32 bytes.
    pub fn blob(&self) -> Vec<u8> {
        tagged(&self.0)
    }

    /// The 32 bytes alone.
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `signature`, a blob of RFC 8709 §6, is this key's over `message`. A number S that is
    /// not below the order of the base point is refused (RFC 8032 §5.1.7), and so is a small R.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let signature = Signature::from_bytes(&untagged(signature)?);
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| KeyError::Weak)?;
        key.verify_strict(message, &signature).map_err(|_| KeyError::Signature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PublicKey({})", self.fingerprint())
    }
}

/// `SHA256:` and the hash of the blob of a key, of whatever algorithm.
pub(crate) fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", Base64Unpadded::encode_string(&Sha256::digest(blob)))
}

/// A key or a signature with its algorithm's name before it.
pub(super) fn tagged(value: &[u8]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(4 + SSH_ED25519.len() + 4 + value.len());
    put_string(&mut blob, SSH_ED25519.as_bytes());
    put_string(&mut blob, value);
    blob
}

/// What [`tagged`] made, if it is of our algorithm and nothing else is with it.
fn untagged<const N: usize>(blob: &[u8]) -> Result<[u8; N], KeyError> {
    let mut reader = Reader::new(blob);
    let algorithm = reader.string()?;
    if algorithm != SSH_ED25519.as_bytes() {
        return Err(KeyError::algorithm(algorithm));
    }
    let value = reader.string()?;
    reader.finish()?;
    value.try_into().map_err(|_| KeyError::Length { got: value.len(), expected: N })
}

/// The first word of a line, and what follows the blanks behind it.
fn first_word(line: &str) -> (&str, &str) {
    let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    (word, rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hex;
    use crate::ssh::keys::KeyPair;
    use crate::ssh::wire::WireError;

    /// The order of the base point, least significant byte first (RFC 8032 §5.1).
    const L: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

    fn pair() -> KeyPair {
        KeyPair::from_seed([7; 32])
    }

    /// The same signature with a multiple of L added to S: what a lax verifier takes for another.
    fn add_order(signature: &[u8], times: usize) -> Option<Vec<u8>> {
        let mut sum = signature.to_vec();
        let start = sum.len() - 32;
        for _ in 0..times {
            let mut carry = 0;
            for (byte, order) in sum[start..].iter_mut().zip(hex::bytes(L)) {
                carry += u16::from(*byte) + u16::from(order);
                *byte = carry.to_le_bytes()[0];
                carry >>= 8;
            }
            if carry != 0 {
                return None;
            }
        }
        Some(sum)
    }

    /// RFC 8032 §7.1, tests 1 to 3.
    #[test]
    fn signatures_are_those_of_rfc_8032() {
        for (seed, public, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                 5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                 085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
                 18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ] {
            let pair = KeyPair::from_seed(hex::bytes(seed).try_into().unwrap());
            assert_eq!(hex::text(pair.public().as_bytes()), public);
            let blob = pair.sign(&hex::bytes(message));
            assert_eq!(hex::text(untagged::<64>(&blob).unwrap().as_slice()), signature);
            assert_eq!(pair.public().verify(&hex::bytes(message), &blob), Ok(()));
        }
    }

    #[test]
    fn a_signature_is_for_one_key_and_one_message() {
        let signature = pair().sign(b"session 1");
        let other = KeyPair::from_seed([8; 32]);
        assert_eq!(pair().public().verify(b"session 1", &signature), Ok(()));
        let refused = Err(KeyError::Signature);
        assert_eq!(pair().public().verify(b"session 2", &signature), refused);
        assert_eq!(other.public().verify(b"session 1", &signature), refused);
    }

    #[test]
    fn a_signature_with_any_bit_changed_is_refused() {
        let good = pair().sign(b"message");
        for bit in 0..8 * good.len() {
            let mut signature = good.clone();
            signature[bit / 8] ^= 1 << (bit % 8);
            assert!(pair().public().verify(b"message", &signature).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_signature_of_another_shape_is_refused() {
        let good = pair().sign(b"message");
        let verify = |signature: &[u8]| pair().public().verify(b"message", signature);
        for cut in 0..good.len() {
            assert!(matches!(verify(&good[..cut]), Err(KeyError::Wire(_))), "cut at {cut}");
        }
        let longer = [&good[..], &[0]].concat();
        assert_eq!(verify(&longer), Err(KeyError::Wire(WireError::Trailing { bytes: 1 })));
        for got in [0, 63, 65] {
            let mut signature = Vec::new();
            put_string(&mut signature, SSH_ED25519.as_bytes());
            put_string(&mut signature, &vec![1; got]);
            assert_eq!(verify(&signature), Err(KeyError::Length { got, expected: 64 }));
        }
        for name in ["ssh-rsa", "ssh-ed25519 ", "SSH-ED25519", "ssh-ed448", ""] {
            let mut signature = Vec::new();
            put_string(&mut signature, name.as_bytes());
            put_string(&mut signature, &good[good.len() - 64..]);
            assert_eq!(verify(&signature), Err(KeyError::Algorithm(name.to_owned())));
        }
    }

    #[test]
    fn s_not_below_the_order_is_refused() {
        let good = pair().sign(b"message");
        assert_eq!(add_order(&good, 0).unwrap(), good);
        let mut sums = 0;
        for sum in (1..16).map_while(|times| add_order(&good, times)) {
            assert_eq!(pair().public().verify(b"message", &sum), Err(KeyError::Signature));
            sums += 1;
        }
        assert!(sums >= 14, "{sums}");
    }

    /// Every point of small order, and every encoding of one that is not its canonical one. With
    /// such a key, one signature would be good for many messages.
    #[test]
    fn small_and_ambiguous_points_are_no_keys() {
        let mut texts = vec![
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05".to_owned(),
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a".to_owned(),
        ];
        texts.extend((0..2).map(|first| format!("{first:02x}{}", "00".repeat(31))));
        // All of the 19 numbers from p up to 2^255, and p - 1, whose point has order 2.
        texts.extend((0xec..=0xff).map(|first| format!("{first:02x}{}7f", "ff".repeat(30))));
        for text in texts {
            for sign in [0, 0x80] {
                let mut bytes: [u8; 32] = hex::bytes(&text).try_into().unwrap();
                bytes[31] |= sign;
                assert_eq!(PublicKey::from_bytes(bytes), Err(KeyError::Weak), "{text}");
                assert_eq!(PublicKey::from_blob(&tagged(&bytes)), Err(KeyError::Weak), "{text}");
            }
        }
    }

    /// Half of all numbers are the height of no point.
    #[test]
    fn bytes_that_are_no_point_are_no_key() {
        let mut bytes = [0; 32];
        let points = (2..=255).filter(|first| {
            bytes[0] = *first;
            PublicKey::from_bytes(bytes).is_ok()
        });
        assert!((90..165).contains(&points.count()));
    }

    #[test]
    fn a_blob_is_of_our_algorithm_and_size_and_nothing_more() {
        let public = *pair().public();
        let blob = public.blob();
        assert_eq!(blob.len(), 51);
        assert_eq!(PublicKey::from_blob(&blob), Ok(public));
        for cut in 0..blob.len() {
            assert!(matches!(PublicKey::from_blob(&blob[..cut]), Err(KeyError::Wire(_))));
        }
        let longer = [&blob[..], &[0]].concat();
        assert!(PublicKey::from_blob(&longer).is_err());
        for index in 0..blob.len() {
            for value in (0..=u8::MAX).filter(|value| *value != blob[index]) {
                let mut changed = blob.clone();
                changed[index] = value;
                assert_ne!(PublicKey::from_blob(&changed), Ok(public));
            }
        }
        let mut rsa = Vec::new();
        put_string(&mut rsa, b"ssh-rsa");
        put_string(&mut rsa, public.as_bytes());
        assert_eq!(PublicKey::from_blob(&rsa), Err(KeyError::Algorithm("ssh-rsa".to_owned())));
        for got in [0, 31, 33] {
            let short = tagged(&vec![1; got]);
            let error = KeyError::Length { got, expected: 32 };
            assert_eq!(PublicKey::from_blob(&short), Err(error));
        }
    }

    #[test]
    fn a_line_comes_back_with_its_comment() {
        let public = *pair().public();
        for comment in ["", "someone@somewhere", "two words", "gr\u{fc}n  und blau"] {
            let line = public.to_line(comment);
            assert_eq!(PublicKey::parse_line(&line), Ok((public, comment.to_owned())));
            let spaced = format!("  {}\r\n", line.replacen(' ', " \t ", 1));
            assert_eq!(PublicKey::parse_line(&spaced), Ok((public, comment.to_owned())));
        }
        assert!(!public.to_line("").ends_with(' '));
    }

    #[test]
    fn a_comment_cannot_begin_a_line() {
        let line = pair().public().to_line("a\nssh-ed25519 b\0\x1b[0m\r\n");
        assert!(line.ends_with(" a ssh-ed25519 b  [0m"), "{line:?}");
        assert!(!line.contains(char::is_control));
    }

    #[test]
    fn a_written_line_is_read_and_written_again_the_same() {
        let public = *pair().public();
        for comment in ["a\u{e}", "\u{e}a", " \t a\0\n", "\0", "a \u{85}b"] {
            let line = public.to_line(comment);
            assert_eq!(line.trim_end(), line, "{comment:?}");
            let (again, read) = PublicKey::parse_line(&line).unwrap();
            assert_eq!((again, again.to_line(&read)), (public, line), "{comment:?}");
        }
    }

    #[test]
    fn what_is_no_line_of_a_key_is_refused() {
        let good = pair().public().to_line("c");
        let base64 = good.split(' ').nth(1).unwrap();
        let two = format!("{good}\n{good}");
        let long = format!("{good}{}", "c".repeat(SSH_KEY_FILE_BYTES_MAX));
        for (line, error) in [
            ("", KeyError::Missing),
            (" \n", KeyError::Missing),
            ("ssh-ed25519", KeyError::Missing),
            ("ssh-ed25519 ", KeyError::Missing),
            ("ssh-ed25519 \u{e9}", KeyError::Base64),
            (&format!("ssh-ed25519 {}", &base64[1..]), KeyError::Base64),
            (&format!("ssh-rsa {base64}"), KeyError::Algorithm("ssh-rsa".to_owned())),
            (base64, KeyError::Algorithm(base64[..64].to_owned())),
            (&two, KeyError::Lines),
            (&long, KeyError::Long { bytes: long.len(), max: SSH_KEY_FILE_BYTES_MAX }),
        ] {
            assert_eq!(PublicKey::parse_line(line), Err(error), "{line:?}");
        }
    }

    #[test]
    fn a_line_cut_or_changed_never_panics_and_never_gives_this_key() {
        let public = *pair().public();
        let good = public.to_line("");
        for cut in 0..good.len() {
            assert!(PublicKey::parse_line(&good[..cut]).is_err(), "cut at {cut}");
        }
        for index in 0..good.len() {
            for value in 0..=0x7f {
                let mut bytes = good.clone().into_bytes();
                bytes[index] = value;
                let line = String::from_utf8(bytes).unwrap();
                if let Ok((key, _)) = PublicKey::parse_line(&line) {
                    assert!(key != public || line.trim().replace('\t', " ") == good, "{line:?}");
                }
            }
        }
    }

    /// Hashed with Python's `hashlib`.
    #[test]
    fn a_fingerprint_is_the_hash_of_the_blob() {
        let fingerprint = pair().public().fingerprint();
        assert_eq!(fingerprint, "SHA256:z/fSv0Z0RZS+Lccbc6ZoOWwt/fbj1VFJGSBKQbo4icE");
        assert_eq!(format!("{:?}", pair().public()), format!("PublicKey({fingerprint})"));
    }
}
