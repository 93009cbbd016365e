//! What the core is told once, at its start.

use super::capacity::Totals;
use crate::base::uuid::Uuid;
use crate::rpc::field::Caps;
use crate::rpc::reserved::HostNames;

/// The agent's own facts. The driver reads them; the core never asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub agent_id: String,
    pub version: String,
    /// What runs sessions here.
    pub runtime: RuntimeKind,
    /// Whether each session has a user of its own.
    pub has_uids: bool,
    /// The image that new containers use; empty where the runtime has none.
    pub image: String,
    /// What a session may use if it was not asked for otherwise.
    pub caps: Caps,
    /// Memory that admission counts for a session that uses less, in bytes.
    pub memory_reservation: u64,
    /// What the host has.
    pub totals: Totals,
    /// Where the model of the Claude CLI is, if not where the CLI looks by itself.
    pub claude_base_url: Option<String>,
    /// Hosts that this one knows by name: itself and the shell host.
    pub host_names: HostNames,
    /// Whether the host has booted since an agent last ran here: then the sessions that run again
    /// are told as started.
    pub rebooted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeKind {
    /// Containers of the Docker Engine.
    Docker,
    /// tmux on this machine, for trying out: caps are counted and not enforced.
    Host,
}

impl RuntimeKind {
    /// Its name in `ping` and on the command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            RuntimeKind::Docker => "docker",
            RuntimeKind::Host => "host",
        }
    }
}

/// What the driver found on disk for one session when it started. A lock without anything else is
/// handed in too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSession {
    pub id: Uuid,
    pub metadata: FoundMetadata,
    /// Whether the private half of its git key is there.
    pub has_key: bool,
    /// What stands in its lock, if there is one. Nobody holds it: there is one agent.
    pub lock: Option<Vec<u8>>,
}

/// What is known of a session that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundMetadata {
    /// Its record, or why it cannot be read.
    Record(Result<Vec<u8>, String>),
    /// There is no record. What its home holds of an earlier version, or why that cannot be read:
    /// a session may write there, so it is a proposal.
    Proposal(Result<Vec<u8>, String>),
}
