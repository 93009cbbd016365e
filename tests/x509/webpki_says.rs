//! The verifier of Rust's TLS stack, with the arithmetic of `p256` lent to it.

use std::time::Duration;

use convocate::base::time::Wall;
use convocate::x509::{Authority, Certificate};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, ServerName,
    SignatureVerificationAlgorithm, UnixTime, alg_id,
};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

use crate::files::{AGENT, EXPIRED, Files, LATER, NOW, OTHER_AGENT, SERVER, SERVER_NUMBER};

#[derive(Debug)]
struct EcdsaP256;

impl SignatureVerificationAlgorithm for EcdsaP256 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        key.verify(message, &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA256
    }
}

/// Whether `leaf` is good for `usage` under `name`.
fn ask(
    authority: &Authority,
    leaf: &Certificate,
    usage: KeyUsage,
    name: &str,
    now: Wall,
) -> Result<(), Error> {
    let authority = CertificateDer::from(authority.certificate().der());
    let anchor = anchor_from_trusted_cert(&authority)?;
    let leaf = CertificateDer::from(leaf.der());
    let leaf = EndEntityCert::try_from(&leaf)?;
    let since = Duration::from_secs(now.seconds().unsigned_abs());
    let now = UnixTime::since_unix_epoch(since);
    leaf.verify_for_usage(&[&EcdsaP256], &[anchor], &[], now, usage, None, None)?;
    leaf.verify_is_valid_for_subject_name(&ServerName::try_from(name).expect("a name"))
}

#[test]
fn webpki_has_nothing_to_say() {
    let files = Files::new("webpki");
    let (client, server) = (KeyUsage::client_auth, KeyUsage::server_auth);
    let own = &files.authority;
    for now in [NOW, LATER] {
        assert_eq!(ask(own, &files.client, client(), AGENT, now), Ok(()));
        for name in [SERVER, "shell", SERVER_NUMBER, "fd00::1"] {
            assert_eq!(ask(own, &files.server, server(), name, now), Ok(()));
        }
    }
    let wrong_authority = ask(&files.stranger, &files.client, client(), AGENT, LATER);
    assert_eq!(wrong_authority, Err(Error::UnknownIssuer));
    let expired = ask(own, &files.client, client(), AGENT, EXPIRED);
    assert!(matches!(expired, Err(Error::CertExpired { .. })), "{expired:?}");
    let foreign = ask(own, &files.client, client(), OTHER_AGENT, LATER);
    assert!(matches!(foreign, Err(Error::CertNotValidForName(_))), "{foreign:?}");
    let as_server = ask(own, &files.client, server(), AGENT, LATER);
    assert!(matches!(as_server, Err(Error::RequiredEkuNotFoundContext(_))), "{as_server:?}");
}
