//! The driver for another host: runs the operator's `ssh` with the words of `openssh`.
//!
//! ```text
//! connect (probe) -> copy the program -> run it, line by line -> ... -> remove it, disconnect
//! ```
//!
//! Everything that works on a host has a [`HostSession`](session::HostSession). It runs our program
//! there (or here), hands on what the program reports as [`HostEvent`](event::HostEvent)s, ends on
//! Ctrl-C, and removes the program when it is dropped. It blocks: a workflow over several hosts has
//! a thread for each. What `ssh` asks or complains of goes between it and the person directly.
//! Whatever ends this process closes the standard input of the other end, and the run there stops.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`session`] | a host with one of our programs at hand |
//! | [`connection`] | the operator's ssh connection, and single calls over it |
//! | [`talk`] | one run that gets a request and reports |
//! | [`interrupts`] | Ctrl-C, for all sessions of this process |
//! | [`programs`] | the programs that are brought to hosts |
//! | [`event`] | what is reported of a host |
//! | [`migrate`] | sends a session's directory from here to the host |
//! | [`ship`] | sends an image of the Engine here, or of another host's, to the host's |

pub(crate) mod claude;
pub(crate) mod connection;
pub(crate) mod event;
pub(crate) mod interrupts;
pub(crate) mod migrate;
pub(crate) mod programs;
pub(crate) mod session;
pub mod ship;
pub(crate) mod talk;

use std::fmt;
use std::io;

use crate::io::disk::DiskError;
use crate::io::process::SpawnError;
use crate::provision::openssh::HostFault;

/// Why the work on a host ended.
#[derive(Debug)]
pub(crate) enum RemoteError {
    /// There is no directory for the connection's socket.
    NoControlDirectory(DiskError),
    /// `ssh` could not be started.
    NoSsh(io::Error),
    /// No connection; `ssh` has said why.
    Connect,
    /// The host is not one to provision.
    Host(HostFault),
    /// There is no program here for the host: one sentence.
    NoProgramFor(String),
    /// The program did not arrive, or not whole.
    Copy(&'static str),
    /// The program that was to run could not be started.
    NoProgram(SpawnError),
    /// The request is longer than the other end reads.
    LongRequest,
    /// The operator pressed Ctrl-C, or a signal said the same.
    Interrupted,
    /// The report ended before its end, by a lost connection or a program that was killed.
    Cut,
    /// The program ended without an end of its report; it has said why.
    Unfinished,
    /// A step has failed there, which was reported.
    StepsFailed,
    /// A line of the report is no line.
    Report,
    /// The answer is not the one to this request.
    Answer(serde_json::Error),
    /// Nobody takes the events.
    NobodyListens,
    /// The host was to restart, and after so many seconds it is still in the same boot or silent.
    Restart(u64),
}

/// The same, and where it was.
#[derive(Debug)]
pub(crate) struct HostError {
    pub(crate) host: String,
    /// The step of the report that had begun, if one had.
    pub(crate) step: Option<String>,
    pub(crate) error: RemoteError,
}

impl RemoteError {
    pub(crate) fn on(self, host: &str) -> HostError {
        HostError { host: host.to_owned(), step: None, error: self }
    }
}

impl HostError {
    /// The sentence without the host.
    pub(crate) fn text(&self) -> String {
        match &self.step {
            Some(step) => format!("at the step {step:?}: {}", self.error),
            None => self.error.to_string(),
        }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoteError::NoControlDirectory(error) => {
                write!(out, "{error}; nothing was changed")
            }
            RemoteError::NoSsh(error) => {
                write!(out, "cannot run ssh: {error}; install openssh-client")
            }
            RemoteError::Connect => out.write_str(
                "no connection, and nothing was changed; the output of ssh stands above, and the \
                 same ssh call by hand shows more",
            ),
            RemoteError::Host(fault) => write!(out, "{fault}; nothing was changed"),
            RemoteError::NoProgramFor(why) => out.write_str(why),
            RemoteError::Copy(why) => {
                write!(out, "cannot copy the program there: {why}; nothing was changed")
            }
            RemoteError::NoProgram(error) => write!(out, "{error}"),
            RemoteError::LongRequest => out.write_str("the request to it is too long"),
            RemoteError::Interrupted => out.write_str(
                "interrupted; what was done stays done, and the same call goes on from there",
            ),
            RemoteError::Cut => out.write_str(
                "the connection was lost, and the run there stops with it; what was done stays \
                 done, and the same call goes on from there",
            ),
            RemoteError::Unfinished => out.write_str("the run there did not come to its end"),
            RemoteError::StepsFailed => {
                out.write_str("mend that and run it again: what is done stays done")
            }
            RemoteError::Report => out.write_str("it sent a line that is no report"),
            RemoteError::Answer(error) => write!(out, "unexpected answer: {error}"),
            RemoteError::NobodyListens => out.write_str("nobody reads the output"),
            RemoteError::Restart(seconds) => write!(
                out,
                "it was told to restart, and {seconds} s later it is not back; look at its \
                 console, and call again when it is"
            ),
        }
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.host, self.text())
    }
}

impl std::error::Error for RemoteError {}
