//! The engine against a machine that is a table.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::base::time::Wall;
use crate::provision::goal::file::{Content, Directory, File};
use crate::provision::goal::unit::Unit;
use crate::provision::order::{Access, Account, Command, End, Entry, Ran, Seen};

/// Files by path; programs end as `status` says.
#[derive(Default)]
struct Machine {
    files: BTreeMap<PathBuf, (Vec<u8>, Seen)>,
    status: i32,
    /// What has been changed.
    done: Vec<String>,
    /// A broken disk: writes say that they are done, and do nothing.
    forgets: bool,
}

impl Machine {
    fn answer(&mut self, order: Order) -> Answer {
        match order {
            Order::Ask(Question::Look(path) | Question::Read(path)) => {
                Answer::Looked(match self.files.get(&path) {
                    None => Entry::Missing,
                    Some((bytes, seen)) => Entry::File { bytes: bytes.clone(), seen: seen.clone() },
                })
            }
            Order::Ask(Question::Run(command)) => self.ran(&command),
            Order::Ask(Question::Engine(_)) => Answer::Engine(Err("no engine".into())),
            Order::Do(Action::Run(command)) => {
                self.done.push(command.to_string());
                self.ran(&command)
            }
            Order::Do(Action::Write { path, bytes, access }) => {
                self.done.push(format!("write {}", path.display()));
                if !self.forgets {
                    self.files.insert(path, (bytes.to_vec(), seen(access)));
                }
                Answer::Done
            }
            Order::Do(Action::SetAccess { path, access }) => {
                self.done.push(format!("set {} {access}", path.display()));
                self.files.entry(path).and_modify(|file| file.1 = seen(access));
                Answer::Done
            }
            Order::Do(other) => Answer::Failed(format!("cannot {other:?}")),
        }
    }

    fn ran(&self, command: &Command) -> Answer {
        let (output, errors) = match command.program.as_str() {
            "journalctl" => ("last words\n".to_owned(), String::new()),
            _ => ("LoadState=loaded\nUnitFileState=enabled\n".to_owned(), "E: no\n".to_owned()),
        };
        let end = End::Code(if command.arguments[0] == "show" { 0 } else { self.status });
        Answer::Ran(Ran { end, output, errors })
    }

    fn run(&mut self, steps: Vec<Step>, mode: StepMode) -> (Vec<StepOutcome>, StepTally) {
        let mut engine = StepEngine::new(steps, mode);
        while let Some(order) = engine.next(Mono::ZERO) {
            if mode == StepMode::Check {
                assert!(matches!(order, Order::Ask(_)), "{order:?}");
            }
            let answer = self.answer(order);
            engine.handle(answer, Mono::ZERO);
        }
        let mut outcomes = Vec::new();
        while let Some(event) = engine.poll_event() {
            if let StepEvent::Finished { outcome, .. } = event {
                outcomes.push(outcome);
            }
        }
        (outcomes, engine.tally())
    }
}

fn seen(access: Access) -> Seen {
    let nobody = Account { user: "nobody".into(), group: "nobody".into() };
    Seen { account: access.owner.unwrap_or(nobody), mode: access.mode, changed_at: Wall::default() }
}

fn file(path: &str) -> Step {
    let access = Access { owner: None, mode: 0o644 };
    let content = Content::Text { text: "# ours\nx\n".into(), mark: "# ours" };
    Step::new(path, File { path: path.into(), content, access })
}

fn unit() -> Step {
    let made_from = Vec::new();
    Step::new("unit", Unit { name: "x.service".into(), is_enabled: true, made_from })
}

fn counts(tally: StepTally) -> [usize; 4] {
    [tally.steps, tally.changed, tally.ok, tally.failed]
}

#[test]
fn the_second_run_changes_nothing() {
    let mut machine = Machine::default();
    let plan = || vec![file("/a"), file("/b")];
    let (_, tally) = machine.run(plan(), StepMode::Apply);
    assert_eq!(counts(tally), [2, 2, 0, 0]);
    assert_eq!(machine.done.len(), 2);
    let (_, tally) = machine.run(plan(), StepMode::Apply);
    assert_eq!(counts(tally), [2, 0, 2, 0]);
    assert_eq!(machine.done.len(), 2);
}

#[test]
fn a_check_changes_nothing_and_tells_all() {
    let mut machine = Machine::default();
    let directory = Directory { path: "/a".into(), access: Access { owner: None, mode: 0o755 } };
    machine.files.insert("/a".into(), (Vec::new(), seen(directory.access.clone())));
    let plan = vec![file("/b"), Step::new("directory", directory), file("/c")];
    let (outcomes, tally) = machine.run(plan, StepMode::Check);
    assert_eq!(counts(tally), [3, 2, 0, 1]);
    assert!(machine.done.is_empty());
    assert!(
        matches!(&outcomes[0], StepOutcome::Changed(change) if change.diff == ["+# ours", "+x"])
    );
    assert!(matches!(&outcomes[1], StepOutcome::Failed(why) if why.what == "/a is a file"));
}

#[test]
fn a_failure_ends_the_run_with_the_words_of_the_program() {
    let mut machine = Machine { status: 1, ..Machine::default() };
    let (outcomes, tally) = machine.run(vec![file("/a"), unit(), file("/b")], StepMode::Apply);
    assert_eq!(counts(tally), [2, 1, 0, 1]);
    assert_eq!(machine.done, ["write /a", "systemctl restart x.service"]);
    let StepOutcome::Failed(failure) = &outcomes[1] else { panic!("{outcomes:?}") };
    assert_eq!(failure.what, "`systemctl restart x.service` ended with status 1");
    assert_eq!(failure.output, ["E: no", "last words"]);
}

#[test]
fn what_does_not_hold_after_the_change_has_failed() {
    let mut machine = Machine { forgets: true, ..Machine::default() };
    let (outcomes, tally) = machine.run(vec![file("/a")], StepMode::Apply);
    assert_eq!(counts(tally), [1, 0, 0, 1]);
    let StepOutcome::Failed(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert!(failure.what.starts_with("it was changed and is still not so"), "{}", failure.what);
    // A unit that says it was started and is not running: its own last words tell why.
    let (outcomes, _) = Machine::default().run(vec![unit()], StepMode::Apply);
    let StepOutcome::Failed(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(failure.output, ["last words"]);
}

#[test]
fn a_stop_is_a_failure_of_the_step_that_is_taken() {
    let mut engine = StepEngine::new(vec![file("/a"), file("/b")], StepMode::Apply);
    let _order = engine.next(Mono::ZERO);
    engine.stop("interrupted", Mono::ZERO);
    assert_eq!(engine.next(Mono::ZERO), None);
    assert_eq!(counts(engine.tally()), [1, 0, 0, 1]);
    engine.handle(Answer::Done, Mono::ZERO);
    assert_eq!(engine.next(Mono::ZERO), None);
}
