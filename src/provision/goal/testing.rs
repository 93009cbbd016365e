//! What the tests of goals and plans share: answers, and what a verdict comes to.

use crate::base::time::Wall;
use crate::provision::order::{Account, Action, Answer, End, Entry, Ran, Seen};
use crate::provision::step::StepVerdict;

/// A program that ended with this status.
pub(crate) fn ran(code: i32, output: &str) -> Answer {
    ended(End::Code(code), output)
}

pub(crate) fn ended(end: End, output: &str) -> Answer {
    Answer::Ran(Ran { end, output: output.into(), errors: String::new() })
}

/// What root owns, with this mode, and changed at this time.
pub(crate) fn seen(mode: u32, changed_at: Wall) -> Seen {
    let account = Account { user: "root".into(), group: "root".into() };
    Seen { account, mode, changed_at }
}

/// A file of root's.
pub(crate) fn file(text: &str, mode: u32) -> Answer {
    let seen = seen(mode, Wall::default());
    Answer::Looked(Entry::File { bytes: text.as_bytes().to_vec(), seen })
}

/// What a verdict would change, or what it refuses: nothing if the goal holds.
pub(crate) fn effects(verdict: StepVerdict) -> Vec<String> {
    match verdict {
        StepVerdict::Holds => Vec::new(),
        StepVerdict::Differs(change) => change.effects,
        StepVerdict::Refused(failure) => vec![failure.what],
    }
}

/// Its actions, programs as a person would type them, or what it refuses.
pub(crate) fn actions(verdict: StepVerdict) -> Vec<String> {
    let text = |action: &Action| match action {
        Action::Run(command) => command.to_string(),
        other => format!("{other:?}"),
    };
    match verdict {
        StepVerdict::Differs(change) => change.actions.iter().map(text).collect(),
        other => effects(other),
    }
}
