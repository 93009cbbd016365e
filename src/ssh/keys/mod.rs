//! Keys: Ed25519 (RFC 8032) as SSH spells it (RFC 8709), and the files that hold them.
//!
//! A [`PublicKey`] is one that may be trusted with a verification: a canonical point whose order is
//! not small. A [`KeyPair`] is always made from its seed, whatever public half stood beside it, and
//! never prints. [`AuthorizedKeys`] says who may come in. Text and bytes in, text and bytes out:
//! the files themselves, their owners and modes are for the caller.

mod authorized;
mod openssh;
mod public;

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};
use zeroize::Zeroizing;

pub use authorized::{AuthorizedKey, AuthorizedKeys};
pub use public::PublicKey;
pub(crate) use public::fingerprint;

use super::wire::WireError;
use crate::limits::{SSH_KEY_OPTIONS_MAX, SSH_NAME_BYTES_MAX};

/// A secret key and its public half. Wiped when it is dropped.
pub struct KeyPair {
    secret: SigningKey,
    public: PublicKey,
}

impl KeyPair {
    /// The pair of this seed, which is wiped.
    ///
    /// # Panics
    /// On a seed of zeros: it comes from a source of entropy that does not work.
    pub fn from_seed(seed: [u8; 32]) -> KeyPair {
        KeyPair::try_from_seed(seed).expect("a seed from entropy is never all zeros")
    }

    /// Reads a private key file of OpenSSH. The comment in it is for people and is dropped.
    pub fn parse_openssh(file: &[u8]) -> Result<KeyPair, KeyError> {
        openssh::parse(file)
    }

    /// This pair as a private key file of OpenSSH, without a passphrase. `check` is a random number
    /// of no meaning, which the format holds twice.
    pub fn to_openssh(&self, comment: &str, check: u32) -> Zeroizing<String> {
        openssh::print(self, comment, check)
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature of `message` as RFC 8709 §6 spells it: the algorithm's name and 64 bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        public::tagged(&self.secret.sign(message).to_bytes())
    }

    fn try_from_seed(seed: [u8; 32]) -> Result<KeyPair, KeyError> {
        let seed = Zeroizing::new(seed);
        if *seed == [0; 32] {
            return Err(KeyError::SeedZero);
        }
        let secret = SigningKey::from_bytes(&seed);
        let public = PublicKey::from_bytes(secret.verifying_key().to_bytes())?;
        Ok(KeyPair { secret, public })
    }

    /// The seed and the public half behind it, as the private key file has them.
    fn halves(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.secret.to_keypair_bytes())
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyPair({}, ..)", self.public.fingerprint())
    }
}

/// What is wrong with a key, a signature or a file of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// A file or a line that is longer than its bound, in bytes.
    Long { bytes: usize, max: usize },
    /// More than one line where one key was expected.
    Lines,
    /// No key on the line, or none behind its type.
    Missing,
    /// A key or a signature of another algorithm; the start of its name.
    Algorithm(String),
    /// What should be Base64 is not.
    Base64,
    /// A blob whose values do not add up.
    Wire(WireError),
    /// A key or a signature of another size.
    Length {
        /// Its bytes.
        got: usize,
        /// The bytes of the algorithm.
        expected: usize,
    },
    /// A public key that is no point, not in the one encoding of its point, or of small order.
    Weak,
    /// A signature that this key did not make over this message.
    Signature,
    /// A file that does not begin or end as a private key of OpenSSH does.
    NotPrivateKey,
    /// A private key with a passphrase.
    Encrypted,
    /// A private key file with none or many keys.
    Count(u32),
    /// The two check numbers of a private key file differ.
    Check,
    /// The public half beside a secret key is not that of the secret.
    Halves,
    /// The padding of a private key file is not 1, 2, 3 and so on.
    Padding,
    /// A secret key of zeros.
    SeedZero,
    /// More than [`SSH_KEY_OPTIONS_MAX`] options before a key.
    OptionsMany,
    /// An option without a name, or with a character that no name has.
    OptionName,
    /// An option whose value is not in double quotes, or goes on behind them.
    OptionValue,
    /// A double quote that is never closed.
    OptionQuote,
}

impl KeyError {
    /// A name that a file or a peer gave, cut so that it can be shown.
    fn algorithm(name: &[u8]) -> KeyError {
        let shown = &name[..name.len().min(SSH_NAME_BYTES_MAX)];
        KeyError::Algorithm(String::from_utf8_lossy(shown).into_owned())
    }
}

impl From<WireError> for KeyError {
    fn from(error: WireError) -> KeyError {
        KeyError::Wire(error)
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Long { bytes, max } => write!(out, "{bytes} bytes, at most {max} are read"),
            KeyError::Lines => out.write_str("more than one line where one key was expected"),
            KeyError::Missing => out.write_str("no key on the line"),
            KeyError::Algorithm(name) => write!(out, "key type {name:?} is not ssh-ed25519"),
            KeyError::Base64 => out.write_str("key is not in base64"),
            KeyError::Wire(error) => write!(out, "key: {error}"),
            KeyError::Length { got, expected } => write!(out, "{got} bytes instead of {expected}"),
            KeyError::Weak => out.write_str("key is not a point of large order"),
            KeyError::Signature => out.write_str("signature does not verify"),
            KeyError::NotPrivateKey => out.write_str("not a private key file of openssh"),
            KeyError::Encrypted => out
                .write_str("private key has a passphrase; ssh-keygen -p -N '' -f FILE removes it"),
            KeyError::Count(keys) => write!(out, "{keys} keys in a private key file instead of 1"),
            KeyError::Check => out.write_str("check numbers of the private key differ"),
            KeyError::Halves => out.write_str("public half does not belong to the private key"),
            KeyError::Padding => out.write_str("padding of the private key is damaged"),
            KeyError::SeedZero => out.write_str("private key of zeros"),
            KeyError::OptionsMany => {
                write!(out, "more than {SSH_KEY_OPTIONS_MAX} options before a key")
            }
            KeyError::OptionName => out.write_str("malformed name of an option"),
            KeyError::OptionValue => out.write_str("option's value is not in double quotes"),
            KeyError::OptionQuote => out.write_str("double quote in the options is not closed"),
        }
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_prints_nothing_secret() {
        let pair = KeyPair::from_seed([7; 32]);
        let text = format!("{pair:?}");
        assert_eq!(text, format!("KeyPair({}, ..)", pair.public().fingerprint()));
    }

    #[test]
    fn a_seed_of_zeros_is_no_key() {
        assert_eq!(KeyPair::try_from_seed([0; 32]).unwrap_err(), KeyError::SeedZero);
    }

    #[test]
    fn a_name_in_an_error_is_short_and_harmless() {
        let text = KeyError::algorithm(&[0x1b; 1000]).to_string();
        assert!(text.len() < 500 && !text.contains('\x1b'), "{text}");
        let text = KeyError::algorithm(b"\xff\xfe").to_string();
        assert_eq!(text, "key type \"\u{fffd}\u{fffd}\" is not ssh-ed25519");
    }
}
