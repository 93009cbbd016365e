//! What is behind one terminal: a tmux client on a pty here, or one in a container
//! ([`ExecTerminal`]).
//!
//! Both are a stream of bytes each way with a bounded window.

use std::os::fd::{AsFd, BorrowedFd};

use super::engine::DockerRuntime;
use super::exec_terminal::ExecTerminal;
use super::registry::Registry;
use super::terminal_context::{TerminalContext, Turn, cells};
use crate::agent::action::TerminalPlan;
use crate::agent::docker::Reply;
use crate::base::pipe::Pipe;
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::io::link::{Link, Next};
use crate::io::process::{Exit, Process, Program, Signal};
use crate::io::pty::{self, Pty};
use crate::io::reactor::{Interests, Ready};
use crate::limits::{LINK_LINGER, TERMINAL_TURN_BYTES, TERMINAL_WINDOW_BYTES};
use crate::rpc::attach::TerminalSize;

/// A client of a session's tmux.
#[derive(Debug)]
pub(super) enum TerminalBackend {
    /// On a pty of ours.
    Pty(Link<Pipe>, Process),
    /// In a container.
    ExecTerminal(Box<ExecTerminal>),
}

impl TerminalBackend {
    /// A client on a pty. It is open at once.
    pub(super) fn on_pty(
        registry: &Registry,
        key: Key,
        program: &Program,
        size: TerminalSize,
    ) -> Result<TerminalBackend, String> {
        let Pty { master, process } =
            Pty::spawn(program, cells(size)).map_err(|error| error.to_string())?;
        let watch = |source: BorrowedFd<'_>, interests| {
            let watched = registry.reactor.watch(&source, key, interests);
            watched.map(drop).map_err(|error| format!("terminal: {error}"))
        };
        watch(master.as_fd(), Interests::Both)?;
        watch(process.as_fd(), Interests::Read)?;
        let link = Link::open(master, Pipe::new(TERMINAL_WINDOW_BYTES), LINK_LINGER);
        Ok(TerminalBackend::Pty(link, process))
    }

    /// A client in a container. [`Turn::Opened`] tells when it is there.
    pub(super) fn in_container(
        registry: &Registry,
        docker: &DockerRuntime,
        key: Key,
        now: Mono,
        plan: &TerminalPlan,
        size: TerminalSize,
    ) -> Result<TerminalBackend, String> {
        let exec = ExecTerminal::open(registry, docker, key, now, plan, size)?;
        Ok(TerminalBackend::ExecTerminal(Box::new(exec)))
    }

    pub(super) fn ready(&mut self, now: Mono, ready: Ready) {
        match self {
            TerminalBackend::Pty(link, _) => link.ready(now, ready),
            TerminalBackend::ExecTerminal(exec) => exec.ready(now, ready),
        }
    }

    /// Reads what there is, within a turn's budget.
    pub(super) fn receive(&mut self, context: &mut TerminalContext<'_>, now: Mono) -> Turn {
        match self {
            TerminalBackend::Pty(link, _) => {
                link.receive(now, TERMINAL_TURN_BYTES);
                Turn::Quiet
            }
            TerminalBackend::ExecTerminal(exec) => exec.receive(context, now),
        }
    }

    /// Writes what there is, within a turn's budget.
    pub(super) fn flush(&mut self, now: Mono) -> Next {
        match self {
            TerminalBackend::Pty(link, _) => link.send(now, TERMINAL_TURN_BYTES),
            TerminalBackend::ExecTerminal(exec) => exec.flush(now),
        }
    }

    /// What the session shows and nobody took yet.
    pub(super) fn received(&self) -> &[u8] {
        match self {
            TerminalBackend::Pty(link, _) => link.endpoint().received(),
            TerminalBackend::ExecTerminal(exec) => exec.received(),
        }
    }

    pub(super) fn consume(&mut self, len: usize) {
        match self {
            TerminalBackend::Pty(link, _) => link.endpoint_mut().consume(len),
            TerminalBackend::ExecTerminal(exec) => exec.consume(len),
        }
    }

    /// Types. Takes as much as there is room for.
    pub(super) fn send(&mut self, bytes: &[u8]) -> usize {
        match self {
            TerminalBackend::Pty(link, _) => link.endpoint_mut().send(bytes),
            TerminalBackend::ExecTerminal(exec) => exec.send(bytes),
        }
    }

    /// How much [`TerminalBackend::send`] would take now.
    pub(super) fn send_space(&self) -> usize {
        match self {
            TerminalBackend::Pty(link, _) => link.endpoint().send_space(),
            TerminalBackend::ExecTerminal(exec) => exec.send_space(),
        }
    }

    /// Ends a client that did not end when it was hung up on. Says whether there is nothing more to
    /// wait for.
    pub(super) fn kill(&mut self) -> bool {
        match self {
            TerminalBackend::Pty(_, process) => {
                // Its end is an event, and reaps it.
                process.signal(Signal::KILL).is_err()
            }
            TerminalBackend::ExecTerminal(..) => true,
        }
    }

    /// The exit status, once the client has ended and all that it showed was taken.
    pub(super) fn ended(&mut self, context: &mut TerminalContext<'_>, now: Mono) -> Option<u32> {
        if !self.received().is_empty() {
            return None;
        }
        match self {
            TerminalBackend::Pty(link, process) if link.endpoint().has_ended() => {
                process.try_exit().unwrap_or(Some(Exit::Code(1))).map(status)
            }
            TerminalBackend::Pty(..) => None,
            TerminalBackend::ExecTerminal(exec) => exec.ended(context, now),
        }
    }

    /// The Engine's answer to a call that was made for this terminal.
    pub(super) fn answered(&mut self, now: Mono, reply: Reply) {
        if let TerminalBackend::ExecTerminal(exec) = self {
            exec.answered(now, reply);
        }
    }

    /// Nobody looks any more: makes the client end. To be called until it has ended, which it
    /// says.
    pub(super) fn hang_up(&mut self, context: &mut TerminalContext<'_>, now: Mono) -> bool {
        match self {
            TerminalBackend::Pty(link, process) => {
                // The hang-up is the closing of the master; the client's process is reaped here.
                link.endpoint_mut().finish();
                let _ = process.signal(Signal::HUP);
                matches!(process.try_exit(), Ok(Some(_)) | Err(_))
            }
            TerminalBackend::ExecTerminal(exec) => exec.hang_up(context, now),
        }
    }

    pub(super) fn resize(
        &mut self,
        context: &mut TerminalContext<'_>,
        now: Mono,
        size: TerminalSize,
    ) {
        match self {
            TerminalBackend::Pty(link, _) => {
                // It cannot fail on a terminal that is open, and one that is not needs no size.
                let _ = pty::resize(link.stream(), cells(size));
            }
            TerminalBackend::ExecTerminal(exec) => exec.resize(context, now, size),
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        match self {
            TerminalBackend::Pty(link, _) => link.deadline(),
            TerminalBackend::ExecTerminal(exec) => exec.deadline(),
        }
    }

    pub(super) fn tick(&mut self, now: Mono) {
        match self {
            TerminalBackend::Pty(link, _) => link.tick(now),
            TerminalBackend::ExecTerminal(exec) => exec.tick(now),
        }
    }
}

fn status(exit: Exit) -> u32 {
    u32::try_from(exit.status()).unwrap_or(1)
}
