//! Packets on the wire (RFC 4253 §6), opened and sealed where they lie.
//!
//! [`Inbox`] is the receive buffer: reads go straight into it, packets are opened in it and looked
//! at in it. [`Receiving`] finds and opens the next packet there. [`super::sender::Sender`] is the
//! way out. Nothing is allocated from a length: the buffer grows because it was filled. Sequence
//! numbers start again at each new key when the exchange is strict (OpenSSH PROTOCOL §1.10).

use std::fmt;
use std::ops::Range;

use super::cipher::{LENGTH_BYTES, Opener, TAG_BYTES};
use crate::limits;

/// The least padding (RFC 4253 §6).
pub const PADDING_BYTES_MIN: usize = 4;
/// Packets without a cipher are padded to this (RFC 4253 §6).
pub(crate) const CLEAR_BLOCK_BYTES: usize = 8;
/// What the smallest packet without a cipher has behind its length field (RFC 4253 §6).
const CLEAR_LENGTH_MIN: usize = 12;

/// Why bytes are not a packet. The peer's fault, or somebody's between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketError {
    /// The length field is out of range or does not fit the cipher's block.
    Length {
        got: u32,
        /// The largest that would do.
        max: usize,
    },
    /// The padding is too short, or longer than the packet.
    Padding {
        /// What the packet says.
        got: u8,
        /// The length of the packet.
        length: usize,
    },
    /// The tag does not match: a changed packet, or another key.
    Tag,
}

impl fmt::Display for PacketError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PacketError::Length { got, max } => {
                write!(out, "packet length {got}, at most {max} and whole blocks are allowed")
            }
            PacketError::Padding { got, length } => {
                write!(out, "padding of {got} bytes in a packet of {length}")
            }
            PacketError::Tag => out.write_str("packet with a wrong tag"),
        }
    }
}

impl std::error::Error for PacketError {}

/// The receive buffer. What lies between `start` and `end` was received and not consumed.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// Where the next bytes go. Not empty as long as the owner consumes whole packets.
    pub fn space(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes.resize(limits::SSH_INBOX_FIRST_BYTES, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// `len` bytes were put at the start of [`Inbox::space`]. A read that filled it doubles it, up
    /// to `max` bytes, for the next one.
    pub fn filled(&mut self, len: usize, max: usize) {
        self.end += len;
        assert!(self.end <= self.bytes.len(), "more bytes than there was room for");
        if self.end == self.bytes.len() && self.end < max {
            let size = (2 * self.bytes.len()).min(max);
            self.bytes.reserve_exact(size - self.end);
            self.bytes.resize(size, 0);
        }
    }

    /// What is held, for opening in place.
    pub fn held(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Drops the first `len` bytes held.
    pub fn consume(&mut self, len: usize) {
        self.start += len;
        debug_assert!(self.start <= self.end, "consumed more than was held");
    }

    /// Moves what is held to the front, so that all room is behind it.
    pub fn settle(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// Gives the memory back if nothing is held.
    pub(crate) fn trim(&mut self) {
        if self.start == self.end {
            *self = Inbox::default();
        }
    }

    /// Memory held now, in bytes.
    pub fn allocated(&self) -> usize {
        self.bytes.capacity()
    }
}

/// How incoming packets are protected.
enum Opening {
    Clear,
    Keyed(Opener),
}

/// The incoming direction: the key, the sequence number, and what came under this key.
pub struct Receiving {
    opening: Opening,
    sequence: u32,
    /// The wire length of the packet whose head was seen already.
    expected: Option<usize>,
    packet_bytes_max: usize,
    /// Bytes under this key.
    pub(crate) key_bytes: u64,
    /// Packets under this key.
    pub(crate) key_packets: u64,
}

/// An opened packet, as places in what was held.
#[derive(Debug, PartialEq, Eq)]
pub struct Packet {
    /// The payload; at least one byte.
    pub payload: Range<usize>,
    /// All of the packet.
    pub wire_bytes: usize,
    pub sequence: u32,
}

impl Default for Receiving {
    /// The start: no cipher, small packets.
    fn default() -> Receiving {
        Receiving {
            opening: Opening::Clear,
            sequence: 0,
            expected: None,
            packet_bytes_max: limits::SSH_PREAUTH_PACKET_BYTES_MAX,
            key_bytes: 0,
            key_packets: 0,
        }
    }
}

impl Receiving {
    /// Opens the packet that `held` starts with; `None` if it is not complete.
    pub fn next(&mut self, held: &mut [u8]) -> Result<Option<Packet>, PacketError> {
        let wire_bytes = match self.expected {
            Some(bytes) => bytes,
            None => {
                let Some(head) = held.first_chunk() else { return Ok(None) };
                let bytes = self.wire_bytes(*head)?;
                self.expected = Some(bytes);
                bytes
            }
        };
        let Some(packet) = held.get_mut(..wire_bytes) else { return Ok(None) };
        let tag_bytes = self.tag_bytes();
        if let Opening::Keyed(opener) = &mut self.opening {
            opener.open(self.sequence, packet).map_err(|_| PacketError::Tag)?;
        }
        let payload = payload(&packet[..wire_bytes - tag_bytes])?;
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.expected = None;
        self.key_bytes += wire_bytes as u64;
        self.key_packets += 1;
        Ok(Some(Packet { payload, wire_bytes, sequence }))
    }

    /// The peer's new key is in force from the next packet on.
    pub fn rekey(&mut self, opener: Opener, strict: bool) {
        self.opening = Opening::Keyed(opener);
        self.key_bytes = 0;
        self.key_packets = 0;
        if strict {
            self.sequence = 0;
        }
    }

    /// The peer is authenticated and may send packets of full size.
    pub fn admit_full_size(&mut self) {
        self.packet_bytes_max = limits::SSH_PACKET_BYTES_MAX;
    }

    fn tag_bytes(&self) -> usize {
        match self.opening {
            Opening::Clear => 0,
            Opening::Keyed(_) => TAG_BYTES,
        }
    }

    /// All bytes of the packet that starts with `head`.
    fn wire_bytes(&self, head: [u8; 4]) -> Result<usize, PacketError> {
        let (got, counted, block, least) = match &self.opening {
            Opening::Clear => {
                (u32::from_be_bytes(head), LENGTH_BYTES, CLEAR_BLOCK_BYTES, CLEAR_LENGTH_MIN)
            }
            Opening::Keyed(opener) => {
                let block = opener.name().block_bytes();
                (opener.length(self.sequence, head), 0, block, block)
            }
        };
        let max = self.packet_bytes_max - LENGTH_BYTES - self.tag_bytes();
        let length = usize::try_from(got).unwrap_or(usize::MAX);
        if length < least || length > max || !(length + counted).is_multiple_of(block) {
            return Err(PacketError::Length { got, max });
        }
        Ok(LENGTH_BYTES + length + self.tag_bytes())
    }
}

impl fmt::Debug for Receiving {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Receiving({})", self.sequence)
    }
}

/// Where the payload is in an opened packet without its tag, which is longer than its head.
fn payload(packet: &[u8]) -> Result<Range<usize>, PacketError> {
    let (padding, length) = (packet[LENGTH_BYTES], packet.len() - LENGTH_BYTES);
    let start = LENGTH_BYTES + 1;
    let end = packet.len().saturating_sub(usize::from(padding));
    if usize::from(padding) < PADDING_BYTES_MIN || end <= start {
        return Err(PacketError::Padding { got: padding, length });
    }
    Ok(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(length: u32, padding: u8, total: usize) -> Vec<u8> {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.push(padding);
        bytes.resize(total, 0xaa);
        bytes
    }

    #[test]
    fn a_clear_packet_is_found_when_it_is_whole() {
        let mut wire = packet(12, 4, 16);
        for cut in 0..16 {
            assert_eq!(Receiving::default().next(&mut wire[..cut]), Ok(None), "{cut}");
        }
        let mut receiving = Receiving::default();
        for cut in 0..16 {
            assert_eq!(receiving.next(&mut wire[..cut]), Ok(None), "{cut}");
        }
        let expected = Packet { payload: 5..12, wire_bytes: 16, sequence: 0 };
        assert_eq!(receiving.next(&mut wire), Ok(Some(expected)));
        assert_eq!((receiving.key_bytes, receiving.key_packets), (16, 1));
    }

    #[test]
    fn lengths_out_of_range_are_refused_from_the_head_alone() {
        let max = limits::SSH_PREAUTH_PACKET_BYTES_MAX - 4;
        for got in [0, 1, 4, 11, 13, 8192, 35_000, u32::MAX, u32::MAX - 3] {
            let mut head = got.to_be_bytes();
            let refused = Receiving::default().next(&mut head);
            assert_eq!(refused, Err(PacketError::Length { got, max }), "{got}");
        }
    }

    #[test]
    fn padding_out_of_range_is_refused() {
        for (got, fits) in
            [(0, false), (3, false), (4, true), (10, true), (11, false), (255, false)]
        {
            let mut wire = packet(12, got, 16);
            let result = Receiving::default().next(&mut wire);
            match fits {
                true => assert!(matches!(result, Ok(Some(_))), "{got}"),
                false => assert_eq!(result, Err(PacketError::Padding { got, length: 12 })),
            }
        }
    }

    #[test]
    fn the_inbox_grows_when_it_is_filled_and_shrinks_when_idle() {
        let mut inbox = Inbox::default();
        let mut sizes = Vec::new();
        for _ in 0..4 {
            let len = inbox.space().len();
            sizes.push(len);
            inbox.filled(len, 16 * 1024);
            let held = inbox.held().len();
            inbox.consume(held);
            inbox.settle();
        }
        assert_eq!(sizes, [4096, 8192, 16384, 16384]);
        inbox.trim();
        assert_eq!(inbox.allocated(), 0);
        inbox.space()[..3].copy_from_slice(b"abc");
        inbox.filled(3, 16 * 1024);
        inbox.consume(1);
        inbox.settle();
        inbox.trim();
        assert_eq!(inbox.held(), b"bc");
    }
}
