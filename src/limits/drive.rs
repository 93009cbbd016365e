//! Bounds of what drives a session without a terminal.

use std::time::Duration;

use super::{RPC_REQUEST_BYTES_MAX, RPC_RESPONSE_BYTES_MAX};

/// A text that is pasted. It is one string of a process's environment on its way to tmux, and the
/// kernel takes 128 KiB for one with its name (`MAX_ARG_STRLEN`).
pub(crate) const SEND_TEXT_BYTES_MAX: usize = 120 * 1024;
/// Keys that are pressed in one call.
pub(crate) const SEND_KEYS_MAX: usize = 64;
/// Lines above the screen that are shown: what a person or a model still reads.
pub(crate) const SCREEN_HISTORY_LINES_MAX: u32 = 10_000;
/// What is shown of a screen with its history; the end of it is kept.
pub(crate) const SCREEN_TEXT_BYTES_MAX: usize = 1024 * 1024;
/// How long tmux may take to show a screen or to take a text; a container that has just started
/// takes some seconds until it is there.
pub(crate) const TMUX_PATIENCE: Duration = Duration::from_secs(20);
/// A command with its arguments.
pub(crate) const EXEC_COMMAND_BYTES_MAX: usize = 96 * 1024;
pub(crate) const EXEC_ARGUMENTS_MAX: usize = 1024;
/// What is kept of each output of a command.
pub(crate) const EXEC_OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// How long a command may run unless it is said: a build, or its tests.
pub(crate) const EXEC_SECONDS: u32 = 10 * 60;
/// And if it is.
pub(crate) const EXEC_SECONDS_MAX: u32 = 24 * 60 * 60;
/// From asking a command whose time is over to end to killing it.
pub(crate) const EXEC_KILL_AFTER_SECONDS: u32 = 5;
/// How long a command that was killed may take to be told as ended.
pub(crate) const EXEC_MARGIN: Duration = Duration::from_secs(15);
/// Commands that run on one agent: the outputs of all are 64 MiB.
pub(crate) const EXECS_MAX: usize = 32;
/// Screens and texts on their way on one agent.
pub(crate) const SCREENS_MAX: usize = 128;
/// Sessions of one agent that one call waits for.
pub(crate) const WAIT_SESSIONS_MAX: usize = 1024;
/// Calls that wait for an end on one agent.
pub(crate) const WAITS_MAX: usize = 1024;
/// How long an agent lets a call wait before it answers that nothing has happened.
pub(crate) const WAIT_SECONDS_MAX: u32 = 60 * 60;
/// From losing an agent to asking it again, while somebody waits for its sessions.
pub(crate) const WAIT_RETRY: Duration = Duration::from_secs(1);

const _: () = assert!(SEND_TEXT_BYTES_MAX + 64 < 128 * 1024);
// Newlines, quotes and backslashes have two bytes in JSON; other control characters are refused.
const _: () = assert!(2 * SEND_TEXT_BYTES_MAX + 8 * 1024 < RPC_REQUEST_BYTES_MAX);
const _: () = assert!(2 * EXEC_COMMAND_BYTES_MAX + 8 * 1024 < RPC_REQUEST_BYTES_MAX);
const _: () = assert!(WAIT_SESSIONS_MAX * 64 < RPC_REQUEST_BYTES_MAX);
// Both outputs in Base64; a screen of which each byte is escaped twice.
const _: () = assert!(2 * EXEC_OUTPUT_BYTES_MAX / 3 * 4 + 1024 < RPC_RESPONSE_BYTES_MAX);
const _: () = assert!(2 * SCREEN_TEXT_BYTES_MAX + 64 * 1024 < RPC_RESPONSE_BYTES_MAX);

/// From a request for a clone to its answer: it takes as long as the home is large.
pub(crate) const CLONE_ANSWER_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// When its caller is told that it goes on.
pub(crate) const CLONE_TOLD_AFTER: Duration = Duration::from_secs(5);
