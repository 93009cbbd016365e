//! A certificate of the profile, to DER and back.
//!
//! [`Contents`] is all that may differ from one certificate to the next. Everything else follows
//! from the [`CertificateRole`], so reading is: take the contents out, write them again, and
//! compare.

use std::net::IpAddr;
use std::time::Duration;

use der::asn1::{
    BitString, GeneralizedTime, Ia5String, ObjectIdentifier, OctetString, SetOfVec, Uint, UtcTime,
};
use der::{Decode, Encode};

use super::error::X509Error;
use super::key::{KeyId, KeyPair, PublicKey};
use super::name::{AltName, CommonName, DnsName};
use super::schema::{
    Attribute, AuthorityKeyIdentifier, BasicConstraints, Extension, GeneralName, Name,
    SignatureAlgorithm, SignedCertificate, TbsCertificate, Time, TimeSpan,
};
use super::{oid, pem};
use crate::base::time::Wall;
use crate::limits::{X509_DER_BYTES_MAX, X509_NAMES_MAX, X509_PEM_BLOCKS_MAX, X509_SERIAL_BYTES};

/// Version 3 is written as 2 (RFC 5280 §4.1.2.1).
const VERSION_3: u8 = 2;
/// From this year on a time is a GeneralizedTime (RFC 5280 §4.1.2.5).
const GENERALIZED_FROM_YEAR: i64 = 2050;
/// The last time that can be written, in seconds since 1970.
const YEAR_9999_LAST_SECOND: i64 = 253_402_300_799;
/// The bit `digitalSignature`, and those that are unused behind it (RFC 5280 §4.2.1.3).
const DIGITAL_SIGNATURE: (u8, u8) = (7, 0x80);
/// The bits `keyCertSign` and `cRLSign`.
const SIGNS_CERTIFICATES: (u8, u8) = (1, 0x06);

/// A certificate, as bytes and as what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    pub(super) contents: Contents,
    signature: BitString,
}

/// What one certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    /// Positive, and of the same length always.
    pub(super) serial: [u8; X509_SERIAL_BYTES],
    pub(super) issuer: CommonName,
    pub(super) subject: CommonName,
    pub(super) validity: Validity,
    pub(super) key: PublicKey,
    pub(super) role: CertificateRole,
}

/// What a certificate is for, and what it holds for that alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateRole {
    /// It signs the others, and itself.
    Authority,
    /// The collector of logs, at the shell host.
    Server {
        issuer_key: KeyId,
        /// What the host is dialled by: one at least.
        names: Vec<AltName>,
    },
    /// An agent that sends logs.
    Client { issuer_key: KeyId, name: DnsName },
}

/// From when to when, both included, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub(crate) not_before: Wall,
    pub(crate) not_after: Wall,
}

impl Certificate {
    /// Signs `contents` with the issuer's key.
    pub(super) fn sign(contents: Contents, key: &KeyPair) -> Certificate {
        let tbs = contents.to_tbs();
        let signature = key.sign(&tbs.to_der().expect("a certificate is short"));
        let signed = SignedCertificate {
            tbs,
            algorithm: signature_algorithm(),
            signature: signature.clone(),
        };
        let der = signed.to_der().expect("a certificate is short");
        Certificate { der, contents, signature }
    }

    /// Reads a certificate that was made here. Who signed it is not looked at.
    ///
    /// # Errors
    /// [`X509Error`] if it is damaged, or in any byte not of the profile.
    pub(crate) fn parse_der(der: &[u8]) -> Result<Certificate, X509Error> {
        if der.len() > X509_DER_BYTES_MAX {
            return Err(X509Error::Long { bytes: der.len(), max: X509_DER_BYTES_MAX });
        }
        let signed = SignedCertificate::from_der(der).map_err(|_| X509Error::Der)?;
        let contents = Contents::from_tbs(&signed.tbs)?;
        let ours = SignedCertificate {
            tbs: contents.to_tbs(),
            algorithm: signature_algorithm(),
            signature: signed.signature.clone(),
        };
        if ours.to_der().map_err(|_| X509Error::Der)? != der {
            return Err(X509Error::Profile("set of extensions"));
        }
        Ok(Certificate { der: der.to_vec(), contents, signature: signed.signature })
    }

    /// [`Certificate::parse_der`] for the only certificate in a text.
    ///
    /// # Errors
    /// As there, and if there is none or more than one.
    pub fn parse_pem(text: &str) -> Result<Certificate, X509Error> {
        Certificate::parse_der(&pem::parse_one(text, pem::CERTIFICATE)?)
    }

    /// All certificates of a text, of which there are one to [`X509_PEM_BLOCKS_MAX`].
    ///
    /// # Errors
    /// As [`Certificate::parse_der`], for the first that is wrong.
    pub(crate) fn parse_all_pem(text: &str) -> Result<Vec<Certificate>, X509Error> {
        let blocks = pem::parse(text, pem::CERTIFICATE, X509_PEM_BLOCKS_MAX)?;
        blocks.iter().map(|der| Certificate::parse_der(der)).collect()
    }

    /// The certificate as text.
    pub fn to_pem(&self) -> String {
        pem::print(pem::CERTIFICATE, &self.der)
    }

    /// The certificate as bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    pub fn subject(&self) -> &CommonName {
        &self.contents.subject
    }

    pub(crate) fn issuer(&self) -> &CommonName {
        &self.contents.issuer
    }

    pub fn validity(&self) -> Validity {
        self.contents.validity
    }

    pub fn key(&self) -> &PublicKey {
        &self.contents.key
    }

    /// What it is for.
    pub fn role(&self) -> &CertificateRole {
        &self.contents.role
    }

    /// Whether `key` signed it.
    pub(super) fn is_signed_by(&self, key: &PublicKey) -> bool {
        let tbs = self.contents.to_tbs().to_der();
        tbs.is_ok_and(|tbs| key.verifies(&tbs, &self.signature))
    }
}

impl Contents {
    fn to_tbs(&self) -> TbsCertificate {
        TbsCertificate {
            version: VERSION_3,
            serial: Uint::new(&self.serial).expect("a serial number is short"),
            signature: signature_algorithm(),
            issuer: name(&self.issuer),
            validity: self.validity.to_span(),
            subject: name(&self.subject),
            key: self.key.to_info(),
            extensions: self.role.extensions(self.key.id()),
        }
    }

    fn from_tbs(tbs: &TbsCertificate) -> Result<Contents, X509Error> {
        let serial = tbs.serial.as_bytes().try_into();
        Ok(Contents {
            serial: serial.map_err(|_| X509Error::Profile("serial number"))?,
            issuer: common_name(&tbs.issuer)?,
            subject: common_name(&tbs.subject)?,
            validity: Validity::from_span(tbs.validity)?,
            key: PublicKey::from_info(&tbs.key)?,
            role: CertificateRole::from_extensions(&tbs.extensions)?,
        })
    }
}

impl CertificateRole {
    /// The key of whoever issued it; an authority does not name its own.
    pub(crate) fn issuer_key(&self) -> Option<KeyId> {
        match self {
            CertificateRole::Authority => None,
            CertificateRole::Server { issuer_key, .. }
            | CertificateRole::Client { issuer_key, .. } => Some(*issuer_key),
        }
    }

    fn extensions(&self, key: KeyId) -> Vec<Extension> {
        let key = extension(oid::SUBJECT_KEY_IDENTIFIER, false, &octets(&key.0));
        match self {
            CertificateRole::Authority => {
                let constraints = BasicConstraints { authority: true, path_length: Some(0) };
                vec![
                    extension(oid::BASIC_CONSTRAINTS, true, &constraints),
                    extension(oid::KEY_USAGE, true, &usage(SIGNS_CERTIFICATES)),
                    key,
                ]
            }
            CertificateRole::Server { issuer_key, names } => {
                let names = names.iter().map(general_name).collect();
                leaf_extensions(oid::SERVER_AUTH, names, key, *issuer_key)
            }
            CertificateRole::Client { issuer_key, name } => {
                let names = vec![general_name(&AltName::Dns(name.clone()))];
                leaf_extensions(oid::CLIENT_AUTH, names, key, *issuer_key)
            }
        }
    }

    /// Takes out what differs; that the rest is as it must be shows when it is written again.
    fn from_extensions(extensions: &[Extension]) -> Result<CertificateRole, X509Error> {
        let Some(purposes) = find::<Vec<ObjectIdentifier>>(extensions, oid::EXT_KEY_USAGE)? else {
            return Ok(CertificateRole::Authority);
        };
        let names: Vec<GeneralName> =
            find(extensions, oid::SUBJECT_ALT_NAME)?.ok_or(X509Error::Profile("list of names"))?;
        if names.is_empty() || names.len() > X509_NAMES_MAX {
            return Err(X509Error::Profile("list of names"));
        }
        let names = names.iter().map(alt_name).collect::<Result<Vec<AltName>, X509Error>>()?;
        let issuer: AuthorityKeyIdentifier = find(extensions, oid::AUTHORITY_KEY_IDENTIFIER)?
            .ok_or(X509Error::Profile("authority's key identifier"))?;
        let issuer_key = issuer.key.as_bytes().try_into().map(KeyId);
        let issuer_key =
            issuer_key.map_err(|_| X509Error::Profile("authority's key identifier"))?;
        match (purposes.as_slice(), names.as_slice()) {
            ([oid::SERVER_AUTH], _) => Ok(CertificateRole::Server { issuer_key, names }),
            ([oid::CLIENT_AUTH], [AltName::Dns(name)]) => {
                Ok(CertificateRole::Client { issuer_key, name: name.clone() })
            }
            _ => Err(X509Error::Profile("purpose")),
        }
    }
}

impl Validity {
    /// Whether `now` is within it.
    pub(crate) fn contains(&self, now: Wall) -> bool {
        self.not_before.seconds() <= now.seconds() && now.seconds() <= self.not_after.seconds()
    }

    fn to_span(self) -> TimeSpan {
        TimeSpan { not_before: time(self.not_before), not_after: time(self.not_after) }
    }

    fn from_span(span: TimeSpan) -> Result<Validity, X509Error> {
        Ok(Validity { not_before: wall(span.not_before)?, not_after: wall(span.not_after)? })
    }
}

/// The algorithm of every signature; it stands outside and inside of what is signed.
pub(super) fn signature_algorithm() -> SignatureAlgorithm {
    SignatureAlgorithm { oid: oid::ECDSA_WITH_SHA256 }
}

/// A distinguished name that is a common name alone.
pub(super) fn name(common: &CommonName) -> Name {
    let attribute = Attribute { oid: oid::COMMON_NAME, value: common.as_str().to_owned() };
    vec![SetOfVec::from_iter([attribute]).expect("one attribute is in order")]
}

/// The common name of a distinguished name that has nothing else.
pub(super) fn common_name(name: &Name) -> Result<CommonName, X509Error> {
    let [set] = name.as_slice() else { return Err(X509Error::Profile("name")) };
    match set.as_slice() {
        [attribute] if attribute.oid == oid::COMMON_NAME => {
            Ok(CommonName::parse(&attribute.value)?)
        }
        _ => Err(X509Error::Profile("name")),
    }
}

fn leaf_extensions(
    purpose: ObjectIdentifier,
    names: Vec<GeneralName>,
    key: Extension,
    issuer: KeyId,
) -> Vec<Extension> {
    let issuer = AuthorityKeyIdentifier { key: octets(&issuer.0) };
    vec![
        extension(oid::KEY_USAGE, true, &usage(DIGITAL_SIGNATURE)),
        extension(oid::EXT_KEY_USAGE, false, &vec![purpose]),
        extension(oid::SUBJECT_ALT_NAME, false, &names),
        key,
        extension(oid::AUTHORITY_KEY_IDENTIFIER, false, &issuer),
    ]
}

fn extension(oid: ObjectIdentifier, critical: bool, value: &impl Encode) -> Extension {
    let value = value.to_der().expect("an extension is short");
    Extension { oid, critical, value: octets(&value) }
}

/// The value of an extension, decoded.
fn find<T: for<'a> Decode<'a>>(
    extensions: &[Extension],
    oid: ObjectIdentifier,
) -> Result<Option<T>, X509Error> {
    let found = extensions.iter().find(|extension| extension.oid == oid);
    found
        .map(|extension| T::from_der(extension.value.as_bytes()).map_err(|_| X509Error::Der))
        .transpose()
}

fn octets(bytes: &[u8]) -> OctetString {
    OctetString::new(bytes).expect("what a certificate holds is short")
}

fn usage((unused, bits): (u8, u8)) -> BitString {
    BitString::new(unused, [bits]).expect("the unused bits are zero")
}

fn general_name(name: &AltName) -> GeneralName {
    match name {
        AltName::Dns(name) => {
            GeneralName::Dns(Ia5String::new(name.as_str()).expect("a host name is ASCII"))
        }
        AltName::Address(IpAddr::V4(address)) => GeneralName::Address(octets(&address.octets())),
        AltName::Address(IpAddr::V6(address)) => GeneralName::Address(octets(&address.octets())),
    }
}

fn alt_name(name: &GeneralName) -> Result<AltName, X509Error> {
    match name {
        GeneralName::Dns(name) => Ok(AltName::Dns(DnsName::parse(name.as_str())?)),
        GeneralName::Address(bytes) => {
            let v4 = <[u8; 4]>::try_from(bytes.as_bytes()).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(bytes.as_bytes()).map(IpAddr::from);
            let address = v4.or(v6).map_err(|_| X509Error::Profile("list of names"))?;
            Ok(AltName::Address(address))
        }
    }
}

/// A time as RFC 5280 wants it. A clock that shows no year of 1970 to 9999 is cut to those.
fn time(wall: Wall) -> Time {
    let seconds = wall.seconds().clamp(0, YEAR_9999_LAST_SECOND);
    let since = Duration::from_secs(seconds.unsigned_abs());
    let general = || GeneralizedTime::from_unix_duration(since).map(Time::General);
    let time = if wall.civil().0 < GENERALIZED_FROM_YEAR {
        UtcTime::from_unix_duration(since).map(Time::Utc)
    } else {
        general()
    };
    time.expect("the year is one of 1970 to 9999")
}

fn wall(time: Time) -> Result<Wall, X509Error> {
    let since = match time {
        Time::Utc(time) => time.to_unix_duration(),
        Time::General(time) => time.to_unix_duration(),
    };
    let seconds = i64::try_from(since.as_secs()).map_err(|_| X509Error::Profile("validity"))?;
    Ok(Wall::new(seconds, 0))
}
