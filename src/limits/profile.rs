//! Bounds of profiles, and of what a session starts with.

use super::{
    LAST_SCREEN_BYTES_MAX, RPC_REQUEST_BYTES_MAX, SESSION_COMMAND_BYTES_MAX, SESSION_FILE_BYTES_MAX,
};

/// A profile: each of its settings at its longest, and as many comments.
pub(crate) const PROFILE_BYTES_MAX: usize = 64 * 1024;
/// Profiles of a shell host that are listed.
pub(crate) const PROFILES_MAX: usize = 256;
pub(crate) const PROFILE_NAME_CHARS_MAX: usize = 64;
/// The variables of a session: their number, one's name, and all names and values together.
pub(crate) const SESSION_ENV_MAX: usize = 64;
pub(crate) const ENV_NAME_CHARS_MAX: usize = 128;
pub(crate) const SESSION_ENV_BYTES_MAX: usize = 8 * 1024;
/// The address of a repository.
pub(crate) const REPO_BYTES_MAX: usize = 1024;
/// A branch: git keeps each as a file, and file names have at most 255 bytes.
pub(crate) const BRANCH_BYTES_MAX: usize = 244;
/// The name of an image, as it is chosen.
pub(crate) const IMAGE_NAME_BYTES_MAX: usize = 256;
pub(crate) const SETUP_BYTES_MAX: usize = SESSION_COMMAND_BYTES_MAX;
/// The first words to a command. The kernel takes one argument of up to 128 KiB.
pub(crate) const PROMPT_BYTES_MAX: usize = 8 * 1024;

/// All of them at once, without what JSON escapes.
const STARTUP_BYTES_MAX: usize = PROFILE_NAME_CHARS_MAX
    + SESSION_ENV_BYTES_MAX
    + 8 * SESSION_ENV_MAX
    + REPO_BYTES_MAX
    + BRANCH_BYTES_MAX
    + IMAGE_NAME_BYTES_MAX
    + SETUP_BYTES_MAX
    + PROMPT_BYTES_MAX;

const _: () = assert!(
    2 * (STARTUP_BYTES_MAX + LAST_SCREEN_BYTES_MAX + SESSION_COMMAND_BYTES_MAX)
        < SESSION_FILE_BYTES_MAX
);
const _: () = assert!(2 * STARTUP_BYTES_MAX < RPC_REQUEST_BYTES_MAX);
const _: () = assert!(STARTUP_BYTES_MAX < PROFILE_BYTES_MAX);
