//! A program that runs in the background: what it says is collected, up to a bound.
//!
//! Its end and its pipes share one key of the reactor. Output beyond the bound is read and dropped,
//! so the program is never held up. How long it may take is for the owner to say.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::Signal;

use super::process::{Exit, Process, Program, SpawnError};
use super::reactor::{Interests, Reactor, Watch};
use crate::base::collected::Collected;
use crate::base::slots::Key;

/// Read at once from a pipe, and the capacity that a pipe has.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that are read from one pipe in one turn.
const CHUNKS_PER_TURN: usize = 4;

/// A running program with its pipes. Dropping it kills its process group.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    input: Option<Input>,
    output: Pipe,
    errors: Pipe,
}

/// What is still to be written to standard input. Dropping it closes the pipe.
#[derive(Debug)]
struct Input {
    fd: OwnedFd,
    bytes: Vec<u8>,
    written: usize,
}

#[derive(Debug)]
struct Pipe {
    fd: Option<OwnedFd>,
    collected: Collected,
    limit: usize,
}

/// A program that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) exit: Exit,
    pub(crate) output: Collected,
    pub(crate) errors: Collected,
}

/// How it goes on with a child.
#[must_use = "a child that is to go again gets no event for it"]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// After the next event.
    Wait,
    /// In the next turn: it says more than one turn takes.
    Again,
    /// Never: it has ended and this is what it said.
    Ended(Report),
}

impl Child {
    /// Starts `program` with `input` on its standard input (nothing: `/dev/null`), and keeps up to
    /// `limit` bytes of each of its outputs.
    ///
    /// # Errors
    /// [`SpawnError`], which names the program.
    pub(crate) fn spawn(
        program: &Program,
        input: Vec<u8>,
        limit: usize,
    ) -> Result<Child, SpawnError> {
        let mut command = program.command();
        command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = Child::spawn_piped(&mut command, input, limit);
        child.map_err(|error| program.failed(error))
    }

    /// Starts `program` with our terminal: it finds it at `/dev/tty`, in our process group, and
    /// keeps it until it ends. Only its standard error is collected, up to `limit` bytes.
    ///
    /// # Errors
    /// [`SpawnError`], which names the program.
    pub(crate) fn lend_terminal(program: &Program, limit: usize) -> Result<Child, SpawnError> {
        let mut command = program.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let process = Process::spawn_beside(&mut command);
        let child = process.and_then(|process| Child::piped(process, Vec::new(), limit));
        child.map_err(|error| program.failed(error))
    }

    fn spawn_piped(command: &mut Command, bytes: Vec<u8>, limit: usize) -> io::Result<Child> {
        Child::piped(Process::spawn(command)?, bytes, limit)
    }

    fn piped(mut process: Process, bytes: Vec<u8>, limit: usize) -> io::Result<Child> {
        let pipes = process.pipes();
        let stdin = pipes.stdin.take().map(OwnedFd::from).map(non_blocking).transpose()?;
        let stdout = pipes.stdout.take().map(OwnedFd::from);
        let stderr = pipes.stderr.take().map(OwnedFd::from);
        Ok(Child {
            process,
            input: stdin.map(|fd| Input { fd, bytes, written: 0 }),
            output: Pipe::new(stdout, limit)?,
            errors: Pipe::new(stderr, limit)?,
        })
    }

    /// Lets the reactor watch the process and its pipes, all under `key`.
    ///
    /// # Errors
    /// When the kernel has no room.
    pub(crate) fn watch(&self, reactor: &Reactor, key: Key) -> io::Result<()> {
        let mut watched = vec![reactor.watch(&self.process, key, Interests::Read)?];
        if let Some(input) = &self.input {
            watched.push(reactor.watch(&input.fd, key, Interests::Write)?);
        }
        for fd in [&self.output.fd, &self.errors.fd].into_iter().flatten() {
            watched.push(reactor.watch(fd, key, Interests::Read)?);
        }
        debug_assert!(watched.iter().all(|watch| *watch == Watch::Events), "epoll takes pipes");
        Ok(())
    }

    /// Moves bytes and looks whether it has ended. What a process that it left behind still says is
    /// not waited for.
    ///
    /// # Errors
    /// If a pipe or the process cannot be asked, which is a bug.
    pub(crate) fn turn(&mut self) -> io::Result<Next> {
        // First, so that all that was said before the end is in the pipes by now.
        let exit = self.process.try_exit()?;
        self.feed();
        let more = self.output.collect()? | self.errors.collect()?;
        Ok(match exit {
            _ if more => Next::Again,
            None => Next::Wait,
            Some(exit) => Next::Ended(Report {
                exit,
                output: std::mem::take(&mut self.output.collected),
                errors: std::mem::take(&mut self.errors.collected),
            }),
        })
    }

    /// Sends a signal to the program and all of its group.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        self.process.signal(signal)
    }

    /// Writes input until the pipe is full; closes it after the last byte or when nobody reads.
    fn feed(&mut self) {
        while let Some(input) = &mut self.input {
            match rustix::io::write(&input.fd, &input.bytes[input.written..]) {
                Ok(count) => input.written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => input.written = input.bytes.len(),
            }
            if input.written == input.bytes.len() {
                self.input = None;
            }
        }
    }
}

impl Report {
    /// What the program complained about: its standard error as text, or how it ended if it said
    /// nothing.
    pub(crate) fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.errors.bytes);
        match text.trim() {
            "" => self.exit.to_string(),
            said => said.to_owned(),
        }
    }
}

impl Pipe {
    fn new(fd: Option<OwnedFd>, limit: usize) -> io::Result<Pipe> {
        let fd = fd.map(non_blocking).transpose()?;
        Ok(Pipe { fd, collected: Collected::default(), limit })
    }

    /// Reads what is there. Says whether the turn's share was used up and more may be there.
    fn collect(&mut self) -> io::Result<bool> {
        let mut chunk = [0; CHUNK_BYTES];
        for _ in 0..CHUNKS_PER_TURN {
            let Some(fd) = &self.fd else {
                return Ok(false);
            };
            match rustix::io::read(fd, &mut chunk) {
                Ok(0) => self.fd = None,
                Ok(count) => self.collected.keep(&chunk[..count], self.limit),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.fd.is_some())
    }
}

/// Our end of a pipe is ours alone, so this does not change the child's.
fn non_blocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(fd.as_fd(), true)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::super::clock::Clock;
    use super::*;

    const LIMIT: usize = 10_000;

    fn run(script: &str, input: &[u8]) -> Report {
        let program = Program::new("sh", ["-c", script]);
        let mut child = Child::spawn(&program, input.to_vec(), LIMIT).unwrap();
        let (clock, mut reactor, mut ready) = (Clock::new(), Reactor::new().unwrap(), Vec::new());
        child.watch(&reactor, Key::from_bits(9)).unwrap();
        loop {
            match child.turn().unwrap() {
                Next::Ended(report) => return report,
                Next::Again => reactor.look(&mut ready).unwrap(),
                Next::Wait => reactor.wait(&clock, None, &mut ready).unwrap(),
            }
            assert!(ready.iter().all(|event| event.key == Key::from_bits(9)));
        }
    }

    #[test]
    fn both_outputs_and_the_status_are_told() {
        let report = run("echo out; echo err >&2; exit 3", b"");
        assert_eq!(report.output.bytes, b"out\n");
        assert_eq!(report.complaint(), "err");
        assert_eq!(report.exit, Exit::Code(3));
        assert_eq!(run("exit 3", b"").complaint(), "exit status 3");
    }

    #[test]
    fn input_larger_than_a_pipe_goes_through() {
        let report = run("wc -c", &vec![b'x'; 1_000_000]);
        assert_eq!(report.output.bytes.trim_ascii(), b"1000000");
        assert!(run("exec <&-; exit 0", &vec![b'x'; 1_000_000]).exit.is_success());
    }

    #[test]
    fn a_flood_is_cut_and_does_not_hold_the_program_up() {
        let report = run("head -c 3000000 /dev/zero", b"");
        assert_eq!((report.output.bytes.len(), report.output.is_cut), (LIMIT, true));
        assert!(report.exit.is_success());
    }

    #[test]
    fn a_process_left_behind_with_the_pipe_is_not_waited_for() {
        let report = run("echo before; (sleep 1000 & echo $!)", b"");
        let text = String::from_utf8(report.output.bytes).unwrap();
        let (said, left_behind) = text.split_once('\n').unwrap();
        assert_eq!(said, "before");
        let pid = left_behind.trim().parse().unwrap();
        let watch = super::super::process::ProcessWatch::open(pid).unwrap().unwrap();
        watch.signal(Signal::KILL).unwrap();
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = Child::spawn(&Program::new("/no/such", [""; 0]), Vec::new(), 1).unwrap_err();
        assert!(error.is_missing());
        assert!(error.to_string().starts_with("cannot start /no/such: "), "{error}");
    }
}
