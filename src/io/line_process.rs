//! A program that reads its input and writes lines while it works.
//!
//! It leads a process group of its own, so that a Ctrl-C of the operator reaches us alone and we
//! say when it ends: by closing its input, which it watches. What it complains of goes where our
//! own complaints go.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStdin, Stdio};

use rustix::io::Errno;

use super::process::{Exit, Process, Program, SpawnError};
use super::reactor::{Interests, Reactor};
use crate::base::slots::Key;

/// A running program, its input and its output. Dropping it kills its process group.
#[derive(Debug)]
pub(crate) struct LineProcess {
    process: Process,
    input: Option<ChildStdin>,
    output: OwnedFd,
}

/// What came of listening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessOutput {
    /// So many bytes.
    Bytes(usize),
    Nothing,
    /// Nothing more will come.
    End,
}

impl LineProcess {
    /// Starts it.
    ///
    /// # Errors
    /// [`SpawnError`], which names the program.
    pub(crate) fn start(program: &Program) -> Result<LineProcess, SpawnError> {
        let mut command = program.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::spawn(&mut command).map_err(|error| program.failed(error))?;
        let pipes = process.pipes();
        let input = pipes.stdin.take();
        let output = OwnedFd::from(pipes.stdout.take().expect("a pipe was asked for"));
        let open = rustix::io::ioctl_fionbio(output.as_fd(), true);
        open.map_err(|error| program.failed(error))?;
        Ok(LineProcess { process, input, output })
    }

    /// Tells it something. Blocks while its pipe is full; one that does not listen any more is no
    /// error, its status tells.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        if let Some(input) = &mut self.input {
            let _unheard = input.write_all(bytes);
        }
    }

    pub(crate) fn hang_up(&mut self) {
        self.input = None;
    }

    /// Lets the reactor watch its output and its end, both under `key`.
    ///
    /// # Errors
    /// When the kernel has no room.
    pub(crate) fn watch(&self, reactor: &Reactor, key: Key) -> io::Result<()> {
        let _ = reactor.watch(&self.output, key, Interests::Read)?;
        let _ = reactor.watch(&self.process, key, Interests::Read)?;
        Ok(())
    }

    /// Takes what it has said; to be called until there is nothing.
    ///
    /// # Errors
    /// When the pipe cannot be read, which is a bug.
    pub(crate) fn hear(&mut self, space: &mut [u8]) -> io::Result<ProcessOutput> {
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.output, &mut *space)) {
            Ok(0) => Ok(ProcessOutput::End),
            Ok(count) => Ok(ProcessOutput::Bytes(count)),
            Err(Errno::AGAIN) => Ok(ProcessOutput::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// If somebody else reaped it, which is a bug.
    pub(crate) fn try_exit(&mut self) -> io::Result<Option<Exit>> {
        self.process.try_exit()
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::Clock;
    use super::*;

    #[test]
    fn it_hears_and_says_and_notices_the_end_of_its_input() {
        let script = "read line; echo \"heard $line\"; cat >/dev/null; exit 3";
        let mut talk = LineProcess::start(&Program::new("sh", ["-c", script])).unwrap();
        let (clock, mut reactor, mut ready) = (Clock::new(), Reactor::new().unwrap(), Vec::new());
        talk.watch(&reactor, Key::from_bits(1)).unwrap();
        talk.say(b"a word\n");
        let (mut said, mut space) = (Vec::new(), [0; 64]);
        let exit = loop {
            match talk.hear(&mut space).unwrap() {
                ProcessOutput::Bytes(count) => said.extend_from_slice(&space[..count]),
                ProcessOutput::Nothing => reactor.wait(&clock, None, &mut ready).unwrap(),
                ProcessOutput::End => match talk.try_exit().unwrap() {
                    Some(exit) => break exit,
                    None => reactor.wait(&clock, None, &mut ready).unwrap(),
                },
            }
            if said.ends_with(b"\n") {
                talk.hang_up();
            }
        };
        assert_eq!((said.as_slice(), exit), (&b"heard a word\n"[..], Exit::Code(3)));
    }
}
