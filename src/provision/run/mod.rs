//! The driver: carries out what the engine orders, on this machine.
//!
//! One order at a time, each to its end; this is a program that has nothing else to do. Programs
//! and the Docker Engine are waited for in the reactor, together with what ends a run: a signal,
//! and for a run that belongs to somebody at the other end of a pipe, the end of standard input.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`receive_session`] | takes a session's directory that is sent here |
//! | [`files`] | what stands at paths, and changing it |
//! | [`fetch`] | files from elsewhere, whole or not at all |
//! | [`docker`] | the Docker Engine, for streams of any length |
//! | [`found`] | what a plan depends on |
//! | [`receive`] | takes an image that is sent here |
//! | [`send`] | sends one |
//! | [`wait`] | programs and the Docker Engine, until they are done or the run is to end |

mod archive;
pub mod docker;
mod fetch;
mod files;
pub mod found;
pub mod receive;
pub(crate) mod receive_claude;
pub mod receive_session;
pub mod send;
mod wait;

use std::io;
use std::path::PathBuf;

use self::wait::{Stopped, Waiter};
use crate::io::clock::Clock;
use crate::io::signals::Signals;
use crate::provision::engine::{StepEngine, StepEvent, StepMode, StepTally};
use crate::provision::order::{Action, Answer, Order, Question};
use crate::provision::step::Step;

/// How a run is to be.
#[derive(Clone, Debug)]
pub(crate) struct DriverOptions {
    /// Whether anything is changed.
    pub(crate) mode: StepMode,
    /// Where the Docker Engine listens.
    pub(crate) docker_socket: PathBuf,
    /// Whether the end of standard input ends the run.
    pub(crate) until_stdin_ends: bool,
}

/// Takes all steps on this machine and hands each event to `tell`, which ends the run by an error:
/// nobody listens any more. Must be called before the process has other threads.
///
/// # Errors
/// When the process cannot wait for anything, which no machine in order does.
pub(crate) fn run<E: std::fmt::Display>(
    steps: Vec<Step>,
    options: &DriverOptions,
    mut tell: impl FnMut(&StepEvent) -> Result<(), E>,
) -> io::Result<StepTally> {
    let clock = Clock::new();
    let mut waiter = Waiter::new(Signals::block()?, options)?;
    let mut engine = StepEngine::new(steps, options.mode);
    loop {
        let order = engine.next(clock.mono());
        if let Err(why) = tell_all(&mut engine, &mut tell) {
            engine.stop(&format!("nobody listens: {why}"), clock.mono());
            return Ok(engine.tally());
        }
        let Some(order) = order else { return Ok(engine.tally()) };
        match carry_out(&mut waiter, &clock, order)? {
            Ok(answer) => engine.handle(answer, clock.mono()),
            Err(stopped) => {
                engine.stop(&stopped.to_string(), clock.mono());
                // Whether anybody hears of it changes nothing any more.
                let _unheard = tell_all(&mut engine, &mut tell);
                return Ok(engine.tally());
            }
        }
    }
}

fn tell_all<E>(
    engine: &mut StepEngine,
    tell: &mut impl FnMut(&StepEvent) -> Result<(), E>,
) -> Result<(), E> {
    while let Some(event) = engine.poll_event() {
        tell(&event)?;
    }
    Ok(())
}

/// Carries out one order; or why the run is to end.
fn carry_out(
    waiter: &mut Waiter,
    clock: &Clock,
    order: Order,
) -> io::Result<Result<Answer, Stopped>> {
    if let Some(stopped) = waiter.stopped() {
        return Ok(Err(stopped));
    }
    let done = |result: Result<Answer, String>| Ok(Ok(result.unwrap_or_else(Answer::Failed)));
    match order {
        Order::Ask(Question::Look(path)) => done(files::look(&path)),
        Order::Ask(Question::Read(path)) => done(files::read(&path)),
        Order::Ask(Question::Run(command)) | Order::Do(Action::Run(command)) => {
            Ok(waiter.run(clock, &command)?.map(Answer::Ran))
        }
        Order::Ask(Question::Engine(request))
        | Order::Do(Action::Build(request) | Action::Engine(request)) => {
            Ok(waiter.call(clock, &request)?.map(Answer::Engine))
        }
        Order::Do(Action::Write { path, bytes, access }) => {
            done(files::write(&path, &bytes, &access))
        }
        Order::Do(Action::MakeDirectory { path, access }) => {
            done(files::make_directory(&path, &access))
        }
        Order::Do(Action::SetAccess { path, access }) => done(files::set_access(&path, &access)),
        Order::Do(Action::Remove(path)) => done(files::remove(&path)),
        Order::Do(Action::Fetch { url, sha256, path }) => fetch::fetch(
            waiter,
            clock,
            &fetch::FetchRequest { url: &url, sha256: &sha256, path: &path },
        ),
    }
}

#[cfg(test)]
mod tests;
