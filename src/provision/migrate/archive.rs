//! Records as bytes, and the hash of a tree.
//!
//! A record is the length of what follows in four bytes, a letter for its kind, and its fields in
//! their order: numbers most significant byte first, byte strings behind their length in four
//! bytes. Held of an archive: one record.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::base::hex;
use crate::base::tree::{FileAttributes, TreeRecord, is_name};
use crate::limits::{
    TREE_CHUNK_BYTES, TREE_EXTENDED_BYTES_MAX, TREE_EXTENDED_MAX, TREE_NAME_BYTES_MAX,
    TREE_RECORD_BYTES_MAX, TREE_TARGET_BYTES_MAX,
};

const HEAD_BYTES: usize = 4;

/// What is wrong with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArchiveFault {
    /// A record that is longer than any.
    Long,
    /// A record that is none.
    Broken,
    /// A name that is a path, or none.
    Name,
}

pub(crate) fn encode(record: &TreeRecord<'_>, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend([0; HEAD_BYTES]);
    match record {
        TreeRecord::Top(attributes) => {
            out.push(b't');
            push_attributes(attributes, out);
        }
        TreeRecord::Directory { name, attributes } => {
            out.push(b'd');
            push_bytes(name, out);
            push_attributes(attributes, out);
        }
        TreeRecord::Up => out.push(b'u'),
        TreeRecord::File { name, size, has_links, attributes } => {
            out.push(b'f');
            push_bytes(name, out);
            out.extend(size.to_be_bytes());
            out.push(u8::from(*has_links));
            push_attributes(attributes, out);
        }
        TreeRecord::Data { offset, bytes } => {
            out.push(b'=');
            out.extend(offset.to_be_bytes());
            push_bytes(bytes, out);
        }
        TreeRecord::Link { name, to } => {
            out.push(b'l');
            push_bytes(name, out);
            out.extend(to.to_be_bytes());
        }
        TreeRecord::Symlink { name, target, attributes } => {
            out.push(b's');
            push_bytes(name, out);
            push_bytes(target, out);
            push_attributes(attributes, out);
        }
        TreeRecord::Fifo { name, attributes } => {
            out.push(b'p');
            push_bytes(name, out);
            push_attributes(attributes, out);
        }
    }
    let length = number(out.len() - at - HEAD_BYTES);
    out[at..at + HEAD_BYTES].copy_from_slice(&length);
}

fn push_attributes(attributes: &FileAttributes, out: &mut Vec<u8>) {
    for number in [attributes.mode, attributes.user, attributes.group, attributes.nanos] {
        out.extend(number.to_be_bytes());
    }
    out.extend(attributes.seconds.to_be_bytes());
    out.extend(number(attributes.extended.len()));
    for (name, value) in &attributes.extended {
        push_bytes(name, out);
        push_bytes(value, out);
    }
}

fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(number(bytes.len()));
    out.extend_from_slice(bytes);
}

fn number(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("what is put into a record is bounded").to_be_bytes()
}

/// Reads records as their bytes come.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    held: Vec<u8>,
    /// Whether what is held was handed out.
    is_read: bool,
}

impl Decoder {
    /// Takes bytes up to the end of a record: how many, and the record once it is whole.
    ///
    /// # Errors
    /// [`ArchiveFault`]; nothing good comes after that.
    pub(crate) fn push(
        &mut self,
        input: &[u8],
    ) -> Result<(usize, Option<TreeRecord<'_>>), ArchiveFault> {
        if std::mem::take(&mut self.is_read) {
            self.held.clear();
        }
        let mut taken = self.hold(HEAD_BYTES, input);
        let Some(head) = self.held.first_chunk::<HEAD_BYTES>() else { return Ok((taken, None)) };
        let length = usize::try_from(u32::from_be_bytes(*head)).map_err(|_| ArchiveFault::Long)?;
        if length > TREE_RECORD_BYTES_MAX {
            return Err(ArchiveFault::Long);
        }
        taken += self.hold(HEAD_BYTES + length, &input[taken..]);
        if self.held.len() < HEAD_BYTES + length {
            return Ok((taken, None));
        }
        self.is_read = true;
        let mut body = Body { rest: &self.held[HEAD_BYTES..] };
        let record = body.record()?;
        if body.rest.is_empty() { Ok((taken, Some(record))) } else { Err(ArchiveFault::Broken) }
    }

    /// Whether it is between two records.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_read || self.held.is_empty()
    }

    fn hold(&mut self, wanted: usize, input: &[u8]) -> usize {
        let taken = wanted.saturating_sub(self.held.len()).min(input.len());
        self.held.extend_from_slice(&input[..taken]);
        taken
    }
}

/// A record that is being read.
struct Body<'a> {
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    fn record(&mut self) -> Result<TreeRecord<'a>, ArchiveFault> {
        let [kind] = self.array()?;
        Ok(match kind {
            b't' => TreeRecord::Top(self.attributes()?),
            b'd' => TreeRecord::Directory { name: self.name()?, attributes: self.attributes()? },
            b'u' => TreeRecord::Up,
            b'f' => TreeRecord::File {
                name: self.name()?,
                size: self.long()?,
                has_links: match self.array()? {
                    [0] => false,
                    [1] => true,
                    _ => return Err(ArchiveFault::Broken),
                },
                attributes: self.attributes()?,
            },
            b'=' => TreeRecord::Data { offset: self.long()?, bytes: self.bytes(TREE_CHUNK_BYTES)? },
            b'l' => TreeRecord::Link { name: self.name()?, to: self.long()? },
            b's' => TreeRecord::Symlink {
                name: self.name()?,
                target: self.bytes(TREE_TARGET_BYTES_MAX)?,
                attributes: self.attributes()?,
            },
            b'p' => TreeRecord::Fifo { name: self.name()?, attributes: self.attributes()? },
            _ => return Err(ArchiveFault::Broken),
        })
    }

    fn attributes(&mut self) -> Result<FileAttributes, ArchiveFault> {
        let [mode, user, group, nanos] =
            [self.short()?, self.short()?, self.short()?, self.short()?];
        let seconds = i64::from_be_bytes(self.array()?);
        let count = usize::try_from(self.short()?).map_err(|_| ArchiveFault::Broken)?;
        if mode > 0o7777 || nanos >= 1_000_000_000 || count > TREE_EXTENDED_MAX {
            return Err(ArchiveFault::Broken);
        }
        let mut extended = Vec::new();
        for _ in 0..count {
            let name = self.bytes(TREE_NAME_BYTES_MAX)?;
            let value = self.bytes(TREE_EXTENDED_BYTES_MAX)?;
            extended.push((name.to_vec(), value.to_vec()));
        }
        Ok(FileAttributes { mode, user, group, seconds, nanos, extended })
    }

    fn name(&mut self) -> Result<&'a [u8], ArchiveFault> {
        let name = self.bytes(TREE_RECORD_BYTES_MAX)?;
        if is_name(name) { Ok(name) } else { Err(ArchiveFault::Name) }
    }

    fn bytes(&mut self, limit: usize) -> Result<&'a [u8], ArchiveFault> {
        let length = usize::try_from(self.short()?).map_err(|_| ArchiveFault::Broken)?;
        let parts = self.rest.split_at_checked(length).filter(|_| length <= limit);
        let (bytes, rest) = parts.ok_or(ArchiveFault::Broken)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn short(&mut self) -> Result<u32, ArchiveFault> {
        self.array().map(u32::from_be_bytes)
    }

    fn long(&mut self) -> Result<u64, ArchiveFault> {
        self.array().map(u64::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ArchiveFault> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(ArchiveFault::Broken)?;
        self.rest = rest;
        Ok(*array)
    }
}

/// The hash of a tree: the same for the same tree, on whatever disk it lies.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    hash: Sha256,
    record: Vec<u8>,
}

impl Manifest {
    /// Takes the next record of the tree.
    pub(crate) fn add(&mut self, record: &TreeRecord<'_>) {
        self.record.clear();
        match record {
            // Other names of it may lie outside of the tree, where nobody looks.
            TreeRecord::File { name, size, has_links: true, attributes } => {
                let (size, attributes) = (*size, attributes.clone());
                let file = TreeRecord::File { name, size, has_links: false, attributes };
                encode(&file, &mut self.record);
            }
            record => encode(record, &mut self.record),
        }
        self.hash.update(&self.record);
    }

    /// The hash, in hexadecimal.
    pub(crate) fn finish(self) -> String {
        hex::text(&self.hash.finalize())
    }
}

impl fmt::Display for ArchiveFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            ArchiveFault::Long => "what was sent has a record that is too long",
            ArchiveFault::Broken => "what was sent has a record that is none",
            ArchiveFault::Name => "what was sent has a name that is none",
        })
    }
}

impl std::error::Error for ArchiveFault {}

#[cfg(test)]
mod tests;
