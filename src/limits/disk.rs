//! Bounds of work on the disk.

use super::SPOOL_SEGMENTS_MAX;

/// Directories inside each other that are copied, each with two open files: homes have some 40.
pub(crate) const COPY_LEVELS_MAX: usize = 128;
/// Files with several names that a copy remembers, 100 bytes each; others become several files.
pub(crate) const COPY_HARD_LINKS_MAX: usize = 16 * 1024;
/// Left-out files that a copy names; further ones are counted.
pub(crate) const COPY_NOTES_MAX: usize = 16;
/// Directories that are open at once while a tree is removed; deeper ones are moved up first.
pub(crate) const REMOVE_LEVELS_MAX: usize = 64;

/// Operations of a log that wait for its disk: one commit, one read, and the removals of a spool.
pub(crate) const LOG_OPS_MAX: usize = 32;

const _: () = assert!(LOG_OPS_MAX > SPOOL_SEGMENTS_MAX + 2);
const _: () = assert!(2 * COPY_LEVELS_MAX + REMOVE_LEVELS_MAX < 1024, "the usual open-file limit");
