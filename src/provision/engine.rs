//! The engine: takes steps one after the other until all hold or one fails.
//!
//! The owner carries out each [`Order`] of [`Engine::next`], hands its answer to
//! [`Engine::handle`], and tells the operator each [`Event`]. After a change the goal's questions
//! are asked again: what does not hold then has failed, whatever the programs said. What is done
//! stays done; the next call starts over and finds it.
//!
//! With [`Mode::Check`] no action is ever given out, and a step that cannot hold does not end the
//! run: the operator wants to hear of all of them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::time::Mono;
use crate::limits::PROVISION_OUTPUT_LINES_SHOWN;
use crate::provision::order::{Action, Answer, Order, Question, last_lines};
use crate::provision::step::{Change, Failure, Step, Verdict};

/// Whether anything is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Make it hold.
    Apply,
    /// Only say what would be changed.
    Check,
}

/// What the operator is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A step begins.
    Started { name: String },
    /// A step has ended.
    Finished {
        name: String,
        outcome: Outcome,
        /// How long it took.
        took: Duration,
    },
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It held already.
    Ok,
    /// It holds now, or with [`Mode::Check`] would be made to.
    Changed(Change),
    /// It does not hold.
    Failed(Failure),
}

/// How many steps ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// All that were taken.
    pub(crate) steps: usize,
    /// Those that were changed, or would be.
    pub(crate) changed: usize,
    pub(crate) ok: usize,
    pub(crate) failed: usize,
}

#[derive(Debug)]
pub(crate) struct Engine {
    mode: Mode,
    steps: VecDeque<Step>,
    state: State,
    events: VecDeque<Event>,
    tally: Tally,
}

#[derive(Debug)]
enum State {
    /// The next step can begin.
    Between,
    /// The questions of a step are asked.
    Asking(Current, Asked),
    /// Its actions are carried out; the first one of them has been given out.
    Changing(Current, Change, VecDeque<Action>),
    /// It has failed, and the cause is looked for.
    Examining(Current, Failure),
    /// Nothing more happens.
    Over,
}

/// The step that is taken.
#[derive(Debug)]
struct Current {
    step: Step,
    since: Mono,
}

#[derive(Debug)]
struct Asked {
    left: VecDeque<Question>,
    answers: Vec<Answer>,
    /// What has been changed, if this is the second time.
    made: Option<Change>,
}

impl Asked {
    fn of(step: &Step, made: Option<Change>) -> Asked {
        Asked { left: step.goal.questions().into(), answers: Vec::new(), made }
    }
}

impl Engine {
    /// An engine at its first step.
    pub(crate) fn new(steps: Vec<Step>, mode: Mode) -> Engine {
        Engine {
            mode,
            steps: steps.into(),
            state: State::Between,
            events: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// What is to be done now; its answer goes to [`Engine::handle`] before this is called again.
    /// `None`: it is over.
    #[must_use]
    pub(crate) fn next(&mut self, now: Mono) -> Option<Order> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Between => {
                    let step = self.steps.pop_front()?;
                    self.events.push_back(Event::Started { name: step.name.clone() });
                    let asked = Asked::of(&step, None);
                    self.state = State::Asking(Current { step, since: now }, asked);
                }
                State::Asking(current, mut asked) => match asked.left.pop_front() {
                    Some(question) => {
                        self.state = State::Asking(current, asked);
                        return Some(Order::Ask(question));
                    }
                    None => self.judge(current, asked, now),
                },
                State::Changing(current, change, left) => match left.front().cloned() {
                    Some(action) => {
                        self.state = State::Changing(current, change, left);
                        return Some(Order::Do(action));
                    }
                    None => {
                        let asked = Asked::of(&current.step, Some(change));
                        self.state = State::Asking(current, asked);
                    }
                },
                State::Examining(current, failure) => match current.step.goal.examination() {
                    Some(question) => {
                        self.state = State::Examining(current, failure);
                        return Some(Order::Ask(question));
                    }
                    None => self.finish(&current, Outcome::Failed(failure), now),
                },
                State::Over => return None,
            }
        }
    }

    /// Takes the answer to the last order.
    pub(crate) fn handle(&mut self, answer: Answer, now: Mono) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asking(current, mut asked) => {
                asked.answers.push(answer);
                self.state = State::Asking(current, asked);
            }
            State::Changing(current, change, mut left) => {
                let action = left.pop_front();
                self.state = match action.and_then(|action| refusal(&action, answer)) {
                    None => State::Changing(current, change, left),
                    Some(failure) => State::Examining(current, failure),
                };
            }
            State::Examining(current, mut failure) => {
                if let Answer::Ran(ran) = answer {
                    failure.output.extend(ran.last_lines(PROVISION_OUTPUT_LINES_SHOWN));
                }
                self.finish(&current, Outcome::Failed(failure), now);
            }
            state @ (State::Between | State::Over) => self.state = state,
        }
    }

    /// Ends it where it is: the operator wants so, or cannot be reached any more.
    pub(crate) fn stop(&mut self, why: &str, now: Mono) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asking(current, _)
            | State::Changing(current, ..)
            | State::Examining(current, _) => {
                self.finish(&current, Outcome::Failed(Failure::of(why)), now);
            }
            State::Between | State::Over => {}
        }
        self.state = State::Over;
    }

    /// What the operator is to be told next.
    #[must_use]
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How many steps ended how, so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    fn judge(&mut self, current: Current, asked: Asked, now: Mono) {
        let verdict = current.step.goal.judge(&asked.answers);
        match (verdict, asked.made, self.mode) {
            (Verdict::Holds, None, _) => self.finish(&current, Outcome::Ok, now),
            (Verdict::Holds, Some(made), _) => self.finish(&current, Outcome::Changed(made), now),
            (Verdict::Refused(failure), _, _) => {
                self.finish(&current, Outcome::Failed(failure), now);
            }
            (Verdict::Differs(change), None, Mode::Check) => {
                self.finish(&current, Outcome::Changed(change), now);
            }
            (Verdict::Differs(mut change), None, Mode::Apply) => {
                let actions = std::mem::take(&mut change.actions).into();
                self.state = State::Changing(current, change, actions);
            }
            (Verdict::Differs(change), Some(_), _) => {
                let left = change.effects.join(", ");
                let what = format!("it was changed and is still not so; there is left: {left}");
                self.state = State::Examining(current, Failure::of(what));
            }
        }
    }

    fn finish(&mut self, current: &Current, outcome: Outcome, now: Mono) {
        self.tally.steps += 1;
        let is_failed = matches!(outcome, Outcome::Failed(_));
        match outcome {
            Outcome::Ok => self.tally.ok += 1,
            Outcome::Changed(_) => self.tally.changed += 1,
            Outcome::Failed(_) => self.tally.failed += 1,
        }
        let goes_on = !is_failed || self.mode == Mode::Check;
        self.state = if goes_on { State::Between } else { State::Over };
        let (name, took) = (current.step.name.clone(), now.since(current.since));
        self.events.push_back(Event::Finished { name, outcome, took });
    }
}

/// Why an action has failed, if it has.
fn refusal(action: &Action, answer: Answer) -> Option<Failure> {
    match (action, answer) {
        (_, Answer::Failed(what)) => Some(Failure::of(what)),
        (Action::Run(command), Answer::Ran(ran)) if !ran.is_success() => Some(Failure {
            what: format!("`{command}` {}", ran.end),
            output: ran.last_lines(PROVISION_OUTPUT_LINES_SHOWN),
            advice: String::new(),
        }),
        (Action::Fetch { url, .. }, Answer::Ran(ran)) => Some(Failure {
            what: format!("{url} does not come: curl {}", ran.end),
            output: ran.last_lines(PROVISION_OUTPUT_LINES_SHOWN),
            advice: "what has come stays, and the next call goes on from there".to_owned(),
        }),
        (_, Answer::Engine(Err(why))) => Some(Failure::of(why)),
        (Action::Build(_), Answer::Engine(Ok(response))) => {
            let said = response.build_output();
            let error = response.built().err()?;
            Some(Failure {
                what: format!("docker: {error}"),
                output: last_lines(&said, PROVISION_OUTPUT_LINES_SHOWN),
                advice: String::new(),
            })
        }
        (Action::Engine(_), Answer::Engine(Ok(response))) => {
            let error = response.accepted().err()?;
            Some(Failure::of(format!("docker: {error}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
