//! A small file that somebody else changes: read again when it has changed, and not otherwise.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{DiskError, Links, read_bounded};

/// The file and what the last look saw.
#[derive(Debug)]
pub(crate) struct WatchedFile {
    path: PathBuf,
    bytes_max: usize,
    /// Nothing before the first look; nothing inside of it when there was no file.
    seen: Option<Option<Stamp>>,
}

/// Changes whenever the file does: a replaced file has another inode, one that was written or given
/// other rights another time of change.
type Stamp = (u64, u64, i64, i64);

/// `None` if there is nothing.
fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

/// What one look gave.
#[derive(Debug)]
pub(crate) enum Look {
    /// It is as it was.
    Same,
    /// It is new or has changed: all of it.
    Changed(Vec<u8>),
    /// It cannot be read; told once, until that changes.
    Unreadable(DiskError),
}

impl WatchedFile {
    /// A file of at most `bytes_max`, which nobody has looked at yet.
    pub(crate) const fn new(path: PathBuf, bytes_max: usize) -> WatchedFile {
        WatchedFile { path, bytes_max, seen: None }
    }

    /// Looks, and reads if there is something new.
    pub(crate) fn look(&mut self) -> Look {
        let stamp = stamp(&self.path);
        if self.seen.replace(stamp) == Some(stamp) {
            return Look::Same;
        }
        match read_bounded(&self.path, self.bytes_max, Links::Follow) {
            Ok(bytes) => Look::Changed(bytes),
            Err(error) => Look::Unreadable(error),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A directory, to see whether something came into it or left it; what its files hold is not seen.
#[derive(Debug)]
pub(crate) struct WatchedDirectory {
    path: PathBuf,
    seen: Option<Stamp>,
}

impl WatchedDirectory {
    /// The directory as it is now, if there is one.
    pub(crate) fn new(path: PathBuf) -> WatchedDirectory {
        WatchedDirectory { seen: stamp(&path), path }
    }

    /// Whether something came or left since it was last looked at.
    pub(crate) fn has_changed(&mut self) -> bool {
        let stamp = stamp(&self.path);
        std::mem::replace(&mut self.seen, stamp) != stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::scratch::Scratch;

    #[test]
    fn it_is_read_when_it_has_changed_and_once() {
        let scratch = Scratch::new();
        let path = scratch.join("keys");
        let mut file = WatchedFile::new(path.clone(), 8);
        assert!(matches!(file.look(), Look::Unreadable(error) if error.is_missing()));
        assert!(matches!(file.look(), Look::Same), "it is told once");
        fs::write(&path, "one").unwrap();
        assert!(matches!(file.look(), Look::Changed(bytes) if bytes == b"one"));
        assert!(matches!(file.look(), Look::Same));
        super::super::write_atomic(&path, b"two", 0o600).unwrap();
        assert!(matches!(file.look(), Look::Changed(bytes) if bytes == b"two"));
        fs::write(&path, "much too long").unwrap();
        assert!(matches!(file.look(), Look::Unreadable(_)));
        fs::remove_file(&path).unwrap();
        assert!(matches!(file.look(), Look::Unreadable(_)));
    }

    #[test]
    fn a_directory_tells_who_came_and_left() {
        let scratch = Scratch::new();
        let path = scratch.join("entries");
        let mut directory = WatchedDirectory::new(path.clone());
        assert!(!directory.has_changed());
        fs::create_dir(&path).unwrap();
        assert!(directory.has_changed(), "it is there");
        assert!(!directory.has_changed());
        fs::create_dir(path.join("one")).unwrap();
        assert!(directory.has_changed(), "one came");
        fs::remove_dir(path.join("one")).unwrap();
        assert!(directory.has_changed(), "it left");
        assert!(!directory.has_changed());
    }
}
