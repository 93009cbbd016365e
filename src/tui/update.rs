//! What a key does.
//!
//! A key goes to the open dialog, else to the filter that is being typed, else through the table of
//! keys ([`super::bindings`]) to the page.

use super::bindings::{Command, meaning};
use super::columns::{ACCESS, ATTENTION, COLUMNS};
use super::dialog::{Answer, Confirm, Dialog, yes_no};
use super::form::{Form, FormResult, FormStage};
use super::input::Input;
use super::keys::Key;
use super::model::{Model, ScreenAction};
use super::ops::{ScreenRequest, Target, Task};
use super::page::Page;
use super::view;
use crate::base::time::{Mono, Now};
use crate::fleet::registry::AgentId;
use crate::limits::{SCREEN_QUIET_TICK, SCREEN_TASK_TICK};
use crate::rpc::call::{Call, Id};

impl Model {
    /// A key was pressed.
    pub fn key(&mut self, now: Now, key: &Key) -> Vec<ScreenAction> {
        self.now = now;
        match key {
            // Nothing is bound to Alt, so it was Escape and, soon after it, a key.
            Key::Alt(sign) => {
                self.press(&Key::Esc);
                self.press(&Key::Char(*sign));
            }
            _ => self.press(key),
        }
        self.end_update()
    }

    fn press(&mut self, key: &Key) {
        self.refresh();
        match self.dialog.take() {
            Some(Dialog::Confirm(confirm)) => self.confirm_key(*confirm, key),
            Some(Dialog::Form(form)) => self.form_key(form, key),
            Some(Dialog::Leave) => self.leave_key(key),
            None if self.is_typing => self.filter_key(key),
            None => self.page_key(key),
        }
    }

    /// The terminal has another size now.
    pub fn resized(&mut self, now: Now, size: (usize, usize)) -> Vec<ScreenAction> {
        (self.now, self.size) = (now, size);
        // A filter looks at the columns that are shown.
        self.is_stale = true;
        self.actions.push(ScreenAction::Repaint);
        self.end_update()
    }

    pub fn tick(&mut self, now: Now) -> Vec<ScreenAction> {
        self.now = now;
        self.end_update()
    }

    /// When [`Model::tick`] is wanted: for ages, for whom to ask, for messages that go.
    pub(crate) fn deadline(&self) -> Mono {
        let quiet = self.now.mono + SCREEN_QUIET_TICK;
        let is_busy = self.requests.tasks().next().is_some();
        let busy = is_busy.then(|| self.now.mono + SCREEN_TASK_TICK);
        let message = Some(self.message_until).filter(|until| *until > self.now.mono);
        let asks = self.cluster.deadline();
        [busy, message, asks].into_iter().flatten().fold(quiet, Mono::min)
    }

    pub(super) fn end_update(&mut self) -> Vec<ScreenAction> {
        for (agent, wants_ping) in self.cluster.due(self.now.mono) {
            self.ask(ScreenRequest::List(agent.clone()), &agent, Call::List);
            if wants_ping {
                self.ask(ScreenRequest::Ping(agent.clone()), &agent, Call::Ping);
            }
        }
        self.settle();
        std::mem::take(&mut self.actions)
    }

    pub(super) fn ask(&mut self, request: ScreenRequest, agent: &AgentId, call: Call) {
        let request = self.requests.open(request);
        self.actions.push(ScreenAction::Ask { request, agent: agent.clone(), call });
    }

    fn confirm_key(&mut self, mut confirm: Confirm, key: &Key) {
        match confirm.key(key) {
            Answer::Yes => self.start(&confirm.target, confirm.call),
            Answer::No => {}
            Answer::Open => self.dialog = Some(Dialog::Confirm(Box::new(confirm))),
        }
    }

    /// Leaves, unless sessions that run end with this: then it is asked for first.
    fn quit(&mut self) {
        match self.ends_sessions && self.running() > 0 {
            true => self.dialog = Some(Dialog::Leave),
            false => self.actions.push(ScreenAction::Quit),
        }
    }

    fn leave_key(&mut self, key: &Key) {
        match yes_no(key) {
            Answer::Yes => self.actions.push(ScreenAction::Quit),
            Answer::No => {}
            Answer::Open => self.dialog = Some(Dialog::Leave),
        }
    }

    /// Asks an agent to do something to a session.
    fn start(&mut self, target: &Target, call: Call) {
        let task = Task::new(target, &call, self.now.mono);
        self.ask(ScreenRequest::Do(task), &target.agent, call);
    }

    fn form_key(&mut self, mut form: Box<Form>, key: &Key) {
        match form.key(key) {
            FormResult::Close => {
                if matches!(form.stage, FormStage::Asking(_)) {
                    self.log("it goes on; M shows how it ends".to_owned(), false);
                }
            }
            FormResult::Nothing => self.dialog = Some(Dialog::Form(form)),
            FormResult::Ask(agent, call) => {
                let host = self.cluster.agents.get(agent.as_str()).map(|agent| agent.host());
                let id = match &*call {
                    Call::Edit(edit) => Some(edit.id),
                    _ => None,
                };
                let task = Task {
                    subject: format!("{:?} on {}", form.name(), host.unwrap_or(agent.as_str())),
                    agent: agent.clone(),
                    id,
                    op: call.op(),
                    since: self.now.mono,
                };
                let request = self.requests.open(ScreenRequest::Do(task));
                self.actions.push(ScreenAction::Ask { request, agent, call: *call });
                form.stage = FormStage::Asking(request);
                self.dialog = Some(Dialog::Form(form));
            }
        }
    }

    fn filter_key(&mut self, key: &Key) {
        let page = self.page;
        match key {
            Key::Enter | Key::Tab => self.is_typing = false,
            Key::Esc | Key::Ctrl('c') => self.clear_filter(),
            Key::Up => self.step(-1),
            Key::Down => self.step(1),
            _ => {
                let is_typed = self.filters.or_insert_with(page, Default::default).key(key);
                if is_typed {
                    self.filter_changed();
                }
            }
        }
    }

    fn clear_filter(&mut self) {
        self.is_typing = false;
        self.filters.remove(&self.page);
        self.filter_changed();
    }

    fn filter_changed(&mut self) {
        match self.page {
            Page::Sessions => self.rebuild(),
            page => {
                self.lists.remove(&page);
            }
        }
    }

    fn page_key(&mut self, key: &Key) {
        let Some(binding) = meaning(key, self.page) else {
            // Back from a filter or a message of the first page.
            if matches!(key, Key::Esc | Key::Backspace) {
                self.message_until = Mono::ZERO;
                self.clear_filter();
            }
            return;
        };
        match self.has(binding.need) {
            true => self.command(binding.command),
            false => self.refuse(binding.command),
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Quit => self.quit(),
            Command::Redraw => self.actions.push(ScreenAction::Repaint),
            Command::Help => self.go(Page::Help),
            Command::Settings => self.settings(),
            Command::Sessions => self.go(Page::Sessions),
            Command::Agents => self.go(Page::Agents),
            Command::Events => self.go(Page::Events),
            Command::Messages => self.go(Page::Messages),
            Command::NextPage if self.select_next_wanted() => {}
            Command::NextPage => self.next_page(),
            Command::Back => self.back(),
            Command::Filter => {
                self.is_typing = true;
                self.filters.or_insert_with(self.page, Default::default);
            }
            Command::Refresh => {
                let ids: Vec<AgentId> =
                    self.cluster.agents.values().map(|it| it.id.clone()).collect();
                ids.iter().for_each(|id| self.cluster.reconnect_now(id));
            }
            Command::OfAgent => self.show_sessions_of_agent(),
            Command::Up
            | Command::Down
            | Command::PageUp
            | Command::PageDown
            | Command::First
            | Command::Last => self.move_by(command),
            Command::SortNext
            | Command::SortBack
            | Command::SortWaiting
            | Command::Invert
            | Command::Group => self.reorder(command),
            Command::New => self.open_new(),
            Command::Attach
            | Command::Clone
            | Command::Edit
            | Command::Background
            | Command::Delete
            | Command::Kill
            | Command::Override
            | Command::Restart => self.act(command),
        }
    }

    /// Does something with the selected session, as it is at this moment.
    fn act(&mut self, command: Command) {
        let Some(target) = self.selected_target() else { return self.refuse(command) };
        let id = Id { id: target.id };
        match command {
            Command::Attach => self.actions.push(ScreenAction::Attach(target)),
            Command::Background => self.start(&target, Call::Background(id)),
            Command::Restart => self.start(&target, Call::Restart(id)),
            Command::Clone => self.dialog = Some(Dialog::Form(Box::new(Form::clone_of(target)))),
            Command::Edit => {
                let agent = self.cluster.agents.get(target.agent.as_str());
                let session = agent.and_then(|agent| agent.sessions.get(&target.id));
                let form = session.map(|session| Form::edit(target, session));
                self.dialog = form.map(|form| Dialog::Form(Box::new(form)));
            }
            _ => self.dialog = Confirm::new(command, target).map(Box::new).map(Dialog::Confirm),
        }
    }

    fn open_new(&mut self) {
        let agents = self.cluster.agents.values();
        let enrolled: Vec<_> = agents.filter_map(|agent| agent.enrolled.clone()).collect();
        let on = self.selected.as_ref().and_then(|key| key.agent.clone());
        let form = Form::new_session(enrolled, on.as_ref(), self.cluster.profiles.clone());
        self.dialog = Some(Dialog::Form(Box::new(form)));
    }

    fn settings(&mut self) {
        let page = self.page;
        self.go(Page::Settings);
        self.page_before = if page.is_list() { page } else { self.page_before };
    }

    fn back(&mut self) {
        self.message_until = Mono::ZERO;
        if self.page.is_list() && !self.filter(self.page).is_empty() {
            self.clear_filter();
        } else if self.page.is_list() {
            self.go(Page::Sessions);
        } else {
            self.page = self.page_before;
        }
    }

    fn next_page(&mut self) {
        let lists: Vec<Page> = Page::ALL.into_iter().filter(|page| page.is_list()).collect();
        let at = lists.iter().position(|page| *page == self.page);
        self.go(at.map_or(Page::Sessions, |at| lists[(at + 1) % lists.len()]));
    }

    fn show_sessions_of_agent(&mut self) {
        let Some(id) = self.agent.clone() else { return };
        self.go(Page::Sessions);
        self.filters.insert(Page::Sessions, Input::new(&id));
        self.rebuild();
    }

    fn move_by(&mut self, command: Command) {
        let rows = isize::try_from(view::layout(self).body.rows).unwrap_or(1).max(1);
        self.step(match command {
            Command::Up => -1,
            Command::Down => 1,
            Command::PageUp => -rows,
            Command::PageDown => rows,
            Command::First => isize::MIN,
            _ => isize::MAX,
        });
    }

    fn step(&mut self, by: isize) {
        let page = self.page;
        let len = self.len_of(page);
        let rows = view::layout(self).body.rows;
        let list = self.lists.or_insert_with(page, Default::default);
        match page.is_list() {
            true => list.step(by, len),
            false => list.scroll(by, len, rows),
        }
        if page == Page::Sessions {
            self.select_session(by.signum());
        }
    }

    fn reorder(&mut self, command: Command) {
        let count = COLUMNS.len();
        let order = &mut self.order;
        match command {
            Command::SortNext => order.column = (order.column + 1) % count,
            Command::SortBack => order.column = (order.column + count - 1) % count,
            Command::SortWaiting => {
                let column = if order.column == ATTENTION { ACCESS } else { ATTENTION };
                (order.column, order.is_inverted) = (column, false);
            }
            Command::Invert => order.is_inverted = !order.is_inverted,
            _ => order.is_grouped = !order.is_grouped,
        }
        self.rebuild();
    }
}
