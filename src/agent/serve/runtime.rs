//! What runs sessions: tmux on this machine, or the Docker Engine.

use super::engine::DockerRuntime;
use super::registry::Registry;
use super::runtime_report::RuntimeReport;
use super::tmux::TmuxRuntime;
use crate::agent::action::WorkId;
use crate::agent::work::RuntimeWork;
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::io::reactor::Ready;

/// The runtime of this agent.
#[derive(Debug)]
pub(super) enum Runtime {
    /// tmux, without containers.
    Host(TmuxRuntime),
    Docker(Box<DockerRuntime>),
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
            Runtime::Host(tmux) => tmux.run(registry, now, id, work),
            Runtime::Docker(docker) => docker.run(registry, now, id, work),
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
            Runtime::Docker(docker) => docker.ready(registry, now, key, ready),
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        match self {
            Runtime::Host(tmux) => tmux.deadline(),
            Runtime::Docker(docker) => docker.deadline(),
        }
    }

    pub(super) fn tick(&mut self, registry: &mut Registry, now: Mono) {
        match self {
            Runtime::Host(tmux) => tmux.tick(registry, now),
            Runtime::Docker(docker) => docker.tick(registry, now),
        }
    }

    /// The Engine, where it runs the sessions.
    pub(super) fn docker(&mut self) -> Option<&mut DockerRuntime> {
        match self {
            Runtime::Docker(docker) => Some(docker),
            Runtime::Host(_) => None,
        }
    }

    pub(super) fn next_event(&mut self) -> Option<RuntimeReport> {
        match self {
            Runtime::Host(tmux) => tmux.next_event(),
            Runtime::Docker(docker) => docker.next_event(),
        }
    }
}
