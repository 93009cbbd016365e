//! From the files of the journal to the hub, once, before anybody is listened to.
//!
//! Records under a number are lines of the status socket; records under zero are a file's header
//! and pieces of a checkpoint. Read in order, they lead to the state that was durable. A torn end
//! is cut at the first damaged record: nothing of it was told or acknowledged, and an event behind
//! a damaged one would make the hub drop the damaged one when its agent sends it again. Numbers
//! that may have been in it are not given again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::history::History;
use super::hub::{Flight, Hub};
use super::journal::{Journal, Tuning};
use super::known::{Agent, Entry, Position, Shared};
use super::line::EventLine;
use super::notices::Notices;
use crate::base::disk::{DiskDone, DiskOp, FileNo};
use crate::base::record::{self, Found, Newest, RECORD_OVERHEAD_BYTES, Scan};
use crate::base::time::Wall;
use crate::limits::AGENTS_MAX;
use crate::rpc::session::Session;

/// A journal that is being read.
#[derive(Debug)]
pub struct Recovery {
    tuning: Tuning,
    scan: Scan,
    buffer: Vec<u8>,
    hub: Hub,
    files: VecDeque<FileNo>,
    /// The newest file's good length, and the bytes behind it.
    end: (u64, u64),
    damaged: u64,
}

/// A record under zero.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Note<'a> {
    /// The first of a file: numbers before it are up to `seq`; `told` is the last of them that is
    /// an event's.
    Journal { seq: u64, told: u64 },
    /// A piece of a checkpoint.
    Agent(Box<AgentNote>),
    /// A piece of a checkpoint.
    #[serde(borrow)]
    Session(Box<SessionNote<'a>>),
}

#[derive(Serialize, Deserialize)]
struct AgentNote {
    id: String,
    version: String,
    image: String,
    last_news: Wall,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    #[serde(default)]
    seq: u64,
}

#[derive(Serialize, Deserialize)]
struct SessionNote<'a> {
    agent_id: &'a str,
    session: Session,
}

/// A line of the status socket.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
}

impl Recovery {
    /// Starts with the files that are there and their lengths; none are an empty hub.
    pub fn new(mut files: Vec<(FileNo, u64)>, tuning: Tuning) -> Recovery {
        files.sort_unstable();
        let hub = Hub {
            agents: BTreeMap::new(),
            shared: Shared::default(),
            seq: 0,
            journal: Journal::new(tuning, VecDeque::new(), FileNo(1), 0),
            history: History::default(),
            asks: BTreeSet::new(),
            names_changed: true,
            gathered: Vec::new(),
            flight: Flight::default(),
            line: Vec::new(),
            notices: Notices::default(),
            told_seq: 0,
            taken_seq: 0,
        };
        let numbers = files.iter().map(|(file, _)| *file).collect();
        let (scan, buffer) = (Scan::new(files, Newest::Cut), Vec::new());
        Recovery { tuning, scan, buffer, hub, files: numbers, end: (0, 0), damaged: 0 }
    }

    /// What is to be read; `None` when [`Recovery::finish`] is due.
    pub fn poll_disk(&mut self) -> Option<DiskOp> {
        self.scan.poll(std::mem::take(&mut self.buffer))
    }

    /// What was read. A file that cannot be read counts as damaged.
    pub fn disk_done(&mut self, done: DiskDone) {
        let DiskDone::Read { mut buffer, result } = done else { return };
        if result.is_err() {
            buffer.clear();
        }
        let Recovery { scan, hub, end, damaged, .. } = self;
        scan.read(&buffer, &mut |found| match found {
            Found::Record { tag: 0, body, .. } => note(hub, body),
            Found::Record { tag, body, .. } => told(hub, tag, body),
            Found::End { valid, torn, damaged: lost, .. } => {
                *end = (valid, torn);
                *damaged += lost;
            }
        });
        self.buffer = buffer;
    }

    /// Bytes of the journal that were in no record, for the log.
    pub(crate) const fn damaged_bytes(&self) -> u64 {
        self.damaged + self.end.1
    }

    /// The hub. Every agent is unseen until it connects.
    pub fn finish(self) -> Hub {
        let Recovery { mut hub, mut files, end: (valid, torn), .. } = self;
        let file = files.pop_back().unwrap_or(FileNo(1));
        hub.journal = Journal::new(self.tuning, files, file, valid);
        hub.seq += torn.div_ceil(RECORD_OVERHEAD_BYTES as u64);
        (hub.told_seq, hub.taken_seq) = (hub.history.last_seq(), hub.seq);
        hub.history.show(hub.history.end());
        hub.asks.clear();
        for agent in hub.agents.values_mut() {
            agent.durable = agent.position.clone();
            agent.presence = super::known::Presence::Unseen;
        }
        hub
    }
}

fn note(hub: &mut Hub, body: &[u8]) {
    match serde_json::from_slice(body) {
        Ok(Note::Journal { seq, told }) => {
            hub.seq = hub.seq.max(seq);
            if hub.history.last_seq() < told {
                hub.history = History::starting_after(told);
            }
        }
        Ok(Note::Agent(note)) => {
            let (version, image) = (hub.shared.text(&note.version), hub.shared.text(&note.image));
            let Some(agent) = agent(hub, &note.id) else { return };
            (agent.version, agent.image) = (version, image);
            agent.last_news = note.last_news;
            agent.position =
                note.epoch.map(|epoch| Position { epoch: epoch.into(), seq: note.seq });
        }
        Ok(Note::Session(note)) => {
            let SessionNote { agent_id, session } = *note;
            let uuid = session.uuid;
            let entry = Entry::new(session, &mut hub.shared);
            if let Some(agent) = agent(hub, agent_id) {
                agent.sessions.insert(uuid, entry);
            }
        }
        Err(_) => {}
    }
}

fn told(hub: &mut Hub, seq: u64, line: &[u8]) {
    hub.seq = hub.seq.max(seq);
    hub.history.push(seq, line);
    let Ok(Told { event }) = serde_json::from_slice(line) else { return };
    let Ok(event) = EventLine::parse(event.get().as_bytes()) else { return };
    let heard = Wall::parse_rfc3339(event.timestamp);
    if let Some(agent) = agent(hub, event.agent_id) {
        agent.last_news = heard.unwrap_or(agent.last_news);
    }
    hub.learn(event.agent_id, &event);
}

/// The agent, new if it was not met yet and there is room.
fn agent<'a>(hub: &'a mut Hub, id: &str) -> Option<&'a mut Agent> {
    if !hub.agents.contains_key(id) && hub.agents.len() < AGENTS_MAX {
        hub.agents.insert(id.into(), Agent::default());
    }
    hub.agents.get_mut(id)
}

/// The first record of a file.
pub(super) fn write_header(out: &mut Vec<u8>, seq: u64, told: u64) {
    write_note(out, &Note::Journal { seq, told });
}

/// What is known of an agent, without its sessions.
pub(super) fn write_agent(out: &mut Vec<u8>, id: &str, agent: &Agent) {
    write_note(
        out,
        &Note::Agent(Box::new(AgentNote {
            id: id.to_owned(),
            version: agent.version.to_string(),
            image: agent.image.to_string(),
            last_news: agent.last_news,
            epoch: agent.position.as_ref().map(|position| position.epoch.to_string()),
            seq: agent.position.as_ref().map_or(0, |position| position.seq),
        })),
    );
}

/// What is known of a session.
pub(super) fn write_session(out: &mut Vec<u8>, agent_id: &str, session: Session) {
    write_note(out, &Note::Session(Box::new(SessionNote { agent_id, session })));
}

fn write_note(out: &mut Vec<u8>, note: &Note<'_>) {
    record::put(out, 0, |out| {
        serde_json::to_writer(out, note).expect("a note has only string keys");
    });
}
