//! The agent's terminals: which channel each one belongs to, and the bytes between the two.
//!
//! ```text
//! Requested (the core decides) -> Opening -> Open -> gone
//!                                   \--------\--> Leaving (nobody looks; the client is to end)
//! ```
//!
//! Bytes stay where they are until the other side has room for them, so a slow peer or a slow
//! session holds nothing but its own window.

use std::collections::BTreeSet;

use super::peers::Peers;
use super::registry::{Owner, Registry};
use super::runtime::Runtime;
use super::terminal_backend::TerminalBackend;
use super::terminal_context::{TerminalContext, Turn};
use crate::agent::action::{TerminalId, TerminalPlan};
use crate::agent::core::Agent;
use crate::agent::docker::Reply;
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::{Mono, Now};
use crate::io::link::Next;
use crate::io::reactor::Ready;
use crate::limits::CLIENT_HANG_UP_GRACE;
use crate::rpc::attach::{AttachHeader, TerminalSize};
use crate::ssh::ChannelId;

/// All terminals, by the key that their descriptors are watched under.
#[derive(Debug, Default)]
pub(super) struct Terminals {
    terminals: SortedMap<Key, Terminal>,
    by_channel: SortedMap<(Key, ChannelId), Key>,
    /// Those that have something to do in this turn.
    touched: BTreeSet<Key>,
}

#[derive(Debug)]
struct Terminal {
    peer: Key,
    channel: ChannelId,
    size: TerminalSize,
    state: TerminalState,
}

#[derive(Debug)]
enum TerminalState {
    Requested,
    Opening(TerminalBackend),
    Open(TerminalBackend),
    Leaving(TerminalBackend, Mono),
}

/// What a terminal's turn needs of the rest of the server.
pub(super) struct Context<'a> {
    pub(super) registry: &'a mut Registry,
    pub(super) runtime: &'a mut Runtime,
    pub(super) peers: &'a mut Peers,
    pub(super) agent: &'a mut Agent,
}

impl Context<'_> {
    /// What the terminal under `key` may need.
    fn context(&mut self, key: Key) -> TerminalContext<'_> {
        TerminalContext { registry: self.registry, docker: self.runtime.docker(), key }
    }
}

impl Terminals {
    /// A channel asks for a terminal: the core decides.
    pub(super) fn requested(
        &mut self,
        context: &mut Context<'_>,
        now: Now,
        peer: Key,
        channel: ChannelId,
        header: AttachHeader,
    ) {
        let Ok(key) = context.registry.reserve(Owner::Terminal) else {
            context.peers.refuse_terminal(peer, channel, "too many terminals".to_owned());
            return;
        };
        let terminal =
            Terminal { peer, channel, size: header.size(), state: TerminalState::Requested };
        self.terminals.insert(key, terminal);
        self.by_channel.insert((peer, channel), key);
        context.agent.attach(now, id(key), header);
    }

    /// The core wants it opened.
    pub(super) fn open(
        &mut self,
        context: &mut Context<'_>,
        now: Now,
        id: TerminalId,
        plan: &TerminalPlan,
    ) {
        let key = Key::from_bits(id.0);
        let Some(terminal) = self.terminals.get_mut(&key) else {
            context.agent.terminal_closed(now, id);
            return;
        };
        let size = terminal.size;
        let backend = match context.runtime {
            Runtime::Host(tmux) => {
                TerminalBackend::on_pty(context.registry, key, &tmux.client(plan), size)
            }
            Runtime::Docker(docker) => {
                TerminalBackend::in_container(context.registry, docker, key, now.mono, plan, size)
            }
        };
        match backend {
            Ok(backend @ TerminalBackend::Pty(..)) => {
                terminal.state = TerminalState::Open(backend);
                self.opened(context, now, key);
            }
            Ok(backend) => terminal.state = TerminalState::Opening(backend),
            Err(text) => context.agent.terminal_failed(now, id, text),
        }
        self.touched.insert(key);
    }

    /// The core refuses it.
    pub(super) fn refuse(&mut self, context: &mut Context<'_>, id: TerminalId, text: String) {
        let key = Key::from_bits(id.0);
        if let Some(terminal) = self.terminals.get(&key) {
            context.peers.refuse_terminal(terminal.peer, terminal.channel, text);
        }
        self.remove(context.registry, key);
    }

    /// What is behind them has ended or was detached, so their clients end by themselves.
    pub(super) fn close(&mut self, ids: &[TerminalId]) {
        self.touched.extend(ids.iter().map(|id| Key::from_bits(id.0)));
    }

    /// The channel is gone: nobody looks any more.
    pub(super) fn hang_up(
        &mut self,
        context: &mut Context<'_>,
        now: Now,
        peer: Key,
        channel: ChannelId,
    ) {
        let Some(key) = self.by_channel.remove(&(peer, channel)) else { return };
        context.agent.terminal_closed(now, id(key));
        let Some(terminal) = self.terminals.remove(&key) else { return };
        let until = now.mono + CLIENT_HANG_UP_GRACE;
        match terminal.state {
            TerminalState::Requested => context.registry.release(key),
            TerminalState::Opening(backend)
            | TerminalState::Open(backend)
            | TerminalState::Leaving(backend, _) => {
                let state = TerminalState::Leaving(backend, until);
                self.terminals.insert(key, Terminal { state, ..terminal });
                self.leave(context, now, key);
            }
        }
    }

    /// A connection is gone with all of its channels.
    pub(super) fn hang_up_peer(&mut self, context: &mut Context<'_>, now: Now, peer: Key) {
        let channels: Vec<ChannelId> = self
            .by_channel
            .keys()
            .filter(|(owner, _)| *owner == peer)
            .map(|(_, channel)| *channel)
            .collect();
        for channel in channels {
            self.hang_up(context, now, peer, channel);
        }
    }

    /// The peer's terminal has another size.
    pub(super) fn resize(
        &mut self,
        context: &mut Context<'_>,
        now: Mono,
        peer: Key,
        channel: ChannelId,
        size: TerminalSize,
    ) {
        let Some(&key) = self.by_channel.get(&(peer, channel)) else { return };
        let Some(terminal) = self.terminals.get_mut(&key) else { return };
        terminal.size = size;
        if let TerminalState::Opening(backend) | TerminalState::Open(backend) = &mut terminal.state
        {
            backend.resize(&mut context.context(key), now, size);
        }
    }

    /// The peer has typed, or has room again.
    pub(super) fn touch(&mut self, peer: Key, channel: ChannelId) {
        self.touched.extend(self.by_channel.get(&(peer, channel)));
    }

    /// Something happened with a terminal's stream or process.
    pub(super) fn ready(&mut self, now: Mono, key: Key, ready: Ready) {
        if let Some(backend) = self.terminals.get_mut(&key).and_then(Terminal::backend) {
            backend.ready(now, ready);
            self.touched.insert(key);
        }
    }

    /// The Engine's answer to a call that was made for a terminal.
    pub(super) fn answered(&mut self, now: Mono, key: Key, reply: Reply) {
        if let Some(backend) = self.terminals.get_mut(&key).and_then(Terminal::backend) {
            backend.answered(now, reply);
            self.touched.insert(key);
        }
    }

    /// Moves bytes for all that were touched. Says whether there is more to do at once.
    pub(super) fn turn(&mut self, context: &mut Context<'_>, now: Now) -> bool {
        for key in std::mem::take(&mut self.touched) {
            match self.terminals.get(&key).map(|terminal| &terminal.state) {
                Some(TerminalState::Opening(_)) => self.turn_opening(context, now, key),
                Some(TerminalState::Open(_)) => self.turn_open(context, now, key),
                Some(TerminalState::Leaving(..)) => self.leave(context, now, key),
                Some(TerminalState::Requested) | None => {}
            }
        }
        !self.touched.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let deadline = |terminal: &Terminal| match &terminal.state {
            TerminalState::Requested => None,
            TerminalState::Opening(backend) | TerminalState::Open(backend) => backend.deadline(),
            TerminalState::Leaving(backend, until) => {
                backend.deadline().into_iter().chain([*until]).min()
            }
        };
        self.terminals.values().filter_map(deadline).min()
    }

    pub(super) fn tick(&mut self, registry: &mut Registry, now: Mono) {
        let mut late = Vec::new();
        for (key, terminal) in &mut self.terminals {
            if let Some(backend) = terminal.backend()
                && backend.deadline().is_some_and(|at| at <= now)
            {
                backend.tick(now);
                self.touched.insert(*key);
            }
            if let TerminalState::Leaving(backend, until) = &mut terminal.state
                && *until <= now
            {
                *until = now + CLIENT_HANG_UP_GRACE;
                if backend.kill() {
                    late.push(*key);
                }
            }
        }
        late.into_iter().for_each(|key| self.remove(registry, key));
    }

    fn opened(&mut self, context: &mut Context<'_>, now: Now, key: Key) {
        if let Some(terminal) = self.terminals.get(&key) {
            context.peers.open_terminal(terminal.peer, terminal.channel);
            context.agent.terminal_opened(now, id(key));
        }
    }

    fn turn_opening(&mut self, context: &mut Context<'_>, now: Now, key: Key) {
        let Some(terminal) = self.terminals.get_mut(&key) else { return };
        let TerminalState::Opening(backend) = &mut terminal.state else { return };
        match backend.receive(&mut context.context(key), now.mono) {
            Turn::Quiet => {
                if backend.flush(now.mono) == Next::Again {
                    self.touched.insert(key);
                }
            }
            Turn::Opened => {
                terminal.open();
                self.opened(context, now, key);
                self.touched.insert(key);
            }
            Turn::Failed(text) => context.agent.terminal_failed(now, id(key), text),
        }
    }

    fn turn_open(&mut self, context: &mut Context<'_>, now: Now, key: Key) {
        let Some(terminal) = self.terminals.get_mut(&key) else { return };
        let (peer, channel) = (terminal.peer, terminal.channel);
        let TerminalState::Open(backend) = &mut terminal.state else { return };
        let typed = context.peers.terminal_input(peer, channel);
        let taken = backend.send(typed);
        context.peers.terminal_consumed(peer, channel, taken);
        // What it shows: the rest of the last turn, then what has come since.
        show(backend, context.peers, peer, channel);
        backend.receive(&mut context.context(key), now.mono);
        show(backend, context.peers, peer, channel);
        let next = backend.flush(now.mono);
        // Keys that wait while there is room again get no event of their own.
        let more_typed = !context.peers.terminal_input(peer, channel).is_empty();
        if next == Next::Again || more_typed && backend.send_space() > 0 {
            self.touched.insert(key);
        }
        if let Some(status) = backend.ended(&mut context.context(key), now.mono) {
            context.peers.end_terminal(peer, channel, status);
            context.agent.terminal_closed(now, id(key));
            self.by_channel.remove(&(peer, channel));
            self.remove(context.registry, key);
        }
    }

    /// Ends a client that nobody looks at.
    fn leave(&mut self, context: &mut Context<'_>, now: Now, key: Key) {
        let Some(terminal) = self.terminals.get_mut(&key) else { return };
        let TerminalState::Leaving(backend, _) = &mut terminal.state else { return };
        if backend.hang_up(&mut context.context(key), now.mono) {
            self.remove(context.registry, key);
        } else if backend.flush(now.mono) == Next::Again {
            self.touched.insert(key);
        }
    }

    fn remove(&mut self, registry: &mut Registry, key: Key) {
        if let Some(terminal) = self.terminals.remove(&key) {
            self.by_channel.remove(&(terminal.peer, terminal.channel));
            registry.release(key);
        }
    }
}

impl Terminal {
    fn backend(&mut self) -> Option<&mut TerminalBackend> {
        match &mut self.state {
            TerminalState::Requested => None,
            TerminalState::Opening(backend)
            | TerminalState::Open(backend)
            | TerminalState::Leaving(backend, _) => Some(backend),
        }
    }

    fn open(&mut self) {
        self.state = match std::mem::replace(&mut self.state, TerminalState::Requested) {
            TerminalState::Opening(backend) => TerminalState::Open(backend),
            other => other,
        };
    }
}

fn show(backend: &mut TerminalBackend, peers: &mut Peers, peer: Key, channel: ChannelId) {
    let taken = peers.terminal_output(peer, channel, backend.received());
    backend.consume(taken);
}

const fn id(key: Key) -> TerminalId {
    TerminalId(key.to_bits())
}
