//! Makes a prepared host the shell host, this machine or another one.

use super::{WorkflowError, block_signals};
use crate::provision::enrol::messages::{ShellMade, ShellWanted};
use crate::provision::openssh::Target;
use crate::provision::remote::event::Tell;
use crate::provision::remote::programs::Programs;
use crate::provision::remote::session::HostSession;

/// Makes it one: its name and its answer. `target` is this machine if none.
///
/// # Errors
/// [`WorkflowError`].
pub(crate) fn init_shell(
    target: Option<Target>,
    programs: &Programs,
    mut wanted: ShellWanted,
    tell: &mut Tell<'_>,
) -> Result<(String, ShellMade), WorkflowError> {
    let interrupts = block_signals()?;
    let mut session = match target {
        None => {
            let program = programs.path("convocate").map_err(WorkflowError::Failed)?;
            HostSession::here(program, &interrupts)
        }
        Some(target) => {
            let failed = WorkflowError::on(target.host());
            let session = HostSession::connect(target, "convocate", programs, &interrupts);
            session.map_err(failed)?
        }
    };
    let failed = WorkflowError::on(&session.name);
    if let Some(connection) = session.connection() {
        wanted.names.push(connection.host_name().map_err(&failed)?);
    }
    let made = session.carry_out("install --request", &wanted, tell).map_err(&failed)?;
    session.finish(tell);
    Ok((session.name.clone(), made))
}
