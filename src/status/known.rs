//! What the hub knows of agents and sessions: 10,000 sessions take some 5 MiB.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::line::{AttachedData, EventLine, Kind, StartedData};
use crate::base::time::{Mono, Wall};
use crate::base::uuid::Uuid;
use crate::limits::{AGENT_SESSIONS_BYTES_MAX, SESSIONS_MAX};
use crate::rpc::event::EventType;
use crate::rpc::session::Session;

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
    /// Whether it has been told that there are more sessions than are kept.
    pub(crate) is_full: bool,
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
    /// A session of the last agent.
    Session(&'a str, &'a Session),
}

/// Goes one step on a walk over all agents and their sessions.
pub(crate) fn walk<'a>(agents: &'a Agents, cursor: &mut Cursor) -> Option<Visited<'a>> {
    let from = match &mut cursor.0 {
        None => Bound::Unbounded,
        Some((id, last)) => {
            let after = last.map_or(Bound::Unbounded, Bound::Excluded);
            let next = agents.get_key_value(id).and_then(|(id, agent)| {
                Some((id, agent.sessions.range((after, Bound::Unbounded)).next()?))
            });
            if let Some((id, (uuid, session))) = next {
                *last = Some(*uuid);
                return Some(Visited::Session(id, session));
            }
            Bound::Excluded(&**id)
        }
    };
    let (id, agent) = agents.range::<str, _>((from, Bound::Unbounded)).next()?;
    cursor.0 = Some((id.clone(), None));
    Some(Visited::Agent(id, agent))
}

/// What an event has changed beside the state itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The DNS names of the agent's sessions.
    pub(crate) names: bool,
    /// What is known may be wrong; the agent should be asked.
    pub(crate) doubtful: bool,
    /// A session is not kept: the agent has too many.
    pub(crate) full: bool,
}

const UNCHANGED: Changes = Changes { names: false, doubtful: false, full: false };
const DOUBTFUL: Changes = Changes { names: false, doubtful: true, full: false };
const FULL: Changes = Changes { names: false, doubtful: false, full: true };

/// Applies an event that is new to what is known of its agent. The same for an event as it comes
/// and as it is read again from the journal.
pub(crate) fn learn(agents: &mut Agents, id: &str, event: &EventLine<'_>) -> Changes {
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
        _ => apply_to_sessions(&mut agent.sessions, event),
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
            let names = gone.is_some_and(|session| !session.dns_name.is_empty());
            Changes { names, ..UNCHANGED }
        }
        Kind::Event(EventType::Stopped) => {
            let Some(session) = id.and_then(|id| sessions.get_mut(&id)) else { return DOUBTFUL };
            (session.running, session.started_at) = (false, None);
            (session.attached, session.attached_count) = (false, 0);
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
        Kind::Event(
            EventType::AgentStarted
            | EventType::AgentHeartbeat
            | EventType::AgentShutdown
            | EventType::AgentGap
            | EventType::Signed,
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
    let names = had != session.dns_name;
    sessions.insert(session.uuid, session);
    Changes { names, ..UNCHANGED }
}

/// Whether the session may be kept beside the others of its agent.
pub(crate) fn has_room(sessions: &Sessions, session: &Session) -> bool {
    let others = || sessions.values().filter(|other| other.uuid != session.uuid);
    let kept = || others().map(session_bytes).sum::<usize>();
    others().count() < SESSIONS_MAX && kept() + session_bytes(session) <= AGENT_SESSIONS_BYTES_MAX
}

fn session_bytes(session: &Session) -> usize {
    let Session { name, dns_name, image, command, broken, stale, ssh_key, .. } = session;
    let texts = [Some(name), Some(dns_name), Some(image), Some(command)];
    let texts = texts.into_iter().chain([broken.as_ref()]);
    let short = [stale, ssh_key].into_iter().flatten().map(|text| text.len()).sum::<usize>();
    size_of::<(Uuid, Session)>() + short + texts.flatten().map(String::capacity).sum::<usize>()
}

/// An older agent only tells whether any terminal is attached, and not how many.
pub(crate) fn with_count(mut session: Session) -> Session {
    session.attached_count = session.attached_count.max(u32::from(session.attached));
    session.attached = session.attached_count > 0;
    session
}
