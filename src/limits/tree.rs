//! Bounds of a directory on its way to another host.

use super::COPY_LEVELS_MAX;

/// A piece of a file's content: one without anything but zeros is left out.
pub(crate) const TREE_CHUNK_BYTES: usize = 64 * 1024;
/// Within a piece, zeros of this length at such a place are written as a hole: a page.
pub(crate) const TREE_HOLE_BYTES: usize = 4 * 1024;
/// A name in a directory (NAME_MAX).
pub(crate) const TREE_NAME_BYTES_MAX: usize = 255;
/// What a symbolic link points to (PATH_MAX).
pub(crate) const TREE_TARGET_BYTES_MAX: usize = 4096;
/// Names and values of the extended attributes of one file; ext4 has room for some 64 KiB.
pub(crate) const TREE_EXTENDED_BYTES_MAX: usize = 256 * 1024;
/// Extended attributes of one file: the kernel lists at most 64 KiB of their names.
pub(crate) const TREE_EXTENDED_MAX: usize = 4096;
/// One record: a file with all of its attributes.
pub(crate) const TREE_RECORD_BYTES_MAX: usize = 512 * 1024;
/// Names of the directories that are open, as they are put in order: some million files in one.
pub(crate) const TREE_NAMES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Files with several names, 100 bytes each at both ends; a tree with more is refused.
pub(crate) const TREE_LINKED_FILES_MAX: usize = 128 * 1024;
/// Left-out files that are named; further ones are counted.
pub(crate) const TREE_NOTES_MAX: usize = 16;
/// A line of what both ends tell each other.
pub(crate) const TREE_WORD_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(TREE_CHUNK_BYTES.is_multiple_of(TREE_HOLE_BYTES));
const _: () =
    assert!(TREE_EXTENDED_BYTES_MAX + 8 * TREE_EXTENDED_MAX < TREE_RECORD_BYTES_MAX - 8192);
const _: () = assert!(COPY_LEVELS_MAX < 1024 / 2, "the usual open-file limit");
