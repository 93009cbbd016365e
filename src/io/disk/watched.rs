//! A small file that somebody else changes: read again when it has changed, and not otherwise.
//!
//! What cannot be read for a reason that may pass (no descriptors, a disk that fails) is tried
//! again at every look, however often that is, and reported once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::DiskError;
use super::secret::read_public;

/// The file and what the last look saw.
#[derive(Debug)]
pub(crate) struct WatchedFile {
    path: PathBuf,
    bytes_max: usize,
    /// Nothing before the first look; nothing inside of it when there was no file.
    seen: Option<Option<Stamp>>,
    /// Whether the last look could not read it, and said so.
    is_unreadable: bool,
}

/// Changes whenever the file does: a replaced file has another inode, one that was written or given
/// other rights another time of change. The size is for file systems whose times are coarse.
type Stamp = (u64, u64, u64, i64, i64);

/// `None` if there is nothing.
fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}

/// What one look gave.
#[derive(Debug)]
pub(crate) enum Look {
    /// It is as it was.
    Same,
    /// It is new or has changed: all of it.
    Changed(Vec<u8>),
    /// It is not there; told once.
    Missing(DiskError),
    /// It is there and cannot be read or may not be used; told once, until that changes.
    Unreadable(DiskError),
}

impl WatchedFile {
    /// A file of at most `bytes_max`, which nobody has looked at yet.
    pub(crate) const fn new(path: PathBuf, bytes_max: usize) -> WatchedFile {
        WatchedFile { path, bytes_max, seen: None, is_unreadable: false }
    }

    /// Looks, and reads if there is something new.
    pub(crate) fn look(&mut self) -> Look {
        let stamp = stamp(&self.path);
        let is_new = self.seen.replace(stamp) != Some(stamp);
        if !is_new && !self.is_unreadable {
            return Look::Same;
        }
        match read_public(&self.path, self.bytes_max) {
            Ok(bytes) => {
                self.is_unreadable = false;
                Look::Changed(bytes)
            }
            Err(error) if error.is_missing() => {
                self.is_unreadable = false;
                if is_new { Look::Missing(error) } else { Look::Same }
            }
            Err(error) => {
                let was_told = std::mem::replace(&mut self.is_unreadable, true) && !is_new;
                if was_told { Look::Same } else { Look::Unreadable(error) }
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A path, to see whether something came into a directory or left it, what its files hold not being
/// seen; or whether a file was written, replaced or given other rights.
#[derive(Debug)]
pub(crate) struct WatchedPath {
    path: PathBuf,
    seen: Option<Stamp>,
}

impl WatchedPath {
    /// What stands there now, if anything does.
    pub(crate) fn new(path: PathBuf) -> WatchedPath {
        WatchedPath { seen: stamp(&path), path }
    }

    /// Whether that is so since it was last looked at.
    pub(crate) fn has_changed(&mut self) -> bool {
        let stamp = stamp(&self.path);
        std::mem::replace(&mut self.seen, stamp) != stamp
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::io::scratch::Scratch;

    #[test]
    fn it_is_read_when_it_has_changed_and_once() {
        let scratch = Scratch::new();
        let path = scratch.join("keys");
        let mut file = WatchedFile::new(path.clone(), 8);
        assert!(matches!(file.look(), Look::Missing(error) if error.is_missing()));
        assert!(matches!(file.look(), Look::Same), "it is told once");
        fs::write(&path, "one").unwrap();
        assert!(matches!(file.look(), Look::Changed(bytes) if bytes == b"one"));
        assert!(matches!(file.look(), Look::Same));
        super::super::write_atomic(&path, b"two", 0o600).unwrap();
        assert!(matches!(file.look(), Look::Changed(bytes) if bytes == b"two"));
        fs::write(&path, "much too long").unwrap();
        assert!(matches!(file.look(), Look::Unreadable(_)));
        fs::remove_file(&path).unwrap();
        assert!(matches!(file.look(), Look::Missing(_)));
    }

    #[test]
    fn what_could_not_be_read_is_tried_again_without_a_change() {
        let scratch = Scratch::new();
        let path = scratch.join("keys");
        fs::write(&path, "nine bytes").unwrap();
        let mut file = WatchedFile::new(path.clone(), 8);
        assert!(matches!(file.look(), Look::Unreadable(_)));
        assert!(matches!(file.look(), Look::Same), "it is told once");
        // Nothing about the file changes; what kept it from being read does.
        file.bytes_max = 16;
        assert!(matches!(file.look(), Look::Changed(bytes) if bytes == b"nine bytes"));
        assert!(matches!(file.look(), Look::Same));
    }

    #[test]
    fn a_file_that_others_may_write_is_not_believed() {
        let scratch = Scratch::new();
        let path = scratch.join("keys");
        fs::write(&path, "keys").unwrap();
        for mode in [0o660, 0o602, 0o646] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let mut file = WatchedFile::new(path.clone(), 8);
            let look = file.look();
            assert!(matches!(&look, Look::Unreadable(DiskError::Unfit { .. })), "{look:?}");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(file.look(), Look::Changed(_)), "the mode is right again");
        }
    }

    #[test]
    fn a_directory_tells_who_came_and_left() {
        let scratch = Scratch::new();
        let path = scratch.join("entries");
        let mut directory = WatchedPath::new(path.clone());
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
