//! The bytes of a file, by the cheapest way that both file systems know.

use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::fs::{SeekFrom, Stat, copy_file_range, ftruncate, ioctl_ficlone, seek};
use rustix::io::{Errno, pread, pwrite};

/// Moved at once where the kernel does not copy by itself.
const CHUNK_BYTES: usize = 256 * 1024;
/// Asked of the kernel at once, so that no call takes long.
const RANGE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The way that worked so far: the first that can be, and then those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// Both files share their blocks.
    Clone,
    /// The kernel copies.
    Kernel,
    Ourselves,
}

/// Copies contents, and remembers what the file systems can do.
pub(super) struct Mover {
    way: Way,
    chunk: Vec<u8>,
}

impl Mover {
    pub(super) fn new() -> Mover {
        Mover { way: Way::Clone, chunk: Vec::new() }
    }

    /// One that starts with each way, for comparing them.
    #[cfg(test)]
    pub(super) fn of_every_way() -> [Mover; 3] {
        [Way::Clone, Way::Kernel, Way::Ourselves].map(|way| Mover { way, chunk: Vec::new() })
    }

    /// Copies as many bytes as `found` says, less if the file has shrunk. Holes stay holes.
    pub(super) fn copy(&mut self, from: &OwnedFd, to: &OwnedFd, found: &Stat) -> Result<(), Errno> {
        let size = u64::try_from(found.st_size).unwrap_or(0);
        if size == 0 || self.way == Way::Clone && self.clone(from, to) {
            return Ok(());
        }
        let stored = u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(512);
        if stored >= size {
            return self.copy_range(from, to, 0..size);
        }
        let mut offset = 0;
        while let Some(range) = next_data(from, offset, size)? {
            offset = range.end;
            self.copy_range(from, to, range)?;
        }
        ftruncate(to, size)
    }

    fn clone(&mut self, from: &OwnedFd, to: &OwnedFd) -> bool {
        let cloned = ioctl_ficlone(to, from).is_ok();
        if !cloned {
            self.way = Way::Kernel;
        }
        cloned
    }

    fn copy_range(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        mut range: Range<u64>,
    ) -> Result<(), Errno> {
        while !range.is_empty() {
            let moved = match self.way {
                Way::Clone | Way::Kernel => kernel_step(from, to, &range),
                Way::Ourselves => self.own_step(from, to, &range),
            };
            match moved {
                Ok(0) => break,
                Ok(count) => range.start += count,
                Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM)
                    if self.way < Way::Ourselves =>
                {
                    self.way = Way::Ourselves;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn own_step(&mut self, from: &OwnedFd, to: &OwnedFd, range: &Range<u64>) -> Result<u64, Errno> {
        self.chunk.resize(CHUNK_BYTES, 0);
        let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let chunk = &mut self.chunk[..left.min(CHUNK_BYTES)];
        let count = pread(from, &mut *chunk, range.start)?;
        let mut written = 0;
        while written < count {
            let at = range.start + written as u64;
            written += pwrite(to, &chunk[written..count], at)?;
        }
        Ok(count as u64)
    }
}

fn kernel_step(from: &OwnedFd, to: &OwnedFd, range: &Range<u64>) -> Result<u64, Errno> {
    let (mut read_at, mut write_at) = (range.start, range.start);
    let wanted = (range.end - range.start).min(RANGE_BYTES_MAX);
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let count = copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), wanted)?;
    Ok(count as u64)
}

/// The next stretch of a file that is no hole, at or after `offset` and before `size`.
pub(in crate::io::disk) fn next_data(
    from: &OwnedFd,
    offset: u64,
    size: u64,
) -> Result<Option<Range<u64>>, Errno> {
    if offset >= size {
        return Ok(None);
    }
    let start = match seek(from, SeekFrom::Data(offset)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // A file system that knows no holes.
        Err(Errno::INVAL) => return Ok(Some(offset..size)),
        Err(error) => return Err(error),
    };
    if start >= size {
        return Ok(None);
    }
    let end = seek(from, SeekFrom::Hole(start))?.min(size);
    Ok(Some(start..end.max(start + 1)))
}
