//! What is known of agents and sessions, from whichever source told it last.
//!
//! With a hub its stream is the truth for the agents that it knows. Agents that it does not know,
//! and all of them where there is no hub, are asked for their lists again and again
//! ([`Cluster::due`]), the silent ones more and more rarely. What cannot be had now is never
//! guessed: its state is [`SessionState::Unknown`], with the age of the news.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::messages::{Enrolled, HostFiles};
use crate::base::sorted_map::SortedMap;
use crate::base::time::{Mono, Now, Wall};
use crate::base::uuid::Uuid;
use crate::fleet::listing::{LocalHome, SessionState};
use crate::fleet::profiles::Profile;
use crate::fleet::registry::AgentId;
use crate::limits::{ORPHAN_AGE_MIN, SCREEN_ASK_INTERVAL, SCREEN_ASK_INTERVAL_MAX, SESSIONS_MAX};
use crate::rpc::capacity::Capacity;
use crate::rpc::event::EventType;
use crate::rpc::session::{Pong, Session};
use crate::status::known::{Sessions, apply_to_sessions};
use crate::status::line::{
    EventLine, HUB_CONNECTED, HUB_FORGOTTEN, HUB_LOST, HUB_SILENT, Kind, StartedData,
};
use crate::status::snapshot::AgentSnapshot;

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// By id. An orphan's directory belongs to none.
    pub(crate) agents: SortedMap<String, Agent>,
    /// Session directories on this host that no agent owns, as far as is known.
    pub(crate) homes: Vec<LocalHome>,
    /// The profiles of this host.
    pub(crate) profiles: Vec<Profile>,
    /// What is wrong with entries of the registry.
    pub(crate) problems: Vec<String>,
    /// Where news come from.
    pub(crate) hub: Hub,
}

/// The hub of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hub {
    /// Not looked for yet.
    #[default]
    Unknown,
    /// It is there; its snapshot has not come yet.
    Found,
    /// Its stream is the truth.
    Live,
    /// It is not there: why.
    Absent(String),
}

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    /// What the registry says; `None` for one that only the hub knows.
    pub(crate) enrolled: Option<Enrolled>,
    /// Whether it can be reached.
    pub(crate) reach: Reach,
    /// Whether the hub tells of it.
    pub(crate) is_in_hub: bool,
    /// Its version; empty if it has not told.
    pub(crate) version: String,
    /// What runs its sessions; empty if it has not told.
    pub(crate) runtime: String,
    /// The image of its new sessions; empty if it has not told.
    pub(crate) image: String,
    /// When it was last heard of.
    pub(crate) last_news: Option<Wall>,
    /// What its last heartbeat said.
    pub(crate) load: Option<Value>,
    pub sessions: Sessions,
    asking: Asking,
}

/// Whether an agent can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing has come yet.
    Awaited,
    /// It has answered, or the hub hears it.
    Here,
    /// It cannot: why.
    Away(String),
}

/// When an agent is asked for its list.
#[derive(Clone, Copy, Debug)]
enum Asking {
    At { when: Mono, wait: Duration },
    UnderWay { since: Mono, wait: Duration },
}

impl Agent {
    /// What room its host has, if it tells.
    pub(crate) fn capacity(&self) -> Option<Capacity> {
        Capacity::deserialize(self.load.as_ref()?.get("capacity")?).ok()
    }

    fn new(id: AgentId) -> Agent {
        Agent {
            id,
            enrolled: None,
            reach: Reach::Awaited,
            is_in_hub: false,
            version: String::new(),
            runtime: String::new(),
            image: String::new(),
            last_news: None,
            load: None,
            sessions: Sessions::new(),
            asking: Asking::At { when: Mono::ZERO, wait: SCREEN_ASK_INTERVAL },
        }
    }

    /// Its host as people know it, or its id.
    pub(crate) fn host(&self) -> &str {
        self.enrolled.as_ref().map_or(self.id.as_str(), |enrolled| &enrolled.host)
    }

    /// The state of one of its sessions.
    pub(crate) fn state_of(&self, session: &Session) -> SessionState {
        match self.reach {
            Reach::Here => SessionState::of(session),
            Reach::Awaited | Reach::Away(_) => SessionState::Unknown,
        }
    }

    /// Since when it has answered nothing, if it was asked and should have.
    pub(crate) fn asked_since(&self) -> Option<Mono> {
        match self.asking {
            Asking::UnderWay { since, .. } => Some(since),
            Asking::At { .. } => None,
        }
    }

    fn heard(&mut self, wall: Wall) {
        self.reach = Reach::Here;
        self.last_news = Some(wall);
    }
}

impl Cluster {
    /// What the files of this host say.
    pub(crate) fn host_files(&mut self, news: HostFiles) {
        for agent in self.agents.values_mut() {
            agent.enrolled = None;
        }
        for enrolled in news.agents {
            let id = enrolled.id.clone();
            let agent = self.agents.or_insert_with(id.as_str().to_owned(), || Agent::new(id));
            agent.enrolled = Some(enrolled);
        }
        self.agents.retain(|_, agent| agent.enrolled.is_some() || agent.is_in_hub);
        (self.homes, self.problems) = (news.homes, news.problems);
        self.profiles = news.profiles;
    }

    /// The hub has come or gone. Without it everybody is asked again, at once.
    pub(crate) fn set_hub(&mut self, hub: Hub) {
        if matches!(hub, Hub::Absent(_)) && self.hub != hub {
            for agent in self.agents.values_mut() {
                agent.is_in_hub = false;
                agent.asking = Asking::At { when: Mono::ZERO, wait: SCREEN_ASK_INTERVAL };
                // Who is not enrolled here cannot be asked.
                if agent.enrolled.is_none() {
                    agent.reach = Reach::Away("only the hub knew it, and that is gone".to_owned());
                }
            }
        }
        self.hub = hub;
    }

    /// The hub has told all that it knows.
    pub(crate) fn snapshot(&mut self, agents: Vec<AgentSnapshot>) {
        self.hub = Hub::Live;
        for agent in self.agents.values_mut() {
            agent.is_in_hub = false;
        }
        for known in agents {
            let Some(agent) = self.agent_or_new(&known.id) else { continue };
            agent.is_in_hub = true;
            agent.last_news = known.last_news();
            let sessions = known.sessions.into_iter().take(SESSIONS_MAX);
            agent.sessions = sessions.map(|session| (session.uuid, session)).collect();
            (agent.version, agent.image) = (known.version, known.image);
            agent.load = known.load;
            agent.reach = match (known.state.as_str(), known.error) {
                ("connected", _) => Reach::Here,
                (_, Some(error)) => Reach::Away(error),
                ("unseen", None) => Reach::Away("not seen since the hub has started".to_owned()),
                ("silent", None) => Reach::Away("connected, but silent".to_owned()),
                (state, None) => Reach::Away(format!("its connection is {state}")),
            };
        }
        self.agents.retain(|_, agent| agent.enrolled.is_some() || agent.is_in_hub);
    }

    /// An event of the hub's stream. Applying one twice changes nothing.
    pub(crate) fn event(&mut self, now: Now, event: &EventLine<'_>) {
        if event.kind == HUB_FORGOTTEN {
            self.agents.remove(event.agent_id);
            return;
        }
        let Some(agent) = self.agent_or_new(event.agent_id) else { return };
        agent.is_in_hub = true;
        match event.kind {
            HUB_CONNECTED => agent.heard(now.wall),
            HUB_SILENT => agent.reach = Reach::Away("connected, but silent".to_owned()),
            HUB_LOST => {
                let error = event.data::<Value>().unwrap_or_default();
                let why = error["error"].as_str().unwrap_or("its connection is gone");
                agent.reach = Reach::Away(why.to_owned());
            }
            _ => {
                agent.last_news = Some(now.wall);
                apply(agent, event);
            }
        }
    }

    /// The agents that are to be asked for their lists now, and whether for a ping, too. Each is
    /// taken as asked.
    pub(crate) fn due(&mut self, now: Mono) -> Vec<(AgentId, bool)> {
        let mut due = Vec::new();
        for agent in self.agents.values_mut() {
            let is_asked = agent.enrolled.is_some() && !agent.is_in_hub;
            if let Asking::At { when, wait } = agent.asking
                && is_asked
                && when <= now
                && !matches!(self.hub, Hub::Unknown | Hub::Found)
            {
                agent.asking = Asking::UnderWay { since: now, wait };
                due.push((agent.id.clone(), agent.runtime.is_empty()));
            }
        }
        due
    }

    /// When [`Cluster::due`] has somebody next.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        if matches!(self.hub, Hub::Unknown | Hub::Found) {
            return None;
        }
        let asked = self.agents.values().filter(|it| it.enrolled.is_some() && !it.is_in_hub);
        let times = asked.filter_map(|agent| match agent.asking {
            Asking::At { when, .. } => Some(when),
            Asking::UnderWay { .. } => None,
        });
        times.min()
    }

    /// An agent that is asked for its list anyway is asked now.
    pub(crate) fn reconnect_now(&mut self, id: &AgentId) {
        if let Some(agent) = self.agents.get_mut(id.as_str())
            && let Asking::At { when, .. } = &mut agent.asking
        {
            *when = Mono::ZERO;
        }
    }

    /// An agent has told its list, or has not.
    pub(crate) fn listed(&mut self, now: Now, id: &AgentId, answer: Result<Value, String>) {
        let Some(agent) = self.agents.get_mut(id.as_str()) else { return };
        let (Asking::At { wait, .. } | Asking::UnderWay { wait, .. }) = agent.asking;
        let items = answer.and_then(|value| match value {
            Value::Array(items) => Ok(items),
            _ => Err("the agent's list is not a list".to_owned()),
        });
        let wait = match (items, agent.is_in_hub) {
            // The hub's stream may be ahead of an answer that was asked for before.
            (_, true) => SCREEN_ASK_INTERVAL,
            (Ok(items), false) => {
                let read = |item| serde_json::from_value::<Session>(item).ok();
                let sessions = items.into_iter().filter_map(read).take(SESSIONS_MAX);
                agent.sessions = sessions.map(|session| (session.uuid, session)).collect();
                agent.heard(now.wall);
                SCREEN_ASK_INTERVAL
            }
            (Err(error), false) => {
                agent.reach = Reach::Away(error);
                (wait * 2).min(SCREEN_ASK_INTERVAL_MAX)
            }
        };
        agent.asking = Asking::At { when: now.mono + wait, wait };
    }

    /// An agent has said who it is.
    pub(crate) fn ponged(&mut self, id: &AgentId, pong: Pong) {
        if let Some(agent) = self.agents.get_mut(id.as_str()) {
            (agent.version, agent.runtime) = (pong.version, pong.runtime);
        }
    }

    /// An agent has answered with a session as it is now.
    pub(crate) fn put(&mut self, id: &AgentId, session: Session) {
        if let Some(agent) = self.agents.get_mut(id.as_str()) {
            agent.sessions.insert(session.uuid, session);
        }
    }

    /// An agent has answered that a session is gone.
    pub(crate) fn remove(&mut self, id: &AgentId, session: Uuid) {
        if let Some(agent) = self.agents.get_mut(id.as_str()) {
            agent.sessions.remove(&session);
        }
    }

    /// How many agents there are, and how many can be reached.
    pub(crate) fn reachable(&self) -> (usize, usize) {
        let here = self.agents.values().filter(|agent| agent.reach == Reach::Here).count();
        (here, self.agents.len())
    }

    /// Forgets the directories of this host that turn out to be an agent's: when such a session
    /// goes later, it leaves no orphan.
    pub(crate) fn forget_owned_homes(&mut self) {
        let agents = &self.agents;
        self.homes.retain(|home| !agents.values().any(|it| it.sessions.contains_key(&home.id)));
    }

    /// Session directories of this host that no agent has told of, and whether that is sure:
    /// while an agent is away they may be its own. One that was just made is about to be told of.
    pub(crate) fn orphans(&self, now: Wall) -> (Vec<&LocalHome>, bool) {
        let is_sure = self.agents.values().all(|agent| agent.reach == Reach::Here);
        let is_old = |home: &&LocalHome| now.since(home.changed) >= ORPHAN_AGE_MIN;
        (self.homes.iter().filter(is_old).collect(), is_sure)
    }

    fn agent_or_new(&mut self, id: &str) -> Option<&mut Agent> {
        let parsed = AgentId::parse(id).ok()?;
        Some(self.agents.or_insert_with(id.to_owned(), || Agent::new(parsed)))
    }
}

/// What an event of an agent changes in what is known of it.
fn apply(agent: &mut Agent, event: &EventLine<'_>) {
    match event.kind() {
        Kind::Event(EventType::AgentStarted) => {
            let started: StartedData<'_> = event.data().unwrap_or_default();
            (agent.version, agent.image) = (started.version.into(), started.image_tag.into());
            agent.reach = Reach::Here;
        }
        Kind::Event(EventType::AgentHeartbeat) => {
            agent.load = event.data::<Value>().filter(|load| !load.is_null());
            agent.reach = Reach::Here;
        }
        Kind::Event(EventType::AgentShutdown) => {
            agent.reach = Reach::Away("it has shut down".to_owned());
        }
        _ => {
            apply_to_sessions(&mut agent.sessions, event);
        }
    }
}
