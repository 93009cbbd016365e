//! Sessions that reach names and nothing else.

use std::time::Duration;

use super::AGENT_DESCRIPTORS_MAX;

/// Where the proxy of such a session is, on its own loopback.
pub(crate) const EGRESS_PORT: u16 = 3128;
/// Connections that wait there for the agent.
pub(crate) const EGRESS_BACKLOG: i32 = 1024;
/// A name in the DNS, as text (RFC 1035).
pub(crate) const HOST_NAME_BYTES_MAX: usize = 253;
/// Rules of one session.
pub(crate) const EGRESS_RULES_MAX: usize = 256;
/// Networks that `agent.conf` names.
pub(crate) const EGRESS_NETWORKS_MAX: usize = 64;

/// The head of a request to the proxy, and that of a request that is passed on.
pub(crate) const EGRESS_HEAD_BYTES_MAX: usize = 8 * 1024;
/// A ClientHello: with a post-quantum key it is some 2 KiB.
pub(crate) const EGRESS_HELLO_BYTES_MAX: usize = 16 * 1024;
/// What is kept of a client before it is decided what it wants: a ClientHello in records of 16
/// bytes.
pub(crate) const EGRESS_HELD_BYTES_MAX: usize = 24 * 1024;
/// From a connection's first moment to the end of its request's head.
pub(crate) const EGRESS_HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// For looking a name up and opening a connection to it.
pub(crate) const EGRESS_DIAL_TIMEOUT: Duration = Duration::from_secs(15);
/// From then to what the client says first.
pub(crate) const EGRESS_HELLO_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a refused client has to take its answer.
pub(crate) const EGRESS_LINGER: Duration = Duration::from_secs(5);
/// How long a connection of which one side has ended may be silent.
pub(crate) const EGRESS_HALF_CLOSED_MAX: Duration = Duration::from_secs(120);

/// Connections of one session; others wait in the kernel.
pub(crate) const EGRESS_SESSION_CONNECTIONS_MAX: usize = 1024;
/// Connections of all sessions; each takes two descriptors, and more while it is dialled.
pub(crate) const EGRESS_CONNECTIONS_MAX: usize = 3 * 1024;
/// Of those, so many are for sessions that have few.
pub(crate) const EGRESS_CONNECTIONS_KEPT: usize = 1024;
pub(crate) const EGRESS_CONNECTIONS_OF_FEW: usize = 32;
/// Addresses of a name that are dialled.
pub(crate) const EGRESS_NUMBERS_MAX: usize = 3;
/// Names of one session that are looked up at once.
pub(crate) const EGRESS_LOOKUPS_MAX: usize = 4;
/// Connections that are taken of one session in a turn.
pub(crate) const EGRESS_ACCEPTS_PER_TURN: usize = 32;
/// Read at once, and kept of a connection whose other side does not take it: 1,000 that are
/// stalled both ways keep 64 MiB, those that are stalled one way half of it.
pub(crate) const EGRESS_CHUNK_BYTES: usize = 32 * 1024;
/// Kept by the kernel for a client that does not read; it is on this machine, and never far away.
pub(crate) const EGRESS_SEND_BUFFER_BYTES: usize = 256 * 1024;
/// Moved of one connection in a turn, each way.
pub(crate) const EGRESS_TURN_BYTES: usize = 256 * 1024;
/// Moved of all of them in a turn, about: then all others of the agent have theirs.
pub(crate) const EGRESS_TURN_BYTES_ALL: u64 = 1024 * 1024;
/// What a turn counts that moves nothing: some system calls.
pub(crate) const EGRESS_TURN_COST_BYTES: u64 = 8 * 1024;

/// Names of one session that are remembered as refused.
pub(crate) const EGRESS_REFUSED_MAX: usize = 64;
/// Refusals of one session that events tell in [`EGRESS_TOLD_SPAN`].
pub(crate) const EGRESS_TOLD_MAX: u32 = 20;
pub(crate) const EGRESS_TOLD_SPAN: Duration = Duration::from_secs(60);

/// A text of a `session.refused`, in which each character of a client's may be escaped.
pub(crate) const REFUSED_TEXT_BYTES_MAX: usize = 4 * 1024;

/// Descriptors that a container hands over in one message: as many as the kernel lets through.
pub(crate) const HANDED_MAX: usize = 253;
/// Sockets that a session with a published port keeps ready, and at how many it gets others.
pub(crate) const POOL_SOCKETS: usize = 48;
pub(crate) const POOL_SOCKETS_LOW: usize = 24;
/// From one request for them to the next.
pub(crate) const POOL_PACE: Duration = Duration::from_secs(1);
/// Connections that hand something over, looked at in a turn.
pub(crate) const HANDOVER_ACCEPTS_MAX: usize = 64;
/// How long a program in a container waits until the agent takes what it hands over.
pub(crate) const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it is waited for that a container hands its socket over by itself.
pub(crate) const HAND_OVER_PATIENCE: Duration = Duration::from_secs(3);
/// Between attempts to get one that has not come.
pub(crate) const HAND_OVER_RETRY: Duration = Duration::from_secs(20);

const _: () = assert!(POOL_SOCKETS < HANDED_MAX);
const _: () = assert!((1 + EGRESS_NUMBERS_MAX) * EGRESS_CONNECTIONS_MAX < AGENT_DESCRIPTORS_MAX);
const _: () = assert!(EGRESS_CONNECTIONS_KEPT < EGRESS_CONNECTIONS_MAX);
const _: () = assert!(EGRESS_HELLO_BYTES_MAX + EGRESS_HEAD_BYTES_MAX <= EGRESS_HELD_BYTES_MAX);
