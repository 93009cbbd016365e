//! The data types of RFC 4251 §5, read from a slice and appended to a buffer.
//!
//! [`Reader`] takes one value after the other from a message and borrows what it returns; nothing
//! is copied and nothing is allocated from a number that a peer sent. Reading never panics. The
//! last call on a message is [`Reader::finish`] or [`Reader::rest`]: bytes that nobody asked for
//! are an error. Name lists are checked when they are read (RFC 4251 §6); whether a name may stand
//! in one twice is for the caller, because it matters to nobody but a negotiation.

use std::fmt;

use crate::limits::{SSH_NAME_BYTES_MAX, SSH_NAME_LIST_NAMES_MAX};

/// What is wrong with a message, by its peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// A value is longer than what is left of the message, in bytes.
    Short {
        /// What the value takes.
        needed: usize,
        left: usize,
    },
    /// Bytes behind the last value.
    Trailing { bytes: usize },
    /// A text is not UTF-8.
    NotUtf8,
    /// A name of no characters.
    NameEmpty,
    /// A name longer than [`SSH_NAME_BYTES_MAX`].
    NameLong { bytes: usize },
    /// A name with a character that no name has.
    NameCharacter { byte: u8 },
    /// More than [`SSH_NAME_LIST_NAMES_MAX`] names.
    NamesMany { names: usize },
}

impl fmt::Display for WireError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Short { needed, left } => {
                write!(out, "value of {needed} bytes where {left} are left")
            }
            WireError::Trailing { bytes } => write!(out, "{bytes} bytes behind the last value"),
            WireError::NotUtf8 => out.write_str("text is not UTF-8"),
            WireError::NameEmpty => out.write_str("empty name"),
            WireError::NameLong { bytes } => {
                write!(out, "name of {bytes} bytes, at most {SSH_NAME_BYTES_MAX} are allowed")
            }
            WireError::NameCharacter { byte } => write!(out, "byte 0x{byte:02x} in a name"),
            WireError::NamesMany { names } => {
                write!(out, "list of {names} names, at most {SSH_NAME_LIST_NAMES_MAX} are allowed")
            }
        }
    }
}

impl std::error::Error for WireError {}

/// The part of a message that is not read yet.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `message`.
    pub fn new(message: &'a [u8]) -> Reader<'a> {
        Reader { left: message }
    }

    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    /// A boolean: everything but zero is true (RFC 4251 §5).
    pub(crate) fn boolean(&mut self) -> Result<bool, WireError> {
        Ok(self.u8()? != 0)
    }

    /// A big-endian number.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    /// `N` bytes without a length before them.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let short = WireError::Short { needed: N, left: self.left.len() };
        let (bytes, left) = self.left.split_first_chunk().ok_or(short)?;
        self.left = left;
        Ok(*bytes)
    }

    /// A string: its length and as many bytes.
    pub fn string(&mut self) -> Result<&'a [u8], WireError> {
        // A length that usize does not hold is longer than any message, and so is usize::MAX.
        let needed = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        let short = WireError::Short { needed, left: self.left.len() };
        let (bytes, left) = self.left.split_at_checked(needed).ok_or(short)?;
        self.left = left;
        Ok(bytes)
    }

    /// A string in UTF-8.
    pub(crate) fn text(&mut self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.string()?).map_err(|_| WireError::NotUtf8)
    }

    /// A list of names, each checked.
    pub(crate) fn name_list(&mut self) -> Result<NameList<'a>, WireError> {
        NameList::parse(self.string()?)
    }

    /// Everything that is left; the reader is then at the end.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.left)
    }

    /// Refuses bytes that nobody has read.
    pub fn finish(self) -> Result<(), WireError> {
        match self.left.len() {
            0 => Ok(()),
            bytes => Err(WireError::Trailing { bytes }),
        }
    }
}

/// Names with commas between them (RFC 4251 §5), each one well-formed; possibly none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameList<'a> {
    text: &'a str,
}

impl<'a> NameList<'a> {
    /// Checks what stands in a name-list's string.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<NameList<'a>, WireError> {
        let text = std::str::from_utf8(bytes).map_err(|_| WireError::NotUtf8)?;
        let list = NameList { text };
        let names = list.iter().count();
        if names > SSH_NAME_LIST_NAMES_MAX {
            return Err(WireError::NamesMany { names });
        }
        list.iter().try_for_each(check_name)?;
        Ok(list)
    }

    /// The names, the most wanted first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        // Splitting nothing gives one empty name where the list has none at all.
        let some = (!self.text.is_empty()).then(|| self.text.split(','));
        some.into_iter().flatten()
    }

    /// The most wanted name.
    pub(crate) fn first(&self) -> Option<&'a str> {
        self.iter().next()
    }

    /// Whether `name` is one of them.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.iter().any(|other| other == name)
    }
}

/// What RFC 4251 §6 demands of a name; whether it is known is not the question here.
fn check_name(name: &str) -> Result<(), WireError> {
    if name.is_empty() {
        return Err(WireError::NameEmpty);
    }
    if name.len() > SSH_NAME_BYTES_MAX {
        return Err(WireError::NameLong { bytes: name.len() });
    }
    match name.bytes().find(|byte| !byte.is_ascii_graphic()) {
        Some(byte) => Err(WireError::NameCharacter { byte }),
        None => Ok(()),
    }
}

pub fn put_boolean(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

/// Appends a big-endian number.
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a string. `bytes` are at most as long as a message or a key file.
pub fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, length(bytes));
    out.extend_from_slice(bytes);
}

/// Appends the number whose big-endian digits are `magnitude`: no leading zeros, and one zero byte
/// before a digit that would make it negative (RFC 4251 §5).
pub(crate) fn put_mpint(out: &mut Vec<u8>, magnitude: &[u8]) {
    let zeros = magnitude.iter().take_while(|byte| **byte == 0).count();
    let digits = &magnitude[zeros..];
    let negative = digits.first().is_some_and(|first| first & 0x80 != 0);
    put_u32(out, length(digits) + u32::from(negative));
    if negative {
        out.push(0);
    }
    out.extend_from_slice(digits);
}

/// Appends a list of names, the most wanted first.
pub fn put_name_list(out: &mut Vec<u8>, names: &[&str]) {
    let commas = names.len().saturating_sub(1);
    let bytes = names.iter().map(|name| name.len()).sum::<usize>() + commas;
    put_u32(out, u32::try_from(bytes).expect("our own names fit a packet"));
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
}

/// The length of a string as it stands before it.
pub(super) fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("what we write is far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One value of each kind.
    fn message() -> Vec<u8> {
        let mut out = vec![7];
        put_boolean(&mut out, true);
        put_u32(&mut out, 0x0102_0304);
        put_string(&mut out, b"\xff\x00");
        put_string(&mut out, "gr\u{fc}n".as_bytes());
        put_name_list(&mut out, &["zlib", "none"]);
        out
    }

    fn read(bytes: &[u8]) -> Result<(), WireError> {
        let mut reader = Reader::new(bytes);
        reader.u8()?;
        reader.boolean()?;
        reader.u32()?;
        reader.string()?;
        reader.text()?;
        reader.name_list()?;
        reader.finish()
    }

    #[test]
    fn values_come_back_as_they_were_put() {
        let message = message();
        let mut reader = Reader::new(&message);
        assert_eq!(reader.u8(), Ok(7));
        assert_eq!(reader.boolean(), Ok(true));
        assert_eq!(reader.u32(), Ok(0x0102_0304));
        assert_eq!(reader.string(), Ok(&b"\xff\x00"[..]));
        assert_eq!(reader.text(), Ok("gr\u{fc}n"));
        let names = reader.name_list().unwrap();
        assert_eq!(names.iter().collect::<Vec<_>>(), ["zlib", "none"]);
        assert_eq!(names.first(), Some("zlib"));
        assert!(names.contains("none") && !names.contains("non"));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_message_cut_at_any_length_is_short() {
        let message = message();
        assert_eq!(read(&message), Ok(()));
        for cut in 0..message.len() {
            assert!(matches!(read(&message[..cut]), Err(WireError::Short { .. })), "cut at {cut}");
        }
    }

    #[test]
    fn no_changed_byte_makes_it_panic() {
        for index in 0..message().len() {
            for value in 0..=u8::MAX {
                let mut message = message();
                message[index] = value;
                let _either_is_fine = read(&message);
            }
        }
    }

    #[test]
    fn a_length_is_compared_and_never_believed() {
        let huge = [0xff, 0xff, 0xff, 0xff, 1, 2];
        let left = 2;
        let needed = 0xffff_ffff;
        assert_eq!(Reader::new(&huge).string(), Err(WireError::Short { needed, left }));
    }

    #[test]
    fn every_byte_but_zero_is_true() {
        for byte in 0..=u8::MAX {
            assert_eq!(Reader::new(&[byte]).boolean(), Ok(byte != 0));
        }
    }

    #[test]
    fn bytes_behind_the_last_value_are_refused() {
        let mut reader = Reader::new(&[1, 2, 3]);
        reader.u8().unwrap();
        assert_eq!(reader.clone().finish(), Err(WireError::Trailing { bytes: 2 }));
        assert_eq!(reader.rest(), [2, 3]);
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn the_empty_list_has_no_name() {
        let list = NameList::parse(b"").unwrap();
        assert_eq!(list.iter().count(), 0);
        assert_eq!(list.first(), None);
        assert!(!list.contains(""));
        let mut out = Vec::new();
        put_name_list(&mut out, &[]);
        assert_eq!(out, [0; 4]);
    }

    #[test]
    fn malformed_names_are_refused() {
        use WireError::{NameCharacter, NameEmpty, NameLong, NotUtf8};
        let long = "x".repeat(SSH_NAME_BYTES_MAX + 1);
        for (list, error) in [
            (",", NameEmpty),
            ("a,", NameEmpty),
            (",a", NameEmpty),
            ("a,,b", NameEmpty),
            ("a b", NameCharacter { byte: b' ' }),
            ("a\0", NameCharacter { byte: 0 }),
            ("a\x7f", NameCharacter { byte: 0x7f }),
            ("\u{e9}", NameCharacter { byte: 0xc3 }),
            (long.as_str(), NameLong { bytes: SSH_NAME_BYTES_MAX + 1 }),
        ] {
            assert_eq!(NameList::parse(list.as_bytes()), Err(error), "{list:?}");
        }
        assert_eq!(NameList::parse(b"\xff"), Err(NotUtf8));
        assert!(NameList::parse(&long.as_bytes()[1..]).is_ok());
    }

    #[test]
    fn a_list_is_bounded() {
        let most = vec!["a"; SSH_NAME_LIST_NAMES_MAX].join(",");
        assert!(NameList::parse(most.as_bytes()).is_ok());
        let names = SSH_NAME_LIST_NAMES_MAX + 1;
        let over = format!("{most},a");
        assert_eq!(NameList::parse(over.as_bytes()), Err(WireError::NamesMany { names }));
    }

    /// The examples of RFC 4251 §5, and the edges of its rule.
    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        for (magnitude, wire) in [
            (&b""[..], &b"\0\0\0\0"[..]),
            (b"\0\0", b"\0\0\0\0"),
            (b"\x09\xa3\x78\xf9", b"\0\0\0\x04\x09\xa3\x78\xf9"),
            (b"\x80", b"\0\0\0\x02\0\x80"),
            (b"\0\x80", b"\0\0\0\x02\0\x80"),
            (b"\0\0\x7f\0", b"\0\0\0\x02\x7f\0"),
        ] {
            let mut out = Vec::new();
            put_mpint(&mut out, magnitude);
            assert_eq!(out, wire, "{magnitude:?}");
        }
    }
}
