//! What a status listener reads before it serves: its key and its journal.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::io::disk::{self, DiskError, LogDirectory, SecretPolicy};
use crate::io::listener::BindError;
use crate::limits::SSH_KEY_FILE_BYTES_MAX;
use crate::paths::{PRIVATE_STATE_DIR, Paths, RUN_DIR, SHARED_STATE_DIR};
use crate::ssh::keys::{KeyError, KeyPair};
use crate::status::hub::Hub;
use crate::status::journal::Tuning;
use crate::status::recovery::Recovery;

/// Why a status listener does not serve.
#[derive(Debug)]
pub(crate) enum ServeError {
    /// A file that it needs.
    Disk(DiskError),
    /// A file that it needs and that an installation makes.
    NotInstalled(DiskError),
    /// The private key.
    Key(PathBuf, KeyError),
    /// An address to listen on.
    Bind(BindError),
    /// The registry of agents.
    Agents(String),
    /// Something of the system, and what it was needed for.
    System(&'static str, io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Disk(error) => write!(out, "{error}"),
            ServeError::NotInstalled(error) => {
                write!(out, "{error}; this host has not been set up as a shell host")
            }
            ServeError::Key(path, error) => write!(out, "{}: {error}", path.display()),
            ServeError::Bind(error) => write!(out, "{error}"),
            ServeError::Agents(text) => out.write_str(text),
            ServeError::System(what, error) => write!(out, "{what}: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<DiskError> for ServeError {
    fn from(error: DiskError) -> ServeError {
        if error.is_missing() { ServeError::NotInstalled(error) } else { ServeError::Disk(error) }
    }
}

/// The directories that a status listener writes to.
///
/// # Errors
/// When one cannot be made.
pub(super) fn prepare(paths: &Paths) -> Result<(), ServeError> {
    disk::make_directories(&paths.shell_state(), SHARED_STATE_DIR.1)?;
    disk::make_directories(&paths.status_journal(), PRIVATE_STATE_DIR.1)?;
    let socket = paths.status_socket();
    if let Some(directory) = socket.parent() {
        disk::make_directories(directory, RUN_DIR.1)?;
    }
    Ok(())
}

/// The private key at `path`.
///
/// # Errors
/// When it is not there, not private or not a key.
pub(super) fn key(path: &Path) -> Result<KeyPair, ServeError> {
    let bytes = disk::read_secret(path, SSH_KEY_FILE_BYTES_MAX, SecretPolicy::ServiceGroup)?;
    KeyPair::parse_openssh(&bytes).map_err(|error| ServeError::Key(path.to_owned(), error))
}

/// What the hub knew when it ended, the directory that it goes on in, and how many bytes of it were
/// of no use.
///
/// # Errors
/// When the directory cannot be had.
pub(super) fn remember(paths: &Paths) -> Result<(Hub, LogDirectory, u64), ServeError> {
    let mut directory = LogDirectory::open(&paths.status_journal(), PRIVATE_STATE_DIR.1)?;
    let mut recovery = Recovery::new(directory.files()?, Tuning::default());
    while let Some(op) = recovery.poll_disk() {
        recovery.disk_done(directory.execute(op));
    }
    let damaged = recovery.damaged_bytes();
    Ok((recovery.finish(), directory, damaged))
}
