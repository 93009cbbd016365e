//! Runs steps on this machine and reports each, for every command that sets a host up.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::cli::output::{Failure, Out};
use crate::exit::Exit;
use crate::io::clock::Clock;
use crate::paths::DOCKER_SOCKET;
use crate::provision::engine::{StepEvent, StepMode, StepTally};
use crate::provision::report::{ReportLine, beginning};
use crate::provision::run::{DriverOptions, run};
use crate::provision::step::Step;

/// How the run is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Sentences. On a terminal, each step shows when it begins.
    Text,
    /// One object a line.
    Json,
}

#[derive(Clone, Debug)]
pub(crate) struct RunOptions {
    pub(crate) mode: StepMode,
    pub(crate) format: Format,
    pub(crate) docker_socket: PathBuf,
    /// Whether the end of standard input ends the run.
    pub(crate) until_stdin_ends: bool,
}

impl RunOptions {
    /// For the flags `--check` and `--json`.
    pub(crate) fn new(check: bool, json: bool) -> RunOptions {
        RunOptions {
            mode: if check { StepMode::Check } else { StepMode::Apply },
            format: if json { Format::Json } else { Format::Text },
            docker_socket: PathBuf::from(DOCKER_SOCKET),
            until_stdin_ends: false,
        }
    }

    /// For a run by `convocate-host`, which reads the report and whose end ends the run.
    pub(crate) fn of_request(check: bool) -> RunOptions {
        RunOptions { until_stdin_ends: true, ..RunOptions::new(check, true) }
    }
}

/// Takes the steps and reports each and all of them.
///
/// # Errors
/// [`Failure::Exit`] when a step has failed. It has no text with `--json`: the report names the
/// step.
pub(crate) fn take(
    steps: Vec<Step>,
    run_options: &RunOptions,
    out: &mut Out<'_>,
) -> Result<StepTally, Failure> {
    let clock = Clock::new();
    let started = clock.mono();
    let options = DriverOptions {
        mode: run_options.mode,
        docker_socket: run_options.docker_socket.clone(),
        until_stdin_ends: run_options.until_stdin_ends,
    };
    let mut lost = None;
    let report_event = |event: &StepEvent| match report(event, run_options, out) {
        Ok(()) => Ok(()),
        Err(failure) => {
            lost = Some(failure);
            Err("the output is closed")
        }
    };
    let tally =
        run(steps, &options, report_event).map_err(|error| Failure::Failed(error.to_string()))?;
    if let Some(failure) = lost {
        return Err(failure);
    }
    report_end(tally, run_options, clock.mono().since(started), out)?;
    if tally.failed > 0 {
        let again = "mend that and run it again: what is done stays done";
        let text = if run_options.format == Format::Text { again } else { "" };
        return Err(Failure::Exit(Exit::Failed, text.to_owned()));
    }
    Ok(tally)
}

fn report(event: &StepEvent, run_options: &RunOptions, out: &mut Out<'_>) -> Result<(), Failure> {
    let line = ReportLine::of(event, run_options.mode);
    match (run_options.format, &line) {
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

fn report_end(
    tally: StepTally,
    run_options: &RunOptions,
    took: Duration,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let line = ReportLine::end(tally, run_options.mode, took);
    match (run_options.format, line.text()) {
        (Format::Text, Some(text)) => out.text(&text)?,
        _ => out.json(&json!(line))?,
    }
    out.flush()
}
