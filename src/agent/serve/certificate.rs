//! The certificate of the host's logs, as far as the agent has to do with it: it tells the shell
//! host which one is there, and takes another one from it.
//!
//! The files that rsyslog reads are root's, and the agent is not. So it puts what it was given into
//! its own directory, where a unit of systemd finds it and has `convocate-agent
//! install-certificate` look at it as root. This way is the SSH connection on tcp/222, so a
//! certificate that has ended is renewed like any other.

use serde_json::{Value, json};

use crate::io::disk::{self, Links};
use crate::limits::X509_PEM_BYTES_MAX;
use crate::paths::Paths;
use crate::rpc::call::{Call, RenewCertificate};
use crate::rpc::response::Answer;
use crate::x509::Certificate;

/// Answers a call that is about the certificate.
pub(super) fn answer(paths: &Paths, call: &Call) -> Option<Answer> {
    match call {
        Call::Certificate => Some(present(paths)),
        Call::RenewCertificate(renewal) => Some(take(paths, renewal)),
        _ => None,
    }
}

fn present(paths: &Paths) -> Answer {
    match disk::read_bounded(&paths.agent_tls().certificate(), X509_PEM_BYTES_MAX, Links::Refuse) {
        Ok(bytes) => Ok(json!({ "certificate": String::from_utf8_lossy(&bytes) })),
        Err(error) if error.is_missing() => Ok(json!({ "certificate": null })),
        Err(error) => Err(error.to_string()),
    }
}

fn take(paths: &Paths, renewal: &RenewCertificate) -> Answer {
    let certificate = Certificate::parse_pem(&renewal.certificate)
        .map_err(|error| format!("the certificate is unfit: {error}"))?;
    let pem = certificate.to_pem();
    disk::write_atomic(&paths.agent_renewed_certificate(), pem.as_bytes(), 0o600)
        .map_err(|error| error.to_string())?;
    Ok(Value::Null)
}
