//! A tmux client in a container: the steps of [`Attach`], then bytes, then its exit status.
//!
//! Where it can be opened, bytes go over a pty of the container's whose master is here, past the
//! Engine. Else they go over the Engine's stream. Beside a container pty the stream still tells of
//! the end of the client, and nothing else.
//!
//! ```text
//! Opening -> Asked (which process?) -> Open -> Ending (which status?) -> Exited
//!       \------------------------------/    \--> Detaching (the channel is gone)
//! ```

use super::engine::DockerRuntime;
use super::registry::Registry;
use super::terminal_context::{TerminalContext, Turn, cells};
use crate::agent::action::TerminalPlan;
use crate::agent::docker::Reply;
use crate::agent::docker::attach::{Attach, ExecProcess, TtyLine, exec_process, exit_status};
use crate::agent::work::WorkError;
use crate::base::pipe::Pipe;
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::docker::conn::{DockerConn, DockerConnEvent, ResponseMode};
use crate::docker::{DockerError, DockerRequest};
use crate::io::link::{Link, Next};
use crate::io::pty;
use crate::io::reactor::{Interests, Ready};
use crate::limits::{
    DOCKER_PROCESS_ASKS_AFTER, DOCKER_PROCESS_ASKS_FOR, LINK_LINGER, TERMINAL_TURN_BYTES,
    TERMINAL_WINDOW_BYTES,
};
use crate::rpc::attach::{AttachHeader, TerminalSize};

/// A client in a container.
#[derive(Debug)]
pub(super) struct ExecTerminal {
    stream: Link<DockerConn>,
    /// As whom the session runs, if not as we do.
    uid: Option<u32>,
    /// `None` only while a step is made.
    attach: Option<Attach>,
    stage: Stage,
    /// The master of the pty that was opened in the container.
    container_pty: Option<Link<Pipe>>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    /// The client waits for a container pty, and the Engine was asked which process it is; it may
    /// be asked again until then.
    Asked(Mono),
    /// The Engine did not know that yet. It is asked again at the first of these times, and not
    /// after the second.
    AskAgain(Mono, Mono),
    /// It is this process, if it is any.
    Found(Option<u32>),
    Open,
    /// It has ended and its exit status was asked for.
    Ending,
    Exited(u32),
    /// The channel is gone, and the client was told to end.
    Detaching,
}

impl ExecTerminal {
    /// Starts a client in a session's container. [`Turn::Opened`] tells when it is there.
    pub(super) fn open(
        registry: &Registry,
        docker: &DockerRuntime,
        key: Key,
        now: Mono,
        plan: &TerminalPlan,
        size: TerminalSize,
    ) -> Result<ExecTerminal, String> {
        let header = AttachHeader {
            id: plan.session,
            cols: size.cols().into(),
            rows: size.rows().into(),
            term: plan.term.clone(),
            read_only: plan.read_only,
            label: plan.label.clone(),
        };
        let (attach, request) = Attach::begin(&header, &docker.host().user(plan.uid));
        let mut stream = docker.dial().map_err(|error| error.to_string())?;
        let watched = registry.reactor.watch(stream.stream(), key, Interests::Both);
        let _ = watched.map_err(|error| format!("docker: {error}"))?;
        call(&mut stream, &request, ResponseMode::Whole, now)?;
        Ok(ExecTerminal {
            stream,
            uid: plan.uid,
            attach: Some(attach),
            stage: Stage::Opening,
            container_pty: None,
        })
    }

    /// One of the two has something. The other finds nothing, and that is all.
    pub(super) fn ready(&mut self, now: Mono, ready: Ready) {
        self.stream.ready(now, ready);
        if let Some(container_pty) = &mut self.container_pty {
            container_pty.ready(now, ready);
        }
    }

    pub(super) fn receive(&mut self, context: &mut TerminalContext<'_>, now: Mono) -> Turn {
        self.stream.receive(now, TERMINAL_TURN_BYTES);
        let turn = self.step(context, now);
        if let Some(container_pty) = &mut self.container_pty {
            container_pty.receive(now, TERMINAL_TURN_BYTES);
            self.drop_stream();
        }
        turn.unwrap_or_else(|error| Turn::Failed(error.to_string()))
    }

    pub(super) fn flush(&mut self, now: Mono) -> Next {
        let container_pty = self
            .container_pty
            .as_mut()
            .map(|container_pty| container_pty.send(now, TERMINAL_TURN_BYTES));
        match (self.stream.send(now, TERMINAL_TURN_BYTES), container_pty) {
            (Next::Again, _) | (_, Some(Next::Again)) => Next::Again,
            (next, None) => next,
            (_, Some(_)) => Next::Wait,
        }
    }

    pub(super) fn received(&self) -> &[u8] {
        match (&self.container_pty, self.stage) {
            (Some(container_pty), _) => container_pty.endpoint().received(),
            (None, _) if self.is_opening() => &[],
            (None, _) => self.stream.endpoint().received(),
        }
    }

    pub(super) fn consume(&mut self, len: usize) {
        match &mut self.container_pty {
            Some(container_pty) => container_pty.endpoint_mut().consume(len),
            None => self.stream.endpoint_mut().consume(len),
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> usize {
        match &mut self.container_pty {
            Some(container_pty) => container_pty.endpoint_mut().send(bytes),
            None => self.stream.endpoint_mut().send(bytes),
        }
    }

    pub(super) fn send_space(&self) -> usize {
        match &self.container_pty {
            Some(container_pty) => container_pty.endpoint().send_space(),
            None => self.stream.endpoint().send_space(),
        }
    }

    /// The exit status, once the client has ended. To be asked when all that it showed was taken.
    pub(super) fn ended(&mut self, context: &mut TerminalContext<'_>, now: Mono) -> Option<u32> {
        let is_silent = self
            .container_pty
            .as_ref()
            .is_none_or(|container_pty| container_pty.endpoint().has_ended());
        match self.stage {
            Stage::Open if is_silent && self.stream.endpoint().has_ended() => {
                let request = self.attach.as_ref().and_then(Attach::ended)?;
                self.stage = Stage::Ending;
                ask(context, now, request);
                None
            }
            Stage::Exited(status) => Some(status),
            _ => None,
        }
    }

    /// The Engine's answer to what was asked.
    pub(super) fn answered(&mut self, now: Mono, reply: Reply) {
        match self.stage {
            Stage::Asked(until) => {
                self.stage = match exec_process(reply) {
                    ExecProcess::Pid(pid) => Stage::Found(Some(pid)),
                    ExecProcess::Starting if now < until => {
                        Stage::AskAgain(now + DOCKER_PROCESS_ASKS_AFTER, until)
                    }
                    ExecProcess::Starting | ExecProcess::Gone => Stage::Found(None),
                };
            }
            Stage::Ending => {
                // Without an answer nobody knows how it ended, and that is no success.
                let code = exit_status(reply).map_or(1, |code| code.unwrap_or(0));
                self.stage = Stage::Exited(u32::try_from(code).unwrap_or(1));
            }
            _ => {}
        }
    }

    /// Makes the client end, from whatever stage. Says whether it has.
    pub(super) fn hang_up(&mut self, context: &mut TerminalContext<'_>, now: Mono) -> bool {
        self.stream.receive(now, TERMINAL_TURN_BYTES);
        if self.step(context, now).is_err() || self.stream.endpoint().has_ended() {
            // Its tty may be another client's by now, which is not to be detached.
            return true;
        }
        if self.container_pty.take().is_some() {
            // Closing the master is the hang-up.
            self.stage = Stage::Detaching;
        }
        let Some(docker) = context.docker.as_deref_mut() else { return true };
        let named = self.attach.as_ref().filter(|_| self.stage != Stage::Detaching);
        let user = docker.host().user(self.uid);
        let detach = named.and_then(|attach| attach.detach(&user));
        if let Some((procedure, request)) = detach {
            docker.call_aside(context.registry, now, request, Some(procedure));
            self.stage = Stage::Detaching;
        }
        if self.stage == Stage::Detaching {
            // Read on: a client that cannot write cannot leave.
            self.drop_stream();
        }
        self.stream.endpoint().has_ended()
    }

    pub(super) fn resize(
        &mut self,
        context: &mut TerminalContext<'_>,
        now: Mono,
        size: TerminalSize,
    ) {
        if let Some(container_pty) = &self.container_pty {
            // It cannot fail on a terminal that is open, and one that is not needs no size.
            let _ = pty::resize(container_pty.stream(), cells(size));
            return;
        }
        let request = self.attach.as_mut().and_then(|attach| attach.resize(size));
        if let (Some(docker), Some(request)) = (context.docker.as_deref_mut(), request) {
            docker.call_aside(context.registry, now, request, None);
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let container_pty = self.container_pty.as_ref().and_then(Link::deadline);
        let ask = match self.stage {
            Stage::AskAgain(at, _) => Some(at),
            _ => None,
        };
        self.stream.deadline().into_iter().chain(container_pty).chain(ask).min()
    }

    pub(super) fn tick(&mut self, now: Mono) {
        self.stream.tick(now);
        if let Some(container_pty) = &mut self.container_pty {
            container_pty.tick(now);
        }
    }

    // --- the steps before it is open ---

    /// Goes on as far as the stream has got.
    fn step(&mut self, context: &mut TerminalContext<'_>, now: Mono) -> Result<Turn, WorkError> {
        let mut turn = Turn::Quiet;
        while let Some(event) = self.stream.endpoint_mut().poll_event() {
            match event {
                DockerConnEvent::Response(response) => {
                    let state = self.attach.take().expect("a step leaves a state behind");
                    let (next, request) = state.prepared(Ok(response))?;
                    self.attach = Some(next);
                    call(&mut self.stream, &request, ResponseMode::TakeOver, now)
                        .map_err(WorkError::Docker)?;
                }
                DockerConnEvent::Closed(error) if self.is_opening() => {
                    return Err(error.unwrap_or(DockerError::Closed).into());
                }
                DockerConnEvent::Readable | DockerConnEvent::End
                    if self.stage == Stage::Opening =>
                {
                    turn = self.name(context, now)?;
                }
                _ => {}
            }
        }
        match self.stage {
            Stage::AskAgain(at, until) if at <= now => {
                // Of a process that runs it asks the same as of one that has ended.
                let request = self.attach.as_ref().and_then(Attach::ended);
                self.stage = Stage::Asked(until);
                request.into_iter().for_each(|request| ask(context, now, request));
            }
            Stage::Found(pid) => {
                self.open_container_pty(context, now, pid);
                turn = Turn::Opened;
            }
            _ => {}
        }
        Ok(turn)
    }

    fn is_opening(&self) -> bool {
        use Stage::{AskAgain, Asked, Found, Opening};
        matches!(self.stage, Opening | Asked(_) | AskAgain(..) | Found(_))
    }

    /// Reads the line that names the tty.
    fn name(&mut self, context: &mut TerminalContext<'_>, now: Mono) -> Result<Turn, WorkError> {
        let bytes = self.stream.endpoint().received();
        let (len, state) = (bytes.len(), self.attach.take().expect("a step leaves a state behind"));
        let (next, read) = state.read(bytes)?;
        self.attach = Some(next);
        match read {
            TtyLine::Incomplete => {
                self.stream.endpoint_mut().consume(len);
                Ok(Turn::Quiet)
            }
            TtyLine::Complete(taken, resize) => {
                self.stream.endpoint_mut().consume(taken);
                self.open_now(context, now, resize);
                Ok(Turn::Opened)
            }
            TtyLine::WantsPty(taken, request) => {
                self.stream.endpoint_mut().consume(taken);
                self.stage = Stage::Asked(now + DOCKER_PROCESS_ASKS_FOR);
                ask(context, now, request);
                Ok(Turn::Quiet)
            }
        }
    }

    /// Opens a pty in the namespaces of process `pid`, or lets the stream be the terminal.
    fn open_container_pty(
        &mut self,
        context: &mut TerminalContext<'_>,
        now: Mono,
        pid: Option<u32>,
    ) {
        let state = self.attach.take().expect("a step leaves a state behind");
        let opened = pid.zip(state.wanted()).and_then(|(pid, size)| {
            let (master, name) = pty::open_inside(pid, cells(size), self.uid).ok()?;
            let watched = context.registry.reactor.watch(&master, context.key, Interests::Both);
            watched.is_ok().then_some((master, name))
        });
        let (master, name) = opened.unzip();
        let pipe = |master| Link::open(master, Pipe::new(TERMINAL_WINDOW_BYTES), LINK_LINGER);
        self.container_pty = master.map(pipe);
        let (next, line, resize) = state.use_pty(name);
        self.attach = Some(next);
        let sent = self.stream.endpoint_mut().send(line.as_bytes());
        debug_assert_eq!(sent, line.len(), "nothing was sent before");
        self.open_now(context, now, resize);
    }

    fn open_now(
        &mut self,
        context: &mut TerminalContext<'_>,
        now: Mono,
        resize: Option<DockerRequest>,
    ) {
        if let (Some(docker), Some(request)) = (context.docker.as_deref_mut(), resize) {
            docker.call_aside(context.registry, now, request, None);
        }
        self.stage = Stage::Open;
    }

    /// What comes on the stream is of no use to anybody.
    fn drop_stream(&mut self) {
        let len = self.stream.endpoint().received().len();
        self.stream.endpoint_mut().consume(len);
    }
}

/// Makes a call whose answer comes to [`ExecTerminal::answered`].
fn ask(context: &mut TerminalContext<'_>, now: Mono, request: DockerRequest) {
    if let Some(docker) = context.docker.as_deref_mut() {
        docker.call_for_terminal(context.registry, now, context.key, request);
    }
}

fn call(
    stream: &mut Link<DockerConn>,
    request: &DockerRequest,
    answer: ResponseMode,
    now: Mono,
) -> Result<(), String> {
    let busy = |_| "docker: connection is busy".to_owned();
    stream.endpoint_mut().call(request, answer, now).map_err(busy)?;
    // A connection that breaks in this write is found by the event that follows.
    let _ = stream.send(now, TERMINAL_TURN_BYTES);
    Ok(())
}
