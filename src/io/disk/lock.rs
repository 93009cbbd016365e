//! One process at a time.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, ftruncate, open};
use rustix::io::Errno;

use super::{DiskError, failed};

/// Enough for a process id and its newline.
const HOLDER_BYTES_MAX: u64 = 32;

/// A lock that is held for as long as this lives; the kernel lets go of it when the process dies,
/// however that happens. The file stays: removing it would let two processes hold "the" lock.
#[derive(Debug)]
pub(crate) struct LockFile {
    _file: File,
}

impl LockFile {
    /// Takes the lock at `path`, making the file if need be, and writes our process id inside.
    ///
    /// # Errors
    /// [`DiskError::Locked`] with the holder's process id, or what the disk says.
    pub(crate) fn take(path: &Path) -> Result<LockFile, DiskError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::RUSR | Mode::WUSR).map_err(failed("open", path))?;
        let mut file = File::from(fd);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(DiskError::Locked { path: path.to_owned(), holder: holder(&mut file) });
            }
            Err(error) => return Err(failed("lock", path)(error)),
        }
        ftruncate(&file, 0).map_err(failed("write", path))?;
        file.rewind().map_err(failed("write", path))?;
        writeln!(file, "{}", std::process::id()).map_err(failed("write", path))?;
        Ok(LockFile { _file: file })
    }
}

/// Only for the message: between its lock and its writing, a holder is not known.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(HOLDER_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::scratch::Scratch;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let scratch = Scratch::new();
        let path = scratch.join("agent.lock");
        std::fs::write(&path, "4000000000, and the rest of an older, longer text").unwrap();
        let first = LockFile::take(&path).unwrap();
        let error = LockFile::take(&path).unwrap_err().to_string();
        assert_eq!(error, format!("{} is held by process {}", path.display(), std::process::id()));
        drop(first);
        LockFile::take(&path).unwrap();
    }
}
