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

pub(crate) const INSTALL_CERTIFICATE: Command = Command {
    name: "install-certificate",
    summary: "install a renewed certificate for logs, if it is valid",
    operands: &[],
    flags: &[ROOT],
    help: "\
Not for people: convocate-certificate.path runs it when the shell host has sent the
agent a certificate. It installs the certificate if the authority that this host trusts
issued it to this agent for the key of this host, and if it does not expire before the
installed one.
",
    run: install_certificate,
};

fn install_certificate(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = installed_paths(parsed)?;
    let sent = paths.agent_renewed_certificate();
    let accepted = accepted(&paths, &sent);
    // Valid or not, it is not looked at again.
    disk::remove_file(&sent).map_err(|error| Failure::Failed(error.to_string()))?;
    let certificate = accepted.map_err(|why| {
        Failure::Failed(format!("the certificate that was sent is not taken: {why}"))
    })?;
    let pem = certificate.to_pem();
    disk::write_atomic(&paths.agent_tls().certificate(), pem.as_bytes(), PUBLIC_FILE.1)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let days = days_left(certificate.validity(), Clock::new().wall());
    out.text(&format!("the certificate for logs is valid for {days} days"))?;
    Ok(Exit::Done)
}

fn accepted(paths: &Paths, sent: &Path) -> Result<Certificate, String> {
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
