//! The lock file: which operation was in flight on a session, and whose it was.
//!
//! It is written before an operation's first effect on the runtime and removed after the last one.
//! One that is found at the start belongs to an agent that died: the session is then locked, until
//! the same operation is repeated, the session is deleted or the lock is overridden.

use serde::{Deserialize, Serialize};

use crate::base::time::Wall;
use crate::limits::LOCK_FILE_BYTES_MAX;

/// The process that writes locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockOwner {
    pub pid: u32,
    /// The kernel's boot id: a pid means nothing after a reboot.
    pub boot: String,
}

/// What stands in a lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LockFile {
    pub(crate) op: String,
    pub(crate) pid: u32,
    /// The boot that the pid belongs to.
    pub(crate) boot: String,
    pub(crate) since: Wall,
}

impl LockFile {
    /// The lock of an operation that begins.
    pub(crate) fn new(op: &str, owner: &LockOwner, since: Wall) -> LockFile {
        LockFile { op: op.to_owned(), pid: owner.pid, boot: owner.boot.clone(), since }
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

/// A lock file that was there when the agent started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLock {
    /// What stands in it, whatever that is.
    pub content: Vec<u8>,
    /// Whether the process that wrote it lives: same boot, same pid, not this process.
    pub is_alive: bool,
}

/// A lock on a session that no operation of this agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// Its owner lives: the session is not ours to change.
    Alive(Option<LockFile>),
    /// Its owner is dead. Without content if the file could not be read.
    Stale(Option<LockFile>),
}

impl Lock {
    pub(super) fn found(found: &FoundLock) -> Lock {
        let file = LockFile::parse(&found.content);
        if found.is_alive { Lock::Alive(file) } else { Lock::Stale(file) }
    }

    /// The operation that was in flight, as far as it is known.
    pub(super) fn op(&self) -> &str {
        let (Lock::Alive(file) | Lock::Stale(file)) = self;
        file.as_ref().map_or("an operation", |file| &file.op)
    }

    /// Whether repeating `op` would finish what was in flight.
    pub(super) fn is_of(&self, op: &str) -> bool {
        matches!(self, Lock::Stale(Some(file)) if file.op == op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_there_and_back_and_torn_ones_are_still_locks() {
        let owner = LockOwner { pid: 7, boot: "b".to_owned() };
        let file = LockFile::new("kill", &owner, Wall::new(5, 0));
        let bytes = file.to_bytes();
        assert_eq!(LockFile::parse(&bytes), Some(file));
        for cut in 0..bytes.len() - 1 {
            let lock = Lock::found(&FoundLock { content: bytes[..cut].to_vec(), is_alive: false });
            assert_eq!(lock.op(), "an operation");
            assert!(!lock.is_of("kill"));
        }
        let found = |is_alive| Lock::found(&FoundLock { content: bytes.clone(), is_alive });
        assert!(found(false).is_of("kill") && !found(false).is_of("start"));
        assert!(!found(true).is_of("kill"));
    }

    #[test]
    fn a_huge_file_is_not_read() {
        assert_eq!(LockFile::parse(&vec![b' '; LOCK_FILE_BYTES_MAX + 1]), None);
    }
}
