//! What the hub knows of agents and sessions, small: 10,000 sessions take some 2 MiB.

use std::sync::Arc;

use super::line::{AttachedData, EventLine, Kind, StartedData};
use super::sessions::Sessions;
use crate::base::time::{Mono, Wall};
use crate::base::uuid::Uuid;
use crate::limits::{SESSIONS_MAX, SHARED_VALUES_MAX};
use crate::rpc::event::EventType;
use crate::rpc::field::Protocol;
use crate::rpc::session::Session;

#[derive(Debug, Default)]
pub(crate) struct Agent {
    /// Whether it is there.
    pub(crate) presence: Presence,
    /// When it said something last, by the hub's calendar.
    pub(crate) last_news: Wall,
    /// The same on the monotonic clock; the hub's start, if it has said nothing since.
    pub(crate) news_at: Mono,
    /// Its version; empty if it never said.
    pub(crate) version: Text,
    /// The image of its new sessions; empty if it never said.
    pub(crate) image: Text,
    /// What its last heartbeat said, as it came.
    pub(crate) load: Option<Box<str>>,
    /// The newest event of it that the hub has.
    pub(crate) position: Option<Position>,
    /// The newest event of it that the hub will never forget.
    pub(crate) durable: Option<Position>,
    /// The commit that its newest event goes with.
    pub(crate) batch: u64,
    pub(crate) sessions: Sessions,
}

/// A text that many entries share.
pub(crate) type Text = Arc<str>;

/// Whether an agent is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Not since the hub has started.
    #[default]
    Unseen,
    /// Connected, and it has said something lately.
    Connected,
    /// Connected, and it has said goodbye.
    Leaving,
    /// Connected, but without a word for [`crate::limits::STATUS_SILENCE`].
    Silent,
    /// Its connection is gone, for this reason.
    Lost(Box<str>),
    /// Its connection is gone after it said goodbye.
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
    pub(crate) epoch: Text,
    pub(crate) seq: u64,
}

/// One session, without its id.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its name, and behind that its DNS name.
    names: Box<str>,
    shape: Arc<Shape>,
    /// What few sessions have.
    rare: Option<Box<Rare>>,
    created_at: Moment,
    last_accessed: Moment,
    started_at: Option<Moment>,
    name_bytes: u32,
    attached_count: u32,
    port: u16,
    running: bool,
    locked: bool,
}

/// A [`Wall`] in twelve bytes: there are three in each session, and their padding would be a tenth
/// of it.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
struct Moment {
    seconds: i64,
    nanos: u32,
}

impl From<Wall> for Moment {
    fn from(wall: Wall) -> Moment {
        Moment { seconds: wall.seconds(), nanos: wall.nanos() }
    }
}

impl From<Moment> for Wall {
    fn from(Moment { seconds, nanos }: Moment) -> Wall {
        Wall::new(seconds, nanos)
    }
}

/// What many sessions have in common.
#[derive(Debug, PartialEq)]
struct Shape {
    image: Text,
    command: Text,
    memory: u64,
    cpus: f64,
    pids: u32,
    protocol: Protocol,
    docker: bool,
}

#[derive(Debug)]
struct Rare {
    broken: Option<String>,
    stale: Option<String>,
}

/// Texts and shapes that were used lately, so that equal ones are kept once. Bounded: what falls
/// out is merely kept twice.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    texts: Recent<str>,
    shapes: Recent<Shape>,
}

#[derive(Debug)]
struct Recent<T: ?Sized> {
    values: Vec<Arc<T>>,
    next: usize,
}

impl<T: ?Sized> Default for Recent<T> {
    fn default() -> Recent<T> {
        Recent { values: Vec::new(), next: 0 }
    }
}

impl<T: ?Sized + PartialEq> Recent<T> {
    fn find(&self, value: &T) -> Option<Arc<T>> {
        self.values.iter().find(|known| ***known == *value).cloned()
    }

    fn keep(&mut self, value: Arc<T>) -> Arc<T> {
        if self.values.len() < SHARED_VALUES_MAX {
            self.values.push(Arc::clone(&value));
        } else {
            self.values[self.next] = Arc::clone(&value);
            self.next = (self.next + 1) % SHARED_VALUES_MAX;
        }
        value
    }
}

impl Shared {
    /// The shared form of `text`.
    pub(crate) fn text(&mut self, text: &str) -> Text {
        self.texts.find(text).unwrap_or_else(|| self.texts.keep(text.into()))
    }

    fn shape(&mut self, session: &Session) -> Arc<Shape> {
        let shape = Shape {
            image: self.text(&session.image),
            command: self.text(&session.command),
            memory: session.memory,
            cpus: session.cpus,
            pids: session.pids,
            protocol: session.protocol,
            docker: session.docker,
        };
        self.shapes.find(&shape).unwrap_or_else(|| self.shapes.keep(shape.into()))
    }
}

impl Entry {
    /// The small form of a session.
    pub(crate) fn new(session: Session, shared: &mut Shared) -> Entry {
        let shape = shared.shape(&session);
        let rare = (session.broken.is_some() || session.stale.is_some())
            .then(|| Box::new(Rare { broken: session.broken, stale: session.stale }));
        Entry {
            names: (session.name.as_str().to_owned() + &session.dns_name).into(),
            name_bytes: u32::try_from(session.name.len()).expect("an event is far below 4 GiB"),
            shape,
            created_at: session.created_at.into(),
            last_accessed: session.last_accessed.into(),
            started_at: session.started_at.map(Moment::from),
            attached_count: session.attached_count.max(u32::from(session.attached)),
            port: session.port,
            running: session.running,
            locked: session.locked,
            rare,
        }
    }

    /// The session as it goes over the wire.
    pub(crate) fn session(&self, uuid: Uuid) -> Session {
        let (rare, shape) = (self.rare.as_deref(), &*self.shape);
        Session {
            uuid,
            name: self.names[..self.name_bytes as usize].to_owned(),
            created_at: self.created_at.into(),
            last_accessed: self.last_accessed.into(),
            port: self.port,
            protocol: shape.protocol,
            dns_name: self.dns_name().to_owned(),
            running: self.running,
            attached: self.attached_count > 0,
            attached_count: self.attached_count,
            locked: self.locked,
            image: shape.image.to_string(),
            started_at: self.started_at.map(Wall::from),
            command: shape.command.to_string(),
            docker: shape.docker,
            memory: shape.memory,
            cpus: shape.cpus,
            pids: shape.pids,
            broken: rare.and_then(|rare| rare.broken.clone()),
            stale: rare.and_then(|rare| rare.stale.clone()),
        }
    }

    /// Its DNS name; empty if it has none.
    pub(crate) fn dns_name(&self) -> &str {
        &self.names[self.name_bytes as usize..]
    }

    /// When it was created.
    pub(crate) fn created_at(&self) -> Wall {
        self.created_at.into()
    }
}

/// What an event has changed beside the state itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The DNS names of the agent's sessions.
    pub(crate) names: bool,
    /// What is known may be wrong; the agent should be asked.
    pub(crate) doubtful: bool,
}

impl Agent {
    /// Applies an event that is new. The same for an event as it comes and as it is read again from
    /// the journal.
    pub(crate) fn apply(&mut self, event: &EventLine<'_>, shared: &mut Shared) -> Changes {
        match event.kind() {
            Kind::Event(EventType::Created | EventType::Edited | EventType::Started)
            | Kind::Session => self.put_session(event, shared),
            Kind::Event(EventType::Deleted) | Kind::Removed => self.remove_session(event),
            Kind::Event(EventType::Stopped) => self.change(event, |entry| {
                (entry.running, entry.started_at, entry.attached_count) = (false, None, 0);
            }),
            Kind::Event(EventType::Attached | EventType::Detached) => self.terminals(event),
            Kind::Event(EventType::AgentStarted) => {
                let started: StartedData<'_> = event.data().unwrap_or_default();
                self.version = shared.text(&started.version);
                self.image = shared.text(&started.image_tag);
                Changes { doubtful: true, ..Changes::default() }
            }
            Kind::Event(EventType::AgentHeartbeat) => {
                self.load = event.data.map(|data| data.get().into());
                Changes::default()
            }
            Kind::Event(EventType::AgentGap) => Changes { doubtful: true, ..Changes::default() },
            Kind::Event(EventType::AgentShutdown) | Kind::Forgotten | Kind::Other => {
                Changes::default()
            }
        }
    }

    fn put_session(&mut self, event: &EventLine<'_>, shared: &mut Shared) -> Changes {
        let doubtful = Changes { doubtful: true, ..Changes::default() };
        let Some(session) = event.data::<Session>() else { return doubtful };
        if self.sessions.len() >= SESSIONS_MAX && self.sessions.get(session.uuid).is_none() {
            return doubtful;
        }
        let uuid = session.uuid;
        let entry = Entry::new(session, shared);
        let had = self.sessions.get(uuid).map_or("", Entry::dns_name);
        let names = had != entry.dns_name();
        self.sessions.insert(uuid, entry);
        Changes { names, doubtful: false }
    }

    fn remove_session(&mut self, event: &EventLine<'_>) -> Changes {
        let gone = session_id(event).and_then(|uuid| self.sessions.remove(uuid));
        let names = gone.is_some_and(|entry| !entry.dns_name().is_empty());
        Changes { names, doubtful: false }
    }

    fn terminals(&mut self, event: &EventLine<'_>) -> Changes {
        let Some(AttachedData { attached_count }) = event.data() else {
            return Changes { doubtful: true, ..Changes::default() };
        };
        let attached = event.kind() == Kind::Event(EventType::Attached);
        let accessed = Wall::parse_rfc3339(event.timestamp).filter(|_| attached);
        self.change(event, |entry| {
            entry.attached_count = attached_count;
            entry.last_accessed = accessed.map_or(entry.last_accessed, Moment::from);
        })
    }

    fn change(&mut self, event: &EventLine<'_>, change: impl FnOnce(&mut Entry)) -> Changes {
        let known = session_id(event).and_then(|uuid| self.sessions.get_mut(uuid));
        let doubtful = known.is_none();
        known.map(change);
        Changes { doubtful, ..Changes::default() }
    }
}

fn session_id(event: &EventLine<'_>) -> Option<Uuid> {
    Uuid::parse(event.session_id?).ok()
}
