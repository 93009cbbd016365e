//! Which lines each page has, which of them are in view, and which is selected.

use super::columns::{COLUMNS, attention, fit, is_found, needs};
use super::model::{Model, Order};
use super::page::Page;
use super::row::{SessionKey, SessionRow, TableLine};
use super::view;
use crate::base::sorted_map::SortedMap;
use crate::base::uuid::Uuid;
use crate::fleet::listing::SessionState;
use crate::rpc::attention::AttentionState;

impl Model {
    /// How many lines a page has.
    pub(crate) fn len_of(&self, page: Page) -> usize {
        match page {
            Page::Sessions => self.items.len(),
            Page::Agents => self.shown_agents().len(),
            Page::Events => self.shown_event_rows().len(),
            Page::Messages => self.shown_messages().len(),
            Page::Settings | Page::Help => view::text_lines(self).len(),
        }
    }

    /// Finds the lines of the table anew if news have come. To be called before it is drawn: a
    /// thousand news cost one search.
    pub fn refresh(&mut self) {
        if std::mem::take(&mut self.is_stale) {
            self.rebuild();
            self.settle();
        }
    }

    /// Finds the lines of the table anew, and keeps the selected session selected.
    pub(super) fn rebuild(&mut self) {
        self.cluster.forget_owned_homes();
        let (orphans, is_sure) = self.cluster.orphans(self.now.wall);
        let state = if is_sure { SessionState::Orphan } else { SessionState::Unknown };
        self.orphans = orphans.into_iter().map(|home| (home.id, state)).collect();
        let mut rows = self.all_rows();
        let needs = needs(&rows, self.now);
        let mut counts = SortedMap::new();
        for row in &rows {
            *counts.or_insert_with(row.state, Default::default) += 1;
        }
        let mut wanting = SortedMap::new();
        let mut waits = SortedMap::new();
        for row in &rows {
            let told = attention(row);
            if let Some(told) = told {
                *wanting.or_insert_with(told.state.rank(), Default::default) += 1;
            }
            let waiting = told.filter(|told| told.state == AttentionState::Waiting);
            let text = waiting.map(|told| format!("{:?} {}", row.name(), told.in_words()));
            waits.insert(row.key.clone(), text);
        }
        let words = self.filter_words(Page::Sessions);
        let shown: Vec<_> = fit(self.size.0, &needs).into_iter().map(|(it, _)| it).collect();
        rows.retain(|row| is_found(row, &words, &shown, self.now));
        let Order { column, is_inverted, is_grouped } = self.order;
        let order = COLUMNS[column].order;
        rows.sort_by(|one, other| {
            let by_agent = match is_grouped {
                true => (one.host(), &one.key.agent).cmp(&(other.host(), &other.key.agent)),
                false => std::cmp::Ordering::Equal,
            };
            let by_column = if is_inverted { order(other, one) } else { order(one, other) };
            by_agent.then(by_column).then(one.key.cmp(&other.key))
        });
        let keys: Vec<SessionKey> = rows.into_iter().map(|row| row.key).collect();
        self.items = if is_grouped { grouped(keys) } else { plain(keys) };
        (self.counts, self.needs, self.wanting) = (counts, needs, wanting);
        self.note_waiting(waits);
        self.follow_selected();
    }

    fn all_rows(&self) -> Vec<SessionRow<'_>> {
        let agents = self.cluster.agents.values();
        let owned = agents.flat_map(|agent| {
            agent.sessions.values().map(move |session| self.session_row(agent, session))
        });
        let key = |id: &Uuid| SessionKey { agent: None, id: *id };
        let orphans = self.orphans.keys().filter_map(|id| self.orphan_row(&key(id)));
        owned.chain(orphans).collect()
    }

    /// Stands where the selected session is now; where it was, if it is gone.
    fn follow_selected(&mut self) {
        let selected = self.selected.as_ref();
        let is_selected =
            |item: &TableLine| matches!(item, TableLine::Session(at) if Some(at) == selected);
        let found = self.items.iter().position(is_selected);
        let list = self.lists.or_insert_with(Page::Sessions, Default::default);
        list.at = found.unwrap_or(list.at.min(self.items.len().saturating_sub(1)));
        self.select_session(1);
    }

    /// Selects the session at the cursor; from a group's title the next one in this direction.
    pub(super) fn select_session(&mut self, direction: isize) {
        let list = self.lists.or_insert_with(Page::Sessions, Default::default);
        let session_at = |at: &usize| matches!(self.items.get(*at), Some(TableLine::Session(_)));
        let ahead = (list.at..self.items.len()).find(session_at);
        let behind = (0..list.at).rfind(session_at);
        let at =
            if session_at(&list.at) || direction > 0 { ahead.or(behind) } else { behind.or(ahead) };
        list.at = at.unwrap_or(0);
        self.selected = at.and_then(|at| match &self.items[at] {
            TableLine::Session(key) => Some(key.clone()),
            TableLine::Group { .. } => None,
        });
    }

    /// Goes to the next session that waits for a person, or where none waits is done. False if
    /// there is none, or another page is shown.
    pub(super) fn select_next_wanted(&mut self) -> bool {
        if self.page != Page::Sessions {
            return false;
        }
        let at = self.list(Page::Sessions).at;
        let behind = (at + 1..self.items.len()).chain(0..self.items.len().min(at + 1));
        let places: Vec<usize> = behind.collect();
        let is_in = |at: &usize, wanted| match &self.items[*at] {
            TableLine::Session(key) => self
                .row(key)
                .and_then(|row| attention(&row).map(|attention| attention.state == wanted))
                .unwrap_or_default(),
            TableLine::Group { .. } => false,
        };
        let next = |wanted| places.iter().find(|at| is_in(at, wanted)).copied();
        let Some(next) = next(AttentionState::Waiting).or_else(|| next(AttentionState::Done))
        else {
            return false;
        };
        self.lists.or_insert_with(Page::Sessions, Default::default).at = next;
        self.select_session(1);
        true
    }

    /// Notes who has begun to wait for a person since the last time, but whom one has looked at.
    fn note_waiting(&mut self, waits: SortedMap<SessionKey, Option<String>>) {
        for (key, text) in waits.iter() {
            let had = self.waits.get(key);
            if let (Some(text), Some(false)) = (text, had)
                && self.looked_at.as_ref() != Some(key)
            {
                self.notice = Some(text.clone());
            }
        }
        self.looked_at = None;
        self.waits = waits.into_iter().map(|(key, text)| (key, text.is_some())).collect();
    }

    /// What the terminal is to tell, once: that a session has begun to wait.
    pub fn take_notice(&mut self) -> Option<String> {
        self.notice.take()
    }

    /// Brings what is selected into view.
    pub(super) fn settle(&mut self) {
        let rows = view::layout(self).body.rows;
        let len = self.len_of(self.page);
        let page = self.page;
        let list = self.lists.or_insert_with(page, Default::default);
        match page.is_list() {
            true => list.show(len, rows),
            false => list.scroll(0, len, rows),
        }
        if page == Page::Agents {
            let at = self.list(page).at;
            self.agent = self.shown_agents().get(at).map(|agent| agent.id.to_string());
        }
    }
}

fn plain(keys: Vec<SessionKey>) -> Vec<TableLine> {
    keys.into_iter().map(TableLine::Session).collect()
}

fn grouped(keys: Vec<SessionKey>) -> Vec<TableLine> {
    let mut items = Vec::new();
    for group in keys.chunk_by(|one, other| one.agent == other.agent) {
        items.push(TableLine::Group { agent: group[0].agent.clone(), count: group.len() });
        items.extend(group.iter().cloned().map(TableLine::Session));
    }
    items
}
