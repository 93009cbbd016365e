//! The first contact with a new machine, and what the operator's ssh is to know of it from then on.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::CreatedVm;
use super::keys::expanded;
use crate::cli::host::remote::{Report, failure, operator};
use crate::cli::output::{Failure, Out};
use crate::io::disk;
use crate::limits::{VM_BOOT_PATIENCE, VM_BOOT_PAUSE};
use crate::provision::openssh::{Ssh, Target};
use crate::provision::remote::talk::Talker;
use crate::provision::remote::{Remote, RemoteError};
use crate::provision::report::StepLine;
use crate::provision::vm::guest::{Proof, known_host, known_hosts_file, proof};

/// Dials until the machine has booted to the end, and looks whether it is what it was to be.
pub(super) fn meet(
    remote: &Remote,
    talker: &mut Talker,
    born: &CreatedVm,
    report: &mut Report,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let name = format!("first contact with {}", born.machine.host_name());
    report.begin(&name, out)?;
    let begun = Instant::now();
    let error = match dial(remote, talker, born, begun) {
        Ok(proof) => proof.check(&born.machine).err(),
        Err(Met::Silent) => {
            let seconds = begun.elapsed().as_secs();
            Some(format!("it does not answer over ssh as itself, after {seconds} s"))
        }
        Err(Met::Ended(failure)) => return Err(failure),
    };
    report.end(StepLine::shown(&name, error.as_ref(), "", begun.elapsed()), out)?;
    match error {
        Some(error) => Err(Failure::Failed(format!("{}: {error}", born.machine.host_name()))),
        None => Ok(()),
    }
}

/// Why there was no contact.
enum Met {
    /// Nobody answered, or not with the host key.
    Silent,
    /// The call is to end.
    Ended(Failure),
}

fn dial(
    remote: &Remote,
    talker: &mut Talker,
    born: &CreatedVm,
    begun: Instant,
) -> Result<Proof, Met> {
    let ended = |error| match error {
        RemoteError::Interrupted => Met::Ended(Failure::Failed("interrupted".to_owned())),
        error => Met::Ended(failure(&born.machine.host_name(), error)),
    };
    let failed = |error: &dyn std::fmt::Display| Met::Ended(Failure::Failed(error.to_string()));
    let known = remote.ssh().control.with_file_name("known");
    let line = known_host(&born.machine, &born.host_key);
    // The directory is the operator's alone; under sudo it is root who writes and the operator who
    // reads.
    disk::write_atomic(&known, line.as_bytes(), 0o644).map_err(|error| failed(&error))?;
    let words = proof(remote.ssh(), &born.machine, &known);
    while begun.elapsed() < VM_BOOT_PATIENCE {
        let mut said = String::new();
        let done = talker.talk(&words, "", |line| {
            said.push_str(&String::from_utf8_lossy(line));
            said.push('\n');
            true
        });
        match (done, Proof::parse(&said)) {
            (Ok(true), Some(proof)) => return Ok(proof),
            (Ok(_) | Err(RemoteError::Cut), _) => {}
            (Err(error), _) => return Err(ended(error)),
        }
        if talker.pause(VM_BOOT_PAUSE).map_err(|error| failed(&error))? {
            return Err(ended(RemoteError::Interrupted));
        }
    }
    Err(Met::Silent)
}

/// Lets the operator's ssh know the machine's host key.
pub(super) fn pin(remote: &Remote, born: &CreatedVm) -> Result<(), Failure> {
    let machine = &born.machine;
    let name = machine.host_name();
    let target = Target::new(&name, Some(machine.user.as_str())).map_err(Failure::Failed)?;
    let ssh = Ssh { target, ..remote.ssh().clone() };
    let settings = Remote::settings(&ssh).map_err(|error| failure(&name, error))?;
    let operator = operator();
    let file = known_hosts_file(&settings).unwrap_or("~/.ssh/known_hosts");
    let path = PathBuf::from(expanded(file, operator.as_ref()));
    let owner = operator.map(|operator| operator.ids);
    append(&path, &known_host(machine, &born.host_key), owner).map_err(|error| {
        Failure::Failed(format!(
            "{name}: its host key does not go into {}: {error}",
            path.display()
        ))
    })
}

fn append(path: &Path, line: &str, owner: Option<disk::Ids>) -> std::io::Result<()> {
    let is_new = !path.exists();
    if let Some(parent) = path.parent().filter(|parent| is_new && !parent.exists()) {
        disk::make_directory(parent, 0o700).map_err(std::io::Error::other)?;
        disk::set_access(parent, owner, 0o700).map_err(std::io::Error::other)?;
    }
    // Somebody's last line may have no end.
    let text = std::fs::read(path).unwrap_or_default();
    let start = if text.is_empty() || text.ends_with(b"\n") { "" } else { "\n" };
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{start}{line}").as_bytes())?;
    if is_new {
        disk::set_access(path, owner, 0o600).map_err(std::io::Error::other)?;
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
