//! Reads the registry's files.

use std::path::Path;

use crate::base::uuid::Uuid;
use crate::fleet::listing::LocalHome;
use crate::fleet::registry::{EntryFiles, FileContent, Registry};
use crate::io::clock::wall_from_system;
use crate::io::disk::{Links, SecretPolicy, read_bounded, read_secret};
use crate::limits::{
    AGENT_HOST_BYTES_MAX, AGENTS_MAX, SESSION_FILE_BYTES_MAX, SESSIONS_MAX, SSH_KEY_FILE_BYTES_MAX,
};
use crate::paths::Paths;

/// All agents that are known below these paths. Without the directory there are none.
///
/// # Errors
/// The directory cannot be read, or has too many entries: one sentence.
pub(crate) fn load(paths: &Paths) -> Result<Registry, String> {
    let directory = paths.agent_keys();
    let failed = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                "; only claude may read it: run `sudo -u claude convocate`, or log in as claude"
            }
            _ => "",
        };
        format!("cannot read {}: {error}{hint}", directory.display())
    };
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Registry::default());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || !entry.path().is_dir() {
            continue;
        }
        if files.len() == AGENTS_MAX {
            return Err(format!("{} has more than {AGENTS_MAX} agents", directory.display()));
        }
        files.push(read_entry(paths, name));
    }
    Ok(Registry::parse(files))
}

fn read_entry(paths: &Paths, name: String) -> EntryFiles {
    // A name from a directory listing is one path component, whatever else it may be.
    let entry = paths.agent_entry(&name);
    let secret = read_secret(
        &entry.shell_to_agent_key(),
        SSH_KEY_FILE_BYTES_MAX,
        SecretPolicy::ServiceGroup,
    );
    EntryFiles {
        host: read(&entry.host(), AGENT_HOST_BYTES_MAX + 1),
        host_key: read(&entry.host_key(), SSH_KEY_FILE_BYTES_MAX),
        key: secret.map(|bytes| bytes.to_vec()).map_err(|error| error.to_string()),
        name,
        entry,
    }
}

/// The session directories on this host, whosever they are. What cannot be looked at is left out.
pub(crate) fn local_homes(paths: &Paths) -> Vec<LocalHome> {
    let Ok(entries) = std::fs::read_dir(paths.sessions()) else { return Vec::new() };
    let homes = entries.flatten().filter_map(|entry| {
        let id = Uuid::parse(entry.file_name().to_str()?).ok()?;
        let found = entry.metadata().ok().filter(std::fs::Metadata::is_dir)?;
        let changed = found.modified().map(wall_from_system).unwrap_or_default();
        let metadata = [paths.session_record(id), paths.session_proposal(id)]
            .iter()
            .find_map(|path| read_bounded(path, SESSION_FILE_BYTES_MAX, Links::Refuse).ok());
        let session = metadata.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Some(LocalHome { id, session, changed })
    });
    homes.take(SESSIONS_MAX).collect()
}

fn read(path: &Path, limit: usize) -> FileContent {
    read_bounded(path, limit, Links::Follow).map_err(|error| error.to_string())
}
