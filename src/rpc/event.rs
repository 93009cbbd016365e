//! An event line of `convocate-status`.
//!
//! To add a type: a variant of [`EventType`] with its name on the wire, the same name in
//! `EventLine::kind` of `status/line.rs`, and what it changes in `status/known.rs`. The agent sends
//! it through `agent/emitter`. A hub that does not know a type lets it through.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::time::Wall;
use crate::base::uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// The agent has connected. Data: `version`, `image_tag`.
    #[serde(rename = "agent.started")]
    AgentStarted,
    /// Every 30 s. Data: null or load figures.
    #[serde(rename = "agent.heartbeat")]
    AgentHeartbeat,
    /// On SIGTERM or SIGINT. Data: `reason`.
    #[serde(rename = "agent.shutdown")]
    AgentShutdown,
    /// Events were dropped from a full spool. Data: `from`, `to`, `count`.
    #[serde(rename = "agent.gap")]
    AgentGap,
    /// A session is there. Data: the session.
    #[serde(rename = "container.created")]
    Created,
    /// A session's metadata has changed. Data: the session, and `taken_over` if what a home of an
    /// earlier version proposes has become the session's record: `from`, and what was `refused`.
    #[serde(rename = "container.edited")]
    Edited,
    /// A session runs, by whichever cause. Data: the session.
    #[serde(rename = "container.started")]
    Started,
    /// A session runs no more. Data: `cause`, `exit_code`, and `reason` if it could not be started
    /// again.
    #[serde(rename = "container.stopped")]
    Stopped,
    /// A session is gone. Data: null.
    #[serde(rename = "container.deleted")]
    Deleted,
    /// A terminal came. Data: `attached_count`.
    #[serde(rename = "session.attached")]
    Attached,
    /// A terminal went. Data: `attached_count`.
    #[serde(rename = "session.detached")]
    Detached,
    /// A session's key has signed. Data: `kind`, `login` or `git`; of a login its `user`, and
    /// `host_key` if it is for one host alone. Or how many signatures were `refused`, because they
    /// were too many.
    #[serde(rename = "session.signed")]
    Signed,
    /// A session has tried to reach what it may not, for the first time of late. Data: `what`,
    /// `why`, and the rule that would `allow` it.
    #[serde(rename = "session.refused")]
    Refused,
    /// What a session's program wants of a person is another thing than before. Data: its
    /// attention, or null if no program tells any more.
    #[serde(rename = "session.attention")]
    Attention,
    /// The disk of the homes fills up; of a session if its home grew most. Data: `used_percent` of
    /// the disk; `home_bytes`, and by how much it grew in how many `seconds` as `grown_bytes`, or
    /// null.
    #[serde(rename = "agent.disk")]
    Disk,
    /// A session's repository is in another state than when it was looked at before. Data: its
    /// branch, commits `ahead`, files that are `dirty`, and when that was seen.
    #[serde(rename = "session.repository")]
    Repository,
}

/// The name on the wire.
impl fmt::Display for EventType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = serde_json::to_value(self).ok();
        out.write_str(name.as_ref().and_then(Value::as_str).unwrap_or_default())
    }
}

/// One event. `epoch` and `seq` are absent from agents that do not number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    #[serde(rename = "type")]
    pub kind: EventType,
    pub agent_id: String,
    /// To which session, if to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Uuid>,
    /// When, by the agent's clock.
    pub timestamp: Wall,
    /// What else there is to say.
    #[serde(default)]
    pub data: Value,
    /// Which spool numbered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// Its number in that spool, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// An event in one line, for a log.
#[derive(Debug)]
pub(crate) struct Summary<'a>(pub(crate) &'a Event);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary(event) = self;
        write!(out, "{}", event.kind)?;
        if let Some(id) = event.session_id {
            write!(out, " {id}")?;
        }
        match event.kind {
            EventType::Stopped
            | EventType::Attached
            | EventType::Detached
            | EventType::Signed
            | EventType::Attention
            | EventType::Refused
            | EventType::Disk => write!(out, " {}", event.data),
            EventType::Edited if !event.data["taken_over"].is_null() => {
                write!(out, " {}", event.data)
            }
            _ => Ok(()),
        }
    }
}
