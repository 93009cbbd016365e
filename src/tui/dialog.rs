//! A question that waits for yes or no, or a form.
//!
//! Either holds its session's [`Target`] from the moment it opens. The list may move beneath it,
//! and what is answered hits no other session.

use super::bindings::Command;
use super::form::Form;
use super::ops::Target;
use crate::rpc::call::{Call, Id};

/// What is open above the page.
#[derive(Debug)]
pub enum Dialog {
    /// Yes or no.
    Confirm(Box<Confirm>),
    Form(Box<Form>),
}

/// A question before something that cannot be undone, or ends work.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirm {
    /// What it is about.
    pub(crate) target: Target,
    /// The verb: `Delete`.
    pub(crate) verb: &'static str,
    /// What follows from yes.
    pub(crate) consequence: &'static str,
    /// What is asked of the agent.
    pub(crate) call: Call,
}

impl Confirm {
    /// The question for a command; `None` if it asks none.
    pub(crate) fn new(command: Command, target: Target) -> Option<Confirm> {
        let id = Id { id: target.id };
        let (verb, consequence, call) = match command {
            Command::Delete => (
                "Delete",
                "It is stopped, and everything in its home is removed for good.",
                Call::Delete(id),
            ),
            Command::Kill => {
                ("Kill", "What runs in it ends at once; its home stays.", Call::Kill(id))
            }
            Command::Override => (
                "Override the lock of",
                "Only right if the agent died in the middle of an operation on it.",
                Call::Override(id),
            ),
            _ => return None,
        };
        Some(Confirm { target, verb, consequence, call })
    }

    /// The question: it names the session and its agent.
    pub(crate) fn question(&self) -> String {
        let Target { agent, host, id, name } = &self.target;
        format!("{} session {name:?} ({}) on {host} ({agent})?", self.verb, id.short())
    }
}
