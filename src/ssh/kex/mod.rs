//! The key exchange: public values in, a shared secret out.
//!
//! A client [starts](ClientExchange::start), sends [`ClientExchange::init`] and
//! [finishes](ClientExchange::finish) with the reply; a server [responds](respond). Both then hold
//! the same [`SharedSecret`], or different ones if somebody meddled, which the host's signature
//! over the [`exchange_hash`] shows. Nothing here knows messages, signatures or negotiation.
//!
//! The methods: X25519 (RFC 8731), and X25519 with ML-KEM-768 (draft-ietf-sshm-mlkem-hybrid-kex),
//! whose secret holds as long as either of the two does. A public value of the wrong length, one
//! that forces the X25519 secret to zero and an ML-KEM key with numbers out of range are refused. A
//! tampered ML-KEM ciphertext is not seen here: it gives another secret (FIPS 203 §6.3).

mod secret;

use std::fmt;

use curve25519_dalek::MontgomeryPoint;
use ml_kem::{Decapsulate, KeyExport, MlKem768};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::names;
use crate::base::rng::Rng;

pub use secret::{ExchangeHash, SharedSecret, derive_key, exchange_hash};

/// A public value of X25519.
const CURVE_BYTES: usize = 32;
/// An encapsulation key of ML-KEM-768 (FIPS 203 §8).
const KEM_KEY_BYTES: usize = 1184;
/// A ciphertext of ML-KEM-768 (FIPS 203 §8).
const KEM_CIPHERTEXT_BYTES: usize = 1088;

/// A secret or an agreed value of X25519.
type CurveSecret = Zeroizing<[u8; CURVE_BYTES]>;
type DecapsulationKey = ml_kem::DecapsulationKey<MlKem768>;
type EncapsulationKey = ml_kem::EncapsulationKey<MlKem768>;

/// A method as it is negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KexName {
    /// `mlkem768x25519-sha256`
    MlKem768X25519,
    /// `curve25519-sha256`
    Curve25519,
    /// `curve25519-sha256@libssh.org`: the same method by its first name.
    Curve25519LibSsh,
}

impl KexName {
    /// All of them, the most wanted first.
    pub const ALL: [KexName; 3] =
        [KexName::MlKem768X25519, KexName::Curve25519, KexName::Curve25519LibSsh];

    /// The method of this name.
    pub fn from_name(name: &str) -> Option<KexName> {
        KexName::ALL.into_iter().find(|kex| kex.name() == name)
    }

    /// Its name in a KEXINIT.
    pub fn name(self) -> &'static str {
        match self {
            KexName::MlKem768X25519 => names::MLKEM768X25519_SHA256,
            KexName::Curve25519 => names::CURVE25519_SHA256,
            KexName::Curve25519LibSsh => names::CURVE25519_SHA256_LIBSSH,
        }
    }
}

/// Why a public value is refused, by its sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KexError {
    /// A public value of another length than the method's.
    Length {
        /// Bytes that came.
        got: usize,
        /// Bytes of the method.
        expected: usize,
    },
    /// An X25519 value of low order: the secret would be zero, whoever computes it (RFC 8731 §3).
    LowOrder,
    /// An ML-KEM key that no key generation gives: numbers above the modulus (FIPS 203 §7.2).
    KemKey,
}

impl fmt::Display for KexError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KexError::Length { got, expected } => {
                write!(out, "public value of {got} bytes instead of {expected}")
            }
            KexError::LowOrder => out.write_str("x25519 public value of low order"),
            KexError::KemKey => out.write_str("ml-kem key with numbers above the modulus"),
        }
    }
}

impl std::error::Error for KexError {}

/// The client's side between its public value and the server's. It serves one exchange.
pub struct ClientExchange {
    init: Vec<u8>,
    secret: ClientSecret,
}

enum ClientSecret {
    Curve25519(CurveSecret),
    MlKem768X25519(Box<DecapsulationKey>, CurveSecret),
}

impl ClientExchange {
    /// New secrets from `rng`, and the public value for them.
    pub fn start(name: KexName, rng: &mut Rng) -> ClientExchange {
        let mut init = Vec::with_capacity(KEM_KEY_BYTES + CURVE_BYTES);
        let secret = match name {
            KexName::MlKem768X25519 => {
                let kem = Box::new(DecapsulationKey::from_seed(rng.bytes::<64>().into()));
                init.extend_from_slice(&kem.encapsulation_key().to_bytes());
                ClientSecret::MlKem768X25519(kem, put_curve(&mut init, rng))
            }
            KexName::Curve25519 | KexName::Curve25519LibSsh => {
                ClientSecret::Curve25519(put_curve(&mut init, rng))
            }
        };
        ClientExchange { init, secret }
    }

    /// What goes to the server: `Q_C`, or `C_INIT` of the hybrid.
    pub fn init(&self) -> &[u8] {
        &self.init
    }

    /// The secret that `reply` (`Q_S`, or `S_REPLY` of the hybrid) makes with ours, which are
    /// wiped.
    pub fn finish(self, reply: &[u8]) -> Result<SharedSecret, KexError> {
        match self.secret {
            ClientSecret::Curve25519(curve) => {
                let ([], theirs) = split(reply)?;
                Ok(SharedSecret::from_curve(&*agree(theirs, &curve)?))
            }
            ClientSecret::MlKem768X25519(kem, curve) => {
                let (ciphertext, theirs) = split::<KEM_CIPHERTEXT_BYTES>(reply)?;
                let classical = agree(theirs, &curve)?;
                let quantum = Zeroizing::new(kem.decapsulate(ciphertext.into()).into());
                Ok(SharedSecret::from_hybrid(&quantum, &classical))
            }
        }
    }
}

impl fmt::Debug for ClientExchange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ClientExchange(..)")
    }
}

/// The server's side, all of it: what goes to the client (`Q_S`, or `S_REPLY` of the hybrid) and
/// the secret that it makes with `init` (`Q_C`, or `C_INIT`).
pub fn respond(
    name: KexName,
    init: &[u8],
    rng: &mut Rng,
) -> Result<(Vec<u8>, SharedSecret), KexError> {
    match name {
        KexName::MlKem768X25519 => respond_hybrid(init, rng),
        KexName::Curve25519 | KexName::Curve25519LibSsh => {
            let ([], theirs) = split(init)?;
            let mut reply = Vec::with_capacity(CURVE_BYTES);
            let curve = put_curve(&mut reply, rng);
            Ok((reply, SharedSecret::from_curve(&*agree(theirs, &curve)?)))
        }
    }
}

fn respond_hybrid(init: &[u8], rng: &mut Rng) -> Result<(Vec<u8>, SharedSecret), KexError> {
    let (kem, theirs) = split::<KEM_KEY_BYTES>(init)?;
    let kem = EncapsulationKey::new(kem.into()).map_err(|_| KexError::KemKey)?;
    let entropy = Zeroizing::new(rng.bytes::<32>());
    let (ciphertext, quantum) = kem.encapsulate_deterministic((&*entropy).into());
    let quantum = Zeroizing::new(quantum.into());
    let mut reply = Vec::with_capacity(KEM_CIPHERTEXT_BYTES + CURVE_BYTES);
    reply.extend_from_slice(&ciphertext);
    let curve = put_curve(&mut reply, rng);
    Ok((reply, SharedSecret::from_hybrid(&quantum, &*agree(theirs, &curve)?)))
}

/// Takes a public value apart: what belongs to ML-KEM, none where the method has none, and the
/// point.
fn split<const KEM: usize>(value: &[u8]) -> Result<(&[u8; KEM], &[u8; CURVE_BYTES]), KexError> {
    let wrong = KexError::Length { got: value.len(), expected: KEM + CURVE_BYTES };
    let (kem, curve) = value.split_first_chunk().ok_or(wrong)?;
    Ok((kem, curve.try_into().map_err(|_| wrong)?))
}

/// A new X25519 secret; its public value goes behind what `out` holds.
fn put_curve(out: &mut Vec<u8>, rng: &mut Rng) -> CurveSecret {
    let secret = Zeroizing::new(rng.bytes());
    out.extend_from_slice(&MontgomeryPoint::mul_base_clamped(*secret).0);
    secret
}

/// The X25519 secret of `theirs` and `ours`. It is zero if and only if `theirs` has a low order.
fn agree(theirs: &[u8; CURVE_BYTES], ours: &CurveSecret) -> Result<CurveSecret, KexError> {
    let agreed = Zeroizing::new(MontgomeryPoint(*theirs).mul_clamped(**ours).0);
    match agreed.ct_eq(&[0; CURVE_BYTES]).into() {
        true => Err(KexError::LowOrder),
        false => Ok(agreed),
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::base::hex;

    fn rng(number: u8) -> Rng {
        Rng::from_seed([number; 32])
    }

    /// A whole exchange: the init, the reply, and the secret of each end.
    fn exchange(name: KexName, client: u8, server: u8) -> (Vec<u8>, Vec<u8>, [SharedSecret; 2]) {
        let client = ClientExchange::start(name, &mut rng(client));
        let init = client.init().to_vec();
        let (reply, ours) = respond(name, &init, &mut rng(server)).unwrap();
        let theirs = client.finish(&reply).unwrap();
        (init, reply, [theirs, ours])
    }

    /// Recomputed with OpenSSL's X25519, by way of Python's `cryptography`, from the same seeds.
    #[test]
    fn the_curve_agrees_with_another_library() {
        for name in [KexName::Curve25519, KexName::Curve25519LibSsh] {
            let (init, reply, secrets) = exchange(name, 1, 2);
            assert_eq!(
                hex::text(&init),
                "d53b9fea1dd4d570dbe38180767c236456ca6633f103f1aa0637e7b613d25274"
            );
            assert_eq!(
                hex::text(&reply),
                "c5c4aede10f07dc551ae692813183793bbcc96f56020f8e11dcb8e4824871338"
            );
            for secret in secrets {
                assert_eq!(
                    hex::text(secret.encoded()),
                    "0000002100f1a00deb2c0ccba8edadf29dfec42ca30299c625ebc65acf4895fe197d0f8c3e"
                );
            }
        }
    }

    /// Recomputed with OpenSSL's ML-KEM: key generation, and decapsulation of our ciphertext.
    #[test]
    fn the_hybrid_agrees_with_another_library() {
        let (init, reply, secrets) = exchange(KexName::MlKem768X25519, 1, 2);
        assert_eq!(init.len(), 1216);
        assert_eq!(
            hex::text(&Sha256::digest(&init)),
            "f2eed6db21e3cf0aed130d4b86b8ea06c83d7888a04522b65cecd2f4569fcbbd"
        );
        assert_eq!(reply.len(), 1120);
        assert_eq!(
            hex::text(&Sha256::digest(&reply)),
            "dd23aa431d594feb92b85275f0f7bf8f25cd79a2e0cddc57741ca2ade4d3a0f3"
        );
        for secret in secrets {
            assert_eq!(
                hex::text(secret.encoded()),
                "000000207534d18ed766ef97505faf512c278262184e4df4035c22762450f9a4405191bc"
            );
        }
    }

    /// The client goes on with the secret of FIPS 203's implicit rejection, as OpenSSL computes it.
    #[test]
    fn a_tampered_ciphertext_gives_another_secret() {
        let name = KexName::MlKem768X25519;
        let (_, reply, [good, _]) = exchange(name, 1, 2);
        for index in (0..KEM_CIPHERTEXT_BYTES).step_by(109) {
            let mut reply = reply.clone();
            reply[index] ^= 1;
            let secret = ClientExchange::start(name, &mut rng(1)).finish(&reply).unwrap();
            assert_ne!(secret.encoded(), good.encoded(), "byte {index}");
            if index == 0 {
                assert_eq!(
                    hex::text(secret.encoded()),
                    "00000020d584d6f60c1c52e9412c8a0a7d8019083ccc859ac6cffea0ec7b665950b7a123"
                );
            }
        }
    }

    /// Seeds whose X25519 output begins with a zero byte: once a digit below 0x80 follows, once
    /// not.
    #[test]
    fn leading_zeros_of_a_secret_are_not_hashed() {
        for (client, server, encoded) in [
            (39, 11, "0000001f611dd1ebc5b530ed76aebe4a2bd2789aed9b63f400beff4a90cd693c90f321"),
            (12, 3, "00000020008a4a6340e809b832e7b2f6fe6ff54fb3cac7fdb9c28744a391a1e810933d03"),
        ] {
            for secret in exchange(KexName::Curve25519, client, server).2 {
                assert_eq!(hex::text(secret.encoded()), encoded);
            }
        }
    }

    #[test]
    fn every_other_length_is_refused() {
        for name in KexName::ALL {
            let (init, reply, _) = exchange(name, 1, 2);
            for got in (0..init.len()).chain([init.len() + 1, 2 * init.len()]) {
                let value: Vec<u8> = init.iter().chain(&init).copied().take(got).collect();
                let error = KexError::Length { got, expected: init.len() };
                assert_eq!(respond(name, &value, &mut rng(2)).unwrap_err(), error);
            }
            for got in [0, 1, 31, reply.len() - 1, reply.len() + 1] {
                let value: Vec<u8> = reply.iter().chain(&reply).copied().take(got).collect();
                let client = ClientExchange::start(name, &mut rng(1));
                let error = KexError::Length { got, expected: reply.len() };
                assert_eq!(client.finish(&value).unwrap_err(), error);
            }
        }
    }

    /// All points whose order divides the cofactor, in each of their encodings.
    fn low_order_points() -> Vec<[u8; CURVE_BYTES]> {
        let mut points = Vec::new();
        for text in [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ] {
            let mut point: [u8; CURVE_BYTES] = hex::bytes(text).try_into().unwrap();
            points.push(point);
            point[31] |= 0x80;
            points.push(point);
        }
        points
    }

    #[test]
    fn points_of_low_order_are_refused() {
        for name in KexName::ALL {
            let (init, reply, _) = exchange(name, 1, 2);
            for point in low_order_points() {
                let mut weak = init.clone();
                weak[init.len() - CURVE_BYTES..].copy_from_slice(&point);
                let error = respond(name, &weak, &mut rng(2)).unwrap_err();
                assert_eq!(error, KexError::LowOrder, "{name:?} {point:?}");

                let mut weak = reply.clone();
                weak[reply.len() - CURVE_BYTES..].copy_from_slice(&point);
                let client = ClientExchange::start(name, &mut rng(1));
                assert_eq!(client.finish(&weak).unwrap_err(), KexError::LowOrder);
            }
        }
    }

    /// RFC 7748 §5.2, both vectors; the second has the bit set that must be ignored.
    #[test]
    fn the_curve_is_that_of_rfc_7748() {
        for (scalar, point, output) in [
            (
                "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
                "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
                "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
            ),
            (
                "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
                "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
                "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
            ),
        ] {
            let scalar = Zeroizing::new(hex::bytes(scalar).try_into().unwrap());
            let point = hex::bytes(point).try_into().unwrap();
            assert_eq!(hex::text(&*agree(&point, &scalar).unwrap()), output);
        }
    }

    /// Each of the 768 numbers of a key takes 12 bits, and only 3329 of the 4096 values are
    /// numbers.
    #[test]
    fn a_kem_key_with_numbers_above_the_modulus_is_refused() {
        let name = KexName::MlKem768X25519;
        let (init, ..) = exchange(name, 1, 2);
        let numbers = KEM_KEY_BYTES - 32;
        for first in [0, 3 * 100, numbers - 3] {
            for (low, accepted) in [(3328_u16, true), (3329, false), (4095, false)] {
                let mut init = init.clone();
                init[first] = (low & 0xff) as u8;
                init[first + 1] = init[first + 1] & 0xf0 | (low >> 8) as u8;
                let refused = respond(name, &init, &mut rng(2)).err();
                assert_eq!(refused, (!accepted).then_some(KexError::KemKey), "{first} {low}");
            }
        }
    }

    #[test]
    fn exchanges_of_different_seeds_share_nothing() {
        for name in KexName::ALL {
            let (init, reply, [secret, _]) = exchange(name, 1, 2);
            let (other_init, other_reply, [other_secret, _]) = exchange(name, 3, 4);
            assert_ne!(init, other_init);
            assert_ne!(reply, other_reply);
            assert_ne!(secret.encoded(), other_secret.encoded());
        }
    }

    #[test]
    fn names_lead_to_their_methods_and_secrets_do_not_print() {
        for name in KexName::ALL {
            assert_eq!(KexName::from_name(name.name()), Some(name));
            let client = ClientExchange::start(name, &mut rng(1));
            assert_eq!(format!("{client:?}"), "ClientExchange(..)");
        }
        assert_eq!(KexName::from_name("diffie-hellman-group14-sha256"), None);
        let (.., [secret, _]) = exchange(KexName::Curve25519, 1, 2);
        assert_eq!(format!("{secret:?}"), "SharedSecret(..)");
    }
}
