//! Makes a virtual machine on a host that becomes a hypervisor.
//!
//! ```text
//! keys -> connect -> (there) capacity, packages, image, machine -> first login -> (there) finish
//!                                                   \- removed there    \- (there) remove
//! ```
//!
//! The machine's host key is made on the hypervisor, given to the machine at its first boot, and to
//! the operator's ssh before anybody dials. The machine is reached through the hypervisor: it is
//! in libvirt's own network.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`on_hypervisor`] | the part that runs on the hypervisor |
//! | [`first_login`] | the first login on the machine |
//! | [`keys`] | whom the machine lets in |

mod first_login;
mod keys;
pub(crate) mod on_hypervisor;

use serde::{Deserialize, Serialize};

use super::{WorkflowError, block_signals, connect};
use crate::provision::openssh::Target;
use crate::provision::remote::event::{HostEvent, Tell};
use crate::provision::remote::programs::Programs;
use crate::provision::remote::session::HostSession;
use crate::provision::vm::machine::{DIRECTORY, Machine};
use crate::provision::vm::spec::VmSpec;

const COMMAND: &str = "create-vm --request";

/// To `convocate-host create-vm --request` on the hypervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum VmRequest {
    Create {
        check: bool,
        spec: VmSpec,
    },
    /// It has taken its host key.
    Finish {
        machine: Machine,
        /// Whom it lets in.
        keys: Vec<String>,
    },
    /// It has not come up.
    Remove {
        machine: Machine,
    },
}

/// Its answer.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct VmAnswer {
    /// The machine that has been started; none after a check.
    created: Option<CreatedVm>,
    /// The last lines on the console of one that has been removed.
    console: Vec<String>,
}

/// A machine that has been started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CreatedVm {
    pub(crate) machine: Machine,
    /// Its public host key, as a line.
    pub(crate) host_key: String,
    /// Whether QEMU does what a processor should.
    pub(crate) is_emulated: bool,
}

/// What the operator asks for.
pub(crate) struct CreateVm<'a> {
    pub(crate) hypervisor: Target,
    /// The machine, still without keys.
    pub(crate) spec: VmSpec,
    /// The file of the key that is let in; all that the operator's ssh has if none.
    pub(crate) key_file: Option<&'a str>,
    pub(crate) check: bool,
}

impl CreateVm<'_> {
    /// Makes the machine, or reports what that would change. None after a check.
    ///
    /// # Errors
    /// [`WorkflowError`]; no machine is left.
    pub(crate) fn carry_out(self, tell: &mut Tell<'_>) -> Result<Option<CreatedVm>, WorkflowError> {
        let interrupts = block_signals()?;
        let keys = match self.key_file {
            Some(path) => vec![keys::read(path)?],
            None => keys::of_operator(&self.hypervisor)?,
        };
        let mut session = connect(self.hypervisor.with_room(), &Programs::default(), &interrupts)?;
        let machine = &session.probe().expect("it was copied there").machine;
        if machine != "x86_64" {
            return Err(WorkflowError::Failed(format!(
                "{}: its processor is {machine}; hypervisors are x86_64; nothing was changed",
                session.name
            )));
        }
        let spec = VmSpec { keys: keys.clone(), ..self.spec };
        let request = VmRequest::Create { check: self.check, spec };
        let answer: VmAnswer = match self.check {
            true => session.carry_out_last(COMMAND, &request, tell)?,
            false => session.carry_out(COMMAND, &request, tell)?,
        };
        if let Some(created) = &answer.created {
            finish(&mut session, created, keys, tell)?;
        }
        session.finish(tell);
        Ok(answer.created)
    }
}

/// Logs in on the machine; removes it if that does not come to its end.
fn finish(
    session: &mut HostSession<'_>,
    created: &CreatedVm,
    keys: Vec<String>,
    tell: &mut Tell<'_>,
) -> Result<(), WorkflowError> {
    if created.is_emulated {
        let text = "/dev/kvm does not work there, so the machine is emulated, and slow";
        let _heard = tell(&session.name, HostEvent::Note(text.to_owned()));
    }
    if let Err(error) = first_login::log_in(session, created, tell) {
        // Ctrl-C ended the login, and is not to end this.
        session.interrupts().rearm();
        take_back(session, &created.machine, tell);
        session.finish(tell);
        return Err(error);
    }
    // From here on the machine stays, whatever comes.
    let connection = session.connection().expect("a hypervisor is another host");
    first_login::pin(connection.ssh(), created)?;
    let request = VmRequest::Finish { machine: created.machine.clone(), keys };
    let _: VmAnswer = session.carry_out_last(COMMAND, &request, tell)?;
    Ok(())
}

fn take_back(session: &mut HostSession<'_>, machine: &Machine, tell: &mut Tell<'_>) {
    let request = VmRequest::Remove { machine: machine.clone() };
    let done = session.carry_out_last::<VmAnswer>(COMMAND, &request, tell);
    let text = match done {
        Ok(answer) if answer.console.is_empty() => return,
        Ok(answer) => {
            let lines = answer.console.iter().map(|line| format!("\n    | {line}"));
            format!("the last lines of its console:{}", lines.collect::<String>())
        }
        Err(_) => {
            let name = machine.name.as_str();
            format!(
                "{name} could not be removed; there, as root: virsh --connect qemu:///system \
                 destroy {name}; the same with undefine; rm -r {DIRECTORY}/{name}"
            )
        }
    };
    let _heard = tell(&session.name, HostEvent::Note(text));
}
