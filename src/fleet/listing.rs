//! One list of all agents' sessions, newest access first.
//!
//! Each agent's part is either its own answer or what was last known with the age of that news; the
//! two are never mixed up: what cannot be asked now is [`SessionState::Unknown`].

use serde_json::Value;

use crate::base::time::Wall;
use crate::base::uuid::Uuid;
use crate::fleet::registry::AgentId;
use crate::rpc::session::Session;

/// A session's state, the first column of every listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SessionState {
    /// `-`: its command does not run
    Stopped,
    /// `L`: an operation was in flight when the agent died
    Locked,
    /// `R`: runs, nobody attached
    Running,
    /// `C`: runs, at least one terminal attached
    Attached,
    /// `O`: a directory on the shell host that no agent owns
    Orphan,
    /// `?`: its agent cannot be asked now
    Unknown,
}

impl SessionState {
    pub(crate) const fn sign(self) -> char {
        match self {
            SessionState::Stopped => '-',
            SessionState::Locked => 'L',
            SessionState::Running => 'R',
            SessionState::Attached => 'C',
            SessionState::Orphan => 'O',
            SessionState::Unknown => '?',
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            SessionState::Stopped => "stopped",
            SessionState::Locked => "locked",
            SessionState::Running => "running",
            SessionState::Attached => "attached",
            SessionState::Orphan => "orphan",
            SessionState::Unknown => "unknown",
        }
    }

    /// The state's character, and behind `L` that of what the lock does not end.
    pub(crate) fn signs(self, session: Option<&Session>) -> String {
        let below = match session {
            Some(Session { running: true, attached: true, .. }) => "C",
            Some(Session { running: true, .. }) => "R",
            _ => "",
        };
        let below = if self == SessionState::Locked { below } else { "" };
        format!("{}{below}", self.sign())
    }

    /// The state of a session that its agent has just told.
    pub(crate) fn of(session: &Session) -> SessionState {
        match session {
            Session { stale: Some(_), .. } => SessionState::Unknown,
            Session { locked: true, .. } => SessionState::Locked,
            Session { running: true, attached: true, .. } => SessionState::Attached,
            Session { running: true, .. } => SessionState::Running,
            _ => SessionState::Stopped,
        }
    }
}

/// What is known of one agent's sessions.
#[derive(Clone, Debug)]
pub(crate) struct AgentList {
    pub(crate) id: AgentId,
    /// Its host, as people know it.
    pub(crate) host: String,
    /// Its answer just now, or what was known before it became silent.
    pub(crate) news: AgentSessions,
}

/// How good the news of an agent is.
#[derive(Clone, Debug)]
pub enum AgentSessions {
    /// It has answered.
    Fresh {
        sessions: Vec<Session>,
        /// Sessions of its answer that could not be read.
        unread: usize,
    },
    /// It cannot be asked now.
    Silent {
        error: String,
        /// When it was last heard of, if ever.
        last_news: Option<Wall>,
        /// What was known then.
        sessions: Vec<Session>,
    },
}

impl AgentSessions {
    /// Reads the result of `list`. A session that cannot be read is counted and hides no other.
    ///
    /// # Errors
    /// The result is no list at all.
    pub fn from_result(result: Value) -> Result<AgentSessions, String> {
        let items = match result {
            Value::Array(items) => items,
            // So agents of the predecessor say that they have none.
            Value::Null => Vec::new(),
            _ => return Err("the agent's list is not a list".to_owned()),
        };
        let count = items.len();
        let sessions: Vec<Session> =
            items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect();
        Ok(AgentSessions::Fresh { unread: count - sessions.len(), sessions })
    }

    /// Its sessions, fresh or not.
    pub fn sessions(&self) -> &[Session] {
        match self {
            AgentSessions::Fresh { sessions, .. } | AgentSessions::Silent { sessions, .. } => {
                sessions
            }
        }
    }
}

/// A session directory that was found on the shell host.
#[derive(Clone, Debug)]
pub struct LocalHome {
    pub id: Uuid,
    /// Its metadata, if that can be read.
    pub session: Option<Session>,
    /// When it was last changed.
    pub changed: Wall,
}

/// One line of the listing.
#[derive(Clone, Debug)]
pub(crate) struct ListingRow {
    pub(crate) state: SessionState,
    /// Whose it is; `None` for an orphan.
    pub(crate) agent: Option<(AgentId, String)>,
    pub(crate) id: Uuid,
    /// All that is known of it; `None` for an orphan without readable metadata.
    pub(crate) session: Option<Session>,
    /// When it was last accessed.
    pub(crate) last_accessed: Wall,
    /// The age of this line's news, if it is not fresh: when the agent was last heard of.
    pub(crate) last_news: Option<Wall>,
}

/// An agent whose part of the listing is missing, old or not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListingNote {
    pub(crate) id: AgentId,
    pub(crate) host: String,
    pub(crate) what: String,
    /// When it was last heard of, if it is silent now.
    pub(crate) last_news: Option<Wall>,
    /// Whether it has not answered at all.
    pub(crate) is_silent: bool,
}

/// All rows, newest access first, and notes on what is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    pub(crate) rows: Vec<ListingRow>,
    pub(crate) notes: Vec<ListingNote>,
}

impl Listing {
    /// Merges all agents' parts. A local home is an orphan only if every agent has answered and
    /// none owns it; while one is silent it may be that one's, and so is unknown.
    pub(crate) fn merge(agents: &[AgentList], local: Vec<LocalHome>) -> Listing {
        let mut listing = Listing::default();
        for agent in agents {
            listing.add(agent);
        }
        let is_whole = listing.notes.iter().all(|note| !note.is_silent);
        for home in local {
            if !listing.rows.iter().any(|row| row.id == home.id) {
                listing.rows.push(orphan(home, is_whole));
            }
        }
        // The id last, so that equal times never make two calls differ.
        listing.rows.sort_by(|one, other| {
            other.last_accessed.cmp(&one.last_accessed).then(one.id.cmp(&other.id))
        });
        listing
    }

    /// Puts first who waits for a person, then who is done, and so on; those of one kind by the
    /// time since when it is so, and last those of whom nothing is told. What is equal keeps its
    /// order.
    pub(crate) fn sort_by_attention(&mut self) {
        self.rows.sort_by_key(|row| row.session.as_ref().map_or(UNTOLD, attention_order));
    }

    fn add(&mut self, agent: &AgentList) {
        let owner = (agent.id.clone(), agent.host.clone());
        let silent_since = match &agent.news {
            AgentSessions::Fresh { .. } => None,
            AgentSessions::Silent { last_news, .. } => Some(*last_news),
        };
        self.rows.extend(agent.news.sessions().iter().map(|session| ListingRow {
            state: if silent_since.is_some() {
                SessionState::Unknown
            } else {
                SessionState::of(session)
            },
            agent: Some(owner.clone()),
            id: session.uuid,
            last_accessed: session.last_accessed,
            last_news: silent_since.flatten(),
            session: Some(session.clone()),
        }));
        self.notes.extend(note(agent));
    }
}

/// Where a session of whom nothing is told stands among others.
const UNTOLD: (usize, Wall) = (usize::MAX, Wall::new(0, 0));

/// Where a session stands among others when those come first that want something of a person.
pub(crate) fn attention_order(session: &Session) -> (usize, Wall) {
    match &session.attention {
        Some(attention) => (attention.state.rank(), attention.since),
        None => UNTOLD,
    }
}

fn note(agent: &AgentList) -> Option<ListingNote> {
    let (what, last_news, is_silent) = match &agent.news {
        AgentSessions::Fresh { unread: 0, .. } => return None,
        AgentSessions::Fresh { unread, .. } => {
            (format!("{unread} sessions could not be read"), None, false)
        }
        AgentSessions::Silent { error, last_news, .. } => (error.clone(), *last_news, true),
    };
    Some(ListingNote { id: agent.id.clone(), host: agent.host.clone(), what, last_news, is_silent })
}

fn orphan(home: LocalHome, is_whole: bool) -> ListingRow {
    ListingRow {
        state: if is_whole { SessionState::Orphan } else { SessionState::Unknown },
        agent: None,
        id: home.id,
        last_accessed: home.session.as_ref().map_or(home.changed, |session| session.last_accessed),
        last_news: None,
        session: home.session,
    }
}

#[cfg(test)]
#[expect(missing_docs, reason = "its helpers serve neighbouring tests")]
pub mod tests {
    use super::*;
    use crate::rpc::session::Sentence;

    /// A session named `name` whose id starts with `prefix`, accessed `age` seconds before 10:00.
    pub(crate) fn session(prefix: &str, name: &str, age: i64) -> Session {
        let id = format!("{prefix}{}", &"00000000-0000-4000-8000-000000000000"[prefix.len()..]);
        serde_json::from_value(serde_json::json!({
            "uuid": id, "name": name,
            "created_at": "2026-01-02T03:04:05Z",
            "last_accessed": Wall::new(1_767_348_000 - age, 0),
        }))
        .expect("a session")
    }

    fn id(number: u8) -> AgentId {
        AgentId::parse(&format!("abcdefghjkm{number}")).expect("an id")
    }

    /// What agent `number` has answered.
    pub(crate) fn fresh(number: u8, sessions: Vec<Session>) -> AgentList {
        let news = AgentSessions::Fresh { sessions, unread: 0 };
        AgentList { id: id(number), host: format!("web-{number}"), news }
    }

    /// What is left of agent `number`, which does not answer.
    pub(crate) fn silent(number: u8, sessions: Vec<Session>) -> AgentList {
        let news = AgentSessions::Silent {
            error: format!("cannot connect to web-{number}:222: connection refused"),
            last_news: (!sessions.is_empty()).then(|| Wall::new(1_767_347_940, 0)),
            sessions,
        };
        AgentList { id: id(number), host: format!("web-{number}"), news }
    }

    #[test]
    fn states_have_their_characters() {
        let base = session("a", "x", 0);
        let running = Session { running: true, ..base.clone() };
        for (session, sign) in [
            (base.clone(), '-'),
            (running.clone(), 'R'),
            (Session { attached: true, ..running.clone() }, 'C'),
            (Session { locked: true, ..running.clone() }, 'L'),
            (
                Session { stale: Some(Box::new(Sentence("docker is gone".to_owned()))), ..running },
                '?',
            ),
            (Session { attached: true, ..base }, '-'),
        ] {
            assert_eq!(SessionState::of(&session).sign(), sign, "{session:?}");
        }
    }

    #[test]
    fn a_lock_does_not_hide_that_it_runs() {
        let locked = Session { locked: true, ..session("a", "x", 0) };
        let running = Session { running: true, ..locked.clone() };
        let attached = Session { attached: true, ..running.clone() };
        for (session, signs) in [(locked, "L"), (running, "LR"), (attached, "LC")] {
            assert_eq!(SessionState::of(&session).signs(Some(&session)), signs);
        }
        assert_eq!(SessionState::Unknown.signs(None), "?");
    }

    #[test]
    fn newest_access_first_over_all_agents() {
        let listing = Listing::merge(
            &[
                fresh(2, vec![session("a", "old", 300), session("b", "new", 1)]),
                fresh(3, vec![session("c", "middle", 60)]),
            ],
            Vec::new(),
        );
        let names: Vec<_> = listing.rows.iter().filter_map(|row| row.session.as_ref()).collect();
        let names: Vec<_> = names.iter().map(|session| session.name.as_str()).collect();
        assert_eq!(names, ["new", "middle", "old"]);
        assert!(listing.notes.is_empty());
    }

    #[test]
    fn a_silent_agent_is_unknown_and_not_forgotten() {
        let running = Session { running: true, ..session("a", "x", 5) };
        let listing = Listing::merge(&[silent(2, vec![running]), silent(3, vec![])], Vec::new());
        assert_eq!(listing.rows[0].state, SessionState::Unknown);
        assert!(listing.rows[0].last_news.is_some());
        assert_eq!(listing.notes.len(), 2);
        assert!(listing.notes.iter().all(|note| note.is_silent));
    }

    #[test]
    fn an_orphan_is_one_only_when_all_agents_have_spoken() {
        let home = |prefix| {
            let session = session(prefix, "left", 9);
            LocalHome { id: session.uuid, session: Some(session), changed: Wall::default() }
        };
        let owned = fresh(2, vec![session("a", "x", 5)]);
        let state = |agents: &[AgentList], prefix| {
            let listing = Listing::merge(agents, vec![home(prefix)]);
            let found = listing.rows.iter().find(|row| row.id == home(prefix).id);
            found.map(|row| row.state)
        };
        assert_eq!(state(std::slice::from_ref(&owned), "b"), Some(SessionState::Orphan));
        assert_eq!(state(std::slice::from_ref(&owned), "a"), Some(SessionState::Stopped));
        assert_eq!(state(&[owned, silent(3, vec![])], "b"), Some(SessionState::Unknown));
    }

    #[test]
    fn one_unreadable_session_hides_no_other() {
        let good = serde_json::to_value(session("a", "x", 5)).expect("JSON");
        let result = serde_json::json!([good, {"uuid": "../x"}, 7]);
        let news = AgentSessions::from_result(result).expect("a list");
        assert!(
            matches!(&news, AgentSessions::Fresh { sessions, unread: 2 } if sessions.len() == 1)
        );
        let listing = Listing::merge(&[AgentList { news, ..fresh(2, vec![]) }], Vec::new());
        assert_eq!(listing.notes[0].what, "2 sessions could not be read");
        assert!(AgentSessions::from_result(Value::from(7)).is_err());
    }
}
