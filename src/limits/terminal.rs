//! Bounds of the bytes between a session and the operator's terminal.

use std::time::Duration;

/// Parameters and intermediate bytes of one sequence: a dozen colours fit.
pub const TERMINAL_SEQUENCE_BYTES_MAX: usize = 256;
/// The digits of one of its numbers: no screen has more rows or columns.
pub(crate) const TERMINAL_PARAMETER_DIGITS_MAX: usize = 5;
/// One operating system command: what is copied to the clipboard, in base64.
pub const TERMINAL_COMMAND_BYTES_MAX: usize = 1024 * 1024;
/// One that is no copy: a title, a link, colours.
pub(crate) const TERMINAL_TEXT_BYTES_MAX: usize = 4 * 1024;
/// A session's output that is filtered at once.
pub(crate) const TERMINAL_FILTER_BYTES: usize = 32 * 1024;
/// How long a terminal that was left may take to show the rest and to say so. Answers over bad
/// networks take a second or two; a terminal that never answers is waited for every time.
pub(crate) const FENCE_TIMEOUT: Duration = Duration::from_secs(3);
/// Silence that ends a sequence which was begun by then: else the rest of it would be keys.
pub(crate) const FENCE_SEQUENCE_SILENCE: Duration = Duration::from_millis(500);
/// The longest that a terminal which goes on and on is listened to.
pub(crate) const FENCE_FLOOD_TIMEOUT: Duration = Duration::from_secs(6);
/// What was typed and the network has not taken; a paste that is larger waits in the terminal.
pub(crate) const TYPED_WAITING_BYTES_MAX: usize = 64 * 1024;
/// From a key to which nothing has come to asking the agent whether it is there.
pub(crate) const SILENCE_ASK_AFTER: Duration = Duration::from_secs(1);
/// The same where nothing is typed. Each question costs an attached terminal two packets.
pub(crate) const SILENCE_ASK_EVERY: Duration = Duration::from_secs(3);
/// From the key or the question to saying that there is no answer.
pub(crate) const SILENCE_TOLD_AFTER: Duration = Duration::from_secs(3);

const _: () = assert!(SILENCE_TOLD_AFTER.as_secs() > SILENCE_ASK_AFTER.as_secs());
const _: () = assert!(FENCE_FLOOD_TIMEOUT.as_secs() > FENCE_TIMEOUT.as_secs());
