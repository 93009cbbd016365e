//! What a status listener reads before it serves: its journal.

use crate::daemon::error::ServeError;
use crate::io::disk::{self, LogDirectory};
use crate::paths::{PRIVATE_STATE_DIR, Paths, RUN_DIR, SHARED_STATE_DIR};
use crate::status::hub::Hub;
use crate::status::journal::Tuning;
use crate::status::recovery::Recovery;

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
