//! What agents were asked and have not answered yet.

use super::messages::ScreenRequestId;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::fleet::registry::AgentId;
use crate::rpc::call::Call;

/// A session that something is done to. It is taken once, when a dialog opens or a key is pressed,
/// and never looked up again: the list may move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub agent: AgentId,
    /// That agent's host, as people know it.
    pub(crate) host: String,
    pub(crate) id: Uuid,
    pub name: String,
    /// Whether it has a name of its own.
    pub(crate) has_name: bool,
}

impl Target {
    /// What proves that it is meant: its name, or the start of its id if it has none.
    pub(crate) fn proof(&self) -> String {
        if self.has_name { self.name.clone() } else { self.id.short() }
    }
}

/// An operation under way.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// The agent that does it.
    pub(crate) agent: AgentId,
    /// The session that it is done to; `None` for one that is not there yet.
    pub(crate) id: Option<Uuid>,
    /// The session, for a sentence: `"web" on host-1`.
    pub(crate) subject: String,
    /// The op's name on the wire.
    pub(crate) op: &'static str,
    pub(crate) since: Mono,
}

/// A question under way.
#[derive(Clone, Debug)]
pub(crate) enum ScreenRequest {
    /// For an agent's list.
    List(AgentId),
    /// Who it is.
    Ping(AgentId),
    /// For a session as it is now.
    Get(AgentId),
    /// To do something.
    Do(Task),
}

/// All that is under way.
#[derive(Debug, Default)]
pub(crate) struct OpenRequests {
    next: u64,
    open: SortedMap<ScreenRequestId, ScreenRequest>,
}

/// Words for an op: the doing, and the done.
const WORDS: &[(&str, &str, &str)] = &[
    ("background", "detaching", "detached every terminal of"),
    ("clone", "cloning", "cloned"),
    ("create", "creating", "created"),
    ("delete", "deleting", "deleted"),
    ("edit", "changing", "changed"),
    ("kill", "killing", "stopped"),
    ("override", "unlocking", "cleared the lock of"),
    ("restart", "starting", "started"),
];

impl Task {
    /// What is done to this session by this call.
    pub(crate) fn new(target: &Target, call: &Call, now: Mono) -> Task {
        let subject = format!("{:?} on {}", target.name, target.host);
        Task {
            agent: target.agent.clone(),
            id: Some(target.id),
            subject,
            op: call.op(),
            since: now,
        }
    }

    /// `deleting`.
    pub(crate) fn doing(&self) -> &'static str {
        self.words().0
    }

    /// `deleted`.
    pub(crate) fn done(&self) -> &'static str {
        self.words().1
    }

    fn words(&self) -> (&'static str, &'static str) {
        let found = WORDS.iter().find(|(op, ..)| *op == self.op);
        found.map_or((self.op, self.op), |(_, doing, done)| (doing, done))
    }
}

impl OpenRequests {
    /// Takes note of a request and names it.
    pub(crate) fn open(&mut self, request: ScreenRequest) -> ScreenRequestId {
        self.next += 1;
        let id = ScreenRequestId(self.next);
        self.open.insert(id, request);
        id
    }

    /// It has its answer.
    pub(crate) fn close(&mut self, id: ScreenRequestId) -> Option<ScreenRequest> {
        self.open.remove(&id)
    }

    /// The operations, the oldest first.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.open.values().filter_map(|request| match request {
            ScreenRequest::Do(task) => Some(task),
            ScreenRequest::List(_) | ScreenRequest::Ping(_) | ScreenRequest::Get(_) => None,
        })
    }

    /// The newest operation on a session.
    pub(crate) fn task_on(&self, agent: &AgentId, id: Uuid) -> Option<&Task> {
        self.tasks().filter(|task| task.id == Some(id) && task.agent == *agent).last()
    }
}
