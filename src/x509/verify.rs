//! Whether a certificate is good: for a purpose, of a name, from an authority, now.
//!
//! It is asked before a certificate is installed and when one is shown. At the collector's door the
//! TLS library decides, with the same answers.

use std::fmt;

use super::certificate::{Certificate, CertificateRole, Validity};
use super::key::KeyId;
use super::name::{AltName, CommonName};
use crate::base::time::Wall;

/// What a certificate should be good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CertificatePurpose<'a> {
    /// To collect logs at this name or address.
    Server(&'a AltName),
    /// To send logs as this agent.
    Client(&'a AltName),
}

/// Why a certificate is not good. The first reason found: issuer, signature, time, purpose, name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CertificateRefusal {
    /// None of the trusted authorities issued it.
    Issuer {
        /// Who it says did.
        name: CommonName,
        /// With which key; an authority's own certificate says none.
        key: Option<KeyId>,
    },
    /// The authority that it names did not sign it.
    Signature(CommonName),
    /// It, or the authority's certificate, is not valid now.
    Time {
        /// Whose life it is.
        subject: CommonName,
        validity: Validity,
    },
    /// It is for something else.
    Purpose,
    /// It is of another name.
    Name {
        /// The name that was looked for.
        expected: AltName,
        got: CommonName,
    },
}

/// Whether `certificate` is good for `purpose` at `now`, by one of `authorities`.
///
/// # Errors
/// [`CertificateRefusal`], if not.
pub(crate) fn verify(
    certificate: &Certificate,
    authorities: &[Certificate],
    purpose: &CertificatePurpose<'_>,
    now: Wall,
) -> Result<(), CertificateRefusal> {
    let issuer = issuer_of(certificate, authorities).ok_or_else(|| CertificateRefusal::Issuer {
        name: certificate.issuer().clone(),
        key: certificate.role().issuer_key(),
    })?;
    if !certificate.is_signed_by(issuer.key()) {
        return Err(CertificateRefusal::Signature(issuer.subject().clone()));
    }
    for part in [issuer, certificate] {
        if !part.validity().contains(now) {
            let subject = part.subject().clone();
            return Err(CertificateRefusal::Time { subject, validity: part.validity() });
        }
    }
    check_purpose(certificate, purpose)
}

/// The authority that a certificate names, by name and by key.
fn issuer_of<'a>(
    certificate: &Certificate,
    authorities: &'a [Certificate],
) -> Option<&'a Certificate> {
    let named = certificate.role().issuer_key()?;
    authorities.iter().find(|authority| {
        *authority.role() == CertificateRole::Authority
            && authority.subject() == certificate.issuer()
            && authority.key().id() == named
    })
}

fn check_purpose(
    certificate: &Certificate,
    purpose: &CertificatePurpose<'_>,
) -> Result<(), CertificateRefusal> {
    let (is_named, expected) = match (purpose, certificate.role()) {
        (CertificatePurpose::Server(name), CertificateRole::Server { names, .. }) => {
            (names.contains(name), *name)
        }
        (CertificatePurpose::Client(expected), CertificateRole::Client { name, .. }) => {
            (**expected == AltName::Dns(name.clone()), *expected)
        }
        _ => return Err(CertificateRefusal::Purpose),
    };
    if is_named {
        return Ok(());
    }
    Err(CertificateRefusal::Name { expected: expected.clone(), got: certificate.subject().clone() })
}

impl fmt::Display for CertificateRefusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateRefusal::Issuer { name, .. } => {
                write!(out, "issued by {name}, which is not trusted")
            }
            CertificateRefusal::Signature(name) => {
                write!(out, "not signed by {name}, which it names")
            }
            CertificateRefusal::Time { subject, validity } => write!(
                out,
                "the certificate of {subject} is valid from {} to {}, and not now",
                validity.not_before, validity.not_after
            ),
            CertificateRefusal::Purpose => out.write_str("the certificate is for another purpose"),
            CertificateRefusal::Name { expected, got } => {
                write!(out, "the certificate is of {got}, and not of {expected}")
            }
        }
    }
}

impl std::error::Error for CertificateRefusal {}
