//! What is on disk when the agent starts: records, homes and locks of sessions, drafts of homes,
//! and locks and records that never became whole, and homes of deleted sessions.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::agent::config::{FoundMetadata, FoundSession};
use crate::base::sorted_map::SortedMap;
use crate::base::uuid::Uuid;
use crate::io::disk::{self, Links};
use crate::limits::{LOCK_FILE_BYTES_MAX, SESSION_FILE_BYTES_MAX, SESSIONS_MAX};
use crate::paths::{DRAFT_PREFIX, KEY_SUFFIX, LOCK_SUFFIX, Paths, RECORD_SUFFIX, REMAINS_PREFIX};

/// What one look at the directories of records and of homes gave.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Sessions, at most [`SESSIONS_MAX`].
    pub(super) found: Vec<FoundSession>,
    /// Homes that are nobody's any more, and are to be erased.
    pub(super) remains: BTreeSet<Uuid>,
    /// What was left alone or could not be removed, a sentence each.
    pub(super) notes: Vec<String>,
}

/// What there is of a session.
#[derive(Default)]
struct Seen {
    record: bool,
    home: bool,
    lock: bool,
}

/// Looks, and sets drafts aside: a large one takes long to erase.
///
/// # Errors
/// When a directory cannot be read.
pub(super) fn scan(paths: &Paths) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut seen: SortedMap<Uuid, Seen> = SortedMap::new();
    let mut keys = BTreeSet::new();
    for entry in fs::read_dir(paths.session_records())? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if is_torn(name, RECORD_SUFFIX) || is_torn(name, KEY_SUFFIX) {
            scan.note(disk::remove_file(&paths.session_records().join(name)));
        } else if let Some(Ok(id)) = name.strip_suffix(RECORD_SUFFIX).map(Uuid::parse) {
            seen.or_insert_with(id, Default::default).record = true;
        } else if let Some(Ok(id)) = name.strip_suffix(KEY_SUFFIX).map(Uuid::parse) {
            keys.insert(id);
        }
    }
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
        } else if is_torn(name, LOCK_SUFFIX) {
            scan.note(disk::remove_tree(&paths.sessions().join(name)));
        } else if let Some(Ok(id)) = name.strip_suffix(LOCK_SUFFIX).map(Uuid::parse) {
            seen.or_insert_with(id, Default::default).lock = true;
        } else if let Ok(id) = Uuid::parse(name) {
            seen.or_insert_with(id, Default::default).home = true;
        }
    }
    // Of sessions that were being made, or deleted.
    for id in keys.iter().filter(|id| !seen.contains_key(id)) {
        scan.note(disk::remove_file(&paths.session_key(*id)));
    }
    for entry in fs::read_dir(paths.session_socket_dirs())? {
        let id = entry?.file_name().to_str().map(Uuid::parse);
        if let Some(Ok(id)) = id.filter(|id| id.as_ref().is_ok_and(|id| !seen.contains_key(id))) {
            scan.note(disk::remove_tree(&paths.session_socket_dir(id)));
        }
    }
    if seen.len() > SESSIONS_MAX {
        let left = seen.len() - SESSIONS_MAX;
        scan.notes.push(format!("{left} sessions beyond the first {SESSIONS_MAX} are left alone"));
    }
    for (id, there) in seen.into_iter().take(SESSIONS_MAX) {
        let metadata = match there {
            Seen { record: false, home: true, .. } => {
                FoundMetadata::Proposal(read(&paths.session_proposal(id), SESSION_FILE_BYTES_MAX))
            }
            _ => FoundMetadata::Record(read(&paths.session_record(id), SESSION_FILE_BYTES_MAX)),
        };
        let content = || read(&paths.session_lock(id), LOCK_FILE_BYTES_MAX).unwrap_or_default();
        let (has_key, lock) = (keys.contains(&id), there.lock.then(content));
        scan.found.push(FoundSession { id, metadata, has_key, lock });
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

/// `.<id>.lock.<random>.tmp`: a file that was being written when the agent was killed.
fn is_torn(name: &str, suffix: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".tmp"));
    let whole = inner.and_then(|inner| inner.rsplit_once('.')).map(|(whole, _)| whole);
    whole.and_then(|whole| whole.strip_suffix(suffix)).is_some_and(|id| Uuid::parse(id).is_ok())
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, String> {
    disk::read_bounded(path, limit, Links::Refuse).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lock_in_the_making_is_torn() {
        let id = "01234567-89ab-4def-8123-456789abcdef";
        assert!(is_torn(&format!(".{id}.lock.5fbf467e13760ffe.tmp"), LOCK_SUFFIX));
        for name in [id.to_owned(), format!("{id}.lock"), ".x.lock.1.tmp".into(), ".tmp".into()] {
            assert!(!is_torn(&name, LOCK_SUFFIX), "{name}");
        }
    }
}
