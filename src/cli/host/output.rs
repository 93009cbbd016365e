//! What happens on hosts, as lines: for a person, and as JSON for a program.

use std::time::Duration;

use serde_json::{Value, json};

use crate::base::sorted_map::SortedMap;
use crate::base::uuid::Uuid;
use crate::cli::output::{Failure, Out};
use crate::exit::Exit;
use crate::provision::remote::event::{HostEvent, Moved, SessionPhase};
use crate::provision::remote::{HostError, RemoteError};
use crate::provision::report::{EndLine, ReportLine, StepResult, beginning};
use crate::provision::run::send::ShipReport;
use crate::provision::ship::progress::{Progress, mib};
use crate::provision::workflow::WorkflowError;

/// How long a transfer takes until a person is told how far it is; then at growing intervals.
const FIRST_PROGRESS: Duration = Duration::from_secs(2);

/// Writes what happens on hosts.
pub(crate) struct HostOutput<'a, 'b> {
    out: &'a mut Out<'b>,
    is_json: bool,
    detail: Detail,
    /// When a person was last told of a transfer, since its begin, by host.
    last_progress: SortedMap<String, Duration>,
}

/// What of the steps is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Each, also as it begins.
    Steps,
    /// What changes or fails: many hosts are worked on at once, or most steps say nothing.
    Changes,
}

impl<'a, 'b> HostOutput<'a, 'b> {
    pub(crate) fn new(out: &'a mut Out<'b>, is_json: bool, detail: Detail) -> HostOutput<'a, 'b> {
        HostOutput { out, is_json, detail, last_progress: SortedMap::new() }
    }

    /// Writes an event; whether somebody reads it.
    pub(crate) fn tell(&mut self, host: &str, event: HostEvent) -> bool {
        self.write(host, event).and_then(|()| self.out.flush()).is_ok()
    }

    fn write(&mut self, host: &str, event: HostEvent) -> Result<(), Failure> {
        match event {
            HostEvent::Report(line) => self.report(host, &line),
            HostEvent::Total(end) => self.total(host, end),
            HostEvent::Note(text) => {
                self.out.note(&format!("[{host}] {text}"));
                Ok(())
            }
            HostEvent::Restart { reason, text } => match self.is_json {
                true => {
                    let line = json!({ "line": "restart", "reason": reason, "text": text });
                    self.json(host, line)
                }
                false => self.out.text(&format!("{host}: {text} ({reason})")),
            },
            HostEvent::ImageProgress { image, progress } => {
                self.image_progress(host, &image, &progress)
            }
            HostEvent::ImageShipped { image, shipped } => self.image(host, &image, &shipped),
            HostEvent::Session { id, phase } => self.session(host, id, &phase),
        }
    }

    fn json(&mut self, host: &str, mut line: Value) -> Result<(), Failure> {
        line["host"] = json!(host);
        self.out.json(&line)
    }

    fn report(&mut self, host: &str, line: &ReportLine) -> Result<(), Failure> {
        let shows_steps = self.detail == Detail::Steps;
        let is_shown = match line {
            ReportLine::Begin { .. } => shows_steps,
            ReportLine::Step(step) => shows_steps || self.is_json || step.result != StepResult::Ok,
            // The total follows all runs of the host.
            ReportLine::End(_) => !shows_steps && self.is_json,
        };
        if !is_shown {
            return Ok(());
        }
        if self.is_json {
            return self.json(host, json!(line));
        }
        match (line, self.out.width()) {
            (ReportLine::Begin { step }, Some(_)) => {
                self.out.part(&format!("[{host}] {}", beginning(step)))
            }
            (ReportLine::Step(step), Some(_)) if shows_steps => self.out.text(&step.ending()),
            (line, _) => match line.text() {
                Some(text) => self.out.text(&format!("[{host}] {text}")),
                None => Ok(()),
            },
        }
    }

    fn total(&mut self, host: &str, end: EndLine) -> Result<(), Failure> {
        match self.is_json {
            true => self.json(host, json!(ReportLine::End(end))),
            false => self.out.text(&format!("{host}: {}", end.text())),
        }
    }

    /// A program gets each progress, a person at growing intervals.
    fn image_progress(
        &mut self,
        host: &str,
        image: &str,
        progress: &Progress,
    ) -> Result<(), Failure> {
        if self.is_json {
            let line = json!({
                "line": "image-progress", "image": image,
                "plain_bytes": progress.plain_bytes, "wire_bytes": progress.wire_bytes,
                "expected_bytes": progress.expected_bytes, "rate": progress.rate(),
                "rest_seconds": progress.rest_seconds(),
            });
            return self.json(host, line);
        }
        if self.is_due(host, progress) {
            self.out.note(&format!("[{host}] image {image}: {}", progress.text()));
        }
        Ok(())
    }

    fn is_due(&mut self, host: &str, progress: &Progress) -> bool {
        let took = progress.took;
        // A later one that took less is of another transfer.
        let last = self.last_progress.get(host).filter(|last| **last <= took);
        let is_due = took >= last.map_or(FIRST_PROGRESS, |last| *last * 3 / 2);
        if is_due {
            self.last_progress.insert(host.to_owned(), took);
        }
        is_due
    }

    fn image(&mut self, host: &str, image: &str, shipped: &ShipReport) -> Result<(), Failure> {
        if !self.is_json {
            return self.out.text(&format!("[{host}] image {image} … {}", shipped.text()));
        }
        let line = json!({
            "line": "image", "image": image, "id": shipped.id,
            "layers": shipped.layers, "sent": shipped.sent,
            "plain_bytes": shipped.plain_bytes, "wire_bytes": shipped.wire_bytes,
            "sha256": shipped.sha256, "why_whole": shipped.why_whole,
            "seconds": shipped.took.as_secs_f64(),
        });
        self.json(host, line)
    }

    fn session(&mut self, host: &str, id: Uuid, phase: &SessionPhase) -> Result<(), Failure> {
        if let (false, SessionPhase::Progress(progress)) = (self.is_json, phase)
            && !self.is_due(host, progress)
        {
            return Ok(());
        }
        let (mut line, text) = session_line(phase);
        if self.is_json {
            line["line"] = "session".into();
            line["session"] = json!(id);
            return self.json(host, line);
        }
        self.out.text(&format!("[{host}] {id} … {text}"))
    }
}

/// How far a session is, for a program and for a person.
fn session_line(phase: &SessionPhase) -> (Value, String) {
    let plain = |phase: &str, text: &str| (json!({ "phase": phase }), text.to_owned());
    match phase {
        SessionPhase::Check(text) => (json!({ "phase": "check", "text": text }), text.clone()),
        SessionPhase::Sending { bytes } => {
            plain("sending", &format!("sending {} MiB", mib(*bytes)))
        }
        SessionPhase::Progress(progress) => {
            let line = json!({
                "phase": "progress", "plain_bytes": progress.plain_bytes,
                "wire_bytes": progress.wire_bytes, "rate": progress.rate(),
            });
            (line, progress.text())
        }
        SessionPhase::Arrived(moved) => arrived_line(moved),
        SessionPhase::Comparing => plain("comparing", "has arrived before; comparing"),
        SessionPhase::There => plain("there", "is there, and nothing of it here"),
        SessionPhase::Listed => plain("listed", "the agent lists it"),
        SessionPhase::SetAside => plain("set-aside", "set aside here"),
        SessionPhase::Erased => plain("erased", "erased here"),
        SessionPhase::Failed(why) => {
            (json!({ "phase": "failed", "error": why }), format!("not moved: {why}"))
        }
    }
}

fn arrived_line(moved: &Moved) -> (Value, String) {
    let Moved { read, sha256, wire_bytes, took } = moved;
    let mut text = format!(
        "{} entries, {} MiB as {} MiB in {:.1} s; SHA-256 {} at both ends",
        read.entries,
        mib(read.stored_bytes),
        mib(*wire_bytes),
        took.as_secs_f64(),
        &sha256[..16],
    );
    if read.skipped > 0 {
        text.push_str(&format!("; left out {}: {}", read.skipped, read.notes.join(", ")));
    }
    let line = json!({
        "phase": "arrived", "entries": read.entries, "stored_bytes": read.stored_bytes,
        "wire_bytes": wire_bytes, "seconds": took.as_secs_f64(), "sha256": sha256,
        "skipped": read.skipped, "notes": read.notes,
    });
    (line, text)
}

impl From<WorkflowError> for Failure {
    fn from(error: WorkflowError) -> Failure {
        match error {
            WorkflowError::Usage(text) => Failure::Usage(text),
            WorkflowError::Failed(text) => Failure::Failed(text),
            WorkflowError::NobodyListens
            | WorkflowError::Host(HostError { error: RemoteError::NobodyListens, .. }) => {
                Failure::NobodyReads
            }
            WorkflowError::Host(error) => Failure::Failed(error.to_string()),
            WorkflowError::StepsFailed => Failure::Exit(Exit::Failed, String::new()),
        }
    }
}
