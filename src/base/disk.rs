//! What a log on disk wants done, as values.
//!
//! A log is a directory of numbered files that only ever grow at their end and are removed whole. A
//! core that keeps one hands out [`DiskOp`]s; a driver does them **in the order they were given**
//! and answers each with one [`DiskDone`], in the same order. The simulator's disk does the same
//! and tears what was not yet durable. Nothing here touches a disk.

use std::fmt;

/// The number of one file of a log. Higher is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileNo(pub u64);

/// What stands behind the number in a file's name.
const NAME_SUFFIX: &str = ".log";
/// Digits of the number in a file's name, so that names sort as numbers do.
const NAME_DIGITS: usize = 16;

impl FileNo {
    /// The file that comes after this one.
    pub(crate) const fn next(self) -> FileNo {
        FileNo(self.0 + 1)
    }

    /// The file's name in the log's directory.
    pub(crate) fn name(self) -> String {
        format!("{:0NAME_DIGITS$x}{NAME_SUFFIX}", self.0)
    }

    /// The number of a file that [`FileNo::name`] named; `None` for any other file.
    pub(crate) fn parse(name: &str) -> Option<FileNo> {
        let digits = name.strip_suffix(NAME_SUFFIX)?;
        let number = u64::from_str_radix(digits, 16).ok().map(FileNo)?;
        (number.name() == name).then_some(number)
    }
}

/// One piece of work on a log's directory.
#[derive(Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// The file becomes its first `offset` bytes followed by `bytes`, made if it is not there, and
    /// is durable (its name too) when this is done. After a failure the part behind `offset` may be
    /// anything; the core asks again for the same offset.
    Commit {
        file: FileNo,
        /// Where the bytes go; what the file has behind it is cut off first.
        offset: u64,
        /// What is written. Comes back with the answer, so that the memory is used again.
        bytes: Vec<u8>,
    },
    /// Reads up to `len` bytes; fewer only at the end of the file.
    Read {
        file: FileNo,
        offset: u64,
        /// How many bytes at most.
        len: usize,
        /// Where they go (it is emptied first). Comes back with the answer.
        buffer: Vec<u8>,
    },
    /// Removes the file. What is not there is no error.
    Remove { file: FileNo },
}

/// What became of a [`DiskOp`].
#[derive(Debug, PartialEq, Eq)]
pub enum DiskDone {
    /// Of [`DiskOp::Commit`].
    Committed {
        /// The bytes of the operation.
        bytes: Vec<u8>,
        /// Whether they are durable now.
        result: Result<(), DiskError>,
    },
    /// Of [`DiskOp::Read`].
    Read {
        buffer: Vec<u8>,
        /// Whether it could be read.
        result: Result<(), DiskError>,
    },
    /// Of [`DiskOp::Remove`].
    Removed {
        /// Whether it is gone. If not, it is found again at the next start.
        result: Result<(), DiskError>,
    },
}

/// The disk did not do it: what was being done, to which path, and the system's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError(pub String);

impl fmt::Display for DiskError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for DiskError {}

/// A disk for the tests of cores.
#[cfg(test)]
pub mod memory {
    use std::collections::BTreeMap;

    use super::{DiskDone, DiskError, DiskOp, FileNo};

    /// Files in memory; `full` takes no writes.
    #[derive(Default)]
    pub(crate) struct Disk {
        pub(crate) files: BTreeMap<FileNo, Vec<u8>>,
        pub(crate) full: bool,
        pub(crate) reads: usize,
    }

    impl Disk {
        pub(crate) fn lengths(&self) -> Vec<(FileNo, u64)> {
            self.files.iter().map(|(file, bytes)| (*file, bytes.len() as u64)).collect()
        }

        pub(crate) fn execute(&mut self, op: DiskOp) -> DiskDone {
            match op {
                DiskOp::Commit { bytes, .. } if self.full => {
                    let result =
                        Err(DiskError("write segment: no space left on device".to_owned()));
                    DiskDone::Committed { bytes, result }
                }
                DiskOp::Commit { file, offset, bytes } => {
                    let content = self.files.entry(file).or_default();
                    content.truncate(usize::try_from(offset).unwrap());
                    assert_eq!(content.len() as u64, offset, "a commit leaves no hole in a file");
                    content.extend_from_slice(&bytes);
                    DiskDone::Committed { bytes, result: Ok(()) }
                }
                DiskOp::Read { file, offset, len, mut buffer } => {
                    self.reads += 1;
                    let content = &self.files[&file][usize::try_from(offset).unwrap()..];
                    buffer.clear();
                    buffer.extend_from_slice(&content[..len.min(content.len())]);
                    DiskDone::Read { buffer, result: Ok(()) }
                }
                DiskOp::Remove { file } => {
                    self.files.remove(&file);
                    DiskDone::Removed { result: Ok(()) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_numbers_and_read_back() {
        let names: Vec<_> = [0, 9, 16, u64::MAX].map(|number| FileNo(number).name()).into();
        assert!(names.is_sorted());
        for number in [0, 9, 16, u64::MAX] {
            assert_eq!(FileNo::parse(&FileNo(number).name()), Some(FileNo(number)));
        }
        for other in ["", ".log", "1.log", "000000000000000G.log", "000000000000000A.log", "x"] {
            assert_eq!(FileNo::parse(other), None, "{other}");
        }
    }
}
