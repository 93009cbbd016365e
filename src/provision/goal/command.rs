//! Goals that programs tell: what they bring about, and what must hold already.

use crate::limits::PROVISION_OUTPUT_LINES_SHOWN;
use crate::provision::order::{Answer, Command, End, Question};
use crate::provision::step::{Change, Failure, Verdict};

/// Something that one program tells and others bring about: a time zone, a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Tells how it is, and changes nothing.
    pub(crate) ask: Command,
    /// How it is when nothing is to do.
    pub(crate) expect: Expect,
    /// What the change amounts to.
    pub(crate) effect: String,
    /// Brings it about, in this order.
    pub(crate) make: Vec<Command>,
}

/// What a program says when it is as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// It ends with status 0.
    Success,
    /// It prints this and nothing else, blanks at both ends aside.
    Output(String),
    /// One of the lines that it prints is this, blanks at both ends aside.
    Line(String),
    /// None of them is.
    NoLine(String),
    /// It ends with another status than 0, as what looks for something that is not there.
    Nothing,
}

/// Something that must hold before the next step can do its work.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) ask: Question,
    /// What is wrong with the answer: one sentence.
    pub(crate) fault: fn(&Answer) -> Option<String>,
    /// What to do about it: one sentence.
    pub(crate) advice: String,
}

impl Settled {
    pub(crate) fn questions(&self) -> Vec<Question> {
        vec![Question::Run(self.ask.clone())]
    }

    pub(crate) fn judge(&self, answers: &[Answer]) -> Verdict {
        let [Answer::Ran(ran)] = answers else { return Verdict::mismatch() };
        let holds = match &self.expect {
            Expect::Success => ran.is_success(),
            Expect::Output(text) => ran.output.trim() == text,
            Expect::Line(text) => ran.output.lines().any(|line| line.trim() == text),
            Expect::NoLine(text) => ran.output.lines().all(|line| line.trim() != text),
            Expect::Nothing => matches!(ran.end, End::Code(code) if code != 0),
        };
        if holds {
            return Verdict::Holds;
        }
        let mut change = Change { effects: vec![self.effect.clone()], ..Change::default() };
        change.actions.extend(self.make.iter().cloned().map(crate::provision::order::Action::Run));
        if change.actions.is_empty() {
            let what = format!("{} {}", self.ask, ran.end);
            let output = ran.last_lines(PROVISION_OUTPUT_LINES_SHOWN);
            return Verdict::Refused(Failure { what, output, advice: String::new() });
        }
        Verdict::Differs(change)
    }
}

impl Condition {
    pub(crate) fn questions(&self) -> Vec<Question> {
        vec![self.ask.clone()]
    }

    pub(crate) fn judge(&self, answers: &[Answer]) -> Verdict {
        let [answer] = answers else { return Verdict::mismatch() };
        match (self.fault)(answer) {
            None => Verdict::Holds,
            Some(what) => Verdict::refuse(what, self.advice.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::order::Ran;

    fn judged(expect: Expect, code: i32, output: &str) -> bool {
        let goal = Settled {
            ask: Command::new("timedatectl", ["show"]),
            expect,
            effect: "set the time zone".to_owned(),
            make: vec![Command::new("timedatectl", ["set-timezone", "Etc/UTC"])],
        };
        let ran = Ran { end: End::Code(code), output: output.into(), errors: String::new() };
        goal.judge(&[Answer::Ran(ran)]) == Verdict::Holds
    }

    #[test]
    fn what_is_expected_is_all_that_counts() {
        assert!(judged(Expect::Success, 0, "") && !judged(Expect::Success, 1, ""));
        assert!(judged(Expect::Output("a".into()), 0, " a\n"));
        assert!(!judged(Expect::Output("a".into()), 0, "a\nb\n"));
        assert!(judged(Expect::Line("b".into()), 1, "a\n b\n"));
        assert!(!judged(Expect::Line("b".into()), 0, "ab\n"));
        assert!(judged(Expect::NoLine("b".into()), 0, "ab\n"));
        assert!(!judged(Expect::NoLine("b".into()), 0, "a\n b\n"));
        assert!(judged(Expect::Nothing, 1, "") && !judged(Expect::Nothing, 0, ""));
    }

    #[test]
    fn a_condition_is_never_brought_about() {
        let goal = Condition {
            ask: Question::Run(Command::new("true", [])),
            fault: |answer| match answer {
                Answer::Ran(ran) if ran.is_success() => None,
                _ => Some("it is not true".to_owned()),
            },
            advice: "make it so".to_owned(),
        };
        let ran =
            |code| Answer::Ran(Ran { end: End::Code(code), output: "".into(), errors: "".into() });
        assert_eq!(goal.judge(&[ran(0)]), Verdict::Holds);
        assert_eq!(goal.judge(&[ran(1)]), Verdict::refuse("it is not true", "make it so"));
    }
}
