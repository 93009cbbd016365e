//! Taking steps on this machine and telling of each: what every command that sets up has.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::cli::output::{Failure, Out};
use crate::exit::Exit;
use crate::io::clock::Clock;
use crate::provision::engine::{Event, Mode, Tally};
use crate::provision::report::{ReportLine, beginning};
use crate::provision::run::{Options, run};
use crate::provision::step::Step;

/// How events are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// To a person, who sees each step begin on a terminal.
    Text,
    /// To a program: one object a line.
    Json,
}

/// How the steps are to be taken.
#[derive(Clone, Debug)]
pub(crate) struct RunOptions {
    /// Whether anything is changed.
    pub(crate) mode: Mode,
    /// How events are told.
    pub(crate) tone: Format,
    /// Where the Docker Engine listens.
    pub(crate) docker_socket: PathBuf,
    /// Whether the end of standard input ends it.
    pub(crate) until_stdin_ends: bool,
}

impl RunOptions {
    /// With `--check` and `--json` as they were given.
    pub(crate) fn new(check: bool, json: bool) -> RunOptions {
        RunOptions {
            mode: if check { Mode::Check } else { Mode::Apply },
            tone: if json { Format::Json } else { Format::Text },
            docker_socket: PathBuf::from("/var/run/docker.sock"),
            until_stdin_ends: false,
        }
    }

    /// For `convocate-host`, which reads the report and whose end ends the run.
    pub(crate) fn of_request(check: bool) -> RunOptions {
        RunOptions { until_stdin_ends: true, ..RunOptions::new(check, true) }
    }
}

/// Takes the steps and tells of each and of all.
///
/// # Errors
/// [`Failure::Exit`] without a text of its own when a step has failed: that has been told.
pub(crate) fn take(
    steps: Vec<Step>,
    manner: &RunOptions,
    out: &mut Out<'_>,
) -> Result<Tally, Failure> {
    let clock = Clock::new();
    let begun = clock.mono();
    let options = Options {
        mode: manner.mode,
        docker_socket: manner.docker_socket.clone(),
        until_stdin_ends: manner.until_stdin_ends,
    };
    let mut lost = None;
    let tell = |event: &Event| match tell(event, manner, out) {
        Ok(()) => Ok(()),
        Err(failure) => {
            lost = Some(failure);
            Err("the output is closed")
        }
    };
    let tally = run(steps, &options, tell).map_err(|error| Failure::Failed(error.to_string()))?;
    if let Some(failure) = lost {
        return Err(failure);
    }
    end(tally, manner, clock.mono().since(begun), out)?;
    if tally.failed > 0 {
        let again = "mend that and run it again: what is done stays done";
        let text = if manner.tone == Format::Text { again } else { "" };
        return Err(Failure::Exit(Exit::Failed, text.to_owned()));
    }
    Ok(tally)
}

fn tell(event: &Event, manner: &RunOptions, out: &mut Out<'_>) -> Result<(), Failure> {
    let line = ReportLine::of(event, manner.mode);
    match (manner.tone, &line) {
        (Format::Json, line) => out.json(&json!(line))?,
        (Format::Text, ReportLine::Begin { step }) if out.width().is_some() => {
            out.part(&beginning(step))?;
        }
        (Format::Text, ReportLine::Step(step)) if out.width().is_some() => {
            out.text(&step.ending())?
        }
        (Format::Text, line) => {
            if let Some(text) = line.text() {
                out.text(&text)?;
            }
        }
    }
    out.flush()
}

fn end(
    tally: Tally,
    manner: &RunOptions,
    took: Duration,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let line = ReportLine::end(tally, manner.mode, took);
    match (manner.tone, line.text()) {
        (Format::Text, Some(text)) => out.text(&text)?,
        _ => out.json(&json!(line))?,
    }
    out.flush()
}
