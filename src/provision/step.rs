//! A step: its name, and the goal that holds when it is done.
//!
//! A new kind of step: write a struct with what it needs in a file below `goal/`, implement
//! [`Goal`] for it (what to ask, what the answers mean and which actions would change them), and
//! give the file a line in `goal/mod.rs`. The engine and the plans need no change.

use std::any::Any;

use crate::provision::order::{Action, Answer, Command, Question};

/// One step of a plan.
pub(crate) struct Step {
    /// What it is called in reports: `user claude`.
    pub(crate) name: String,
    goal: Box<dyn Goal>,
}

/// Something that can hold on a machine. It only asks and judges: the engine carries out the
/// actions of its [`Change`], and then asks the same questions again.
pub(crate) trait Goal: Any {
    /// What must be known to judge it. None of these changes anything.
    fn questions(&self) -> Vec<Question>;

    /// Judges the answers: one for each question, and none of them [`Answer::Failed`].
    fn judge(&self, answers: &[Answer]) -> StepVerdict;

    /// What shows the cause when an action has failed, or has had no effect.
    fn examination(&self) -> Option<Question> {
        None
    }
}

/// What the answers to a goal's questions mean.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StepVerdict {
    Holds,
    /// It does not hold, and this change would make it hold.
    Differs(Change),
    /// It does not hold, and no action of ours can make it hold.
    Refused(StepFailure),
}

/// How the machine would get there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Change {
    /// What it amounts to, a few words each: `mode 0644 → 0640`.
    pub(crate) effects: Vec<String>,
    /// What changes in a file: lines that begin with `-`, `+` or a blank.
    pub(crate) diff: Vec<String>,
    /// To be carried out in this order.
    pub(crate) actions: Vec<Action>,
}

/// Why a step failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepFailure {
    /// What happened, to what: one sentence.
    pub what: String,
    /// The last lines of the program that failed.
    pub(crate) output: Vec<String>,
    /// What to do next: one sentence; empty if it is enough to run the command again.
    pub(crate) advice: String,
}

impl Step {
    pub(crate) fn new(name: impl Into<String>, goal: impl Goal) -> Step {
        Step { name: name.into(), goal: Box::new(goal) }
    }

    pub(super) fn questions(&self) -> Vec<Question> {
        self.goal.questions()
    }

    /// Judges the answers; one that could not be had refuses the step.
    pub(super) fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let unanswered = answers.iter().find_map(|answer| match answer {
            Answer::Failed(what) => Some(StepVerdict::refuse(what, "")),
            _ => None,
        });
        unanswered.unwrap_or_else(|| self.goal.judge(answers))
    }

    pub(super) fn examination(&self) -> Option<Question> {
        self.goal.examination()
    }

    /// The goal, if it is of this kind.
    #[cfg(test)]
    pub(super) fn goal<G: Goal>(&self) -> Option<&G> {
        let goal: &dyn Any = &*self.goal;
        goal.downcast_ref()
    }
}

impl StepFailure {
    /// A failure without output or advice.
    pub(crate) fn of(what: impl Into<String>) -> StepFailure {
        StepFailure { what: what.into(), ..StepFailure::default() }
    }

    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> StepFailure {
        self.advice = advice.into();
        self
    }
}

impl StepVerdict {
    /// A refusal: what is wrong, and what to do.
    pub(crate) fn refuse(what: impl Into<String>, advice: impl Into<String>) -> StepVerdict {
        StepVerdict::Refused(StepFailure::of(what).advise(advice))
    }

    /// For a driver whose answers are not of the kind that was asked for.
    pub(super) fn mismatch() -> StepVerdict {
        StepVerdict::refuse("the answer does not belong to the question", "")
    }

    /// The verdict for a change, which may turn out to be empty.
    pub(super) fn of(change: Change) -> StepVerdict {
        if change.actions.is_empty() { StepVerdict::Holds } else { StepVerdict::Differs(change) }
    }
}

impl Change {
    /// Adds an action, and what it amounts to.
    pub(super) fn add(&mut self, effect: impl Into<String>, action: Action) {
        self.effects.push(effect.into());
        self.actions.push(action);
    }

    /// Adds a program to run, and what it amounts to.
    pub(super) fn run(&mut self, effect: impl Into<String>, command: Command) {
        self.add(effect, Action::Run(command));
    }
}
