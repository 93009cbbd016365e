//! One of our programs at work for `convocate-host`: on another host, or here. What it reports is
//! shown as if it were done here, with the host's name before it.
//!
//! It gets its request as JSON on standard input. Its report is one object a line; a line that
//! belongs to no step is its answer, which is handed on and never shown: it may have secrets.

use std::env;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cli::command::Flag;
use crate::cli::output::{Failure, Out};
use crate::cli::this_host::{host_name, own_program};
use crate::exit::Exit;
use crate::io::disk::{self, Ids, Links};
use crate::io::machine;
use crate::limits::{PROVISION_FILE_BYTES_MAX, PROVISION_REQUEST_BYTES_MAX};
use crate::provision::openssh::{Copied, Installed, Probe, Target, Then};
use crate::provision::remote::talk::Talker;
use crate::provision::remote::{Operator, Remote, RemoteError};
use crate::provision::report::{EndLine, ReportLine, StepLine, beginning};

pub(crate) const HOST: Flag = Flag {
    name: "host",
    value: Some("H"),
    summary: "the host, as ssh knows it; this machine if not given",
    choices: &[],
};
pub(crate) const USER: Flag = Flag {
    name: "user",
    value: Some("U"),
    summary: "who logs in there; what ~/.ssh/config says, or $USER, if not given",
    choices: &[],
};
/// Where the programs are that are brought to hosts.
pub(crate) const BIN: Flag = Flag {
    name: "bin",
    value: Some("DIR"),
    summary: "where the programs are that are brought there; beside this one if not given",
    choices: &[],
};
/// A host with one of our programs at hand.
pub(crate) struct Worker {
    /// As the operator calls it.
    pub(crate) name: String,
    way: Way,
}

enum Way {
    /// This machine: the program's file.
    Here(PathBuf),
    /// A copy on another host, until it has been removed.
    Copy(Remote, Option<Copied>),
    /// A program that another host has already.
    There(Remote, Installed),
}

/// What the operator is shown of a host's work.
pub(crate) struct Report {
    host: String,
    is_json: bool,
    total: EndLine,
    has_ended: bool,
    current: Option<String>,
    answer: Option<Value>,
}

impl Worker {
    /// This machine, with a program from `bin` or from beside this one.
    pub(crate) fn here(program: &str, bin: Option<&str>) -> Result<Worker, Failure> {
        let path = sibling(program, bin)?;
        if !path.is_file() {
            let text = format!("{} is not there; say where it is with --bin DIR", path.display());
            return Err(Failure::Failed(text));
        }
        Ok(Worker { name: host_name(), way: Way::Here(path) })
    }

    /// This machine, with a program in its installed place.
    pub(crate) fn at(program: &Path) -> Result<Worker, Failure> {
        if !program.is_file() {
            let text = "this machine is no shell host yet; make it one with: sudo convocate-host \
                        init-shell";
            return Err(Failure::Failed(text.to_owned()));
        }
        Ok(Worker { name: host_name(), way: Way::Here(program.to_owned()) })
    }

    /// Another host, which gets a copy of the program for its processor. And what it is.
    pub(crate) fn reach(
        target: Target,
        program: &str,
        bin: Option<&str>,
    ) -> Result<(Worker, Probe), Failure> {
        let name = target.host().to_owned();
        let failed = |error| failure(&name, error);
        let (remote, probe) = Remote::connect(target, operator()).map_err(failed)?;
        let program = program_for(&probe.machine, program, bin)?;
        let copy = remote.copy(&program).map_err(failed)?;
        Ok((Worker { name, way: Way::Copy(remote, Some(copy)) }, probe))
    }

    /// Another host, where the program is installed.
    pub(crate) fn installed(target: Target, program: &'static str) -> Result<Worker, Failure> {
        let name = target.host().to_owned();
        let remote = Remote::open(target, operator()).map_err(|error| failure(&name, error))?;
        Ok(Worker { name, way: Way::There(remote, Installed(program)) })
    }

    /// The connection to it, if it is another host.
    pub(crate) fn remote(&self) -> Option<&Remote> {
        match &self.way {
            Way::Here(_) => None,
            Way::Copy(remote, _) | Way::There(remote, _) => Some(remote),
        }
    }

    /// The words that run a command of the program beside what else is run of it.
    pub(crate) fn call(&self, command: &str) -> Vec<String> {
        match &self.way {
            Way::Copy(remote, Some(copy)) => remote.ssh().run_on(copy, command),
            _ => self.words(command, Then::KeepForMore),
        }
    }

    /// Runs a command of the program, shows what it reports, and gives its answer.
    ///
    /// # Errors
    /// [`Failure`], when a step failed or the run did not come to its end.
    pub(crate) fn run<A: DeserializeOwned>(
        &mut self,
        talker: &mut Talker,
        (command, then): (&str, Then),
        request: &impl Serialize,
        report: &mut Report,
        out: &mut Out<'_>,
    ) -> Result<A, Failure> {
        let request = json!(request).to_string();
        if request.len() > PROVISION_REQUEST_BYTES_MAX {
            return Err(Failure::Failed(format!("{}: there is too much to tell it", self.name)));
        }
        let words = self.words(command, then);
        report.has_ended = false;
        report.answer = None;
        let done = talker.talk(&words, &request, |line| report.tell(line, out).is_ok());
        if let Way::Copy(_, copy) = &mut self.way
            && (then == Then::Remove || matches!(done, Ok(false)))
        {
            *copy = None;
        }
        let is_done = done.map_err(|error| report.broken(&self.name, error))?;
        if !report.has_ended {
            return Err(report.broken(&self.name, RemoteError::Cut));
        }
        if !is_done {
            report.finish(out)?;
            let text = "mend that and run it again: what is done stays done";
            return Err(Failure::Exit(Exit::Failed, format!("{}: {text}", self.name)));
        }
        serde_json::from_value(report.answer.take().unwrap_or_default()).map_err(|error| {
            let text = format!("{}: its answer is not understood: {error}", self.name);
            Failure::Failed(text)
        })
    }

    fn words(&self, command: &str, then: Then) -> Vec<String> {
        match &self.way {
            Way::Here(program) => {
                let program = program.display().to_string();
                std::iter::once(program).chain(command.split(' ').map(str::to_owned)).collect()
            }
            Way::Copy(remote, Some(copy)) => remote.ssh().run(copy, command, then),
            Way::Copy(_, None) => unreachable!("nothing is run behind a run that removes the copy"),
            Way::There(remote, program) => remote.ssh().run_installed(*program, command),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Way::Copy(remote, Some(copy)) = &self.way {
            // What cannot be removed is a program in a directory of root's.
            let _left = remote.clean(copy);
        }
    }
}

impl Report {
    /// Nothing has been reported yet.
    pub(crate) fn new(host: &str, is_json: bool) -> Report {
        let total = EndLine { steps: 0, changed: 0, ok: 0, failed: 0, seconds: 0.0, check: false };
        let host = host.to_owned();
        Report { host, is_json, total, has_ended: false, current: None, answer: None }
    }

    fn tell(&mut self, bytes: &[u8], out: &mut Out<'_>) -> Result<(), Failure> {
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
            // What a login shell says of itself is no report.
            out.note(&format!("[{}] {}", self.host, String::from_utf8_lossy(bytes)));
            return Ok(());
        };
        let line = match serde_json::from_value::<ReportLine>(value.clone()) {
            Ok(line) => line,
            Err(_) => {
                self.answer = Some(value);
                return Ok(());
            }
        };
        match &line {
            ReportLine::Begin { step } => self.current = Some(step.clone()),
            ReportLine::Step(_) => self.current = None,
            ReportLine::End(end) => {
                self.has_ended = true;
                self.total.add(end);
                return Ok(());
            }
        }
        self.write(&line, out)
    }

    /// Something begins that is shown as a step.
    pub(crate) fn begin(&mut self, step: &str, out: &mut Out<'_>) -> Result<(), Failure> {
        self.write(&ReportLine::Begin { step: step.to_owned() }, out)
    }

    pub(crate) fn end(&mut self, line: StepLine, out: &mut Out<'_>) -> Result<(), Failure> {
        self.total.count(&line);
        self.write(&ReportLine::Step(line), out)
    }

    fn write(&self, line: &ReportLine, out: &mut Out<'_>) -> Result<(), Failure> {
        if self.is_json {
            let mut value = json!(line);
            value["host"] = json!(self.host);
            out.json(&value)?;
        } else {
            self.show(line, out)?;
        }
        out.flush()
    }

    fn show(&self, line: &ReportLine, out: &mut Out<'_>) -> Result<(), Failure> {
        let host = &self.host;
        match (line, out.width()) {
            (ReportLine::Begin { step }, Some(_)) => {
                out.part(&format!("[{host}] {}", beginning(step)))
            }
            (ReportLine::Step(step), Some(_)) => out.text(&step.ending()),
            (line, _) => match line.text() {
                Some(text) => out.text(&format!("[{host}] {text}")),
                None => Ok(()),
            },
        }
    }

    /// Tells of all runs together.
    pub(crate) fn finish(&self, out: &mut Out<'_>) -> Result<(), Failure> {
        if self.is_json {
            let mut value = json!(ReportLine::End(self.total));
            value["host"] = json!(self.host);
            out.json(&value)?;
        } else {
            out.text(&format!("{}: {}", self.host, self.total.text()))?;
        }
        out.flush()
    }

    /// Why a run has no end, and at which step it was.
    fn broken(&self, host: &str, error: RemoteError) -> Failure {
        match (&self.current, error) {
            (Some(step), error @ (RemoteError::Cut | RemoteError::Interrupted)) => {
                Failure::Failed(format!("{host}: at the step {step:?}: {error}"))
            }
            (_, error) => failure(host, error),
        }
    }
}

/// What ends a call when something is wrong with a host.
pub(crate) fn failure(host: &str, error: RemoteError) -> Failure {
    match error {
        RemoteError::NobodyListens => Failure::NobodyReads,
        error => Failure::Failed(format!("{host}: {error}")),
    }
}

/// From here on signals end what runs, which then says where it stopped.
pub(crate) fn talker() -> Result<Talker, Failure> {
    Talker::new().map_err(|error| Failure::Failed(format!("cannot wait for signals: {error}")))
}

/// Under sudo, whoever called it: the keys and the configuration are that person's.
pub(crate) fn operator() -> Option<Operator> {
    let name = env::var("SUDO_USER").ok().filter(|name| !name.is_empty() && name != "root")?;
    let number = |variable| env::var(variable).ok()?.parse().ok();
    let ids = Ids { user: number("SUDO_UID")?, group: number("SUDO_GID")? };
    (machine::uid() == 0).then_some(Operator { name, ids })
}

/// One of our programs for a processor: the file of that name, or the one beside it that says the
/// processor in its name.
pub(crate) fn program_for(
    machine: &str,
    name: &str,
    bin: Option<&str>,
) -> Result<Vec<u8>, Failure> {
    let path = sibling(name, bin)?;
    if machine == env::consts::ARCH && bin.is_none() && name == "convocate-host" {
        return own_program();
    }
    let path = match machine == env::consts::ARCH {
        true => path,
        false => path.with_file_name(format!("{name}.{machine}")),
    };
    disk::read_bounded(&path, PROVISION_FILE_BYTES_MAX, Links::Follow).map_err(|error| {
        Failure::Failed(format!(
            "the host is of kind {machine}, and {name} for it is expected as {} (--bin DIR says \
             where else): {error}",
            path.display()
        ))
    })
}

fn sibling(name: &str, bin: Option<&str>) -> Result<PathBuf, Failure> {
    if let Some(directory) = bin {
        return Ok(Path::new(directory).join(name));
    }
    let own = env::current_exe().map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(own.with_file_name(name))
}
