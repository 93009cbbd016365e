//! The Claude CLI of sessions, and how it logs in.

use std::time::Duration;

/// A token or a key in its file. Today's have some 110 characters.
pub(crate) const CLAUDE_LOGIN_BYTES_MAX: usize = 1024;
/// Less is a beginning of one, or a word.
pub(crate) const CLAUDE_LOGIN_BYTES_MIN: usize = 24;
/// The program of it. Today's has 402 MB.
pub(crate) const CLAUDE_PROGRAM_BYTES_MAX: u64 = 2 << 30;
/// What it says of its version.
pub(crate) const CLAUDE_VERSION_CHARS_MAX: usize = 80;
/// How long it may take for that.
pub(crate) const CLAUDE_VERSION_SECONDS: u64 = 10;
/// The publisher's list of one version: some kilobytes.
pub(crate) const CLAUDE_MANIFEST_BYTES_MAX: usize = 1 << 20;
/// Its number, as 2.1.332.
pub(crate) const CLAUDE_RELEASE_CHARS_MAX: usize = 40;
/// Where the model is, in `agent.conf`.
pub(crate) const CLAUDE_BASE_URL_BYTES_MAX: usize = 512;
/// How long a token of `claude setup-token` lasts, in days.
pub(crate) const CLAUDE_TOKEN_DAYS: i64 = 365;
/// So many days before that the operator is warned.
pub(crate) const CLAUDE_TOKEN_WARN_DAYS: i64 = 30;

/// How old what is told of the CLI and its login may be.
pub(crate) const CLAUDE_LOOK_INTERVAL: Duration = Duration::from_secs(1);

const _: () = assert!(CLAUDE_LOGIN_BYTES_MIN < CLAUDE_LOGIN_BYTES_MAX);
const _: () = assert!(CLAUDE_TOKEN_WARN_DAYS < CLAUDE_TOKEN_DAYS);
