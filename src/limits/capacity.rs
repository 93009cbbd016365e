//! Bounds of what sessions take of a host, and what one may use that was not asked for otherwise.

/// The share of a host that sessions may take together, in percent of each axis.
pub(crate) const CAPACITY_PERCENT: u64 = 90;
/// Memory that admission counts for a session that uses less: a Claude CLI that waits has 300 MiB.
pub(crate) const DEFAULT_MEMORY_RESERVATION: u64 = 512 * 1024 * 1024;
/// A session's cap of memory is half of the host's, within these two: a build takes some GiB.
pub(crate) const DEFAULT_MEMORY_CAP_MIN: u64 = 512 * 1024 * 1024;
pub(crate) const DEFAULT_MEMORY_CAP_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// A session's cap of processes and threads: a build with some threads a processor.
pub(crate) const DEFAULT_PIDS: u32 = 1024;
/// The agent's configuration file.
pub(crate) const AGENT_CONF_BYTES_MAX: usize = 64 * 1024;
/// How readily the kernel ends a process of a session when memory ends (`oom_score_adj`, at most
/// 1000): before any daemon's, and the largest one first.
pub(crate) const SESSION_OOM_SCORE_ADJUST: i32 = 500;

const _: () = assert!(DEFAULT_MEMORY_RESERVATION <= DEFAULT_MEMORY_CAP_MIN);
const _: () = assert!(SESSION_OOM_SCORE_ADJUST > 0 && SESSION_OOM_SCORE_ADJUST < 1000);
