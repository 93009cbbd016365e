//! What a thread that works on one host says, for the one that has the output.

use std::sync::mpsc::Sender;

use serde_json::{Value, json};

use crate::cli::output::{Failure, Out};
use crate::provision::report::{ReportLine, StepResult};

/// Something to be written.
#[derive(Debug)]
pub(crate) enum OutputLine {
    /// A result for a person.
    Text(String),
    /// What a person is told besides.
    Note(String),
    /// A line for a program.
    Json(Value),
}

impl OutputLine {
    pub(crate) fn write(&self, out: &mut Out<'_>) -> Result<(), Failure> {
        match self {
            OutputLine::Text(text) => out.text(text)?,
            OutputLine::Json(value) => out.json(value)?,
            OutputLine::Note(text) => out.note(text),
        }
        out.flush()
    }
}

/// What a host reports, as it is told here.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) host: &'a str,
    /// Whether a program reads it.
    pub(crate) is_json: bool,
    pub(crate) sender: &'a Sender<OutputLine>,
    /// Steps that were changed, or would be.
    pub(crate) changed: Vec<String>,
    pub(crate) failed: Option<String>,
    /// Whether its last line has come.
    pub(crate) has_ended: bool,
    /// The agent that it says it has.
    pub(crate) agent: Option<String>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(host: &'a str, is_json: bool, sender: &'a Sender<OutputLine>) -> Report<'a> {
        let (changed, failed, agent) = (Vec::new(), None, None);
        Report { host, is_json, sender, changed, failed, has_ended: false, agent }
    }

    /// Takes a line: whether anybody listens.
    pub(crate) fn tell(&mut self, bytes: &[u8]) -> bool {
        let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else {
            // What a login shell says of itself is no report.
            let text = format!("[{}] {}", self.host, String::from_utf8_lossy(bytes));
            return self.sender.send(OutputLine::Note(text)).is_ok();
        };
        if let Some(id) = value["agent"].as_str() {
            self.agent = Some(id.to_owned());
            return true;
        }
        let Ok(line) = serde_json::from_value::<ReportLine>(value.clone()) else { return true };
        match &line {
            ReportLine::Begin { .. } => return true,
            ReportLine::End(_) => self.has_ended = true,
            ReportLine::Step(step) => match step.result {
                StepResult::Ok => {}
                StepResult::Changed | StepResult::WouldChange => {
                    self.changed.push(step.step.clone());
                }
                StepResult::Failed => {
                    let error = step.error.clone().unwrap_or_default();
                    self.failed = Some(format!("{}: {error}", step.step));
                }
            },
        }
        if self.is_json {
            value["host"] = json!(self.host);
            return self.sender.send(OutputLine::Json(value)).is_ok();
        }
        match &line {
            ReportLine::Step(step) if step.result == StepResult::Ok => true,
            ReportLine::Step(_) => {
                let text = format!("[{}] {}", self.host, line.text().unwrap_or_default());
                self.sender.send(OutputLine::Text(text)).is_ok()
            }
            _ => true,
        }
    }
}
