//! The lock file: which operation was in flight on a session, and whose it was.
//!
//! It is written before an operation's first effect on the runtime and removed after the last one.
//! One that is found at the start belongs to an agent that died: the session is then locked, until
//! the same operation is repeated, the session is deleted or the lock is overridden.

use serde::{Deserialize, Serialize};

use crate::base::time::Wall;
use crate::limits::LOCK_FILE_BYTES_MAX;

/// What stands in a lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LockFile {
    pub(crate) op: String,
    pub(crate) since: Wall,
}

impl LockFile {
    /// The lock of an operation that begins.
    pub(crate) fn new(op: &str, since: Wall) -> LockFile {
        LockFile { op: op.to_owned(), since }
    }

    /// Reads a lock file; `None` if it is torn, too long or something else.
    pub(crate) fn parse(content: &[u8]) -> Option<LockFile> {
        if content.len() > LOCK_FILE_BYTES_MAX {
            return None;
        }
        serde_json::from_slice(content).ok()
    }

    /// The file, with a final newline.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a lock has only strings and numbers");
        bytes.push(b'\n');
        bytes
    }
}

/// A lock on a session that no operation of this agent holds: its owner is dead, for there is one
/// agent at a time. Without content if the file could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lock(pub(super) Option<LockFile>);

impl Lock {
    /// The operation that was in flight, as far as it is known.
    pub(super) fn op(&self) -> &str {
        self.0.as_ref().map_or("an operation", |file| &file.op)
    }

    /// Whether repeating `op` would finish what was in flight.
    pub(super) fn is_of(&self, op: &str) -> bool {
        self.0.as_ref().is_some_and(|file| file.op == op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_there_and_back_and_torn_ones_are_still_locks() {
        let file = LockFile::new("kill", Wall::new(5, 0));
        let bytes = file.to_bytes();
        assert_eq!(LockFile::parse(&bytes), Some(file));
        for cut in 0..bytes.len() - 1 {
            let lock = Lock(LockFile::parse(&bytes[..cut]));
            assert_eq!(lock.op(), "an operation");
            assert!(!lock.is_of("kill"));
        }
        let older = br#"{"op":"kill","pid":4,"boot":"b","since":"2026-01-01T00:00:00Z"}"#;
        for bytes in [&bytes[..], older] {
            let lock = Lock(LockFile::parse(bytes));
            assert!(lock.is_of("kill") && !lock.is_of("start"));
        }
    }

    #[test]
    fn a_huge_file_is_not_read() {
        assert_eq!(LockFile::parse(&vec![b' '; LOCK_FILE_BYTES_MAX + 1]), None);
    }
}
