//! Bounds of what is known of the programs inside of sessions.

use std::time::Duration;

/// A reason, as it is told. What a program says is cut to a third of it, because an escaped
/// character takes more.
pub(crate) const ATTENTION_REASON_BYTES_MAX: usize = 480;
/// Characters of a reason before it is cut.
pub(crate) const ATTENTION_REASON_CHARS_MAX: usize = 120;
pub(crate) const ATTENTION_SOURCE_BYTES_MAX: usize = 32;
/// A status file of the Claude CLI has some 700 bytes.
pub(crate) const STATUS_FILE_BYTES_MAX: usize = 16 * 1024;
/// A word of it that is kept, in bytes.
pub(crate) const STATUS_WORD_BYTES_MAX: usize = 256;
/// Status files of one session that are read at a look: those of programs that were killed stay.
pub(crate) const STATUS_FILES_MAX: usize = 32;
/// Entries of the directory that are looked at: beside each status file stands a key.
pub(crate) const STATUS_ENTRIES_MAX: usize = 512;
/// Processes of one session among which the program is looked for.
pub(crate) const STATUS_PROCESSES_MAX: usize = 4096;
/// Programs of one session that tell their state.
pub(crate) const STATUS_PROGRAMS_MAX: usize = 8;
/// From a change of the files to the look at them: several changes are one.
pub(crate) const STATUS_LOOK_DELAY: Duration = Duration::from_millis(15);
/// Looks at one session that may follow each other without a pause, and a new one every so long.
pub(crate) const STATUS_LOOKS_BURST: u32 = 60;
pub(crate) const STATUS_LOOK_EVERY: Duration = Duration::from_secs(1);
/// From a failure to watch a session's files to the next attempt.
pub(crate) const STATUS_WATCH_AGAIN: Duration = Duration::from_secs(60);
/// Of a search among all processes of a container, so many count as one look more: they take the
/// loop a millisecond.
pub(crate) const STATUS_PROCESSES_A_LOOK: u32 = 40;
/// The same for all sessions together.
pub(crate) const STATUS_LOOKS_BURST_ALL: u32 = 64;
pub(crate) const STATUS_LOOK_EVERY_ALL: Duration = Duration::from_millis(10);
/// How often a file that is half written is read again before it counts as one that says nothing.
pub(crate) const STATUS_RETRIES_MAX: u32 = 10;
/// Events of the file system that are read at a turn, in bytes.
pub(crate) const STATUS_EVENTS_BYTES: usize = 16 * 1024;
/// How long a `wait` takes a turn that had ended before a text was sent for the one that ended
/// after it: a program tells that it works some 200 ms after the text.
pub(crate) const SENT_PATIENCE: Duration = Duration::from_secs(3);
/// What the operator's terminal is told when a session begins to wait, in cells.
pub(crate) const NOTICE_CELLS_MAX: usize = 200;
/// How often it is told that: some at once, and then one in this time, the newest.
pub(crate) const NOTICES_BURST: u32 = 4;
pub(crate) const NOTICE_EVERY: Duration = Duration::from_secs(5);
/// How long the operator's command for a change of attention may take.
pub(crate) const ON_ATTENTION_PATIENCE: Duration = Duration::from_secs(10);
/// Sessions of whose changes it is still to be told, of all agents and of one.
pub(crate) const ON_ATTENTION_WAITING_MAX: usize = 256;
pub(crate) const ON_ATTENTION_OF_AGENT_MAX: usize = 64;
/// Lines of the log about it: some at once, and then one in this time.
pub(crate) const ON_ATTENTION_NOTES_BURST: u32 = 4;
pub(crate) const ON_ATTENTION_NOTE_EVERY: Duration = Duration::from_secs(60);
/// How often in a row what it says is read and dropped before it counts as endless.
pub(crate) const ON_ATTENTION_TURNS_MAX: u32 = 64;
/// The file of rules.
pub(crate) const ATTENTION_CONF_BYTES_MAX: usize = 64 * 1024;
/// Rules in it.
pub(crate) const ATTENTION_RULES_MAX: usize = 64;
