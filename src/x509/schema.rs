//! The ASN.1 of RFC 5280 and RFC 2986, as far as the profile goes, in their own names.
//!
//! Shapes only: what the values must be is said in `certificate` and `request`.

use der::asn1::{
    Any, BitString, GeneralizedTime, Ia5String, ObjectIdentifier, OctetString, SetOfVec, Uint,
    UtcTime,
};
use der::{Choice, Sequence, ValueOrd};

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct SignedCertificate {
    pub(super) tbs: TbsCertificate,
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) signature: BitString,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct TbsCertificate {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    pub(super) version: u8,
    pub(super) serial: Uint,
    pub(super) signature: SignatureAlgorithm,
    pub(super) issuer: Name,
    pub(super) validity: TimeSpan,
    pub(super) subject: Name,
    pub(super) key: SubjectPublicKeyInfo,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    pub(super) extensions: Vec<Extension>,
}

/// An `AlgorithmIdentifier` without parameters.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct SignatureAlgorithm {
    pub(super) oid: ObjectIdentifier,
}

/// An `AlgorithmIdentifier` with a named curve as its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct KeyAlgorithm {
    pub(super) oid: ObjectIdentifier,
    pub(super) curve: ObjectIdentifier,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct SubjectPublicKeyInfo {
    pub(super) algorithm: KeyAlgorithm,
    pub(super) key: BitString,
}

pub(super) type Name = Vec<SetOfVec<Attribute>>;

/// An `AttributeTypeAndValue` whose value is a UTF8String.
#[derive(Clone, Debug, PartialEq, Eq, Sequence, ValueOrd)]
pub(super) struct Attribute {
    pub(super) oid: ObjectIdentifier,
    pub(super) value: String,
}

/// The `Validity` of RFC 5280.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Sequence)]
pub(super) struct TimeSpan {
    pub(super) not_before: Time,
    pub(super) not_after: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub(super) enum Time {
    #[asn1(type = "UTCTime")]
    Utc(UtcTime),
    #[asn1(type = "GeneralizedTime")]
    General(GeneralizedTime),
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct Extension {
    pub(super) oid: ObjectIdentifier,
    #[asn1(default = "Default::default")]
    pub(super) critical: bool,
    pub(super) value: OctetString,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct BasicConstraints {
    #[asn1(default = "Default::default")]
    pub(super) authority: bool,
    #[asn1(optional = "true")]
    pub(super) path_length: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct AuthorityKeyIdentifier {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    pub(super) key: OctetString,
}

#[derive(Clone, Debug, PartialEq, Eq, Choice)]
pub(super) enum GeneralName {
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", constructed = "false")]
    Dns(Ia5String),
    #[asn1(context_specific = "7", tag_mode = "IMPLICIT", constructed = "false")]
    Address(OctetString),
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct SignedRequest {
    pub(super) info: RequestInfo,
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) signature: BitString,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct RequestInfo {
    pub(super) version: u8,
    pub(super) subject: Name,
    pub(super) key: SubjectPublicKeyInfo,
    /// None are asked for: the authority alone says what a certificate holds. The field itself is
    /// not optional (RFC 2986 §4.1).
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", constructed = "true")]
    pub(super) attributes: SetOfVec<Any>,
}
