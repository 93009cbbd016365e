//! Where a response's body ends: by its length, in chunks, or with the stream.
//!
//! RFC 9112: framing §6.3, chunks §7.1, trailers §7.1.2. A body is decoded piece by piece, in
//! place, and never kept here.

use std::ops::Range;

use super::error::HttpError;
use crate::limits::{DOCKER_CHUNK_LINE_BYTES_MAX, DOCKER_TRAILER_BYTES_MAX};

/// A body's framing, and how far it has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// So many bytes are still to come, at least one.
    Length(u64),
    Chunked(ChunkState),
    /// Everything until the stream ends.
    UntilClose,
    /// Nothing more belongs to it.
    Ended,
}

/// Where in a chunked body the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkState {
    /// In the length's digits.
    Length {
        digits: u8,
        value: u64,
        /// Bytes of the line seen.
        line: usize,
    },
    /// Behind the length, up to the end of the line.
    Extension {
        value: u64,
        /// Bytes of the line seen.
        line: usize,
    },
    /// In the data.
    Data {
        /// Bytes of it still to come, at least one.
        left: u64,
    },
    /// Behind the data: CR and LF.
    DataEnd {
        /// Whether the CR was seen.
        after_cr: bool,
    },
    /// In the lines after the last chunk, which are not looked at.
    Trailers {
        /// Bytes of the current line, without CR and LF.
        line: usize,
        /// Bytes of all of them.
        total: usize,
    },
}

/// What [`BodyFraming::decode`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Bytes of the input that are done with.
    pub(crate) taken: usize,
    /// Where in the input the data is; within what was taken.
    pub(crate) data: Range<usize>,
}

impl BodyFraming {
    /// Reads on: at most one stretch of data of at most `data_max` bytes. Call it again until it
    /// takes nothing; what it took does not come again.
    ///
    /// # Errors
    /// Chunks that are none.
    pub(crate) fn decode(&mut self, input: &[u8], data_max: usize) -> Result<Piece, HttpError> {
        let available = input.len().min(data_max);
        let piece = |length: usize| Piece { taken: length, data: 0..length };
        match self {
            BodyFraming::Ended => Ok(piece(0)),
            BodyFraming::UntilClose => Ok(piece(available)),
            BodyFraming::Length(left) => {
                let length = shorter(*left, available);
                *left -= length as u64;
                if *left == 0 {
                    *self = BodyFraming::Ended;
                }
                Ok(piece(length))
            }
            BodyFraming::Chunked(chunk) => match decode_chunks(chunk, input, data_max)? {
                (piece, true) => {
                    *self = BodyFraming::Ended;
                    Ok(piece)
                }
                (piece, false) => Ok(piece),
            },
        }
    }

    /// The stream has ended: whether the body may end there.
    pub(crate) fn may_end(&self) -> bool {
        matches!(self, BodyFraming::UntilClose | BodyFraming::Ended)
    }
}

fn shorter(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

/// Walks over framing to the first data, and over that data. The second value says whether the
/// body has ended.
fn decode_chunks(
    chunk: &mut ChunkState,
    input: &[u8],
    data_max: usize,
) -> Result<(Piece, bool), HttpError> {
    let mut at = 0;
    while at < input.len() {
        if let ChunkState::Data { left } = *chunk {
            let length = shorter(left, (input.len() - at).min(data_max));
            let rest = left - length as u64;
            *chunk = match rest {
                0 => ChunkState::DataEnd { after_cr: false },
                _ => ChunkState::Data { left: rest },
            };
            return Ok((Piece { taken: at + length, data: at..at + length }, false));
        }
        let next = chunk.after(input[at])?;
        at += 1;
        match next {
            Some(next) => *chunk = next,
            None => return Ok((Piece { taken: at, data: at..at }, true)),
        }
    }
    Ok((Piece { taken: at, data: at..at }, false))
}

impl ChunkState {
    /// Before the first chunk's length, and before every other one.
    pub(crate) const START: ChunkState = ChunkState::Length { digits: 0, value: 0, line: 0 };

    /// The state after one byte of framing; `None` at the end of the body.
    fn after(self, byte: u8) -> Result<Option<ChunkState>, HttpError> {
        match self {
            ChunkState::Length { digits, value, line } => length_byte(byte, digits, value, line),
            ChunkState::Extension { value, line } => extension_byte(byte, value, line),
            // Data is walked over in stretches, not byte by byte.
            ChunkState::Data { .. } => Ok(Some(self)),
            ChunkState::DataEnd { after_cr: false } if byte == b'\r' => {
                Ok(Some(ChunkState::DataEnd { after_cr: true }))
            }
            ChunkState::DataEnd { after_cr: true } if byte == b'\n' => Ok(Some(ChunkState::START)),
            ChunkState::DataEnd { .. } => Err(HttpError::Chunk),
            ChunkState::Trailers { line, total } => trailer_byte(byte, line, total),
        }
    }
}

fn length_byte(
    byte: u8,
    digits: u8,
    value: u64,
    line: usize,
) -> Result<Option<ChunkState>, HttpError> {
    if let Some(digit) = char::from(byte).to_digit(16) {
        // Fifteen digits cannot overflow, and no chunk is that long.
        if digits == 15 {
            return Err(HttpError::Chunk);
        }
        let value = value << 4 | u64::from(digit);
        return Ok(Some(ChunkState::Length { digits: digits + 1, value, line: line + 1 }));
    }
    if digits == 0 {
        return Err(HttpError::Chunk);
    }
    match byte {
        b'\r' | b';' | b' ' | b'\t' => Ok(Some(ChunkState::Extension { value, line: line + 1 })),
        _ => Err(HttpError::Chunk),
    }
}

fn extension_byte(byte: u8, value: u64, line: usize) -> Result<Option<ChunkState>, HttpError> {
    match (byte, value) {
        (b'\n', 0) => Ok(Some(ChunkState::Trailers { line: 0, total: 0 })),
        (b'\n', _) => Ok(Some(ChunkState::Data { left: value })),
        _ if line == DOCKER_CHUNK_LINE_BYTES_MAX => Err(HttpError::Chunk),
        _ => Ok(Some(ChunkState::Extension { value, line: line + 1 })),
    }
}

fn trailer_byte(byte: u8, line: usize, total: usize) -> Result<Option<ChunkState>, HttpError> {
    if total == DOCKER_TRAILER_BYTES_MAX {
        return Err(HttpError::TrailersTooLong);
    }
    match (byte, line) {
        (b'\n', 0) => Ok(None),
        (b'\n', _) => Ok(Some(ChunkState::Trailers { line: 0, total: total + 1 })),
        (b'\r', _) => Ok(Some(ChunkState::Trailers { line, total: total + 1 })),
        _ => Ok(Some(ChunkState::Trailers { line: line + 1, total: total + 1 })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_chunks_are_refused() {
        for body in ["x\r\n", "\r\n", "1\nab", "1\r\nab\r\n", "0000000000000001\r\n", "-1\r\n"] {
            let mut chunks = BodyFraming::Chunked(ChunkState::START);
            let mut rest = body.as_bytes();
            let error = loop {
                match chunks.decode(rest, 100) {
                    Err(error) => break Some(error),
                    Ok(piece) if piece.taken == 0 => break None,
                    Ok(piece) => rest = &rest[piece.taken..],
                }
            };
            assert!(matches!(error, Some(HttpError::Chunk)), "{body:?}");
        }
    }

    #[test]
    fn framing_has_bounds() {
        let mut body = BodyFraming::Chunked(ChunkState::START);
        let line = [b"1;".to_vec(), vec![b'x'; DOCKER_CHUNK_LINE_BYTES_MAX]].concat();
        assert_eq!(body.decode(&line, 1), Err(HttpError::Chunk));
        let mut body = BodyFraming::Chunked(ChunkState::START);
        let trailers = [b"0\r\n".to_vec(), vec![b'x'; DOCKER_TRAILER_BYTES_MAX + 1]].concat();
        assert_eq!(body.decode(&trailers, 1), Err(HttpError::TrailersTooLong));
    }
}
