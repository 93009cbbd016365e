//! From the files of the journal to the hub, once, before anybody is listened to.
//!
//! Records under a number are lines of the status socket; records under zero are a file's header
//! and pieces of a checkpoint. Read in order, they lead to the state that was durable. A torn end
//! is cut at the first damaged record: nothing of it was told or acknowledged, and an event behind
//! a damaged one would make the hub drop the damaged one when its agent sends it again. Numbers
//! that may have been in it are not given again.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::checkpoint::{AgentNote, Note, SessionNote};
use super::history::History;
use super::hub::Hub;
use super::journal::{Journal, Tuning};
use super::known::{Agent, Agents, Position, Presence, has_room, learn, with_count};
use super::line::EventLine;
use crate::base::disk::{DiskDone, DiskOp, FileNo};
use crate::base::record::{Found, Newest, RECORD_OVERHEAD_BYTES, Scan};
use crate::base::text::is_plain;
use crate::base::time::Wall;
use crate::limits::{AGENTS_MAX, IMAGE_TAG_BYTES_MAX};

/// A journal that is being read.
#[derive(Debug)]
pub struct Recovery {
    tuning: Tuning,
    scan: Scan,
    buffer: Vec<u8>,
    found: RecoveredState,
    files: VecDeque<FileNo>,
    /// The newest file's good length, and the bytes behind it.
    end: (u64, u64),
    damaged: u64,
}

/// What the records so far come to.
#[derive(Debug, Default)]
struct RecoveredState {
    agents: Agents,
    history: History,
    /// The highest number that was given.
    seq: u64,
}

/// A line of the status socket.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
}

impl Recovery {
    /// Starts with the files that are there and their lengths; none are an empty hub.
    pub fn new(mut files: Vec<(FileNo, u64)>, tuning: Tuning) -> Recovery {
        files.sort_unstable();
        let numbers = files.iter().map(|(file, _)| *file).collect();
        Recovery {
            tuning,
            scan: Scan::new(files, Newest::Cut),
            buffer: Vec::new(),
            found: RecoveredState::default(),
            files: numbers,
            end: (0, 0),
            damaged: 0,
        }
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
        let Recovery { scan, found: state, end, damaged, .. } = self;
        scan.read(&buffer, &mut |found| match found {
            Found::Record { tag: 0, body, .. } => state.note(body),
            Found::Record { tag, body, .. } => state.event(tag, body),
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
        let Recovery { found, mut files, end: (valid, torn), .. } = self;
        let RecoveredState { mut agents, history, seq } = found;
        let file = files.pop_back().unwrap_or(FileNo(1));
        let journal = Journal::new(self.tuning, files, file, valid);
        for agent in agents.values_mut() {
            agent.durable = agent.position.clone();
            agent.presence = Presence::Unseen;
        }
        Hub::new(agents, history, journal, seq + torn.div_ceil(RECORD_OVERHEAD_BYTES as u64))
    }
}

impl RecoveredState {
    fn note(&mut self, body: &[u8]) {
        match serde_json::from_slice(body) {
            Ok(Note::Journal { seq, told }) => {
                self.seq = self.seq.max(seq);
                if self.history.last_seq() < told {
                    self.history = History::starting_after(told);
                }
            }
            Ok(Note::Agent(AgentNote { id, version, image, last_news, epoch, seq })) => {
                let Some(agent) = self.agent(&id) else { return };
                let kept = |text: Cow<'_, str>| match is_plain(&text, IMAGE_TAG_BYTES_MAX) {
                    true => text.into_owned(),
                    false => String::new(),
                };
                (agent.version, agent.image) = (kept(version), kept(image));
                agent.last_news = last_news;
                agent.position = epoch.map(|epoch| Position { epoch: (*epoch).into(), seq });
            }
            Ok(Note::Session(note)) => {
                let SessionNote { agent_id, session, named } = *note;
                let session = with_count(session.into_owned());
                if session.check().is_ok()
                    && let Some(agent) = self.agent(agent_id)
                    && has_room(&agent.sessions, &session)
                {
                    let uuid = session.uuid;
                    agent.sessions.insert(uuid, session);
                    agent.note_name(uuid, named);
                }
            }
            Err(_) => {}
        }
    }

    fn event(&mut self, seq: u64, line: &[u8]) {
        self.seq = self.seq.max(seq);
        self.history.push(seq, line);
        let Ok(Line { event }) = serde_json::from_slice(line) else { return };
        let Ok(event) = EventLine::parse(event.get().as_bytes()) else { return };
        // An earlier version may have taken what this one does not.
        let gap = (!event.is_own() && event.check().is_err())
            .then(|| event.as_gap(Wall::default()).unwrap_or_default());
        let event = match &gap {
            Some(gap) => EventLine::parse(gap.as_bytes()),
            None => Ok(event),
        };
        let Ok(event) = event else { return };
        if let Some(agent) = self.agent(event.agent_id) {
            agent.last_news = Wall::parse_rfc3339(event.timestamp).unwrap_or(agent.last_news);
        }
        learn(&mut self.agents, seq, event.agent_id, &event);
    }

    /// The agent, new if there is none yet and there is room.
    fn agent(&mut self, id: &str) -> Option<&mut Agent> {
        if !self.agents.contains_key(id) && self.agents.len() < AGENTS_MAX {
            self.agents.insert(id.into(), Agent::default());
        }
        self.agents.get_mut(id)
    }
}
