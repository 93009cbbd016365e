//! One run, there or here, that gets a request and reports line by line.
//!
//! The program that runs gets its request as one line and stops when its input ends: with this
//! process, with the connection, and when the operator presses Ctrl-C. Then it is still listened
//! to for a while, so that its report says at which step it stopped.

use std::io::Read;

use super::RemoteError;
use super::interrupts::Interrupts;
use crate::base::lines::Lines;
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::io::clock::Clock;
use crate::io::line_process::{LineProcess, ProcessOutput};
use crate::io::process::{Exit, Program};
use crate::limits::{PROVISION_LAST_WORDS, PROVISION_OUTPUT_BYTES_MAX};

const PROCESS: Key = Key::from_bits(2);
/// The status with which `ssh` itself fails.
pub(super) const SSH_FAILED: i32 = 255;
/// How much of a payload is written between two looks at the signals.
const PAYLOAD_PIECE_BYTES: usize = 64 * 1024;

/// How far a run is.
enum Stage {
    Running,
    /// It was told to end, and has until then.
    Ending(Mono),
    /// Its output has ended.
    Silent,
}

/// Runs a program, which gets `request` as its first line and `payload` behind it, and hands on
/// each line that it says; whether it ended with status 0. The program says nothing before it has
/// read the payload.
///
/// # Errors
/// [`RemoteError::Cut`] if the connection was lost, [`RemoteError::Interrupted`] if the operator
/// wants it to end, [`RemoteError::NobodyListens`] when `tell` returns false.
pub(crate) fn talk(
    interrupts: &Interrupts,
    words: &[String],
    request: &str,
    payload: &mut dyn Read,
    mut tell: impl FnMut(&[u8]) -> bool,
) -> Result<bool, RemoteError> {
    let (program, arguments) = words.split_first().expect("a command has a program");
    let program = Program::new(program, arguments);
    let mut process = LineProcess::start(&program).map_err(RemoteError::NoProgram)?;
    let mut reactor = interrupts.reactor().map_err(RemoteError::NoSsh)?;
    process.watch(&reactor, PROCESS).map_err(RemoteError::NoSsh)?;
    process.say(format!("{request}\n").as_bytes());
    let mut piece = vec![0; PAYLOAD_PIECE_BYTES];
    let mut has_more = true;
    let (clock, mut ready) = (Clock::new(), Vec::new());
    let mut lines = Lines::new(PROVISION_OUTPUT_BYTES_MAX);
    let mut space = [0; 8 * 1024];
    let mut stage = Stage::Running;
    let mut is_interrupted = false;
    loop {
        if !is_interrupted && interrupts.has_come() {
            is_interrupted = true;
            process.hang_up();
            stage = Stage::Ending(clock.mono() + PROVISION_LAST_WORDS);
        }
        if let (Stage::Running, true) = (&stage, has_more) {
            // One that cannot be read is cut short, and the other end says so.
            let length = payload.read(&mut piece).unwrap_or(0);
            has_more = length > 0;
            process.say(&piece[..length]);
            continue;
        }
        let heard = process.hear(&mut space).map_err(|_| RemoteError::Cut)?;
        match heard {
            ProcessOutput::Bytes(count) => hand_on(&mut lines, &space[..count], &mut tell)?,
            ProcessOutput::End => stage = Stage::Silent,
            ProcessOutput::Nothing => {}
        }
        if let Stage::Silent = stage
            && let Some(exit) = process.try_exit().map_err(|_| RemoteError::Cut)?
        {
            return match exit {
                _ if is_interrupted => Err(RemoteError::Interrupted),
                Exit::Code(0) => Ok(true),
                Exit::Code(SSH_FAILED) | Exit::Signal(_) => Err(RemoteError::Cut),
                Exit::Code(_) => Ok(false),
            };
        }
        if !matches!(heard, ProcessOutput::Bytes(_)) {
            let deadline = if let Stage::Ending(at) = stage { Some(at) } else { None };
            if deadline.is_some_and(|at| clock.mono() >= at) {
                return Err(RemoteError::Interrupted);
            }
            let look = Interrupts::next_look(clock.mono(), deadline);
            reactor.wait(&clock, Some(look), &mut ready).map_err(|_| RemoteError::Cut)?;
        }
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
