//! A directory with all that is in it, as a sequence of records.
//!
//! ```text
//! Top (Directory … Up | File Data* | Link | Symlink | Fifo)* Up
//! ```
//!
//! Names are single steps in the directory that is open, in the order of their bytes, so that the
//! same tree is the same sequence wherever it lies. A name is never a path: whoever makes a tree of
//! records can make nothing outside of it.

use crate::limits::TREE_NAME_BYTES_MAX;

/// What a file is like besides its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileAttributes {
    /// The permission bits, 12 of them.
    pub(crate) mode: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// When its content was changed, in seconds since 1970.
    pub(crate) seconds: i64,
    /// And nanoseconds.
    pub(crate) nanos: u32,
    /// Its extended attributes, by name.
    pub(crate) extended: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One step through a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TreeRecord<'a> {
    /// The directory itself.
    Top(FileAttributes),
    /// A directory, and what follows is in it.
    Directory {
        name: &'a [u8],
        /// What it is like, once all is in it.
        attributes: FileAttributes,
    },
    /// The open directory is complete.
    Up,
    /// A regular file. They are numbered from 0 as they come.
    File {
        name: &'a [u8],
        /// Bytes of its content.
        size: u64,
        /// Whether links to it may follow. No part of what the tree is.
        has_links: bool,
        /// What it is like.
        attributes: FileAttributes,
    },
    /// A piece of the content of the file before; between the pieces it is zero.
    Data { offset: u64, bytes: &'a [u8] },
    /// One more name of a file.
    Link { name: &'a [u8], to: u64 },
    /// A symbolic link.
    Symlink {
        name: &'a [u8],
        /// What it points to, which nobody follows.
        target: &'a [u8],
        attributes: FileAttributes,
    },
    Fifo {
        name: &'a [u8],
        /// What it is like.
        attributes: FileAttributes,
    },
}

/// Whether this names something in a directory: no path, and neither `.` nor `..`.
pub(crate) fn is_name(name: &[u8]) -> bool {
    (1..=TREE_NAME_BYTES_MAX).contains(&name.len())
        && !matches!(name, b"." | b"..")
        && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_step() {
        for good in [&b"a"[..], b"...", b"a\nb", b"\xff", &[b'x'; TREE_NAME_BYTES_MAX]] {
            assert!(is_name(good), "{good:?}");
        }
        let long = [b'x'; TREE_NAME_BYTES_MAX + 1];
        for wrong in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0", &long] {
            assert!(!is_name(wrong), "{wrong:?}");
        }
    }
}
