//! The records of the journal that are no events: a file's header and pieces of a checkpoint.
//!
//! They stand under the number zero, as JSON. [`super::hub`] writes them, [`super::recovery`]
//! reads them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::known::{Agent, Agents, Cursor, Visited, walk};
use crate::base::record;
use crate::base::time::Wall;
use crate::rpc::session::Session;

/// A record under zero.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Note<'a> {
    /// The first of a file: numbers before it are up to `seq`; `told` is the last of them that is
    /// an event's.
    Journal { seq: u64, told: u64 },
    #[serde(borrow)]
    Agent(AgentNote<'a>),
    #[serde(borrow)]
    Session(Box<SessionNote<'a>>),
}

/// What is known of an agent, without its sessions.
#[derive(Serialize, Deserialize)]
pub(super) struct AgentNote<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) version: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) image: Cow<'a, str>,
    pub(super) last_news: Wall,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) seq: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SessionNote<'a> {
    pub(super) agent_id: &'a str,
    pub(super) session: Cow<'a, Session>,
    /// The number of the event that gave it its DNS name; 0 if it has none, or nobody knows.
    #[serde(default)]
    pub(super) named: u64,
}

/// The first record of a file.
pub(super) fn write_header(out: &mut Vec<u8>, seq: u64, told: u64) {
    write_note(out, &Note::Journal { seq, told });
}

/// Writes some `bytes` of what is known from `cursor` on; true at the end.
pub(super) fn write_piece(
    agents: &Agents,
    out: &mut Vec<u8>,
    cursor: &mut Cursor,
    bytes: usize,
) -> bool {
    let start = out.len();
    while out.len() - start < bytes {
        match walk(agents, cursor) {
            Some(Visited::Agent(id, agent)) => write_note(out, &agent_note(id, agent)),
            Some(Visited::Session(agent_id, session, named)) => {
                let note = SessionNote { agent_id, session: Cow::Borrowed(session), named };
                write_note(out, &Note::Session(Box::new(note)));
            }
            None => return true,
        }
    }
    false
}

fn agent_note<'a>(id: &'a str, agent: &'a Agent) -> Note<'a> {
    let position = agent.position.as_ref();
    Note::Agent(AgentNote {
        id: id.into(),
        version: agent.version.as_str().into(),
        image: agent.image.as_str().into(),
        last_news: agent.last_news,
        epoch: position.map(|position| (*position.epoch).into()),
        seq: position.map_or(0, |position| position.seq),
    })
}

fn write_note(out: &mut Vec<u8>, note: &Note<'_>) {
    record::put(out, 0, |out| {
        serde_json::to_writer(out, note).expect("a note has only string keys");
    });
}
