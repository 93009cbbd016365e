//! Prepares another host for any role, and restarts it if it wants that.

use serde::{Deserialize, Serialize};

use super::{WorkflowError, block_signals};
use crate::provision::openssh::Target;
use crate::provision::remote::event::{HostEvent, Tell};
use crate::provision::remote::programs::Programs;
use crate::provision::remote::session::HostSession;

/// To `convocate-host install --request` there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstallRequest {
    pub(crate) check: bool,
    /// The port that its sshd was reached on.
    pub(crate) ssh_port: u16,
}

/// Its answer.
#[derive(Debug, Deserialize)]
struct InstallAnswer {
    /// Why it wants to be restarted, if it does.
    reason: Option<String>,
}

/// Prepares the host, or reports what that would change.
///
/// # Errors
/// [`WorkflowError::Host`].
pub(crate) fn install(
    target: Target,
    check: bool,
    tell: &mut Tell<'_>,
) -> Result<(), WorkflowError> {
    let interrupts = block_signals()?;
    let host = target.host().to_owned();
    let failed = WorkflowError::on(&host);
    let session = HostSession::connect(target, "convocate-host", &Programs::default(), &interrupts);
    let mut session = session.map_err(&failed)?;
    let ssh_port = session.probe().expect("it was copied there").ssh_port;
    let request = InstallRequest { check, ssh_port };
    let answer = session.carry_out("install --request", &request, tell);
    let InstallAnswer { reason } = answer.map_err(&failed)?;
    session.finish(tell);
    let Some(reason) = reason else { return Ok(()) };
    let mut restart = |text: &str| {
        let _heard = tell(&host, HostEvent::Restart { reason: reason.clone(), text: text.into() });
    };
    if check {
        restart("would restart");
        return Ok(());
    }
    restart("restarting");
    let took = session.restart().map_err(failed)?;
    restart(&format!("back in another boot after {} s", took.as_secs()));
    Ok(())
}
