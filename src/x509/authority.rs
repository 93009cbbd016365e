//! The authority: a key, its own certificate, and the certificates that it issues.

use std::fmt;
use std::time::Duration;

use super::certificate::{Certificate, CertificateRole, Contents, Validity};
use super::error::X509Error;
use super::key::{KeyPair, PublicKey};
use super::name::{AltName, CommonName, DnsName};
use super::request::CertificateRequest;
use crate::base::rng::Rng;
use crate::base::time::Wall;
use crate::limits::{
    X509_AUTHORITY_LIFE, X509_BACKDATE, X509_LEAF_LIFE, X509_NAMES_MAX, X509_SERIAL_BYTES,
};

/// Who may issue: a certificate for that, and the key in it.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    /// A new one, whose life begins now.
    pub fn mint(now: Wall, rng: &mut Rng) -> Authority {
        let key = KeyPair::generate(rng);
        let number = u32::from_be_bytes(rng.bytes());
        let subject = CommonName::parse(&format!("convocate rsyslog CA {number:08x}"))
            .expect("these are 29 printable characters");
        let contents = Contents {
            serial: serial(rng),
            issuer: subject.clone(),
            subject,
            validity: span(now, X509_AUTHORITY_LIFE),
            key: key.public(),
            role: CertificateRole::Authority,
        };
        Authority { certificate: Certificate::sign(contents, &key), key }
    }

    /// The one whose certificate and key were kept.
    ///
    /// # Errors
    /// [`X509Error::Profile`] if the certificate is not an authority's own, and [`X509Error::Key`]
    /// if the key is not the one in it.
    pub(crate) fn load(certificate: Certificate, key: KeyPair) -> Result<Authority, X509Error> {
        if *certificate.role() != CertificateRole::Authority {
            return Err(X509Error::Profile("role"));
        }
        if *certificate.key() != key.public() {
            return Err(X509Error::Key);
        }
        if !certificate.is_signed_by(certificate.key()) {
            return Err(X509Error::Signature);
        }
        Ok(Authority { certificate, key })
    }

    /// Its certificate, for everybody to trust.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its key, to be kept by root alone.
    pub fn key(&self) -> &KeyPair {
        &self.key
    }

    /// A certificate for the collector of logs, which is dialled by any of `names`.
    ///
    /// # Errors
    /// [`IssueError`] if there are none or too many names, or the authority's life is over.
    pub fn issue_server(
        &self,
        key: &PublicKey,
        names: &[AltName],
        now: Wall,
        rng: &mut Rng,
    ) -> Result<Certificate, IssueError> {
        let subject = match names {
            _ if names.len() > X509_NAMES_MAX => return Err(IssueError::Names(names.len())),
            [] => return Err(IssueError::Names(0)),
            [AltName::Dns(name), ..] => name.common(),
            [AltName::Address(address), ..] => {
                CommonName::parse(&address.to_string()).expect("an address is short and printable")
            }
        };
        let issuer_key = self.key.public().id();
        self.issue(
            *key,
            subject,
            CertificateRole::Server { issuer_key, names: names.to_vec() },
            now,
            rng,
        )
    }

    /// A certificate for the agent `id`, which asked with `request`.
    ///
    /// # Errors
    /// [`IssueError`] if another name asks, or the authority's life is over.
    pub fn issue_client(
        &self,
        request: &CertificateRequest,
        id: &DnsName,
        now: Wall,
        rng: &mut Rng,
    ) -> Result<Certificate, IssueError> {
        let subject = id.common();
        if *request.subject() != subject {
            let got = request.subject().clone();
            return Err(IssueError::Asker { expected: id.clone(), got });
        }
        let issuer_key = self.key.public().id();
        self.issue(
            *request.key(),
            subject,
            CertificateRole::Client { issuer_key, name: id.clone() },
            now,
            rng,
        )
    }

    /// A certificate like `present`, which this authority or one before it has issued to an agent:
    /// for the same name and the same key, whose holder has proved it then.
    ///
    /// # Errors
    /// [`IssueError::Purpose`] if it is no agent's, [`IssueError::Ended`] if the authority's life
    /// is over.
    pub fn renew(
        &self,
        present: &Certificate,
        now: Wall,
        rng: &mut Rng,
    ) -> Result<Certificate, IssueError> {
        let CertificateRole::Client { name, .. } = present.role() else {
            return Err(IssueError::Purpose);
        };
        let issuer_key = self.key.public().id();
        let role = CertificateRole::Client { issuer_key, name: name.clone() };
        self.issue(*present.key(), name.common(), role, now, rng)
    }

    fn issue(
        &self,
        key: PublicKey,
        subject: CommonName,
        role: CertificateRole,
        now: Wall,
        rng: &mut Rng,
    ) -> Result<Certificate, IssueError> {
        let own = self.certificate.validity();
        if !own.contains(now) {
            return Err(IssueError::Ended(own.not_after));
        }
        let wanted = span(now, X509_LEAF_LIFE);
        let validity = Validity {
            not_before: wanted.not_before.max(own.not_before),
            not_after: wanted.not_after.min(own.not_after),
        };
        let issuer = self.certificate.subject().clone();
        let contents = Contents { serial: serial(rng), issuer, subject, validity, key, role };
        Ok(Certificate::sign(contents, &self.key))
    }
}

/// Why no certificate was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueError {
    /// The authority's own certificate has ended then, or has not begun.
    Ended(Wall),
    /// So many names for one server.
    Names(usize),
    /// What is to be renewed is for another purpose.
    Purpose,
    /// Somebody else asks.
    Asker { expected: DnsName, got: CommonName },
}

impl fmt::Display for IssueError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IssueError::Ended(end) => write!(
                out,
                "the authority's certificate ended {end}, or this machine's clock is wrong; \
                 make a new one with: convocate-host init-shell --rotate-ca"
            ),
            IssueError::Purpose => out.write_str("only an agent's certificate is renewed so"),
            IssueError::Names(0) => out.write_str("a server needs a name or an address"),
            IssueError::Names(count) => {
                write!(out, "a server has at most {X509_NAMES_MAX} names, and not {count}")
            }
            IssueError::Asker { expected, got } => {
                write!(out, "a certificate for {expected} was asked for by {got}")
            }
        }
    }
}

impl std::error::Error for IssueError {}

/// A life that begins a little before now.
fn span(now: Wall, life: Duration) -> Validity {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    Validity {
        not_before: Wall::new(now.seconds().saturating_sub(seconds(X509_BACKDATE)), 0),
        not_after: Wall::new(now.seconds().saturating_add(seconds(life)), 0),
    }
}

/// A random serial number that is positive and always of the same length: its first bit is clear,
/// and the next is set.
fn serial(rng: &mut Rng) -> [u8; X509_SERIAL_BYTES] {
    let mut serial: [u8; X509_SERIAL_BYTES] = rng.bytes();
    serial[0] = serial[0] & 0x3f | 0x40;
    serial
}
