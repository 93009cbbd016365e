//! All channels of a connection, and the messages about them (RFC 4254 §5, §6).
//!
//! Windows come out of one budget: each channel is sure of a floor, and the first ones get the most
//! of a common pool, so that 128 channels together cannot hold more than it.

use super::channel::{Channel, ChannelId, ChannelPurpose, Direction, Received, Size};
use super::config::Subsystem;
use super::error::{ChannelFault, Error, shown};
use super::event::{ChannelRefusal, Event, Events, OpenError};
use super::names::{
    EXIT_STATUS, SESSION, SSH_MSG_CHANNEL_CLOSE, SSH_MSG_CHANNEL_DATA, SSH_MSG_CHANNEL_EOF,
    SSH_MSG_CHANNEL_EXTENDED_DATA, SSH_MSG_CHANNEL_FAILURE, SSH_MSG_CHANNEL_OPEN,
    SSH_MSG_CHANNEL_OPEN_CONFIRMATION, SSH_MSG_CHANNEL_OPEN_FAILURE, SSH_MSG_CHANNEL_REQUEST,
    SSH_MSG_CHANNEL_SUCCESS, SSH_MSG_CHANNEL_WINDOW_ADJUST, SSH_OPEN_ADMINISTRATIVELY_PROHIBITED,
    SSH_OPEN_RESOURCE_SHORTAGE, SSH_OPEN_UNKNOWN_CHANNEL_TYPE, SUBSYSTEM, WINDOW_CHANGE,
};
use super::sender::Sender;
use super::wire::{Reader, WireError, put_boolean, put_string, put_u32};
use crate::limits;

/// The channels of one connection.
#[derive(Debug)]
pub(crate) struct Channels {
    /// By rising number: numbers are given once and in order.
    list: Vec<Channel>,
    next: u32,
    /// What is left of the pool that windows above their floor come from.
    pool: u32,
}

impl Channels {
    /// None; `pool` is what all windows may have above their floors.
    pub(crate) const fn new(pool: u32) -> Channels {
        Channels { list: Vec::new(), next: 0, pool }
    }

    /// The channel, if it is still there.
    pub(crate) fn get(&self, id: ChannelId) -> Option<&Channel> {
        self.index(id).map(|index| &self.list[index])
    }

    /// The channel, if it is still there.
    pub(crate) fn get_mut(&mut self, id: ChannelId) -> Option<&mut Channel> {
        self.index(id).map(|index| &mut self.list[index])
    }

    /// Whether a channel is open on which nothing was asked for yet.
    pub(crate) fn is_one_bare(&self) -> bool {
        self.list.iter().any(|channel| {
            channel.purpose == ChannelPurpose::Bare && channel.outward != Direction::Closed
        })
    }

    /// A key exchange is through: what was held back for it goes out.
    pub(crate) fn catch_up(&mut self, sender: &mut Sender) {
        for channel in &mut self.list {
            channel.catch_up(sender);
        }
    }

    /// Gives back memory that is not in use.
    pub(crate) fn trim(&mut self) {
        self.list.shrink_to_fit();
        for channel in &mut self.list {
            channel.trim();
        }
    }

    /// Memory held now, in bytes.
    pub(crate) fn allocated(&self) -> usize {
        let buffers: usize = self.list.iter().map(Channel::allocated).sum();
        buffers + self.list.capacity() * size_of::<Channel>()
    }

    /// Asks for a channel with this subsystem on it. Client.
    pub(crate) fn open(
        &mut self,
        subsystem: &'static str,
        sender: &mut Sender,
    ) -> Result<ChannelId, OpenError> {
        let channel = self.add(ChannelPurpose::Opening { subsystem }).ok_or(OpenError::Full)?;
        let (id, window) = (channel.id, channel.window());
        sender.post(|out| {
            out.push(SSH_MSG_CHANNEL_OPEN);
            put_string(out, SESSION.as_bytes());
            for value in [id.0, window, limits::SSH_CHANNEL_DATA_BYTES_MAX] {
                put_u32(out, value);
            }
        });
        Ok(id)
    }

    /// Closes our side of a channel; its end may come with it.
    pub(crate) fn close(&mut self, id: ChannelId, sender: &mut Sender, events: &mut Events) {
        if let Some(index) = self.index(id) {
            self.list[index].close(sender);
            self.settle(index, events);
        }
    }

    /// The owner has dealt with the first `len` bytes of what a channel received.
    pub(crate) fn consume(
        &mut self,
        id: ChannelId,
        len: usize,
        sender: &mut Sender,
        events: &mut Events,
    ) {
        if let Some(index) = self.index(id) {
            self.list[index].consume(len, sender);
            self.settle(index, events);
        }
    }

    /// The latest size of a terminal, if it was not reported yet.
    pub(crate) fn take_size(&mut self, id: ChannelId) -> Option<Size> {
        self.get_mut(id)?.unreported_size.take()
    }

    /// Tells the owners who wait for it that there is room to send.
    pub(crate) fn wake_senders(&self, sender: &Sender, events: &mut Events) {
        for channel in &self.list {
            if channel.has_room_again(sender) {
                events.push_back(Event::Writable { channel: channel.id });
            }
        }
    }

    /// A message with a number from 90 to 100. `subsystems` are a server's, `None` makes a client.
    pub(crate) fn receive(
        &mut self,
        payload: &[u8],
        subsystems: Option<&'static [Subsystem]>,
        sender: &mut Sender,
        events: &mut Events,
    ) -> Result<(), Error> {
        let number = payload[0];
        let mut reader = Reader::new(&payload[1..]);
        if number == SSH_MSG_CHANNEL_OPEN {
            let opened = self.receive_open(reader, subsystems.is_some(), sender);
            return opened.map_err(Error::message(number));
        }
        let named = reader.u32().map_err(Error::message(number))?;
        let missing = Error::NoChannel { number, channel: named };
        let index = self.index(ChannelId(named)).ok_or_else(|| missing.clone())?;
        let opening = matches!(self.list[index].purpose, ChannelPurpose::Opening { .. });
        let opens =
            matches!(number, SSH_MSG_CHANNEL_OPEN_CONFIRMATION | SSH_MSG_CHANNEL_OPEN_FAILURE);
        if opening != opens {
            return Err(missing);
        }
        let mut message = Message { number, reader, sender, events };
        let received = match number {
            SSH_MSG_CHANNEL_OPEN_CONFIRMATION => message.confirmation(&mut self.list[index]),
            SSH_MSG_CHANNEL_OPEN_FAILURE => self.receive_refusal(index, &mut message),
            SSH_MSG_CHANNEL_WINDOW_ADJUST => message.window_adjust(&mut self.list[index]),
            SSH_MSG_CHANNEL_DATA => message.data(&mut self.list[index]),
            SSH_MSG_CHANNEL_EXTENDED_DATA => message.extended_data(&mut self.list[index]),
            SSH_MSG_CHANNEL_EOF => message.eof(&mut self.list[index]),
            SSH_MSG_CHANNEL_CLOSE => self.receive_close(index, &mut message),
            SSH_MSG_CHANNEL_REQUEST => message.request(&mut self.list[index], subsystems),
            _ => message.answer(&mut self.list[index]),
        };
        received.map_err(|problem| problem.of(number))
    }

    fn receive_open(
        &mut self,
        mut reader: Reader<'_>,
        server: bool,
        sender: &mut Sender,
    ) -> Result<(), WireError> {
        let kind = reader.string()?;
        let (remote, window, packet_bytes) = (reader.u32()?, reader.u32()?, reader.u32()?);
        if kind != SESSION.as_bytes() {
            put_refusal(remote, SSH_OPEN_UNKNOWN_CHANNEL_TYPE, sender);
            return Ok(());
        }
        reader.finish()?;
        if !server {
            put_refusal(remote, SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, sender);
            return Ok(());
        }
        // A channel that can carry nothing is of no use to anybody.
        let channel = if packet_bytes == 0 { None } else { self.add(ChannelPurpose::Bare) };
        let Some(channel) = channel else {
            put_refusal(remote, SSH_OPEN_RESOURCE_SHORTAGE, sender);
            return Ok(());
        };
        let (id, own_window) = (channel.id, channel.window());
        if channel.connect(remote, window, packet_bytes).is_err() {
            unreachable!("a packet size of zero was turned down above")
        }
        sender.post(|out| {
            out.push(SSH_MSG_CHANNEL_OPEN_CONFIRMATION);
            for value in [remote, id.0, own_window, limits::SSH_CHANNEL_DATA_BYTES_MAX] {
                put_u32(out, value);
            }
        });
        Ok(())
    }

    /// OPEN_FAILURE: the channel has never been.
    fn receive_refusal(&mut self, index: usize, message: &mut Message<'_>) -> Result<(), Problem> {
        let code = message.reader.u32()?;
        let text = shown(message.reader.string()?);
        message.reader.string()?; // the language
        message.finish()?;
        let channel = self.remove(index).id;
        let reason = ChannelRefusal::Channel { code, text };
        message.events.push_back(Event::Refused { channel, reason });
        Ok(())
    }

    fn receive_close(&mut self, index: usize, message: &mut Message<'_>) -> Result<(), Problem> {
        message.finish()?;
        let channel = &mut self.list[index];
        let unaware = channel.outward != Direction::Closed && channel.is_announced();
        let ended = channel.receive_close(message.sender)?;
        let id = channel.id;
        if ended && unaware {
            message.events.push_back(Event::Eof { channel: id });
        }
        if unaware && channel.has_room_again(message.sender) {
            message.events.push_back(Event::Writable { channel: id });
        }
        self.settle(index, message.events);
        Ok(())
    }

    /// Takes a channel out if it is over, and tells its owner.
    fn settle(&mut self, index: usize, events: &mut Events) {
        if self.list[index].is_over() {
            let channel = self.remove(index);
            if channel.is_announced() {
                events.push_back(Event::Closed { channel: channel.id });
            }
        }
    }

    fn add(&mut self, purpose: ChannelPurpose) -> Option<&mut Channel> {
        if self.list.len() >= limits::SSH_CHANNELS_MAX {
            return None;
        }
        let id = ChannelId(self.next);
        self.next = self.next.checked_add(1)?;
        let extra = match limits::SSH_WINDOW_BYTES - limits::SSH_WINDOW_FLOOR_BYTES {
            whole if whole <= self.pool => whole,
            _ => self.pool / 2,
        };
        self.pool -= extra;
        self.list.push(Channel::new(id, purpose, limits::SSH_WINDOW_FLOOR_BYTES + extra));
        self.list.last_mut()
    }

    fn remove(&mut self, index: usize) -> Channel {
        let channel = self.list.remove(index);
        self.pool += channel.window() - limits::SSH_WINDOW_FLOOR_BYTES;
        channel
    }

    fn index(&self, id: ChannelId) -> Option<usize> {
        self.list.binary_search_by_key(&id, |channel| channel.id).ok()
    }
}

/// A message about one channel, being read.
struct Message<'a> {
    number: u8,
    reader: Reader<'a>,
    sender: &'a mut Sender,
    events: &'a mut Events,
}

/// What is wrong with one.
enum Problem {
    Wire(WireError),
    Fault(ChannelFault),
}

impl From<WireError> for Problem {
    fn from(error: WireError) -> Problem {
        Problem::Wire(error)
    }
}

impl From<ChannelFault> for Problem {
    fn from(fault: ChannelFault) -> Problem {
        Problem::Fault(fault)
    }
}

impl Problem {
    fn of(self, number: u8) -> Error {
        match self {
            Problem::Wire(cause) => Error::Message { number, cause },
            Problem::Fault(cause) => Error::Channel { number, cause },
        }
    }
}

impl Message<'_> {
    fn confirmation(&mut self, channel: &mut Channel) -> Result<(), Problem> {
        let (remote, window) = (self.reader.u32()?, self.reader.u32()?);
        let packet_bytes = self.reader.u32()?;
        self.finish()?;
        let ChannelPurpose::Opening { subsystem } = channel.purpose else {
            return Err(ChannelFault::Unasked.into());
        };
        channel.connect(remote, window, packet_bytes)?;
        if channel.outward == Direction::Closed {
            // Closed while it was opening: nothing is asked of it any more.
            channel.purpose = ChannelPurpose::Running { window_change: false };
            channel.post(SSH_MSG_CHANNEL_CLOSE, self.sender);
            return Ok(());
        }
        channel.purpose = ChannelPurpose::Asking;
        self.sender.post(|out| {
            out.push(SSH_MSG_CHANNEL_REQUEST);
            put_u32(out, remote);
            put_string(out, SUBSYSTEM.as_bytes());
            put_boolean(out, true);
            put_string(out, subsystem.as_bytes());
        });
        self.events.push_back(Event::Opened { channel: channel.id });
        Ok(())
    }

    fn window_adjust(&mut self, channel: &mut Channel) -> Result<(), Problem> {
        let count = self.reader.u32()?;
        self.finish()?;
        channel.widen(count)?;
        if channel.has_room_again(self.sender) {
            self.events.push_back(Event::Writable { channel: channel.id });
        }
        Ok(())
    }

    fn data(&mut self, channel: &mut Channel) -> Result<(), Problem> {
        let data = self.reader.string()?;
        self.finish()?;
        if channel.receive(data)? == Received::First {
            self.events.push_back(Event::Readable { channel: channel.id });
        }
        Ok(())
    }

    fn extended_data(&mut self, channel: &mut Channel) -> Result<(), Problem> {
        let _code = self.reader.u32()?;
        let data = self.reader.string()?;
        self.finish()?;
        channel.receive_unread(data, self.sender)?;
        Ok(())
    }

    fn eof(&mut self, channel: &mut Channel) -> Result<(), Problem> {
        self.finish()?;
        channel.receive_eof()?;
        if channel.is_announced() && channel.outward != Direction::Closed {
            self.events.push_back(Event::Eof { channel: channel.id });
        }
        Ok(())
    }

    /// CHANNEL_SUCCESS or CHANNEL_FAILURE: the answer to our request for a subsystem.
    fn answer(&mut self, channel: &mut Channel) -> Result<(), Problem> {
        self.finish()?;
        if channel.purpose != ChannelPurpose::Asking {
            return Err(ChannelFault::Unasked.into());
        }
        let granted = self.number == SSH_MSG_CHANNEL_SUCCESS;
        if granted || channel.outward == Direction::Closed {
            channel.purpose = ChannelPurpose::Running { window_change: true };
            return Ok(());
        }
        channel.close(self.sender);
        channel.purpose = ChannelPurpose::Refused;
        let reason = ChannelRefusal::Subsystem;
        self.events.push_back(Event::Refused { channel: channel.id, reason });
        Ok(())
    }

    fn request(
        &mut self,
        channel: &mut Channel,
        subsystems: Option<&'static [Subsystem]>,
    ) -> Result<(), Problem> {
        let kind = self.reader.string()?;
        let wants_reply = self.reader.boolean()?;
        if channel.inward == Direction::Closed {
            return Err(ChannelFault::AfterEnd.into());
        }
        let granted = match (subsystems, kind) {
            (Some(known), kind) if kind == SUBSYSTEM.as_bytes() => {
                self.subsystem(channel, known)?
            }
            (Some(_), kind) if kind == WINDOW_CHANGE.as_bytes() => self.window_change(channel)?,
            (None, kind) if kind == EXIT_STATUS.as_bytes() => self.exit_status(channel)?,
            _ => false,
        };
        if wants_reply && channel.outward != Direction::Closed {
            let answer = if granted { SSH_MSG_CHANNEL_SUCCESS } else { SSH_MSG_CHANNEL_FAILURE };
            channel.post(answer, self.sender);
        }
        Ok(())
    }

    fn subsystem(
        &mut self,
        channel: &mut Channel,
        known: &'static [Subsystem],
    ) -> Result<bool, Problem> {
        let name = self.reader.string()?;
        self.finish()?;
        let subsystem = known.iter().find(|known| known.name.as_bytes() == name);
        let (ChannelPurpose::Bare, Direction::Open, Some(subsystem)) =
            (channel.purpose, channel.outward, subsystem)
        else {
            return Ok(false);
        };
        channel.purpose = ChannelPurpose::Running { window_change: subsystem.window_change };
        self.events.push_back(Event::Subsystem { channel: channel.id, name: subsystem.name });
        if channel.inward == Direction::Ended {
            self.events.push_back(Event::Eof { channel: channel.id });
        }
        Ok(true)
    }

    fn window_change(&mut self, channel: &mut Channel) -> Result<bool, Problem> {
        let size = (self.reader.u32()?, self.reader.u32()?);
        let _pixels = (self.reader.u32()?, self.reader.u32()?);
        self.finish()?;
        if channel.purpose != (ChannelPurpose::Running { window_change: true }) {
            return Ok(false);
        }
        // Only the last size counts, however many come before the owner looks.
        if channel.outward != Direction::Closed && channel.unreported_size.replace(size).is_none() {
            let (cols, rows) = size;
            self.events.push_back(Event::WindowChange { channel: channel.id, cols, rows });
        }
        Ok(true)
    }

    fn exit_status(&mut self, channel: &mut Channel) -> Result<bool, Problem> {
        let code = self.reader.u32()?;
        self.finish()?;
        let first = !std::mem::replace(&mut channel.exited, true);
        if first && channel.is_announced() && channel.outward != Direction::Closed {
            self.events.push_back(Event::ExitStatus { channel: channel.id, code });
        }
        Ok(true)
    }

    fn finish(&self) -> Result<(), WireError> {
        self.reader.clone().finish()
    }
}

fn put_refusal(remote: u32, code: u32, sender: &mut Sender) {
    sender.post(|out| {
        out.push(SSH_MSG_CHANNEL_OPEN_FAILURE);
        put_u32(out, remote);
        put_u32(out, code);
        put_string(out, b"refused");
        put_string(out, b"");
    });
}
