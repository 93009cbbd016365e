//! The shell host's end of one `convocate-status` channel.
//!
//! It belongs to one agent, whose key proved it. It says hello, hands every line of that agent to
//! the hub, and acknowledges what has become durable, all of it at once. A line that cannot be
//! read, or claims to be another agent's, is noted and skipped; one that is too long ends the
//! channel.
//!
//! An agent of the old kind does not read what is written here and sends no numbers: it gets a
//! hello that it ignores, and no acknowledgements.

use std::collections::VecDeque;
use std::fmt;

use super::hub::Hub;
use super::known::Position;
use super::line::EventLine;
use crate::base::buffer::Buffer;
use crate::base::pace::Pace;
use crate::base::time::{Mono, Now};
use crate::limits::{
    EVENT_BYTES_MAX, LISTENER_NOTE_EVERY, LISTENER_NOTES_BURST, LISTENER_OUTPUT_BYTES,
};

/// The listener's side of one agent's channel.
#[derive(Debug)]
pub struct Listener {
    agent_id: Box<str>,
    state: ListenerState,
    output: Buffer,
    acked: Option<Position>,
    notes: VecDeque<ListenerNote>,
    pace: Pace,
    /// Notes that came too fast.
    unnoted: u64,
}

#[derive(Debug)]
enum ListenerState {
    /// With the start of a line whose end has not come.
    Open {
        partial: Vec<u8>,
    },
    Failed,
}

/// Something about an agent's lines that is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerNote {
    /// A line is no event.
    Undecodable {
        agent_id: Box<str>,
        /// What is wrong with it.
        why: String,
    },
    /// An event claims to be another agent's.
    Foreign {
        /// Whose connection it is.
        agent_id: Box<str>,
        /// Whom it claims to be from.
        claimed: String,
    },
    /// A line is too long; the channel is to be closed.
    TooLong { agent_id: Box<str> },
    /// So many more of these.
    More(u64),
}

/// How much of a peer's text a note shows.
const NOTE_CHARS_MAX: usize = 80;

impl fmt::Display for ListenerNote {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenerNote::Undecodable { agent_id, why } => {
                write!(out, "agent {agent_id}: event skipped: {why:?}")
            }
            ListenerNote::Foreign { agent_id, claimed } => write!(
                out,
                "agent {agent_id}: event refused: it claims to be from agent {claimed:?}; the \
                 connection's key is agent {agent_id}'s in status_authorized_keys"
            ),
            ListenerNote::TooLong { agent_id } => {
                write!(out, "agent {agent_id}: event line longer than {EVENT_BYTES_MAX} bytes")
            }
            ListenerNote::More(count) => write!(out, "{count} more events were skipped or refused"),
        }
    }
}

impl Listener {
    /// A channel of this agent, which is connected to the hub ([`Hub::connected`]).
    pub fn new(agent_id: &str, hub: &Hub) -> Listener {
        let mut listener = Listener {
            agent_id: agent_id.into(),
            state: ListenerState::Open { partial: Vec::new() },
            output: Buffer::new(LISTENER_OUTPUT_BYTES),
            acked: hub.durable(agent_id).cloned(),
            notes: VecDeque::new(),
            pace: Pace::new(LISTENER_NOTES_BURST, LISTENER_NOTE_EVERY),
            unnoted: 0,
        };
        let hello = match &listener.acked {
            None => "{\"hello\":{\"ack\":true}}\n".to_owned(),
            Some(Position { epoch, seq }) => {
                let epoch = serde_json::json!(**epoch);
                format!("{{\"hello\":{{\"ack\":true,\"epoch\":{epoch},\"seq\":{seq}}}}}\n")
            }
        };
        listener.write(&hello);
        listener
    }

    /// Bytes from the agent. Returns how many were taken: fewer when the hub has no room, then the
    /// rest is to be offered again after the hub's disk has answered.
    #[must_use = "what was not taken must be offered again"]
    pub fn input(&mut self, now: Now, bytes: &[u8], hub: &mut Hub) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && hub.has_room() {
            let ListenerState::Open { partial } = &mut self.state else { return bytes.len() };
            let rest = &bytes[taken..];
            let newline = rest.iter().position(|&byte| byte == b'\n');
            let part = &rest[..newline.unwrap_or(rest.len())];
            if partial.len() + part.len() > EVENT_BYTES_MAX {
                self.state = ListenerState::Failed;
                self.note(now.mono, ListenerNote::TooLong { agent_id: self.agent_id.clone() });
                return bytes.len();
            }
            taken += part.len() + usize::from(newline.is_some());
            if newline.is_none() {
                partial.extend_from_slice(part);
            } else if partial.is_empty() {
                self.line(now, part, hub);
            } else {
                let mut line = std::mem::take(partial);
                line.extend_from_slice(part);
                self.line(now, &line, hub);
            }
        }
        self.settle(hub);
        taken
    }

    /// Acknowledges what has become durable. To be called after [`Hub::disk_done`] said that
    /// something has.
    pub(crate) fn settle(&mut self, hub: &Hub) {
        let durable = hub.durable(&self.agent_id);
        let Some(position) = durable.filter(|durable| self.acked.as_ref() != Some(durable)) else {
            return;
        };
        let epoch = serde_json::json!(*position.epoch);
        if self.write(&format!("{{\"ack\":{{\"epoch\":{epoch},\"seq\":{}}}}}\n", position.seq)) {
            self.acked = Some(position.clone());
        }
    }

    /// Bytes for the agent.
    pub fn output(&self) -> &[u8] {
        self.output.as_slice()
    }

    /// The first `len` bytes of [`Listener::output`] have left.
    pub fn output_sent(&mut self, len: usize, hub: &Hub) {
        self.output.consume(len);
        self.output.trim();
        self.settle(hub);
    }

    /// Something for the log.
    pub fn poll_note(&mut self) -> Option<ListenerNote> {
        self.notes.pop_front()
    }

    /// Whether the channel is to be closed.
    pub const fn is_failed(&self) -> bool {
        matches!(self.state, ListenerState::Failed)
    }

    fn line(&mut self, now: Now, line: &[u8], hub: &mut Hub) {
        match EventLine::parse(line) {
            Ok(event) if *event.agent_id == *self.agent_id => {
                hub.event(now, &self.agent_id, line, &event);
            }
            Ok(event) => {
                let claimed = event.agent_id.chars().take(NOTE_CHARS_MAX).collect();
                self.note(
                    now.mono,
                    ListenerNote::Foreign { agent_id: self.agent_id.clone(), claimed },
                );
            }
            Err(why) => {
                let why = why.chars().take(NOTE_CHARS_MAX).collect();
                self.note(
                    now.mono,
                    ListenerNote::Undecodable { agent_id: self.agent_id.clone(), why },
                );
            }
        }
    }

    fn note(&mut self, now: Mono, note: ListenerNote) {
        if self.pace.next(now) > now {
            self.unnoted += 1;
            return;
        }
        self.pace.take(now, 1);
        if self.unnoted > 0 {
            self.notes.push_back(ListenerNote::More(std::mem::take(&mut self.unnoted)));
        }
        self.notes.push_back(note);
    }

    /// Whether there was room.
    fn write(&mut self, text: &str) -> bool {
        text.len() <= self.output.space() && self.output.push(text.as_bytes()) == text.len()
    }
}
