//! What a connection tells its owner.
//!
//! The life of a channel, as its events show it, is described at [`super::conn`].

use std::collections::VecDeque;
use std::fmt;

use super::channel::ChannelId;
use super::error::Error;
use super::keys::PublicKey;
use crate::limits;

/// Events that the owner has not taken yet.
pub(crate) type Events = VecDeque<Event>;

/// What a connection tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Server: may this key log in as this user? Input stops until
    /// [`Conn::authorize`](super::conn::Conn::authorize) is called. It is asked for a key that was
    /// only named and again for the one that signed; only [`Event::Authenticated`] says that
    /// somebody is in.
    KeyOffered {
        /// The user, at most [`limits::SSH_USER_BYTES_MAX`] bytes of anything.
        user: String,
        key: PublicKey,
    },
    /// Server: this key proved itself. Client: its own was accepted.
    Authenticated { key: PublicKey },
    /// Client: the channel is there and may be sent to.
    Opened { channel: ChannelId },
    /// Client: there is no such channel, or it has no such subsystem. The id is dead.
    Refused { channel: ChannelId, reason: ChannelRefusal },
    /// Server: a channel on which this subsystem was asked for.
    Subsystem {
        channel: ChannelId,
        /// The subsystem's name, as configured.
        name: &'static str,
    },
    /// Bytes were received where none were held.
    Readable { channel: ChannelId },
    /// There is room to send, where [`Conn::send`](super::conn::Conn::send) took less than it was
    /// given or [`Conn::send_space`](super::conn::Conn::send_space) was zero.
    Writable { channel: ChannelId },
    /// Server: the terminal has another size; anything from 0 to 2^32 − 1. Sizes that came before
    /// this was looked at are left out.
    WindowChange { channel: ChannelId, cols: u32, rows: u32 },
    /// Client: what the subsystem ended with.
    ExitStatus { channel: ChannelId, code: u32 },
    /// The peer has answered what [`Conn::probe`](super::conn::Conn::probe) asked: it has read all
    /// that was sent before that.
    Probed,
    /// The peer sends no more data.
    Eof { channel: ChannelId },
    /// Both sides have closed it, and everything was consumed. The id is dead.
    Closed { channel: ChannelId },
    /// The connection has ended. The last event.
    Disconnected(Error),
}

/// Why a client's channel is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelRefusal {
    /// The server does not open the channel.
    Channel {
        /// A reason of RFC 4254 §5.1.
        code: u32,
        /// The server's description, without control characters, cut.
        text: String,
    },
    /// The server does not have the subsystem.
    Subsystem,
}

impl fmt::Display for ChannelRefusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChannelRefusal::Channel { code, text } => {
                write!(out, "channel refused, reason {code}: {text:?}")
            }
            ChannelRefusal::Subsystem => out.write_str("subsystem refused"),
        }
    }
}

/// Why no channel can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Not authenticated, or not any more, or not a client.
    NotReady,
    /// [`limits::SSH_CHANNELS_MAX`] channels are there.
    Full,
}

impl fmt::Display for OpenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::NotReady => out.write_str("connection is not authenticated"),
            OpenError::Full => {
                write!(out, "connection has {} channels already", limits::SSH_CHANNELS_MAX)
            }
        }
    }
}

impl std::error::Error for OpenError {}
