//! Records of a log file: found whole, or known to be damaged.
//!
//! A record is `length: u32 | checksum: u32 | tag: u64 | body`, little endian; the length counts
//! tag and body, the checksum is CRC-32C (RFC 3720 §B.4) over both. The tag is the log's own: a
//! sequence number, or zero for what has none. A log is written by one program on one machine, so
//! the checksum is against torn and rotten bytes, not against an attacker.

use super::disk::{DiskOp, FileNo};

/// Bytes before a record's tag.
const PREFIX_BYTES: usize = 8;
const TAG_BYTES: usize = 8;
/// What a record takes beside its body.
pub(crate) const RECORD_OVERHEAD_BYTES: usize = PREFIX_BYTES + TAG_BYTES;
/// A body at most: an event line of the longest kind, wrapped. Longer is damage.
pub(crate) const RECORD_BODY_BYTES_MAX: usize = 512 * 1024 - RECORD_OVERHEAD_BYTES;
/// How much is read at once: at least one whole record, so that a chunk which starts at a record
/// and has not even one is damaged.
pub(crate) const RECORD_CHUNK_BYTES: usize = 512 * 1024;

const _: () = assert!(RECORD_BODY_BYTES_MAX + RECORD_OVERHEAD_BYTES <= RECORD_CHUNK_BYTES);

/// Appends a record to `out`; `fill` writes its body. Asserts that the body is not too long.
pub(crate) fn put(out: &mut Vec<u8>, tag: u64, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    out.extend_from_slice(&tag.to_le_bytes());
    fill(out);
    let covered = &out[start + PREFIX_BYTES..];
    assert!(covered.len() <= TAG_BYTES + RECORD_BODY_BYTES_MAX, "a record's body is too long");
    let length = u32::try_from(covered.len()).expect("asserted to be below 512 KiB");
    let sum = crc32c(covered);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + PREFIX_BYTES].copy_from_slice(&sum.to_le_bytes());
}

/// What stands at the start of some bytes of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split<'a> {
    /// A whole record, which takes `len` bytes.
    Record {
        tag: u64,
        body: &'a [u8],
        /// Its bytes, overhead included.
        len: usize,
    },
    /// Too few bytes to tell.
    Short,
    /// No record. If its length can be believed, the next one may start `skip` bytes on.
    Damaged {
        /// Where to look next.
        skip: Option<usize>,
    },
}

/// Looks at the start of `bytes`.
pub(crate) fn split(bytes: &[u8]) -> Split<'_> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() else {
        return Split::Short;
    };
    let length = u32::from_le_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]) as usize;
    let sum = u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]);
    if !(TAG_BYTES..=TAG_BYTES + RECORD_BODY_BYTES_MAX).contains(&length) {
        return Split::Damaged { skip: None };
    }
    let Some(covered) = rest.get(..length) else {
        return Split::Short;
    };
    let len = PREFIX_BYTES + length;
    match covered.split_first_chunk::<TAG_BYTES>() {
        Some((tag, body)) if crc32c(covered) == sum => {
            Split::Record { tag: u64::from_le_bytes(*tag), body, len }
        }
        _ => Split::Damaged { skip: Some(len) },
    }
}

/// Reads the files of a log front to back, chunk by chunk, and finds its records.
///
/// Give what [`Scan::poll`] asks for to [`Scan::read`], until `poll` asks for nothing.
#[derive(Debug)]
pub(crate) struct Scan {
    files: std::vec::IntoIter<(FileNo, u64)>,
    current: Option<Current>,
    newest: Newest,
}

/// What becomes of whole records behind a damaged one in the newest file. They may be of a commit
/// that was torn; in older files they are always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Newest {
    /// They are kept: the log's reader sees by itself what is missing.
    Kept,
    /// They count as torn: keeping one would say that those before it are there.
    Cut,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    file: FileNo,
    len: u64,
    /// Where the next chunk starts: behind all that was looked at.
    at: u64,
    /// Behind the last whole record.
    valid: u64,
    /// Bytes before `valid` that are in no record.
    damaged: u64,
}

/// What a [`Scan`] comes upon, in the order of the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A whole record.
    Record { file: FileNo, tag: u64, body: &'a [u8] },
    /// The end of a file.
    End {
        file: FileNo,
        /// Its length up to and with its last whole record.
        valid: u64,
        /// Bytes between records that are none.
        damaged: u64,
        /// Bytes behind its last whole record.
        torn: u64,
    },
}

impl Scan {
    /// A scan over `files` with their lengths in bytes; it sorts them.
    pub(crate) fn new(mut files: Vec<(FileNo, u64)>, newest: Newest) -> Scan {
        files.sort_unstable();
        Scan { files: files.into_iter(), current: None, newest }
    }

    /// What is to be read next, into `buffer`; `None` when everything was.
    pub(crate) fn poll(&mut self, buffer: Vec<u8>) -> Option<DiskOp> {
        if self.current.is_none() {
            let (file, len) = self.files.next()?;
            self.current = Some(Current { file, len, at: 0, valid: 0, damaged: 0 });
        }
        let Current { file, at, .. } = self.current?;
        Some(DiskOp::Read { file, offset: at, len: RECORD_CHUNK_BYTES, buffer })
    }

    /// The chunk that [`Scan::poll`] asked for, or fewer bytes if the file has no more or cannot be
    /// read on.
    pub(crate) fn read(&mut self, chunk: &[u8], visit: &mut dyn FnMut(Found<'_>)) {
        let Some(mut current) = self.current.take() else { return };
        let complete = chunk.len() < RECORD_CHUNK_BYTES;
        let cut = self.newest == Newest::Cut && self.files.len() == 0;
        let mut head = 0;
        let stopped = loop {
            match split(&chunk[head..]) {
                Split::Record { tag, body, len } => {
                    visit(Found::Record { file: current.file, tag, body });
                    head += len;
                    let end = current.at + head as u64;
                    current.damaged += end - len as u64 - current.valid;
                    current.valid = end;
                }
                Split::Damaged { skip: Some(skip) } if !cut => head += skip,
                Split::Damaged { .. } => break true,
                Split::Short => break complete || head == 0,
            }
        };
        current.at += head as u64;
        if stopped {
            visit(current.end());
        } else {
            self.current = Some(current);
        }
    }
}

impl Current {
    fn end(&self) -> Found<'static> {
        Found::End {
            file: self.file,
            valid: self.valid,
            damaged: self.damaged,
            torn: self.len.saturating_sub(self.valid),
        }
    }
}

/// CRC-32C, eight bytes a step.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = !0_u32;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let mixed = u64::from_le_bytes(*chunk) ^ u64::from(sum);
        let [a, b, c, d, e, f, g, h] = mixed.to_le_bytes().map(usize::from);
        let early = TABLES[7][a] ^ TABLES[6][b] ^ TABLES[5][c] ^ TABLES[4][d];
        sum = early ^ TABLES[3][e] ^ TABLES[2][f] ^ TABLES[1][g] ^ TABLES[0][h];
    }
    for &byte in rest {
        sum = (sum >> 8) ^ TABLES[0][((sum ^ u32::from(byte)) & 0xff) as usize];
    }
    !sum
}

/// `TABLES[n][b]`: what byte `b` adds when `n` bytes follow it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    const POLYNOMIAL_REFLECTED: u32 = 0x82f6_3b78;
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ POLYNOMIAL_REFLECTED } else { sum >> 1 };
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(bodies: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (tag, body) in (1..).zip(bodies) {
            put(&mut bytes, tag, |out| out.extend_from_slice(body));
        }
        bytes
    }

    /// Tags of the records that are found, and (valid, damaged, torn).
    fn scan(bytes: &[u8]) -> (Vec<u64>, (u64, u64, u64)) {
        scan_as(bytes, Newest::Kept)
    }

    fn scan_as(bytes: &[u8], newest: Newest) -> (Vec<u64>, (u64, u64, u64)) {
        let mut scan = Scan::new(vec![(FileNo(1), bytes.len() as u64)], newest);
        let (mut tags, mut end) = (Vec::new(), None);
        while let Some(DiskOp::Read { offset, len, .. }) = scan.poll(Vec::new()) {
            let from = usize::try_from(offset).unwrap();
            let chunk = &bytes[from..bytes.len().min(from + len)];
            scan.read(chunk, &mut |found| match found {
                Found::Record { tag, .. } => tags.push(tag),
                Found::End { valid, damaged, torn, .. } => end = Some((valid, damaged, torn)),
            });
        }
        (tags, end.unwrap())
    }

    #[test]
    fn checksums_are_those_of_the_rfc() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn records_are_found_at_every_cut() {
        let bytes = log(&[b"one", b"", b"a third one"]);
        assert_eq!(scan(&bytes), (vec![1, 2, 3], (bytes.len() as u64, 0, 0)));
        for cut in 0..bytes.len() {
            let (tags, (valid, damaged, torn)) = scan(&bytes[..cut]);
            assert_eq!(damaged, 0);
            assert_eq!(valid + torn, cut as u64);
            assert_eq!(valid, log(&[&b"one"[..], b""][..tags.len()]).len() as u64);
        }
    }

    #[test]
    fn a_changed_byte_loses_its_own_record_at_least_and_never_invents_one() {
        let bytes = log(&[b"one", b"two", b"three"]);
        for at in 0..bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                let hit = 1 + (at / 19).min(2) as u64;
                let (tags, (valid, damaged, torn)) = scan(&changed);
                assert!(!tags.contains(&hit), "{at} {tags:?}");
                assert!(tags.iter().all(|tag| (1..=3).contains(tag)) && tags.is_sorted());
                assert!((1..hit).all(|tag| tags.contains(&tag)));
                assert_eq!(valid + torn, bytes.len() as u64);
                assert!(damaged + torn >= 19);
            }
        }
    }

    #[test]
    fn a_damaged_body_costs_one_record_only() {
        let mut bytes = log(&[b"one", b"two", b"three"]);
        bytes[19 + 17] ^= 4;
        assert_eq!(scan(&bytes), (vec![1, 3], (bytes.len() as u64, 19, 0)));
        assert_eq!(scan_as(&bytes, Newest::Cut), (vec![1], (19, 0, 19 + 21)));
    }

    #[test]
    fn files_longer_than_a_chunk_are_read_in_pieces() {
        let body = vec![7; RECORD_BODY_BYTES_MAX];
        let small = vec![8; 1000];
        let bytes = log(&[&small, &body, &small, &body, &small]);
        assert_eq!(scan(&bytes).0, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn zeros_and_noise_are_no_records() {
        assert!(scan(&[0; 4096]).0.is_empty());
        assert!(scan(&[0xa5; 4096]).0.is_empty());
    }
}
