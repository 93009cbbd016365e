//! The driver on this machine, below a directory of its own.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::io::scratch::Scratch;
use crate::provision::engine::StepOutcome;
use crate::provision::goal::file::{Content, Directory, File};
use crate::provision::goal::guarded::{Expect, GuardedCommands};
use crate::provision::goal::image::Image;
use crate::provision::order::{Access, Command};

fn take(steps: Vec<Step>, mode: StepMode) -> (Vec<StepOutcome>, StepTally) {
    let docker_socket = PathBuf::from("/no/such/socket");
    let options = DriverOptions { mode, docker_socket, until_stdin_ends: false };
    let mut outcomes = Vec::new();
    let tally = run(steps, &options, |event| {
        if let StepEvent::Finished { outcome, .. } = event {
            outcomes.push(outcome.clone());
        }
        Ok::<(), Infallible>(())
    });
    (outcomes, tally.unwrap())
}

fn plan(top: &Path) -> Vec<Step> {
    let access = |mode| Access { owner: None, mode };
    let content = Content::Text { text: "# ours\n".into(), mark: "# ours" };
    vec![
        Step::new("directory", Directory { path: top.join("d"), access: access(0o700) }),
        Step::new("file", File { path: top.join("e/f"), content, access: access(0o640) }),
        Step::new("settled", touched(top, "touch")),
    ]
}

/// A file that a program makes.
fn touched(top: &Path, program: &str) -> GuardedCommands {
    let path = top.join("touched").display().to_string();
    GuardedCommands {
        guard: Command::new("test", ["!", "-e", &path]),
        expect: Expect::Nothing,
        effect: "touch it".into(),
        commands: vec![Command::new(program, [&path])],
    }
}

fn failure(outcome: &StepOutcome) -> &str {
    match outcome {
        StepOutcome::Failed(failure) => &failure.what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_is_there_and_the_second_run_finds_it() {
    let scratch = Scratch::new();
    let (_, tally) = take(plan(scratch.path()), StepMode::Check);
    assert_eq!((tally.changed, fs::read_dir(scratch.path()).unwrap().count()), (3, 0));
    let (outcomes, tally) = take(plan(scratch.path()), StepMode::Apply);
    assert_eq!((tally.changed, tally.failed), (3, 0), "{outcomes:?}");
    assert_eq!(fs::read_to_string(scratch.join("e/f")).unwrap(), "# ours\n");
    assert!(scratch.join("touched").exists());
    assert_eq!(take(plan(scratch.path()), StepMode::Apply).1.ok, 3);
}

#[test]
fn a_program_that_fails_is_missing_or_hangs_is_named() {
    let scratch = Scratch::new();
    for (program, arguments, words) in [
        ("false", ["", ""], "`false \"\" \"\"` ended with status 1"),
        ("no-such-program", ["", ""], "`no-such-program \"\" \"\"` is not installed"),
        ("sh", ["-c", "kill -9 $$"], "`sh -c \"kill -9 $$\"` was killed by signal 9"),
        ("sh", ["-c", "exec tail -f /dev/null"], "took too long and was killed"),
    ] {
        let mut step = touched(scratch.path(), "touch");
        let patience = Duration::from_millis(300);
        step.commands = vec![Command::new(program, arguments).within(patience)];
        let (outcomes, _) = take(vec![Step::new("x", step)], StepMode::Apply);
        assert!(failure(&outcomes[0]).ends_with(words), "{outcomes:?}");
    }
}

#[test]
fn an_engine_that_is_not_there_is_named() {
    let image = Image { tag: "x:1".into(), base: None, context: Vec::new(), hash: "".into() };
    let (outcomes, _) = take(vec![Step::new("image", image)], StepMode::Apply);
    let words = "no Docker engine answers at /no/such/socket: ";
    assert!(failure(&outcomes[0]).starts_with(words), "{outcomes:?}");
}

#[test]
fn an_owner_that_is_not_there_is_named() {
    let scratch = Scratch::new();
    let account = crate::provision::order::Account { user: "no-such".into(), group: "x".into() };
    let access = Access { owner: Some(account), mode: 0o700 };
    let directory = Directory { path: scratch.join("d"), access };
    let (outcomes, _) = take(vec![Step::new("d", directory)], StepMode::Apply);
    assert_eq!(failure(&outcomes[0]), "there is no user no-such");
}

#[test]
fn nobody_listening_ends_the_run() {
    let scratch = Scratch::new();
    let options = DriverOptions {
        mode: StepMode::Apply,
        docker_socket: PathBuf::new(),
        until_stdin_ends: false,
    };
    let tally = run(plan(scratch.path()), &options, |_| Err("gone")).unwrap();
    assert_eq!(tally.changed, 0);
    assert!(!scratch.join("e").exists());
}
