//! One agent and the requests on their way to it.
//!
//! Each request is one channel: a line goes out, one bounded line comes back. Many are in flight at
//! once and none waits for another; those that come before the connection is there wait for it.
//! Every request gets exactly one answer: the agent's, its deadline, or the loss. A request whose
//! line may have left is never sent twice.
//!
//! The owner may open channels of its own (a terminal); their events are passed through.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::base::endpoint::Endpoint;
use crate::base::lines::Lines;
use crate::base::slots::{Key, Slots};
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::base::unreached::Unreached;
use crate::fleet::connection::{
    Connection, ConnectionEvent, ConnectionStatus, Lost, Mode, StreamAction,
};
use crate::fleet::registry::KnownAgent;
use crate::limits::{MEMBER_REQUESTS_MAX, RPC_RESPONSE_BYTES_MAX};
use crate::rpc::RPC_SUBSYSTEM;
use crate::rpc::call::Call;
use crate::rpc::response;
use crate::ssh::{self, ChannelId, Conn};

/// What a member tells its owner.
#[derive(Debug)]
pub enum MemberEvent {
    /// The connection is there.
    Ready,
    /// A request's one answer; its key is dead now.
    Answered {
        request: Key,
        /// The result, or why there is none.
        answer: Result<Value, RequestError>,
    },
    /// The connection is gone; [`Member::status`] says whether it will be dialled again.
    Lost(Lost),
    /// Something happened on a channel of the owner's.
    Channel(ssh::Event),
}

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The agent said no, in its own words.
    Refused(String),
    /// There is no connection; nothing was asked.
    Unreachable(Lost),
    /// The connection was lost after asking: whether the agent acted is not known.
    Unknown(Lost),
    /// No answer in time: whether the agent acted is not known.
    TimedOut,
    /// What came back is no answer.
    BadAnswer(String),
    /// So many requests are waiting for this agent that no more is taken.
    Full,
}

impl fmt::Display for RequestError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Refused(text) => out.write_str(text),
            RequestError::Unreachable(lost) => lost.fmt(out),
            RequestError::Unknown(lost) => {
                write!(out, "{lost}; whether the request was carried out is not known")
            }
            RequestError::TimedOut => {
                out.write_str("no answer in time; whether the request was carried out is not known")
            }
            RequestError::BadAnswer(text) => write!(out, "answer not understood: {text}"),
            RequestError::Full => {
                write!(out, "{MEMBER_REQUESTS_MAX} requests are waiting for this agent already")
            }
        }
    }
}

impl std::error::Error for RequestError {}

struct PendingRequest {
    deadline: Mono,
    line: Vec<u8>,
    stage: RequestStage,
}

enum RequestStage {
    /// Nothing is open for it yet.
    Queued,
    /// A channel was asked for; nothing of the line has left.
    Opening { channel: ChannelId },
    /// This much of the line has left.
    Sending { channel: ChannelId, sent: usize },
    /// All of it has, or the agent answers already.
    Receiving { channel: ChannelId, lines: Lines },
}

impl RequestStage {
    fn channel(&self) -> Option<ChannelId> {
        match *self {
            RequestStage::Queued => None,
            RequestStage::Opening { channel }
            | RequestStage::Sending { channel, .. }
            | RequestStage::Receiving { channel, .. } => Some(channel),
        }
    }
}

/// What a channel is for.
#[derive(Clone, Copy)]
enum ChannelUse {
    Request(Key),
    Owner,
}

/// One agent's connection with its requests.
pub struct Member {
    connection: Connection,
    requests: Slots<PendingRequest>,
    /// Live channels; one that is not here is on its way out and nobody's.
    channels: SortedMap<ChannelId, ChannelUse>,
    events: VecDeque<MemberEvent>,
}

impl Member {
    /// A member that wants to be dialled at once. `seed` is for the jitter of its waits.
    pub(crate) fn new(agent: Arc<KnownAgent>, mode: Mode, seed: [u8; 32], now: Mono) -> Member {
        Member {
            connection: Connection::new(agent, mode, seed, now),
            requests: Slots::new(MEMBER_REQUESTS_MAX),
            channels: SortedMap::new(),
            events: VecDeque::new(),
        }
    }

    /// Asks the agent. The answer comes as [`MemberEvent::Answered`], at `deadline` the latest.
    ///
    /// # Errors
    /// [`RequestError::Full`], or [`RequestError::Unreachable`] if the connection is over.
    pub(crate) fn request(&mut self, call: &Call, deadline: Mono) -> Result<Key, RequestError> {
        if let (ConnectionStatus::Over, Some(lost)) = (self.status(), self.connection.last_error())
        {
            return Err(RequestError::Unreachable(lost.clone()));
        }
        let request =
            PendingRequest { deadline, line: call.to_line(), stage: RequestStage::Queued };
        let key = self.requests.insert(request).map_err(|_| RequestError::Full)?;
        self.start(key);
        Ok(key)
    }

    /// Opens a channel whose events come as [`MemberEvent::Channel`]. `None` unless the connection
    /// is ready and has room.
    pub(crate) fn open(&mut self, subsystem: &'static str) -> Option<ChannelId> {
        let channel = self.connection.conn()?.open_subsystem(subsystem).ok()?;
        self.channels.insert(channel, ChannelUse::Owner);
        Some(channel)
    }

    /// The transport, for the owner's own channels; `None` unless the connection is ready.
    pub(crate) fn conn(&mut self) -> Option<&mut Conn> {
        self.connection.conn()
    }

    /// The transport for looking; `None` unless the connection is ready.
    pub(crate) fn ready(&self) -> Option<&Conn> {
        self.connection.ready()
    }

    /// The stream is open. `seed` is fresh entropy for this connection's secrets.
    pub fn connected(&mut self, now: Mono, seed: [u8; 32]) {
        self.connection.connected(now, seed);
    }

    /// The address is known, and a stream to it is being opened.
    pub(crate) fn connects_started(&mut self, now: Mono) {
        self.connection.connects_started(now);
    }

    /// The stream could not be opened.
    pub fn dial_failed(&mut self, now: Mono, why: &Unreached) {
        self.connection.dial_failed(now, why);
    }

    /// There is news of the agent from elsewhere: a wait is over.
    pub(crate) fn reconnect_now(&mut self, now: Mono) {
        self.connection.reconnect_now(now);
    }

    /// Changes what happens after the next loss.
    pub(crate) fn set_mode(&mut self, mode: Mode) {
        self.connection.set_mode(mode);
    }

    /// Ends the connection for good.
    pub(crate) fn close(&mut self) {
        self.connection.close();
    }

    /// What has happened. To be asked until it says `None`, after every other call.
    pub(crate) fn poll_event(&mut self, now: Mono) -> Option<MemberEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            match self.connection.poll(now)? {
                ConnectionEvent::Ready => {
                    self.start_all();
                    return Some(MemberEvent::Ready);
                }
                ConnectionEvent::Lost(lost) => self.lose(&lost),
                ConnectionEvent::Channel(event) => self.on_channel(event),
            }
        }
    }

    /// What the driver is to do. To be asked after every other call.
    pub(crate) fn poll_action(&mut self) -> Option<StreamAction> {
        self.connection.poll_action()
    }

    /// Which agent this is.
    pub(crate) fn agent(&self) -> &Arc<KnownAgent> {
        self.connection.agent()
    }

    /// Where the connection stands.
    pub fn status(&self) -> ConnectionStatus {
        self.connection.status()
    }

    /// Requests that have no answer yet.
    pub fn requests_open(&self) -> usize {
        self.requests.len()
    }

    fn start_all(&mut self) {
        let queued: Vec<_> = self
            .requests
            .iter()
            .filter(|(_, request)| matches!(request.stage, RequestStage::Queued))
            .map(|(key, _)| key)
            .collect();
        for key in queued {
            self.start(key);
        }
    }

    /// Opens a request's channel. Without a connection, or if all channels are in use, it stays
    /// queued until [`ConnectionEvent::Ready`] or the next channel's close.
    fn start(&mut self, key: Key) {
        let Some(conn) = self.connection.conn() else { return };
        let Some(request) = self.requests.get_mut(key) else { return };
        if let Ok(channel) = conn.open_subsystem(RPC_SUBSYSTEM) {
            request.stage = RequestStage::Opening { channel };
            self.channels.insert(channel, ChannelUse::Request(key));
        }
    }

    fn on_channel(&mut self, event: ssh::Event) {
        let Some(channel) = channel_of(&event) else { return };
        let is_last = matches!(event, ssh::Event::Closed { .. } | ssh::Event::Refused { .. });
        let purpose = self.channels.get(&channel).copied();
        if is_last {
            self.channels.remove(&channel);
        }
        match purpose {
            Some(ChannelUse::Request(key)) => self.on_request(key, channel, event),
            Some(ChannelUse::Owner) => {
                if matches!(event, ssh::Event::Readable { .. }) {
                    self.connection.answered();
                }
                self.events.push_back(MemberEvent::Channel(event));
            }
            None => {}
        }
        if is_last {
            self.start_all();
        }
    }

    fn on_request(&mut self, key: Key, channel: ChannelId, event: ssh::Event) {
        match event {
            ssh::Event::Opened { .. } => {
                if let Some(request) = self.requests.get_mut(key) {
                    request.stage = RequestStage::Sending { channel, sent: 0 };
                }
                self.send(key);
            }
            ssh::Event::Writable { .. } => self.send(key),
            ssh::Event::Readable { .. } => self.receive(key, channel),
            ssh::Event::Eof { .. } => {
                self.receive(key, channel);
                self.receive_end(key);
            }
            ssh::Event::Closed { .. } => self.receive_end(key),
            ssh::Event::Refused { .. } => {
                let text = format!("the host does not offer {RPC_SUBSYSTEM}");
                self.finish(key, Err(RequestError::Refused(text)));
            }
            _ => {}
        }
    }

    /// Sends what the channel takes of the request's line.
    fn send(&mut self, key: Key) {
        let Some(conn) = self.connection.conn() else { return };
        let Some(request) = self.requests.get_mut(key) else { return };
        let RequestStage::Sending { channel, sent } = &mut request.stage else { return };
        *sent += conn.send(*channel, &request.line[*sent..]);
        if *sent == request.line.len() {
            let lines = Lines::new(RPC_RESPONSE_BYTES_MAX);
            request.stage = RequestStage::Receiving { channel: *channel, lines };
            request.line = Vec::new();
        }
    }

    /// Takes what the agent has sent; a whole line is the answer. An answer that comes before the
    /// request has left is one, too: the agent has seen enough.
    fn receive(&mut self, key: Key, channel: ChannelId) {
        let Some(conn) = self.connection.conn() else { return };
        let Some(request) = self.requests.get_mut(key) else { return };
        if !matches!(request.stage, RequestStage::Receiving { .. }) {
            let lines = Lines::new(RPC_RESPONSE_BYTES_MAX);
            request.stage = RequestStage::Receiving { channel, lines };
        }
        let RequestStage::Receiving { lines, .. } = &mut request.stage else { return };
        let bytes = conn.received(channel);
        let taken = lines.push(bytes);
        conn.consume(channel, *taken.as_ref().unwrap_or(&0));
        match taken {
            Err(error) => self.finish(key, Err(RequestError::BadAnswer(error.to_string()))),
            Ok(_) => {
                if let Some(line) = lines.next_line() {
                    self.finish(key, read_answer(&line));
                }
            }
        }
    }

    /// The agent sends nothing more: what came without a newline is the answer.
    fn receive_end(&mut self, key: Key) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let rest = match &mut request.stage {
            RequestStage::Receiving { lines, .. } => lines.take_rest(),
            _ => None,
        };
        let nothing = || Err(RequestError::BadAnswer("the channel closed without one".to_owned()));
        self.finish(key, rest.map_or_else(nothing, |line| read_answer(&line)));
    }

    fn finish(&mut self, key: Key, answer: Result<Value, RequestError>) {
        let Some(request) = self.requests.remove(key) else { return };
        if matches!(answer, Ok(_) | Err(RequestError::Refused(_))) {
            self.connection.answered();
        }
        self.abandon(request.stage.channel());
        self.events.push_back(MemberEvent::Answered { request: key, answer });
    }

    /// Closes a channel that nobody waits for any more.
    fn abandon(&mut self, channel: Option<ChannelId>) {
        let Some(channel) = channel else { return };
        if self.channels.remove(&channel).is_some()
            && let Some(conn) = self.connection.conn()
        {
            conn.close(channel);
        }
    }

    /// Fails what the loss has hit. In persistent mode, what has not left yet waits for the next
    /// connection, within its deadline.
    fn lose(&mut self, lost: &Lost) {
        self.channels.clear();
        let again = matches!(self.connection.mode(), Mode::Persistent(_));
        let mut failed = Vec::new();
        for (key, request) in self.requests.iter_mut() {
            match request.stage {
                RequestStage::Queued | RequestStage::Opening { .. } if again => {
                    request.stage = RequestStage::Queued
                }
                RequestStage::Queued | RequestStage::Opening { .. } => {
                    failed.push((key, RequestError::Unreachable(lost.clone())));
                }
                RequestStage::Sending { .. } | RequestStage::Receiving { .. } => {
                    failed.push((key, RequestError::Unknown(lost.clone())));
                }
            }
        }
        for (key, error) in failed {
            self.finish(key, Err(error));
        }
        self.events.push_back(MemberEvent::Lost(lost.clone()));
    }

    fn expire(&mut self, now: Mono) {
        let due: Vec<_> = self
            .requests
            .iter()
            .filter(|(_, request)| request.deadline <= now)
            .map(|(key, request)| (key, matches!(request.stage, RequestStage::Queued)))
            .collect();
        for (key, is_queued) in due {
            let error = match self.connection.last_error() {
                Some(lost) if is_queued => RequestError::Unreachable(lost.clone()),
                _ => RequestError::TimedOut,
            };
            self.finish(key, Err(error));
        }
    }
}

fn read_answer(line: &[u8]) -> Result<Value, RequestError> {
    match response::parse(line) {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(text)) => Err(RequestError::Refused(text)),
        Err(text) => Err(RequestError::BadAnswer(text)),
    }
}

/// Which channel an event is about.
fn channel_of(event: &ssh::Event) -> Option<ChannelId> {
    match *event {
        ssh::Event::Opened { channel }
        | ssh::Event::Refused { channel, .. }
        | ssh::Event::Readable { channel }
        | ssh::Event::Writable { channel }
        | ssh::Event::ExitStatus { channel, .. }
        | ssh::Event::Eof { channel }
        | ssh::Event::Closed { channel } => Some(channel),
        _ => None,
    }
}

/// The stream's end, with the requests' deadlines.
impl Endpoint for Member {
    fn input_space(&mut self) -> &mut [u8] {
        self.connection.input_space()
    }

    fn input(&mut self, now: Mono, len: usize) {
        self.connection.input(now, len);
    }

    fn input_end(&mut self, now: Mono) {
        self.connection.input_end(now);
    }

    fn output(&self) -> &[u8] {
        self.connection.output()
    }

    fn output_sent(&mut self, len: usize) {
        self.connection.output_sent(len);
    }

    fn deadline(&self) -> Option<Mono> {
        let requests = self.requests.iter().map(|(_, request)| request.deadline).min();
        self.connection.deadline().into_iter().chain(requests).min()
    }

    fn tick(&mut self, now: Mono) {
        self.connection.tick(now);
        self.expire(now);
    }

    fn is_finished(&self) -> bool {
        self.connection.is_finished()
    }
}

#[cfg(test)]
mod tests;
