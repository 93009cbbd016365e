//! What comes from outside: the hub's lines, answers of agents, what is on this host.
//!
//! The hub's socket tells a snapshot on one line and then an event on each ([`crate::status`]).
//! A line that cannot be read is a [`HubLine::Unreadable`]: never a reason to end.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::fleet::listing::LocalHome;
use crate::fleet::profiles::Profile;
use crate::fleet::registry::AgentId;
use crate::status::snapshot::{AgentSnapshot, Snapshot};

/// Names a request of the screen until it is answered; see [`crate::fleet`] for its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScreenRequestId(pub u64);

/// Something has happened outside.
#[derive(Debug)]
pub enum Message {
    /// What this host knows of agents and sessions, read afresh.
    Host(HostFiles),
    /// The hub is there; its snapshot follows.
    HubFound,
    /// The hub is not there, or gone: why.
    HubGone(String),
    /// A line of the hub without its newline.
    HubLine(Vec<u8>),
    /// An agent has answered, or will not.
    Answered {
        request: ScreenRequestId,
        /// The result, or the whole sentence.
        answer: Result<Value, String>,
    },
    /// The terminal is back from a session.
    Returned {
        /// How it was left, or why it never came.
        text: String,
        /// Whether that is bad.
        is_failure: bool,
    },
}

/// What the shell host's own files say.
#[derive(Clone, Debug, Default)]
pub struct HostFiles {
    /// The agents of the registry.
    pub agents: Vec<Enrolled>,
    /// What is wrong with other entries, a sentence each.
    pub problems: Vec<String>,
    /// The profiles of this host, by name.
    pub profiles: Vec<Profile>,
    /// Session directories that lie on this host.
    pub homes: Vec<LocalHome>,
}

/// An agent of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    pub id: AgentId,
    /// Its host, as people know it.
    pub host: String,
    /// Where it is dialled.
    pub address: String,
    /// The command that enrols it again.
    pub repair: String,
}

/// A line of the hub.
#[derive(Debug)]
pub(crate) enum HubLine<'a> {
    /// All that it knows.
    Snapshot(Vec<AgentSnapshot>),
    /// An event, as it came.
    Event(&'a RawValue),
    /// It could not be read: why.
    Unreadable(String),
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    snapshot: Option<Snapshot>,
    #[serde(default, borrow)]
    event: Option<&'a RawValue>,
}

impl HubLine<'_> {
    pub(crate) fn parse(line: &[u8]) -> HubLine<'_> {
        match serde_json::from_slice::<Line<'_>>(line) {
            Ok(Line { snapshot: Some(snapshot), .. }) => HubLine::Snapshot(snapshot.agents),
            Ok(Line { event: Some(event), .. }) => HubLine::Event(event),
            Ok(_) => HubLine::Unreadable("neither a snapshot nor an event".to_owned()),
            Err(error) => HubLine::Unreadable(error.to_string()),
        }
    }
}
