//! [`Conn`]: one SSH connection, client or server, without its stream.
//!
//! Bytes and time go in through [`Endpoint`], events come out of [`Conn::poll_event`]. After every
//! call that is not a question, output, deadline and events may have changed.
//!
//! # A channel's life
//!
//! Client: [`Conn::open_subsystem`], then [`Event::Opened`] (data may be sent at once; the
//! subsystem may still be refused) or [`Event::Refused`], which is the last of it. Server:
//! [`Event::Subsystem`]. Then both: data, [`Event::Eof`] when the peer has no more (what it sent
//! may still wait in [`Conn::received`]), and [`Event::Closed`] when both sides have closed it
//! **and** everything received was consumed. A peer that closes gets its answer at once and its
//! data is kept until it is consumed, or dropped by [`Conn::close`]; what is sent to such a channel
//! is taken and dropped.

use std::fmt;
use std::sync::Arc;

use super::channel::{Channel, ChannelId, Direction};
use super::config::{ClientConfig, ServerConfig, Side};
use super::core::{Core, Deadline};
use super::error::Error;
use super::event::{Event, OpenError};
use super::names::{EXIT_STATUS, SSH_MSG_CHANNEL_REQUEST};
use super::packet::Inbox;
use super::sender::Sender;
use super::wire::{put_boolean, put_string, put_u32};
use crate::base::endpoint::Endpoint;
use crate::base::time::Mono;
use crate::limits;

pub struct Conn {
    inbox: Inbox,
    core: Core,
}

impl Conn {
    /// A client. `seed` is fresh entropy for this connection alone.
    pub fn client(config: Arc<ClientConfig>, seed: [u8; 32], now: Mono) -> Conn {
        Conn { inbox: Inbox::default(), core: Core::new(Side::Client(config), seed, now) }
    }

    /// A server. `seed` is fresh entropy for this connection alone.
    pub fn server(config: Arc<ServerConfig>, seed: [u8; 32], now: Mono) -> Conn {
        Conn { inbox: Inbox::default(), core: Core::new(Side::Server(config), seed, now) }
    }

    /// The next thing to know. To be called until there is none: input waits for it.
    pub fn poll_event(&mut self) -> Option<Event> {
        let mut event = self.core.events.pop_front();
        if let Some(Event::WindowChange { channel, cols, rows }) = &mut event
            && let Some(latest) = self.core.channels.take_size(*channel)
        {
            (*cols, *rows) = latest;
        }
        if self.core.events.is_empty() {
            self.work();
        }
        event
    }

    /// Server: the answer to [`Event::KeyOffered`]. Without such a question, or before it was seen,
    /// it does nothing: only a key that its owner has seen can be accepted.
    pub fn authorize(&mut self, accepted: bool) {
        let unseen = |event: &Event| matches!(event, Event::KeyOffered { .. });
        if self.core.events.iter().any(unseen) {
            return;
        }
        self.core.decide(accepted);
        self.work();
    }

    /// Client, after [`Event::Authenticated`]: asks for a channel with this subsystem.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was sent then.
    pub fn open_subsystem(&mut self, name: &'static str) -> Result<ChannelId, OpenError> {
        let core = &mut self.core;
        if !matches!(core.side, Side::Client(_)) || !core.is_authenticated() || core.is_ended() {
            return Err(OpenError::NotReady);
        }
        core.channels.open(name, &mut core.sender)
    }

    /// Client: tells the server the size of the terminal.
    pub fn window_change(&mut self, id: ChannelId, cols: u32, rows: u32) {
        if let Side::Server(_) = self.core.side {
            return;
        }
        if let Some((sender, channel)) = self.live(id) {
            channel.send_size((cols, rows), sender);
        }
    }

    /// Gives back the buffers that are empty, which would be kept for a while. For an owner of many
    /// connections that burst at the same time.
    pub(crate) fn rest(&mut self) {
        self.inbox.trim();
        self.core.trim();
    }

    /// What a channel has received and was not consumed, oldest first.
    pub fn received(&self, id: ChannelId) -> &[u8] {
        self.core.channels.get(id).map_or(&[], |channel| channel.received())
    }

    /// The first `len` bytes of [`Conn::received`] are dealt with, which also works after the end.
    /// Asserts that they are there.
    pub fn consume(&mut self, id: ChannelId, len: usize) {
        let core = &mut self.core;
        core.channels.consume(id, len, &mut core.sender, &mut core.events);
        if core.is_ended() {
            core.forget_events_after_the_last();
        }
    }

    /// How many bytes [`Conn::send`] would take now. After a zero, [`Event::Writable`] follows.
    pub fn send_space(&self, id: ChannelId) -> usize {
        let channel = self.core.channels.get(id).filter(|_| !self.core.is_ended());
        channel.map_or(0, |channel| channel.send_space(&self.core.sender))
    }

    /// Sends what there is room for, and says how much that was. If it was not all,
    /// [`Event::Writable`] follows.
    pub fn send(&mut self, id: ChannelId, bytes: &[u8]) -> usize {
        let Some((sender, channel)) = self.live(id) else { return 0 };
        let taken = channel.send(bytes, sender);
        self.core.rekey_if_due();
        self.watch();
        taken
    }

    /// Tells the peer that no more data comes, after all that was sent.
    pub fn send_eof(&mut self, id: ChannelId) {
        if let Some((sender, channel)) = self.live(id) {
            channel.send_eof(sender);
        }
    }

    /// Server: what the subsystem ended with. Belongs before [`Conn::close`].
    pub fn send_exit_status(&mut self, id: ChannelId, code: u32) {
        if let Side::Client(_) = self.core.side {
            return; // while it opens, a client's channel has no number yet that could be named
        }
        let Some((sender, channel)) = self.live(id) else { return };
        if channel.outward == Direction::Closed {
            return;
        }
        let remote = channel.remote();
        sender.post(|out| {
            out.push(SSH_MSG_CHANNEL_REQUEST);
            put_u32(out, remote);
            put_string(out, EXIT_STATUS.as_bytes());
            put_boolean(out, false);
            put_u32(out, code);
        });
    }

    /// Closes a channel, after all that was sent; what it received is dropped, and so is what still
    /// comes. [`Event::Closed`] follows when the peer has closed it too.
    pub fn close(&mut self, id: ChannelId) {
        let core = &mut self.core;
        if !core.is_ended() {
            core.channels.close(id, &mut core.sender, &mut core.events);
        }
    }

    /// Asks the peer for a sign of life now: its answer says that it has read all that was sent
    /// before. [`Event::Probed`] follows, unless such a question is open. To be called once.
    pub(crate) fn probe(&mut self) {
        let core = &mut self.core;
        if !core.is_ended() && core.sender.is_open() {
            core.is_probing = core.open_keepalives == 0;
            core.open_keepalives += 1;
            core.sender.post_keepalive();
        }
    }

    /// Asks the peer for any answer, which comes as input and as nothing else.
    pub(crate) fn ask_alive(&mut self) {
        if self.core.is_authenticated() && !self.core.is_ended() {
            self.core.ask_alive();
        }
    }

    /// Ends the connection and tells the peer why. [`Event::Disconnected`] follows.
    pub fn disconnect(&mut self, text: &'static str) {
        self.core.end(Error::ByUs(text));
    }

    /// Ends the connection for this reason. [`Event::Disconnected`] follows.
    pub(crate) fn end(&mut self, error: Error) {
        self.core.end(error);
    }

    /// Server, before authentication: how far the peer has come, as a number that grows.
    pub(crate) fn progress(&self) -> u8 {
        self.core.progress()
    }

    /// Server: whether the peer has had us make a key exchange and has not authenticated.
    pub(crate) fn has_cost_an_exchange(&self) -> bool {
        self.core.has_cost_an_exchange()
    }

    /// Server: whether it is over without authentication for what the peer did.
    pub(crate) fn is_failure(&self) -> bool {
        self.core.is_failure()
    }

    /// Key exchanges that are over, the first one included.
    pub fn exchanges(&self) -> u64 {
        self.core.exchanges()
    }

    /// Memory that buffers hold now, in bytes.
    pub fn allocated(&self) -> usize {
        let core = &self.core;
        self.inbox.allocated()
            + core.sender.allocated()
            + core.channels.allocated()
            + core.events.capacity() * size_of::<Event>()
    }

    /// The channel and the way out, while the connection lives.
    fn live(&mut self, id: ChannelId) -> Option<(&mut Sender, &mut Channel)> {
        if self.core.is_ended() {
            return None;
        }
        let channel = self.core.channels.get_mut(id)?;
        Some((&mut self.core.sender, channel))
    }

    /// Works off what is in the receive buffer.
    fn work(&mut self) {
        while !self.core.is_blocked() {
            match self.core.step(self.inbox.held()) {
                Ok(0) => break,
                Ok(taken) => self.inbox.consume(taken),
                Err(error) => self.core.end(error),
            }
        }
        self.inbox.settle();
        self.watch();
    }

    /// Buffers that have grown are looked at later.
    fn watch(&mut self) {
        if !self.core.is_watching() && self.allocated() > limits::SSH_REST_BYTES {
            self.core.watch_buffers();
        }
    }

    /// The most that the receive buffer may grow to now.
    fn inbox_bytes_max(&self) -> usize {
        match self.core.is_authenticated() {
            true => limits::SSH_INBOX_BYTES_MAX,
            false => limits::SSH_INBOX_PREAUTH_BYTES_MAX,
        }
    }
}

impl Endpoint for Conn {
    fn input_space(&mut self) -> &mut [u8] {
        match self.core.is_blocked() {
            true => &mut [],
            false => self.inbox.space(),
        }
    }

    fn input(&mut self, now: Mono, len: usize) {
        self.core.note_input(now);
        let max = self.inbox_bytes_max();
        self.inbox.filled(len, max);
        self.work();
    }

    fn input_end(&mut self, now: Mono) {
        self.core.input_end(now);
    }

    fn output(&self) -> &[u8] {
        self.core.sender.output()
    }

    fn output_sent(&mut self, len: usize) {
        let core = &mut self.core;
        let was_blocked = core.sender.is_over_mark();
        core.sender.sent(len);
        if core.is_ended() {
            return;
        }
        if core.sender.len() <= limits::SSH_SEND_QUEUE_BYTES / 2 {
            core.channels.wake_senders(&core.sender, &mut core.events);
        }
        if was_blocked {
            self.work();
        }
    }

    fn deadline(&self) -> Option<Mono> {
        self.core.timers.next()
    }

    fn tick(&mut self, now: Mono) {
        self.core.tick(now);
        if self.core.timers.expire(Deadline::Trim, now) {
            self.rest();
            self.watch();
        }
    }

    fn is_finished(&self) -> bool {
        self.core.is_ended()
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Conn({:?}, {:?})", self.core.side.role(), self.core.state())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::keys::KeyPair;
    use crate::ssh::{ClientConfig, ServerConfig, Tuning};

    fn pair() -> (Conn, Conn) {
        let (host_key, key) = (KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32]));
        let (user, tuning) = ("claude".to_owned(), Tuning::default());
        let client =
            ClientConfig { user, key, host_key: *host_key.public(), tuning: tuning.clone() };
        let server = ServerConfig { host_key, subsystems: &[], tuning };
        let client = Conn::client(Arc::new(client), [3; 32], Mono::ZERO);
        (client, Conn::server(Arc::new(server), [4; 32], Mono::ZERO))
    }

    fn carry(from: &mut Conn, to: &mut Conn) {
        while !from.output().is_empty() {
            let count = from.output().len().min(to.input_space().len());
            to.input_space()[..count].copy_from_slice(&from.output()[..count]);
            from.output_sent(count);
            to.input(Mono::ZERO, count);
            while let Some(event) = to.poll_event() {
                if let Event::KeyOffered { .. } = event {
                    to.authorize(true);
                }
            }
        }
    }

    /// A key exchange costs the listener more than its peer.
    #[test]
    fn who_leaves_after_the_exchange_and_without_a_key_has_failed() {
        for (is_far_enough, has_failed) in [
            ((|_| true) as fn(&Conn) -> bool, false),
            (|server| server.has_cost_an_exchange(), true),
            (|server| server.core.is_authenticated(), false),
        ] {
            let (mut client, mut server) = pair();
            while !is_far_enough(&server) {
                carry(&mut server, &mut client);
                carry(&mut client, &mut server);
            }
            server.input_end(Mono::ZERO);
            assert_eq!(server.is_failure(), has_failed);
        }
    }
}
