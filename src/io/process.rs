//! Programs, and when they end.
//!
//! A process is known by a pidfd, which becomes readable when it ends: no SIGCHLD, no pid that
//! could mean somebody else by now. Children lead a process group of their own, so that a kill
//! takes what they started along, and start with no signal blocked or ignored.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, PidfdFlags, kill_process_group, pidfd_open, pidfd_send_signal};
use rustix::time::Timespec;

use super::signals;

/// What to run. A value: nothing happens before it is spawned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The file; looked for in `PATH` if it has no slash.
    pub(crate) file: PathBuf,
    /// Its arguments, without its own name.
    pub(crate) arguments: Vec<OsString>,
    /// Variables that are added to our environment, or replace what is there.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Variables of our environment that it does not get.
    pub(crate) without: Vec<OsString>,
    /// Where it starts; where we are if none.
    pub(crate) directory: Option<PathBuf>,
}

/// The processes that `parent` has started and that still run. None where the kernel does not tell.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A child. The reactor watches it for reading. Dropping one that runs kills its group.
#[derive(Debug)]
pub(crate) struct Process {
    child: std::process::Child,
    pidfd: OwnedFd,
    exit: Option<Exit>,
    /// Whether it leads a process group, or is a member of ours.
    is_leader: bool,
}

/// A process that is not our child. The reactor watches it for reading.
#[derive(Debug)]
pub(crate) struct ProcessWatch {
    pid: Pid,
    pidfd: OwnedFd,
}

/// A program that could not be started.
#[derive(Debug)]
pub struct SpawnError {
    file: PathBuf,
    error: io::Error,
}

impl Program {
    /// `file` with `arguments`, in our environment and directory.
    pub fn new<I, A>(file: impl Into<PathBuf>, arguments: I) -> Program
    where
        I: IntoIterator<Item = A>,
        A: Into<OsString>,
    {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Program { file: file.into(), arguments, ..Program::default() }
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.file);
        command.args(&self.arguments);
        for name in &self.without {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    pub(super) fn failed(&self, error: impl Into<io::Error>) -> SpawnError {
        SpawnError { file: self.file.clone(), error: error.into() }
    }
}

impl Process {
    /// Starts a command in a session of its own, so that it has no terminal to ask anybody on. The
    /// caller drops the command soon after: it keeps the descriptors that it gave away.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Process> {
        #[expect(unsafe_code, reason = "a child can leave our session only by itself")]
        // SAFETY: between fork and exec, and setsid is async-signal-safe and allocates nothing.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                Ok(())
            });
        }
        Process::spawn_leader(command)
    }

    /// As [`Process::spawn`], for a command that becomes the leader of a group by itself.
    pub(super) fn spawn_leader(command: &mut Command) -> io::Result<Process> {
        signals::reset_in_child(command);
        let mut child = command.spawn()?;
        match pidfd_open(pid(&child), PidfdFlags::NONBLOCK) {
            Ok(pidfd) => Ok(Process { child, pidfd, exit: None, is_leader: true }),
            Err(error) => {
                // Unwatched it must not run; it has been killed, so waiting is short.
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
    }

    /// Starts a command in our own process group, so that the terminal is its as it is ours.
    pub(super) fn spawn_beside(command: &mut Command) -> io::Result<Process> {
        let mut process = Process::spawn_leader(command)?;
        process.is_leader = false;
        Ok(process)
    }

    /// How it ended, if it has. Reaps it; never waits.
    ///
    /// # Errors
    /// If somebody else reaped it, which is a bug.
    pub(crate) fn try_exit(&mut self) -> io::Result<Option<Exit>> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait()?.map(Exit::from);
        }
        Ok(self.exit)
    }

    /// How it ended, if it does within `patience`. Blocks until then: for those without a loop.
    ///
    /// # Errors
    /// If somebody else reaped it, which is a bug.
    pub(crate) fn wait(&mut self, patience: Duration) -> io::Result<Option<Exit>> {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let patience = Timespec::try_from(patience).ok();
        // A signal of ours that cuts this short makes the answer an early one.
        let _ = poll(&mut fds, patience.as_ref());
        self.try_exit()
    }

    /// Sends a signal to the process, and to all of its group if it leads one. What has
    /// ended is no error.
    ///
    /// # Errors
    /// When the system refuses: the child runs as somebody else by now.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.exit.is_some() {
            // Reaped: the number may be somebody else's.
            return Ok(());
        }
        let sent = match self.is_leader {
            true => kill_process_group(pid(&self.child), signal),
            false => pidfd_send_signal(&self.pidfd, signal),
        };
        match sent {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Its process id, which is its group's id too if it leads one.
    #[cfg(test)]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn pipes(&mut self) -> &mut std::process::Child {
        &mut self.child
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.try_exit(), Ok(None)) {
            // There is nobody to tell. A zombie is left for as long as the kernel needs to end it,
            // and is reaped by whoever inherits it.
            let _ = self.signal(Signal::KILL);
            let _ = self.child.try_wait();
        }
    }
}

impl ProcessWatch {
    /// Watches process `id`; `None` if there is none.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub(crate) fn open(id: u32) -> io::Result<Option<ProcessWatch>> {
        let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => Ok(Some(ProcessWatch { pid, pidfd })),
            Err(Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Its process id, which may be somebody else's once it has ended.
    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Kills it and all of the process group that it leads, if it leads one. What has ended is no
    /// error.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn kill_group(&self) -> io::Result<()> {
        if self.has_ended() {
            return Ok(());
        }
        match kill_process_group(self.pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => self.signal(Signal::KILL),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|count| count > 0)
    }

    /// Sends a signal to it. What has ended is no error.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for ProcessWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Exit {
    /// Whether it ended by itself with status 0.
    pub(crate) fn is_success(self) -> bool {
        self == Exit::Code(0)
    }

    /// As a shell tells it: 128 and the signal's number for a signal.
    pub(crate) fn status(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

impl From<std::process::ExitStatus> for Exit {
    fn from(status: std::process::ExitStatus) -> Exit {
        match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or(0)),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(out, "exit status {code}"),
            Exit::Signal(signal) => write!(out, "killed by signal {signal}"),
        }
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot start {}: {}", self.file.display(), self.error)
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl SpawnError {
    /// Whether the program is not installed.
    pub(crate) fn is_missing(&self) -> bool {
        self.error.kind() == io::ErrorKind::NotFound
    }
}

fn pid(child: &std::process::Child) -> Pid {
    Pid::from_child(child)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(process: &impl AsFd) {
        assert_eq!(poll(&mut [PollFd::new(process, PollFlags::IN)], None), Ok(1));
    }

    fn shell(script: &str) -> Process {
        Process::spawn(&mut Program::new("sh", ["-c", script]).command()).unwrap()
    }

    #[test]
    fn the_end_is_noticed_and_told() {
        let mut ended = shell("exit 7");
        wait(&ended);
        assert_eq!(ended.try_exit().unwrap(), Some(Exit::Code(7)));
        assert_eq!(ended.try_exit().unwrap(), Some(Exit::Code(7)));
        let mut killed = shell("exec sleep 1000");
        assert_eq!(killed.try_exit().unwrap(), None);
        assert_eq!(killed.wait(Duration::ZERO).unwrap(), None);
        killed.signal(Signal::TERM).unwrap();
        assert_eq!(killed.wait(Duration::from_secs(60)).unwrap(), Some(Exit::Signal(15)));
        killed.signal(Signal::KILL).unwrap();
    }

    #[test]
    fn dropping_kills_the_whole_group() {
        let (reader, writer) = io::pipe().unwrap();
        let mut command = Program::new("sh", ["-c", "sleep 1000 & sleep 1000"]).command();
        command.stdout(writer);
        let process = Process::spawn(&mut command).unwrap();
        drop(command);
        drop(process);
        // The pipe ends only when every process of the group is gone.
        assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0));
    }

    /// Else a program that asks for a passphrase would stop until its time is over.
    #[test]
    fn a_child_has_no_terminal() {
        let script = "read -r pid name state parent group session rest </proc/$$/stat
            test $session = $$ && ! (: </dev/tty) 2>/dev/null";
        let mut process = shell(script);
        wait(&process);
        assert_eq!(process.try_exit().unwrap(), Some(Exit::Code(0)));
    }

    #[test]
    fn a_foreign_process_is_watched() {
        let mut child = shell("exec sleep 1000");
        let watch = ProcessWatch::open(child.id()).unwrap().unwrap();
        assert!(!watch.has_ended());
        watch.signal(Signal::KILL).unwrap();
        wait(&watch);
        assert!(watch.has_ended());
        wait(&child);
        assert_eq!(child.try_exit().unwrap(), Some(Exit::Signal(9)));
        assert!(ProcessWatch::open(child.id()).unwrap().is_none());
        assert!(ProcessWatch::open(0).unwrap().is_none());
    }

    #[test]
    fn the_environment_is_what_was_asked_for() {
        let mut program = Program::new("sh", ["-c", r#"test "$A$PWD$HOME" = "x/""#]);
        program.environment = vec![("A".into(), "x".into())];
        program.without = vec!["HOME".into()];
        program.directory = Some("/".into());
        let mut process = Process::spawn(&mut program.command()).unwrap();
        wait(&process);
        assert_eq!(process.try_exit().unwrap(), Some(Exit::Code(0)));
    }
}
