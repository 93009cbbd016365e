//! Test vectors are written in hexadecimal.

/// The bytes of `text`, two digits each.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).expect("a hexadecimal digit");
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    assert!(odd.is_empty(), "half a byte");
    pairs.iter().map(|[high, low]| u8::try_from(digit(high) << 4 | digit(low)).unwrap()).collect()
}

/// `bytes` as text, to compare with what another program prints.
pub(super) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
