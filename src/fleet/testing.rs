//! A scripted agent for the tests of this directory: the real server transport, answers by hand.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::base::endpoint::Endpoint;
use crate::base::lines::Lines;
use crate::base::time::Mono;
use crate::base::unreached::Unreached;
use crate::fleet::registry::{EntryFiles, KnownAgent, Registry};
use crate::limits::RPC_REQUEST_BYTES_MAX;
use crate::paths::Paths;
use crate::rpc::response::{self, Answer};
use crate::rpc::{ATTACH_SUBSYSTEM, RPC_SUBSYSTEM};
use crate::ssh::keys::KeyPair;
use crate::ssh::{ChannelId, Conn, Event, ServerConfig, Subsystem, Tuning};

static SUBSYSTEMS: [Subsystem; 2] = [
    Subsystem { name: RPC_SUBSYSTEM, window_change: false },
    Subsystem { name: ATTACH_SUBSYSTEM, window_change: true },
];

/// The point `second` seconds after the origin.
pub(crate) fn at(second: u64) -> Mono {
    Mono::ZERO + Duration::from_secs(second)
}

/// A dial that a peer has refused.
pub(crate) fn refused(text: &str) -> Unreached {
    Unreached::Refused(text.to_owned())
}

/// A dial that nobody has answered.
pub(crate) fn silent(text: &str) -> Unreached {
    Unreached::Silent(text.to_owned())
}

fn host_key(number: u8) -> KeyPair {
    KeyPair::from_seed([number; 32])
}

/// Agent `number` (1 to 8), reachable at `web-<number>`.
pub(crate) fn agent(number: u8) -> KnownAgent {
    let name = format!("abcdefghjkm{}", number + 1);
    let entry = Paths::below("/r").agent_entry(&name);
    let files = EntryFiles {
        entry,
        name,
        host: Ok(format!("web-{number}").into_bytes()),
        host_key: Ok(host_key(number).public().to_line("agent").into_bytes()),
        key: Ok(host_key(100).to_openssh("shell", 1).as_bytes().to_vec()),
    };
    Registry::parse(vec![files]).agents.pop().expect("a good entry")
}

/// One connection of agent `number`, as the agent has it.
pub(crate) struct Peer {
    pub(crate) conn: Conn,
    /// Requests that are not answered yet.
    pub(crate) calls: Vec<(ChannelId, Value)>,
    /// Everything else that happened.
    pub(crate) events: Vec<Event>,
    /// What came on attach channels.
    pub(crate) typed: Vec<u8>,
    /// The attach channel that was opened last.
    pub(crate) terminal: Option<ChannelId>,
    rpc: Vec<(ChannelId, Lines)>,
}

impl Peer {
    /// A connection that was just accepted.
    pub(crate) fn new(number: u8) -> Peer {
        let config = ServerConfig {
            host_key: host_key(number),
            subsystems: &SUBSYSTEMS,
            tuning: Tuning::default(),
        };
        Peer {
            conn: Conn::server(Arc::new(config), [number; 32], at(0)),
            calls: Vec::new(),
            events: Vec::new(),
            typed: Vec::new(),
            terminal: None,
            rpc: Vec::new(),
        }
    }

    /// Answers a call as an agent does: line, end, close.
    pub(crate) fn answer(&mut self, channel: ChannelId, answer: Answer) {
        self.send(channel, &response::to_line(&answer));
        self.conn.send_eof(channel);
        self.conn.close(channel);
    }

    /// Sends bytes, all of which must fit.
    pub(crate) fn send(&mut self, channel: ChannelId, bytes: &[u8]) {
        assert_eq!(self.conn.send(channel, bytes), bytes.len());
    }

    /// The channel of the first waiting call of this op, which then waits no more.
    pub(crate) fn take_call(&mut self, op: &str) -> ChannelId {
        let found = self.calls.iter().position(|(_, call)| call["op"] == op);
        self.calls.remove(found.expect("such a call is waiting")).0
    }

    /// Acts on what came in.
    fn work(&mut self) {
        while let Some(event) = self.conn.poll_event() {
            match event {
                Event::KeyOffered { .. } => self.conn.authorize(true),
                Event::Subsystem { channel, name } if name == RPC_SUBSYSTEM => {
                    self.rpc.push((channel, Lines::new(RPC_REQUEST_BYTES_MAX)));
                    self.read(channel);
                }
                Event::Subsystem { channel, .. } => {
                    self.terminal = Some(channel);
                    self.read(channel);
                }
                Event::Readable { channel } => self.read(channel),
                event => self.events.push(event),
            }
        }
    }

    fn read(&mut self, channel: ChannelId) {
        let bytes = self.conn.received(channel).to_vec();
        self.conn.consume(channel, bytes.len());
        let Some((_, lines)) = self.rpc.iter_mut().find(|(found, _)| *found == channel) else {
            self.typed.extend(bytes);
            return;
        };
        lines.push(&bytes).expect("requests are short");
        if let Some(line) = lines.next_line() {
            let call = serde_json::from_slice(&line).expect("requests are JSON");
            self.calls.push((channel, call));
        }
    }
}

/// Moves bytes both ways until neither end has any.
pub(crate) fn pump<E: Endpoint>(now: Mono, client: &mut E, peer: &mut Peer) {
    loop {
        let moved = shift(now, client, &mut peer.conn);
        peer.work();
        if moved + shift(now, &mut peer.conn, client) == 0 {
            return;
        }
    }
}

fn shift<S: Endpoint, T: Endpoint>(now: Mono, source: &mut S, target: &mut T) -> usize {
    let bytes = source.output().to_vec();
    let space = target.input_space();
    let count = bytes.len().min(space.len());
    if count > 0 {
        space[..count].copy_from_slice(&bytes[..count]);
        target.input(now, count);
        source.output_sent(count);
    }
    count
}
