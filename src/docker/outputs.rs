//! The two outputs of a process without a terminal, which the Engine mixes into one stream.
//!
//! Each piece has eight bytes before it: which output, three zeros, its length (big-endian). What
//! is kept of each output is bounded; the rest is read and dropped, so that no process is held up.

use super::error::DockerError;
use crate::base::collected::Collected;

const HEADER_BYTES: usize = 8;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

/// The outputs, as far as they have come.
#[derive(Debug)]
pub struct Outputs {
    /// What is kept of each, in bytes.
    limit: usize,
    pub(crate) output: Collected,
    pub(crate) errors: Collected,
    header: Vec<u8>,
    /// Bytes of the piece whose header was read that are still to come.
    left: usize,
}

impl Outputs {
    pub(crate) fn new(limit: usize) -> Outputs {
        let (output, errors) = (Collected::default(), Collected::default());
        Outputs { limit, output, errors, header: Vec::with_capacity(HEADER_BYTES), left: 0 }
    }

    /// Takes bytes of the stream, all of them, however they are cut.
    ///
    /// # Errors
    /// [`DockerError::Unexpected`]: they are no such stream.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Result<(), DockerError> {
        while !bytes.is_empty() {
            let wanted = if self.left > 0 { self.left } else { HEADER_BYTES - self.header.len() };
            let (piece, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            if self.left > 0 {
                self.left -= piece.len();
                let is_errors = self.header.first() == Some(&STDERR);
                let kept = if is_errors { &mut self.errors } else { &mut self.output };
                kept.keep(piece, self.limit);
                if self.left == 0 {
                    self.header.clear();
                }
                continue;
            }
            self.header.extend_from_slice(piece);
            if let [kind, 0, 0, 0, length @ ..] = &self.header[..]
                && let Ok(length) = <[u8; 4]>::try_from(length)
                && matches!(*kind, STDOUT | STDERR)
            {
                self.left = u32::from_be_bytes(length) as usize;
                if self.left == 0 {
                    self.header.clear();
                }
            } else if self.header.len() == HEADER_BYTES {
                return Err(DockerError::Unexpected("outputs are not told apart".to_owned()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"\x01\0\0\0\0\0\0\x03one\x02\0\0\0\0\0\0\x01!\x01\0\0\0\0\0\0\0\
        \x01\0\0\0\0\0\0\x04 two";

    #[test]
    fn outputs_are_the_same_however_the_stream_is_cut() {
        for step in 1..=STREAM.len() {
            let mut outputs = Outputs::new(100);
            STREAM.chunks(step).for_each(|piece| outputs.read(piece).unwrap());
            assert_eq!(
                (&outputs.output.bytes[..], &outputs.errors.bytes[..]),
                (&b"one two"[..], &b"!"[..])
            );
            assert!(!outputs.output.is_cut && !outputs.errors.is_cut);
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut outputs = Outputs::new(5);
        outputs.read(STREAM).unwrap();
        assert_eq!((&outputs.output.bytes[..], outputs.output.is_cut), (&b"one t"[..], true));
        assert!(!outputs.errors.is_cut);
    }

    #[test]
    fn another_stream_is_refused() {
        for bytes in [&b"\x03\0\0\0\0\0\0\x01x"[..], b"\x01\0\0\x01\0\0\0\x01x", b"plain text"] {
            assert!(Outputs::new(5).read(bytes).is_err(), "{bytes:?}");
        }
    }
}
