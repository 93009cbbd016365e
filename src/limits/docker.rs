//! Bounds of what is exchanged with the Docker Engine on its socket.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{RPC_ANSWER_TIMEOUT, SESSION_STOP_GRACE, SESSIONS_MAX};

pub(crate) const DOCKER_HEAD_BYTES_MAX: usize = 16 * 1024;
/// A response body that is kept whole: the list of all containers.
pub(crate) const DOCKER_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
pub(crate) const DOCKER_CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Header lines of a response; the Engine sends some ten.
pub(crate) const DOCKER_HEADERS_MAX: usize = 64;
/// The line that opens a chunk: sixteen digits and an extension that nobody sends.
pub(crate) const DOCKER_CHUNK_LINE_BYTES_MAX: usize = 256;
/// All lines after the last chunk.
pub(crate) const DOCKER_TRAILER_BYTES_MAX: usize = 4 * 1024;
/// A request with its body: a container's description, or the sources of the session image.
pub(crate) const DOCKER_REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// One direction of a stream that is taken over: a screen of tmux several times.
pub(crate) const DOCKER_STREAM_BYTES: usize = 64 * 1024;
/// What is read from the Engine's socket at a time.
pub(crate) const DOCKER_READ_BYTES: usize = 16 * 1024;
/// One object of the event stream; labels of a container are in it.
pub(crate) const DOCKER_EVENT_BYTES_MAX: usize = 64 * 1024;
/// What a call that stops a container may take beyond the grace of the stop.
pub(crate) const DOCKER_STOP_MARGIN: Duration = Duration::from_secs(15);
/// A build of the session image, packages fetched over a slow line included.
pub(crate) const DOCKER_BUILD_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// The line with which an attached terminal tells its name inside the container.
pub(crate) const DOCKER_TTY_LINE_BYTES_MAX: usize = 256;
/// How long the Engine is asked for the number of a process that it has just started: it knows it
/// once the start has come back to it, which takes a busy machine its time.
pub(crate) const DOCKER_PROCESS_ASKS_FOR: Duration = Duration::from_secs(5);
/// Between two of these questions.
pub(crate) const DOCKER_PROCESS_ASKS_AFTER: Duration = Duration::from_millis(2);
/// From a kill for memory to the end of the container that it belongs to.
pub(crate) const DOCKER_OOM_ENDS_WITHIN: Duration = Duration::from_secs(10);
/// A container's log on disk where the host has no syslog, in MiB, twice.
pub(crate) const DOCKER_LOG_FILE_MIB: u32 = 10;

/// Files that a process of a session has open: not more than what an Engine may grant that has no
/// right to raise its own limit.
pub(crate) const SESSION_OPEN_FILES_MAX: u64 = 16_384;
/// All POSIX message queues of a session; the kernel's own default.
pub(crate) const SESSION_MESSAGE_QUEUE_BYTES_MAX: u64 = 819_200;
/// Memory that a process of a session keeps from being swapped; the kernel's own default.
pub(crate) const SESSION_LOCKED_BYTES_MAX: u64 = 8 << 20;
/// A session's `/dev/shm`, which counts as its memory: a browser's tests want more than the
/// Engine's 64 MiB.
pub(crate) const SESSION_SHM_BYTES: u64 = 256 << 20;
/// A session's `/run/convocate`, which counts as its memory: the sockets of its terminals, and what
/// it leaves at its end.
pub(crate) const SESSION_RUN_BYTES: u64 = 16 << 20;
pub(crate) const SESSION_RUN_FILES: u64 = 4096;
/// For each of so many bytes of its cap of memory, a session's terminal keeps one line that has
/// gone by: a seventh of them is what such a line takes at 200 columns, each with a colour of its
/// own.
pub(crate) const SCROLLBACK_LINE_CAP_BYTES: u64 = 48 << 10;
pub(crate) const SCROLLBACK_LINES_MAX: u64 = 50_000;
/// What the kernel grants each user at least after an installation: editors, bundlers and language
/// servers take some instances each,
pub(crate) const INOTIFY_INSTANCES_MIN: u32 = 1024;
/// and a watch for each directory of a large source tree, node_modules included.
pub(crate) const INOTIFY_WATCHES_MIN: u32 = 524_288;
/// The user and group numbers of sessions, one each: above those of people, of distributions, of
/// systemd and of the usual delegated ranges.
pub(crate) const SESSION_UIDS: RangeInclusive<u32> = 2_000_000..=2_065_535;

const _: () = assert!((*SESSION_UIDS.end() - *SESSION_UIDS.start()) as usize >= 2 * SESSIONS_MAX);
const _: () = assert!(RPC_ANSWER_TIMEOUT.as_secs() > DOCKER_CALL_TIMEOUT.as_secs());
const _: () = assert!(DOCKER_CALL_TIMEOUT.as_secs() > SESSION_STOP_GRACE.as_secs());
const _: () = assert!(
    RPC_ANSWER_TIMEOUT.as_secs() > SESSION_STOP_GRACE.as_secs() + DOCKER_STOP_MARGIN.as_secs()
);
const _: () = assert!(DOCKER_HEAD_BYTES_MAX <= DOCKER_STREAM_BYTES);
