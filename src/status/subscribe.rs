//! One subscriber of the status socket.
//!
//! It is told a snapshot on one line, `{"snapshot":{"seq":N,"agents":[…]}}`, then every event as
//! `{"seq":N,"event":{…}}`. It may ask for events again: `{"since":N}`; if some of these are gone,
//! it is told `{"missed":{"from":…,"to":…}}` first. A heartbeat has the number of the event before
//! it.
//!
//! It holds a place in the hub's history and at most one piece of a snapshot. If it reads so slowly
//! that its place is gone, it is told a new snapshot, and goes on from there. A snapshot is taken
//! in pieces while events go on; since every event that came meanwhile follows it, and applying one
//! twice changes nothing, who applies them in order ends with what the hub knows.
//!
//! States: `Snapshot` ⇄ `Stream`.

use serde::Deserialize;
use serde_json::json;

use super::hub::Hub;
use super::known::{Agent, Cursor, Presence, Visited};
use crate::base::lines::{LineTooLong, Lines};
use crate::limits::{SNAPSHOT_PART_BYTES, SUBSCRIBER_REQUEST_BYTES_MAX};

#[derive(Debug)]
pub struct Subscriber {
    mode: Mode,
    /// Bytes of its own that go first: a piece of a snapshot, the rest of a line.
    part: Vec<u8>,
    sent: usize,
    input: Lines,
}

#[derive(Debug)]
enum Mode {
    Snapshot {
        walk: Walk,
        /// Where in the history it goes on.
        resume: Resume,
    },
    Stream {
        at: u64,
    },
}

#[derive(Debug)]
enum Walk {
    Start,
    /// Whether an agent's list of sessions is open, and whether it has any yet.
    Inside {
        cursor: Cursor,
        open: Open,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Agent,
    Sessions,
}

#[derive(Clone, Copy, Debug)]
enum Resume {
    /// At this place of the history.
    At(u64),
    /// Behind the event of this number.
    Behind(u64),
}

/// Why a subscriber is to be hung up on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinceError {
    /// Its request is too long.
    TooLong(LineTooLong),
    /// Its request is none.
    Request(String),
}

impl std::fmt::Display for SinceError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SinceError::TooLong(error) => write!(out, "request {error}"),
            SinceError::Request(why) => write!(out, "decode request: {why}"),
        }
    }
}

impl std::error::Error for SinceError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SinceRequest {
    since: u64,
}

impl Default for Subscriber {
    fn default() -> Subscriber {
        Subscriber::new()
    }
}

impl Subscriber {
    /// One that has been told nothing yet.
    pub const fn new() -> Subscriber {
        Subscriber {
            mode: Mode::Snapshot { walk: Walk::Start, resume: Resume::At(0) },
            part: Vec::new(),
            sent: 0,
            input: Lines::new(SUBSCRIBER_REQUEST_BYTES_MAX),
        }
    }

    /// Bytes from the subscriber.
    ///
    /// # Errors
    /// [`SinceError`]; the connection is to be closed.
    pub fn input(&mut self, bytes: &[u8], hub: &Hub) -> Result<(), SinceError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.input.push(rest).map_err(SinceError::TooLong)?;
            rest = &rest[taken..];
            if let Some(line) = self.input.next_line() {
                let SinceRequest { since } = serde_json::from_slice(&line)
                    .map_err(|error| SinceError::Request(error.to_string()))?;
                self.rewind(since, hub);
            }
        }
        Ok(())
    }

    /// What it is to be told next; empty if there is nothing now.
    pub fn output<'a>(&'a mut self, hub: &'a Hub) -> &'a [u8] {
        if self.part.len() == self.sent {
            self.part.clear();
            self.sent = 0;
            self.prepare(hub);
        }
        match self.mode {
            Mode::Stream { at } if self.part.is_empty() => {
                hub.history().lines(at).unwrap_or_default()
            }
            _ => &self.part[self.sent..],
        }
    }

    /// The first `len` bytes of the last [`Subscriber::output`] have left, and the hub has not
    /// changed in between.
    pub fn output_sent(&mut self, len: usize, hub: &Hub) {
        if !self.part.is_empty() {
            self.sent += len;
            return;
        }
        let Mode::Stream { at } = &mut self.mode else { return };
        let lines = hub.history().lines(*at).unwrap_or_default();
        let (gone, left) = lines.split_at(len.min(lines.len()));
        *at += len as u64;
        if gone.last().is_some_and(|&byte| byte != b'\n') {
            // The rest of a line that was begun must follow, even if its place is gone by then.
            let end = left.iter().position(|&byte| byte == b'\n').map_or(left.len(), |at| at + 1);
            self.part.extend_from_slice(&left[..end]);
            *at += end as u64;
        }
    }

    /// Fills `part`, if something of its own is due.
    fn prepare(&mut self, hub: &Hub) {
        if let Mode::Stream { at } = self.mode
            && hub.history().lines(at).is_none()
        {
            self.mode = Mode::Snapshot { walk: Walk::Start, resume: Resume::At(0) };
        }
        let Mode::Snapshot { walk, resume } = &mut self.mode else { return };
        if matches!(walk, Walk::Start) && matches!(resume, Resume::At(_)) {
            *resume = Resume::At(hub.history().visible());
        }
        if walk.write(&mut self.part, hub) {
            let resume = *resume;
            self.resume(resume, hub);
        }
    }

    fn rewind(&mut self, since: u64, hub: &Hub) {
        match &mut self.mode {
            Mode::Snapshot { resume, .. } => *resume = Resume::Behind(since),
            Mode::Stream { .. } => self.resume(Resume::Behind(since), hub),
        }
    }

    fn resume(&mut self, resume: Resume, hub: &Hub) {
        let at = match resume {
            Resume::At(at) => at,
            Resume::Behind(since) => hub.history().place_after(since).unwrap_or_else(|to| {
                let missed = json!({ "missed": { "from": since + 1, "to": to } });
                self.part.extend_from_slice(format!("{missed}\n").as_bytes());
                hub.history().start()
            }),
        };
        self.mode = Mode::Stream { at };
    }
}

impl Walk {
    /// Writes a piece of the snapshot; true at its end.
    fn write(&mut self, out: &mut Vec<u8>, hub: &Hub) -> bool {
        if matches!(self, Walk::Start) {
            let head = format!("{{\"snapshot\":{{\"seq\":{},\"agents\":[", hub.told());
            out.extend_from_slice(head.as_bytes());
            *self = Walk::Inside { cursor: Cursor::default(), open: Open::Nothing };
        }
        let Walk::Inside { cursor, open } = self else { return true };
        while out.len() < SNAPSHOT_PART_BYTES {
            match hub.step(cursor) {
                Some(Visited::Agent(id, agent)) => {
                    out.extend_from_slice(if *open == Open::Nothing { b"" } else { b"]}," });
                    write_agent(out, id, agent);
                    *open = Open::Agent;
                }
                Some(Visited::Session(_, session, _)) => {
                    out.extend_from_slice(if *open == Open::Sessions { b"," } else { b"" });
                    serde_json::to_writer(&mut *out, session)
                        .expect("a session has only string keys");
                    *open = Open::Sessions;
                }
                None => {
                    out.extend_from_slice(if *open == Open::Nothing {
                        b"]}}\n"
                    } else {
                        b"]}]}}\n"
                    });
                    return true;
                }
            }
        }
        false
    }
}

/// An agent up to and with the start of its list of sessions.
fn write_agent(out: &mut Vec<u8>, id: &str, agent: &Agent) {
    let mut object = json!({
        "id": id,
        "state": agent.presence.as_str(),
        "version": &*agent.version,
        "image": &*agent.image,
        "last_news": agent.last_news,
    });
    if let Presence::Lost(why) = &agent.presence {
        object["error"] = json!(why);
    }
    if let Some(pair) = agent.twins.pair() {
        object["twins"] = json!(pair.to_string());
    }
    if let Some(load) = &agent.load {
        object["load"] = serde_json::from_str(load).unwrap_or_default();
    }
    let text = object.to_string();
    out.extend_from_slice(text.strip_suffix('}').unwrap_or(&text).as_bytes());
    out.extend_from_slice(b",\"sessions\":[");
}
