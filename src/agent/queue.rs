//! Whose turn it is on a session.
//!
//! A [`Job`] is the operation that has the turn, with those that wait behind it, in order. Each
//! request carries whom to tell at its end, so that nobody is told twice or forgotten.

use std::collections::VecDeque;

use super::action::{Caller, TerminalId};
use super::op::{SessionOp, Stage};
use super::state::AgentState;
use crate::base::time::Wall;
use crate::limits::SESSION_WAITING_OPS_MAX;
use crate::rpc::response::Answer;

/// An operation that wants its turn.
#[derive(Debug)]
pub(super) struct QueuedOp {
    pub(super) order: SessionOp,
    pub(super) waiters: Waiters,
}

/// Who is told how an operation ended.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// Gets the answer. `None` for the core's own operations, and once it is gone.
    pub(super) caller: Option<Caller>,
    /// Are opened if the session runs then, else refused. Some may be gone by then.
    pub(super) terminals: Vec<TerminalId>,
}

impl Waiters {
    pub(super) fn caller(caller: Caller) -> Waiters {
        Waiters { caller: Some(caller), terminals: Vec::new() }
    }

    /// Tells everybody. Terminals are opened if the session runs: an operation that failed because
    /// it does was not theirs.
    pub(super) fn answer(self, state: &mut AgentState, answer: Answer) {
        let text = match &answer {
            Ok(_) if self.terminals.is_empty() => String::new(),
            Ok(_) => "the session has ended".to_owned(),
            Err(text) => text.clone(),
        };
        state.reply(self.caller, &answer);
        for terminal in self.terminals {
            state.open_or_refuse(terminal, &text);
        }
    }

    /// Tells everybody that it comes to nothing.
    pub(super) fn refuse(self, state: &mut AgentState, text: &str) {
        for terminal in self.terminals {
            state.refuse_if_waiting(terminal, text);
        }
        state.reply(self.caller, &Err(text.to_owned()));
    }

    fn forget(&mut self, caller: Caller) {
        self.caller = self.caller.filter(|waiting| *waiting != caller);
    }
}

/// An operation that has its turn.
#[derive(Debug)]
pub(super) struct Job {
    /// Its name, for those who are turned away.
    pub(super) name: &'static str,
    pub(super) since: Wall,
    pub(super) waiters: Waiters,
    pub(super) behind: VecDeque<QueuedOp>,
}

impl Job {
    /// Lets a request wait, or joins it to one that does the same.
    ///
    /// # Errors
    /// The waiters of the request if too many wait already.
    pub(super) fn enqueue(&mut self, stage: &Stage, request: QueuedOp) -> Result<(), Waiters> {
        if matches!(request.order, SessionOp::Attach(_)) {
            let joined = match self.behind.back_mut() {
                None if stage.is_start() => Some(&mut self.waiters),
                Some(QueuedOp { order: SessionOp::Attach(_), waiters }) => Some(waiters),
                _ => None,
            };
            if let Some(joined) = joined {
                joined.terminals.extend(request.waiters.terminals);
                return Ok(());
            }
        }
        if self.behind.len() >= SESSION_WAITING_OPS_MAX {
            return Err(request.waiters);
        }
        self.behind.push_back(request);
        Ok(())
    }

    /// `caller` wants no answer any more; what it asked for goes on.
    pub(super) fn forget(&mut self, caller: Caller) {
        self.waiters.forget(caller);
        self.behind.iter_mut().for_each(|request| request.waiters.forget(caller));
    }
}
