//! The first line of the status socket as a program reads it: all that the hub knows.
//!
//! What [`super::subscribe`] writes. Fields that an older hub does not send have their defaults,
//! and a session that cannot be read hides no other.

use serde::{Deserialize, Deserializer};

use crate::base::time::Wall;
use crate::rpc::session::Session;

/// All agents, as the hub knew them after its event `seq`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Snapshot {
    /// The number of the newest event.
    pub(crate) seq: u64,
    pub(crate) agents: Vec<AgentSnapshot>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AgentSnapshot {
    pub(crate) id: String,
    /// `connected`, `silent`, `lost`, `down` or `unseen`.
    pub(crate) state: String,
    /// Empty if it never told.
    #[serde(default)]
    pub(crate) version: String,
    /// The image of its new sessions; empty if it never told.
    #[serde(default)]
    pub(crate) image: String,
    #[serde(default)]
    last_news: Wall,
    /// Why its connection is gone, if it was lost.
    #[serde(default)]
    pub(crate) error: Option<String>,
    /// What is said of two hosts that have its identity, if that is so.
    #[serde(default)]
    pub(crate) twins: Option<String>,
    /// The data of its last heartbeat.
    #[serde(default)]
    pub(crate) load: Option<serde_json::Value>,
    #[serde(default, deserialize_with = "readable")]
    pub(crate) sessions: Vec<Session>,
}

#[derive(Deserialize)]
struct Line {
    snapshot: Snapshot,
}

impl Snapshot {
    /// Reads the line.
    ///
    /// # Errors
    /// What is wrong with it, one sentence.
    pub(crate) fn parse(line: &[u8]) -> Result<Snapshot, String> {
        match serde_json::from_slice(line) {
            Ok(Line { snapshot }) => Ok(snapshot),
            Err(error) => Err(format!("decode snapshot: {error}")),
        }
    }

    /// Reads the line if it starts like a snapshot.
    pub(crate) fn parse_if_any(line: &[u8]) -> Option<Snapshot> {
        line.starts_with(b"{\"snapshot\"").then(|| Snapshot::parse(line).ok()).flatten()
    }

    /// What is known of one agent.
    pub(crate) fn agent(&self, id: &str) -> Option<&AgentSnapshot> {
        self.agents.iter().find(|agent| agent.id == id)
    }
}

impl AgentSnapshot {
    /// Whether the agent tells its events.
    pub(crate) fn is_connected(&self) -> bool {
        self.state == "connected"
    }

    /// When it was last heard of; `None` if it never was.
    pub(crate) fn last_news(&self) -> Option<Wall> {
        Some(self.last_news).filter(|at| *at != Wall::default())
    }
}

fn readable<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Session>, D::Error> {
    let values = Vec::<serde_json::Value>::deserialize(input)?;
    Ok(values.into_iter().filter_map(|value| serde_json::from_value(value).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_has_defaults_and_a_bad_session_hides_no_other() {
        let line = br#"{"snapshot":{"seq":7,"agents":[{"id":"a","state":"lost","error":"gone",
            "sessions":[{"uuid":"x"},{"uuid":"01234567-89ab-4def-8123-456789abcdef","name":"n",
            "created_at":"2026-01-02T03:04:05Z","last_accessed":"2026-01-02T03:04:05Z"}]},
            {"id":"b","state":"connected","last_news":"2026-01-02T03:04:05Z","more":1}]}}"#;
        let snapshot = Snapshot::parse(line).unwrap();
        let agent = snapshot.agent("a").unwrap();
        assert_eq!((snapshot.seq, agent.sessions.len(), agent.last_news()), (7, 1, None));
        assert_eq!(agent.error.as_deref(), Some("gone"));
        let agent = snapshot.agent("b").unwrap();
        assert!(agent.is_connected() && agent.last_news().is_some() && agent.sessions.is_empty());
        assert!(Snapshot::parse(b"{\"seq\":1}").unwrap_err().starts_with("decode snapshot: "));
    }
}
