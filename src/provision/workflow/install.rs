//! Prepares another host for any role, and restarts it if it wants that.

use serde::{Deserialize, Serialize};

use super::{WorkflowError, block_signals, connect};
use crate::provision::openssh::Target;
use crate::provision::remote::event::{HostEvent, Tell};
use crate::provision::remote::programs::Programs;

/// To `convocate-host install --request` there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstallRequest {
    pub(crate) check: bool,
    /// The port that its sshd was reached on.
    pub(crate) ssh_port: u16,
    /// Whether ufw may take the place of another firewall.
    pub(crate) takes_firewall: bool,
}

/// Its answer.
#[derive(Debug, Deserialize)]
struct InstallAnswer {
    /// Why it wants to be restarted, if it does.
    reason: Option<String>,
    /// How many sessions run there.
    sessions: usize,
}

/// Prepares the host, or reports what that would change.
pub(crate) fn install(
    target: Target,
    mut request: InstallRequest,
    may_end_sessions: bool,
    tell: &mut Tell<'_>,
) -> Result<(), WorkflowError> {
    let interrupts = block_signals()?;
    let mut session = connect(target.with_room(), &Programs::default(), &interrupts)?;
    request.ssh_port = session.probe().expect("it was copied there").ssh_port;
    let InstallAnswer { reason, sessions } =
        session.carry_out_last("install --request", &request, tell)?;
    session.finish(tell);
    let Some(reason) = reason else { return Ok(()) };
    let mut restart = |text: &str| {
        let event = HostEvent::Restart { reason: reason.clone(), text: text.to_owned() };
        let _heard = tell(&session.name, event);
    };
    if sessions > 0 && !may_end_sessions {
        let text = format!("not restarted: {sessions} sessions run; end them, or give --reboot");
        restart(&text);
        return Ok(());
    }
    if request.check {
        restart("would restart");
        return Ok(());
    }
    restart("restarting");
    let took = session.restart()?;
    restart(&format!("back in another boot after {} s", took.as_secs()));
    Ok(())
}
