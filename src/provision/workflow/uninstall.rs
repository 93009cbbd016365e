//! Takes from another host what these programs have put there.

use serde::{Deserialize, Serialize};

use super::{WorkflowError, block_signals, connect};
use crate::provision::openssh::Target;
use crate::provision::remote::event::Tell;
use crate::provision::remote::programs::Programs;

/// To `convocate-host uninstall --request` there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UninstallRequest {
    pub(crate) check: bool,
    /// Whether homes, logs and their user go, too.
    pub(crate) homes: bool,
}

/// How many things were taken away, or would be.
pub(crate) fn uninstall(
    target: Target,
    request: &UninstallRequest,
    tell: &mut Tell<'_>,
) -> Result<usize, WorkflowError> {
    let interrupts = block_signals()?;
    let mut session = connect(target, &Programs::default(), &interrupts)?;
    let report = session.run("uninstall --request", request, &[], tell)?.check();
    let report = report.map_err(|step| {
        WorkflowError::Failed(format!("{}: {step}; mend that and run it again", session.name))
    });
    Ok(report?.changed.len())
}
