//! Goal: what one program tells, and other programs bring about: a time zone, a default.

use crate::provision::order::{Action, Answer, Command, End, Question};
use crate::provision::step::{Change, Goal, StepVerdict};

/// Commands that run only if a guard says that they are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GuardedCommands {
    /// Changes nothing.
    pub(crate) guard: Command,
    /// What the guard says when nothing is to be done.
    pub(crate) expect: Expect,
    /// What the change amounts to.
    pub(crate) effect: String,
    /// Run in this order.
    pub(crate) commands: Vec<Command>,
}

/// What a guard says when nothing is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// It prints this and nothing else, blanks at both ends aside.
    Output(String),
    /// One of the lines that it prints is this, blanks at both ends aside.
    Line(String),
    /// None of them is.
    NoLine(String),
    /// It ends with another status than 0, as what looks for something that is not there.
    Nothing,
}

impl Goal for GuardedCommands {
    fn questions(&self) -> Vec<Question> {
        vec![Question::Run(self.guard.clone())]
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let [Answer::Ran(ran)] = answers else { return StepVerdict::mismatch() };
        let holds = match &self.expect {
            Expect::Output(text) => ran.output.trim() == text,
            Expect::Line(text) => ran.output.lines().any(|line| line.trim() == text),
            Expect::NoLine(text) => ran.output.lines().all(|line| line.trim() != text),
            Expect::Nothing => matches!(ran.end, End::Code(code) if code != 0),
        };
        if holds {
            return StepVerdict::Holds;
        }
        let effects = vec![self.effect.clone()];
        let actions = self.commands.iter().cloned().map(Action::Run).collect();
        StepVerdict::Differs(Change { effects, actions, ..Change::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::goal::testing::ran;

    #[test]
    fn what_is_expected_is_all_that_counts() {
        let text = str::to_owned;
        for (expect, code, output, holds) in [
            (Expect::Output(text("a")), 0, " a\n", true),
            (Expect::Output(text("a")), 0, "a\nb\n", false),
            (Expect::Line(text("b")), 1, "a\n b\n", true),
            (Expect::Line(text("b")), 0, "ab\n", false),
            (Expect::NoLine(text("b")), 0, "ab\n", true),
            (Expect::NoLine(text("b")), 0, "a\n b\n", false),
            (Expect::Nothing, 1, "", true),
            (Expect::Nothing, 0, "", false),
        ] {
            let goal = GuardedCommands {
                guard: Command::new("timedatectl", ["show"]),
                expect,
                effect: "set the time zone".to_owned(),
                commands: vec![Command::new("timedatectl", ["set-timezone", "Etc/UTC"])],
            };
            let is_held = goal.judge(&[ran(code, output)]) == StepVerdict::Holds;
            assert_eq!(is_held, holds, "{:?} {output:?}", goal.expect);
        }
    }
}
