//! All that the screen shows, and what was typed into it.
//!
//! The model owns what is known ([`Cluster`]), which lines of it are shown in which order, where
//! the person stands, the open dialog, what is under way and what was said. It decides nothing by
//! itself: [`super::update`] changes it, [`super::view`] draws it.

use std::collections::VecDeque;

use super::bindings::{Command, Need};
use super::cluster::{Agent, Cluster};
use super::columns::{ACCESS, Needs};
use super::dialog::Dialog;
use super::input::Input;
use super::list::List;
use super::messages::ScreenRequestId;
use super::ops::{OpenRequests, Target};
use super::page::Page;
use super::paint::Look;
use super::row::{SessionKey, SessionRow, TableLine};
use crate::base::sorted_map::SortedMap;
use crate::base::time::{Mono, Now, Wall};
use crate::base::uuid::Uuid;
use crate::fleet::listing::SessionState;
use crate::fleet::registry::AgentId;
use crate::limits::{EVENT_ROWS_MAX, MESSAGE_SHOWN, MESSAGES_MAX, TROUBLE_SHOWN};
use crate::rpc::call::Call;
use crate::rpc::session::Session;

/// How the table is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// By which of [`COLUMNS`](super::columns::COLUMNS).
    pub(crate) column: usize,
    /// Whether the other way round.
    pub(crate) is_inverted: bool,
    /// Whether by agent first.
    pub(crate) is_grouped: bool,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogEntry {
    pub(crate) at: Wall,
    /// What: one sentence, whole.
    pub(crate) text: String,
    /// Whether something has failed.
    pub(crate) is_error: bool,
}

/// An event as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventRow {
    /// When, by its agent's clock.
    pub(crate) at: Wall,
    pub(crate) host: String,
    pub(crate) kind: String,
    /// What it is about, and what else there is to say.
    pub(crate) text: String,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum ScreenAction {
    /// Ask an agent; the answer comes as [`super::messages::Message::Answered`].
    Ask { request: ScreenRequestId, agent: AgentId, call: Call },
    /// Lend the terminal to a session, then tell [`super::messages::Message::Returned`].
    Attach(Target),
    /// Paint all of the screen.
    Repaint,
    /// Give the terminal back and end.
    Quit,
}

/// How much was painted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Painted {
    pub(crate) frames: u64,
    /// In how many bytes.
    pub(crate) bytes: u64,
    /// How many the last one took.
    pub(crate) last: usize,
}

#[derive(Debug)]
pub struct Model {
    /// Columns and rows of the terminal.
    pub(crate) size: (usize, usize),
    /// The time of the last update.
    pub(crate) now: Now,
    /// What the terminal can show.
    pub(crate) look: Look,
    pub(crate) cluster: Cluster,
    /// Which page is shown.
    pub page: Page,
    pub(crate) page_before: Page,
    /// Where one stands on each page.
    pub(crate) lists: SortedMap<Page, List>,
    /// What each page is filtered by.
    pub(crate) filters: SortedMap<Page, Input>,
    /// Whether the filter is being typed.
    pub(crate) is_typing: bool,
    /// How the table is ordered.
    pub(crate) order: Order,
    pub items: Vec<TableLine>,
    pub selected: Option<SessionKey>,
    pub(crate) agent: Option<String>,
    /// How many sessions are in each state, filtered or not.
    pub(crate) counts: SortedMap<SessionState, usize>,
    /// How many sessions want what of a person, by the rank of the state.
    pub(crate) wanting: SortedMap<usize, usize>,
    /// Which sessions are known, and whether they wait for a person.
    pub(super) waits: SortedMap<SessionKey, bool>,
    /// The session that one has just come back from.
    pub(super) looked_at: Option<SessionKey>,
    /// What the terminal is to tell.
    pub(super) notice: Option<String>,
    /// How wide the columns of the table want to be.
    pub(crate) needs: Needs,
    /// Directories that no agent owns.
    pub(crate) orphans: SortedMap<Uuid, SessionState>,
    pub dialog: Option<Dialog>,
    /// What is under way.
    pub(crate) requests: OpenRequests,
    /// What was said, the newest last.
    pub(crate) messages: VecDeque<LogEntry>,
    /// Until when the newest message is shown below the list.
    pub(crate) message_until: Mono,
    /// The events, the newest last.
    pub(crate) event_rows: VecDeque<EventRow>,
    /// Whether all that runs ends with this program: then leaving is asked for.
    pub ends_sessions: bool,
    /// How much was painted.
    pub(crate) painted: Painted,
    pub(super) actions: Vec<ScreenAction>,
    /// Whether the lines of the table are to be found anew.
    pub(super) is_stale: bool,
}

impl Painted {
    /// A picture took so many bytes; none are no picture.
    pub(crate) fn note(&mut self, bytes: usize) {
        if bytes > 0 {
            self.frames += 1;
            self.bytes += bytes as u64;
            self.last = bytes;
        }
    }
}

impl Model {
    /// A screen that knows nothing yet.
    pub fn new(size: (usize, usize), look: Look, now: Now) -> Model {
        Model {
            size,
            now,
            look,
            cluster: Cluster::default(),
            page: Page::Sessions,
            page_before: Page::Sessions,
            lists: SortedMap::new(),
            filters: SortedMap::new(),
            is_typing: false,
            order: Order { column: ACCESS, is_inverted: false, is_grouped: false },
            items: Vec::new(),
            selected: None,
            agent: None,
            counts: SortedMap::new(),
            wanting: SortedMap::new(),
            waits: SortedMap::new(),
            looked_at: None,
            notice: None,
            needs: Needs::default(),
            orphans: SortedMap::new(),
            dialog: None,
            requests: OpenRequests::default(),
            messages: VecDeque::new(),
            message_until: Mono::ZERO,
            event_rows: VecDeque::new(),
            ends_sessions: false,
            painted: Painted::default(),
            actions: Vec::new(),
            is_stale: true,
        }
    }

    /// How many sessions run, as far as is known.
    pub(crate) fn running(&self) -> usize {
        let all = self.cluster.agents.values().flat_map(|agent| agent.sessions.values());
        all.filter(|session| session.running).count()
    }

    /// Whether what a key needs is there.
    pub(crate) fn has(&self, need: Need) -> bool {
        match need {
            Need::Nothing => true,
            Need::Agent => self.cluster.agents.values().any(|agent| agent.enrolled.is_some()),
            Need::Session => self.selected_target().is_some(),
        }
    }

    /// A session as it is known now.
    pub fn row(&self, key: &SessionKey) -> Option<SessionRow<'_>> {
        let Some(id) = &key.agent else { return self.orphan_row(key) };
        let agent = self.cluster.agents.get(id.as_str())?;
        let session = agent.sessions.get(&key.id)?;
        Some(self.session_row(agent, session))
    }

    pub(super) fn session_row<'a>(
        &'a self,
        agent: &'a Agent,
        session: &'a Session,
    ) -> SessionRow<'a> {
        SessionRow {
            key: SessionKey { agent: Some(agent.id.clone()), id: session.uuid },
            agent: Some(agent),
            session: Some(session),
            state: agent.state_of(session),
            last_accessed: session.last_accessed,
            task: self.requests.task_on(&agent.id, session.uuid),
        }
    }

    pub(super) fn orphan_row(&self, key: &SessionKey) -> Option<SessionRow<'_>> {
        let home = self.cluster.homes.iter().find(|home| home.id == key.id)?;
        let session = home.session.as_ref();
        Some(SessionRow {
            key: key.clone(),
            agent: None,
            session,
            state: *self.orphans.get(&key.id)?,
            last_accessed: session.map_or(home.changed, |session| session.last_accessed),
            task: None,
        })
    }

    /// The selected session, if an agent owns it: what something can be done to.
    pub fn selected_target(&self) -> Option<Target> {
        let row = self.row(self.selected.as_ref()?)?;
        let agent = row.agent?;
        Some(Target {
            agent: agent.id.clone(),
            host: agent.host().to_owned(),
            id: row.key.id,
            name: row.name().to_owned(),
            has_name: row.session.is_some_and(|session| !session.name.is_empty()),
        })
    }

    /// The agents that the page of agents shows.
    pub(crate) fn shown_agents(&self) -> Vec<&Agent> {
        let words = self.filter_words(Page::Agents);
        let agents = self.cluster.agents.values();
        let fits = |agent: &&Agent| {
            let text = format!("{} {} {} {}", agent.host(), agent.id, agent.version, agent.image);
            matches(&words, &text)
        };
        agents.filter(fits).collect()
    }

    /// The events that are shown, the newest first.
    pub(crate) fn shown_event_rows(&self) -> Vec<&EventRow> {
        let words = self.filter_words(Page::Events);
        let fits = |it: &&EventRow| {
            words.is_empty() || matches(&words, &format!("{} {} {}", it.host, it.kind, it.text))
        };
        self.event_rows.iter().rev().filter(fits).collect()
    }

    /// The messages that are shown, the newest first.
    pub(crate) fn shown_messages(&self) -> Vec<&LogEntry> {
        let words = self.filter_words(Page::Messages);
        self.messages.iter().rev().filter(|message| matches(&words, &message.text)).collect()
    }

    /// Where one stands on a page.
    pub fn list(&self, page: Page) -> List {
        self.lists.get(&page).copied().unwrap_or_default()
    }

    /// The message that is shown below the list.
    pub(crate) fn current_message(&self) -> Option<&LogEntry> {
        self.messages.back().filter(|_| self.now.mono < self.message_until)
    }

    /// What a page is filtered by; empty if by nothing.
    pub(crate) fn filter(&self, page: Page) -> String {
        self.filters.get(&page).map_or_else(String::new, Input::text)
    }

    pub(super) fn filter_words(&self, page: Page) -> Vec<String> {
        self.filter(page).to_lowercase().split_whitespace().map(str::to_owned).collect()
    }

    pub(crate) fn log(&mut self, text: String, is_error: bool) {
        if self.messages.len() == MESSAGES_MAX {
            self.messages.pop_front();
        }
        self.messages.push_back(LogEntry { at: self.now.wall, text, is_error });
        let shown = if is_error { TROUBLE_SHOWN } else { MESSAGE_SHOWN };
        self.message_until = self.now.mono + shown;
    }

    pub(super) fn add_event(&mut self, row: EventRow) {
        if self.event_rows.len() == EVENT_ROWS_MAX {
            self.event_rows.pop_front();
        }
        self.event_rows.push_back(row);
        // Who reads an older one goes on reading it.
        let list = self.lists.or_insert_with(Page::Events, Default::default);
        if list.at > 0 {
            list.step(1, usize::MAX);
            list.top += 1;
        }
    }

    /// Whether news have come that are not drawn yet.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale
    }

    pub(super) fn go(&mut self, page: Page) {
        if page != self.page {
            self.page_before = if self.page.is_list() { self.page } else { self.page_before };
            self.page = page;
            if !page.is_list() {
                self.lists.remove(&page);
            }
        }
    }

    /// What a key would do with the selected session is not possible: says so.
    pub(super) fn refuse(&mut self, command: Command) {
        let text = match (&self.selected, command) {
            (Some(_), _) => "no agent owns this directory; move or remove it by hand",
            (None, Command::New) => "there is no agent to make a session on",
            (None, _) => "no session is selected",
        };
        self.log(text.to_owned(), true);
    }
}

/// Whether a text has all of these words, which are in lower case.
fn matches(words: &[String], text: &str) -> bool {
    let text = text.to_lowercase();
    words.iter().all(|word| text.contains(word))
}
