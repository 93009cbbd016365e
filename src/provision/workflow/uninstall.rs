//! Takes from another host what these programs have put there.

use serde::{Deserialize, Serialize};

use super::{WorkflowError, block_signals};
use crate::provision::openssh::Target;
use crate::provision::remote::RemoteError;
use crate::provision::remote::event::Tell;
use crate::provision::remote::programs::Programs;
use crate::provision::remote::session::{HostSession, RunReport};

/// To `convocate-host uninstall --request` there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UninstallRequest {
    pub(crate) check: bool,
    /// Whether homes, logs and their user go, too.
    pub(crate) homes: bool,
}

/// How many things were taken away, or would be.
///
/// # Errors
/// [`WorkflowError`].
pub(crate) fn uninstall(
    target: Target,
    request: &UninstallRequest,
    tell: &mut Tell<'_>,
) -> Result<usize, WorkflowError> {
    let interrupts = block_signals()?;
    let host = target.host().to_owned();
    let failed = WorkflowError::on(&host);
    let session = HostSession::connect(target, "convocate-host", &Programs::default(), &interrupts);
    let mut session = session.map_err(&failed)?;
    let report = session.run("uninstall --request", request, &[], tell);
    let report = report.and_then(RunReport::check).map_err(|error| match error {
        RemoteError::StepFailed(step) => {
            WorkflowError::Failed(format!("{host}: {step}; mend that and run it again"))
        }
        error => failed(error),
    });
    Ok(report?.changed.len())
}
