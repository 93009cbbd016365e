//! What both ends of `migrate-session` tell each other, a line of JSON each.

use serde::{Deserialize, Serialize};

use crate::base::uuid::Uuid;

/// What the agent host is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum MigrateRequest {
    /// Say what is there of these.
    Look(Vec<Uuid>),
    /// Take the directory that follows.
    Take {
        id: Uuid,
        /// Bytes that it needs at most.
        bytes: u64,
        /// What an agent knows of it, as it stands in its record; absent if none ever had it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<String>,
    },
    /// Have the agent take in what has arrived.
    PickUp,
    /// These are nowhere else any more.
    Forget(Vec<Uuid>),
}

/// What the agent host says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MigrateReply {
    /// What is there, in the order of the question.
    There(Vec<HeldSession>),
    /// It can come.
    Ready,
    /// It lies there whole, and this is its hash.
    Whole { sha256: String },
    /// It has its name.
    Registered,
    /// It is done.
    Done,
    /// It is not, and why.
    Failed(String),
}

/// What an agent host has of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldSession {
    /// Whether it has its directory.
    pub(crate) home: bool,
    /// The hash of what has arrived from another host and may still lie there, too.
    pub(crate) receipt: Option<String>,
}

/// What the sender says when the hashes are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MigrateDecision {
    /// Give it its name.
    Register,
}
