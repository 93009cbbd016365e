//! One channel: its two windows, what was received, and how far each direction has come
//! (RFC 4254 §5).
//!
//! A channel is over when both sides have sent CLOSE and everything that came before was consumed,
//! so that nobody loses the tail of an answer. After the peer's CLOSE whatever its owner still
//! sends is taken and dropped.

use std::cell::Cell;

use super::error::ChannelFault;
use super::names::{
    SSH_MSG_CHANNEL_CLOSE, SSH_MSG_CHANNEL_EOF, SSH_MSG_CHANNEL_REQUEST,
    SSH_MSG_CHANNEL_WINDOW_ADJUST, WINDOW_CHANGE,
};
use super::sender::Sender;
use super::wire::{put_boolean, put_string, put_u32};
use crate::base::buffer::Buffer;
use crate::limits;

/// Names a channel of one connection. Never used again for another channel of that connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub(super) u32);

/// What a channel is for, and how far that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelPurpose {
    /// Client: the channel is asked for, to start this subsystem.
    Opening { subsystem: &'static str },
    /// Client: the subsystem is asked for. Data may flow already.
    Asking,
    /// Server: no subsystem yet.
    Bare,
    /// Server: data came first, so no subsystem will ever see all of it.
    Spoiled,
    /// The subsystem runs.
    Running {
        /// Whether it has a terminal whose size may change.
        window_change: bool,
    },
    /// Client: the subsystem was refused, and the owner knows.
    Refused,
}

/// How far one direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    Open,
    /// EOF was sent.
    Ended,
    /// CLOSE was sent.
    Closed,
}

/// What became of incoming data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// It was kept where nothing was held before: the owner should be told.
    First,
    /// It was kept, or it does not concern the owner.
    Quietly,
}

/// A terminal's size: columns and rows.
pub(crate) type Size = (u32, u32);

#[derive(Debug)]
pub(crate) struct Channel {
    /// Our number, which the peer uses.
    pub(crate) id: ChannelId,
    /// What it is for.
    pub(crate) purpose: ChannelPurpose,
    /// What we have sent.
    pub(crate) outward: Direction,
    /// What the peer has sent.
    pub(crate) inward: Direction,
    /// The peer's number, which we use; arbitrary while opening, when nothing is sent.
    remote: u32,
    /// What the peer lets us send; zero while opening.
    send_window: u32,
    /// The largest data message that the peer takes.
    packet_bytes: u32,
    /// The owner found no room, and gets [`Event::Writable`](super::Event::Writable) later.
    awaits_room: Cell<bool>,
    /// A size that could not be sent because of a key exchange.
    pending_size: Option<Size>,
    /// A size that was not reported to the owner yet. Server.
    pub(crate) unreported_size: Option<Size>,
    /// Whether an exit status came. Client.
    pub(crate) exited: bool,
    /// Received and not consumed.
    buffer: Buffer,
    /// What the peer was granted at the start.
    window: u32,
    /// What the peer may still send.
    window_left: u32,
    /// Consumed and not granted again. `window_left + window_used + held = window`.
    window_used: u32,
}

impl Channel {
    /// A channel whose peer may send `window` bytes.
    pub(crate) fn new(id: ChannelId, purpose: ChannelPurpose, window: u32) -> Channel {
        // A quarter more than can be held, so that the buffer moves instead of allocating.
        let limit = window as usize / 4 * 5;
        Channel {
            id,
            purpose,
            outward: Direction::Open,
            inward: Direction::Open,
            remote: 0,
            send_window: 0,
            packet_bytes: 0,
            awaits_room: Cell::new(false),
            pending_size: None,
            unreported_size: None,
            exited: false,
            buffer: Buffer::new(limit),
            window,
            window_left: window,
            window_used: 0,
        }
    }

    /// What the peer's half of opening says.
    pub(crate) fn connect(
        &mut self,
        remote: u32,
        window: u32,
        packet_bytes: u32,
    ) -> Result<(), ChannelFault> {
        if packet_bytes == 0 {
            return Err(ChannelFault::NoPacketSize);
        }
        self.remote = remote;
        self.send_window = window;
        self.packet_bytes = packet_bytes.min(limits::SSH_CHANNEL_DATA_BYTES_MAX);
        Ok(())
    }

    pub(crate) const fn remote(&self) -> u32 {
        self.remote
    }

    /// What the peer was granted at the start.
    pub(crate) const fn window(&self) -> u32 {
        self.window
    }

    /// Whether events about it are reported to the owner.
    pub(crate) const fn is_announced(&self) -> bool {
        matches!(self.purpose, ChannelPurpose::Asking | ChannelPurpose::Running { .. })
    }

    /// Whether nothing more can happen on it.
    pub(crate) fn is_over(&self) -> bool {
        let closed = Direction::Closed;
        self.inward == closed && self.outward == closed && self.buffer.is_empty()
    }

    // --- in ---

    /// Data from the peer. It counts against the window whether anybody wants it or not.
    pub(crate) fn receive(&mut self, data: &[u8]) -> Result<Received, ChannelFault> {
        let len = self.charge(data)?;
        if let ChannelPurpose::Bare | ChannelPurpose::Spoiled = self.purpose {
            self.purpose = ChannelPurpose::Spoiled;
            return Ok(Received::Quietly);
        }
        if self.outward == Direction::Closed {
            return Ok(Received::Quietly);
        }
        let was_empty = self.buffer.is_empty();
        let taken = self.buffer.push(data);
        debug_assert_eq!(taken, data.len(), "the window is within the buffer");
        Ok(if was_empty && len > 0 { Received::First } else { Received::Quietly })
    }

    /// Data of a kind that nobody reads: checked like any other, and granted again.
    pub(crate) fn receive_unread(
        &mut self,
        data: &[u8],
        sender: &mut Sender,
    ) -> Result<(), ChannelFault> {
        self.window_used += self.charge(data)?;
        self.grant(sender);
        Ok(())
    }

    /// Takes data's length off what the peer may still send.
    fn charge(&mut self, data: &[u8]) -> Result<u32, ChannelFault> {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if self.inward != Direction::Open {
            return Err(ChannelFault::AfterEnd);
        }
        if len > limits::SSH_CHANNEL_DATA_BYTES_MAX {
            return Err(ChannelFault::PacketSize);
        }
        self.window_left = self.window_left.checked_sub(len).ok_or(ChannelFault::Window)?;
        Ok(len)
    }

    /// Received and not consumed.
    pub(crate) fn received(&self) -> &[u8] {
        self.buffer.as_slice()
    }

    /// The owner has dealt with the first `len` bytes.
    pub(crate) fn consume(&mut self, len: usize, sender: &mut Sender) {
        self.buffer.consume(len);
        self.window_used += u32::try_from(len).expect("a window's worth of bytes fits 32 bits");
        self.grant(sender);
    }

    /// Grants what was consumed once it is half of the window. Not during a key exchange: then it
    /// is done at the end of it.
    pub(crate) fn grant(&mut self, sender: &mut Sender) {
        let wanted = self.inward == Direction::Open && self.outward != Direction::Closed;
        if !wanted || self.window_used < self.window / 2 || !sender.is_open() {
            return;
        }
        let (remote, count) = (self.remote, self.window_used);
        self.window_left += count;
        self.window_used = 0;
        sender.post(|out| {
            out.push(SSH_MSG_CHANNEL_WINDOW_ADJUST);
            put_u32(out, remote);
            put_u32(out, count);
        });
    }

    /// EOF from the peer.
    pub(crate) fn receive_eof(&mut self) -> Result<(), ChannelFault> {
        if self.inward != Direction::Open {
            return Err(ChannelFault::AfterEnd);
        }
        self.inward = Direction::Ended;
        Ok(())
    }

    /// CLOSE from the peer, which is answered. Says whether this ended the data too.
    pub(crate) fn receive_close(&mut self, sender: &mut Sender) -> Result<bool, ChannelFault> {
        if self.inward == Direction::Closed {
            return Err(ChannelFault::AfterEnd);
        }
        let ended = self.inward == Direction::Open;
        self.inward = Direction::Closed;
        if self.outward != Direction::Closed {
            self.post(SSH_MSG_CHANNEL_CLOSE, sender);
            self.outward = Direction::Closed;
        }
        Ok(ended)
    }

    // --- out ---

    /// How many bytes [`Channel::send`] would take now.
    pub(crate) fn send_space(&self, sender: &Sender) -> usize {
        if self.inward == Direction::Closed {
            return limits::SSH_CHANNEL_DATA_BYTES_MAX as usize; // taken and dropped
        }
        if self.outward != Direction::Open || self.send_window == 0 {
            self.awaits_room.set(true);
            return 0;
        }
        let space = sender.data_room(self.packet_bytes as usize).min(self.send_window as usize);
        if space == 0 {
            self.awaits_room.set(true);
        }
        space
    }

    /// Sends what fits, and says how much that was.
    pub(crate) fn send(&mut self, bytes: &[u8], sender: &mut Sender) -> usize {
        if self.inward == Direction::Closed {
            return bytes.len();
        }
        let taken = self.send_space(sender).min(bytes.len());
        for data in bytes[..taken].chunks(self.packet_bytes.max(1) as usize) {
            sender.put_data(self.remote, data);
        }
        self.send_window -= u32::try_from(taken).expect("at most the window, which is 32 bits");
        if taken < bytes.len() {
            self.awaits_room.set(true);
        }
        taken
    }

    /// WINDOW_ADJUST from the peer.
    pub(crate) fn widen(&mut self, count: u32) -> Result<(), ChannelFault> {
        let window = self.send_window.checked_add(count);
        self.send_window = window.ok_or(ChannelFault::WindowOverflow)?;
        Ok(())
    }

    /// Whether an owner that found no room should learn that there is some. True once.
    pub(crate) fn has_room_again(&self, sender: &Sender) -> bool {
        let awaits_room = self.awaits_room.replace(false);
        let is_reported = awaits_room && self.is_announced() && self.outward != Direction::Ended;
        if is_reported && self.send_space(sender) > 0 {
            return true;
        }
        self.awaits_room.set(awaits_room);
        false
    }

    pub(crate) fn send_eof(&mut self, sender: &mut Sender) {
        if self.outward == Direction::Open && self.is_announced() {
            self.post(SSH_MSG_CHANNEL_EOF, sender);
            self.outward = Direction::Ended;
        }
    }

    /// Sends CLOSE, once, and forgets what was received. While opening it is kept for the end of
    /// that.
    pub(crate) fn close(&mut self, sender: &mut Sender) {
        if self.outward != Direction::Closed
            && !matches!(self.purpose, ChannelPurpose::Opening { .. })
        {
            self.post(SSH_MSG_CHANNEL_CLOSE, sender);
        }
        self.outward = Direction::Closed;
        self.buffer.clear();
        self.buffer.trim();
    }

    /// Tells the peer the size of the terminal; during a key exchange only the last one counts.
    pub(crate) fn send_size(&mut self, size: Size, sender: &mut Sender) {
        if self.outward == Direction::Closed || !self.is_announced() {
            return;
        }
        if !sender.is_open() {
            self.pending_size = Some(size);
            return;
        }
        let remote = self.remote;
        sender.post(|out| {
            out.push(SSH_MSG_CHANNEL_REQUEST);
            put_u32(out, remote);
            put_string(out, WINDOW_CHANGE.as_bytes());
            put_boolean(out, false);
            for value in [size.0, size.1, 0, 0] {
                put_u32(out, value);
            }
        });
    }

    /// A key exchange is through: what was held back for it goes out.
    pub(crate) fn catch_up(&mut self, sender: &mut Sender) {
        self.grant(sender);
        if let Some(size) = self.pending_size.take() {
            self.send_size(size, sender);
        }
    }

    /// A message that has nothing but its number and the channel's.
    pub(crate) fn post(&self, number: u8, sender: &mut Sender) {
        let remote = self.remote;
        sender.post(|out| {
            out.push(number);
            put_u32(out, remote);
        });
    }

    /// Gives memory back if nothing is held.
    pub(crate) fn trim(&mut self) {
        self.buffer.trim();
    }

    /// Memory held now, in bytes.
    pub(crate) fn allocated(&self) -> usize {
        self.buffer.allocated()
    }
}
