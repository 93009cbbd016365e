//! `convocate-agent check`: what is wrong with this host, and how to mend it.

use std::path::PathBuf;

use serde_json::json;

use super::command::{Command, JSON, Parsed, ROOT};
use super::install::{current_image, facts, paths};
use super::out::{Failure, Out};
use crate::base::rng::Rng;
use crate::exit::Exit;
use crate::io::entropy;
use crate::provision::agent_check::conditions;
use crate::provision::agent_host::plan;
use crate::provision::engine::{Event, Mode};
use crate::provision::report::{Line, StepResult};
use crate::provision::run::{Options, run};

/// `check`.
pub const CHECK_HOST: Command = Command {
    name: "check",
    summary: "say what is wrong with this host, and how to mend it",
    operands: &[],
    flags: &[JSON, ROOT],
    help: "\
Looks at everything that install makes, and at what it cannot make: Docker, the image,
the limits of the slice, who may drive this agent, clock, disks and firewall. Changes
nothing. The status is 1 if anything is wrong. With --json each thing that was looked
at is one object a line. Needs root.

With --root it looks at what install --root makes, who may drive that agent, clock and
disk, for the user who runs it.
",
    run: check,
};

fn check(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = paths(parsed, "convocate-agent check")?;
    let mut steps = plan(&facts(&paths, None)?, &mut Rng::from_seed(entropy::seed()));
    steps.extend(conditions(&paths, &current_image(&paths)?));
    let options = Options {
        mode: Mode::Check,
        docker_socket: PathBuf::from("/var/run/docker.sock"),
        until_stdin_ends: false,
    };
    let as_json = parsed.has(&JSON);
    let repair = match paths.is_system() {
        true => "convocate-agent install".to_owned(),
        false => format!("convocate-agent install --root {}", paths.root().display()),
    };
    let mut lost = None;
    let tell = |event: &Event| {
        tell(event, as_json, &repair, out).map_err(|failure| {
            lost = Some(failure);
            "the output is closed"
        })
    };
    let tally = run(steps, &options, tell).map_err(|error| Failure::Failed(error.to_string()))?;
    if let Some(failure) = lost {
        return Err(failure);
    }
    let wrong = tally.changed + tally.failed;
    if as_json {
        out.json(&json!({ "line": "end", "steps": tally.steps, "wrong": wrong }))?;
    } else {
        out.text(&format!("{} things looked at, {wrong} wrong", tally.steps))?;
    }
    Ok(if wrong == 0 { Exit::Done } else { Exit::Failed })
}

/// Tells of what is wrong, and to a program of everything.
fn tell(event: &Event, as_json: bool, repair: &str, out: &mut Out<'_>) -> Result<(), Failure> {
    let Line::Step(mut line) = Line::of(event, Mode::Check) else { return Ok(()) };
    if line.result == StepResult::WouldChange {
        line.result = StepResult::Failed;
        line.error = Some(format!("not as installed: {}", line.changes.join(", ")));
        line.advice = Some(repair.to_owned());
        line.changes.clear();
    }
    if as_json {
        return out.json(&json!(Line::Step(line)));
    }
    let Some(error) = line.error else { return Ok(()) };
    out.text(&format!("{}: {error}", line.step))?;
    line.diff.iter().try_for_each(|line| out.text(&format!("      {line}")))?;
    match line.advice {
        Some(advice) => out.text(&format!("    to mend it: {advice}")),
        None => Ok(()),
    }
}
