//! Bounds of looking at the repositories of sessions.

use std::time::Duration;

use super::BRANCH_BYTES_MAX;

/// A branch's name as an agent tells it. One with signs that do not show takes more than it has.
pub(crate) const REPOSITORY_BRANCH_BYTES_MAX: usize = 4 * BRANCH_BYTES_MAX;
/// What git says of a repository in the lines that are asked for.
pub(crate) const REPOSITORY_OUTPUT_BYTES_MAX: usize = 8 * 1024;
/// How long git may take; one that takes longer is ended, and its session says nothing new.
pub(crate) const REPOSITORY_SECONDS_MAX: u32 = 10;
/// From what a session has done to the look at it: it may be at more.
pub(crate) const REPOSITORY_LOOK_DELAY: Duration = Duration::from_secs(1);
/// From one look at a session to the next, at least; and so many times what the look has taken, so
/// that a large repository costs little, too.
pub(crate) const REPOSITORY_LOOK_EVERY: Duration = Duration::from_secs(5);
pub(crate) const REPOSITORY_LOOK_SHARE: u32 = 50;
/// Looks at once, of all sessions of an agent.
pub(crate) const REPOSITORY_LOOKS_MAX: usize = 2;
/// A session that has just started may still clone: it is looked at so often without anything
/// having happened, each time after twice the wait.
pub(crate) const REPOSITORY_TRIES_MAX: u32 = 8;
