//! The driver for another host: runs the operator's `ssh` with the words of `openssh`.
//!
//! ```text
//! connect (probe) -> copy -> talk, line by line -> (restart, and wait for it) -> close
//! ```
//!
//! Blocking: it has one host and nothing else to do. What `ssh` asks or complains of goes between
//! it and the person directly. Whatever ends this process closes the other end's standard input,
//! and the run there stops.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`migrate`] | a session's directory here, to the host |
//! | [`ship`] | an image of the Engine here or of another host's, to the host's |
//! | [`talk`] | a run there or here that is told what to do, and reports |

pub mod migrate;
pub mod ship;
pub mod talk;

use std::fmt;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::base::hex;
use crate::base::lines::Lines;
use crate::base::rng::Rng;
use crate::io::disk::{self, DiskError, Ids};
use crate::io::process::SpawnError;
use crate::io::{entropy, signals};
use crate::limits::{
    PROVISION_OUTPUT_BYTES_MAX, PROVISION_RESTART_ASK_PAUSE_MAX, PROVISION_RESTART_PATIENCE,
};
use crate::provision::openssh::{
    Copied, HostFault, Probe, Ssh, Target, parse_host_name, parse_upload,
};

/// A host behind an open connection, which is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Remote {
    ssh: Ssh,
    /// Held for the socket of the connection, and removed behind it.
    _room: Room,
}

/// Whose ssh is used, when root runs this for somebody by sudo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operator {
    pub(crate) name: String,
    /// The numbers of the user and of the group.
    pub(crate) ids: Ids,
}

/// A directory that only the operator enters, gone when this is dropped.
#[derive(Debug)]
struct Room {
    path: PathBuf,
}

/// Why the work on a host ended.
#[derive(Debug)]
pub(crate) enum RemoteError {
    /// There is no place for the connection's socket.
    NoRoom(DiskError),
    /// `ssh` could not be started.
    NoSsh(io::Error),
    /// No connection; `ssh` has said why.
    Connect,
    /// The host is not one to provision.
    Host(HostFault),
    /// The program did not arrive, or not whole.
    Copy(&'static str),
    /// The program that was to run could not be started.
    NoProgram(SpawnError),
    /// The operator pressed Ctrl-C, or a signal said the same.
    Interrupted,
    /// The report ended before its end, by a lost connection or a program that was killed.
    Cut,
    /// A line of the report is no line.
    Report,
    /// Whoever was told has gone.
    NobodyListens,
    /// The host was to restart, and after so many seconds it is still in the same boot or silent.
    Restart(u64),
}

impl Remote {
    /// Opens the connection, and nothing on it.
    ///
    /// # Errors
    /// [`RemoteError`]; nothing was changed.
    pub(crate) fn open(target: Target, operator: Option<Operator>) -> Result<Remote, RemoteError> {
        let remote = Remote::new(target, operator)?;
        match silent_call(&remote.ssh.open())? {
            true => Ok(remote),
            false => Err(RemoteError::Connect),
        }
    }

    /// Opens the connection and looks at the host.
    ///
    /// # Errors
    /// [`RemoteError`]; nothing was changed.
    pub(crate) fn connect(
        target: Target,
        operator: Option<Operator>,
    ) -> Result<(Remote, Probe), RemoteError> {
        let remote = Remote::new(target, operator)?;
        let (is_done, said) = call(&remote.ssh.probe(), &[])?;
        if !is_done {
            return Err(RemoteError::Connect);
        }
        let probe = Probe::parse(&said).map_err(RemoteError::Host)?;
        Ok((remote, probe))
    }

    fn new(target: Target, operator: Option<Operator>) -> Result<Remote, RemoteError> {
        let ids = operator.as_ref().map(|operator| operator.ids);
        let room = Room::new(ids).map_err(RemoteError::NoRoom)?;
        let control = room.path.join("ssh");
        let ssh = Ssh { target, control, operator: operator.map(|operator| operator.name) };
        Ok(Remote { ssh, _room: room })
    }

    /// The words with which the operator's ssh does things on this host.
    pub(crate) fn ssh(&self) -> &Ssh {
        &self.ssh
    }

    /// The name by which this host is dialled, which the operator's may be an alias of.
    ///
    /// # Errors
    /// [`RemoteError::NoSsh`].
    pub(crate) fn host_name(&self) -> Result<String, RemoteError> {
        let said = Remote::settings(&self.ssh)?;
        Ok(parse_host_name(&said).unwrap_or(self.ssh.target.host()).to_owned())
    }

    /// How the operator's ssh understands this host. Nothing is dialled.
    ///
    /// # Errors
    /// [`RemoteError::NoSsh`].
    pub(crate) fn settings(ssh: &Ssh) -> Result<String, RemoteError> {
        quiet_call(&ssh.settings()).map(|(_, said)| said)
    }

    /// Copies this program there, and compares what arrived with what was sent.
    ///
    /// # Errors
    /// [`RemoteError::Copy`].
    pub(crate) fn copy(&self, program: &[u8]) -> Result<Copied, RemoteError> {
        let (is_done, said) = call(&self.ssh.upload(), program)?;
        let copy = parse_upload(&said).filter(|_| is_done);
        let copy = copy.ok_or(RemoteError::Copy("it could not be written"))?;
        if copy.hash != hex::text(&Sha256::digest(program)) {
            let _removed = call(&self.ssh.clean(&copy), &[]);
            return Err(RemoteError::Copy("what arrived is not what was sent"));
        }
        Ok(copy)
    }

    /// Runs a command of the copy, which gets `request` as a line with `payload` behind it, and
    /// hands on each line that it says; whether it ended well. The copy stays.
    ///
    /// # Errors
    /// [`RemoteError::Cut`] if the connection was lost, [`RemoteError::NobodyListens`] when `tell`
    /// says no.
    pub(crate) fn run_on(
        &self,
        copy: &Copied,
        command: &str,
        request: &str,
        payload: &[u8],
        tell: impl FnMut(&[u8]) -> bool,
    ) -> Result<bool, RemoteError> {
        hear(spawn(&self.ssh.run_on(copy, command))?, request, payload, tell)
    }

    /// Removes the copied program.
    ///
    /// # Errors
    /// [`RemoteError::NoSsh`].
    pub(crate) fn clean(&self, copy: &Copied) -> Result<(), RemoteError> {
        quiet_call(&self.ssh.clean(copy)).map(drop)
    }

    /// Restarts the host and waits until it is in another boot than the one that the probe saw. How
    /// long that took.
    ///
    /// # Errors
    /// [`RemoteError::Restart`] when it has not come back in time.
    pub(crate) fn restart(&self, probe: &Probe) -> Result<Duration, RemoteError> {
        let begun = Instant::now();
        let _gone_before_it_could_answer = call(&self.ssh.restart(), &[])?;
        self.close();
        let mut pause = Duration::from_secs(1);
        while begun.elapsed() < PROVISION_RESTART_PATIENCE {
            thread::park_timeout(pause);
            pause = (pause * 2).min(PROVISION_RESTART_ASK_PAUSE_MAX);
            let (is_done, said) = quiet_call(&self.ssh.boot_id())?;
            if is_done && !said.trim().is_empty() && said.trim() != probe.boot_id {
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

impl Drop for Remote {
    fn drop(&mut self) {
        self.close();
    }
}

impl Room {
    fn new(owner: Option<Ids>) -> Result<Room, DiskError> {
        let number = u64::from_le_bytes(Rng::from_seed(entropy::seed()).bytes());
        let name = format!("convocate-host-{number:016x}");
        let room = Room { path: std::env::temp_dir().join(name) };
        disk::make_directory(&room.path, 0o700)?;
        disk::set_access(&room.path, owner, 0o700)?;
        Ok(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // What is left over is an empty directory in the system's temporary one.
        let _left = disk::remove_tree(&self.path);
    }
}

/// Runs a program here, which gets `request` as a line, and hands on each line that it says;
/// whether it ended well.
///
/// # Errors
/// [`RemoteError`]; [`RemoteError::NobodyListens`] when `tell` says no.
pub(crate) fn run_here(
    words: &[String],
    request: &str,
    tell: impl FnMut(&[u8]) -> bool,
) -> Result<bool, RemoteError> {
    hear(spawn(words)?, request, &[], tell)
}

/// Runs a program to its end: whether it ended well, and what it said.
fn call(words: &[String], input: &[u8]) -> Result<(bool, String), RemoteError> {
    finish(spawn(words)?, input)
}

/// The same, with nothing for a person to read.
fn quiet_call(words: &[String]) -> Result<(bool, String), RemoteError> {
    let mut command = command(words);
    finish(command.stderr(Stdio::null()).spawn().map_err(RemoteError::NoSsh)?, &[])
}

/// The same, for a program that leaves another one behind in the background: it has no pipes that
/// somebody would wait for the end of.
fn silent_call(words: &[String]) -> Result<bool, RemoteError> {
    let mut command = command(words);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    status.map(|status| status.success()).map_err(RemoteError::NoSsh)
}

/// Gives a program its input, and hands on each line that it says until it ends.
fn hear(
    mut child: Child,
    request: &str,
    payload: &[u8],
    mut tell: impl FnMut(&[u8]) -> bool,
) -> Result<bool, RemoteError> {
    let mut input = child.stdin.take().expect("it is piped");
    // A program that ends without reading breaks the pipe; its status tells. It says nothing
    // before it has read all, so this cannot wait for itself.
    let _broken = input.write_all(format!("{request}\n").as_bytes());
    let _broken = input.write_all(payload);
    let mut output = child.stdout.take().expect("it is piped");
    let mut lines = Lines::new(PROVISION_OUTPUT_BYTES_MAX);
    let mut piece = [0; 8 * 1024];
    loop {
        let length = output.read(&mut piece).map_err(|_| RemoteError::Cut)?;
        if length == 0 {
            break;
        }
        let mut rest = &piece[..length];
        while !rest.is_empty() {
            let taken = lines.push(rest).map_err(|_| RemoteError::Report)?;
            rest = &rest[taken..];
            if let Some(line) = lines.next_line()
                && !tell(&line)
            {
                return Err(RemoteError::NobodyListens);
            }
        }
    }
    // It was open until here: its end would have stopped the run.
    drop(input);
    let status = child.wait().map_err(|_| RemoteError::Cut)?;
    match status.code() {
        Some(0) => Ok(true),
        Some(talk::SSH_FAILED) | None => Err(RemoteError::Cut),
        Some(_) => Ok(false),
    }
}

fn spawn(words: &[String]) -> Result<Child, RemoteError> {
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
    // Nothing is said before the input was read, so this cannot wait for itself.
    let _broken = stdin.write_all(input);
    drop(stdin);
    let mut said = Vec::new();
    let limit = u64::try_from(PROVISION_OUTPUT_BYTES_MAX).unwrap_or(u64::MAX);
    let read = stdout.take(limit).read_to_end(&mut said);
    let status = child.wait();
    let is_done = read.is_ok() && status.is_ok_and(|status| status.success());
    Ok((is_done, String::from_utf8_lossy(&said).into_owned()))
}

impl fmt::Display for RemoteError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoteError::NoRoom(error) => write!(out, "{error}; nothing was changed"),
            RemoteError::NoSsh(error) => {
                write!(out, "cannot run ssh: {error}; install openssh-client")
            }
            RemoteError::Connect => out.write_str(
                "no connection, and nothing was changed; what ssh said stands above, and the same \
                 ssh call by hand shows more",
            ),
            RemoteError::Host(fault) => write!(out, "{fault}; nothing was changed"),
            RemoteError::Copy(why) => {
                write!(out, "cannot copy this program there: {why}; nothing was changed")
            }
            RemoteError::NoProgram(error) => write!(out, "{error}"),
            RemoteError::Interrupted => out.write_str(
                "interrupted; what was done stays done, and the same call goes on from there",
            ),
            RemoteError::Cut => out.write_str(
                "the connection was lost, and the run there stops with it; what was done stays \
                 done, and the same call goes on from there",
            ),
            RemoteError::Report => out.write_str("it reports something that is no report"),
            RemoteError::NobodyListens => out.write_str("nobody reads the report"),
            RemoteError::Restart(seconds) => write!(
                out,
                "it was told to restart, and {seconds} s later it is not back; look at its \
                 console, and call again when it is"
            ),
        }
    }
}

impl std::error::Error for RemoteError {}
