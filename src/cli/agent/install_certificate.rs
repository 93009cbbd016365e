//! `convocate-agent install-certificate`: root's part of a renewal on an agent's host.

use std::path::Path;

use crate::cli::command::{Command, Parsed};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::ROOT;
use crate::cli::this_host::installed_paths;
use crate::exit::Exit;
use crate::io::clock::Clock;
use crate::io::disk;
use crate::limits::{CONFIG_LINE_BYTES_MAX, X509_PEM_BYTES_MAX};
use crate::paths::{PUBLIC_FILE, Paths};
use crate::provision::logs::renewal::Present;
use crate::provision::run::found;
use crate::x509::Certificate;
use crate::x509::life::days_left;

/// `install-certificate`.
pub(crate) const INSTALL_CERTIFICATE: Command = Command {
    name: "install-certificate",
    summary: "put a renewed certificate for logs in its place, if it is one",
    operands: &[],
    flags: &[ROOT],
    help: "\
Is not for people: convocate-certificate.path runs it when the shell host has sent the
agent a certificate. It is taken if the authority that is trusted here issued it to this
agent for the key that is here, and if it does not end before the one that is here.
",
    run: install_certificate,
};

fn install_certificate(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = installed_paths(parsed, "convocate-agent install-certificate")?;
    let sent = paths.agent_renewed_certificate();
    let taken = taken(&paths, &sent);
    // Whatever it was, it is not looked at again.
    disk::remove_file(&sent).map_err(|error| Failure::Failed(error.to_string()))?;
    let certificate = taken.map_err(|why| {
        Failure::Failed(format!("the certificate that was sent is not taken: {why}"))
    })?;
    let pem = certificate.to_pem();
    disk::write_atomic(&paths.agent_tls().certificate(), pem.as_bytes(), PUBLIC_FILE.1)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let days = days_left(certificate.validity(), Clock::new().wall());
    out.text(&format!("the certificate of the logs is good for {days} days"))?;
    Ok(Exit::Done)
}

fn taken(paths: &Paths, sent: &Path) -> Result<Certificate, String> {
    let tls = paths.agent_tls();
    let need = |path: &Path, limit| {
        found::text(path, limit)?.ok_or_else(|| format!("{} is not here", path.display()))
    };
    let sent = need(sent, X509_PEM_BYTES_MAX)?;
    let id = need(&paths.agent_id(), CONFIG_LINE_BYTES_MAX)?;
    let authorities = need(&tls.authorities(), X509_PEM_BYTES_MAX)?;
    let key = need(&tls.key(), X509_PEM_BYTES_MAX)?;
    let certificate = found::text(&tls.certificate(), X509_PEM_BYTES_MAX)?;
    let present = Present {
        id: id.trim(),
        authorities: &authorities,
        key: &key,
        certificate: certificate.as_ref().map(|text| text.as_str()),
    };
    present.takes(&sent, Clock::new().wall())
}
