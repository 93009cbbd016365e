//! A host with one of our programs at hand: the one way in which anything works on a host.
//!
//! The program gets its request as JSON on standard input. Its report is one object a line; a line
//! that belongs to no step is its answer, which is handed on and never shown: it may have secrets.

use std::cell::Cell;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::connection::Connection;
use super::event::{HostEvent, Tell};
use super::interrupts::Interrupts;
use super::programs::Programs;
use super::talk::talk;
use super::{HostError, RemoteError};
use crate::limits::PROVISION_REQUEST_BYTES_MAX;
use crate::provision::openssh::{AfterRun, Copied, Installed, Probe, Target};
use crate::provision::report::{EndLine, ReportLine, StepLine, StepResult};

/// A host and a program on it. A program that was copied there is removed when this is dropped.
pub(crate) struct HostSession<'a> {
    /// The host as the operator calls it.
    pub(crate) name: String,
    program: ProgramPlace<'a>,
    interrupts: &'a Interrupts,
    /// Whether a copy of the program is there that is ours to remove.
    has_copy: Cell<bool>,
    /// All runs together.
    total: EndLine,
}

enum ProgramPlace<'a> {
    /// This machine: the program's file.
    Here(PathBuf),
    Copied {
        connection: Connection<'a>,
        probe: Probe,
        copy: Copied,
    },
    Installed {
        connection: Connection<'a>,
        program: Installed,
    },
}

/// What came of a run that came to its end.
#[derive(Debug, Default)]
pub(crate) struct RunReport {
    /// Whether it ended with status 0.
    pub(crate) is_done: bool,
    /// Steps that were changed, or would be.
    pub(crate) changed: Vec<String>,
    /// The last step that failed, and why.
    pub(crate) failed: Option<String>,
    pub(crate) answer: Value,
}

/// The report of a run as it comes in.
#[derive(Default)]
struct Incoming {
    report: RunReport,
    current: Option<String>,
    end: Option<EndLine>,
}

impl<'a> HostSession<'a> {
    /// This machine, with a program in this place.
    pub(crate) fn here(program: PathBuf, interrupts: &'a Interrupts) -> HostSession<'a> {
        let name = crate::io::machine::host_name();
        HostSession::new(name, ProgramPlace::Here(program), interrupts)
    }

    /// Another host, which gets a copy of the program for its processor.
    pub(crate) fn connect(
        target: Target,
        program: &str,
        programs: &Programs,
        interrupts: &'a Interrupts,
    ) -> Result<HostSession<'a>, HostError> {
        let name = target.host().to_owned();
        let placed = || {
            if interrupts.has_come() {
                return Err(RemoteError::Interrupted);
            }
            let (connection, probe) = Connection::connect(target, interrupts)?;
            let program = programs.read(program, &probe.machine);
            let copy = connection.copy(&program.map_err(RemoteError::NoProgramFor)?)?;
            Ok(ProgramPlace::Copied { connection, probe, copy })
        };
        let program = placed().map_err(|error: RemoteError| error.on(&name))?;
        Ok(HostSession::new(name, program, interrupts))
    }

    /// Another host, where the program is installed.
    pub(crate) fn installed(
        target: Target,
        program: &'static str,
        interrupts: &'a Interrupts,
    ) -> Result<HostSession<'a>, HostError> {
        let name = target.host().to_owned();
        if interrupts.has_come() {
            return Err(RemoteError::Interrupted.on(&name));
        }
        let connection = Connection::open(target, interrupts).map_err(|error| error.on(&name))?;
        let program = ProgramPlace::Installed { connection, program: Installed(program) };
        Ok(HostSession::new(name, program, interrupts))
    }

    fn new(name: String, program: ProgramPlace<'a>, interrupts: &'a Interrupts) -> HostSession<'a> {
        let has_copy = Cell::new(matches!(program, ProgramPlace::Copied { .. }));
        HostSession { name, program, interrupts, has_copy, total: EndLine::default() }
    }

    /// The name by which it is dialled, if it is another host.
    pub(crate) fn dialled_name(&self) -> Result<Option<String>, HostError> {
        let name = self.connection().map(Connection::host_name).transpose();
        name.map_err(|error| error.on(&self.name))
    }

    /// The connection to it, if it is another host.
    pub(crate) fn connection(&self) -> Option<&Connection<'a>> {
        match &self.program {
            ProgramPlace::Here(_) => None,
            ProgramPlace::Copied { connection, .. }
            | ProgramPlace::Installed { connection, .. } => Some(connection),
        }
    }

    /// What the host was when the program was copied there.
    pub(crate) fn probe(&self) -> Option<&Probe> {
        match &self.program {
            ProgramPlace::Copied { probe, .. } => Some(probe),
            _ => None,
        }
    }

    pub(crate) fn interrupts(&self) -> &'a Interrupts {
        self.interrupts
    }

    /// Restarts the host, and waits until it is in another boot. How long that took.
    ///
    /// # Errors
    /// [`RemoteError::Restart`] when it has not come back in time.
    pub(crate) fn restart(&self) -> Result<Duration, HostError> {
        let ProgramPlace::Copied { connection, probe, .. } = &self.program else {
            unreachable!("only a host that was prepared now is restarted")
        };
        connection.restart(probe).map_err(|error| error.on(&self.name))
    }

    /// The words that run a command of the program, which stays there.
    pub(crate) fn words(&self, command: &str) -> Vec<String> {
        self.words_and(AfterRun::Keep, command)
    }

    fn words_and(&self, after: AfterRun, command: &str) -> Vec<String> {
        match &self.program {
            ProgramPlace::Here(program) => {
                let program = program.display().to_string();
                std::iter::once(program).chain(command.split(' ').map(str::to_owned)).collect()
            }
            ProgramPlace::Copied { connection, copy, .. } => {
                connection.ssh().run(copy, command, after)
            }
            ProgramPlace::Installed { connection, program } => {
                connection.ssh().run_installed(*program, command)
            }
        }
    }

    /// Runs a command of the program to its end, and gives its answer. Ends of runs are counted.
    /// If a step fails the host is left without the program.
    ///
    /// # Errors
    /// [`RemoteError`], when a step failed or the run did not come to its end.
    pub(crate) fn carry_out<A: DeserializeOwned>(
        &mut self,
        command: &str,
        request: &impl Serialize,
        tell: &mut Tell<'_>,
    ) -> Result<A, HostError> {
        self.carry_out_and(AfterRun::RemoveFailed, command, request, tell)
    }

    /// The same for the last run here: the host removes the copy behind it, without another call.
    ///
    /// # Errors
    /// As [`HostSession::carry_out`].
    pub(crate) fn carry_out_last<A: DeserializeOwned>(
        &mut self,
        command: &str,
        request: &impl Serialize,
        tell: &mut Tell<'_>,
    ) -> Result<A, HostError> {
        let done = self.carry_out_and(AfterRun::Remove, command, request, tell);
        self.has_copy.set(false);
        done
    }

    fn carry_out_and<A: DeserializeOwned>(
        &mut self,
        after: AfterRun,
        command: &str,
        request: &impl Serialize,
        tell: &mut Tell<'_>,
    ) -> Result<A, HostError> {
        let words = self.words_and(after, command);
        let report = self.run_words(&words, request, &[], tell)?;
        if !report.is_done {
            self.has_copy.set(false);
            self.finish(tell);
            return Err(RemoteError::StepsFailed.on(&self.name));
        }
        serde_json::from_value(report.answer)
            .map_err(|error| RemoteError::Answer(error).on(&self.name))
    }

    /// Runs a command of the program, which gets `payload` behind its request, and hands on what it
    /// reports. Steps may fail; the program stays there.
    ///
    /// # Errors
    /// [`RemoteError`], when the run did not come to its end.
    pub(crate) fn run(
        &mut self,
        command: &str,
        request: &impl Serialize,
        payload: &[u8],
        tell: &mut Tell<'_>,
    ) -> Result<RunReport, HostError> {
        self.run_words(&self.words(command), request, payload, tell)
    }

    /// The same by other words, where the program needs more to be run.
    pub(crate) fn run_words(
        &mut self,
        words: &[String],
        request: &impl Serialize,
        mut payload: &[u8],
        tell: &mut Tell<'_>,
    ) -> Result<RunReport, HostError> {
        self.run_words_from(words, request, &mut payload, tell)
    }

    /// The same with a payload that is read piece by piece.
    pub(crate) fn run_words_from(
        &mut self,
        words: &[String],
        request: &impl Serialize,
        payload: &mut dyn Read,
        tell: &mut Tell<'_>,
    ) -> Result<RunReport, HostError> {
        let request = json!(request).to_string();
        if request.len() > PROVISION_REQUEST_BYTES_MAX {
            return Err(RemoteError::LongRequest.on(&self.name));
        }
        let mut incoming = Incoming::default();
        let is_done = talk(self.interrupts, words, &request, payload, |line| {
            incoming.take(line).is_none_or(|event| tell(&self.name, event))
        });
        let failed = |error| HostError {
            step: incoming.current.clone(),
            ..RemoteError::on(error, &self.name)
        };
        let is_done = is_done.map_err(failed)?;
        let Some(end) = incoming.end else {
            return Err(failed(RemoteError::Unfinished));
        };
        self.total.add(&end);
        Ok(RunReport { is_done, ..incoming.report })
    }

    /// Something begins here that is reported as a step of this host.
    pub(crate) fn begin_step(&self, step: &str, tell: &mut Tell<'_>) -> Result<(), HostError> {
        self.tell(HostEvent::Report(ReportLine::Begin { step: step.to_owned() }), tell)
    }

    /// It has ended.
    pub(crate) fn end_step(
        &mut self,
        line: StepLine,
        tell: &mut Tell<'_>,
    ) -> Result<(), HostError> {
        self.total.count(&line);
        self.tell(HostEvent::Report(ReportLine::Step(line)), tell)
    }

    fn tell(&self, event: HostEvent, tell: &mut Tell<'_>) -> Result<(), HostError> {
        match tell(&self.name, event) {
            true => Ok(()),
            false => Err(RemoteError::NobodyListens.on(&self.name)),
        }
    }

    /// Reports all runs together.
    pub(crate) fn finish(&self, tell: &mut Tell<'_>) {
        let _heard = tell(&self.name, HostEvent::Total(self.total));
    }
}

impl RunReport {
    /// The report of a run whose steps all hold; else the step that failed, and why.
    pub(crate) fn check(self) -> Result<RunReport, String> {
        match self.is_done {
            true => Ok(self),
            false => Err(self.failed.unwrap_or_else(|| "it failed".to_owned())),
        }
    }
}

impl Drop for HostSession<'_> {
    fn drop(&mut self) {
        if let ProgramPlace::Copied { connection, copy, .. } = &self.program
            && self.has_copy.get()
        {
            connection.remove(copy);
        }
    }
}

impl Incoming {
    /// Takes a line: what is to be told of it.
    fn take(&mut self, bytes: &[u8]) -> Option<HostEvent> {
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
            // What a login shell says of itself is no report.
            return Some(HostEvent::Note(String::from_utf8_lossy(bytes).into_owned()));
        };
        let Ok(line) = serde_json::from_value::<ReportLine>(value.clone()) else {
            self.report.answer = value;
            return None;
        };
        match &line {
            ReportLine::Begin { step } => self.current = Some(step.clone()),
            ReportLine::End(end) => {
                self.end.get_or_insert_default().add(end);
            }
            ReportLine::Step(step) => {
                self.current = None;
                match step.result {
                    StepResult::Ok => {}
                    StepResult::Changed | StepResult::WouldChange => {
                        self.report.changed.push(step.step.clone());
                    }
                    StepResult::Failed => {
                        let error = step.error.as_deref().unwrap_or_default();
                        self.report.failed = Some(format!("{}: {error}", step.step));
                    }
                }
            }
        }
        Some(HostEvent::Report(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session with `sh`, whose request is the script's first line of input.
    fn run(script: &str) -> (Result<RunReport, HostError>, Vec<String>) {
        let interrupts = Interrupts::block().expect("descriptors");
        let mut session = HostSession::here(PathBuf::from("sh"), &interrupts);
        let words = ["sh", "-c", script].map(str::to_owned);
        let mut events = Vec::new();
        let done = session.run_words(&words, &json!({}), b"payload", &mut |_, event| {
            events.push(format!("{event:?}"));
            true
        });
        (done, events)
    }

    const END: &str =
        r#"{"line":"end","steps":1,"changed":0,"ok":0,"failed":1,"seconds":0.0,"check":false}"#;

    #[test]
    fn a_report_is_told_and_the_answer_is_kept() {
        let step = r#"{"line":"step","step":"a","result":"failed","seconds":0,"error":"no"}"#;
        let script = format!("cat >/dev/null & echo hello; echo '{step}'; echo '{END}'; exit 1");
        let (done, events) = run(&script);
        let report = done.expect("it comes to its end");
        assert!(!report.is_done && report.answer.is_null());
        assert_eq!(report.failed.as_deref(), Some("a: no"));
        assert_eq!(events.len(), 3, "{events:?}");
        assert!(events[0].contains("Note(\"hello\")"), "{events:?}");
        let (done, events) =
            run(&format!("read line; head -c 7; echo; echo '{{\"x\":1}}'; echo '{END}'"));
        assert_eq!(done.expect("it comes to its end").answer["x"], 1);
        assert!(events[0].contains("payload") && events.len() == 2, "{events:?}");
    }

    #[test]
    fn a_run_without_an_end_names_its_step() {
        let begin = r#"{"line":"begin","step":"a"}"#;
        let error = |end: &str| run(&format!("echo '{begin}'; {end}")).0.expect_err("no end");
        for end in ["exit 0", "exit 255", "kill -KILL $$"] {
            let HostError { step, error, .. } = error(end);
            assert_eq!(step.as_deref(), Some("a"));
            assert_eq!(matches!(error, RemoteError::Unfinished), end == "exit 0", "{error}");
        }
    }
}
