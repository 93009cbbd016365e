//! The terminals of sessions: those that wait for their session, that open, and that are open.

use serde_json::json;

use super::{AgentState, Terminal, TerminalState};
use crate::agent::action::{Action, TerminalId};
use crate::agent::session::Body;
use crate::base::time::Now;
use crate::base::uuid::Uuid;
use crate::rpc::event::EventType;

impl AgentState {
    /// Has a waiting terminal opened if its session runs, else refuses it with `text`.
    pub(in crate::agent) fn open_or_refuse(&mut self, id: TerminalId, text: &str) {
        let Some(terminal) = self.terminals.get_mut(&id) else { return };
        let session = self.sessions.get(&terminal.plan.session);
        if let Some(session) = session.filter(|session| session.is_running()) {
            terminal.state = TerminalState::Opening;
            terminal.plan.uid = session.uid();
            let plan = terminal.plan.clone();
            self.actions.push(Action::OpenTerminal { terminal: id, plan });
        } else {
            self.refuse(id, text.to_owned());
        }
    }

    /// Refuses a terminal if it is still there and waits.
    pub(in crate::agent) fn refuse_if_waiting(&mut self, id: TerminalId, text: &str) {
        if self.terminals.get(&id).is_some_and(|it| it.state == TerminalState::Waiting) {
            self.refuse(id, text.to_owned());
        }
    }

    /// A terminal is attached.
    pub(in crate::agent) fn saw_attached(&mut self, now: Now, id: TerminalId) {
        let Some(terminal) = self.terminals.get_mut(&id) else { return };
        if terminal.state != TerminalState::Opening {
            return;
        }
        terminal.state = TerminalState::Open;
        let Some(session) = self.sessions.get_mut(&terminal.plan.session) else { return };
        session.attached += 1;
        if let Body::Good(record) = &mut session.body {
            record.last_accessed = now.wall;
        }
        let (id, count) = (session.id, session.attached);
        self.emit(now, EventType::Attached, id, json!({ "attached_count": count }));
        self.looked_at(now, id);
    }

    /// A terminal is gone, whatever state it was in. Returns it.
    pub(in crate::agent) fn saw_detached(&mut self, now: Now, id: TerminalId) -> Option<Terminal> {
        let terminal = self.terminals.remove(&id)?;
        if terminal.state == TerminalState::Open
            && let Some(session) = self.sessions.get_mut(&terminal.plan.session)
        {
            session.attached -= 1;
            let (id, count) = (session.id, session.attached);
            self.emit(now, EventType::Detached, id, json!({ "attached_count": count }));
            // What happened before it, somebody has seen.
            self.looked_at(now, id);
        }
        Some(terminal)
    }

    /// The terminals of a session that are open or about to be.
    fn live_terminals(&self, session: Uuid) -> Vec<TerminalId> {
        let is_live = |terminal: &Terminal| {
            terminal.plan.session == session && terminal.state != TerminalState::Waiting
        };
        let live = self.terminals.iter().filter(|(_, terminal)| is_live(terminal));
        live.map(|(id, _)| *id).collect()
    }

    /// Has every live terminal of a session end by itself.
    pub(in crate::agent) fn close_terminals(&mut self, session: Uuid) -> Vec<TerminalId> {
        let terminals = self.live_terminals(session);
        if !terminals.is_empty() {
            let action = Action::CloseTerminals { session, terminals: terminals.clone() };
            self.actions.push(action);
        }
        terminals
    }

    /// What was behind a session's terminals is gone: they end, and are told as gone now.
    pub(super) fn drop_terminals(&mut self, now: Now, session: Uuid) {
        for terminal in self.close_terminals(session) {
            self.saw_detached(now, terminal);
        }
    }
}
