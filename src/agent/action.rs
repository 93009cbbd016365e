//! What the core asks of its driver, and the names under which they speak of things.

use std::collections::VecDeque;

use super::work::Work;
use crate::base::uuid::Uuid;
use crate::rpc::attach::TerminalSize;
use crate::rpc::egress::EgressRules;
use crate::rpc::event::Event;
use crate::rpc::network::Publish;

/// Who waits for one answer: a number of the driver's making (a slot's [`Key::to_bits`]), never
/// used twice.
///
/// [`Key::to_bits`]: crate::base::slots::Key::to_bits
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller(pub u64);

/// One attached terminal, or one that wants to be: a number of the driver's making, never used
/// twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TerminalId(pub u64);

/// One piece of work: a number of the core's making, counted up and never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkId(pub(super) u64);

/// What is to be done. Actions are carried out in the order in which they come out: an event that
/// precedes a reply is in the spool before the reply is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Do this, and report with [`Agent::done`] exactly once.
    ///
    /// [`Agent::done`]: super::core::Agent::done
    Run {
        /// Under which the outcome is reported.
        id: WorkId,
        /// What is to be done.
        work: Work,
    },
    /// Answer a call. Each call gets exactly one answer, unless its caller is reported gone before.
    Reply {
        caller: Caller,
        /// What the call came to, as it stands on the wire ([`crate::rpc::response`]).
        line: Vec<u8>,
    },
    /// Attach a terminal, and report with [`Agent::terminal_opened`] or
    /// [`Agent::terminal_failed`].
    ///
    /// [`Agent::terminal_opened`]: super::core::Agent::terminal_opened
    /// [`Agent::terminal_failed`]: super::core::Agent::terminal_failed
    OpenTerminal {
        terminal: TerminalId,
        /// To what, and how.
        plan: TerminalPlan,
    },
    /// The terminal cannot be had: say why, and forget it.
    RefuseTerminal {
        terminal: TerminalId,
        /// One sentence for the peer.
        text: String,
    },
    /// What is behind these terminals has ended or was detached: let each deliver what it still
    /// has, then end it. The core has forgotten those of a session that ended.
    CloseTerminals { session: Uuid, terminals: Vec<TerminalId> },
    /// Listen on a session's socket from now on, and lend it its key, which may be another one than
    /// before. What is signed is told by [`Agent::signed`].
    ///
    /// [`Agent::signed`]: super::core::Agent::signed
    LendKey {
        session: Uuid,
        /// As whom it runs, as in [`Running::uid`].
        ///
        /// [`Running::uid`]: super::work::Running::uid
        uid: Option<u32>,
    },
    /// Close a session's socket, if it is open.
    EndLending { session: Uuid },
    /// Carry the connections of a session that reaches names alone from now on, by these rules,
    /// which may be other ones than before. What is refused is told by [`Agent::refused`].
    ///
    /// [`Agent::refused`]: super::core::Agent::refused
    Carry {
        session: Uuid,
        /// As whom it runs, as in [`Running::uid`].
        ///
        /// [`Running::uid`]: super::work::Running::uid
        uid: Option<u32>,
        rules: EgressRules,
        /// Its TCP port, and on which addresses that is; 0 for none.
        port: (u16, Publish),
    },
    /// Carry no more, and close what is carried.
    EndCarrying { session: Uuid },
    /// Look at the status files of a session that runs from now on, and report each look with
    /// [`Agent::looked`].
    ///
    /// [`Agent::looked`]: super::core::Agent::looked
    Observe {
        session: Uuid,
        /// Its container's id; empty where the runtime has none.
        container: String,
    },
    /// Look no more, if it was looked at.
    EndObserving { session: Uuid },
    /// Tell the operator of this host, in the log.
    Warn(String),
    /// Append this event to the spool, which numbers it.
    Emit(Event),
}

/// How a terminal is attached. A resize that came since the header is the driver's to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalPlan {
    pub session: Uuid,
    /// Its size, from the header.
    pub size: TerminalSize,
    /// Its `TERM`; empty if the peer did not say.
    pub term: String,
    /// As whom the session runs, as in [`Running::uid`]; known when it is opened.
    ///
    /// [`Running::uid`]: super::work::Running::uid
    pub uid: Option<u32>,
    /// Whether nothing that is typed may reach the session.
    pub read_only: bool,
    /// What it is called where the terminal is; empty if the peer did not say.
    pub label: String,
}

/// The actions that the driver has not taken yet, oldest first, and the numbers of the work in
/// them.
#[derive(Debug, Default)]
pub(super) struct ActionQueue {
    actions: VecDeque<Action>,
    last_work: WorkId,
}

impl ActionQueue {
    pub(super) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(super) fn pop(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Queues a piece of work and gives it its number.
    pub(super) fn run(&mut self, work: Work) -> WorkId {
        self.last_work.0 += 1;
        self.push(Action::Run { id: self.last_work, work });
        self.last_work
    }

    pub(super) fn warn(&mut self, text: String) {
        self.push(Action::Warn(text));
    }

    /// The last work that was queued.
    pub(super) fn last_work(&self) -> WorkId {
        self.last_work
    }
}
