//! A program of ours that serves in the background and ends when we do.
//!
//! Its standard input is a pipe whose other end we hold and never write to: the end of that pipe
//! tells it that we are gone, however we went. Its standard error goes to a file.

use std::fs::File;
use std::io;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use super::process::{Exit, Process, Program, Signal, SpawnError};

/// The program. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct ChildDaemon {
    process: Process,
    _parent_pipe: Option<ChildStdin>,
}

impl ChildDaemon {
    /// Starts `program`, with its standard error in `errors`.
    ///
    /// # Errors
    /// [`SpawnError`], which names the program.
    pub(crate) fn spawn(program: &Program, errors: File) -> Result<ChildDaemon, SpawnError> {
        let mut command = program.command();
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors);
        let mut process = Process::spawn(&mut command).map_err(|error| program.failed(error))?;
        let parent_pipe = process.pipes().stdin.take();
        Ok(ChildDaemon { process, _parent_pipe: parent_pipe })
    }

    /// How it ended, if it does within `patience`. Blocks until then: for those without a loop.
    ///
    /// # Errors
    /// If somebody else reaped it, which is a bug.
    pub(crate) fn wait(&mut self, patience: Duration) -> io::Result<Option<Exit>> {
        self.process.wait(patience)
    }

    /// Sends a signal to it.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        self.process.signal(signal)
    }
}
