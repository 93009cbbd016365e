//! What messages from outside do.

use serde_json::Value;

use super::cluster::Hub;
use super::dialog::Dialog;
use super::form::FormStage;
use super::messages::{HubLine, Message, ScreenRequestId};
use super::model::{EventRow, Model, ScreenAction};
use super::ops::{ScreenRequest, Task};
use super::row::SessionKey;
use crate::base::time::{Now, Wall};
use crate::base::uuid::Uuid;
use crate::rpc::call::refused_by_older;
use crate::rpc::call::{Call, Id};
use crate::rpc::session::{Pong, Session, claude_missing};
use crate::status::line::EventLine;
use crate::status::words::detail;

impl Model {
    /// Something has happened outside.
    pub fn receive(&mut self, now: Now, message: Message) -> Vec<ScreenAction> {
        self.now = now;
        match message {
            Message::Host(host) => self.cluster.host_files(host),
            Message::HubFound => self.cluster.set_hub(Hub::Found),
            Message::HubGone(why) => self.cluster.set_hub(Hub::Absent(why)),
            Message::HubLine(line) => self.hub_line(&line),
            Message::Answered { request, answer } => self.answered(request, answer),
            Message::Returned { text, is_failure } => {
                // Whatever it waits for, one has seen.
                self.looked_at = self.selected.clone();
                self.actions.push(ScreenAction::Repaint);
                if !text.is_empty() {
                    self.log(text, is_failure);
                }
                self.ask_everybody_soon();
            }
        }
        self.is_stale = true;
        self.end_update()
    }

    fn ask_everybody_soon(&mut self) {
        let ids: Vec<_> = self.cluster.agents.values().map(|agent| agent.id.clone()).collect();
        ids.iter().for_each(|id| self.cluster.reconnect_now(id));
    }

    fn hub_line(&mut self, line: &[u8]) {
        match HubLine::parse(line) {
            HubLine::Snapshot(agents) => self.cluster.snapshot(agents),
            HubLine::Event(raw) => match EventLine::parse(raw.get().as_bytes()) {
                Ok(event) => {
                    // Named before it is applied: a deleted session has no name afterwards.
                    let row = self.describe(&event);
                    self.cluster.event(self.now, &event);
                    self.add_event(row);
                }
                Err(why) => {
                    self.log(format!("the hub sent an event that cannot be read: {why}"), true)
                }
            },
            HubLine::Unreadable(why) => {
                self.log(format!("unexpected line from the hub: {why}"), true)
            }
        }
    }

    fn describe(&self, event: &EventLine<'_>) -> EventRow {
        let agent = self.cluster.agents.get(event.agent_id);
        let host = agent.map_or(event.agent_id, |agent| agent.host()).to_owned();
        let told = event.data::<Session>().map(|session| session.name);
        let id = event.session_id.and_then(|text| Uuid::parse(text).ok());
        let known = || Some(agent?.sessions.get(&id?)?.name.clone());
        let data = event.data::<Value>().unwrap_or_default();
        let (name, id) = match (id, told.or_else(known)) {
            (Some(id), Some(name)) => (format!("{name:?}"), format!("({})", id.short())),
            (Some(id), None) => (id.short(), String::new()),
            (None, _) => (String::new(), String::new()),
        };
        // The id last: there may not be room for all.
        let parts = [name, detail(event.kind, &data), id];
        let text = parts.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(" ");
        let at = Wall::parse_rfc3339(event.timestamp).unwrap_or(self.now.wall);
        EventRow { at, host, kind: event.kind.to_owned(), text }
    }

    fn answered(&mut self, request: ScreenRequestId, answer: Result<Value, String>) {
        match self.requests.close(request) {
            None => {}
            Some(ScreenRequest::List(agent)) => self.cluster.listed(self.now, &agent, answer),
            Some(ScreenRequest::Ping(agent)) => {
                let pong = answer.ok().and_then(|value| serde_json::from_value::<Pong>(value).ok());
                if let Some(pong) = pong {
                    self.cluster.ponged(&agent, pong);
                }
            }
            Some(ScreenRequest::Get(agent)) => {
                let session = answer.ok().and_then(|it| serde_json::from_value::<Session>(it).ok());
                if let Some(session) = session {
                    if session.lacks_claude() {
                        let known = self.cluster.agents.get(agent.as_str());
                        let text = known.map(|known| claude_missing(known.host()));
                        self.log(text.unwrap_or_default(), true);
                    }
                    self.cluster.put(&agent, session);
                }
            }
            Some(ScreenRequest::Do(task)) => self.finished(request, &task, answer),
        }
    }

    fn finished(&mut self, request: ScreenRequestId, task: &Task, answer: Result<Value, String>) {
        let has_form = match &self.dialog {
            Some(Dialog::Form(form)) => form.stage == FormStage::Asking(request),
            Some(Dialog::Confirm(_) | Dialog::Leave) | None => false,
        };
        match answer {
            Ok(value) => {
                self.log(format!("{} {}", task.done(), task.subject), false);
                if has_form {
                    self.dialog = None;
                }
                self.take_result(task, value);
            }
            Err(text) => {
                let host = self.cluster.agents.get(task.agent.as_str()).map_or("", |it| it.host());
                let text = refused_by_older(&text, host).unwrap_or(text);
                self.log(format!("{} {}: {text}", task.op, task.subject), true);
                // It may have run for a moment, and left why.
                if let (Some(id), "restart") = (task.id, task.op) {
                    let request = ScreenRequest::Get(task.agent.clone());
                    self.ask(request, &task.agent, Call::Get(Id { id }));
                }
                if has_form && let Some(Dialog::Form(form)) = &mut self.dialog {
                    form.stage = FormStage::Typing(Some(text));
                }
            }
        }
        self.cluster.reconnect_now(&task.agent);
    }

    /// What an operation has changed, as far as its answer tells; of the rest the agent is asked,
    /// unless the hub tells it anyway.
    fn take_result(&mut self, task: &Task, value: Value) {
        if let (Some(id), "delete") = (task.id, task.op) {
            self.cluster.remove(&task.agent, id);
            return;
        }
        match (serde_json::from_value::<Session>(value), task.id) {
            (Ok(session), old) => {
                if old.is_none() {
                    self.selected =
                        Some(SessionKey { agent: Some(task.agent.clone()), id: session.uuid });
                }
                self.cluster.put(&task.agent, session);
            }
            (Err(_), Some(id)) => {
                let request = ScreenRequest::Get(task.agent.clone());
                self.ask(request, &task.agent, Call::Get(Id { id }));
            }
            (Err(_), None) => {}
        }
    }
}
