//! Bounds of the work on another host.

use std::time::Duration;

use super::AGENTS_MAX;

/// The port of sshd where nobody has chosen another.
pub(crate) const SSH_STANDARD_PORT: u16 = 22;
/// Seconds for a host to take a connection: a jump or two are on the way.
pub(crate) const PROVISION_CONNECT_SECONDS: u64 = 15;
/// Seconds of silence before ssh asks whether the host is there.
pub(crate) const PROVISION_ALIVE_SECONDS: u64 = 15;
/// Unanswered questions of that kind that end a connection: 45 s in all.
pub(crate) const PROVISION_ALIVE_COUNT: u32 = 3;
/// Seconds for which the shared connection is kept when nobody has closed it.
pub(crate) const PROVISION_KEEP_SECONDS: u64 = 60;
/// Minutes for which a copied program may be at work on a host: a day, with an image on its way.
pub(crate) const PROVISION_COPY_MINUTES_MAX: u64 = 24 * 60;
/// KiB that must be free below /var: Docker, an upgrade, and the session image.
pub(crate) const PROVISION_FREE_KIB_MIN: u64 = 4 * 1024 * 1024;
/// The line of JSON that tells the other end what to do.
pub(crate) const PROVISION_REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Age from which apt's lists are fetched anew.
pub(crate) const PROVISION_LISTS_AGE_MAX: Duration = Duration::from_secs(3600);
/// How long a host may take to be back from a restart: servers test their memory.
pub(crate) const PROVISION_RESTART_PATIENCE: Duration = Duration::from_secs(600);
/// The longest pause between two questions whether it is back.
pub(crate) const PROVISION_RESTART_ASK_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Hosts that are worked on at the same time: each has an ssh, a copy and an image on its way.
pub(crate) const PROVISION_HOSTS_AT_ONCE: usize = 8;
/// Hosts of one call: all agents of a shell host.
pub(crate) const PROVISION_HOSTS_MAX: usize = AGENTS_MAX;
