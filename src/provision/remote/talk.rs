//! A run, there or here, that is told what to do and reports line by line.
//!
//! The program that runs gets its request as one line and stops when its input ends: with this
//! process, with the connection, and when the operator presses Ctrl-C. Then it is still listened
//! to for a while, so that its report says at which step it stopped.

use std::io;
use std::time::Duration;

use super::RemoteError;
use crate::base::lines::Lines;
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::io::clock::Clock;
use crate::io::line_process::{Heard, LineProcess};
use crate::io::process::{Exit, Program};
use crate::io::reactor::{Interests, Reactor, Ready};
use crate::io::signals::Signals;
use crate::limits::{PROVISION_LAST_WORDS, PROVISION_OUTPUT_BYTES_MAX};

const SIGNALS: Key = Key::from_bits(1);
const TALK: Key = Key::from_bits(2);
/// The status with which `ssh` itself fails.
pub(super) const SSH_FAILED: i32 = 255;

/// Talks with one program at a time, and hears when the operator wants it to end.
#[derive(Debug)]
pub(crate) struct Talker {
    clock: Clock,
    reactor: Reactor,
    signals: Signals,
    ready: Vec<Ready>,
}

/// How far a conversation is.
enum Stage {
    /// Both sides are at it.
    Going,
    /// It was told to end, and has until then.
    Ending(Mono),
    /// Its output has ended.
    Silent,
}

impl Talker {
    /// From now on signals end conversations and not this process. Must be called before the
    /// process has other threads.
    ///
    /// # Errors
    /// When the process cannot wait for anything, which no machine in order does.
    pub(crate) fn new() -> io::Result<Talker> {
        let signals = Signals::block()?;
        let reactor = Reactor::new()?;
        let _ = reactor.watch(&signals, SIGNALS, Interests::Read)?;
        Ok(Talker { clock: Clock::new(), reactor, signals, ready: Vec::new() })
    }

    /// Runs a program, which gets `request` as its first line, and hands on each line that it
    /// says; whether it ended well.
    ///
    /// # Errors
    /// [`RemoteError::Cut`] if the connection was lost, [`RemoteError::Interrupted`] if the
    /// operator wants it to end, [`RemoteError::NobodyListens`] when `tell` says no.
    pub(crate) fn talk(
        &mut self,
        words: &[String],
        request: &str,
        mut tell: impl FnMut(&[u8]) -> bool,
    ) -> Result<bool, RemoteError> {
        let (program, arguments) = words.split_first().expect("a command has a program");
        let mut talk = LineProcess::start(&Program::new(program, arguments))
            .map_err(RemoteError::NoProgram)?;
        talk.watch(&self.reactor, TALK).map_err(RemoteError::NoSsh)?;
        talk.say(format!("{request}\n").as_bytes());
        let mut lines = Lines::new(PROVISION_OUTPUT_BYTES_MAX);
        let mut space = [0; 8 * 1024];
        let mut stage = Stage::Going;
        let mut is_interrupted = false;
        loop {
            if self.is_told_to_end() && !is_interrupted {
                is_interrupted = true;
                talk.hang_up();
                stage = Stage::Ending(self.clock.mono() + PROVISION_LAST_WORDS);
            }
            let heard = talk.hear(&mut space).map_err(|_| RemoteError::Cut)?;
            match heard {
                Heard::Bytes(count) => hand_on(&mut lines, &space[..count], &mut tell)?,
                Heard::End => stage = Stage::Silent,
                Heard::Nothing => {}
            }
            if let Stage::Silent = stage
                && let Some(exit) = talk.try_exit().map_err(|_| RemoteError::Cut)?
            {
                return match exit {
                    _ if is_interrupted => Err(RemoteError::Interrupted),
                    Exit::Code(0) => Ok(true),
                    Exit::Code(SSH_FAILED) | Exit::Signal(_) => Err(RemoteError::Cut),
                    Exit::Code(_) => Ok(false),
                };
            }
            if !matches!(heard, Heard::Bytes(_)) {
                let deadline = if let Stage::Ending(at) = stage { Some(at) } else { None };
                if deadline.is_some_and(|at| self.clock.mono() >= at) {
                    return Err(RemoteError::Interrupted);
                }
                let waited = self.reactor.wait(&self.clock, deadline, &mut self.ready);
                waited.map_err(|_| RemoteError::Cut)?;
            }
        }
    }

    /// Waits that long; whether the operator wants everything to end.
    ///
    /// # Errors
    /// When the process cannot wait, which is a bug.
    pub(crate) fn pause(&mut self, length: Duration) -> io::Result<bool> {
        let until = self.clock.mono() + length;
        while self.clock.mono() < until {
            if self.is_told_to_end() {
                return Ok(true);
            }
            self.reactor.wait(&self.clock, Some(until), &mut self.ready)?;
        }
        Ok(self.is_told_to_end())
    }

    /// Whether the operator wants everything to end.
    pub(crate) fn is_told_to_end(&mut self) -> bool {
        let mut is_told = false;
        while let Some(signal) = self.signals.next_signal() {
            is_told |= signal != crate::io::signals::Signal::WindowChange;
        }
        is_told
    }
}

fn hand_on(
    lines: &mut Lines,
    mut rest: &[u8],
    tell: &mut impl FnMut(&[u8]) -> bool,
) -> Result<(), RemoteError> {
    while !rest.is_empty() {
        let taken = lines.push(rest).map_err(|_| RemoteError::Report)?;
        rest = &rest[taken..];
        if let Some(line) = lines.next_line()
            && !tell(&line)
        {
            return Err(RemoteError::NobodyListens);
        }
    }
    Ok(())
}
