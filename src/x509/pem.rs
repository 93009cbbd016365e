//! The text around DER (RFC 7468): blocks between two lines of dashes.

use der::pem::{LineEnding, decode_vec, encode_string};
use zeroize::Zeroizing;

use super::error::X509Error;
use crate::limits::X509_PEM_BYTES_MAX;

pub(super) const CERTIFICATE: &str = "CERTIFICATE";
pub(super) const REQUEST: &str = "CERTIFICATE REQUEST";
pub(super) const PRIVATE_KEY: &str = "PRIVATE KEY";

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// DER as a block.
pub(super) fn print(label: &'static str, der: &[u8]) -> String {
    encode_string(label, LineEnding::LF, der).expect("the label is one and the text is bounded")
}

/// The DER of all blocks with this label, of which there are one to `max`. Other text around them
/// and blocks of other kinds are passed over.
pub(super) fn parse(
    text: &str,
    label: &'static str,
    max: usize,
) -> Result<Vec<Zeroizing<Vec<u8>>>, X509Error> {
    if text.len() > X509_PEM_BYTES_MAX {
        return Err(X509Error::Long { bytes: text.len(), max: X509_PEM_BYTES_MAX });
    }
    let (begin, end) = (format!("{BEGIN}{label}-----"), format!("{END}{label}-----"));
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(&begin) {
        if found.len() == max {
            return Err(X509Error::Blocks { got: max + 1, max });
        }
        let block = &rest[start..];
        let length = block.find(&end).ok_or(X509Error::Pem)? + end.len();
        let (_, der) = decode_vec(&block.as_bytes()[..length]).map_err(|_| X509Error::Pem)?;
        found.push(Zeroizing::new(der));
        rest = &block[length..];
    }
    if found.is_empty() { Err(X509Error::NoBlock(label)) } else { Ok(found) }
}

/// The DER of the one block with this label.
pub(super) fn parse_one(text: &str, label: &'static str) -> Result<Zeroizing<Vec<u8>>, X509Error> {
    Ok(parse(text, label, 1)?.swap_remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_other_text() {
        let text = format!(
            "what it is\n{}{}\n{}",
            print(CERTIFICATE, &[1; 100]),
            print(PRIVATE_KEY, &[2]),
            print(CERTIFICATE, &[3]),
        );
        let found = parse(&text, CERTIFICATE, 2).unwrap();
        assert_eq!([&found[0][..], &found[1][..]], [&[1; 100][..], &[3][..]]);
        assert_eq!(parse_one(&text, PRIVATE_KEY).unwrap()[..], [2]);
        assert_eq!(parse(&text, CERTIFICATE, 1), Err(X509Error::Blocks { got: 2, max: 1 }));
        assert_eq!(parse_one(&text, REQUEST), Err(X509Error::NoBlock(REQUEST)));
    }

    #[test]
    fn damaged_blocks_are_refused() {
        let good = print(CERTIFICATE, &[7; 100]);
        for cut in BEGIN.len() + CERTIFICATE.len() + 5..good.len() - 1 {
            assert_eq!(parse_one(&good[..cut], CERTIFICATE), Err(X509Error::Pem), "{cut}");
        }
        let long = "x".repeat(X509_PEM_BYTES_MAX + 1);
        assert!(matches!(parse_one(&long, CERTIFICATE), Err(X509Error::Long { .. })));
    }
}
