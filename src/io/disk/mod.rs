//! Files and trees: durable when it says so, bounded in memory, never led astray by a link.
//!
//! Everything here blocks and belongs on a worker thread, except where a program starts or ends.
//! Names inside of a tree are only ever used relative to an open directory, one step at a time, so
//! whoever may write there cannot lead us out of it by swapping a directory for a link.
//!
//! | file | what it is |
//! | --- | --- |
//! | `access` | what stands at a path, and whose it is |
//! | `beneath` | small files of somebody else's |
//! | `file` | read within a bound, write atomically |
//! | `lock` | one process at a time |
//! | `secret` | private keys: refused when others could read them |
//! | `walk` | steps in a tree, shared by copy and remove |
//! | `copy`, `remove` | whole trees |
//! | `give` | a whole tree, to another user |
//! | `tree` | a tree as records, on its way to another host |
//! | `log` | files that are appended to, durably and off the loop |
//! | `watched` | a file that is read again when it has changed |

mod access;
mod beneath;
mod copy;
mod file;
mod give;
mod lock;
mod log;
mod remove;
mod secret;
mod size;
mod tree;
mod walk;
mod watched;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use access::{FileStatus, Ids, Kind, look, modified_at, remove_file, set_access};
pub(crate) use beneath::Beneath;
pub(crate) use copy::{CopyOptions, copy_tree};
pub(crate) use file::{
    Links, make_directories, make_directory, read_bounded, rename_new, write_atomic,
    write_atomic_as,
};
pub(crate) use give::give_tree;
pub(crate) use lock::LockFile;
pub use log::{LogDirectory, LogWorker};
pub(crate) use remove::remove_tree;
pub(crate) use secret::{SecretPolicy, read_secret};
pub(crate) use size::tree_bytes;
pub(crate) use tree::{Contents, TreeRead, TreeWriter, read_tree};
pub(crate) use watched::{Look, WatchedFile, WatchedPath};

/// What went wrong on the disk. Each names the path.
#[derive(Debug)]
pub enum DiskError {
    /// The system refused.
    System {
        /// What was being done, as a verb: `cannot <doing> <path>`.
        doing: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    /// A file is longer than its bound.
    TooLong {
        path: PathBuf,
        /// The bound, in bytes.
        limit: usize,
    },
    /// Not what it has to be.
    Unfit {
        path: PathBuf,
        /// What is wrong with it, to stand behind the path.
        why: &'static str,
    },
    /// A private file that others could read.
    Exposed {
        path: PathBuf,
        mode: u32,
        /// The mode that it should have.
        wanted: u32,
    },
    /// Another process holds a lock.
    Locked {
        path: PathBuf,
        /// The process, as far as the file tells.
        holder: Option<u32>,
    },
}

/// The size of a file system and what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    pub(crate) total_bytes: u64,
    /// In use by anyone; what is kept back for root counts as free.
    pub used_bytes: u64,
    /// What this process could still write.
    pub(crate) available_bytes: u64,
}

/// Measures the file system that `path` is on.
///
/// # Errors
/// When there is no such path.
pub fn measure(path: &Path) -> Result<FileSystem, DiskError> {
    let found = rustix::fs::statvfs(path).map_err(failed("measure", path))?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(FileSystem {
        total_bytes: bytes(found.f_blocks),
        used_bytes: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
        available_bytes: bytes(found.f_bavail),
    })
}

impl DiskError {
    /// Whether the path is simply not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, DiskError::System { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskError::System { doing, path, error } => {
                write!(out, "cannot {doing} {}: {error}", path.display())
            }
            DiskError::TooLong { path, limit } => {
                write!(out, "{} is longer than {limit} bytes", path.display())
            }
            DiskError::Unfit { path, why } => write!(out, "{} {why}", path.display()),
            DiskError::Exposed { path, mode, wanted } => {
                let path = path.display();
                write!(out, "{path} has mode {mode:04o}, so others could read it; ")?;
                write!(out, "run: chmod {wanted:04o} {path}")
            }
            DiskError::Locked { path, holder: Some(holder) } => {
                write!(out, "{} is held by process {holder}", path.display())
            }
            DiskError::Locked { path, holder: None } => {
                write!(out, "{} is held by another process", path.display())
            }
        }
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DiskError::System { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// For `map_err`: names what was being done, and with what.
fn failed<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> DiskError {
    move |error| DiskError::System { doing, path: path.to_owned(), error: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_measured() {
        let found = measure(Path::new("/")).unwrap();
        assert!(found.used_bytes <= found.total_bytes);
        assert!(found.available_bytes <= found.total_bytes - found.used_bytes);
        let error = measure(Path::new("/no/such")).unwrap_err();
        assert!(error.is_missing());
        assert!(error.to_string().starts_with("cannot measure /no/such: "), "{error}");
    }
}
