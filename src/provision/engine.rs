//! The engine: takes steps one after the other until all hold or one fails.
//!
//! The driver carries out each [`Order`] of [`StepEngine::next`], hands the answer to
//! [`StepEngine::handle`], and shows the operator each [`StepEvent`]. After a change the goal's
//! questions are asked again: what does not hold then has failed, whatever the programs said. What
//! is done stays done; the next run starts over and finds it.
//!
//! With [`StepMode::Check`] no action is ever given out, and a failed step does not end the run:
//! the operator wants to see all of them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::time::Mono;
use crate::limits::PROVISION_OUTPUT_LINES_SHOWN;
use crate::provision::order::{Action, Answer, Order, Question, last_lines};
use crate::provision::step::{Change, Step, StepFailure, StepVerdict};

/// Whether anything is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepMode {
    /// Make it hold.
    Apply,
    /// Only say what would be changed.
    Check,
}

/// What the operator is shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StepEvent {
    Started { name: String },
    Finished { name: String, outcome: StepOutcome, took: Duration },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StepOutcome {
    /// It held already.
    Ok,
    /// It holds now, or with [`StepMode::Check`] would be made to.
    Changed(Change),
    /// It does not hold.
    Failed(StepFailure),
}

/// How many steps ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StepTally {
    /// All that were taken.
    pub(crate) steps: usize,
    /// Those that were changed, or would be.
    pub(crate) changed: usize,
    pub(crate) ok: usize,
    pub(crate) failed: usize,
}

pub(crate) struct StepEngine {
    mode: StepMode,
    steps: VecDeque<Step>,
    state: EngineState,
    events: VecDeque<StepEvent>,
    tally: StepTally,
}

enum EngineState {
    /// The next step can begin.
    Between,
    /// The questions of a step are asked.
    Asking(Current, Asked),
    /// Its actions are carried out; the first one of them has been given out.
    Changing(Current, Change, VecDeque<Action>),
    /// It has failed, and the cause is looked for.
    Examining(Current, StepFailure),
    /// Nothing more happens.
    Over,
}

/// The step that is taken.
struct Current {
    step: Step,
    since: Mono,
}

struct Asked {
    left: VecDeque<Question>,
    answers: Vec<Answer>,
    /// What has been changed, if this is the second time.
    made: Option<Change>,
}

impl Asked {
    fn of(step: &Step, made: Option<Change>) -> Asked {
        Asked { left: step.questions().into(), answers: Vec::new(), made }
    }
}

impl StepEngine {
    pub(crate) fn new(steps: Vec<Step>, mode: StepMode) -> StepEngine {
        StepEngine {
            mode,
            steps: steps.into(),
            state: EngineState::Between,
            events: VecDeque::new(),
            tally: StepTally::default(),
        }
    }

    /// What is to be done now. Its answer goes to [`StepEngine::handle`] before this is called
    /// again. `None`: the run is over.
    #[must_use]
    pub(crate) fn next(&mut self, now: Mono) -> Option<Order> {
        loop {
            match std::mem::replace(&mut self.state, EngineState::Over) {
                EngineState::Between => {
                    let step = self.steps.pop_front()?;
                    self.events.push_back(StepEvent::Started { name: step.name.clone() });
                    let asked = Asked::of(&step, None);
                    self.state = EngineState::Asking(Current { step, since: now }, asked);
                }
                EngineState::Asking(current, mut asked) => match asked.left.pop_front() {
                    Some(question) => {
                        self.state = EngineState::Asking(current, asked);
                        return Some(Order::Ask(question));
                    }
                    None => self.judge(current, asked, now),
                },
                EngineState::Changing(current, change, left) => match left.front().cloned() {
                    Some(action) => {
                        self.state = EngineState::Changing(current, change, left);
                        return Some(Order::Do(action));
                    }
                    None => {
                        let asked = Asked::of(&current.step, Some(change));
                        self.state = EngineState::Asking(current, asked);
                    }
                },
                EngineState::Examining(current, failure) => match current.step.examination() {
                    Some(question) => {
                        self.state = EngineState::Examining(current, failure);
                        return Some(Order::Ask(question));
                    }
                    None => self.finish(&current, StepOutcome::Failed(failure), now),
                },
                EngineState::Over => return None,
            }
        }
    }

    /// Takes the answer to the last order.
    pub(crate) fn handle(&mut self, answer: Answer, now: Mono) {
        match std::mem::replace(&mut self.state, EngineState::Over) {
            EngineState::Asking(current, mut asked) => {
                asked.answers.push(answer);
                self.state = EngineState::Asking(current, asked);
            }
            EngineState::Changing(current, change, mut left) => {
                let action = left.pop_front();
                self.state = match action.and_then(|action| refusal(&action, answer)) {
                    None => EngineState::Changing(current, change, left),
                    Some(failure) => EngineState::Examining(current, failure),
                };
            }
            EngineState::Examining(current, mut failure) => {
                if let Answer::Ran(ran) = answer {
                    failure.output.extend(ran.last_lines(PROVISION_OUTPUT_LINES_SHOWN));
                }
                self.finish(&current, StepOutcome::Failed(failure), now);
            }
            state @ (EngineState::Between | EngineState::Over) => self.state = state,
        }
    }

    /// Ends the run where it is: the operator wants that, or cannot be reached any more.
    pub(crate) fn stop(&mut self, why: &str, now: Mono) {
        match std::mem::replace(&mut self.state, EngineState::Over) {
            EngineState::Asking(current, _)
            | EngineState::Changing(current, ..)
            | EngineState::Examining(current, _) => {
                self.finish(&current, StepOutcome::Failed(StepFailure::of(why)), now);
            }
            EngineState::Between | EngineState::Over => {}
        }
        self.state = EngineState::Over;
    }

    #[must_use]
    pub(crate) fn poll_event(&mut self) -> Option<StepEvent> {
        self.events.pop_front()
    }

    /// How many steps ended how, so far.
    pub(crate) fn tally(&self) -> StepTally {
        self.tally
    }

    fn judge(&mut self, current: Current, asked: Asked, now: Mono) {
        let verdict = current.step.judge(&asked.answers);
        match (verdict, asked.made, self.mode) {
            (StepVerdict::Holds, None, _) => self.finish(&current, StepOutcome::Ok, now),
            (StepVerdict::Holds, Some(made), _) => {
                self.finish(&current, StepOutcome::Changed(made), now)
            }
            (StepVerdict::Refused(failure), _, _) => {
                self.finish(&current, StepOutcome::Failed(failure), now);
            }
            (StepVerdict::Differs(change), None, StepMode::Check) => {
                self.finish(&current, StepOutcome::Changed(change), now);
            }
            (StepVerdict::Differs(mut change), None, StepMode::Apply) => {
                let actions = std::mem::take(&mut change.actions).into();
                self.state = EngineState::Changing(current, change, actions);
            }
            (StepVerdict::Differs(change), Some(_), _) => {
                let left = change.effects.join(", ");
                let what = format!("it was changed and is still not so; there is left: {left}");
                self.state = EngineState::Examining(current, StepFailure::of(what));
            }
        }
    }

    fn finish(&mut self, current: &Current, outcome: StepOutcome, now: Mono) {
        self.tally.steps += 1;
        let is_failed = matches!(outcome, StepOutcome::Failed(_));
        match outcome {
            StepOutcome::Ok => self.tally.ok += 1,
            StepOutcome::Changed(_) => self.tally.changed += 1,
            StepOutcome::Failed(_) => self.tally.failed += 1,
        }
        let goes_on = !is_failed || self.mode == StepMode::Check;
        self.state = if goes_on { EngineState::Between } else { EngineState::Over };
        let (name, took) = (current.step.name.clone(), now.since(current.since));
        self.events.push_back(StepEvent::Finished { name, outcome, took });
    }
}

/// Why an action has failed, if it has.
fn refusal(action: &Action, answer: Answer) -> Option<StepFailure> {
    match (action, answer) {
        (_, Answer::Failed(what)) => Some(StepFailure::of(what)),
        (Action::Run(command), Answer::Ran(ran)) if !ran.is_success() => Some(StepFailure {
            what: format!("`{command}` {}", ran.end),
            output: ran.last_lines(PROVISION_OUTPUT_LINES_SHOWN),
            advice: String::new(),
        }),
        (Action::Fetch { url, .. }, Answer::Ran(ran)) => Some(StepFailure {
            what: format!("{url} does not come: curl {}", ran.end),
            output: ran.last_lines(PROVISION_OUTPUT_LINES_SHOWN),
            advice: "what has come stays, and the next call goes on from there".to_owned(),
        }),
        (_, Answer::Engine(Err(why))) => Some(StepFailure::of(why)),
        (Action::Build(_), Answer::Engine(Ok(response))) => {
            let said = response.build_output();
            let error = response.built().err()?;
            Some(StepFailure {
                what: format!("docker: {error}"),
                output: last_lines(&said, PROVISION_OUTPUT_LINES_SHOWN),
                advice: String::new(),
            })
        }
        (Action::Engine(_), Answer::Engine(Ok(response))) => {
            let error = response.accepted().err()?;
            Some(StepFailure::of(format!("docker: {error}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
