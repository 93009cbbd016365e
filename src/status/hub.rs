//! What the shell host knows, and the numbers of its events.
//!
//! One hub for all agents. It decides whether an event is new, says what is missing, keeps what is
//! known, and lets the [`super::journal`] make it durable. It never forgets an event that was
//! acknowledged, never tells one twice, and never grows because somebody does not listen.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use serde_json::{Value, json};

use super::checkpoint;
use super::history::{self, History};
use super::journal::Journal;
use super::known::{
    Agent, Agents, Changes, Claim, Cursor, Position, Presence, Visited, has_room, learn, walk,
};
use super::line::{
    EventLine, GapData, HUB_CONNECTED, HUB_FORGOTTEN, HUB_LOST, HUB_NAME_REFUSED, HUB_REMOVED,
    HUB_SESSION, HUB_SILENT, HUB_TWINS, Kind, StartedData,
};
use super::notices::{Finder, Notice, Notices, RefusedName};
use crate::base::disk::{DiskDone, DiskError, DiskOp};
use crate::base::time::{Mono, Now, Wall};
use crate::base::uuid::Uuid;
use crate::limits::{AGENTS_MAX, LOST_WORDS_BYTES_MAX, ON_ATTENTION_WAITING_MAX, STATUS_SILENCE};
use crate::rpc::event::EventType;
use crate::rpc::session::Session;

/// A session, by its agent and its id.
pub(crate) type SessionOfAgent = (Box<str>, Uuid);

/// The hub. Made by [`super::recovery::Recovery`].
#[derive(Debug)]
pub struct Hub {
    agents: Agents,
    /// The number of the newest event.
    seq: u64,
    journal: Journal,
    history: History,
    asks: BTreeSet<Box<str>>,
    names_changed: bool,
    /// Agents with events in the commit that is being gathered.
    gathered: Vec<Box<str>>,
    flight: Flight,
    /// Memory for the line that is being written.
    line: Vec<u8>,
    notices: Notices,
    /// Events of attention that were not asked for yet.
    attentions: VecDeque<(SessionOfAgent, Vec<u8>)>,
    /// The number of the newest event that may be told.
    told_seq: u64,
    /// `seq` as it was when the last commit began, or when the hub did: all before is on disk.
    taken_seq: u64,
}

/// What the commit that is under way makes durable.
#[derive(Debug, Default)]
struct Flight {
    marks: Vec<(Box<str>, Position)>,
    history_end: u64,
    seq: u64,
}

/// What the hub wants its driver to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubAction {
    /// Ask this agent for its sessions, then [`Hub::listed`].
    List(Box<str>),
    /// Write the names anew: [`Hub::names`].
    Names,
}

impl Hub {
    /// A hub with what its journal holds, all of which is durable. `seq` is the highest number that
    /// may have been given.
    pub(super) fn new(agents: Agents, mut history: History, journal: Journal, seq: u64) -> Hub {
        history.show(history.end());
        Hub {
            agents,
            seq,
            journal,
            told_seq: history.last_seq(),
            history,
            asks: BTreeSet::new(),
            names_changed: true,
            gathered: Vec::new(),
            flight: Flight::default(),
            line: Vec::new(),
            notices: Notices::default(),
            attentions: VecDeque::new(),
            taken_seq: seq,
        }
    }

    /// An agent has connected, and proved who it is. False if there are too many.
    #[must_use = "a refused agent must be hung up on"]
    pub fn connected(&mut self, now: Now, id: &str) -> bool {
        if !self.agents.contains_key(id) {
            if self.agents.len() >= AGENTS_MAX {
                return false;
            }
            self.agents.insert(id.into(), Agent::default());
        }
        if let Some(agent) = self.agents.get_mut(id) {
            note_life(agent, now);
            agent.presence = Presence::Connected;
        }
        self.own_event(now, id, HUB_CONNECTED, None, &Value::Null);
        true
    }

    /// The connection that speaks for an agent comes from here. `stood` is from where the one came
    /// whose place it takes, if that stood.
    pub(crate) fn speaks(&mut self, now: Now, id: &str, from: IpAddr, stood: Option<IpAddr>) {
        let twins = self.agents.get_mut(id).map(|agent| &mut agent.twins);
        if twins.is_some_and(|twins| twins.speaks(now.mono, from, stood)) {
            self.tell_twins(now, id);
        }
    }

    /// Whether two hosts are known to have this agent's identity: then one that speaks is not
    /// replaced as long as it stands, and the other, which comes from here, is sent away.
    pub(crate) fn refuses_twin(&mut self, now: Mono, id: &str, from: IpAddr) -> bool {
        let Some(agent) = self.agents.get_mut(id) else { return false };
        let is_proved = agent.twins.pair().is_some();
        if is_proved {
            agent.twins.refused(now, from);
        }
        is_proved
    }

    /// Tells that two hosts have this agent's identity.
    fn tell_twins(&mut self, now: Now, id: &str) {
        let pair = self.agents.get(id).and_then(|agent| agent.twins.pair()).cloned();
        let Some(pair) = pair else { return };
        self.own_event(now, id, HUB_TWINS, None, &json!({ "error": pair.to_string() }));
        self.notices.put(now.mono, Notice::Twins { agent_id: id.into(), pair });
        self.asks.insert(id.into());
    }

    /// An agent's connection is gone.
    pub fn lost(&mut self, now: Now, id: &str, why: &str) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        let why = &why[..why.floor_char_boundary(LOST_WORDS_BYTES_MAX)];
        agent.presence = match agent.presence {
            Presence::Leaving => Presence::Down,
            _ => Presence::Lost(why.into()),
        };
        self.own_event(now, id, HUB_LOST, None, &json!({ "error": why }));
    }

    /// An agent is not of this cluster any more.
    pub(crate) fn forget(&mut self, now: Now, id: &str) {
        if self.agents.remove(id).is_some() {
            self.names_changed = true;
            self.asks.remove(id);
            self.own_event(now, id, HUB_FORGOTTEN, None, &Value::Null);
        }
    }

    /// Whether an event would be taken. While not, agents are not read.
    pub(crate) fn has_room(&self) -> bool {
        self.journal.has_room()
    }

    /// An event of the agent `id`, whose line (without newline) `event` was read from. The caller
    /// has checked [`Hub::has_room`] and that the event is this agent's.
    pub(crate) fn event(&mut self, now: Now, id: &str, line: &[u8], event: &EventLine<'_>) {
        let Err(why) = event.check() else { return self.checked_event(now, id, line, event) };
        self.notices.put(now.mono, Notice::Refused { agent_id: id.into(), why });
        // Its number is taken all the same: the agent would send it for ever.
        let gap = event.as_gap(now.wall).unwrap_or_default();
        match EventLine::parse(gap.as_bytes()) {
            Ok(event) => self.checked_event(now, id, gap.as_bytes(), &event),
            Err(_) => self.note_news(now, id),
        }
    }

    /// An agent has sent something.
    fn note_news(&mut self, now: Now, id: &str) {
        if self.agents.get_mut(id).is_some_and(|agent| note_life(agent, now)) {
            self.notices.put(now.mono, Notice::Back { agent_id: id.into() });
            self.own_event(now, id, HUB_CONNECTED, None, &Value::Null);
        }
    }

    fn checked_event(&mut self, now: Now, id: &str, line: &[u8], event: &EventLine<'_>) {
        self.note_news(now, id);
        let Some(agent) = self.agents.get(id) else { return };
        let missing = match Numbered::of(event, agent.position.as_ref()) {
            Numbered::Old => return self.taken_before(now, id, line, event),
            Numbered::No => None,
            Numbered::Next { missing } => missing,
        };
        if let Some(GapData { from }) = event.gap()
            && let Some(to) = event.seq
        {
            self.lost_events(now.mono, id, (from, to), Finder::Agent);
        }
        if let Some((from, to)) = missing {
            self.lost_events(now.mono, id, (from, to), Finder::Hub);
            let data = json!({ "from": from, "to": to, "count": to - from + 1, "by": "hub" });
            self.own_event(now, id, "agent.gap", None, &data);
            self.asks.insert(id.into());
        }
        self.take(now.mono, id, line, event);
        let Some(agent) = self.agents.get_mut(id) else { return };
        if let Some(seq) = event.seq.filter(|_| event.gap().is_none()) {
            agent.twins.took(seq, line);
        }
        if event.kind() == Kind::Event(EventType::AgentStarted) {
            let started: StartedData<'_> = event.data().unwrap_or_default();
            if agent.twins.began(now.mono, &started.run) {
                self.tell_twins(now, id);
            }
        }
    }

    /// An event's number was taken: by the same event, which is sent again, or by one of another
    /// host with this agent's identity.
    fn taken_before(&mut self, now: Now, id: &str, line: &[u8], event: &EventLine<'_>) {
        let Some(seq) = event.seq.filter(|_| event.gap().is_none()) else { return };
        let Some(agent) = self.agents.get_mut(id) else { return };
        if !agent.twins.differs(seq, line) {
            return;
        }
        let is_news = agent.twins.collided(now.mono);
        let data = json!({ "from": seq, "to": seq, "count": 1, "by": "hub" });
        self.lost_events(now.mono, id, (seq, seq), Finder::Twins);
        self.own_event(now, id, "agent.gap", None, &data);
        self.asks.insert(id.into());
        if is_news {
            self.tell_twins(now, id);
        }
    }

    /// The sessions of an agent, as it told them when it was asked. Differences become events.
    pub fn listed(&mut self, now: Now, id: &str, sessions: Vec<Session>) {
        let Some(agent) = self.agents.get(id) else { return };
        let mut sessions = sessions;
        let wrong = sessions.iter().find_map(|session| session.check().err());
        if let Some(why) = wrong {
            sessions.retain(|session| session.check().is_ok());
            self.notices.put(now.mono, Notice::Refused { agent_id: id.into(), why });
        }
        let listed: BTreeSet<Uuid> = sessions.iter().map(|session| session.uuid).collect();
        let gone: Vec<Uuid> =
            agent.sessions.keys().copied().filter(|it| !listed.contains(it)).collect();
        let differs = |session: &Session| agent.sessions.get(&session.uuid) != Some(session);
        let changed: Vec<Session> = sessions.into_iter().filter(differs).collect();
        for uuid in gone {
            self.own_event(now, id, HUB_REMOVED, Some(uuid), &Value::Null);
        }
        for session in changed {
            if !self.has_room_for(now.mono, id, &session) {
                continue;
            }
            let data = serde_json::to_value(&session).expect("a session has only string keys");
            self.own_event(now, id, HUB_SESSION, Some(session.uuid), &data);
        }
    }

    /// What the driver is to do.
    pub fn poll_want(&mut self) -> Option<HubAction> {
        if std::mem::take(&mut self.names_changed) {
            return Some(HubAction::Names);
        }
        self.asks.pop_first().map(HubAction::List)
    }

    /// The event of a session whose attention has changed, without its newline: for whoever is to
    /// be told of each. Call until `None`, after every other call; what nobody takes is forgotten.
    pub(crate) fn poll_attention(&mut self) -> Option<(SessionOfAgent, Vec<u8>)> {
        self.attentions.pop_front()
    }

    /// Something for the log. Call until `None`, after every other call.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.poll()
    }

    /// What the journal wants of its disk next. Call until `None`, after every other call.
    pub fn poll_disk(&mut self) -> Option<DiskOp> {
        let waiting = self.journal.poll_removal().or_else(|| self.journal.poll_again());
        if waiting.is_some() || !self.journal.is_due() {
            return waiting;
        }
        self.flight.history_end = self.history.end();
        self.flight.seq = self.history.last_seq();
        for id in self.gathered.drain(..) {
            let position = self.agents.get(&id).and_then(|agent| agent.position.clone());
            self.flight.marks.extend(position.map(|position| (id, position)));
        }
        // A file's header counts what is before the file, not what is in this commit.
        let (seq, agents) = (self.taken_seq, &self.agents);
        let told = self.told_seq;
        let op = self.journal.begin(
            |out| checkpoint::write_header(out, seq, told),
            |out, cursor, bytes| checkpoint::write_piece(agents, out, cursor, bytes),
        );
        self.taken_seq = self.seq;
        Some(op)
    }

    /// What became of the oldest disk operation without an answer. True if something has become
    /// durable: then [`Hub::durable`] of any agent and the visible history may have moved.
    pub fn disk_done(&mut self, now: Mono, done: DiskDone) -> bool {
        let DiskDone::Committed { bytes, result } = done else { return false };
        if !self.journal.committed(now, bytes, result) {
            return false;
        }
        for (id, position) in self.flight.marks.drain(..) {
            if let Some(agent) = self.agents.get_mut(&id) {
                agent.durable = Some(position);
            }
        }
        self.history.show(self.flight.history_end);
        self.told_seq = self.flight.seq;
        self.show_what_is_settled();
        true
    }

    /// When [`Hub::tick`] is wanted.
    pub fn deadline(&self) -> Option<Mono> {
        let heard = self.agents.values().filter(|agent| is_heard(agent));
        let silence = heard.map(|agent| agent.news_at + STATUS_SILENCE).min();
        let twins = self.agents.values().filter_map(|agent| agent.twins.deadline()).min();
        let others = [self.journal.deadline(), self.notices.deadline(), twins];
        others.into_iter().flatten().chain(silence).min()
    }

    pub fn tick(&mut self, now: Now) {
        self.journal.tick(now.mono);
        self.notices.tick(now.mono);
        self.agents.values_mut().for_each(|agent| agent.twins.tick(now.mono));
        let due = |agent: &Agent| is_heard(agent) && agent.news_at + STATUS_SILENCE <= now.mono;
        let silent: Vec<Box<str>> =
            self.agents.iter().filter(|(_, agent)| due(agent)).map(|(id, _)| id.clone()).collect();
        for id in silent {
            if let Some(agent) = self.agents.get_mut(&id) {
                agent.presence = Presence::Silent;
            }
            self.notices.put(now.mono, Notice::Silent { agent_id: id.clone() });
            self.own_event(now, &id, HUB_SILENT, None, &Value::Null);
        }
    }

    /// The newest event of an agent that will never be forgotten: what may be acknowledged.
    pub fn durable(&self, id: &str) -> Option<&Position> {
        self.agents.get(id)?.durable.as_ref()
    }

    pub(crate) const fn history(&self) -> &History {
        &self.history
    }

    /// The number of the newest event that may be told.
    pub(crate) const fn told(&self) -> u64 {
        self.told_seq
    }

    pub fn agent(&self, id: &str) -> Option<&Agent> {
        self.agents.get(id)
    }

    pub(crate) fn agent_ids(&self) -> impl Iterator<Item = &str> {
        self.agents.keys().map(|id| &**id)
    }

    /// Goes one step on a walk over everything that is known.
    pub(crate) fn step(&self, cursor: &mut Cursor) -> Option<Visited<'_>> {
        walk(&self.agents, cursor)
    }

    /// All DNS names of sessions.
    pub(crate) fn names(&self) -> impl Iterator<Item = Claim<'_>> {
        self.agents.iter().flat_map(|(id, agent)| {
            agent.named.iter().filter_map(|(uuid, since)| {
                let Session { dns_name, created_at, .. } = agent.sessions.get(uuid)?;
                Some(Claim { name: dns_name, since: (*since, *created_at), agent_id: id })
            })
        })
    }

    /// A name of an agent's session leads nowhere: tells why.
    pub(crate) fn name_refused(&mut self, now: Now, refused: &RefusedName) {
        let RefusedName { name, agent_id, .. } = refused;
        let data = json!({ "error": refused.to_string(), "dns_name": name });
        self.own_event(now, agent_id, HUB_NAME_REFUSED, None, &data);
        self.notices.put(now.mono, Notice::Name(refused.clone()));
    }

    /// What the disk said last, if it did not do what it was asked.
    pub(crate) const fn trouble(&self) -> Option<&DiskError> {
        self.journal.trouble()
    }

    fn lost_events(&mut self, now: Mono, id: &str, (from, to): (u64, u64), by: Finder) {
        self.notices.put(now, Notice::Gap { agent_id: id.into(), from, to, by });
    }

    /// Takes an event that is new: state, journal, history.
    fn take(&mut self, now: Mono, id: &str, line: &[u8], event: &EventLine<'_>) {
        let kept = event.kind() != Kind::Event(EventType::AgentHeartbeat);
        self.seq += u64::from(kept);
        self.line.clear();
        history::write_line(&mut self.line, self.seq, line);
        self.history.push(self.seq, &self.line);
        if kept {
            let batch = self.journal.append(self.seq, &self.line);
            self.mark(id, batch);
        }
        let Changes { named, doubtful, full } = learn(&mut self.agents, self.seq, id, event);
        if full {
            self.tell_full(now, id);
        }
        self.names_changed |= named.is_some();
        if doubtful && !self.asks.contains(id) {
            self.asks.insert(id.into());
        }
        if event.kind() == Kind::Event(EventType::Attention) {
            self.note_attention(id, event);
        }
        self.show_what_is_settled();
    }

    /// What the operator's command is told: of a session that is known, and nothing but what is
    /// known of it.
    fn note_attention(&mut self, id: &str, event: &EventLine<'_>) {
        let uuid = event.session_id.and_then(|uuid| Uuid::parse(uuid).ok());
        let session = uuid.and_then(|uuid| self.agents.get(id)?.sessions.get(&uuid));
        let Some(session) = session else { return };
        let line = json!({
            "type": event.kind,
            "agent_id": id,
            "session_id": session.uuid,
            "name": session.name,
            "timestamp": Wall::parse_rfc3339(event.timestamp),
            "data": session.attention,
        });
        if self.attentions.len() < ON_ATTENTION_WAITING_MAX {
            self.attentions.push_back(((id.into(), session.uuid), line.to_string().into_bytes()));
        }
    }

    /// Whether a session that was listed may be kept; else that is told.
    fn has_room_for(&mut self, now: Mono, id: &str, session: &Session) -> bool {
        let has_room = self.agents.get(id).is_some_and(|it| has_room(&it.sessions, session));
        if !has_room {
            self.tell_full(now, id);
        }
        has_room
    }

    /// Tells once that an agent has more sessions than are kept.
    fn tell_full(&mut self, now: Mono, id: &str) {
        if let Some(agent) = self.agents.get_mut(id)
            && !std::mem::replace(&mut agent.is_full, true)
        {
            self.notices.put(now, Notice::TooMany { agent_id: id.into() });
        }
    }

    /// Notes that the agent's position is news to the commit that is being gathered.
    fn mark(&mut self, id: &str, batch: u64) {
        if let Some(agent) = self.agents.get_mut(id)
            && agent.batch != batch
        {
            agent.batch = batch;
            self.gathered.push(id.into());
        }
    }

    /// An event of the hub's own.
    fn own_event(&mut self, now: Now, id: &str, kind: &str, session: Option<Uuid>, data: &Value) {
        let mut event = json!({
            "type": kind, "agent_id": id, "timestamp": now.wall, "data": data,
        });
        if let Some(uuid) = session {
            event["session_id"] = json!(uuid);
        }
        let line = event.to_string();
        if let Ok(event) = EventLine::parse(line.as_bytes()) {
            self.take(now.mono, id, line.as_bytes(), &event);
        }
    }

    /// Events that need no disk are told at once, unless others before them still wait for it.
    fn show_what_is_settled(&mut self) {
        if self.journal.is_settled() {
            self.history.show(self.history.end());
        }
    }
}

/// An event's number, seen from what the hub has.
enum Numbered {
    No,
    Old,
    Next { missing: Option<(u64, u64)> },
}

impl Numbered {
    fn of(event: &EventLine<'_>, had: Option<&Position>) -> Numbered {
        let (Some(epoch), Some(seq)) = (event.epoch, event.seq) else { return Numbered::No };
        let due = match had {
            Some(had) if *had.epoch == *epoch && seq <= had.seq => return Numbered::Old,
            Some(had) if *had.epoch == *epoch => had.seq + 1,
            Some(_) => 1,
            // The first word of an agent: what was before it, nobody here has missed.
            None => return Numbered::Next { missing: None },
        };
        // A gap speaks for everything from its `from` to its own number.
        let first = event.gap().map_or(seq, |gap| gap.from.min(seq));
        Numbered::Next { missing: (first > due).then(|| (due, first - 1)) }
    }
}

/// Notes that an agent has sent something. True if that ends a silence.
fn note_life(agent: &mut Agent, now: Now) -> bool {
    (agent.last_news, agent.news_at) = (now.wall, now.mono);
    let returned = agent.presence == Presence::Silent;
    if returned || agent.presence == Presence::Leaving {
        agent.presence = Presence::Connected;
    }
    returned
}

fn is_heard(agent: &Agent) -> bool {
    matches!(agent.presence, Presence::Connected | Presence::Leaving)
}
