//! How starts and ends are told: each once, an end with how it came, if that can be known.

use serde_json::json;

use super::AgentState;
use crate::agent::last_words::LastWords;
use crate::agent::session::{Body, Cause, End};
use crate::base::time::{Mono, Now};
use crate::base::uuid::Uuid;
use crate::limits::RECORD_RETRY;
use crate::rpc::event::EventType;
use crate::rpc::session::Ended;

/// An end of which nobody says more.
pub(super) const LOST: End = End { cause: Cause::Lost, exit_code: None };

impl AgentState {
    /// The runtime says how a session has ended. Returns whether its event waited for that.
    pub(in crate::agent) fn explain(&mut self, now: Now, id: Uuid, end: End) -> bool {
        let waited = self.unexplained.remove(&id).is_some();
        if waited {
            self.emit_stopped(now, id, end);
        }
        waited
    }

    /// The record of a session could not be written: again in a while.
    pub(in crate::agent) fn save_later(&mut self, now: Mono, id: Uuid) {
        self.unsaved.insert(id, now + RECORD_RETRY);
    }

    /// Has those saved of which it is time.
    pub(in crate::agent) fn save_again(&mut self, now: Mono) {
        let due = |until: &Mono| *until <= now;
        let again: Vec<Uuid> =
            self.unsaved.iter().filter(|(_, until)| due(until)).map(|(id, _)| *id).collect();
        for id in again {
            self.unsaved.remove(&id);
            if let Some(session) = self.sessions.get_mut(&id) {
                session.is_end_unsaved = true;
                self.ended.push(id);
            }
        }
    }

    /// When [`AgentState::save_again`] is wanted next.
    pub(in crate::agent) fn unsaved_deadline(&self) -> Option<Mono> {
        self.unsaved.values().min().copied()
    }

    /// Tells the ends that nobody has explained in time.
    pub(in crate::agent) fn tick(&mut self, now: Now) {
        let due = |until: &Mono| *until <= now.mono;
        let late: Vec<Uuid> =
            self.unexplained.iter().filter(|(_, until)| due(until)).map(|(id, _)| *id).collect();
        for id in late {
            self.explain(now, id, LOST);
        }
        self.tick_asked(now);
    }

    /// Whether its end waits for news of how it ended.
    pub(in crate::agent) fn is_unexplained(&self, id: Uuid) -> bool {
        self.unexplained.contains_key(&id)
    }

    /// When [`AgentState::tick`] is wanted next.
    pub(in crate::agent) fn deadline(&self) -> Option<Mono> {
        self.unexplained.values().min().copied()
    }

    pub(in crate::agent) fn unconfirmed_end(&self, id: Uuid) -> End {
        let unconfirmed = self.session(id).and_then(|session| session.unconfirmed_exit);
        unconfirmed.map_or(LOST, |unconfirmed| unconfirmed.end)
    }

    /// A start has come to an end at once: nobody has told that it ran.
    pub(in crate::agent) fn ended_at_once(&mut self, now: Now, id: Uuid, words: &LastWords) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.last_screen.clone_from(&words.screen);
            self.emit_stopped(now, id, End { cause: Cause::Exit, exit_code: words.exit_code });
        }
    }

    pub(super) fn emit_started(&mut self, now: Now, id: Uuid) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.last_screen.clear();
            if let Body::Good(record) = &mut session.body {
                record.ended = None;
            }
        }
        let data = self.wire_value(id, None);
        self.emit(now, EventType::Started, id, data);
    }

    pub(super) fn emit_stopped(&mut self, now: Now, id: Uuid, end: End) {
        self.tell_end(now, id, end, "");
    }

    /// Tells how a session ended, and why it could not be started again if that is so.
    pub(super) fn tell_end(&mut self, now: Now, id: Uuid, end: End, reason: &str) {
        let mut data = json!({ "cause": end.cause.as_str(), "exit_code": end.exit_code });
        if !reason.is_empty() {
            data["reason"] = json!(reason);
        }
        self.note_end(now.mono, id, end.cause);
        if let Some(session) = self.sessions.get_mut(&id) {
            let screen = std::mem::take(&mut session.last_screen);
            if !screen.is_empty() {
                data["screen"] = json!(screen);
            }
            let End { cause, exit_code } = end;
            if let Body::Good(record) = &mut session.body {
                let cause = cause.as_str().to_owned();
                let reason = reason.to_owned();
                record.ended = Some(Ended { at: now.wall, cause, exit_code, reason, screen });
                session.is_end_unsaved = true;
                self.ended.push(id);
            }
        }
        self.push_event(now, EventType::Stopped, Some(id), data);
    }
}
