//! What a command of `convocate-host` does, over one host or several: each file is named as the
//! command is, and has the messages that its two ends exchange.
//!
//! A workflow opens [`crate::provision::remote::session::HostSession`]s, has programs
//! of ours run there, and reports [`HostEvent`](crate::provision::remote::event::HostEvent)s.
//! Nothing here prints: `cli` turns events and results into lines and tables.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`install`], [`init_shell`] | one run on one host |
//! | [`init_agent`] | an agent host and its shell host come to know each other |
//! | [`update`], [`status`] | all agents at once, on threads of [`parallel`] |
//! | [`remove_agent`], [`uninstall`] | the ways back |
//! | [`ship_image`] | an image goes to a host |
//! | [`migrate_session`] | a session's directory goes to an agent |
//! | [`create_vm`] | a virtual machine on a hypervisor |

pub(crate) mod create_vm;
pub(crate) mod init_agent;
pub(crate) mod init_shell;
pub(crate) mod install;
pub(crate) mod migrate_session;
pub(crate) mod parallel;
pub(crate) mod remove_agent;
pub(crate) mod ship_image;
pub(crate) mod status;
pub(crate) mod uninstall;
pub(crate) mod update;

use crate::provision::openssh::Target;
use crate::provision::remote::HostError;
use crate::provision::remote::interrupts::Interrupts;
use crate::provision::remote::programs::Programs;
use crate::provision::remote::session::HostSession;

/// Why a workflow did not come to its end.
#[derive(Debug)]
pub(crate) enum WorkflowError {
    /// What is asked for makes no sense: one sentence.
    Usage(String),
    /// Something here: one sentence.
    Failed(String),
    /// The work on a host.
    Host(HostError),
    /// A step on this machine, which was reported.
    StepsFailed,
    /// Nobody takes what is reported.
    NobodyListens,
}

impl From<HostError> for WorkflowError {
    fn from(error: HostError) -> WorkflowError {
        WorkflowError::Host(error)
    }
}

/// From here on signals end what runs on hosts, which then reports where it stopped. Before the
/// first thread.
fn block_signals() -> Result<Interrupts, WorkflowError> {
    Interrupts::block()
        .map_err(|error| WorkflowError::Failed(format!("cannot wait for signals: {error}")))
}

/// Another host, with this program.
fn connect<'a>(
    target: Target,
    programs: &Programs,
    interrupts: &'a Interrupts,
) -> Result<HostSession<'a>, HostError> {
    HostSession::connect(target, "convocate-host", programs, interrupts)
}
