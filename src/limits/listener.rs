//! Bounds of the SSH listeners: connections, places before a key is proven, penalties, their log.

use std::time::Duration;

use super::{
    AGENTS_MAX, RPC_INCOMPLETE_BYTES_MAX, SSH_LOGIN_GRACE, STATUS_DESCRIPTORS_MAX, SUBSCRIBERS_MAX,
};

/// Connections of an agent's listener that have proven a key.
pub const SSH_CONNECTIONS_MAX: usize = 256;
/// Connections of a status listener that have proven a key: an agent has one, and a second one
/// while that is being replaced.
pub const STATUS_CONNECTIONS_MAX: usize = AGENTS_MAX + 256;
/// From one login of an agent at the status listener to the next, in the long run; and what its
/// logins may be ahead of that: 60 of them, after as many cuts of its network.
pub(crate) const AGENT_LOGIN_PACE: Duration = Duration::from_secs(5);
pub(crate) const AGENT_LOGIN_BURST: Duration = Duration::from_secs(300);
/// Processes of an agent that are remembered, to tell a restart from a second host.
pub(crate) const TWIN_RUNS_KEPT: usize = 8;
/// Events of an agent whose contents are remembered, for the same.
pub(crate) const TWIN_EVENTS_KEPT: usize = 32;
/// Connections from two addresses that take each other's place so often within this are two hosts.
pub(crate) const TWIN_SWAPS_MIN: usize = 4;
pub(crate) const TWIN_SWAP_SPAN: Duration = Duration::from_secs(60);
/// How long after the last sign of it an agent is taken for two hosts.
pub(crate) const TWIN_FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Connections of one listener that have proven no key, from sources that are not known. Some
/// 10 KB each; at 5,000 dials a second from as many addresses each has its place for 50 ms.
pub const SSH_PLACES_MAX: usize = 256;
/// The same, from sources with a penalty. At 20 dials a second from one of them each has its place
/// for two seconds.
pub const SSH_PENALIZED_PLACES_MAX: usize = 48;
/// Silence in a key exchange or authentication, each of whose steps takes milliseconds, that ends a
/// connection: two lost packets in a row are survived.
pub const SSH_LOGIN_SILENCE: Duration = Duration::from_secs(2);
/// Sources that have proven a key: all agents and as many operators.
pub const SSH_KNOWN_SOURCES_MAX: usize = 2 * AGENTS_MAX;
/// Sources that are known by one key: an operator who travels, a host with many addresses.
pub const SSH_KNOWN_SOURCES_OF_KEY_MAX: usize = 64;
/// The file that keeps them over a restart: an IPv6 address and a time are 60 bytes.
pub(crate) const KNOWN_SOURCES_FILE_BYTES_MAX: usize = 64 * SSH_KNOWN_SOURCES_MAX;
/// It is written so long after a new one at the latest.
pub(crate) const SSH_KNOWN_SOURCES_KEPT_WITHIN: Duration = Duration::from_secs(60);
/// It is written anew in any case: how long they are known has changed.
pub(crate) const SSH_KNOWN_SOURCES_KEPT_EVERY: Duration = Duration::from_secs(60 * 60);
/// How long a source is known after its last connection with a key: over a weekend.
pub const SSH_KNOWN_SOURCE_AGE: Duration = Duration::from_secs(72 * 60 * 60);
/// When all connections are taken by those who have proven a key: how long a newcomer is told to
/// wait.
pub const SSH_FULL_WAIT: Duration = Duration::from_secs(5);
/// A wait that a listener tells at most.
pub const SSH_REFUSAL_SECONDS_MAX: u8 = 60;
/// How long a client that was refused goes on dialling; it gives up at once if it is told to wait
/// longer.
pub const SSH_RETRY_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a client waits whose place went to a newcomer.
pub const SSH_DISPLACED_WAIT: Duration = Duration::from_millis(200);
/// What one connection that failed adds to its source's penalty.
pub const SSH_PENALTY_STEP: Duration = Duration::from_secs(2);
/// A penalty up to this is forgiven: half a dozen failures in a row are a person's.
pub const SSH_PENALTY_THRESHOLD: Duration = Duration::from_secs(15);
/// A penalty never exceeds this, so that a repaired client is let in again soon.
pub const SSH_PENALTY_MAX: Duration = Duration::from_secs(30);
/// Sources that have a penalty; for a further one the least is forgiven.
pub const SSH_PENALIZED_SOURCES_MAX: usize = 1024;
/// Sources with a summary of their own in the log; others are counted together.
pub const SSH_TALLIED_SOURCES_MAX: usize = 64;
/// The log has one summary of a source in this time.
pub const SSH_TALLY_SPAN: Duration = Duration::from_secs(60);

const _: () = assert!(SSH_LOGIN_SILENCE.as_secs() < SSH_LOGIN_GRACE.as_secs());
const _: () = assert!(SSH_KNOWN_SOURCES_MAX > SSH_CONNECTIONS_MAX);
const _: () = assert!(SSH_KNOWN_SOURCES_OF_KEY_MAX > 1);
const _: () = assert!(SSH_KNOWN_SOURCES_MAX > STATUS_CONNECTIONS_MAX);
const _: () = assert!(
    STATUS_DESCRIPTORS_MAX
        > STATUS_CONNECTIONS_MAX
            + 2 * SSH_PLACES_MAX
            + SSH_PENALIZED_PLACES_MAX
            + AGENTS_MAX
            + SUBSCRIBERS_MAX
);
const _: () = assert!(SSH_CONNECTIONS_MAX * RPC_INCOMPLETE_BYTES_MAX <= 64 * 1024 * 1024);
const _: () = assert!(SSH_PENALTY_MAX.as_secs() <= SSH_REFUSAL_SECONDS_MAX as u64);
const _: () = assert!(SSH_PENALTY_MAX.as_secs() > SSH_PENALTY_THRESHOLD.as_secs());
