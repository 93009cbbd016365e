//! The wire types of the three subsystems: what may be said, as values that cannot be wrong.
//!
//! Text from a peer becomes one of these types or one clear sentence; after that nothing is checked
//! again. Nothing here does I/O or decides anything.

pub mod agent_id;
pub mod attach;
pub mod attention;
pub mod call;
pub mod capacity;
pub mod drive;
pub mod egress;
mod egress_sets;
pub(crate) mod env;
pub mod event;
pub mod field;
pub mod network;
pub(crate) mod options;
pub(crate) mod predecessor;
pub mod repository;
pub mod reserved;
pub mod response;
pub mod session;
pub mod startup;
pub mod values;

/// One JSON request, one JSON response.
pub const RPC_SUBSYSTEM: &str = "convocate-agent-rpc";
/// A JSON header line, then raw terminal bytes.
pub const ATTACH_SUBSYSTEM: &str = "convocate-agent-attach";
pub const STATUS_SUBSYSTEM: &str = "convocate-status";
/// The user name in every authentication between our own ends. The server does not look at it: the
/// key alone says who it is.
pub const SSH_USER: &str = "claude";
