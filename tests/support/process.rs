//! Programs that a test calls or keeps running. None outlives its guard, none is waited for in
//! vain.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::root::Root;
use super::wait::poll;

/// The client.
pub const CONVOCATE: &str = env!("CARGO_BIN_EXE_convocate");
/// The agent.
pub const CONVOCATE_AGENT: &str = env!("CARGO_BIN_EXE_convocate-agent");
/// The provisioner.
pub const CONVOCATE_HOST: &str = env!("CARGO_BIN_EXE_convocate-host");

/// Where a program is: on the `PATH`, or where servers live.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let servers = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(servers).map(|dir| dir.join(name)).find(|at| at.is_file())
}

/// A command that knows nothing of the person whose tests these are: no settings, no agent, no
/// terminal multiplexer around it.
pub fn command(root: &Root, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", root.dir())
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm-256color")
        .env("TMUX_TMPDIR", root.tmux_dir())
        .current_dir(root.dir());
    command
}

/// What a program that has ended left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said on standard output.
    pub stdout: Vec<u8>,
    /// What it said on standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Its exit status, -1 after a signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Itself, if it ended with 0.
    ///
    /// # Panics
    ///
    /// With all that it said, if not.
    #[track_caller]
    pub fn expect_done(self) -> Finished {
        assert_eq!(self.code(), 0, "{:?}: {}{}", self.status, self.out(), self.err());
        self
    }
}

/// Runs a command to its end, feeding it `input`.
///
/// # Panics
///
/// If it cannot be started, or has not ended after `patience` (it is killed then).
#[track_caller]
pub fn run(command: &mut Command, input: &[u8], patience: Duration) -> Finished {
    let mut running = Running::start(command);
    let mut stdin = running.stdin().expect("it was not taken");
    let input = input.to_vec();
    // A program that ends without reading breaks the pipe, and that is its right.
    let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
    let finished = running.finish(patience);
    feeder.join().expect("the feeder does not panic");
    finished
}

/// A program that runs. Dropping it kills it and all that it started in its process group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// What it has said on standard output so far.
    pub stdout: Line,
    /// What it has said on standard error so far.
    pub stderr: Line,
}

impl Running {
    /// Starts a command in a process group of its own, its streams piped.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Running {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = command.get_program().to_owned();
        let mut child = command
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let stdout = Line::by(child.stdout.take().expect("it is piped"));
        let stderr = Line::by(child.stderr.take().expect("it is piped"));
        Running { child, stdout, stderr }
    }

    /// Its standard input, once.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Sends it a signal; nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) {
        let _ended = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits for it to end, and for its streams to close.
    ///
    /// # Panics
    ///
    /// After `patience`, with what it has said.
    #[track_caller]
    pub fn finish(&mut self, patience: Duration) -> Finished {
        drop(self.stdin());
        let ended = poll(patience, || {
            let ended = !self.is_alive() && self.stdout.has_ended() && self.stderr.has_ended();
            ended.then_some(())
        });
        if ended.is_none() {
            panic!("runs on after {patience:?}: {}{}", self.stdout.text(), self.stderr.text());
        }
        let status = self.child.wait().expect("it has ended");
        Finished { status, stdout: self.stdout.bytes(), stderr: self.stderr.bytes() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _reaped = self.child.wait();
    }
}

/// What a stream has said so far; a thread listens to it until it closes.
#[derive(Clone, Debug)]
pub struct Line {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: Arc<AtomicBool>,
}

impl Line {
    fn by(mut stream: impl Read + Send + 'static) -> Line {
        let said = Line { bytes: Arc::default(), ended: Arc::default() };
        let Line { bytes, ended } = said.clone();
        thread::spawn(move || {
            let mut piece = vec![0; 64 * 1024];
            while let Ok(len @ 1..) = stream.read(&mut piece) {
                bytes.lock().expect("nobody panics with it").extend_from_slice(&piece[..len]);
            }
            ended.store(true, Ordering::Release);
        });
        said
    }

    /// As bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().expect("nobody panics with it").clone()
    }

    /// As text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Whether the stream is closed.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}
