//! The first login on a new machine, and what the operator's ssh is to know of it from then on.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::CreatedVm;
use super::keys::expanded;
use crate::io::disk;
use crate::limits::{VM_BOOT_PATIENCE, VM_BOOT_PAUSE};
use crate::provision::openssh::{Ssh, Target};
use crate::provision::remote::RemoteError;
use crate::provision::remote::connection::{Operator, settings};
use crate::provision::remote::event::Tell;
use crate::provision::remote::session::HostSession;
use crate::provision::remote::talk::talk;
use crate::provision::report::StepLine;
use crate::provision::vm::guest::{Proof, known_host, known_hosts_file, proof};
use crate::provision::workflow::WorkflowError;

/// Dials until the machine has booted to the end, and looks whether it is what it was to be.
pub(super) fn log_in(
    session: &mut HostSession<'_>,
    created: &CreatedVm,
    tell: &mut Tell<'_>,
) -> Result<(), WorkflowError> {
    let host_name = created.machine.host_name();
    let name = format!("first contact with {host_name}");
    session.begin_step(&name, tell)?;
    let begun = Instant::now();
    let error = match dial(session, created, begun)? {
        Some(proof) => proof.check(&created.machine).err(),
        None => {
            let seconds = begun.elapsed().as_secs();
            Some(format!("it does not answer over ssh as itself, after {seconds} s"))
        }
    };
    let line = StepLine::shown(&name, error.as_ref(), "", begun.elapsed());
    session.end_step(line, tell)?;
    match error {
        Some(error) => Err(WorkflowError::Failed(format!("{host_name}: {error}"))),
        None => Ok(()),
    }
}

/// What the machine says of itself; none if nobody answered, or not with the host key.
fn dial(
    session: &HostSession<'_>,
    created: &CreatedVm,
    begun: Instant,
) -> Result<Option<Proof>, WorkflowError> {
    let failed = |error: &dyn std::fmt::Display| WorkflowError::Failed(error.to_string());
    let interrupts = session.interrupts();
    let ssh = session.connection().expect("a hypervisor is another host").ssh();
    let known = ssh.control.with_file_name("known");
    let line = known_host(&created.machine, &created.host_key);
    // The directory is the operator's alone; under sudo it is root who writes and the operator who
    // reads.
    disk::write_atomic(&known, line.as_bytes(), 0o644).map_err(|error| failed(&error))?;
    let words = proof(ssh, &created.machine, &known);
    while begun.elapsed() < VM_BOOT_PATIENCE {
        let mut output = String::new();
        let done = talk(interrupts, &words, "", &mut io::empty(), |line| {
            output.push_str(&String::from_utf8_lossy(line));
            output.push('\n');
            true
        });
        match (done, Proof::parse(&output)) {
            (Ok(true), Some(proof)) => return Ok(Some(proof)),
            (Ok(_) | Err(RemoteError::Cut), _) => {}
            (Err(RemoteError::Interrupted), _) => return Err(failed(&"interrupted")),
            (Err(error), _) => return Err(failed(&error)),
        }
        if interrupts.pause(VM_BOOT_PAUSE).map_err(|error| failed(&error))? {
            return Err(failed(&"interrupted"));
        }
    }
    Ok(None)
}

/// Lets the operator's ssh know the machine's host key. `hypervisor` is their ssh.
pub(super) fn pin(hypervisor: &Ssh, created: &CreatedVm) -> Result<(), WorkflowError> {
    let machine = &created.machine;
    let name = machine.host_name();
    let target = Target::new(&name, Some(machine.user.as_str())).map_err(WorkflowError::Failed)?;
    let ssh = Ssh { target, ..hypervisor.clone() };
    let settings = settings(&ssh).map_err(|error| error.on(&name))?;
    let operator = Operator::of_sudo();
    let file = known_hosts_file(&settings).unwrap_or("~/.ssh/known_hosts");
    let path = PathBuf::from(expanded(file, operator.as_ref()));
    let owner = operator.map(|operator| operator.ids);
    append(&path, &known_host(machine, &created.host_key), owner).map_err(|error| {
        WorkflowError::Failed(format!(
            "{name}: its host key cannot be added to {}: {error}",
            path.display()
        ))
    })
}

fn append(path: &Path, line: &str, owner: Option<disk::Ids>) -> io::Result<()> {
    let is_new = !path.exists();
    if let Some(parent) = path.parent().filter(|parent| is_new && !parent.exists()) {
        disk::make_directory(parent, 0o700).map_err(io::Error::other)?;
        disk::set_access(parent, owner, 0o700).map_err(io::Error::other)?;
    }
    // Somebody's last line may have no end.
    let text = std::fs::read(path).unwrap_or_default();
    let start = if text.is_empty() || text.ends_with(b"\n") { "" } else { "\n" };
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{start}{line}").as_bytes())?;
    if is_new {
        disk::set_access(path, owner, 0o600).map_err(io::Error::other)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::scratch::Scratch;

    #[test]
    fn a_line_is_added_and_none_is_lost() {
        let scratch = Scratch::new();
        let path = scratch.path().join("ssh/known_hosts");
        append(&path, "a key\n", None).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a key\n");
        std::fs::write(&path, "b key").unwrap();
        append(&path, "a key\n", None).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b key\na key\n");
    }
}
