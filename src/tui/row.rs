//! Lines of the sessions' page.

use super::cluster::Agent;
use super::ops::Task;
use crate::base::time::Wall;
use crate::base::uuid::Uuid;
use crate::fleet::listing::SessionState;
use crate::fleet::registry::AgentId;
use crate::rpc::session::Session;

/// Which session: an id is unique on an agent only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey {
    /// Whose it is; `None` for a directory on this host that no agent owns.
    pub(crate) agent: Option<AgentId>,
    pub id: Uuid,
}

/// A line of the sessions' page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableLine {
    /// The sessions of an agent follow.
    Group {
        /// The agent; `None` for this host.
        agent: Option<AgentId>,
        /// How many are shown.
        count: usize,
    },
    Session(SessionKey),
}

/// A session as the table shows it.
#[derive(Clone, Debug)]
pub struct SessionRow<'a> {
    pub(crate) key: SessionKey,
    pub(crate) agent: Option<&'a Agent>,
    /// What is known of it; `None` for a directory without readable metadata.
    pub(crate) session: Option<&'a Session>,
    pub(crate) state: SessionState,
    /// When it was last accessed.
    pub(crate) last_accessed: Wall,
    /// What is being done to it.
    pub(crate) task: Option<&'a Task>,
}

impl SessionRow<'_> {
    pub fn name(&self) -> &str {
        match self.session {
            Some(session) if !session.name.is_empty() => &session.name,
            _ => "(no name)",
        }
    }

    pub(crate) fn host(&self) -> &str {
        self.agent.map_or("this host", Agent::host)
    }

    /// When its agent was last heard of, if that is why its state is not known.
    pub(crate) fn last_news(&self) -> Option<Wall> {
        match self.state {
            SessionState::Unknown => self.agent.and_then(|agent| agent.last_news),
            _ => None,
        }
    }

    pub(crate) fn runs(&self) -> bool {
        matches!(self.state, SessionState::Running | SessionState::Attached)
    }
}
