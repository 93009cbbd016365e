//! What is behind one terminal: a tmux client on a pty here, or one in a container.
//!
//! Both are a stream of bytes each way with a bounded window. A client in a container has a few
//! steps before that ([`Attach`]) and one after it: its exit status is asked for.

use std::os::fd::{AsFd, BorrowedFd};

use super::engine::Engine;
use super::registry::Registry;
use crate::agent::action::TerminalPlan;
use crate::agent::docker::Reply;
use crate::agent::docker::attach::{Attach, Read, exit_status};
use crate::agent::work::WorkError;
use crate::base::pipe::Pipe;
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::docker::conn::{Answer, Conn, Event};
use crate::io::link::{Link, Next};
use crate::io::process::{Exit, Process, Program, Signal};
use crate::io::pty::{self, Pty, Size};
use crate::io::reactor::{Interests, Ready};
use crate::limits::{LINK_LINGER, TERMINAL_TURN_BYTES, TERMINAL_WINDOW_BYTES};
use crate::rpc::attach::{AttachHeader, TerminalSize};

/// A client of a session's tmux.
#[derive(Debug)]
pub(super) enum Screen {
    /// On a pty of ours.
    Pty(Link<Pipe>, Process),
    /// In a container. `None` only while a step is made.
    Exec(Box<Link<Conn>>, Option<Attach>, Stage),
}

/// How far a client in a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Opening,
    Open,
    /// Its stream has ended and its exit status was asked for.
    Asked,
    Exited(u32),
    /// Nobody looks any more, and it was told to end.
    Detaching,
}

/// What a turn of a screen came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing that anyone has to know.
    Quiet,
    /// It is open from now on.
    Opened,
    /// It cannot be had.
    Failed(String),
}

impl Screen {
    /// A client on a pty. It is open at once.
    pub(super) fn on_pty(
        registry: &Registry,
        key: Key,
        program: &Program,
        size: TerminalSize,
    ) -> Result<Screen, String> {
        let Pty { master, process } =
            Pty::spawn(program, cells(size)).map_err(|error| error.to_string())?;
        let watch = |source: BorrowedFd<'_>, interests| {
            let watched = registry.reactor.watch(&source, key, interests);
            watched.map(drop).map_err(|error| format!("terminal: {error}"))
        };
        watch(master.as_fd(), Interests::Both)?;
        watch(process.as_fd(), Interests::Read)?;
        let link = Link::open(master, Pipe::new(TERMINAL_WINDOW_BYTES), LINK_LINGER);
        Ok(Screen::Pty(link, process))
    }

    /// A client in a container. [`Turn::Opened`] tells when it is there.
    pub(super) fn in_container(
        registry: &Registry,
        engine: &Engine,
        key: Key,
        now: Mono,
        plan: &TerminalPlan,
        size: TerminalSize,
    ) -> Result<Screen, String> {
        let header = AttachHeader {
            id: plan.session,
            cols: size.cols().into(),
            rows: size.rows().into(),
            term: plan.term.clone(),
            read_only: plan.read_only,
        };
        let (attach, request) = Attach::begin(&header, engine.host());
        let mut link = engine.dial().map_err(|error| error.to_string())?;
        let watched = registry.reactor.watch(link.stream(), key, Interests::Both);
        let _ = watched.map_err(|error| format!("docker: {error}"))?;
        call(&mut link, &request, Answer::Whole, now)?;
        Ok(Screen::Exec(Box::new(link), Some(attach), Stage::Opening))
    }

    pub(super) fn ready(&mut self, now: Mono, ready: Ready) {
        match self {
            Screen::Pty(link, _) => link.ready(now, ready),
            Screen::Exec(link, ..) => link.ready(now, ready),
        }
    }

    /// Reads what there is, within a turn's budget.
    pub(super) fn receive(
        &mut self,
        registry: &mut Registry,
        engine: Option<&mut Engine>,
        now: Mono,
    ) -> Turn {
        match self {
            Screen::Pty(link, _) => {
                link.receive(now, TERMINAL_TURN_BYTES);
                Turn::Quiet
            }
            Screen::Exec(link, attach, stage) => {
                link.receive(now, TERMINAL_TURN_BYTES);
                let engine = engine.expect("a client in a container has an engine");
                step(link, attach, stage, registry, engine, now)
                    .unwrap_or_else(|error| Turn::Failed(error.to_string()))
            }
        }
    }

    /// Writes what there is, within a turn's budget.
    pub(super) fn flush(&mut self, now: Mono) -> Next {
        match self {
            Screen::Pty(link, _) => link.send(now, TERMINAL_TURN_BYTES),
            Screen::Exec(link, ..) => link.send(now, TERMINAL_TURN_BYTES),
        }
    }

    /// What the session shows and nobody took yet.
    pub(super) fn received(&self) -> &[u8] {
        match self {
            Screen::Pty(link, _) => link.endpoint().received(),
            Screen::Exec(_, _, Stage::Opening) => &[],
            Screen::Exec(link, ..) => link.endpoint().received(),
        }
    }

    pub(super) fn consume(&mut self, len: usize) {
        match self {
            Screen::Pty(link, _) => link.endpoint_mut().consume(len),
            Screen::Exec(link, ..) => link.endpoint_mut().consume(len),
        }
    }

    /// Types. Takes as much as there is room for.
    pub(super) fn send(&mut self, bytes: &[u8]) -> usize {
        match self {
            Screen::Pty(link, _) => link.endpoint_mut().send(bytes),
            Screen::Exec(link, ..) => link.endpoint_mut().send(bytes),
        }
    }

    /// How much [`Screen::send`] would take now.
    pub(super) fn send_space(&self) -> usize {
        match self {
            Screen::Pty(link, _) => link.endpoint().send_space(),
            Screen::Exec(link, ..) => link.endpoint().send_space(),
        }
    }

    /// Ends a client that did not end when it was hung up on. Says whether there is nothing more to
    /// wait for.
    pub(super) fn kill(&mut self) -> bool {
        match self {
            Screen::Pty(_, process) => {
                // Its end is an event, and reaps it.
                process.signal(Signal::KILL).is_err()
            }
            Screen::Exec(..) => true,
        }
    }

    /// The exit status, once the client has ended and all that it showed was taken.
    pub(super) fn ended(
        &mut self,
        registry: &mut Registry,
        engine: Option<&mut Engine>,
        key: Key,
        now: Mono,
    ) -> Option<u32> {
        if !self.received().is_empty() {
            return None;
        }
        match self {
            Screen::Pty(link, process) if link.endpoint().has_ended() => {
                process.try_exit().unwrap_or(Some(Exit::Code(1))).map(status)
            }
            Screen::Pty(..) => None,
            Screen::Exec(link, attach, stage @ Stage::Open) if has_ended(link) => {
                let request = attach.as_ref().and_then(Attach::ended)?;
                *stage = Stage::Asked;
                engine?.call_for_terminal(registry, now, key, request);
                None
            }
            Screen::Exec(_, _, Stage::Exited(status)) => Some(*status),
            Screen::Exec(..) => None,
        }
    }

    /// The Engine's answer about the exit status.
    pub(super) fn answered(&mut self, reply: Reply) {
        if let Screen::Exec(_, _, stage @ Stage::Asked) = self {
            // Without an answer nobody knows how it ended, and that is no success.
            let code = exit_status(reply).map_or(1, |code| code.unwrap_or(0));
            *stage = Stage::Exited(u32::try_from(code).unwrap_or(1));
        }
    }

    /// Nobody looks any more: makes the client end. To be called until it has ended, which it
    /// says.
    pub(super) fn hang_up(
        &mut self,
        registry: &mut Registry,
        engine: Option<&mut Engine>,
        now: Mono,
    ) -> bool {
        match self {
            Screen::Pty(link, process) => {
                // The hang-up is the closing of the master; the client's process is reaped here.
                link.endpoint_mut().finish();
                let _ = process.signal(Signal::HUP);
                matches!(process.try_exit(), Ok(Some(_)) | Err(_))
            }
            Screen::Exec(link, attach, stage) => {
                let Some(engine) = engine else { return true };
                link.receive(now, TERMINAL_TURN_BYTES);
                let failed = step(link, attach, stage, registry, engine, now).is_err();
                if failed || has_ended(link) {
                    // Its tty may be another client's by now, which is not to be detached.
                    return true;
                }
                let named = attach.as_ref().filter(|_| *stage != Stage::Detaching);
                let detach = named.and_then(|attach| attach.detach(engine.host()));
                if let Some((procedure, request)) = detach {
                    engine.call_aside(registry, now, request, Some(procedure));
                    *stage = Stage::Detaching;
                }
                if *stage == Stage::Detaching {
                    // Read on: a client that cannot write cannot leave.
                    let len = link.endpoint().received().len();
                    link.endpoint_mut().consume(len);
                }
                has_ended(link)
            }
        }
    }

    pub(super) fn resize(
        &mut self,
        registry: &mut Registry,
        engine: Option<&mut Engine>,
        now: Mono,
        size: TerminalSize,
    ) {
        match self {
            Screen::Pty(link, _) => {
                // It cannot fail on a terminal that is open, and one that is not needs no size.
                let _ = pty::resize(link.stream(), cells(size));
            }
            Screen::Exec(_, attach, _) => {
                let request = attach.as_mut().and_then(|attach| attach.resize(size));
                if let (Some(engine), Some(request)) = (engine, request) {
                    engine.call_aside(registry, now, request, None);
                }
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        match self {
            Screen::Pty(link, _) => link.deadline(),
            Screen::Exec(link, ..) => link.deadline(),
        }
    }

    pub(super) fn tick(&mut self, now: Mono) {
        match self {
            Screen::Pty(link, _) => link.tick(now),
            Screen::Exec(link, ..) => link.tick(now),
        }
    }
}

/// Goes on with a client in a container as far as its connection has got.
fn step(
    link: &mut Link<Conn>,
    attach: &mut Option<Attach>,
    stage: &mut Stage,
    registry: &mut Registry,
    engine: &mut Engine,
    now: Mono,
) -> Result<Turn, WorkError> {
    let mut turn = Turn::Quiet;
    while let Some(event) = link.endpoint_mut().poll_event() {
        match event {
            Event::Response(response) => {
                let state = attach.take().expect("a step leaves a state behind");
                let (next, request) = state.prepared(Ok(response))?;
                *attach = Some(next);
                call(link, &request, Answer::TakeOver, now).map_err(WorkError::Docker)?;
            }
            Event::Closed(error) if *stage == Stage::Opening => {
                return Err(error.unwrap_or(crate::docker::Error::Closed).into());
            }
            Event::Readable | Event::End if *stage == Stage::Opening => {
                let is_open = name(link, attach, registry, engine, now)?;
                if is_open {
                    *stage = Stage::Open;
                    turn = Turn::Opened;
                }
            }
            _ => {}
        }
    }
    Ok(turn)
}

/// Reads the line that names the tty. Says whether the terminal is open now.
fn name(
    link: &mut Link<Conn>,
    attach: &mut Option<Attach>,
    registry: &mut Registry,
    engine: &mut Engine,
    now: Mono,
) -> Result<bool, WorkError> {
    let bytes = link.endpoint().received();
    let (len, state) = (bytes.len(), attach.take().expect("a step leaves a state behind"));
    let (next, read) = state.read(bytes)?;
    *attach = Some(next);
    match read {
        Read::Naming => {
            link.endpoint_mut().consume(len);
            Ok(false)
        }
        Read::Named(taken, resize) => {
            link.endpoint_mut().consume(taken);
            if let Some(request) = resize {
                engine.call_aside(registry, now, request, None);
            }
            Ok(true)
        }
    }
}

fn call(
    link: &mut Link<Conn>,
    request: &crate::docker::Request,
    answer: Answer,
    now: Mono,
) -> Result<(), String> {
    let busy = |_| "docker: connection is busy".to_owned();
    link.endpoint_mut().call(request, answer, now).map_err(busy)?;
    // A connection that breaks in this write is found by the event that follows.
    let _ = link.send(now, TERMINAL_TURN_BYTES);
    Ok(())
}

fn has_ended(link: &Link<Conn>) -> bool {
    link.endpoint().has_ended()
}

fn cells(size: TerminalSize) -> Size {
    Size { columns: size.cols(), rows: size.rows() }
}

/// A shell's way to tell a signal: 128 and its number.
fn status(exit: Exit) -> u32 {
    match exit {
        Exit::Code(code) => u32::try_from(code).unwrap_or(1),
        Exit::Signal(signal) => 128 + u32::try_from(signal).unwrap_or(0),
    }
}
