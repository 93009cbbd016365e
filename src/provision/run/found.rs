//! What stands on this machine that a plan depends on.

use std::path::Path;

use zeroize::Zeroizing;

use crate::io::disk::{self, Links};
use crate::limits::{AGENTS_MAX, CONFIG_FILE_BYTES_MAX, CONFIG_LINE_BYTES_MAX, X509_PEM_BYTES_MAX};
use crate::paths::Paths;
use crate::provision::authority;
use crate::provision::log_user::LogUser;
use crate::provision::logs::{LogAgent, LogToken};
use crate::provision::order::Account;
use crate::rpc::agent_id::AgentId;

/// A text file; `None` if there is none.
///
/// # Errors
/// One sentence, if it cannot be read.
pub fn text(path: &Path, limit: usize) -> Result<Option<Zeroizing<String>>, String> {
    match disk::read_bounded(path, limit, Links::Refuse) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(_) => Err(format!("{} is no text", path.display())),
        },
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// The files of the log authority.
///
/// # Errors
/// One sentence, if one cannot be read.
pub fn authority(paths: &Paths) -> Result<authority::Found, String> {
    let files = paths.log_authority();
    let read = |path: &Path| text(path, X509_PEM_BYTES_MAX);
    let public = |path: &Path| Ok::<_, String>(read(path)?.map(|text| text.to_string()));
    Ok(authority::Found {
        authorities: public(&files.authorities())?,
        key: read(&files.key())?,
        server_certificate: public(&files.server_certificate())?,
        server_key: read(&files.server_key())?,
    })
}

/// The agents whose logs are collected: those whose secret is there.
///
/// # Errors
/// One sentence, if the registry cannot be read.
pub fn log_agents(paths: &Paths) -> Result<Vec<LogAgent>, String> {
    let directory = paths.agent_keys();
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("cannot read {}: {error}", directory.display())),
    };
    let mut agents = Vec::new();
    for entry in entries.flatten().take(AGENTS_MAX) {
        let Ok(id) = AgentId::parse(&entry.file_name().to_string_lossy()) else { continue };
        let path = paths.agent_entry(id.as_str()).log_token();
        let token = text(&path, CONFIG_LINE_BYTES_MAX)?.and_then(|text| LogToken::parse(&text));
        agents.extend(token.map(|token| LogAgent { id, token }));
    }
    Ok(agents)
}

/// As whom rsyslogd runs, or will when it is installed.
///
/// # Errors
/// One sentence, if its settings cannot be read.
pub fn log_user(paths: &Paths) -> Result<LogUser, String> {
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
