//! Writes a tar archive: headers of plain files (POSIX.1-2017, pax: ustar Interchange Format).
//!
//! An archive is headers, each with the file's bytes behind it, filled up to whole blocks; two
//! blocks of zeros end it. Owners are root, times are 0: the same files are the same archive.

/// The unit of which an archive is made.
pub(crate) const BLOCK_BYTES: usize = 512;
/// What a name may have at most.
pub(crate) const NAME_BYTES_MAX: usize = 100;
/// What a file may have at most: its length is eleven octal digits.
pub(crate) const FILE_BYTES_MAX: u64 = (1 << 33) - 1;

/// The header of a plain file.
///
/// # Panics
/// If the name or the length is beyond what a header holds.
pub(crate) fn header(name: &str, mode: u32, length: u64) -> [u8; BLOCK_BYTES] {
    assert!(name.len() <= NAME_BYTES_MAX && length <= FILE_BYTES_MAX, "{name}: no such header");
    let mut block = [0; BLOCK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0"); // uid
    put(116, b"0000000\0"); // gid
    put(124, format!("{length:011o}\0").as_bytes());
    put(136, b"00000000000\0"); // time of change
    put(148, b"        "); // checksum, counted as blanks
    put(156, b"0"); // a plain file
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// The bytes of the first file of an archive, as far as they are there. `None` if that is no plain
/// file.
pub(crate) fn first_file(archive: &[u8]) -> Option<&[u8]> {
    let (header, rest) = archive.split_at_checked(BLOCK_BYTES)?;
    let digits = std::str::from_utf8(&header[124..135]).ok()?;
    let length = usize::from_str_radix(digits.trim(), 8).ok()?;
    matches!(header[156], b'0' | 0).then(|| &rest[..length.min(rest.len())])
}

/// Fills the last block of a file of this length.
pub(crate) fn padding(length: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    let over = usize::try_from(length % BLOCK_BYTES as u64).expect("less than a block");
    if over == 0 { &[] } else { &ZEROS[over..] }
}

pub(crate) const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];
