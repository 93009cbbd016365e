//! What stands on this machine that a plan depends on.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use zeroize::Zeroizing;

use super::docker::DockerEngine;
use crate::docker::call;
use crate::io::disk::{self, Links};
use crate::io::{machine, signals};
use crate::limits::{
    AGENTS_MAX, CONFIG_FILE_BYTES_MAX, CONFIG_LINE_BYTES_MAX, VM_COUNT_MAX, X509_PEM_BYTES_MAX,
};
use crate::paths::{DOCKER_SOCKET, Paths};
use crate::provision::logs::authority;
use crate::provision::logs::rsyslog::{LogAgent, LogToken};
use crate::provision::order::Account;
use crate::provision::plan::log_user::LogUser;
use crate::provision::plan::units::SESSION_RULES;
use crate::provision::ship::messages::inspected;
use crate::rpc::agent_id::AgentId;
use crate::x509::Certificate;

/// A text file; `None` if there is none.
///
/// # Errors
/// One sentence, if it cannot be read.
pub(crate) fn text(path: &Path, limit: usize) -> Result<Option<Zeroizing<String>>, String> {
    match disk::read_bounded(path, limit, Links::Refuse) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(_) => Err(format!("{} is no text", path.display())),
        },
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// The layers of an image by their hashes, as JSON; `None` if the Engine of this machine does not
/// have it, or is not there.
pub(crate) fn image_layers(image: &str) -> Option<String> {
    let engine = DockerEngine { socket: PathBuf::from(DOCKER_SOCKET) };
    let found = engine.ask(&call::image_inspect(image)).and_then(inspected).ok()??;
    serde_json::to_string(&found.layers).ok()
}

/// Whether the kernel of this machine has what the rules for sessions need of nftables: they are
/// tried, without being loaded. Where the program is not there yet, or may not be asked, it may.
pub(crate) fn has_nftables() -> bool {
    let mut check = std::process::Command::new("nft");
    check.args(["--check", "--file", "-"]);
    check.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut nft) = check.spawn() else { return true };
    // A program that ends before it has read all of it has refused it.
    let _ended_early = nft.stdin.take().map(|mut rules| rules.write_all(SESSION_RULES.as_bytes()));
    nft.wait().map_or(true, |status| status.success()) || machine::uid() != 0
}

/// The files of the log authority.
///
/// # Errors
/// One sentence, if one cannot be read.
pub(crate) fn authority(paths: &Paths) -> Result<authority::AuthorityFiles, String> {
    let files = paths.log_authority();
    let read = |path: &Path| text(path, X509_PEM_BYTES_MAX);
    let public = |path: &Path| Ok::<_, String>(read(path)?.map(|text| text.to_string()));
    Ok(authority::AuthorityFiles {
        authorities: public(&files.authorities())?,
        key: read(&files.key())?,
        previous_key: read(&files.previous_key())?,
        server_certificate: public(&files.server_certificate())?,
        server_key: read(&files.server_key())?,
    })
}

/// The agents that this shell host knows.
///
/// # Errors
/// One sentence, if the registry cannot be read.
pub(crate) fn agents(paths: &Paths) -> Result<Vec<AgentId>, String> {
    let directory = paths.agent_keys();
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("cannot read {}: {error}", directory.display())),
    };
    let names = entries.flatten().take(AGENTS_MAX).map(|entry| entry.file_name());
    Ok(names.filter_map(|name| AgentId::parse(&name.to_string_lossy()).ok()).collect())
}

/// The agents whose logs are collected: those whose secret is there.
///
/// # Errors
/// One sentence, if the registry cannot be read.
pub(crate) fn log_agents(paths: &Paths) -> Result<Vec<LogAgent>, String> {
    let mut found = Vec::new();
    for id in agents(paths)? {
        let path = paths.agent_entry(id.as_str()).log_token();
        let token = text(&path, CONFIG_LINE_BYTES_MAX)?.and_then(|text| LogToken::parse(&text));
        found.extend(token.map(|token| LogAgent { id, token }));
    }
    Ok(found)
}

/// The certificate that was issued to each agent last; none where none is there, or it is no
/// certificate of ours.
///
/// # Errors
/// One sentence, if a file cannot be read.
pub(crate) fn agent_certificates(
    paths: &Paths,
) -> Result<Vec<(String, Option<Certificate>)>, String> {
    let mut found = Vec::new();
    for id in agents(paths)? {
        let path = paths.agent_entry(id.as_str()).log_certificate();
        let pem = text(&path, X509_PEM_BYTES_MAX)?;
        let certificate = pem.and_then(|pem| Certificate::parse_pem(&pem).ok());
        found.push((id.to_string(), certificate));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

/// The UUIDs of the machines that libvirt knows; none where there is no libvirt.
///
/// # Errors
/// One sentence, if there is one that does not answer.
pub(crate) fn machines() -> Result<Vec<String>, String> {
    if !["/usr/sbin/libvirtd", "/usr/sbin/virtqemud"].iter().any(|it| Path::new(it).exists()) {
        return Ok(Vec::new());
    }
    let list = virsh(&["list", "--all", "--uuid"])?;
    let ids = list.split_whitespace().take(VM_COUNT_MAX + 1).map(str::to_owned);
    let ids: Vec<String> = ids.collect();
    match ids.len() > VM_COUNT_MAX {
        true => Err(format!("there are more than {VM_COUNT_MAX} virtual machines here")),
        false => Ok(ids),
    }
}

/// What virsh says of the machines of the system.
///
/// # Errors
/// Its own complaint.
pub(crate) fn virsh(arguments: &[&str]) -> Result<String, String> {
    let mut call = std::process::Command::new("virsh");
    call.args(["--connect", "qemu:///system"]).args(arguments).env("LC_ALL", "C.UTF-8");
    signals::reset_in_child(&mut call);
    let done = call.stdin(Stdio::null()).output().map_err(|error| format!("virsh: {error}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
    }
}

/// As whom rsyslogd runs, or will when it is installed.
///
/// # Errors
/// One sentence, if its settings cannot be read.
pub(crate) fn log_user(paths: &Paths) -> Result<LogUser, String> {
    if let Some(settings) = text(&paths.rsyslog_settings(), CONFIG_FILE_BYTES_MAX)? {
        return Ok(LogUser::parse(&settings));
    }
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let is_ubuntu = release.lines().any(|line| line == "ID=ubuntu");
    let name = || "syslog".to_owned();
    Ok(match is_ubuntu {
        true => LogUser::Other(Account { user: name(), group: name() }),
        false => LogUser::Root,
    })
}
