//! The operator's ssh connection to a host, and single calls over it that a person may be asked in.

use std::env;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::RemoteError;
use super::interrupts::Interrupts;
use crate::base::hex;
use crate::base::rng::Rng;
use crate::io::disk::{self, DiskError, Ids};
use crate::io::{entropy, machine, signals};
use crate::limits::{
    PROVISION_OUTPUT_BYTES_MAX, PROVISION_RESTART_ASK_PAUSE_MAX, PROVISION_RESTART_PATIENCE,
};
use crate::provision::openssh::{
    Copied, Probe, Ssh, Target, parse_boot_id, parse_host_name, parse_upload,
};

/// A host behind an open connection, which is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Connection<'a> {
    ssh: Ssh,
    interrupts: &'a Interrupts,
    _directory: ControlDirectory,
}

/// Whose ssh is used, when root runs this for somebody by sudo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operator {
    pub(crate) name: String,
    pub(crate) ids: Ids,
}

/// How many processes above this one are asked for the agent's socket: this one, one or two of
/// sudo's, and the shell.
const PROCESSES_ABOVE: usize = 4;

/// A directory for the socket of the connection, which only the operator enters; removed when this
/// is dropped.
#[derive(Debug)]
struct ControlDirectory {
    path: PathBuf,
}

impl Operator {
    /// Whoever called sudo: the keys and the configuration are that person's.
    pub(crate) fn of_sudo() -> Option<Operator> {
        let name = env::var("SUDO_USER").ok().filter(|name| !name.is_empty() && name != "root")?;
        let number = |variable| env::var(variable).ok()?.parse().ok();
        let ids = Ids { user: number("SUDO_UID")?, group: number("SUDO_GID")? };
        (machine::uid() == 0).then_some(Operator { name, ids })
    }

    /// The socket of that person's agent: sudo drops the variable, whoever called it has it.
    pub(crate) fn agent(&self) -> Option<String> {
        let mut process = std::process::id();
        (0..PROCESSES_ABOVE).find_map(|_| {
            let read = |name| std::fs::read(format!("/proc/{process}/{name}")).ok();
            let (environment, status) = (read("environ")?, read("status")?);
            let status = String::from_utf8_lossy(&status);
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
            process = parent.and_then(|id| id.trim().parse().ok())?;
            let mut variables = environment.split(|byte| *byte == 0);
            let socket = variables.find_map(|it| it.strip_prefix(b"SSH_AUTH_SOCK="))?;
            String::from_utf8(socket.to_vec()).ok().filter(|socket| !socket.is_empty())
        })
    }
}

impl<'a> Connection<'a> {
    /// Opens the connection, and nothing on it.
    pub(super) fn open(
        target: Target,
        interrupts: &'a Interrupts,
    ) -> Result<Connection<'a>, RemoteError> {
        let connection = Connection::new(target, interrupts)?;
        // It leaves a program behind in the background, whose pipes nobody must wait for.
        let mut command = command(&connection.ssh.open());
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
        match status.map_err(RemoteError::NoSsh)?.success() {
            true => Ok(connection),
            false => Err(connection.failed(RemoteError::Connect)),
        }
    }

    /// Opens the connection and looks at the host.
    pub(super) fn connect(
        target: Target,
        interrupts: &'a Interrupts,
    ) -> Result<(Connection<'a>, Probe), RemoteError> {
        let connection = Connection::new(target, interrupts)?;
        let (is_done, output) = call(&connection.ssh.probe(), &[])?;
        if !is_done {
            return Err(connection.failed(RemoteError::Connect));
        }
        let probe = Probe::parse(&output, &connection.ssh.target).map_err(RemoteError::Host)?;
        Ok((connection, probe))
    }

    fn new(target: Target, interrupts: &'a Interrupts) -> Result<Connection<'a>, RemoteError> {
        let operator = Operator::of_sudo();
        let ids = operator.as_ref().map(|operator| operator.ids);
        let directory = ControlDirectory::new(ids).map_err(RemoteError::NoControlDirectory)?;
        let control = directory.path.join("ssh");
        let agent = operator.as_ref().and_then(Operator::agent);
        let operator = operator.map(|operator| operator.name);
        let mut ssh = Ssh { target, control, operator, agent, is_recent: false };
        ssh.is_recent = settings(&ssh)?.contains("\nsessiontype ");
        Ok(Connection { ssh, interrupts, _directory: directory })
    }

    /// What a call failed of, whose `ssh` gets Ctrl-C from the terminal as we do.
    fn failed(&self, error: RemoteError) -> RemoteError {
        if self.interrupts.has_come() { RemoteError::Interrupted } else { error }
    }

    /// The words with which the operator's ssh does things on this host.
    pub(crate) fn ssh(&self) -> &Ssh {
        &self.ssh
    }

    /// The name by which this host is dialled, which the operator's may be an alias of.
    pub(crate) fn host_name(&self) -> Result<String, RemoteError> {
        let settings = settings(&self.ssh)?;
        Ok(parse_host_name(&settings).unwrap_or(self.ssh.target.host()).to_owned())
    }

    /// Copies this program there, and compares what arrived with what was sent.
    pub(super) fn copy(&self, program: &[u8]) -> Result<Copied, RemoteError> {
        let (is_done, output) = call(&self.ssh.upload(), program)?;
        if output.trim_end().ends_with("unfit") {
            return Err(RemoteError::Copy(
                "programs do not run in /var/lib there; is /var mounted noexec?",
            ));
        }
        let copy = parse_upload(&output).filter(|_| is_done);
        let copy = copy.ok_or_else(|| self.failed(RemoteError::Copy("it could not be written")))?;
        if copy.hash != hex::text(&Sha256::digest(program)) {
            self.remove(&copy);
            return Err(RemoteError::Copy("what arrived is not what was sent"));
        }
        Ok(copy)
    }

    /// Removes the copied program. What cannot be removed is a program in a directory of root's,
    /// which the next upload removes after a day.
    pub(super) fn remove(&self, copy: &Copied) {
        let _left = quiet_call(&self.ssh.clean(copy));
    }

    /// Restarts the host and waits until it is in another boot than the one that the probe saw. How
    /// long that took.
    ///
    /// # Errors
    /// [`RemoteError::Restart`] when it has not come back in time.
    pub(super) fn restart(&self, probe: &Probe) -> Result<Duration, RemoteError> {
        let begun = Instant::now();
        let _gone_before_it_could_answer = call(&self.ssh.restart(), &[])?;
        self.close();
        let mut pause = Duration::from_secs(1);
        while begun.elapsed() < PROVISION_RESTART_PATIENCE {
            if self.interrupts.pause(pause).map_err(RemoteError::NoSsh)? {
                return Err(RemoteError::Interrupted);
            }
            pause = (pause * 2).min(PROVISION_RESTART_ASK_PAUSE_MAX);
            let (is_done, output) = quiet_call(&self.ssh.boot_id())?;
            if is_done && parse_boot_id(&output).is_some_and(|id| id != probe.boot_id) {
                return Ok(begun.elapsed());
            }
        }
        Err(RemoteError::Restart(PROVISION_RESTART_PATIENCE.as_secs()))
    }

    fn close(&self) {
        // A connection that is gone already is closed.
        let _closed = quiet_call(&self.ssh.close());
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

impl ControlDirectory {
    fn new(owner: Option<Ids>) -> Result<ControlDirectory, DiskError> {
        let number = u64::from_le_bytes(Rng::from_seed(entropy::seed()).bytes());
        let name = format!("convocate-host-{number:016x}");
        // Not $TMPDIR, which may be too long for a socket, or one that only root enters.
        let mut directory = ControlDirectory { path: Path::new("/tmp").join(&name) };
        if disk::make_directory(&directory.path, 0o700).is_err() {
            directory.path = env::temp_dir().join(name);
            disk::make_directory(&directory.path, 0o700)?;
        }
        disk::set_access(&directory.path, owner, 0o700)?;
        Ok(directory)
    }
}

impl Drop for ControlDirectory {
    fn drop(&mut self) {
        // What is left over is an empty directory in the system's temporary one.
        let _left = disk::remove_tree(&self.path);
    }
}

/// How the operator's ssh understands a host. Nothing is dialled.
pub(crate) fn settings(ssh: &Ssh) -> Result<String, RemoteError> {
    quiet_call(&ssh.settings()).map(|(_, output)| output)
}

/// Runs a program to its end: whether it ended well, and its output.
fn call(words: &[String], input: &[u8]) -> Result<(bool, String), RemoteError> {
    finish(spawn(words)?, input)
}

/// The same, with nothing for a person to read.
fn quiet_call(words: &[String]) -> Result<(bool, String), RemoteError> {
    let mut command = command(words);
    finish(command.stderr(Stdio::null()).spawn().map_err(RemoteError::NoSsh)?, &[])
}

/// Starts a program in our process group, so that it may ask the person at the terminal.
pub(super) fn spawn(words: &[String]) -> Result<Child, RemoteError> {
    command(words).spawn().map_err(RemoteError::NoSsh)
}

fn command(words: &[String]) -> Command {
    let (program, arguments) = words.split_first().expect("a command has a program");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    signals::reset_in_child(&mut command);
    command
}

fn finish(mut child: Child, input: &[u8]) -> Result<(bool, String), RemoteError> {
    let mut stdin = child.stdin.take().expect("it is piped");
    let stdout = child.stdout.take().expect("it is piped");
    // It writes nothing before it has read the input, so neither side waits for the other.
    let _broken = stdin.write_all(input);
    drop(stdin);
    let mut output = Vec::new();
    let limit = u64::try_from(PROVISION_OUTPUT_BYTES_MAX).unwrap_or(u64::MAX);
    let read = stdout.take(limit).read_to_end(&mut output);
    let status = child.wait();
    let is_done = read.is_ok() && status.is_ok_and(|status| status.success());
    Ok((is_done, String::from_utf8_lossy(&output).into_owned()))
}
