//! Bounds of certificates for the log channel.

use std::time::Duration;

/// A certificate or a request in DER: one of ours has some 500 bytes and a name adds a few.
pub(crate) const X509_DER_BYTES_MAX: usize = 8 * 1024;
/// A file of certificates, requests or keys: during a rotation it has two of them.
pub(crate) const X509_PEM_BYTES_MAX: usize = 32 * 1024;
/// Certificates in one file: an authority and the one before it.
pub(crate) const X509_PEM_BLOCKS_MAX: usize = 2;
/// Names and addresses of one server.
pub(crate) const X509_NAMES_MAX: usize = 32;
/// Characters of a common name (RFC 5280, upper bound `ub-common-name`).
pub(crate) const X509_COMMON_NAME_CHARS_MAX: usize = 64;
/// Bytes of a serial number: 126 random bits, and within the 20 of RFC 5280 §4.1.2.2.
pub(crate) const X509_SERIAL_BYTES: usize = 16;
/// The life of an authority: longer than a machine's.
pub(crate) const X509_AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// The life of a server's or a client's certificate.
pub(crate) const X509_LEAF_LIFE: Duration = Duration::from_secs(365 * 86_400);
/// How far back a certificate begins, for the clock of a machine that runs behind.
pub(crate) const X509_BACKDATE: Duration = Duration::from_secs(5 * 60);
/// Days before the end from which everybody who looks is warned.
pub(crate) const X509_WARN_DAYS: i64 = 30;

const _: () = assert!(X509_LEAF_LIFE.as_secs() * 2 < X509_AUTHORITY_LIFE.as_secs());
const _: () = assert!(X509_SERIAL_BYTES * 8 > 64 && X509_SERIAL_BYTES <= 20);
const _: () = assert!(
    X509_LEAF_LIFE.as_secs() / 3 > X509_WARN_DAYS as u64 * 86_400,
    "renewal comes before the warning"
);
