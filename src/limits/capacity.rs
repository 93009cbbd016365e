//! Bounds of what sessions take of a host, and what one may use that was not asked for otherwise.

use std::time::Duration;

use super::{END_NEWS_PATIENCE, SESSION_FILE_BYTES_MAX, SESSION_STOP_GRACE};

/// The share of a host that sessions may take together, in percent of each axis.
pub(crate) const CAPACITY_PERCENT: u64 = 90;
/// From a record that could not be written, for want of room mostly, to the next try.
pub(crate) const RECORD_RETRY: Duration = Duration::from_secs(30);
/// How long is counted what homes take of a disk that refuses a start, and how many are named.
pub(crate) const HOMES_COUNT_MAX: Duration = Duration::from_secs(3);
pub(crate) const LARGEST_HOMES_TOLD: usize = 3;
/// How often the disk of the homes is looked at.
pub(crate) const DISK_LOOK_EVERY: Duration = Duration::from_secs(10 * 60);
/// From this use on, in percent, homes are counted; from that one on it is told who grew, and again
/// when it is fuller by a step. The last step is the share that sessions may take.
pub(crate) const DISK_COUNTED_PERCENT: u64 = 60;
pub(crate) const DISK_TOLD_PERCENT: u64 = 80;
pub(crate) const DISK_TOLD_STEP_PERCENT: u64 = 5;
/// How long homes are counted while nobody waits for it.
pub(crate) const HOMES_COUNT_IN_BACKGROUND_MAX: Duration = Duration::from_secs(30);
/// Counts that are kept: those of an hour.
pub(crate) const HOMES_COUNTS_KEPT: usize = 6;

const _: () = assert!(DISK_COUNTED_PERCENT < DISK_TOLD_PERCENT);
const _: () = assert!(DISK_TOLD_PERCENT < CAPACITY_PERCENT);
/// Memory that admission counts for a session that uses less: a Claude CLI that waits has 300 MiB.
pub(crate) const DEFAULT_MEMORY_RESERVATION: u64 = 512 * 1024 * 1024;
/// A session's cap of memory is half of the host's, within these two: a build takes some GiB.
pub(crate) const DEFAULT_MEMORY_CAP_MIN: u64 = 512 * 1024 * 1024;
pub(crate) const DEFAULT_MEMORY_CAP_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// A session's cap of processes and threads: a build with some threads a processor.
pub(crate) const DEFAULT_PIDS: u32 = 1024;
/// What is kept of a session's screen when it ends.
pub(crate) const LAST_SCREEN_LINES_MAX: usize = 200;
pub(crate) const LAST_SCREEN_BYTES_MAX: usize = 16 * 1024;
/// The file in which a session leaves it.
pub(crate) const LAST_WORDS_BYTES_MAX: usize = 64 * 1024;
/// How often somebody whose terminal has ended asks how its session did, and the pause between: an
/// agent waits a moment for the runtime to say so ([`END_NEWS_PATIENCE`]).
pub(crate) const END_ASKS_MAX: u32 = 10;
pub(crate) const END_ASKS_AFTER: Duration = Duration::from_millis(100);
/// How often the agent starts a session again that has ended with the engine or the host, until it
/// has run for [`RECOVERED_AFTER`]; and the wait after the first of them, which doubles.
pub const RECOVERIES_MAX: u32 = 5;
pub const RECOVERY_WAIT_FIRST: Duration = Duration::from_secs(2);
/// A session that runs for so long has come back.
pub const RECOVERED_AFTER: Duration = Duration::from_secs(10 * 60);
/// An end that was asked for, and not by us, is that of an engine that goes down if that is gone so
/// soon: it waits for its slowest container.
pub const ASKED_END_PATIENCE: Duration = Duration::from_secs(60);
/// Why a session could not be started again, an engine's words.
pub(crate) const END_REASON_BYTES_MAX: usize = 1024;
/// A session that ends sooner was not started.
pub(crate) const START_PROOF: Duration = Duration::from_secs(1);
/// The agent's configuration file.
pub(crate) const AGENT_CONF_BYTES_MAX: usize = 64 * 1024;
/// How readily the kernel ends a process of a session when memory ends (`oom_score_adj`, at most
/// 1000): before any daemon's, and the largest one first.
pub(crate) const SESSION_OOM_SCORE_ADJUST: i32 = 500;

const _: () =
    assert!(END_ASKS_AFTER.as_millis() * (END_ASKS_MAX as u128) > END_NEWS_PATIENCE.as_millis());
const _: () =
    assert!(2 * LAST_SCREEN_BYTES_MAX + 2 * END_REASON_BYTES_MAX < SESSION_FILE_BYTES_MAX);
const _: () = assert!(
    RECOVERY_WAIT_FIRST.as_secs() << RECOVERIES_MAX < RECOVERED_AFTER.as_secs()
        && ASKED_END_PATIENCE.as_secs() > SESSION_STOP_GRACE.as_secs()
);
const _: () = assert!(DEFAULT_MEMORY_RESERVATION <= DEFAULT_MEMORY_CAP_MIN);
const _: () = assert!(SESSION_OOM_SCORE_ADJUST > 0 && SESSION_OOM_SCORE_ADJUST < 1000);
/// How old a measure of a host's room may be that a ping is answered with.
pub(crate) const CAPACITY_LOOK_INTERVAL: Duration = Duration::from_secs(10);
