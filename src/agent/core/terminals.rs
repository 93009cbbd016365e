//! Terminals that want in, are attached, and go.

use super::{Agent, CLOSING, Mode, not_found};
use crate::agent::action::{TerminalId, TerminalPlan};
use crate::agent::op::SessionOp;
use crate::agent::queue::{QueuedOp, Waiters};
use crate::agent::state::{Terminal, TerminalState};
use crate::base::time::Now;
use crate::base::uuid::Uuid;
use crate::limits::TERMINALS_MAX;
use crate::rpc::attach::AttachHeader;

impl Agent {
    /// A terminal wants in. It gets `Action::OpenTerminal` or `Action::RefuseTerminal`, after
    /// the session was started if it does not run.
    pub fn attach(&mut self, now: Now, terminal: TerminalId, header: AttachHeader) {
        let id = header.id;
        let plan = TerminalPlan {
            session: id,
            size: header.size(),
            term: header.term,
            uid: None,
            read_only: header.read_only,
            label: header.label,
        };
        if let Err(text) = self.may_attach(id) {
            self.state.refuse(terminal, text);
            return;
        }
        let order = SessionOp::Attach(plan.size);
        self.state.terminals.insert(terminal, Terminal { plan, state: TerminalState::Waiting });
        let waiters = Waiters { caller: None, terminals: vec![terminal] };
        self.admit(now, id, QueuedOp { order, waiters });
    }

    /// The terminal of an `Action::OpenTerminal` is attached.
    pub fn terminal_opened(&mut self, now: Now, terminal: TerminalId) {
        self.state.saw_attached(now, terminal);
        let session = self.state.terminals.get(&terminal).map(|terminal| terminal.plan.session);
        session.into_iter().for_each(|id| self.go_on(now, id));
    }

    /// The terminal of an `Action::OpenTerminal` could not be attached. It is refused, and the
    /// runtime is asked whether the session still runs.
    pub fn terminal_failed(&mut self, now: Now, terminal: TerminalId, text: String) {
        if self.state.terminals.contains_key(&terminal) {
            self.state.refuse(terminal, text);
            self.listing.want(&mut self.state.actions, now.mono, None);
        }
    }

    /// A terminal is gone: its peer left, its session ended, it was detached. May be called in any
    /// state, also for one that the core has forgotten. If its `Action::OpenTerminal` is still
    /// under way, the driver ends what comes of it.
    pub fn terminal_closed(&mut self, now: Now, terminal: TerminalId) {
        self.state.saw_detached(now, terminal);
    }

    pub(super) fn may_attach(&self, id: Uuid) -> Result<(), String> {
        let count = self.state.terminals.len();
        if self.mode == Mode::Closing {
            Err(CLOSING.to_owned())
        } else if count >= TERMINALS_MAX {
            Err(format!("there are {count} terminals on this agent, and it holds no more"))
        } else if self.state.session(id).is_none() {
            Err(not_found(id))
        } else {
            Ok(())
        }
    }
}
