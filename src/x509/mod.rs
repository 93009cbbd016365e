//! X.509: the private authority of a cluster, and the certificates that it issues for its logs.
//!
//! ECDSA on P-256 with SHA-256, and three kinds of certificate, each exactly one shape
//! ([`CertificateRole`]). What is read is held against that shape too: a certificate that we would
//! not have written byte for byte is refused, however well it verifies elsewhere. It is no general
//! X.509 library, and it knows no chains longer than one step. It never looks at a clock, a random
//! source or a file: time, randomness and text are handed in.
//!
//! A host makes a [`KeyPair`] and a [`CertificateRequest`]; the [`Authority`] answers with a
//! [`Certificate`]; the key never leaves its host. [`verify()`] says whether a certificate is good
//! for a purpose, at a time; [`life`] when to renew it, and [`rotation`] how one authority follows
//! another.
//!
//! RFC 5280 (certificates), RFC 2986 (requests), RFC 5480 and 5758 (keys and signatures on curves),
//! RFC 5958 (private keys), RFC 7468 (text), RFC 7093 (key identifiers).

mod authority;
mod certificate;
mod error;
mod key;
pub mod life;
mod name;
mod oid;
mod pem;
mod request;
pub mod rotation;
mod schema;
#[cfg(test)]
mod tests;
mod verify;

pub use authority::{Authority, IssueError};
pub use certificate::{Certificate, CertificateRole, Validity};
pub(crate) use error::X509Error;
pub use key::{KeyId, KeyPair, PublicKey};
pub use name::{AltName, CommonName, DnsName, NameError};
pub use request::CertificateRequest;
pub(crate) use verify::{CertificatePurpose, verify};
