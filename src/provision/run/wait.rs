//! Programs and the Docker Engine, waited for until they are done or the run is to end.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::DriverOptions;
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::docker::conn::{DockerConn, DockerConnEvent, ResponseMode};
use crate::docker::{DockerError, DockerRequest, DockerResponse};
use crate::io::child::{Child, Next, Report};
use crate::io::clock::Clock;
use crate::io::link::{self, Link};
use crate::io::process::{Exit, Program, Signal as Kill};
use crate::io::reactor::{Interests, Reactor, Ready, Watch};
use crate::io::signals::Signals;
use crate::io::stream::{Moved, Stream};
use crate::limits::{
    LINK_LINGER, LINK_TURN_BYTES, PROVISION_OUTPUT_BYTES_MAX, PROVISION_STOP_GRACE,
};
use crate::provision::order::{Command, End, Ran};

const SIGNALS: Key = Key::from_bits(1);
const PARENT_PIPE: Key = Key::from_bits(2);
const WORK: Key = Key::from_bits(3);

/// Why a run is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// A signal came.
    Interrupted,
    /// Whoever held the other end of standard input is gone.
    Abandoned,
}

/// Waits for one thing at a time.
pub(super) struct Waiter {
    reactor: Reactor,
    ready: Vec<Ready>,
    signals: Signals,
    parent_pipe: Option<Stream>,
    docker_socket: PathBuf,
}

impl Waiter {
    pub(super) fn new(signals: Signals, options: &DriverOptions) -> io::Result<Waiter> {
        let reactor = Reactor::new()?;
        let _ = reactor.watch(&signals, SIGNALS, Interests::Read)?;
        let parent_pipe = match options.until_stdin_ends {
            true => Some(watched_stdin(&reactor)?),
            false => None,
        };
        let docker_socket = options.docker_socket.clone();
        Ok(Waiter { reactor, ready: Vec::new(), signals, parent_pipe, docker_socket })
    }

    /// Whether the run is to end, as far as can be told now.
    pub(super) fn stopped(&mut self) -> Option<Stopped> {
        if self.signals.next_signal().is_some() {
            return Some(Stopped::Interrupted);
        }
        let parent_pipe = self.parent_pipe.as_ref()?;
        let mut bytes = [0; 1024];
        loop {
            match parent_pipe.read(&mut bytes) {
                Moved::Bytes(_) => {}
                Moved::Blocked => return None,
                Moved::Closed | Moved::Failed(_) => return Some(Stopped::Abandoned),
            }
        }
    }

    /// Runs a program to its end. One that is cut short, as none is that must be whole, is asked to
    /// end and then killed.
    pub(super) fn run(
        &mut self,
        clock: &Clock,
        command: &Command,
    ) -> io::Result<Result<Ran, Stopped>> {
        let program = program(command);
        let mut child = match Child::spawn(&program, Vec::new(), PROVISION_OUTPUT_BYTES_MAX) {
            Ok(child) => child,
            Err(error) if error.is_missing() => return Ok(Ok(ran(End::NotThere))),
            Err(error) => return Ok(Ok(ran(End::NotStarted(error.to_string())))),
        };
        child.watch(&self.reactor, WORK)?;
        let deadline = clock.mono() + command.patience;
        let mut stopped = None;
        loop {
            match child.turn()? {
                Next::Ended(report) => return Ok(stopped.map_or(Ok(told(&report)), Err)),
                Next::Again => self.reactor.look(&mut self.ready)?,
                Next::Wait => self.reactor.wait(clock, Some(deadline), &mut self.ready)?,
            }
            stopped = stopped.or_else(|| self.stopped());
            if let Some(stopped) = stopped.filter(|_| !command.is_whole) {
                self.end(clock, child)?;
                return Ok(Err(stopped));
            }
            if clock.mono() >= deadline {
                let mut ran = self.end(clock, child)?;
                ran.end = End::TooLong;
                return Ok(Ok(ran));
            }
        }
    }

    /// Asks a program to end; dropping it kills what is left of it then.
    fn end(&mut self, clock: &Clock, mut child: Child) -> io::Result<Ran> {
        child.signal(Kill::TERM)?;
        let deadline = clock.mono() + PROVISION_STOP_GRACE;
        loop {
            match child.turn()? {
                Next::Ended(report) => return Ok(told(&report)),
                _ if clock.mono() >= deadline => return Ok(ran(End::Stopped)),
                Next::Again => self.reactor.look(&mut self.ready)?,
                Next::Wait => self.reactor.wait(clock, Some(deadline), &mut self.ready)?,
            }
        }
    }

    /// Asks the Docker Engine, on a connection of its own.
    pub(super) fn call(
        &mut self,
        clock: &Clock,
        request: &DockerRequest,
    ) -> io::Result<Result<Result<DockerResponse, String>, Stopped>> {
        let stream = match Stream::connect_unix(&self.docker_socket) {
            Ok(stream) => stream,
            Err(error) => {
                let socket = self.docker_socket.display();
                return Ok(Ok(Err(format!("no Docker engine answers at {socket}: {error}"))));
            }
        };
        let mut link = Link::open(stream, DockerConn::new(), LINK_LINGER);
        let _ = self.reactor.watch(link.stream(), WORK, Interests::Both)?;
        if link.endpoint_mut().call(request, ResponseMode::Whole, clock.mono()).is_err() {
            return Ok(Ok(Err(refused(&DockerError::Closed))));
        }
        self.ready.clear();
        loop {
            let now = clock.mono();
            let work = self.ready.iter().filter(|ready| ready.key == WORK);
            work.for_each(|ready| link.ready(now, *ready));
            if let Some(answer) = turn(&mut link, now) {
                return Ok(Ok(answer.map_err(|error| refused(&error))));
            }
            match link.send(now, LINK_TURN_BYTES) {
                link::Next::Wait => {
                    self.reactor.wait(clock, link.deadline(), &mut self.ready)?;
                }
                link::Next::Again => self.reactor.look(&mut self.ready)?,
                link::Next::Closed => return Ok(Ok(Err(refused(&DockerError::Closed)))),
            }
            if let Some(stopped) = self.stopped() {
                return Ok(Err(stopped));
            }
        }
    }
}

/// One turn of a connection; its answer, if that has come.
fn turn(link: &mut Link<DockerConn>, now: Mono) -> Option<Result<DockerResponse, DockerError>> {
    link.tick(now);
    link.receive(now, LINK_TURN_BYTES);
    while let Some(event) = link.endpoint_mut().poll_event() {
        match event {
            DockerConnEvent::Response(response) => return Some(Ok(response)),
            DockerConnEvent::Closed(error) => {
                return Some(Err(error.unwrap_or(DockerError::Closed)));
            }
            _ => {}
        }
    }
    None
}

fn refused(error: &DockerError) -> String {
    format!("docker: {error}")
}

fn watched_stdin(reactor: &Reactor) -> io::Result<Stream> {
    let stream = Stream::stdin()?;
    match reactor.watch(&stream, PARENT_PIPE, Interests::Read)? {
        Watch::Events | Watch::AlwaysReady => Ok(stream),
    }
}

/// A program whose words are English and whose terminal is nobody's.
fn program(command: &Command) -> Program {
    let mut program = Program::new(&command.program, &command.arguments);
    let fixed = [("LC_ALL", "C.UTF-8"), ("SYSTEMD_PAGER", ""), ("SYSTEMD_COLORS", "0")];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    program.environment = fixed
        .into_iter()
        .chain(command.environment.iter().cloned())
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    program
}

fn told(report: &Report) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran {
        end: match report.exit {
            Exit::Code(code) => End::Code(code),
            Exit::Signal(signal) => End::Signal(signal),
        },
        output: text(&report.output.bytes),
        errors: text(&report.errors.bytes),
    }
}

fn ran(end: End) -> Ran {
    Ran { end, output: String::new(), errors: String::new() }
}

impl fmt::Display for Stopped {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Stopped::Interrupted => "interrupted",
            Stopped::Abandoned => "the connection to whoever started this is lost",
        })
    }
}
