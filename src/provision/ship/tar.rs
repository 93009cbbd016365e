//! Headers of a tar archive: name, kind and size of an entry.
//!
//! POSIX.1-2017, pax: ustar and its extended headers; GNU's long names and its numbers in base 256.
//! Nothing here keeps data: the size of an entry is a number to count down from.

use std::fmt;

use crate::limits::{SHIP_ENTRIES_MAX, SHIP_EXTENSION_BYTES_MAX, SHIP_NAME_BYTES_MAX};

pub(crate) use crate::base::ustar::BLOCK_BYTES;

pub(crate) type Block = [u8; BLOCK_BYTES];

/// What an entry is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file.
    File,
    /// Says more about the entry behind it, in pax's way.
    Extended,
    /// The name of the entry behind it, in GNU's way.
    LongName,
    /// The target of the link behind it, in GNU's way.
    LongLink,
    /// Anything else: a directory, a link, what is said about all entries.
    Other,
}

/// The header of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TarHeader {
    /// Its name; one that stands in an entry before it counts instead.
    pub(crate) name: String,
    pub(crate) kind: EntryKind,
    /// Bytes of data behind it, without those that fill its last block.
    pub(crate) size: u64,
}

/// What is wrong with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TarFault {
    /// A block that is no header.
    Header,
    /// A number of a header that is none, or more than 2^62.
    Number,
    /// A name that is too long, or that is no text.
    Name,
    /// An extended header that is too long or none.
    Extension,
    /// More entries than an image has.
    Entries,
    /// It ends too early.
    Cut,
    /// It lacks a layer that is to be in it, or has one that is too long.
    Layer,
}

impl TarHeader {
    /// Reads a header. `None` for a block of zeros, which ends an archive.
    ///
    /// # Errors
    /// [`TarFault`], for a block that is no header.
    pub(crate) fn parse(block: &Block) -> Result<Option<TarHeader>, TarFault> {
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let sum = block.iter().enumerate().map(|(at, &byte)| match at {
            148..156 => u64::from(b' '),
            _ => u64::from(byte),
        });
        if number(&block[148..156])? != sum.sum::<u64>() {
            return Err(TarFault::Header);
        }
        let name = text(&block[..100])?;
        let prefix = match &block[257..263] {
            b"ustar\0" => text(&block[345..500])?,
            _ => "",
        };
        let kind = match block[156] {
            b'0' | 0 => EntryKind::File,
            b'x' => EntryKind::Extended,
            b'L' => EntryKind::LongName,
            b'K' => EntryKind::LongLink,
            _ => EntryKind::Other,
        };
        // Links and directories have none, whatever their headers say.
        let size = match block[156] {
            b'1'..=b'6' => 0,
            _ => number(&block[124..136])?,
        };
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        Ok(Some(TarHeader { name, kind, size }))
    }
}

/// What an extended header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) name: Option<String>,
    pub(crate) size: Option<u64>,
}

impl Extension {
    /// Reads the records of a pax header: `LENGTH KEYWORD=VALUE\n`, the length with itself.
    ///
    /// # Errors
    /// [`TarFault::Extension`], if they are none.
    pub(crate) fn read_pax(&mut self, mut data: &[u8]) -> Result<(), TarFault> {
        let wrong = TarFault::Extension;
        while !data.is_empty() {
            let blank = data.iter().position(|&byte| byte == b' ').ok_or(wrong)?;
            let length =
                std::str::from_utf8(&data[..blank]).ok().and_then(|text| text.parse().ok());
            let length: usize = length.ok_or(wrong)?;
            if length <= blank + 1 || length > data.len() || data[length - 1] != b'\n' {
                return Err(wrong);
            }
            let record = &data[blank + 1..length - 1];
            let equals = record.iter().position(|&byte| byte == b'=').ok_or(wrong)?;
            let value = std::str::from_utf8(&record[equals + 1..]);
            match &record[..equals] {
                b"path" => self.name = Some(bounded(value.map_err(|_| TarFault::Name)?)?),
                b"size" => self.size = Some(decimal(value.map_err(|_| TarFault::Number)?)?),
                _ => {}
            }
            data = &data[length..];
        }
        Ok(())
    }

    /// Reads the data of one of GNU's long names.
    ///
    /// # Errors
    /// [`TarFault::Name`], if it is none.
    pub(crate) fn read_long_name(&mut self, data: &[u8]) -> Result<(), TarFault> {
        self.name = Some(bounded(text(data)?)?);
        Ok(())
    }
}

/// Up to the first zero.
fn text(field: &[u8]) -> Result<&str, TarFault> {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    std::str::from_utf8(&field[..end]).map_err(|_| TarFault::Name)
}

fn bounded(name: &str) -> Result<String, TarFault> {
    if name.len() > SHIP_NAME_BYTES_MAX { Err(TarFault::Name) } else { Ok(name.to_owned()) }
}

/// Numbers stay below this, so that rounding one up to whole blocks cannot overflow.
const NUMBER_MAX: u64 = 1 << 62;

fn decimal(text: &str) -> Result<u64, TarFault> {
    text.parse().ok().filter(|&number| number < NUMBER_MAX).ok_or(TarFault::Number)
}

/// Octal digits with blanks and zeros around them, or GNU's base 256.
fn number(field: &[u8]) -> Result<u64, TarFault> {
    let value = if field[0] == 0x80 {
        field[1..].iter().try_fold(0_u64, |value, &byte| {
            let is_small = value < NUMBER_MAX >> 8;
            is_small.then_some(value << 8 | u64::from(byte))
        })
    } else {
        let digits = text(field)?.trim_matches(' ');
        if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
    };
    value.filter(|&value| value < NUMBER_MAX).ok_or(TarFault::Number)
}

impl fmt::Display for TarFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TarFault::Header => out.write_str("the image's archive has a broken header"),
            TarFault::Number => out.write_str("the image's archive has a number that is none"),
            TarFault::Name => {
                write!(out, "the image's archive has a name over {SHIP_NAME_BYTES_MAX} bytes")
            }
            TarFault::Extension => write!(
                out,
                "the image's archive has an extended header that is broken or over \
                 {SHIP_EXTENSION_BYTES_MAX} bytes"
            ),
            TarFault::Entries => {
                write!(out, "the image's archive has more than {SHIP_ENTRIES_MAX} entries")
            }
            TarFault::Cut => out.write_str("the image's archive ends too early"),
            TarFault::Layer => out.write_str("the image's archive lacks a layer of the image"),
        }
    }
}

impl std::error::Error for TarFault {}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A header as ustar has it.
    pub(crate) fn block(name: &str, kind: u8, size: &str) -> Block {
        let mut block = [0; BLOCK_BYTES];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..124 + size.len()].copy_from_slice(size.as_bytes());
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        seal(&mut block);
        block
    }

    pub(crate) fn seal(block: &mut Block) {
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    #[test]
    fn a_header_is_read_and_a_changed_byte_is_seen() {
        let good = block("a/layer.tar", b'0', "00000001000");
        let header = TarHeader { name: "a/layer.tar".into(), kind: EntryKind::File, size: 512 };
        assert_eq!(TarHeader::parse(&good), Ok(Some(header)));
        assert_eq!(TarHeader::parse(&[0; BLOCK_BYTES]), Ok(None));
        for at in 0..BLOCK_BYTES {
            let mut changed = good;
            changed[at] ^= 1;
            // The zeros behind the sum's digits are no part of the number.
            if !(154..156).contains(&at) {
                assert!(TarHeader::parse(&changed).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn long_names_and_large_sizes_are_read() {
        let mut long = block("name", b'0', "");
        long[345..351].copy_from_slice(b"before");
        long[124] = 0x80;
        long[131] = 5;
        seal(&mut long);
        let header = TarHeader::parse(&long).unwrap().unwrap();
        assert_eq!((header.name.as_str(), header.size), ("before/name", 5 << 32));
        long[125] = 1;
        seal(&mut long);
        assert_eq!(TarHeader::parse(&long), Err(TarFault::Number));
        assert_eq!(TarHeader::parse(&block("a", b'5', "777")).unwrap().unwrap().size, 0);
        assert_eq!(TarHeader::parse(&block("a", b'0', "8")), Err(TarFault::Number));
    }

    #[test]
    fn extended_headers_are_read_whole_or_not_at_all() {
        let records = b"12 path=a/b\n20 size=12345678901\n6 x=\xff\n";
        let mut extension = Extension::default();
        assert_eq!(extension.read_pax(records), Ok(()));
        let wanted = Extension { name: Some("a/b".into()), size: Some(12_345_678_901) };
        assert_eq!(extension, wanted);
        for length in 1..records.len() {
            let is_whole = [12, 32].contains(&length);
            let read = Extension::default().read_pax(&records[..length]);
            assert_eq!(read.is_ok(), is_whole, "cut at {length}");
        }
        for wrong in [&b"0 path=a\n"[..], b"99999999999999999999 a=b\n", b"4 a\n", b"9 size=x\n"] {
            assert!(Extension::default().read_pax(wrong).is_err(), "{wrong:?}");
        }
    }
}
