//! Every bound of the program, with its unit in the name and the reason for the number.
//!
//! Nothing that a peer, a file or an operator sends makes anything grow past a number in this file.
//! Relations between numbers are `const` assertions next to them, so a change that breaks one does
//! not compile.

use std::time::Duration;

mod attention;
mod capacity;
mod claude;
mod disk;
mod docker;
mod drive;
mod egress;
mod listener;
mod profile;
mod provision;
mod repository;
mod screen;
mod session_key;
mod ship;
mod terminal;
mod tree;
mod vm;
mod x509;

pub(crate) use self::attention::*;
pub use self::capacity::*;
pub(crate) use self::claude::*;
pub(crate) use self::disk::*;
pub(crate) use self::docker::*;
pub(crate) use self::drive::*;
pub(crate) use self::egress::*;
pub use self::listener::*;
pub(crate) use self::profile::*;
pub(crate) use self::provision::*;
pub(crate) use self::repository::*;
pub(crate) use self::screen::*;
pub(crate) use self::session_key::*;
pub(crate) use self::ship::*;
pub use self::terminal::*;
pub(crate) use self::tree::*;
pub(crate) use self::vm::*;
pub(crate) use self::x509::*;

// --- ssh: the transport ---

/// An identification line with its CR LF (RFC 4253 §4.2).
pub const SSH_IDENTIFICATION_BYTES_MAX: usize = 255;
/// Lines that a client tolerates before a server's identification (RFC 4253 §4.2 sets no number).
pub const SSH_PRELINES_MAX: usize = 1024;
/// A packet on the wire, length field and tag included: RFC 4253 §6.1 demands that 35,000 is taken.
pub const SSH_PACKET_BYTES_MAX: usize = 35_000;
/// A packet before authentication: KEXINIT and the hybrid reply fit several times.
pub const SSH_PREAUTH_PACKET_BYTES_MAX: usize = 8 * 1024;
/// All bytes that a peer may send before it is authenticated.
pub const SSH_PREAUTH_BYTES_MAX: u64 = 64 * 1024;
/// Packets that a peer may send before it is authenticated.
pub const SSH_PREAUTH_PACKETS_MAX: u32 = 64;
/// Time from connect to authenticated: a person with a passphrase is not on this path.
pub const SSH_LOGIN_GRACE: Duration = Duration::from_secs(30);
/// Authentication requests on one connection, of any kind but probes.
pub const SSH_AUTH_ATTEMPTS_MAX: u32 = 6;
/// Questions on one connection whether a key would be of use (RFC 4252 §7): one for each key of a
/// person's agent.
pub const SSH_AUTH_PROBES_MAX: u32 = 32;
/// From authentication, or the opening of a channel, to its subsystem.
pub const SSH_SUBSYSTEM_WAIT: Duration = Duration::from_secs(10);
/// Silence before a keepalive is sent, and between unanswered ones.
pub const SSH_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Intervals without a word, in a row, that end a connection: 45 s for a half-open peer. After each
/// but the last a keepalive is sent.
pub(crate) const SSH_KEEPALIVE_MISSES_MAX: u32 = 3;
/// Bytes in one direction under one key (RFC 4253 §9).
pub(crate) const SSH_REKEY_BYTES: u64 = 1 << 30;
/// Packets in one direction under one key, far below where a sequence number would repeat.
pub(crate) const SSH_REKEY_PACKETS: u64 = 1 << 31;
/// Age of a key (RFC 4253 §9).
pub const SSH_REKEY_AGE: Duration = Duration::from_secs(3600);
/// A rekey that takes longer than this ends the connection.
pub const SSH_REKEY_TIMEOUT: Duration = Duration::from_secs(30);
/// Channels on one connection.
pub const SSH_CHANNELS_MAX: usize = 128;
/// A channel's receive window at most: one bandwidth-delay product of 1 Gbit/s at 16 ms.
pub const SSH_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Payload of one channel data message, in either direction.
pub const SSH_CHANNEL_DATA_BYTES_MAX: u32 = 32 * 1024;
/// All that one connection may hold: receive windows, send queue, packet buffers.
pub const SSH_CONNECTION_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Receive buffer at its start: larger than any request; it grows only when a read fills it.
pub(crate) const SSH_INBOX_FIRST_BYTES: usize = 4 * 1024;
/// Receive buffer before authentication: a packet and what came behind it.
pub(crate) const SSH_INBOX_PREAUTH_BYTES_MAX: usize = 16 * 1024;
/// Receive buffer while bulk flows: one read takes many packets.
pub const SSH_INBOX_BYTES_MAX: usize = 256 * 1024;
/// Packets of channel data that wait to be written: enough for one large write.
pub const SSH_SEND_QUEUE_BYTES: usize = 256 * 1024;
/// Replies that may wait on top of that before no more input is taken.
pub const SSH_REPLY_QUEUE_BYTES: usize = 64 * 1024;
/// Replies that wait for the end of a rekey: over a thousand.
pub const SSH_DEFERRED_BYTES_MAX: usize = 32 * 1024;
/// Events that wait for the owner before no more input is taken.
pub(crate) const SSH_EVENTS_MAX: usize = 1024;
/// The receive window that each channel is sure to get.
pub(crate) const SSH_WINDOW_FLOOR_BYTES: u32 = 8 * 1024;
/// What all channels of a connection share above their floors: the first one gets a full window.
pub(crate) const SSH_WINDOW_POOL_BYTES: u32 = 3 * 1024 * 1024;
/// A user name; the agents know one.
pub(crate) const SSH_USER_BYTES_MAX: usize = 256;
/// Text of a peer that is kept for an error message.
pub(crate) const SSH_PEER_TEXT_CHARS_MAX: usize = 200;
/// Buffers of one connection that are left alone; above it they are given back when they are empty.
/// Most connections rest most of the time, so next to nothing: the list of channels.
pub const SSH_REST_BYTES: usize = 1024;
/// From a buffer's first use to its being given back if it is empty then.
pub const SSH_TRIM_INTERVAL: Duration = Duration::from_secs(1);
/// One name in a list of algorithms or methods (RFC 4251 §6).
pub(crate) const SSH_NAME_BYTES_MAX: usize = 64;
/// Names in one list: the longest that real peers send has some 40.
pub(crate) const SSH_NAME_LIST_NAMES_MAX: usize = 128;
/// An OpenSSH key file or an `authorized_keys` line.
pub(crate) const SSH_KEY_FILE_BYTES_MAX: usize = 16 * 1024;
/// An `authorized_keys` file: some 10,000 keys.
pub(crate) const SSH_AUTHORIZED_KEYS_BYTES_MAX: usize = 1024 * 1024;
/// Options before one key of an `authorized_keys` file: OpenSSH knows some 25.
pub const SSH_KEY_OPTIONS_MAX: usize = 32;
/// Lines of an `authorized_keys` file that are reported as unreadable: enough to see what is wrong.
pub const SSH_KEY_PROBLEMS_MAX: usize = 32;

const _: () = assert!(SSH_KEEPALIVE_INTERVAL.as_secs() * SSH_KEEPALIVE_MISSES_MAX as u64 <= 45);
const _: () = assert!(SSH_CHANNEL_DATA_BYTES_MAX as usize + 64 < SSH_PACKET_BYTES_MAX);
const _: () = assert!(SSH_PREAUTH_PACKET_BYTES_MAX as u64 <= SSH_PREAUTH_BYTES_MAX);
const _: () = assert!(2 * SSH_WINDOW_BYTES as usize <= SSH_CONNECTION_BYTES_MAX);
const _: () = assert!(SSH_WINDOW_POOL_BYTES >= SSH_WINDOW_BYTES);
const _: () = assert!(SSH_INBOX_BYTES_MAX > SSH_PACKET_BYTES_MAX);
const _: () = assert!(SSH_INBOX_PREAUTH_BYTES_MAX > SSH_PREAUTH_PACKET_BYTES_MAX);
const _: () = assert!(SSH_INBOX_PREAUTH_BYTES_MAX >= SSH_INBOX_FIRST_BYTES);
// All of it at once, each buffer with the copy that it has while it grows: windows with a quarter
// of slack for moving, one of them growing, receive buffer, send queue twice.
const _: () = assert!(
    (SSH_WINDOW_POOL_BYTES as usize + SSH_CHANNELS_MAX * SSH_WINDOW_FLOOR_BYTES as usize) / 4 * 5
        + SSH_WINDOW_BYTES as usize / 8 * 5
        + SSH_INBOX_BYTES_MAX / 2 * 3
        + 2 * (SSH_SEND_QUEUE_BYTES + SSH_REPLY_QUEUE_BYTES + SSH_PACKET_BYTES_MAX)
        + 2 * SSH_DEFERRED_BYTES_MAX
        <= SSH_CONNECTION_BYTES_MAX
);

// --- rpc: the wire of the subsystems ---

/// A request line without its newline: a text that is pasted fits.
pub(crate) const RPC_REQUEST_BYTES_MAX: usize = 256 * 1024;
/// Incomplete request lines of one connection in sum: of all that there may be, 64 MiB.
pub(crate) const RPC_INCOMPLETE_BYTES_MAX: usize = RPC_REQUEST_BYTES_MAX;
/// A response line without its newline: several thousand sessions.
pub(crate) const RPC_RESPONSE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Answers of one connection that its peer has not taken, in sum; a single one may be as long.
pub(crate) const RPC_UNREAD_BYTES_MAX: usize = RPC_RESPONSE_BYTES_MAX;
/// A peer that takes nothing of an answer for so long is given up.
pub(crate) const RPC_UNREAD_TIMEOUT: Duration = Duration::from_secs(60);
/// From the subsystem's start to a complete request.
pub(crate) const RPC_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// From a request to its answer, as the client waits for it.
pub const RPC_ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// An attach header line.
pub(crate) const ATTACH_HEADER_BYTES_MAX: usize = 4 * 1024;
/// An event line without its newline.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

// --- sessions ---

/// A session's name, in bytes of UTF-8: four for each character.
pub(crate) const SESSION_NAME_BYTES_MAX: usize = 4 * SESSION_NAME_CHARS_MAX;
/// A session's name, in characters.
pub(crate) const SESSION_NAME_CHARS_MAX: usize = 64;
/// A host label (RFC 1123 §2.1, RFC 1035 §2.3.4).
pub(crate) const DNS_LABEL_CHARS_MAX: usize = 63;
/// The tag of an image, or the version of a program, as an agent tells it.
pub(crate) const IMAGE_TAG_BYTES_MAX: usize = 512;
/// The command of a session.
pub(crate) const SESSION_COMMAND_BYTES_MAX: usize = 4 * 1024;
/// Sessions of one agent.
pub(crate) const SESSIONS_MAX: usize = 4096;
/// What the hub keeps of one agent: its sessions, its last heartbeat, and some words.
pub const AGENT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What the hub keeps of one agent's sessions.
pub(crate) const AGENT_SESSIONS_BYTES_MAX: usize =
    AGENT_BYTES_MAX - HEARTBEAT_BYTES_MAX - AGENT_WORDS_BYTES_MAX;
/// The data of a heartbeat: some 1,000 sessions that run, of which each has 62 bytes.
pub const HEARTBEAT_BYTES_MAX: usize = 64 * 1024;
/// An agent's version, image, epoch, and why its connection is gone.
const AGENT_WORDS_BYTES_MAX: usize = 4 * 1024;
/// Why a connection is gone, as it is kept.
pub(crate) const LOST_WORDS_BYTES_MAX: usize = 1024;
/// A session's record that is read. Ours are mostly below 8 KiB; with the longest of all that an
/// operator may choose, and a last screen, some 90.
pub(crate) const SESSION_FILE_BYTES_MAX: usize = 128 * 1024;
/// What is read of one of the kernel's tables of sockets.
pub(crate) const PORT_TABLE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The lowest port that `auto` picks.
pub(crate) const SESSION_AUTO_PORT_MIN: u16 = 1001;
/// Operations that wait for their turn on one session.
pub const SESSION_WAITING_OPS_MAX: usize = 16;
/// From asking a session's command to end to killing it.
pub(crate) const SESSION_STOP_GRACE: Duration = Duration::from_secs(10);
/// Terminals of one agent.
pub(crate) const TERMINALS_MAX: usize = 1024;
/// A terminal's width in cells. With the height it bounds what tmux keeps of a session's screen.
pub(crate) const TERMINAL_COLS_MAX: u16 = 1000;
/// A terminal's height in cells.
pub(crate) const TERMINAL_ROWS_MAX: u16 = 500;

const _: () = assert!(RPC_ANSWER_TIMEOUT.as_secs() > 2 * SESSION_STOP_GRACE.as_secs());

// --- agent ---

/// Descriptors beside those that a daemon watches: files being read and written, pipes, the log.
/// Connections that wait leave them free; where a process may have few, a quarter of these.
pub(crate) const DESCRIPTORS_RESERVED: usize = 256;
/// A process that may have up to so many counts those that are open at each turn of a listener; of
/// more than that, connections of strangers are a small part.
pub(crate) const DESCRIPTORS_COUNTED_MAX: usize = 4096;
/// Descriptors that one agent watches: connections, terminals with their processes, Docker's.
pub(crate) const AGENT_DESCRIPTORS_MAX: usize = 16 * 1024;
/// Calls that wait for their answers.
pub(crate) const CALLERS_MAX: usize = 4096;
/// How often `authorized_keys` is looked at while anything else happens; a login looks too.
pub(crate) const KEYS_LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes on their way between a terminal and its client, in one direction: one message of channel
/// data, of eight whole pieces of what a terminal shows. The kernel gives it 4,095 bytes at a time
/// (its line discipline's buffer, less one); room for a few bytes more would cost a ninth call.
pub(crate) const TERMINAL_WINDOW_BYTES: usize = 8 * 4095;
/// Bytes that one terminal may move in one turn, so that it slows no other's keystroke.
pub(crate) const TERMINAL_TURN_BYTES: usize = 64 * 1024;
/// How long a tmux client that was hung up on may take to end before it is killed.
pub(crate) const CLIENT_HANG_UP_GRACE: Duration = Duration::from_secs(3);
/// Disk jobs in flight; each belongs to an operation.
pub(crate) const DISK_JOBS_MAX: usize = SESSIONS_MAX;
/// Homes of deleted sessions that wait to be erased; further ones wait for the next start.
pub(crate) const REMAINS_MAX: usize = SESSIONS_MAX;
/// From a home that could not be erased to the next try.
pub const REMAINS_RETRY: Duration = Duration::from_secs(10 * 60);
/// Memory of the container that empties a home as root; `find` takes some 20 MiB at most.
pub(crate) const EMPTYING_MEMORY_BYTES: u64 = 256 << 20;
/// Processes of that container: its init and `find`.
pub(crate) const EMPTYING_PIDS: u32 = 8;
/// How long that container may take: some ten million files.
pub(crate) const EMPTYING_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Threads that copy and remove homes.
pub(crate) const DISK_LONG_THREADS: usize = 4;
/// Connections to Docker's socket that carry calls.
pub(crate) const DOCKER_CONNECTIONS_MAX: usize = 32;
/// Those that are kept while nothing is called: one to call on, one for what is called meanwhile.
pub(crate) const DOCKER_CONNECTIONS_IDLE_MAX: usize = 2;
/// The first wait before Docker is dialled again.
pub(crate) const DOCKER_REDIAL_FIRST: Duration = Duration::from_millis(200);
pub(crate) const DOCKER_REDIAL_CAP: Duration = Duration::from_secs(5);
/// How long operations in flight may go on after SIGTERM: as long as a stop takes.
pub(crate) const AGENT_SHUTDOWN_GRACE: Duration = Duration::from_secs(15);
/// A one-line configuration file.
pub(crate) const CONFIG_LINE_BYTES_MAX: usize = 4 * 1024;

const _: () = assert!(AGENT_SHUTDOWN_GRACE.as_secs() > SESSION_STOP_GRACE.as_secs());

/// A lock file that is read; ours are below 200 bytes.
pub(crate) const LOCK_FILE_BYTES_MAX: usize = 4 * 1024;
/// How long `list` and `get` wait for the runtime before they tell what was last known.
pub(crate) const SURVEY_PATIENCE: Duration = Duration::from_secs(5);

/// How long the event of an end that was seen waits for news of how it ended: the Engine tells of
/// it within milliseconds, and an end is to be told within a second.
pub const END_NEWS_PATIENCE: Duration = Duration::from_millis(750);

const _: () = assert!(SURVEY_PATIENCE.as_secs() < RPC_ANSWER_TIMEOUT.as_secs());

// --- demo ---

/// From starting the demo's agent to its listening.
pub(crate) const DEMO_START_TIMEOUT: Duration = Duration::from_secs(10);
/// What one step of the demo's round waits for: a container's start, a redial.
pub(crate) const DEMO_STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the demo's round asks for something that was changed from outside.
pub(crate) const DEMO_ASK_INTERVAL: Duration = Duration::from_millis(200);

/// How long the last event of an agent that ends may take to be delivered.
pub(crate) const AGENT_FAREWELL_GRACE: Duration = Duration::from_secs(2);
/// One file of the event spool.
pub(crate) const SPOOL_SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Files of the event spool: 64 MiB, some 200,000 events. One more while a new one is made.
pub(crate) const SPOOL_SEGMENTS_MAX: usize = 16;
/// Events in memory that the disk has not taken yet: one commit's worth, far less than a segment.
pub(crate) const SPOOL_TAIL_BYTES_MAX: usize = 1024 * 1024;
/// From a failed disk operation of the spool to the next try.
pub(crate) const SPOOL_RETRY: Duration = Duration::from_secs(1);

/// Bytes of a status channel that wait for the transport.
pub(crate) const EMITTER_OUTPUT_BYTES: usize = 2 * EVENT_BYTES_MAX;
/// A line from a status listener: a hello or an acknowledgement, with room for what is added.
pub(crate) const STATUS_ANSWER_BYTES_MAX: usize = 4 * 1024;
/// From dialling to an open status channel: the login's grace and the connect before it.
pub(crate) const STATUS_CONNECT_TIMEOUT: Duration = Duration::from_secs(45);
/// Silence after which a status listener is of the kind that never acknowledges.
pub(crate) const STATUS_HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// Age at which a connection to a listener that says nothing proves that it answers keepalives.
pub(crate) const STATUS_PROVEN_AFTER: Duration = Duration::from_secs(60);
/// What is read of one file of a control group. A `memory.stat` has some two thousand bytes.
pub(crate) const CGROUP_FILE_BYTES_MAX: u64 = 16 * 1024;

/// Clocks of two hosts that are further apart are told of.
pub(crate) const CLOCK_TOLERANCE_SECONDS: i64 = 30;

pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);

const _: () = assert!(STATUS_CONNECT_TIMEOUT.as_secs() > SSH_LOGIN_GRACE.as_secs());
const _: () = assert!(
    STATUS_PROVEN_AFTER.as_secs()
        >= SSH_KEEPALIVE_INTERVAL.as_secs() * (SSH_KEEPALIVE_MISSES_MAX as u64 + 1)
);
const _: () = assert!(2 * SPOOL_TAIL_BYTES_MAX as u64 <= SPOOL_SEGMENT_BYTES);
const _: () = assert!(2 * EVENT_BYTES_MAX <= SPOOL_TAIL_BYTES_MAX);

// --- status and fleet ---

/// The first wait before a redial.
pub const REDIAL_FIRST: Duration = Duration::from_secs(1);
/// The longest wait before a redial.
pub const REDIAL_CAP: Duration = Duration::from_secs(30);
/// Agents of one shell host.
pub(crate) const AGENTS_MAX: usize = 1024;
/// Where an agent listens unless its entry says otherwise.
pub(crate) const AGENT_PORT: u16 = 222;
/// Where the shell host listens for status unless it is told otherwise.
pub(crate) const STATUS_PORT: u16 = 223;
/// Where the shell host collects logs.
pub(crate) const LOG_PORT: u16 = 514;
/// An agent's `agent-host` file: the longest DNS name, a port and blanks fit.
pub(crate) const AGENT_HOST_BYTES_MAX: usize = 512;
/// From a dial to an open stream, name resolution included; a dead host says nothing at all.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// A stream that nobody has answered for so long is opened anew. The kernel asks again after one
/// second, then after two, four, eight: it would find out late that a network is back.
pub(crate) const CONNECT_RETRY_AFTER: Duration = Duration::from_secs(2);
/// What that is drawn out by at most, so that many who wait do not fall into step.
pub(crate) const CONNECT_RETRY_JITTER: Duration = Duration::from_millis(500);
/// Requests to one agent that are not answered yet, those that wait for the connection included.
pub(crate) const MEMBER_REQUESTS_MAX: usize = 256;
/// How long a verb waits for lists and pings, dialling included; all dead hosts cost it once.
pub(crate) const SURVEY_TIMEOUT: Duration = Duration::from_secs(12);
/// How long names for a completion are waited for: somebody has pressed Tab.
pub(crate) const NAMES_PATIENCE: Duration = Duration::from_secs(1);
/// The longest wait before a redial while a person looks at a lost terminal.
pub(crate) const ATTACH_REDIAL_CAP: Duration = Duration::from_secs(5);
/// How long a lost terminal is tried to be had back: a train ride through tunnels.
pub(crate) const ATTACH_GIVE_UP: Duration = Duration::from_secs(15 * 60);
/// How long a session whose terminal failed may take to end before that is told as a failure.
pub(crate) const ATTACH_DOUBT_TIMEOUT: Duration = Duration::from_secs(2);
/// The same where the agent took the terminal away, which it does for `background`, too.
pub(crate) const ATTACH_TAKEN_TIMEOUT: Duration = Duration::from_millis(500);
/// The pause between asking such a session whether it runs on.
pub(crate) const ATTACH_DOUBT_INTERVAL: Duration = Duration::from_millis(100);
/// How long a finished terminal waits to hear whether its session goes on.
pub(crate) const ATTACH_FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);
/// From asking for a terminal to saying that it takes time: most are there before one could read.
pub(crate) const ATTACH_HINT_AFTER: Duration = Duration::from_millis(500);
/// Host names that are looked up at the same time.
pub(crate) const RESOLVER_THREADS: usize = 8;
/// Keys that are read from the person's terminal at once: a large paste goes in a few pieces.
pub(crate) const TYPED_BYTES_MAX: usize = 16 * 1024;
/// How long the last words to an agent may take when a terminal has ended.
pub(crate) const FAREWELL_LINGER: Duration = Duration::from_secs(1);
/// A refusal line of the attach subsystem without its newline.
pub(crate) const ATTACH_REFUSAL_BYTES_MAX: usize = 4 * 1024;

const _: () = assert!(SURVEY_TIMEOUT.as_secs() > DIAL_TIMEOUT.as_secs());
const _: () = assert!(CONNECT_RETRY_AFTER.as_secs() + 1 < DIAL_TIMEOUT.as_secs());
const _: () = assert!(RPC_ANSWER_TIMEOUT.as_secs() > DIAL_TIMEOUT.as_secs());
const _: () = assert!(ATTACH_REDIAL_CAP.as_secs() <= REDIAL_CAP.as_secs());

/// Silence after which an agent that is connected counts as silent: three heartbeats.
pub(crate) const STATUS_SILENCE: Duration = Duration::from_secs(90);
/// Age of a file of the hub's journal: then a new one is begun and what is known is written anew.
pub(crate) const JOURNAL_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Events that wait for the hub's disk; beyond it agents are not read. Two such are in memory.
pub(crate) const JOURNAL_PENDING_BYTES_MAX: usize = 512 * 1024;
/// What each of the journal's buffers keeps while nothing happens.
pub(crate) const JOURNAL_REST_BYTES: usize = 16 * 1024;
/// What of the known state goes along with one commit while it is written anew.
pub(crate) const JOURNAL_CHECKPOINT_BYTES: usize = 64 * 1024;
/// From a failed disk operation of the journal to the next try.
pub(crate) const JOURNAL_RETRY: Duration = Duration::from_secs(1);
/// Recent events that subscribers read from: some 3,000.
pub(crate) const HISTORY_BYTES_MAX: usize = 1024 * 1024;
/// The pieces in which recent events are forgotten.
pub(crate) const HISTORY_CHUNK_BYTES: usize = 64 * 1024;
/// A piece of a snapshot in a subscriber's memory, give or take one session.
pub(crate) const SNAPSHOT_PART_BYTES: usize = 16 * 1024;
/// A request line of a subscriber.
pub(crate) const SUBSCRIBER_REQUEST_BYTES_MAX: usize = 1024;
/// What an agent may have sent that the hub has no room for is half of this; the rest waits with
/// the agent. Enough for a line of 10 Mbit/s at 100 ms, and 40 MiB when 256 wait for a full disk.
pub(crate) const STATUS_WINDOW_POOL_BYTES: u32 = 256 * 1024;
/// Connections whose buffers are kept for what comes next: more than a few are only busy at the
/// same time when all are, and then each has little.
pub(crate) const STATUS_WARM_MAX: usize = 8;
/// How long agents are not read at all while the hub waits for its disk: what comes then waits in
/// the kernel. Longer, and their keepalives would be missed.
pub(crate) const STATUS_UNREAD_MAX: Duration = Duration::from_secs(5);
/// What a listener has for one agent: a hello and an acknowledgement.
pub(crate) const LISTENER_OUTPUT_BYTES: usize = 1024;
/// Descriptors that a status listener watches: two for each agent, and those who listen.
pub(crate) const STATUS_DESCRIPTORS_MAX: usize = 4 * 1024;
/// Programs that listen to the hub.
pub(crate) const SUBSCRIBERS_MAX: usize = 256;
/// Bytes that one of them is told in one turn before the others have theirs.
pub(crate) const SUBSCRIBER_TURN_BYTES: usize = 256 * 1024;
/// How often the registry of agents is read again while no entry of it came or left.
pub(crate) const STATUS_REGISTRY_INTERVAL: Duration = Duration::from_secs(60);
/// From a list that events have overtaken to the next one.
pub const LIST_SETTLE: Duration = Duration::from_millis(500);
/// From a list that was not answered to the next one.
pub const LIST_RETRY: Duration = Duration::from_secs(5);
/// The hosts file of dnsmasq: some 50,000 names.
pub(crate) const DNS_HOSTS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// From a hosts file that could not be written to the next try.
pub(crate) const DNS_RETRY: Duration = Duration::from_secs(5);
/// How long a program that can do without it waits for the hub's snapshot.
pub(crate) const HUB_PATIENCE: Duration = Duration::from_millis(100);
/// How long `ls` waits for an agent that the hub has lost.
pub(crate) const LOST_AGENT_PATIENCE: Duration = Duration::from_millis(200);
/// A line for a person about an event.
pub(crate) const EVENT_LINE_CELLS_MAX: usize = 1000;
/// From losing the hub to looking for it again, while a person or a script reads events.
pub(crate) const EVENTS_REDIAL: Duration = Duration::from_millis(200);
/// Lines about gaps and silences in the hub's log in one span; more are counted.
pub(crate) const HUB_NOTICES_PER_SPAN: usize = 32;
/// And about one agent, so that it hides no other.
pub(crate) const HUB_NOTICES_PER_AGENT: usize = 8;
pub(crate) const HUB_NOTICES_SPAN: Duration = Duration::from_secs(60);
/// Names that are refused and told of at one writing of the hosts file; the rest at the next one.
pub(crate) const REFUSED_NAMES_TOLD_MAX: usize = 32;
/// Complaints about what comes on an agent's connection: some at once, and then one in this time.
pub(crate) const LISTENER_NOTES_BURST: u32 = 4;
pub(crate) const LISTENER_NOTE_EVERY: Duration = Duration::from_secs(10);

const _: () = assert!(2 * STATUS_UNREAD_MAX.as_secs() < SSH_KEEPALIVE_INTERVAL.as_secs());
const _: () = assert!(STATUS_SILENCE.as_secs() == 3 * HEARTBEAT_INTERVAL.as_secs());
const _: () = assert!(EVENT_BYTES_MAX + 1024 <= JOURNAL_PENDING_BYTES_MAX);
const _: () =
    assert!(2 * IMAGE_TAG_BYTES_MAX + LOST_WORDS_BYTES_MAX + 1024 <= AGENT_WORDS_BYTES_MAX);
const _: () = assert!(HEARTBEAT_BYTES_MAX < EVENT_BYTES_MAX);
const _: () = assert!(2 * JOURNAL_PENDING_BYTES_MAX as u64 <= JOURNAL_FILE_BYTES);
const _: () = assert!(4 * HISTORY_CHUNK_BYTES <= HISTORY_BYTES_MAX);

// --- provision: setting hosts up ---

/// A program that a step runs, unless it says otherwise.
pub(crate) const PROVISION_COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// Starting or restarting a unit: systemd itself gives up after 90 s.
pub(crate) const PROVISION_UNIT_TIMEOUT: Duration = Duration::from_secs(120);
/// How long apt waits for whoever holds dpkg's lock: a fresh machine's own first updates.
pub(crate) const PROVISION_APT_LOCK_WAIT: Duration = Duration::from_secs(600);
/// A call of apt: a whole upgrade over a slow line, behind the wait for the lock.
pub(crate) const PROVISION_APT_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// How long a call waits for another one that changes the same machine.
pub(crate) const PROVISION_TURN_WAIT: Duration = PROVISION_APT_TIMEOUT;
/// Between two looks whether that one has ended.
pub(crate) const PROVISION_TURN_PAUSE: Duration = Duration::from_millis(100);
/// From asking a program to end to killing it, when everything is to end.
pub(crate) const PROVISION_STOP_GRACE: Duration = Duration::from_secs(5);
/// What is kept of each output of a program: apt tells of some thousand packages.
pub(crate) const PROVISION_OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a run that was told to end may take to say where it stopped.
pub(crate) const PROVISION_LAST_WORDS: Duration = Duration::from_secs(10);
/// How long a new agent may take to answer, to tell events and to send a line of its log: both
/// ends dial again after a second.
pub(crate) const PROVISION_PROOF_PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two looks.
pub(crate) const PROVISION_PROOF_PAUSE: Duration = Duration::from_millis(50);
/// Lines of a failed program that are shown.
pub(crate) const PROVISION_OUTPUT_LINES_SHOWN: usize = 12;
/// A file that a step looks into: our own programs, some 70 MB with all for a debugger.
pub(crate) const PROVISION_FILE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Another program's settings that are looked at: rsyslog's have some 2 KiB.
pub(crate) const CONFIG_FILE_BYTES_MAX: usize = 1024 * 1024;
/// Lines of a difference that are shown.
pub(crate) const PROVISION_DIFF_LINES_MAX: usize = 200;
/// Lines of texts that are compared line by line; longer ones are shown as replaced.
pub(crate) const PROVISION_DIFF_TEXT_LINES_MAX: usize = 1000;
/// `/etc/passwd` or `/etc/group`: some 10,000 accounts.
pub(crate) const ACCOUNTS_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(PROVISION_LAST_WORDS.as_secs() > PROVISION_STOP_GRACE.as_secs());
const _: () = assert!(PROVISION_APT_TIMEOUT.as_secs() > 2 * PROVISION_APT_LOCK_WAIT.as_secs());

// --- logs ---

/// Messages that an agent's rsyslog holds in memory for the collector before it writes to disk.
pub(crate) const LOG_FORWARD_QUEUE_MESSAGES: usize = 5_000;
/// And on disk, in MiB: days of an agent's logs; what is over that is dropped.
pub(crate) const LOG_FORWARD_QUEUE_DISK_MIB: usize = 256;
/// The longest pause between two tries to reach the collector, in seconds.
pub(crate) const LOG_FORWARD_RESUME_SECONDS_MAX: u64 = 30;
/// How long the collector lets a connection be silent before it asks whether the agent's host is
/// there, in seconds: longer than the kernel of that host goes on sending what is not acknowledged
/// (`tcp_retries2`, some 15 minutes). Whoever forgets a connection sooner loses the lines that are
/// under way on it, when the network between the two was away and comes back.
pub(crate) const LOG_DOOR_SILENT_SECONDS_MAX: u64 = 1200;
const _: () = assert!(LOG_DOOR_SILENT_SECONDS_MAX > 925);
/// Days for which the collector keeps an agent's logs.
pub(crate) const LOG_KEEP_DAYS: u32 = 14;

// --- io: the loop ---

/// Bytes that one link may move in one turn before the others have theirs.
pub const LINK_TURN_BYTES: usize = 1024 * 1024;
/// What a peer has to take our last bytes and to close, once we are done with it.
pub const LINK_LINGER: Duration = Duration::from_secs(5);
/// What it may send meanwhile: what was on its way when we closed, and no more.
pub const LINK_DRAIN_BYTES_MAX: usize = 256 * 1024;
/// Events taken from the kernel at once; what is left over comes with the next wait.
pub(crate) const REACTOR_EVENTS_PER_WAIT: usize = 256;
/// Connections that a listener takes in one turn, at some 50 µs each: those that come in 20 ms at
/// 5,000 a second. What the kernel does not hold until then is dialled anew after a second.
pub const ACCEPTS_PER_TURN: usize = 96;
/// Key exchanges with strangers of one class in one turn, some 0.2 ms each: at least, also
/// where it is other work that makes turns long, and at most.
pub(crate) const EXCHANGES_PER_TURN_MIN: usize = 2;
pub(crate) const EXCHANGES_PER_TURN_MAX: usize = 12;
/// A turn that is longer makes the next one have fewer: so long another's keystroke may wait.
pub(crate) const EXCHANGE_TURN: Duration = Duration::from_millis(6);
/// From being out of descriptors to the next try to accept: there is no event for it.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(250);
/// Connections that the kernel holds until we accept them; more wait at the peer's.
pub(crate) const LISTENER_BACKLOG: i32 = 1024;
/// How long a number has to answer before the next one of the name is dialled beside it (RFC 8305
/// §5).
pub(crate) const CONNECT_ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Numbers of one host name that are dialled in turn.
pub(crate) const RESOLVED_NUMBERS_MAX: usize = 8;
/// A host name (RFC 1035 §2.3.4, without the final dot).
pub(crate) const HOST_NAME_CHARS_MAX: usize = 253;
/// What is kept of each output of a program that runs in the background: a complaint, a listing.
pub(crate) const CHILD_OUTPUT_BYTES_MAX: usize = 256 * 1024;

// --- log ---

/// A line of the log with its newline, which is also what a pipe takes in one piece.
pub const LOG_LINE_BYTES_MAX: usize = 4096;
