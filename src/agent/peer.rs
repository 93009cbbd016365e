//! One SSH connection to the agent: who is there, and what is on its channels.
//!
//! It owns the connection and, for each channel, the exchange or the relay that is on it. Calls and
//! attach headers come out as events; answers and terminal bytes go in by methods. Terminal bytes
//! stay in the connection's own windows on their way, in both directions: nothing is copied here
//! and nothing grows. It decides nothing about keys, sessions or terminals.
//!
//! The driver's turn is that of any [`Endpoint`], then [`Peer::poll_event`] until it gives nothing;
//! after each method too.

use std::collections::VecDeque;
use std::sync::Arc;

use super::exchange::Exchange;
use super::relay::{Inflow, Relay};
use crate::base::endpoint::Endpoint;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::limits::RPC_INCOMPLETE_BYTES_MAX;
use crate::rpc::attach::{AttachHeader, TerminalSize};
use crate::rpc::call::Call;
use crate::rpc::{ATTACH_SUBSYSTEM, RPC_SUBSYSTEM};
use crate::ssh::keys::PublicKey;
use crate::ssh::{ChannelId, Conn, Error, Event, ServerConfig, Subsystem};

/// What the agent's listener offers.
pub const SUBSYSTEMS: &[Subsystem] = &[
    Subsystem { name: RPC_SUBSYSTEM, window_change: false },
    Subsystem { name: ATTACH_SUBSYSTEM, window_change: true },
];

/// What stock clients exit with after an answer, whatever it says.
const EXIT_ANSWERED: u32 = 0;
/// What they exit with when a terminal cannot be had, as our own client does.
const EXIT_REFUSED: u32 = 255;

#[derive(Debug)]
pub struct Peer {
    conn: Conn,
    channels: SortedMap<ChannelId, Channel>,
    events: VecDeque<PeerEvent>,
    now: Mono,
}

#[derive(Debug)]
enum Channel {
    Exchange(Exchange),
    Relay(Relay),
    /// Everything was sent; the peer's close is waited for.
    Closing,
}

/// What a connection tells the driver.
#[derive(Debug)]
pub enum PeerEvent {
    /// May this key log in? Input stops until [`Conn::authorize`].
    KeyOffered {
        /// As which user: not looked at, the key alone says who it is.
        user: String,
        key: PublicKey,
    },
    /// This key has proved itself.
    Authenticated { key: PublicKey },
    /// A call, to be answered with [`Peer::answer`].
    Call { channel: ChannelId, call: Call },
    /// A terminal wants in: [`Peer::terminal_opened`] or [`Peer::terminal_refused`] follows.
    Attach {
        channel: ChannelId,
        /// What it said of itself.
        header: AttachHeader,
    },
    /// A terminal has another size. May come before it is open.
    Resize { channel: ChannelId, size: TerminalSize },
    /// There are bytes in [`Peer::terminal_input`], where there were none.
    TerminalInput { channel: ChannelId },
    /// There is room for [`Peer::terminal_output`] again.
    TerminalSpace { channel: ChannelId },
    /// The channel is gone; its id is dead. Comes for every channel that had a call or a header,
    /// but not after [`PeerEvent::Gone`].
    ChannelGone { channel: ChannelId },
    /// The connection is gone, and all of its channels. The last event.
    Gone(Error),
}

impl Peer {
    /// A connection that was accepted `now`. `config` offers [`SUBSYSTEMS`].
    pub fn new(config: Arc<ServerConfig>, seed: [u8; 32], now: Mono) -> Peer {
        Peer {
            conn: Conn::server(config, seed, now),
            channels: SortedMap::new(),
            events: VecDeque::new(),
            now,
        }
    }

    /// What has happened, oldest first.
    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        while self.events.is_empty() {
            let event = self.conn.poll_event()?;
            self.on_event(event);
        }
        self.events.pop_front()
    }

    /// Answers [`PeerEvent::KeyOffered`].
    pub fn authorize(&mut self, verdict: bool) {
        self.conn.authorize(verdict);
    }

    pub(crate) fn conn(&self) -> &Conn {
        &self.conn
    }

    pub(crate) fn conn_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// Answers [`PeerEvent::Call`] with a response line. On a channel that is gone it is dropped.
    pub fn answer(&mut self, channel: ChannelId, line: Vec<u8>) {
        let unread = self.channels.values().map(Channel::unread_bytes).sum();
        if let Some(Channel::Exchange(exchange)) = self.channels.get_mut(&channel) {
            exchange.answer(self.now, line, unread);
            self.flush(channel);
        }
    }

    // --- terminals ---

    /// The terminal of [`PeerEvent::Attach`] is attached: bytes flow.
    pub(crate) fn terminal_opened(&mut self, channel: ChannelId) {
        if let Some(relay) = self.relay_mut(channel) {
            relay.opened();
            self.read(channel);
        }
    }

    /// The terminal of [`PeerEvent::Attach`] cannot be had: the peer gets one line and the end.
    pub(crate) fn terminal_refused(&mut self, channel: ChannelId, text: String) {
        if let Some(relay) = self.relay_mut(channel) {
            relay.refuse(text);
            self.flush(channel);
        }
    }

    /// The terminal has ended, and the last of its output was taken by [`Peer::terminal_output`]:
    /// exit status, EOF and close follow behind it.
    pub(crate) fn terminal_ended(&mut self, channel: ChannelId, exit_status: u32) {
        if let Some(relay) = self.relay_mut(channel) {
            relay.ended(exit_status);
            self.flush(channel);
        }
    }

    /// What was typed and not consumed yet. Empty unless the terminal is open and may be typed in.
    pub(crate) fn terminal_input(&self, channel: ChannelId) -> &[u8] {
        match self.channels.get(&channel) {
            Some(Channel::Relay(relay)) if relay.inflow() == Inflow::Pass => {
                self.conn.received(channel)
            }
            _ => &[],
        }
    }

    /// The first `len` bytes of [`Peer::terminal_input`] have reached the terminal.
    pub(crate) fn terminal_consumed(&mut self, channel: ChannelId, len: usize) {
        self.conn.consume(channel, len);
    }

    /// How much output would be taken now.
    pub(crate) fn terminal_space(&self, channel: ChannelId) -> usize {
        match self.channels.get(&channel) {
            Some(Channel::Relay(relay)) if relay.is_open() => self.conn.send_space(channel),
            _ => 0,
        }
    }

    /// Output of the terminal. Returns how much was taken; [`PeerEvent::TerminalSpace`] says when
    /// there is room for the rest.
    #[must_use = "what was not taken is still the caller's"]
    pub(crate) fn terminal_output(&mut self, channel: ChannelId, bytes: &[u8]) -> usize {
        match self.channels.get(&channel) {
            Some(Channel::Relay(relay)) if relay.is_open() => self.conn.send(channel, bytes),
            _ => 0,
        }
    }

    // --- what the connection tells ---

    fn on_event(&mut self, event: Event) {
        match event {
            Event::KeyOffered { user, key } => {
                self.events.push_back(PeerEvent::KeyOffered { user, key });
            }
            Event::Authenticated { key } => self.events.push_back(PeerEvent::Authenticated { key }),
            Event::Subsystem { channel, name } => self.begin(channel, name),
            Event::Readable { channel } => self.read(channel),
            Event::Writable { channel } => self.writable(channel),
            Event::WindowChange { channel, cols, rows } => {
                let size = TerminalSize::clamped(cols, rows);
                if self.relay_mut(channel).is_some() {
                    self.events.push_back(PeerEvent::Resize { channel, size });
                }
            }
            Event::Eof { channel } => self.input_ended(channel),
            Event::Closed { channel } => {
                if self.channels.remove(&channel).is_some() {
                    self.events.push_back(PeerEvent::ChannelGone { channel });
                }
            }
            Event::Disconnected(error) => {
                self.channels.clear();
                self.events.push_back(PeerEvent::Gone(error));
            }
            // A server is not told these.
            Event::Opened { .. }
            | Event::Refused { .. }
            | Event::ExitStatus { .. }
            | Event::Probed => {}
        }
    }

    fn begin(&mut self, channel: ChannelId, name: &str) {
        let begun = match name {
            RPC_SUBSYSTEM => Channel::Exchange(Exchange::new(self.now)),
            _ => Channel::Relay(Relay::new(self.now)),
        };
        self.channels.insert(channel, begun);
        self.read(channel);
    }

    /// Takes what the peer has sent as far as it is wanted now.
    fn read(&mut self, id: ChannelId) {
        let bytes = self.conn.received(id);
        let taken = match self.channels.get_mut(&id) {
            Some(Channel::Exchange(exchange)) => {
                let call = exchange.input(self.now, bytes);
                self.events.extend(call.map(|call| PeerEvent::Call { channel: id, call }));
                bytes.len()
            }
            Some(Channel::Relay(relay)) if relay.wants_header() => {
                let (taken, header) = relay.header(bytes);
                let attach = |header| PeerEvent::Attach { channel: id, header };
                self.events.extend(header.map(attach));
                taken
            }
            Some(Channel::Relay(_)) => 0,
            Some(Channel::Closing) | None => bytes.len(),
        };
        self.conn.consume(id, taken);
        self.bound_incomplete(id);
        self.pass_on(id);
        self.flush(id);
    }

    /// Whoever takes the sum over what a connection may have loses its request.
    fn bound_incomplete(&mut self, id: ChannelId) {
        let held = |channel: &Channel| match channel {
            Channel::Exchange(exchange) => exchange.incomplete_bytes(),
            Channel::Relay(_) | Channel::Closing => 0,
        };
        if self.channels.get(&id).map_or(0, held) > 0
            && self.channels.values().map(held).sum::<usize>() > RPC_INCOMPLETE_BYTES_MAX
            && let Some(Channel::Exchange(exchange)) = self.channels.get_mut(&id)
        {
            exchange.crowd_out(self.now);
        }
    }

    /// What follows a header is the terminal's, or nobody's.
    fn pass_on(&mut self, id: ChannelId) {
        let Some(Channel::Relay(relay)) = self.channels.get(&id) else {
            return;
        };
        let held = self.conn.received(id).len();
        match relay.inflow() {
            _ if held == 0 => {}
            Inflow::Pass => self.events.push_back(PeerEvent::TerminalInput { channel: id }),
            Inflow::Drop => self.conn.consume(id, held),
            Inflow::Hold => {}
        }
    }

    fn input_ended(&mut self, id: ChannelId) {
        match self.channels.get_mut(&id) {
            Some(Channel::Exchange(exchange)) => {
                let call = exchange.input_end(self.now);
                self.events.extend(call.map(|call| PeerEvent::Call { channel: id, call }));
            }
            Some(Channel::Relay(relay)) => relay.input_end(),
            Some(Channel::Closing) | None => {}
        }
        self.flush(id);
    }

    fn writable(&mut self, id: ChannelId) {
        self.flush(id);
        if self.terminal_space(id) > 0 {
            self.events.push_back(PeerEvent::TerminalSpace { channel: id });
        }
    }

    // --- what goes to the peer ---

    /// Sends what exchange or relay have to say themselves, and the end when it has come.
    fn flush(&mut self, id: ChannelId) {
        let exit_status = match self.channels.get_mut(&id) {
            Some(Channel::Exchange(exchange)) => {
                let sent = self.conn.send(id, exchange.output());
                exchange.output_sent(self.now, sent);
                exchange.is_done().then_some(EXIT_ANSWERED)
            }
            Some(Channel::Relay(relay)) => {
                let sent = self.conn.send(id, relay.output());
                relay.output_sent(sent);
                relay.end().map(|status| status.unwrap_or(EXIT_REFUSED))
            }
            Some(Channel::Closing) | None => None,
        };
        if let Some(exit_status) = exit_status {
            self.conn.send_exit_status(id, exit_status);
            self.conn.send_eof(id);
            self.conn.close(id);
            self.channels.insert(id, Channel::Closing);
        }
    }

    fn relay_mut(&mut self, id: ChannelId) -> Option<&mut Relay> {
        match self.channels.get_mut(&id) {
            Some(Channel::Relay(relay)) => Some(relay),
            _ => None,
        }
    }

    fn tick_channels(&mut self, now: Mono) {
        let is_due = |channel: &Channel| channel.deadline().is_some_and(|at| at <= now);
        let due: Vec<ChannelId> =
            self.channels.iter().filter(|(_, it)| is_due(it)).map(|(id, _)| *id).collect();
        // The bytes of one answer may hold up the others.
        let latest = self.channels.values().filter_map(Channel::answers_until).max();
        for id in due {
            match self.channels.get_mut(&id) {
                Some(Channel::Exchange(exchange)) => {
                    if exchange.tick(now) {
                        match latest.filter(|latest| *latest > now) {
                            Some(latest) => exchange.wait_until(latest),
                            None => return self.conn.disconnect("an answer is not read"),
                        }
                    }
                }
                Some(Channel::Relay(relay)) => relay.tick(now),
                Some(Channel::Closing) | None => {}
            }
            self.flush(id);
        }
    }
}

impl Channel {
    fn answers_until(&self) -> Option<Mono> {
        match self {
            Channel::Exchange(exchange) => exchange.answers_until(),
            Channel::Relay(_) | Channel::Closing => None,
        }
    }

    fn unread_bytes(&self) -> usize {
        match self {
            Channel::Exchange(exchange) => exchange.unread_bytes(),
            Channel::Relay(_) | Channel::Closing => 0,
        }
    }

    fn deadline(&self) -> Option<Mono> {
        match self {
            Channel::Exchange(exchange) => exchange.deadline(),
            Channel::Relay(relay) => relay.deadline(),
            Channel::Closing => None,
        }
    }
}

impl Endpoint for Peer {
    fn input_space(&mut self) -> &mut [u8] {
        self.conn.input_space()
    }

    fn input(&mut self, now: Mono, len: usize) {
        self.now = now;
        self.conn.input(now, len);
    }

    fn input_end(&mut self, now: Mono) {
        self.now = now;
        self.conn.input_end(now);
    }

    fn output(&self) -> &[u8] {
        self.conn.output()
    }

    fn output_sent(&mut self, len: usize) {
        self.conn.output_sent(len);
    }

    fn deadline(&self) -> Option<Mono> {
        let channels = self.channels.values().filter_map(Channel::deadline);
        channels.chain(self.conn.deadline()).min()
    }

    fn tick(&mut self, now: Mono) {
        self.now = now;
        self.conn.tick(now);
        self.tick_channels(now);
    }

    fn is_finished(&self) -> bool {
        self.conn.is_finished()
    }
}

#[cfg(test)]
mod tests;
