//! The exit statuses of all programs, in one table.
//!
//! `bin/*.rs` return an [`Exit`] from `main`; nothing else ends the process.

use std::process::{ExitCode, Termination};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an exit status that is dropped reads as done"]
pub enum Exit {
    /// What was asked for is done; detaching from a session too.
    Done,
    /// The operation failed, and standard error says why.
    Failed,
    /// The command line is wrong.
    Usage,
    /// `send-image` of older versions: the Engine's own files do not have the image; `docker save`
    /// may.
    FilesUnusable,
    /// `exec`: the command ended with this status.
    Status(u8),
    /// `exec`: the command could not be run.
    NotRun,
    /// `attach`: the connection was lost, and `convocate` could not reconnect.
    ConnectionLost,
    /// `attach`: the terminal was never attached.
    NotAttached,
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::FilesUnusable => 3,
            Exit::Status(status) => status,
            Exit::NotRun => 125,
            Exit::ConnectionLost => 254,
            Exit::NotAttached => 255,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_manual() {
        use Exit::{
            ConnectionLost, Done, Failed, FilesUnusable, NotAttached, NotRun, Status, Usage,
        };
        let all =
            [Done, Failed, Usage, FilesUnusable, Status(9), NotRun, ConnectionLost, NotAttached];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 9, 125, 254, 255]);
        assert_eq!(format!("{:?}", Usage.report()), format!("{:?}", ExitCode::from(2)));
    }
}
