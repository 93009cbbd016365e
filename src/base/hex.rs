//! Bytes as hexadecimal digits.

use std::fmt::Write;

/// `bytes` as text, two lower-case digits each.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _written = write!(text, "{byte:02x}");
    }
    text
}

/// The bytes of `text`, for test vectors.
#[cfg(test)]
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).expect("a hexadecimal digit");
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    assert!(odd.is_empty(), "half a byte");
    pairs.iter().map(|[high, low]| u8::try_from(digit(high) << 4 | digit(low)).unwrap()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        assert_eq!(text(&[0x00, 0x0f, 0xa0, 0xff]), "000fa0ff");
        assert_eq!(bytes("000fa0ff"), [0x00, 0x0f, 0xa0, 0xff]);
        assert_eq!(text(&[]), "");
    }
}
