//! Compressed pieces of a stream, with an end that proves the whole.
//!
//! A frame is the length of its plain bytes and of its packed ones, four bytes each, most
//! significant first, and the packed bytes: LZ4's block format, or the plain ones where that would
//! be longer. A plain length of 0 is the end; its bytes are the SHA-256 of all plain bytes. Never
//! held: more than one frame.

use std::fmt;

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};
use sha2::{Digest, Sha256};

use crate::base::hex;
use crate::limits::SHIP_FRAME_BYTES;

const HEAD_BYTES: usize = 8;
const HASH_BYTES: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Packer {
    hash: Sha256,
    plain_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Unpacker {
    hash: Sha256,
    plain_bytes: u64,
    /// The frame that comes, as far as it has come.
    held: Vec<u8>,
    plain: Vec<u8>,
    has_ended: bool,
}

/// What was wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameFault {
    /// A frame that is none.
    Broken,
    /// All frames are good, and what arrived is not what was sent.
    Hash,
    /// Bytes behind the end.
    Behind,
}

/// What came of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unpacked<'a> {
    /// Nothing whole yet.
    More,
    /// The next plain bytes.
    Plain(&'a [u8]),
    /// The end, and all that came before it is what was sent.
    End,
}

impl Packer {
    /// Appends the frames of these plain bytes to `out`.
    pub(crate) fn pack(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        self.hash.update(plain);
        self.plain_bytes += plain.len() as u64;
        for piece in plain.chunks(SHIP_FRAME_BYTES) {
            let at = out.len();
            out.resize(at + HEAD_BYTES + get_maximum_output_size(piece.len()), 0);
            let packed = compress_into(piece, &mut out[at + HEAD_BYTES..]);
            let length = match packed {
                Ok(length) if length < piece.len() => length,
                _ => {
                    out[at + HEAD_BYTES..][..piece.len()].copy_from_slice(piece);
                    piece.len()
                }
            };
            out[at..at + HEAD_BYTES].copy_from_slice(&head(piece.len(), length));
            out.truncate(at + HEAD_BYTES + length);
        }
    }

    /// Appends the end. The SHA-256 in hexadecimal.
    pub(crate) fn finish(self, out: &mut Vec<u8>) -> String {
        let hash = self.hash.finalize();
        out.extend_from_slice(&head(0, HASH_BYTES));
        out.extend_from_slice(&hash);
        hex::text(&hash)
    }

    /// Plain bytes so far.
    pub(crate) fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }
}

impl Default for Unpacker {
    fn default() -> Unpacker {
        let (held, plain) = (Vec::new(), vec![0; SHIP_FRAME_BYTES]);
        Unpacker { hash: Sha256::new(), plain_bytes: 0, held, plain, has_ended: false }
    }
}

impl Unpacker {
    /// Takes bytes up to the end of a frame: how many, and what came of them.
    ///
    /// # Errors
    /// [`FrameFault`]; nothing good comes after that.
    pub(crate) fn push(&mut self, input: &[u8]) -> Result<(usize, Unpacked<'_>), FrameFault> {
        if self.has_ended {
            return if input.is_empty() {
                Ok((0, Unpacked::More))
            } else {
                Err(FrameFault::Behind)
            };
        }
        let mut taken = self.hold(HEAD_BYTES, input);
        if self.held.len() < HEAD_BYTES {
            return Ok((taken, Unpacked::More));
        }
        let (plain, packed) = lengths(&self.held)?;
        taken += self.hold(HEAD_BYTES + packed, &input[taken..]);
        if self.held.len() < HEAD_BYTES + packed {
            return Ok((taken, Unpacked::More));
        }
        let bytes = &self.held[HEAD_BYTES..];
        if plain == 0 {
            self.has_ended = true;
            let is_right = self.hash.clone().finalize().as_slice() == bytes;
            return if is_right { Ok((taken, Unpacked::End)) } else { Err(FrameFault::Hash) };
        }
        let space = &mut self.plain[..plain];
        if packed == plain {
            space.copy_from_slice(bytes);
        } else if !matches!(decompress_into(bytes, space), Ok(length) if length == plain) {
            return Err(FrameFault::Broken);
        }
        self.held.clear();
        self.hash.update(&self.plain[..plain]);
        self.plain_bytes += plain as u64;
        Ok((taken, Unpacked::Plain(&self.plain[..plain])))
    }

    /// The SHA-256 of what has come, in hexadecimal.
    pub(crate) fn hash(&self) -> String {
        hex::text(&self.hash.clone().finalize())
    }

    /// Plain bytes so far.
    pub(crate) fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// Holds input until `wanted` bytes are held; how much that took.
    fn hold(&mut self, wanted: usize, input: &[u8]) -> usize {
        let taken = wanted.saturating_sub(self.held.len()).min(input.len());
        self.held.extend_from_slice(&input[..taken]);
        taken
    }
}

fn head(plain: usize, packed: usize) -> [u8; HEAD_BYTES] {
    let number = |length: usize| u32::try_from(length).expect("a frame is short").to_be_bytes();
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&number(plain));
    head[4..].copy_from_slice(&number(packed));
    head
}

/// Of a frame's plain and packed bytes.
fn lengths(head: &[u8]) -> Result<(usize, usize), FrameFault> {
    let number = |at: usize| {
        let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
        usize::try_from(u32::from_be_bytes(bytes)).map_err(|_| FrameFault::Broken)
    };
    let (plain, packed) = (number(0)?, number(4)?);
    let is_good = match plain {
        0 => packed == HASH_BYTES,
        _ => plain <= SHIP_FRAME_BYTES && (1..=plain).contains(&packed),
    };
    if is_good { Ok((plain, packed)) } else { Err(FrameFault::Broken) }
}

impl fmt::Display for FrameFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            FrameFault::Broken => "what arrives is not what was sent: a broken frame",
            FrameFault::Hash => "what arrived is not what was sent: its SHA-256 is another",
            FrameFault::Behind => "something arrives behind the end",
        })
    }
}

impl std::error::Error for FrameFault {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some that compress and some that do not.
    fn sample() -> Vec<u8> {
        let mut noise = 1_u32;
        let random = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.to_be_bytes()[0]
        });
        let mut bytes: Vec<u8> = random.take(SHIP_FRAME_BYTES + 77).collect();
        bytes.extend(vec![b'a'; SHIP_FRAME_BYTES]);
        bytes
    }

    fn packed(plain: &[u8]) -> Vec<u8> {
        let (mut packer, mut out) = (Packer::default(), Vec::new());
        packer.pack(plain, &mut out);
        packer.finish(&mut out);
        out
    }

    /// What comes out, and whether it ended as it should.
    fn unpack(bytes: &[u8], step: usize) -> Result<(Vec<u8>, bool), FrameFault> {
        let (mut unpacker, mut plain, mut has_ended) = (Unpacker::default(), Vec::new(), false);
        for mut rest in bytes.chunks(step) {
            while !rest.is_empty() {
                let (taken, unpacked) = unpacker.push(rest)?;
                match unpacked {
                    Unpacked::More => {}
                    Unpacked::Plain(bytes) => plain.extend_from_slice(bytes),
                    Unpacked::End => has_ended = true,
                }
                rest = &rest[taken..];
            }
        }
        Ok((plain, has_ended))
    }

    #[test]
    fn what_goes_in_comes_out_however_it_is_cut() {
        let plain = sample();
        let bytes = packed(&plain);
        assert!(bytes.len() < SHIP_FRAME_BYTES + 4096, "{}", bytes.len());
        for step in [1, 7, 8, 9, 65_536, bytes.len()] {
            assert_eq!(unpack(&bytes, step), Ok((plain.clone(), true)), "steps of {step}");
        }
        assert_eq!(unpack(&packed(b""), 1), Ok((Vec::new(), true)));
    }

    #[test]
    fn no_cut_and_no_changed_byte_passes_for_the_whole() {
        let plain = b"a layer that is a layer that is a layer that is not long".repeat(3);
        let bytes = packed(&plain);
        for length in 0..bytes.len() {
            let (_, has_ended) = unpack(&bytes[..length], 64).expect("what is there is good");
            assert!(!has_ended, "cut at {length}");
        }
        for at in 0..bytes.len() {
            for change in [1, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                // Another packing of the same bytes would be as good.
                let is_wrong = |end| matches!(end, Ok((out, true)) if out != plain);
                assert!(!is_wrong(unpack(&changed, 64)), "byte {at}");
            }
        }
        let behind = [bytes.as_slice(), b"x"].concat();
        assert_eq!(unpack(&behind, behind.len()), Err(FrameFault::Behind));
    }

    #[test]
    fn lengths_have_bounds() {
        for (plain, packed) in [(SHIP_FRAME_BYTES + 1, 5), (5, 6), (5, 0), (0, 31), (0, 33)] {
            assert_eq!(lengths(&head(plain, packed)), Err(FrameFault::Broken));
        }
    }
}
