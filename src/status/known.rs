//! What the hub knows of agents and sessions: 10,000 sessions take some 5 MiB.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::line::{AttachedData, EventLine, Kind, StartedData};
use super::twins::Twins;
use crate::base::time::{Mono, Wall};
use crate::base::uuid::Uuid;
use crate::limits::{AGENT_SESSIONS_BYTES_MAX, SESSIONS_MAX};
use crate::rpc::attention::Attention;
use crate::rpc::event::EventType;
use crate::rpc::network::Publish;
use crate::rpc::repository::Repository;
use crate::rpc::session::{Ended, Sentence, Session};
use crate::rpc::startup::Startup;

/// All agents, by id.
pub(crate) type Agents = BTreeMap<Box<str>, Agent>;
/// The sessions of one agent, at most [`SESSIONS_MAX`].
pub(crate) type Sessions = BTreeMap<Uuid, Session>;

#[derive(Debug, Default)]
pub struct Agent {
    pub(crate) presence: Presence,
    /// When it sent something last, by the hub's calendar.
    pub(crate) last_news: Wall,
    /// The same on the monotonic clock; the hub's start, if it has sent nothing since.
    pub(crate) news_at: Mono,
    /// Empty if it never told.
    pub(crate) version: String,
    /// The image of its new sessions; empty if it never told.
    pub(crate) image: String,
    /// The data of its last heartbeat, as it came.
    pub(crate) load: Option<Box<str>>,
    /// The newest event of it that the hub has.
    pub position: Option<Position>,
    /// The newest event of it that is on disk.
    pub(crate) durable: Option<Position>,
    /// The commit that its newest event goes with.
    pub(crate) batch: u64,
    pub sessions: Sessions,
    /// The number of the event that gave a session the DNS name that it has.
    pub(crate) named: BTreeMap<Uuid, u64>,
    /// Who has spoken for it.
    pub(crate) twins: Twins,
    /// Whether it has been told that there are more sessions than are kept.
    pub(crate) is_full: bool,
}

impl Agent {
    /// Notes which event gave a session the name that it has, or that it has none any more.
    pub(crate) fn note_name(&mut self, uuid: Uuid, seq: u64) {
        match self.sessions.get(&uuid) {
            Some(session) if !session.dns_name.is_empty() => self.named.insert(uuid, seq),
            _ => self.named.remove(&uuid),
        };
    }

    /// Bytes that its sessions, its last heartbeat and its words take.
    pub fn kept_bytes(&self) -> usize {
        let sessions: usize = self.sessions.values().map(session_bytes).sum();
        let words = [&self.version, &self.image].into_iter().map(String::capacity).sum::<usize>();
        let lost = match &self.presence {
            Presence::Lost(why) => why.len(),
            _ => 0,
        };
        let load = self.load.as_ref().map_or(0, |load| load.len());
        let position = |it: &Option<Position>| it.as_ref().map_or(0, |it| it.epoch.len());
        sessions + words + lost + load + position(&self.position) + position(&self.durable)
    }
}

/// Whether an agent is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Not since the hub has started.
    #[default]
    Unseen,
    /// Connected, and it has sent something lately.
    Connected,
    /// Connected, and it has announced its shutdown.
    Leaving,
    /// Connected, but nothing came for [`crate::limits::STATUS_SILENCE`].
    Silent,
    /// Its connection is gone, for this reason.
    Lost(Box<str>),
    /// Its connection is gone after it announced its shutdown.
    Down,
}

impl Presence {
    /// One word for the wire.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Presence::Unseen => "unseen",
            Presence::Connected | Presence::Leaving => "connected",
            Presence::Silent => "silent",
            Presence::Lost(_) => "lost",
            Presence::Down => "down",
        }
    }
}

/// An event's place in its agent's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which spool numbered it.
    pub epoch: Arc<str>,
    pub seq: u64,
}

/// A place in a walk over all agents and their sessions. What comes or goes meanwhile is visited
/// or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor(Option<(Box<str>, Option<Uuid>)>);

/// One step of a walk.
#[derive(Debug)]
pub(crate) enum Visited<'a> {
    /// Its sessions follow.
    Agent(&'a str, &'a Agent),
    /// A session of the last agent, and which event gave it its DNS name; 0 if it has none.
    Session(&'a str, &'a Session, u64),
}

/// Goes one step on a walk over all agents and their sessions.
pub(crate) fn walk<'a>(agents: &'a Agents, cursor: &mut Cursor) -> Option<Visited<'a>> {
    let from = match &mut cursor.0 {
        None => Bound::Unbounded,
        Some((id, last)) => {
            let after = last.map_or(Bound::Unbounded, Bound::Excluded);
            let next = agents.get_key_value(id).and_then(|(id, agent)| {
                Some((id, agent, agent.sessions.range((after, Bound::Unbounded)).next()?))
            });
            if let Some((id, agent, (uuid, session))) = next {
                *last = Some(*uuid);
                let named = agent.named.get(uuid).copied().unwrap_or_default();
                return Some(Visited::Session(id, session, named));
            }
            Bound::Excluded(&**id)
        }
    };
    let (id, agent) = agents.range::<str, _>((from, Bound::Unbounded)).next()?;
    cursor.0 = Some((id.clone(), None));
    Some(Visited::Agent(id, agent))
}

/// A DNS name that a session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim<'a> {
    pub(crate) name: &'a str,
    /// The number of the event that gave it the name, which an agent cannot lie about, and when it
    /// was created.
    pub(crate) since: (u64, Wall),
    /// Whose session it is.
    pub(crate) agent_id: &'a str,
}

/// What an event has changed beside the state itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The session whose DNS name is another one.
    pub(crate) named: Option<Uuid>,
    /// What is known may be wrong; the agent should be asked.
    pub(crate) doubtful: bool,
    /// A session is not kept: the agent has too many.
    pub(crate) full: bool,
}

const UNCHANGED: Changes = Changes { named: None, doubtful: false, full: false };
const DOUBTFUL: Changes = Changes { doubtful: true, ..UNCHANGED };
const FULL: Changes = Changes { full: true, ..UNCHANGED };

/// Applies the event `seq` of the hub, which is new, to what is known of its agent. The same for an
/// event as it comes and as it is read again from the journal.
pub(crate) fn learn(agents: &mut Agents, seq: u64, id: &str, event: &EventLine<'_>) -> Changes {
    if event.kind() == Kind::Forgotten {
        agents.remove(id);
        return UNCHANGED;
    }
    let Some(agent) = agents.get_mut(id) else { return UNCHANGED };
    if let (Some(epoch), Some(seq)) = (event.epoch, event.seq) {
        agent.position = Some(match agent.position.take() {
            Some(had) if *had.epoch == *epoch => Position { seq, ..had },
            _ => Position { epoch: epoch.into(), seq },
        });
    }
    match event.kind() {
        Kind::Event(EventType::AgentStarted) => {
            let started: StartedData<'_> = event.data().unwrap_or_default();
            agent.version = started.version.into();
            agent.image = started.image_tag.into();
            DOUBTFUL
        }
        Kind::Event(EventType::AgentHeartbeat) => {
            agent.load = event.data.map(|data| data.get().into());
            UNCHANGED
        }
        Kind::Event(EventType::AgentShutdown) => {
            agent.presence = Presence::Leaving;
            UNCHANGED
        }
        Kind::Event(EventType::AgentGap) => DOUBTFUL,
        _ => {
            let changes = apply_to_sessions(&mut agent.sessions, event);
            if let Some(uuid) = changes.named {
                agent.note_name(uuid, seq);
            }
            changes
        }
    }
}

/// Applies an event to the sessions of its agent. Applying one twice changes nothing.
pub(crate) fn apply_to_sessions(sessions: &mut Sessions, event: &EventLine<'_>) -> Changes {
    let id = event.session_id.and_then(|text| Uuid::parse(text).ok());
    match event.kind() {
        Kind::Event(EventType::Created | EventType::Edited | EventType::Started)
        | Kind::Session => put_session(sessions, event),
        Kind::Event(EventType::Deleted) | Kind::Removed => {
            let gone = id.and_then(|id| sessions.remove(&id));
            let named = gone.filter(|session| !session.dns_name.is_empty());
            Changes { named: named.map(|session| session.uuid), ..UNCHANGED }
        }
        Kind::Event(EventType::Stopped) => {
            let Some(session) = id.and_then(|id| sessions.get_mut(&id)) else { return DOUBTFUL };
            (session.running, session.started_at) = (false, None);
            (session.attached, session.attached_count) = (false, 0);
            session.attention = None;
            UNCHANGED
        }
        Kind::Event(kind @ (EventType::Attached | EventType::Detached)) => {
            let Some(AttachedData { attached_count }) = event.data() else { return DOUBTFUL };
            let Some(session) = id.and_then(|id| sessions.get_mut(&id)) else { return DOUBTFUL };
            (session.attached, session.attached_count) = (attached_count > 0, attached_count);
            let accessed = Wall::parse_rfc3339(event.timestamp);
            if let Some(at) = accessed.filter(|_| kind == EventType::Attached) {
                session.last_accessed = at;
            }
            UNCHANGED
        }
        Kind::Event(EventType::Attention) => {
            let Some(attention) = event.attention() else { return DOUBTFUL };
            let Some(session) = id.and_then(|id| sessions.get(&id)) else { return DOUBTFUL };
            let attention = attention.filter(Attention::check).map(Box::new);
            let changed = Session { attention, ..session.clone() };
            let is_full = !has_room(sessions, &changed);
            // Nothing is better than what held before.
            let attention = changed.attention.clone().filter(|_| !is_full);
            sessions.insert(changed.uuid, Session { attention, ..changed });
            if is_full { FULL } else { UNCHANGED }
        }
        Kind::Event(EventType::Repository) => {
            let Some(seen) = event.data().filter(Repository::check) else { return DOUBTFUL };
            let Some(session) = id.and_then(|id| sessions.get(&id)) else { return DOUBTFUL };
            let changed = Session { repository: Some(Box::new(seen)), ..session.clone() };
            if !has_room(sessions, &changed) {
                return FULL;
            }
            sessions.insert(changed.uuid, changed);
            UNCHANGED
        }
        Kind::Event(
            EventType::AgentStarted
            | EventType::AgentHeartbeat
            | EventType::AgentShutdown
            | EventType::AgentGap
            | EventType::Signed
            | EventType::Disk
            | EventType::Refused,
        )
        | Kind::Forgotten
        | Kind::Other => UNCHANGED,
    }
}

fn put_session(sessions: &mut Sessions, event: &EventLine<'_>) -> Changes {
    let Some(session) = event.data::<Session>() else { return DOUBTFUL };
    if session.check().is_err() {
        return UNCHANGED;
    }
    let session = with_count(session);
    if !has_room(sessions, &session) {
        return FULL;
    }
    let had = sessions.get(&session.uuid).map_or("", |had| &had.dns_name);
    let named = (had != session.dns_name).then_some(session.uuid);
    sessions.insert(session.uuid, session);
    Changes { named, ..UNCHANGED }
}

/// Whether the session may be kept beside the others of its agent.
pub(crate) fn has_room(sessions: &Sessions, session: &Session) -> bool {
    let others = || sessions.values().filter(|other| other.uuid != session.uuid);
    let kept = || others().map(session_bytes).sum::<usize>();
    others().count() < SESSIONS_MAX && kept() + session_bytes(session) <= AGENT_SESSIONS_BYTES_MAX
}

fn session_bytes(session: &Session) -> usize {
    let Session { name, dns_name, image, command, ended, publish, .. } = session;
    let texts = [name, dns_name, image, command];
    let ended = ended.iter().flat_map(|ended| [&ended.cause, &ended.reason, &ended.screen]);
    let texts = texts.into_iter().chain(ended).map(String::capacity).sum::<usize>();
    let sentence = |why: &Option<Box<Sentence>>| {
        why.as_ref().map_or(0, |why| size_of::<Sentence>() + why.0.capacity())
    };
    let short = sentence(&session.broken)
        + sentence(&session.stale)
        + session.ssh_key.as_ref().map_or(0, |line| line.0.len());
    let boxed = session.ended.as_ref().map_or(0, |_| size_of::<Ended>())
        + publish.as_ref().map_or(0, |_| size_of::<Publish>())
        + session
            .attention
            .as_ref()
            .map_or(0, |it| size_of::<Attention>() + it.reason.capacity() + it.source.capacity())
        + session
            .repository
            .as_ref()
            .map_or(0, |it| size_of::<Repository>() + it.branch.capacity())
        + session.startup.as_ref().map_or(0, |it| size_of::<Startup>() + it.text_bytes());
    size_of::<(Uuid, Session, Uuid, u64)>() + texts + short + boxed
}

/// An older agent only tells whether any terminal is attached, and not how many.
pub(crate) fn with_count(mut session: Session) -> Session {
    session.attached_count = session.attached_count.max(u32::from(session.attached));
    session.attached = session.attached_count > 0;
    session
}
