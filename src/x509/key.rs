//! Keys of the curve P-256, their signatures, and the file that holds a secret one (RFC 5958).

use std::fmt;

use der::asn1::BitString;
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::error::X509Error;
use super::oid;
use super::pem;
use super::schema::{KeyAlgorithm, SubjectPublicKeyInfo};
use crate::base::rng::Rng;

/// A secret key and its public half. Wiped when it is dropped, and never printed.
pub struct KeyPair {
    secret: SigningKey,
}

/// A point of the curve, with which signatures are checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// The identifier of a public key: the first 160 bits of its point's SHA-256 (RFC 7093 §2, method
/// 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId(pub(super) [u8; 20]);

impl KeyPair {
    /// A new pair. Of 2^32 tries of 32 bytes, one is no key and is made again.
    pub fn generate(rng: &mut Rng) -> KeyPair {
        loop {
            let mut scalar: [u8; 32] = rng.bytes();
            let secret = SigningKey::from_slice(&scalar);
            scalar.zeroize();
            if let Ok(secret) = secret {
                return KeyPair { secret };
            }
        }
    }

    /// Reads a PKCS#8 file without a passphrase.
    ///
    /// # Errors
    /// [`X509Error`] if it is damaged or of another curve.
    pub(crate) fn parse_pem(text: &str) -> Result<KeyPair, X509Error> {
        let der = pem::parse_one(text, pem::PRIVATE_KEY)?;
        let secret = p256::SecretKey::from_pkcs8_der(&der).map_err(|_| X509Error::Key)?;
        Ok(KeyPair { secret: secret.into() })
    }

    /// The pair as a PKCS#8 file, to be written where only its owner reads it.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let secret = p256::SecretKey::from(&self.secret);
        let der = secret.to_pkcs8_der().expect("a key of 32 bytes fits any length");
        Zeroizing::new(pem::print(pem::PRIVATE_KEY, der.as_bytes()))
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(*self.secret.verifying_key())
    }

    /// The signature of `message` (RFC 3279 §2.2.3), the same one each time (RFC 6979).
    pub(super) fn sign(&self, message: &[u8]) -> BitString {
        let signature: Signature = self.secret.sign(message);
        BitString::from_bytes(signature.to_der().as_bytes()).expect("a signature is short")
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyPair({:?}, ..)", self.public())
    }
}

impl PublicKey {
    pub fn id(&self) -> KeyId {
        let hash = Sha256::digest(self.point());
        let mut id = [0; 20];
        id.copy_from_slice(&hash[..20]);
        KeyId(id)
    }

    /// Whether the secret half signed `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &BitString) -> bool {
        let bytes = signature.as_bytes().unwrap_or_default();
        Signature::from_der(bytes).is_ok_and(|it| self.0.verify(message, &it).is_ok())
    }

    pub(super) fn from_info(info: &SubjectPublicKeyInfo) -> Result<PublicKey, X509Error> {
        if info.algorithm != algorithm() {
            return Err(X509Error::Profile("kind of key"));
        }
        let point = info.key.as_bytes().ok_or(X509Error::Key)?;
        let key = VerifyingKey::from_sec1_bytes(point).map_err(|_| X509Error::Key)?;
        Ok(PublicKey(key))
    }

    pub(super) fn to_info(self) -> SubjectPublicKeyInfo {
        let key = BitString::from_bytes(&self.point()).expect("a point is short");
        SubjectPublicKeyInfo { algorithm: algorithm(), key }
    }

    /// The point, uncompressed (RFC 5480 §2.2).
    fn point(&self) -> Vec<u8> {
        self.0.to_sec1_point(false).as_bytes().to_vec()
    }
}

/// Hexadecimal with colons, as OpenSSL shows it.
impl fmt::Display for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<String> = self.0.iter().map(|byte| format!("{byte:02X}")).collect();
        out.write_str(&bytes.join(":"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PublicKey({})", self.id())
    }
}

fn algorithm() -> KeyAlgorithm {
    KeyAlgorithm { oid: oid::EC_PUBLIC_KEY, curve: oid::SECP256R1 }
}
