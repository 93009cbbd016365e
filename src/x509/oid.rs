//! Every object identifier of the profile, with where it is defined.

use der::asn1::ObjectIdentifier as Oid;

/// `id-ecPublicKey` (RFC 5480 §2.1.1).
pub(super) const EC_PUBLIC_KEY: Oid = Oid::new_unwrap("1.2.840.10045.2.1");
/// `secp256r1`, the curve P-256 (RFC 5480 §2.1.1.1).
pub(super) const SECP256R1: Oid = Oid::new_unwrap("1.2.840.10045.3.1.7");
/// `ecdsa-with-SHA256`, which has no parameters (RFC 5758 §3.2).
pub(super) const ECDSA_WITH_SHA256: Oid = Oid::new_unwrap("1.2.840.10045.4.3.2");
/// `id-at-commonName` (RFC 5280 §A.1).
pub(super) const COMMON_NAME: Oid = Oid::new_unwrap("2.5.4.3");
/// `id-ce-subjectKeyIdentifier` (RFC 5280 §4.2.1.2).
pub(super) const SUBJECT_KEY_IDENTIFIER: Oid = Oid::new_unwrap("2.5.29.14");
/// `id-ce-keyUsage` (RFC 5280 §4.2.1.3).
pub(super) const KEY_USAGE: Oid = Oid::new_unwrap("2.5.29.15");
/// `id-ce-subjectAltName` (RFC 5280 §4.2.1.6).
pub(super) const SUBJECT_ALT_NAME: Oid = Oid::new_unwrap("2.5.29.17");
/// `id-ce-basicConstraints` (RFC 5280 §4.2.1.9).
pub(super) const BASIC_CONSTRAINTS: Oid = Oid::new_unwrap("2.5.29.19");
/// `id-ce-authorityKeyIdentifier` (RFC 5280 §4.2.1.1).
pub(super) const AUTHORITY_KEY_IDENTIFIER: Oid = Oid::new_unwrap("2.5.29.35");
/// `id-ce-extKeyUsage` (RFC 5280 §4.2.1.12).
pub(super) const EXT_KEY_USAGE: Oid = Oid::new_unwrap("2.5.29.37");
/// `id-kp-serverAuth` (RFC 5280 §4.2.1.12).
pub(super) const SERVER_AUTH: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.3.1");
/// `id-kp-clientAuth` (RFC 5280 §4.2.1.12).
pub(super) const CLIENT_AUTH: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.3.2");
