//! Bounds of the operator's screen: its keys, its pictures, whom it asks and how often.

use std::time::Duration;

use super::{RPC_ANSWER_TIMEOUT, SESSION_COMMAND_BYTES_MAX};

/// How long a lone Escape waits for the rest of a sequence: less than a person notices.
pub(crate) const ESCAPE_PATIENCE: Duration = Duration::from_millis(100);
/// How long a late answer of the terminal may pause behind an Escape that was told as a key.
pub(crate) const LATE_ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// Silence that ends a sequence or string without an end.
pub(crate) const CONTROL_STRING_SILENCE: Duration = Duration::from_secs(2);
/// After a session has ended in an attached terminal: how long nothing may be typed before keys are
/// for the screen again.
pub(crate) const ENDED_KEYS_SILENCE: Duration = Duration::from_millis(700);
/// A text that is pasted: longer than any field.
pub(crate) const PASTE_BYTES_MAX: usize = 8 * 1024;
/// A word of a filter that is long enough to be meant as the start of an id.
pub(crate) const FILTER_ID_CHARS_MIN: usize = 4;
/// A line that is typed.
pub(crate) const INPUT_CHARS_MAX: usize = 4 * 1024;
/// Age at which a directory that no agent has told of counts as an orphan.
pub(crate) const ORPHAN_AGE_MIN: Duration = Duration::from_secs(60);
/// Between two pictures that nobody waits for: many news are one picture.
pub(crate) const FRAME_INTERVAL: Duration = Duration::from_millis(50);
/// How often an agent that no hub tells of is asked for its list.
pub(crate) const SCREEN_ASK_INTERVAL: Duration = Duration::from_secs(3);
/// How often one that did not answer is, in the end.
pub(crate) const SCREEN_ASK_INTERVAL_MAX: Duration = Duration::from_secs(48);
/// How often a screen on which nothing happens is looked at: ages and the clock show minutes.
pub(crate) const SCREEN_QUIET_TICK: Duration = Duration::from_secs(10);
/// How often while something is under way: its seconds are shown.
pub(crate) const SCREEN_TASK_TICK: Duration = Duration::from_secs(1);
/// From asking an agent to showing that it does not answer.
pub(crate) const TASK_PATIENCE: Duration = Duration::from_secs(10);
/// How long a result stands below the list.
pub(crate) const MESSAGE_SHOWN: Duration = Duration::from_secs(10);
/// How long a failure does.
pub(crate) const TROUBLE_SHOWN: Duration = Duration::from_secs(60);
/// Results and failures that can be recalled.
pub(crate) const MESSAGES_MAX: usize = 500;
/// Events that the screen keeps.
pub(crate) const EVENT_ROWS_MAX: usize = 2000;
/// The narrowest terminal that gets a screen.
pub(crate) const SCREEN_COLS_MIN: usize = 40;
pub(crate) const SCREEN_ROWS_MIN: usize = 8;
/// Rows of a message below the list; the rest is on the page of messages.
pub(crate) const SCREEN_MESSAGE_ROWS_MAX: usize = 3;
/// A line of the hub: a snapshot of some 100,000 sessions.
pub(crate) const HUB_LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What is read from the hub's socket at a time; on the stack.
pub(crate) const HUB_READ_BYTES: usize = 16 * 1024;
/// From a hub that is not there to the next look.
pub(crate) const HUB_REDIAL: Duration = Duration::from_secs(2);
/// How often the registry's directory is looked at for new agents by a screen, and by a status
/// listener while an entry of it is wrong.
pub(crate) const REGISTRY_LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// What is kept of the last words of a program that had the terminal.
pub(crate) const GUEST_OUTPUT_BYTES_MAX: usize = 8 * 1024;

const _: () = assert!(SCREEN_ASK_INTERVAL_MAX.as_secs() == 16 * SCREEN_ASK_INTERVAL.as_secs());
const _: () = assert!(TASK_PATIENCE.as_secs() < RPC_ANSWER_TIMEOUT.as_secs());
const _: () = assert!(INPUT_CHARS_MAX >= SESSION_COMMAND_BYTES_MAX);
const _: () = assert!(SCREEN_ROWS_MIN > SCREEN_MESSAGE_ROWS_MAX + 3);
