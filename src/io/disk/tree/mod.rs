//! A directory as records, and records as a directory.
//!
//! Both ways go one name at a time from an open directory, so nothing outside is read or made,
//! whatever links lie there and whatever names come. Memory and open files are bounded.

mod attributes;
mod read;
mod write;

pub(crate) use read::{Contents, TreeRead, read_tree};
pub(crate) use write::TreeWriter;

#[cfg(test)]
mod tests;
