//! Makes a prepared host the shell host, this machine or another one.

use super::{WorkflowError, block_signals};
use crate::provision::enrol::messages::{ShellMade, ShellWanted};
use crate::provision::openssh::Target;
use crate::provision::remote::event::Tell;
use crate::provision::remote::programs::Programs;
use crate::provision::remote::session::HostSession;

/// Makes it one: its name and its answer. `target` is this machine if none.
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
            HostSession::connect(target.with_room(), "convocate", programs, &interrupts)?
        }
    };
    wanted.names.extend(session.dialled_name()?);
    let made = session.carry_out_last("install --request", &wanted, tell)?;
    session.finish(tell);
    Ok((session.name.clone(), made))
}
