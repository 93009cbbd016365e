//! The entries of a tar archive as its bytes come.
//!
//! ```text
//! Head -> Extension -> Head
//!      -> Data -> Skip -> Head
//!      -> End
//! ```
//!
//! Never held: more than one header, or the data of one extended header. Failed stays failed.

use super::tar::{BLOCK_BYTES, Block, EntryKind, Extension, TarFault, TarHeader};
use crate::limits::{SHIP_ENTRIES_MAX, SHIP_EXTENSION_BYTES_MAX};

#[derive(Debug, Default)]
pub(crate) struct EntryReader {
    state: EntryState,
    /// The header or the extended header that comes, as far as it has come.
    held: Vec<u8>,
    /// What extended headers said of the entry that comes.
    extension: Extension,
    entries: usize,
}

#[derive(Clone, Copy, Debug, Default)]
enum EntryState {
    #[default]
    Head,
    /// In an extended header of so many bytes.
    Extension {
        kind: EntryKind,
        size: usize,
    },
    Data {
        left: u64,
        padding: u64,
    },
    /// In bytes that nobody asks for.
    Skip {
        left: u64,
    },
    /// Behind the last entry.
    End,
    Failed(TarFault),
}

/// What some bytes of an archive were.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EntryPiece<'a> {
    /// Nothing to know.
    None,
    /// A regular file begins.
    File { name: String, size: u64 },
    /// The next bytes of that file.
    Data(&'a [u8]),
}

impl EntryReader {
    /// Takes bytes of the archive: how many, at least one of some, and what they were.
    ///
    /// # Errors
    /// [`TarFault`], from then on always.
    pub(crate) fn push<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<(usize, EntryPiece<'a>), TarFault> {
        let pushed = self.step(input);
        if let Err(fault) = pushed {
            self.state = EntryState::Failed(fault);
        }
        pushed
    }

    /// No more comes.
    ///
    /// # Errors
    /// [`TarFault::Cut`] if that is too early.
    pub(crate) fn finish(&self) -> Result<(), TarFault> {
        match self.state {
            EntryState::End => Ok(()),
            EntryState::Failed(fault) => Err(fault),
            _ => Err(TarFault::Cut),
        }
    }

    fn step<'a>(&mut self, input: &'a [u8]) -> Result<(usize, EntryPiece<'a>), TarFault> {
        match self.state {
            EntryState::Head => {
                let taken = self.hold(BLOCK_BYTES, input);
                let Ok(block) = <&Block>::try_from(self.held.as_slice()) else {
                    return Ok((taken, EntryPiece::None));
                };
                let header = TarHeader::parse(block)?;
                self.held.clear();
                Ok((taken, self.enter(header)?))
            }
            EntryState::Extension { kind, size } => {
                let whole = size.next_multiple_of(BLOCK_BYTES);
                let taken = self.hold(whole, input);
                if self.held.len() == whole {
                    match kind {
                        EntryKind::Extended => self.extension.read_pax(&self.held[..size])?,
                        EntryKind::LongName => self.extension.read_long_name(&self.held[..size])?,
                        EntryKind::File | EntryKind::LongLink | EntryKind::Other => {}
                    }
                    self.held.clear();
                    self.state = EntryState::Head;
                }
                Ok((taken, EntryPiece::None))
            }
            EntryState::Data { left, padding } => {
                let taken = shorter(left, input.len());
                self.state = match left - taken as u64 {
                    0 => skip(padding),
                    left => EntryState::Data { left, padding },
                };
                Ok((taken, EntryPiece::Data(&input[..taken])))
            }
            EntryState::Skip { left } => {
                let taken = shorter(left, input.len());
                self.state = skip(left - taken as u64);
                Ok((taken, EntryPiece::None))
            }
            EntryState::End => Ok((input.len(), EntryPiece::None)),
            EntryState::Failed(fault) => Err(fault),
        }
    }

    /// Goes on behind a header; none is the end.
    fn enter(&mut self, header: Option<TarHeader>) -> Result<EntryPiece<'static>, TarFault> {
        let Some(TarHeader { name, kind, size }) = header else {
            self.state = EntryState::End;
            return Ok(EntryPiece::None);
        };
        self.entries += 1;
        if self.entries > SHIP_ENTRIES_MAX {
            return Err(TarFault::Entries);
        }
        if matches!(kind, EntryKind::Extended | EntryKind::LongName | EntryKind::LongLink) {
            let size = usize::try_from(size).ok().filter(|&size| size <= SHIP_EXTENSION_BYTES_MAX);
            self.state = match size.ok_or(TarFault::Extension)? {
                0 => EntryState::Head,
                size => EntryState::Extension { kind, size },
            };
            return Ok(EntryPiece::None);
        }
        let extension = std::mem::take(&mut self.extension);
        if kind != EntryKind::File {
            self.state = skip(padded(size));
            return Ok(EntryPiece::None);
        }
        let size = extension.size.unwrap_or(size);
        self.state = match size {
            0 => EntryState::Head,
            left => EntryState::Data { left, padding: padded(left) - left },
        };
        Ok(EntryPiece::File { name: extension.name.unwrap_or(name), size })
    }

    /// Holds input until `wanted` bytes are held; how much that took.
    fn hold(&mut self, wanted: usize, input: &[u8]) -> usize {
        let taken = (wanted - self.held.len()).min(input.len());
        self.held.extend_from_slice(&input[..taken]);
        taken
    }
}

fn skip(left: u64) -> EntryState {
    if left == 0 { EntryState::Head } else { EntryState::Skip { left } }
}

/// With what fills the last block. No number of an archive is near the end of the type.
fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK_BYTES as u64)
}

fn shorter(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tar::tests::block;
    use super::*;

    pub(crate) fn entry(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = block(name, kind, &format!("{:011o}", data.len())).to_vec();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        bytes
    }

    /// The regular files of an archive.
    fn files(input: &[u8], step: usize) -> Result<Vec<(String, Vec<u8>)>, TarFault> {
        let (mut reader, mut files) = (EntryReader::default(), Vec::new());
        for mut piece in input.chunks(step) {
            while !piece.is_empty() {
                let pushed = reader.push(piece);
                if let Err(fault) = pushed {
                    assert_eq!(reader.push(b"x"), Err(fault));
                    return reader.finish().map(|()| files);
                }
                let (taken, found) = pushed?;
                match found {
                    EntryPiece::None => {}
                    EntryPiece::File { name, .. } => files.push((name, Vec::new())),
                    EntryPiece::Data(data) => files.last_mut().unwrap().1.extend_from_slice(data),
                }
                piece = &piece[taken..];
            }
        }
        reader.finish().map(|()| files)
    }

    #[test]
    fn files_are_found_however_the_archive_is_cut() {
        let long = "n".repeat(300);
        let pax = format!("{} path={long}\n13 size=1000\n", long.len() + 10);
        let mut bytes = entry("directory/", b'5', b"");
        bytes.extend(entry("plain", b'0', &[7; 700]));
        bytes.extend(entry("pax", b'x', pax.as_bytes()));
        bytes.extend(block("short", b'0', "0"));
        bytes.resize(bytes.len() + 1024, 9);
        bytes.extend(entry("././@LongLink", b'L', &[long.as_bytes(), b"\0"].concat()));
        bytes.extend(entry("././@LongLink", b'K', b"to\0"));
        bytes.extend(entry("short", b'0', b"content"));
        bytes.extend(entry("link", b'2', b""));
        bytes.extend(entry("empty", b'0', b""));
        let end = bytes.len() + BLOCK_BYTES;
        bytes.resize(end + BLOCK_BYTES, 0);
        let wanted = vec![
            ("plain".to_owned(), vec![7; 700]),
            (long.clone(), [vec![9; 1000]].concat()),
            (long, b"content".to_vec()),
            ("empty".to_owned(), Vec::new()),
        ];
        for step in [1, 7, 511, 512, 513, bytes.len()] {
            assert_eq!(files(&bytes, step).as_ref(), Ok(&wanted), "in steps of {step}");
        }
        for length in 0..end {
            assert_eq!(files(&bytes[..length], 4096), Err(TarFault::Cut), "cut at {length}");
        }
        for at in (0..bytes.len()).step_by(3) {
            let mut changed = bytes.clone();
            changed[at] = changed[at].wrapping_add(1);
            let found = files(&changed, 1000).unwrap_or_default();
            let length: usize = found.iter().map(|(_, data)| data.len()).sum();
            assert!(length <= changed.len(), "byte {at}");
        }
    }

    #[test]
    fn headers_have_bounds() {
        let bytes = entry("l", b'K', &[b'a'; SHIP_EXTENSION_BYTES_MAX + 1]);
        assert_eq!(files(&bytes, 4096), Err(TarFault::Extension));
        let many = entry("a", b'0', b"").repeat(SHIP_ENTRIES_MAX + 1);
        assert_eq!(files(&many, 4096), Err(TarFault::Entries));
    }
}
