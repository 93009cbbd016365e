//! All that the screen shows, and what was typed into it.
//!
//! The model owns what is known ([`Cluster`]), which lines of it are shown in which order, where
//! the person stands, the open dialog, what is under way and what was said. It decides nothing by
//! itself: [`super::update`] changes it, [`super::view`] draws it.

use std::collections::{BTreeMap, VecDeque};

use super::bindings::Command;
use super::cluster::{Agent, Cluster};
use super::columns::{ACCESS, COLUMNS};
use super::dialog::Dialog;
use super::input::Input;
use super::list::List;
use super::messages::Ticket;
use super::ops::{Requests, Target, Task};
use super::paint::Look;
use super::view;
use crate::base::time::{Mono, Now, Wall};
use crate::base::uuid::Uuid;
use crate::fleet::listing::State;
use crate::fleet::registry::AgentId;
use crate::limits::{EVENT_ROWS_MAX, MESSAGE_SHOWN, MESSAGES_MAX, TROUBLE_SHOWN};
use crate::rpc::call::Call;
use crate::rpc::session::Session;

/// One of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Page {
    /// The table of sessions.
    Sessions,
    Agents,
    /// Events as they come.
    Events,
    /// What was said, and what is under way.
    Messages,
    /// All about one session, its agent and this program.
    Settings,
    Help,
}

impl Page {
    /// All pages; the first ones in the order of Tab.
    pub(crate) const ALL: [Page; 6] =
        [Page::Sessions, Page::Agents, Page::Events, Page::Messages, Page::Settings, Page::Help];

    /// Whether it has lines, one of which is selected, and that can be filtered.
    pub(crate) const fn is_list(self) -> bool {
        matches!(self, Page::Sessions | Page::Agents | Page::Events | Page::Messages)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Page::Sessions => "sessions",
            Page::Agents => "agents",
            Page::Events => "events",
            Page::Messages => "messages",
            Page::Settings => "settings",
            Page::Help => "help",
        }
    }
}

/// Which session: an id is unique on an agent only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    /// Whose it is; `None` for a directory on this host that no agent owns.
    pub(crate) agent: Option<AgentId>,
    pub(crate) id: Uuid,
}

/// A line of the sessions' page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// The sessions of an agent follow.
    Group {
        /// The agent; `None` for this host.
        agent: Option<AgentId>,
        /// How many are shown.
        count: usize,
    },
    Session(Spot),
}

/// A session as the table shows it.
#[derive(Clone, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) spot: Spot,
    pub(crate) agent: Option<&'a Agent>,
    /// What is known of it; `None` for a directory without readable metadata.
    pub(crate) session: Option<&'a Session>,
    pub(crate) state: State,
    /// When it was last accessed.
    pub(crate) last_accessed: Wall,
    /// What is being done to it.
    pub(crate) task: Option<&'a Task>,
}

/// How the table is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// By which of [`COLUMNS`].
    pub(crate) column: usize,
    /// Whether the other way round.
    pub(crate) is_inverted: bool,
    /// Whether by agent first.
    pub(crate) is_grouped: bool,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) at: Wall,
    /// What: one sentence, whole.
    pub(crate) text: String,
    /// Whether something has failed.
    pub(crate) is_trouble: bool,
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
pub enum Action {
    /// Ask an agent; the answer comes as [`super::messages::News::Answered`].
    Ask { ticket: Ticket, agent: AgentId, call: Call },
    /// Lend the terminal to a session, then tell [`super::messages::News::Returned`].
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
    pub(crate) page: Page,
    pub(crate) page_before: Page,
    /// Where one stands on each page.
    pub(crate) lists: BTreeMap<Page, List>,
    /// What each page is filtered by.
    pub(crate) filters: BTreeMap<Page, Input>,
    /// Whether the filter is being typed.
    pub(crate) is_typing: bool,
    /// How the table is ordered.
    pub(crate) order: Order,
    pub(crate) items: Vec<Item>,
    pub(crate) spot: Option<Spot>,
    pub(crate) agent: Option<String>,
    /// How many sessions are in each state, filtered or not.
    pub(crate) counts: BTreeMap<State, usize>,
    /// Directories that no agent owns.
    pub(crate) orphans: BTreeMap<Uuid, State>,
    pub(crate) dialog: Option<Dialog>,
    /// What is under way.
    pub(crate) requests: Requests,
    /// What was said, the newest last.
    pub(crate) messages: VecDeque<Message>,
    /// Until when the newest message is shown below the list.
    pub(crate) message_until: Mono,
    /// The events, the newest last.
    pub(crate) happenings: VecDeque<EventRow>,
    /// How much was painted.
    pub(crate) painted: Painted,
    pub(super) actions: Vec<Action>,
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

impl Row<'_> {
    pub(crate) fn name(&self) -> &str {
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
            State::Unknown => self.agent.and_then(|agent| agent.last_news),
            _ => None,
        }
    }
}

impl Model {
    /// A screen that knows nothing yet.
    pub(crate) fn new(size: (usize, usize), look: Look, now: Now) -> Model {
        Model {
            size,
            now,
            look,
            cluster: Cluster::default(),
            page: Page::Sessions,
            page_before: Page::Sessions,
            lists: BTreeMap::new(),
            filters: BTreeMap::new(),
            is_typing: false,
            order: Order { column: ACCESS, is_inverted: false, is_grouped: false },
            items: Vec::new(),
            spot: None,
            agent: None,
            counts: BTreeMap::new(),
            orphans: BTreeMap::new(),
            dialog: None,
            requests: Requests::default(),
            messages: VecDeque::new(),
            message_until: Mono::ZERO,
            happenings: VecDeque::new(),
            painted: Painted::default(),
            actions: Vec::new(),
            is_stale: true,
        }
    }

    // --- looking ---

    /// A session as it is known now.
    pub(crate) fn row(&self, spot: &Spot) -> Option<Row<'_>> {
        let Some(id) = &spot.agent else { return self.orphan_row(spot) };
        let agent = self.cluster.agents.get(id.as_str())?;
        let session = agent.sessions.get(&spot.id)?;
        Some(self.session_row(agent, session))
    }

    fn session_row<'a>(&'a self, agent: &'a Agent, session: &'a Session) -> Row<'a> {
        Row {
            spot: Spot { agent: Some(agent.id.clone()), id: session.uuid },
            agent: Some(agent),
            session: Some(session),
            state: agent.state_of(session),
            last_accessed: session.last_accessed,
            task: self.requests.task_on(&agent.id, session.uuid),
        }
    }

    fn orphan_row(&self, spot: &Spot) -> Option<Row<'_>> {
        let home = self.cluster.homes.iter().find(|home| home.id == spot.id)?;
        let session = home.session.as_ref();
        Some(Row {
            spot: spot.clone(),
            agent: None,
            session,
            state: *self.orphans.get(&spot.id)?,
            last_accessed: session.map_or(home.changed, |session| session.last_accessed),
            task: None,
        })
    }

    /// The selected session, if an agent owns it: what something can be done to.
    pub(crate) fn selected_target(&self) -> Option<Target> {
        let row = self.row(self.spot.as_ref()?)?;
        let agent = row.agent?;
        Some(Target {
            agent: agent.id.clone(),
            host: agent.host().to_owned(),
            id: row.spot.id,
            name: row.name().to_owned(),
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
    pub(crate) fn shown_happenings(&self) -> Vec<&EventRow> {
        let words = self.filter_words(Page::Events);
        let fits = |it: &&EventRow| {
            words.is_empty() || matches(&words, &format!("{} {} {}", it.host, it.kind, it.text))
        };
        self.happenings.iter().rev().filter(fits).collect()
    }

    /// The messages that are shown, the newest first.
    pub(crate) fn shown_messages(&self) -> Vec<&Message> {
        let words = self.filter_words(Page::Messages);
        self.messages.iter().rev().filter(|message| matches(&words, &message.text)).collect()
    }

    /// Where one stands on a page.
    pub(crate) fn list(&self, page: Page) -> List {
        self.lists.get(&page).copied().unwrap_or_default()
    }

    /// The message that is shown below the list.
    pub(crate) fn current_message(&self) -> Option<&Message> {
        self.messages.back().filter(|_| self.now.mono < self.message_until)
    }

    /// What a page is filtered by; empty if by nothing.
    pub(crate) fn filter(&self, page: Page) -> String {
        self.filters.get(&page).map_or_else(String::new, Input::text)
    }

    fn filter_words(&self, page: Page) -> Vec<String> {
        self.filter(page).to_lowercase().split_whitespace().map(str::to_owned).collect()
    }

    /// How many lines a page has.
    pub(crate) fn len_of(&self, page: Page) -> usize {
        match page {
            Page::Sessions => self.items.len(),
            Page::Agents => self.shown_agents().len(),
            Page::Events => self.shown_happenings().len(),
            Page::Messages => self.shown_messages().len(),
            Page::Settings | Page::Help => view::text_lines(self).len(),
        }
    }

    // --- changing ---

    pub(crate) fn say(&mut self, text: String, is_trouble: bool) {
        if self.messages.len() == MESSAGES_MAX {
            self.messages.pop_front();
        }
        self.messages.push_back(Message { at: self.now.wall, text, is_trouble });
        let shown = if is_trouble { TROUBLE_SHOWN } else { MESSAGE_SHOWN };
        self.message_until = self.now.mono + shown;
    }

    pub(super) fn happened(&mut self, happening: EventRow) {
        if self.happenings.len() == EVENT_ROWS_MAX {
            self.happenings.pop_front();
        }
        self.happenings.push_back(happening);
        // Who reads an older one goes on reading it.
        let list = self.lists.entry(Page::Events).or_default();
        if list.at > 0 {
            list.step(1, usize::MAX);
            list.top += 1;
        }
    }

    /// Whether news have come that are not drawn yet.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Finds the lines of the table anew if news have come. To be called before it is drawn: a
    /// thousand news cost one search.
    pub(crate) fn refresh(&mut self) {
        if std::mem::take(&mut self.is_stale) {
            self.rebuild();
            self.settle();
        }
    }

    /// Finds the lines of the table anew, and keeps the selected session selected.
    pub(super) fn rebuild(&mut self) {
        self.cluster.forget_owned_homes();
        let (orphans, is_sure) = self.cluster.orphans(self.now.wall);
        let state = if is_sure { State::Orphan } else { State::Unknown };
        self.orphans = orphans.into_iter().map(|home| (home.id, state)).collect();
        let mut rows = self.all_rows();
        let mut counts = BTreeMap::new();
        for row in &rows {
            *counts.entry(row.state).or_default() += 1;
        }
        let words = self.filter_words(Page::Sessions);
        rows.retain(|row| words.is_empty() || matches(&words, &haystack(row)));
        let Order { column, is_inverted, is_grouped } = self.order;
        let order = COLUMNS[column].order;
        rows.sort_by(|one, other| {
            let by_agent = match is_grouped {
                true => (one.host(), &one.spot.agent).cmp(&(other.host(), &other.spot.agent)),
                false => std::cmp::Ordering::Equal,
            };
            let by_column = if is_inverted { order(other, one) } else { order(one, other) };
            by_agent.then(by_column).then(one.spot.cmp(&other.spot))
        });
        let spots: Vec<Spot> = rows.into_iter().map(|row| row.spot).collect();
        self.items = if is_grouped { grouped(spots) } else { plain(spots) };
        self.counts = counts;
        self.follow_spot();
    }

    fn all_rows(&self) -> Vec<Row<'_>> {
        let agents = self.cluster.agents.values();
        let owned = agents.flat_map(|agent| {
            agent.sessions.values().map(move |session| self.session_row(agent, session))
        });
        let spot = |id: &Uuid| Spot { agent: None, id: *id };
        let orphans = self.orphans.keys().filter_map(|id| self.orphan_row(&spot(id)));
        owned.chain(orphans).collect()
    }

    /// Stands where the selected session is now; where it was, if it is gone.
    fn follow_spot(&mut self) {
        let is_spot =
            |item: &Item| matches!(item, Item::Session(at) if Some(at) == self.spot.as_ref());
        let found = self.items.iter().position(is_spot);
        let list = self.lists.entry(Page::Sessions).or_default();
        list.at = found.unwrap_or(list.at.min(self.items.len().saturating_sub(1)));
        self.settle_spot(1);
    }

    /// Selects the session at the cursor; from a group's title the next one in this direction.
    pub(super) fn settle_spot(&mut self, direction: isize) {
        let list = self.lists.entry(Page::Sessions).or_default();
        let session_at = |at: &usize| matches!(self.items.get(*at), Some(Item::Session(_)));
        let ahead = (list.at..self.items.len()).find(session_at);
        let behind = (0..list.at).rfind(session_at);
        let at =
            if session_at(&list.at) || direction > 0 { ahead.or(behind) } else { behind.or(ahead) };
        list.at = at.unwrap_or(0);
        self.spot = at.and_then(|at| match &self.items[at] {
            Item::Session(spot) => Some(spot.clone()),
            Item::Group { .. } => None,
        });
    }

    /// Brings what is selected into view.
    pub(super) fn settle(&mut self) {
        let rows = view::layout(self).body.rows;
        let len = self.len_of(self.page);
        let page = self.page;
        let list = self.lists.entry(page).or_default();
        match page.is_list() {
            true => list.show(len, rows),
            false => list.scroll(0, len, rows),
        }
        if page == Page::Agents {
            let at = self.list(page).at;
            self.agent = self.shown_agents().get(at).map(|agent| agent.id.to_string());
        }
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
        let text = match (&self.spot, command) {
            (Some(_), _) => "no agent owns this directory; move or remove it by hand",
            (None, Command::New) => "there is no agent to make a session on",
            (None, _) => "no session is selected",
        };
        self.say(text.to_owned(), true);
    }
}

fn plain(spots: Vec<Spot>) -> Vec<Item> {
    spots.into_iter().map(Item::Session).collect()
}

fn grouped(spots: Vec<Spot>) -> Vec<Item> {
    let mut items = Vec::new();
    for group in spots.chunk_by(|one, other| one.agent == other.agent) {
        items.push(Item::Group { agent: group[0].agent.clone(), count: group.len() });
        items.extend(group.iter().cloned().map(Item::Session));
    }
    items
}

/// All that a filter looks at.
fn haystack(row: &Row<'_>) -> String {
    let (dns, image) =
        row.session.map_or(("", ""), |session| (session.dns_name.as_str(), session.image.as_str()));
    let agent = row.spot.agent.as_ref().map_or("", |id| id.as_str());
    let (name, host, state) = (row.name(), row.host(), state_word(row.state));
    let port = row.session.map_or(0, |session| session.port);
    format!("{name} {} {agent} {host} {dns} {image} {port} {state}", row.spot.id)
}

/// A state in one word.
pub(crate) const fn state_word(state: State) -> &'static str {
    match state {
        State::Stopped => "stopped",
        State::Locked => "locked",
        State::Running => "running",
        State::Attached => "attached",
        State::Orphan => "orphan",
        State::Unknown => "unknown",
    }
}

fn matches(words: &[String], text: &str) -> bool {
    let text = text.to_lowercase();
    words.iter().all(|word| text.contains(word))
}
