//! The repositories of sessions: when one is looked at, and what is told of it.

use serde_json::json;

use super::AgentState;
use crate::agent::action::WorkId;
use crate::agent::repository::plan;
use crate::agent::session::{RunState, Session};
use crate::agent::work::{Exited, RuntimeWork, Work};
use crate::base::time::{Mono, Now};
use crate::base::uuid::Uuid;
use crate::rpc::event::EventType;

impl AgentState {
    /// A session has started, perhaps one that clones.
    pub(super) fn started_with_repository(&mut self, now: Mono, id: Uuid) {
        self.with_repository(id).into_iter().for_each(|it| it.repository.started(now));
    }

    /// Something has happened in a session: its repository may be in another state by now.
    pub(in crate::agent) fn stir_repository(&mut self, now: Mono, id: Uuid) {
        self.with_repository(id).into_iter().for_each(|it| it.repository.stir(now));
    }

    /// The session, if it runs and was made with a repository.
    fn with_repository(&mut self, id: Uuid) -> Option<&mut Session> {
        let session = self.sessions.get_mut(&id)?;
        let has_one = session.record().is_ok_and(|record| record.startup.repo.is_some());
        (has_one && session.is_running()).then_some(session)
    }

    /// When the first look is due.
    pub(in crate::agent) fn repository_due(&self) -> Option<(Mono, Uuid)> {
        let dues = self.sessions.values().filter_map(|it| Some((it.repository.due()?, it.id)));
        dues.min()
    }

    /// Has git asked in a session, if that is still what it was.
    pub(in crate::agent) fn look_at_repository(&mut self, now: Mono, id: Uuid) -> Option<WorkId> {
        let session = self.sessions.get_mut(&id)?;
        let record = session.record().ok();
        let repo = record.and_then(|record| record.startup.repo.clone());
        let (Some(repo), RunState::Running { running, .. }) = (repo, &session.run_state) else {
            session.repository.ended();
            return None;
        };
        let plan = plan(id, running.uid, repo.directory());
        session.repository.begin(now);
        Some(self.actions.run(Work::Runtime(RuntimeWork::Exec(Box::new(plan)))))
    }

    /// Takes what git has said.
    pub(in crate::agent) fn saw_repository(&mut self, now: Now, id: Uuid, exited: Option<&Exited>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.repository.saw(now, exited) {
            let data = json!(session.repository.told());
            self.emit(now, EventType::Repository, id, data);
        }
    }
}
