//! What is on disk when the agent starts: sessions, locks, drafts of homes and locks that never
//! became whole, and homes of deleted sessions.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use crate::agent::config::FoundSession;
use crate::agent::lock::{FoundLock, LockFile, LockOwner};
use crate::base::sorted_map::SortedMap;
use crate::base::uuid::Uuid;
use crate::io::disk::{self, Links};
use crate::io::process::ProcessWatch;
use crate::limits::{LOCK_FILE_BYTES_MAX, SESSION_FILE_BYTES_MAX, SESSIONS_MAX};
use crate::paths::{DRAFT_PREFIX, LOCK_SUFFIX, Paths, REMAINS_PREFIX};

/// What one look at the directory of homes gave.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Sessions, at most [`SESSIONS_MAX`].
    pub(super) found: Vec<FoundSession>,
    /// Homes that are nobody's any more, and are to be erased.
    pub(super) remains: BTreeSet<Uuid>,
    /// What was left alone or could not be removed, a sentence each.
    pub(super) notes: Vec<String>,
}

/// Looks, and sets drafts aside: a large one takes long to erase. `owner` is this process.
///
/// # Errors
/// When the directory of homes cannot be read.
pub(super) fn scan(paths: &Paths, owner: &LockOwner) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut seen: SortedMap<Uuid, (bool, bool)> = SortedMap::new();
    for entry in fs::read_dir(paths.sessions())? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(Ok(id)) = name.strip_prefix(DRAFT_PREFIX).map(Uuid::parse) {
            let draft = paths.session_draft(id);
            if scan.note(disk::rename_new(&draft, &paths.session_remains(id))) {
                scan.remains.insert(id);
            }
        } else if let Some(Ok(id)) = name.strip_prefix(REMAINS_PREFIX).map(Uuid::parse) {
            scan.remains.insert(id);
        } else if is_torn_lock(name) {
            scan.note(disk::remove_tree(&paths.sessions().join(name)));
        } else if let Some(Ok(id)) = name.strip_suffix(LOCK_SUFFIX).map(Uuid::parse) {
            seen.or_insert_with(id, Default::default).1 = true;
        } else if let Ok(id) = Uuid::parse(name) {
            seen.or_insert_with(id, Default::default).0 = true;
        }
    }
    if seen.len() > SESSIONS_MAX {
        let left = seen.len() - SESSIONS_MAX;
        scan.notes.push(format!("{left} sessions beyond the first {SESSIONS_MAX} are left alone"));
    }
    for (id, (has_home, has_lock)) in seen.into_iter().take(SESSIONS_MAX) {
        let metadata = if has_home { metadata(paths, id) } else { Err("home is missing".into()) };
        let lock = has_lock.then(|| lock(paths, id, owner));
        scan.found.push(FoundSession { id, metadata, lock });
    }
    Ok(scan)
}

impl Scan {
    /// Says whether it went well.
    fn note(&mut self, cleared: Result<(), disk::DiskError>) -> bool {
        if let Err(error) = &cleared {
            self.notes.push(format!("unfinished work is left: {error}"));
        }
        cleared.is_ok()
    }
}

/// `.<id>.lock.<random>.tmp`: a lock that was being written when the agent was killed.
fn is_torn_lock(name: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".tmp"));
    let lock = inner.and_then(|inner| inner.rsplit_once('.')).map(|(lock, _)| lock);
    lock.and_then(|lock| lock.strip_suffix(LOCK_SUFFIX)).is_some_and(|id| Uuid::parse(id).is_ok())
}

fn metadata(paths: &Paths, id: Uuid) -> Result<Vec<u8>, String> {
    disk::read_bounded(&paths.session_file(id), SESSION_FILE_BYTES_MAX, Links::Refuse)
        .map_err(|error| error.to_string())
}

fn lock(paths: &Paths, id: Uuid, owner: &LockOwner) -> FoundLock {
    let content = disk::read_bounded(&paths.session_lock(id), LOCK_FILE_BYTES_MAX, Links::Refuse)
        .unwrap_or_default();
    let is_alive = LockFile::parse(&content).is_some_and(|file| is_alive(&file, owner));
    FoundLock { content, is_alive }
}

fn is_alive(file: &LockFile, owner: &LockOwner) -> bool {
    let is_other = file.pid != owner.pid;
    is_other && file.boot == owner.boot && matches!(ProcessWatch::open(file.pid), Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lock_in_the_making_is_torn() {
        let id = "01234567-89ab-4def-8123-456789abcdef";
        assert!(is_torn_lock(&format!(".{id}.lock.5fbf467e13760ffe.tmp")));
        for name in [id.to_owned(), format!("{id}.lock"), ".x.lock.1.tmp".into(), ".tmp".into()] {
            assert!(!is_torn_lock(&name), "{name}");
        }
    }
}
