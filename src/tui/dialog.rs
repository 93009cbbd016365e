//! A question that waits for yes or no, or a form.
//!
//! Either holds its session's [`Target`] from the moment it opens. The list may move beneath it,
//! and what is answered hits no other session.

use super::bindings::Command;
use super::form::Form;
use super::input::Input;
use super::keys::Key;
use super::ops::Target;
use crate::rpc::call::{Call, Id};

/// What is open above the page.
#[derive(Debug)]
pub enum Dialog {
    /// Yes or no, or the name.
    Confirm(Box<Confirm>),
    Form(Box<Form>),
    /// Whether to leave, because what runs ends with this program.
    Leave,
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
    /// What must be typed before it is done, and what is typed; `None`: a key is enough.
    pub(crate) proof: Option<(String, Input)>,
}

/// What a key answers to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
    /// It is none.
    Open,
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
        // What is removed for good is named, as on the command line.
        let is_proved = command == Command::Delete;
        let proof = is_proved.then(|| (target.proof(), Input::default()));
        Some(Confirm { target, verb, consequence, call, proof })
    }

    pub(crate) fn key(&mut self, key: &Key) -> Answer {
        match (&mut self.proof, key) {
            (_, Key::Esc | Key::Ctrl('c')) => Answer::No,
            (Some((wanted, typed)), Key::Enter) if typed.text() == *wanted => Answer::Yes,
            (Some((_, typed)), _) => {
                typed.key(key);
                Answer::Open
            }
            (None, _) => yes_no(key),
        }
    }

    /// The question: it names the session and its agent.
    pub(crate) fn question(&self) -> String {
        let Target { agent, host, id, name, .. } = &self.target;
        format!("{} session {name:?} ({}) on {host} ({agent})?", self.verb, id.short())
    }
}

/// What a key answers to a question that one key answers.
pub(crate) fn yes_no(key: &Key) -> Answer {
    match key {
        Key::Char('y' | 'Y') => Answer::Yes,
        Key::Char('n' | 'N' | 'q' | 'Q') | Key::Esc | Key::Ctrl('c') => Answer::No,
        _ => Answer::Open,
    }
}
