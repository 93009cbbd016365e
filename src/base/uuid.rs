//! A session's name to machines: a version 4 UUID (RFC 9562 §5.4).
//!
//! Text becomes a [`Uuid`] or an error before any path is built from it, so that no id can name
//! anything but a session.

use std::fmt;

use super::rng::Rng;
use super::text::Reading;

/// A UUID. Its text form is 36 characters in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 16]);

/// Length of the text form.
pub(crate) const UUID_TEXT_BYTES: usize = 36;

/// The text is not a UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAUuid(String);

impl fmt::Display for NotAUuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "id {:?} is not a session UUID", self.0)
    }
}

impl std::error::Error for NotAUuid {}

impl Uuid {
    /// A fresh random one.
    pub fn random(rng: &mut Rng) -> Uuid {
        let mut bytes: [u8; 16] = rng.bytes();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Uuid(bytes)
    }

    /// Reads the text form, in either case. The version digit is not looked at.
    ///
    /// # Errors
    /// [`NotAUuid`], which shows at most the first 40 characters of the text.
    pub fn parse(text: &str) -> Result<Uuid, NotAUuid> {
        parse_bytes(text).map(Uuid).ok_or_else(|| NotAUuid(text.chars().take(40).collect()))
    }

    /// Writes the text form. Ids are in every event and every list, so this goes past the machinery
    /// of formatting.
    fn write<'a>(&self, text: &'a mut [u8; UUID_TEXT_BYTES]) -> &'a str {
        for (byte, at) in self.0.iter().zip(PLACES) {
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 15)];
        }
        std::str::from_utf8(text).expect("digits and hyphens")
    }

    /// The first 8 characters of the text form.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

/// Where the text form has its hyphens.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
/// Where it has each byte's two digits.
const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn parse_bytes(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    if text.len() != UUID_TEXT_BYTES || HYPHENS.iter().any(|&at| text[at] != b'-') {
        return None;
    }
    let digit = |at: usize| char::from(text[at]).to_digit(16);
    let mut bytes = [0; 16];
    for (byte, at) in bytes.iter_mut().zip(PLACES) {
        *byte = u8::try_from(digit(at)? * 16 + digit(at + 1)?).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for Uuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'-'; UUID_TEXT_BYTES];
        out.write_str(self.write(&mut text))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl serde::Serialize for Uuid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write(&mut [b'-'; UUID_TEXT_BYTES]))
    }
}

impl<'de> serde::Deserialize<'de> for Uuid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        deserializer.deserialize_str(Reading { what: "a session UUID", read: Uuid::parse })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ones_are_version_4_and_read_back() {
        let mut rng = Rng::from_seed([9; 32]);
        for _ in 0..100 {
            let uuid = Uuid::random(&mut rng);
            let text = uuid.to_string();
            assert_eq!(text.len(), UUID_TEXT_BYTES);
            assert_eq!(&text[14..15], "4");
            assert!("89ab".contains(&text[19..20]));
            assert_eq!(Uuid::parse(&text), Ok(uuid));
            assert_eq!(Uuid::parse(&text.to_uppercase()), Ok(uuid));
        }
    }

    #[test]
    fn nothing_else_is_one() {
        for text in [
            "",
            "abc",
            "../x",
            "00000000-0000-0000-0000-00000000000",
            "00000000-0000-0000-0000-0000000000000",
            "00000000_0000-0000-0000-000000000000",
            "0000000-00000-0000-0000-000000000000",
            "g0000000-0000-0000-0000-000000000000",
            "00000000-0000-0000-0000-00000000000\u{e9}",
            "+0000000-0000-0000-0000-000000000000",
        ] {
            assert!(Uuid::parse(text).is_err(), "{text}");
        }
        let long = "x".repeat(1000);
        assert!(Uuid::parse(&long).unwrap_err().to_string().len() < 100);
    }
}
