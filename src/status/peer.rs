//! One connection of tcp/223: an agent that proves itself, and its status channel.
//!
//! It owns the connection and the [`Listener`] that is on its channel, and moves the bytes between
//! the two. What the hub has no room for stays in the connection's window, so an agent is slowed
//! and nothing grows. There is one channel; another one is closed at once.
//!
//! ```text
//! Proving ─key proved, subsystem asked for→ Listening ─the agent has no more→ Ending
//!         ─all of it is taken→ Closing ─the agent has closed its side, too→ disconnected
//! ```
//!
//! The channel is closed before the connection: a client that hears DISCONNECT may drop what it has
//! not shown yet.

use std::collections::VecDeque;
use std::sync::Arc;

use super::hub::Hub;
use super::listener::{Listener, ListenerNote};
use crate::base::endpoint::Wraps;
use crate::base::time::{Mono, Now};
use crate::rpc::STATUS_SUBSYSTEM;
use crate::ssh::keys::PublicKey;
use crate::ssh::{ChannelId, Conn, Event, ServerConfig, Subsystem};

/// What the status listener offers.
pub const SUBSYSTEMS: &[Subsystem] = &[Subsystem { name: STATUS_SUBSYSTEM, window_change: false }];

#[derive(Debug)]
pub(crate) struct Peer {
    conn: Conn,
    state: PeerState,
    events: VecDeque<PeerEvent>,
}

#[derive(Debug)]
enum PeerState {
    Proving,
    Listening {
        channel: ChannelId,
        listener: Box<Listener>,
    },
    /// What has come is still to be taken.
    Ending {
        channel: ChannelId,
        listener: Box<Listener>,
    },
    /// Our side is closed.
    Closing {
        channel: ChannelId,
        listener: Box<Listener>,
    },
}

/// Why a connection whose channel has ended is over.
const CHANNEL_CLOSED: &str = "status channel is closed";

/// What a connection tells its driver.
#[derive(Debug)]
pub(crate) enum PeerEvent {
    /// May this key log in? Input stops until [`Conn::authorize`].
    KeyOffered(PublicKey),
    /// This key has proved itself.
    Authenticated(PublicKey),
    /// It wants to tell events: [`Peer::listen`] follows, or [`Conn::disconnect`].
    Subsystem(ChannelId),
    /// The agent is gone, in words, and no later event says more. What has come before it waits for
    /// [`Peer::work`].
    Gone(String),
}

impl Peer {
    /// A connection that was accepted `now`. `config` offers [`SUBSYSTEMS`].
    pub(crate) fn new(config: Arc<ServerConfig>, seed: [u8; 32], now: Mono) -> Peer {
        let conn = Conn::server(config, seed, now);
        Peer { conn, state: PeerState::Proving, events: VecDeque::new() }
    }

    /// What has happened, oldest first. To be asked until there is nothing, after every other call.
    pub(crate) fn poll_event(&mut self) -> Option<PeerEvent> {
        while self.events.is_empty() {
            let event = self.conn.poll_event()?;
            self.heard(event);
        }
        self.events.pop_front()
    }

    pub(crate) fn conn(&self) -> &Conn {
        &self.conn
    }

    /// For the answer to [`PeerEvent::KeyOffered`], and for the end.
    pub(crate) fn conn_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// Answers [`PeerEvent::Subsystem`].
    pub(crate) fn listen(&mut self, channel: ChannelId, listener: Listener) {
        self.state = PeerState::Listening { channel, listener: Box::new(listener) };
    }

    /// Ends the connection, in words.
    pub(crate) fn disconnect(&mut self, text: &'static str) {
        self.conn.disconnect(text);
    }

    /// Moves what can be moved between the channel and the hub. To be called when bytes have come
    /// or left, and when something has become durable or the hub has room again.
    pub(crate) fn work(&mut self, now: Now, hub: &mut Hub) {
        let (PeerState::Listening { channel, listener } | PeerState::Ending { channel, listener }) =
            &mut self.state
        else {
            return;
        };
        let taken = listener.input(now, self.conn.received(*channel), hub);
        self.conn.consume(*channel, taken);
        listener.settle(hub);
        while !listener.output().is_empty() {
            let sent = self.conn.send(*channel, listener.output());
            if sent == 0 {
                break;
            }
            listener.output_sent(sent, hub);
        }
        if listener.is_failed() {
            self.conn.close(*channel);
            self.conn.disconnect("event line is too long");
        } else {
            self.close_if_drained();
        }
    }

    /// Whether it tells events, or could.
    pub(crate) fn is_telling(&self) -> bool {
        matches!(self.state, PeerState::Listening { .. } | PeerState::Ending { .. })
    }

    /// Gives back the memory that is not in use now.
    pub(crate) fn rest(&mut self) {
        self.conn.rest();
    }

    /// Something for the log.
    pub(crate) fn poll_note(&mut self) -> Option<ListenerNote> {
        match &mut self.state {
            PeerState::Listening { listener, .. }
            | PeerState::Ending { listener, .. }
            | PeerState::Closing { listener, .. } => listener.poll_note(),
            PeerState::Proving => None,
        }
    }

    fn heard(&mut self, event: Event) {
        match event {
            Event::KeyOffered { key, .. } => self.events.push_back(PeerEvent::KeyOffered(key)),
            Event::Authenticated { key } => self.events.push_back(PeerEvent::Authenticated(key)),
            Event::Subsystem { channel, .. } => match self.state {
                PeerState::Proving => self.events.push_back(PeerEvent::Subsystem(channel)),
                PeerState::Listening { .. }
                | PeerState::Ending { .. }
                | PeerState::Closing { .. } => {
                    self.conn.close(channel);
                }
            },
            Event::Eof { channel } => self.end(channel),
            // All that came was taken before this is told.
            Event::Closed { channel } if self.channel() == Some(channel) => {
                self.conn.disconnect(CHANNEL_CLOSED);
            }
            Event::Disconnected(error) => {
                self.events.push_back(PeerEvent::Gone(error.to_string()));
            }
            // Bytes are looked at by work(); the rest is only for clients.
            _ => {}
        }
    }

    /// The agent sends no more on its channel.
    fn end(&mut self, id: ChannelId) {
        self.state = match std::mem::replace(&mut self.state, PeerState::Proving) {
            PeerState::Listening { channel, listener } if channel == id => {
                PeerState::Ending { channel, listener }
            }
            state => state,
        };
    }

    /// The agent has no more, and all of it was taken: our side of the channel is over.
    fn close_if_drained(&mut self) {
        self.state = match std::mem::replace(&mut self.state, PeerState::Proving) {
            PeerState::Ending { channel, listener } if self.conn.received(channel).is_empty() => {
                self.conn.close(channel);
                self.events.push_back(PeerEvent::Gone(CHANNEL_CLOSED.to_owned()));
                PeerState::Closing { channel, listener }
            }
            state => state,
        };
    }

    fn channel(&self) -> Option<ChannelId> {
        match self.state {
            PeerState::Proving => None,
            PeerState::Listening { channel, .. }
            | PeerState::Ending { channel, .. }
            | PeerState::Closing { channel, .. } => Some(channel),
        }
    }
}

impl Wraps for Peer {
    type Inner = Conn;

    fn inner(&self) -> &Conn {
        &self.conn
    }

    fn inner_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}
