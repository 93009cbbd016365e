//! A request for a certificate (PKCS#10, RFC 2986): a name, a key, and the proof that it is held.

use der::asn1::SetOfVec;
use der::{Decode, Encode};

use super::certificate::{common_name, name, signature_algorithm};
use super::error::X509Error;
use super::key::{KeyPair, PublicKey};
use super::name::CommonName;
use super::pem;
use super::schema::{RequestInfo, SignedRequest};
use crate::limits::X509_DER_BYTES_MAX;

/// A request whose signature was right. It asks for nothing: what a certificate holds is for the
/// authority to say, which only takes the key from here, and the name to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    pub(super) der: Vec<u8>,
    subject: CommonName,
    key: PublicKey,
}

impl CertificateRequest {
    /// Asks for a certificate of `subject`'s for the public half of `key`.
    pub fn new(subject: &CommonName, key: &KeyPair) -> CertificateRequest {
        let info = RequestInfo {
            version: 0,
            subject: name(subject),
            key: key.public().to_info(),
            attributes: SetOfVec::new(),
        };
        let to_sign = info.to_der().expect("a request is short");
        let signature = key.sign(&to_sign);
        let signed = SignedRequest { info, algorithm: signature_algorithm(), signature };
        let der = signed.to_der().expect("a request is short");
        CertificateRequest { der, subject: subject.clone(), key: key.public() }
    }

    /// Reads a request and checks that whoever made it holds the key.
    ///
    /// # Errors
    /// [`X509Error`] if it is damaged, of another kind than ours, or signed with another key.
    pub(crate) fn parse_der(der: &[u8]) -> Result<CertificateRequest, X509Error> {
        if der.len() > X509_DER_BYTES_MAX {
            return Err(X509Error::Long { bytes: der.len(), max: X509_DER_BYTES_MAX });
        }
        let signed = SignedRequest::from_der(der).map_err(|_| X509Error::Der)?;
        if signed.algorithm != signature_algorithm() {
            return Err(X509Error::Profile("signature algorithm"));
        }
        if signed.info.version != 0 || !signed.info.attributes.is_empty() {
            return Err(X509Error::Profile("version or list of attributes"));
        }
        let subject = common_name(&signed.info.subject)?;
        let key = PublicKey::from_info(&signed.info.key)?;
        let to_sign = signed.info.to_der().map_err(|_| X509Error::Der)?;
        if !key.verifies(&to_sign, &signed.signature) {
            return Err(X509Error::Signature);
        }
        Ok(CertificateRequest { der: der.to_vec(), subject, key })
    }

    /// [`CertificateRequest::parse_der`] for the only request in a text.
    ///
    /// # Errors
    /// As there, and if there is none or more than one.
    pub(crate) fn parse_pem(text: &str) -> Result<CertificateRequest, X509Error> {
        CertificateRequest::parse_der(&pem::parse_one(text, pem::REQUEST)?)
    }

    /// The request as text.
    pub fn to_pem(&self) -> String {
        pem::print(pem::REQUEST, &self.der)
    }

    pub(crate) fn subject(&self) -> &CommonName {
        &self.subject
    }

    /// The key to certify.
    pub(crate) fn key(&self) -> &PublicKey {
        &self.key
    }
}
