//! What runs sessions: tmux on this machine, or the Docker Engine. One face for both.

use super::engine::Engine;
use super::registry::Registry;
use super::tmux::TmuxRuntime;
use crate::agent::action::WorkId;
use crate::agent::docker::Reply;
use crate::agent::work::{Outcome, RuntimeEvent, RuntimeWork};
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::io::reactor::Ready;

/// What a runtime has to tell.
#[derive(Debug)]
pub(super) enum Told {
    /// The core: a piece of work is done.
    Outcome(WorkId, Outcome),
    /// The core: something happened without being asked for.
    News(RuntimeEvent),
    /// A terminal: the answer to a call that was made for it.
    Answer(Key, Reply),
}

/// The runtime of this agent.
#[derive(Debug)]
pub(super) enum Runtime {
    /// tmux, without containers.
    Host(TmuxRuntime),
    Docker(Box<Engine>),
}

impl Runtime {
    pub(super) fn run(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        id: WorkId,
        work: RuntimeWork,
    ) {
        match self {
            Runtime::Host(tmux) => tmux.run(registry, id, work),
            Runtime::Docker(engine) => engine.run(registry, now, id, work),
        }
    }

    /// Something happened under one of the runtime's keys, or it asked for another turn. Says
    /// whether it asks for one (again).
    pub(super) fn ready(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        key: Key,
        ready: Option<Ready>,
    ) -> bool {
        match self {
            Runtime::Host(tmux) => {
                tmux.ready(registry, now, key);
                false
            }
            Runtime::Docker(engine) => engine.ready(registry, now, key, ready),
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        match self {
            Runtime::Host(tmux) => tmux.deadline(),
            Runtime::Docker(engine) => engine.deadline(),
        }
    }

    pub(super) fn tick(&mut self, registry: &mut Registry, now: Mono) {
        match self {
            Runtime::Host(tmux) => tmux.tick(registry, now),
            Runtime::Docker(engine) => engine.tick(registry, now),
        }
    }

    pub(super) fn next_told(&mut self) -> Option<Told> {
        match self {
            Runtime::Host(tmux) => tmux.next_told(),
            Runtime::Docker(engine) => engine.next_told(),
        }
    }
}
