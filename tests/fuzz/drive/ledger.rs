//! What a peer has granted and what it got: a connection may send on a channel only what its peer
//! lets it.

use std::collections::BTreeMap;

use convocate::ssh::names::{
    SSH_MSG_CHANNEL_DATA, SSH_MSG_CHANNEL_OPEN, SSH_MSG_CHANNEL_OPEN_CONFIRMATION,
    SSH_MSG_CHANNEL_WINDOW_ADJUST, SSH_MSG_CONNECTION_FIRST, SSH_MSG_KEXINIT, SSH_MSG_NEWKEYS,
    SSH_MSG_SERVICE_REQUEST, SSH_MSG_USERAUTH_SUCCESS,
};
use convocate::ssh::wire::{Reader, WireError};

/// By numbers only; where a peer gives a number twice, the sum of what it granted counts.
#[derive(Default)]
pub struct Ledger {
    /// By the peer's own number.
    lines: BTreeMap<u32, Line>,
    /// The peer's number for the connection's.
    numbers: BTreeMap<u32, u32>,
    /// Adjustments by the connection's number.
    adjusted: BTreeMap<u32, u64>,
    /// One of the two has said that authentication succeeded.
    pub is_open: bool,
    /// The connection has sent its KEXINIT and not its NEWKEYS.
    exchanging: bool,
}

#[derive(Default)]
struct Line {
    granted: u64,
    received: u64,
    packet_bytes: u32,
}

impl Ledger {
    /// The peer sends this message. One that cannot be read grants nothing.
    pub fn sends(&mut self, payload: &[u8]) {
        let _malformed = self.note_sent(payload);
    }

    fn note_sent(&mut self, payload: &[u8]) -> Result<(), WireError> {
        let mut reader = Reader::new(payload);
        match reader.u8()? {
            SSH_MSG_USERAUTH_SUCCESS => self.is_open = true,
            SSH_MSG_CHANNEL_OPEN => {
                reader.string()?;
                self.grant(reader.u32()?, reader.u32()?, reader.u32()?);
            }
            SSH_MSG_CHANNEL_OPEN_CONFIRMATION => {
                let (theirs, ours) = (reader.u32()?, reader.u32()?);
                self.grant(ours, reader.u32()?, reader.u32()?);
                self.numbers.insert(theirs, ours);
            }
            SSH_MSG_CHANNEL_WINDOW_ADJUST => {
                let (number, count) = (reader.u32()?, reader.u32()?);
                *self.adjusted.entry(number).or_default() += u64::from(count);
            }
            _ => {}
        }
        Ok(())
    }

    fn grant(&mut self, number: u32, window: u32, packet_bytes: u32) {
        let line = self.lines.entry(number).or_default();
        line.granted += u64::from(window);
        line.packet_bytes = line.packet_bytes.max(packet_bytes);
    }

    /// The connection has sent this message.
    pub fn receives(&mut self, payload: &[u8]) {
        self.note_received(payload).expect("a connection's own messages can be read");
    }

    fn note_received(&mut self, payload: &[u8]) -> Result<(), WireError> {
        let mut reader = Reader::new(payload);
        let number = reader.u8()?;
        assert!(self.is_open || number < SSH_MSG_CONNECTION_FIRST, "message {number} too early");
        // RFC 4253 §7.1: nothing but the transport's own messages and the method's.
        let may_interrupt = number < SSH_MSG_SERVICE_REQUEST || (21..50).contains(&number);
        assert!(!self.exchanging || may_interrupt, "message {number} in a key exchange");
        match number {
            SSH_MSG_KEXINIT => self.exchanging = true,
            SSH_MSG_NEWKEYS => self.exchanging = false,
            SSH_MSG_USERAUTH_SUCCESS => self.is_open = true,
            SSH_MSG_CHANNEL_OPEN_CONFIRMATION => {
                let (ours, theirs) = (reader.u32()?, reader.u32()?);
                self.numbers.insert(theirs, ours);
            }
            SSH_MSG_CHANNEL_DATA => {
                let number = reader.u32()?;
                let len = reader.string()?.len();
                reader.finish()?;
                self.charge(number, len);
            }
            _ => {}
        }
        Ok(())
    }

    fn charge(&mut self, number: u32, len: usize) {
        let adjusted: u64 = self
            .numbers
            .iter()
            .filter(|(_, ours)| **ours == number)
            .filter_map(|(theirs, _)| self.adjusted.get(theirs))
            .sum();
        let line = self.lines.get_mut(&number).expect("data on a channel that the peer has");
        line.received += len as u64;
        assert!(len > 0 && len <= line.packet_bytes as usize, "a data message of {len} bytes");
        let (received, granted) = (line.received, line.granted + adjusted);
        assert!(received <= granted, "{received} bytes in a window of {granted}");
    }
}
