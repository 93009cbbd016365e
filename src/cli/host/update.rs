//! `convocate-host update`: newer agents on many hosts at once.
//!
//! ```text
//! connect -> image -> program (the one before kept) -> ping -> stamp -> ping
//!                                                        \-> program before -> ping
//! ```
//!
//! Each host has a thread of its own; what it says goes through one channel to the output. On the
//! host, the same command runs with `--request`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::agent;
use crate::base::hex;
use crate::base::rng::Rng;
use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::host::many::work_on;
use crate::cli::host::output::{OutputLine, Report};
use crate::cli::host::remote::{USER, operator, program_for};
use crate::cli::host::ship_image::{Teller, docker_socket};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::{CHECK, JSON, REQUEST, ROOT};
use crate::cli::steps::{RunOptions, take};
use crate::cli::table::{Column, Table};
use crate::cli::this_host::agent_facts;
use crate::exit::Exit;
use crate::fleet::registry::KnownAgent;
use crate::fleet::run::{Runner, load};
use crate::io::disk::{self, Links};
use crate::io::{entropy, machine};
use crate::limits::{PROVISION_FILE_BYTES_MAX, PROVISION_HOSTS_MAX, SURVEY_TIMEOUT};
use crate::paths::Paths;
use crate::provision::openssh::{Copied, Target};
use crate::provision::plan::update::{PROGRAM, back, replace, stamp};
use crate::provision::remote::{Remote, RemoteError};
use crate::rpc::call::Call;
use crate::rpc::session::Pong;

pub(crate) const HOSTS: Flag = Flag {
    name: "host",
    value: Some("H[,H]"),
    summary: "the hosts, as ssh knows them; those of all agents if not given",
    choices: &[],
};
const IMAGE: Flag = Flag {
    name: "image",
    value: Some("NAME"),
    summary: "the session image here; that of this version if not given",
    choices: &[],
};
const NO_IMAGE: Flag = Flag {
    name: "no-image",
    value: None,
    summary: "leave the session images as they are",
    choices: &[],
};

/// `update`.
pub(crate) const UPDATE: Command = Command {
    name: "update",
    summary: "bring the agents of hosts to this version, with their image",
    operands: &[],
    flags: &[HOSTS, USER, CHECK, JSON, IMAGE, NO_IMAGE, ROOT, REQUEST],
    help: "\
To be run on the shell host, with the new convocate-agent beside this program. All
hosts are worked on at once; one that fails does not stop the others, and is in the
table at the end and in the exit status. On each, in this order:

  1. the session image, without the layers that the host has
  2. the program, replaced in one step; the one before stays beside it as
     convocate-agent.previous; everything else that this version installs
  3. the service is started again and has to answer a ping over tcp/222; if it does
     not, the program before is put back, and the report says so
  4. current-image, which new sessions get, and a ping once more

Sessions run on, and attached terminals come back by themselves. Interrupted anywhere,
the same call goes on. --check says what would be changed. A host whose keys are not
here is judged by its service alone, and the table says so.
",
    run: update,
};

/// What the host is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) work: Work,
    pub(crate) check: bool,
}

/// What is to be done there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum Work {
    /// A program, which follows.
    Replace {
        /// So many bytes of it.
        bytes: u64,
        /// Their SHA-256 in hexadecimal.
        sha256: String,
    },
    /// The program before.
    Back,
    /// The image of new sessions.
    Stamp(String),
}

impl Request {
    /// Replaces the program by this one, or looks what that would change.
    pub(crate) fn replace(program: &[u8], check: bool) -> Request {
        let bytes = u64::try_from(program.len()).expect("a program is short");
        Request {
            work: Work::Replace { bytes, sha256: hex::text(&Sha256::digest(program)) },
            check,
        }
    }
}

/// How a host was left.
struct Summary {
    host: String,
    result: &'static str,
    is_good: bool,
    version: String,
    note: String,
    seconds: u64,
}

/// What is the same for all hosts.
struct Job {
    check: bool,
    is_json: bool,
    image: Option<String>,
    socket: PathBuf,
    paths: Paths,
}

fn update(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    if parsed.has(&REQUEST) {
        return update_here(out);
    }
    let targets = targets(parsed)?;
    let job = Job {
        check: parsed.has(&CHECK),
        is_json: parsed.has(&JSON),
        image: match (parsed.has(&NO_IMAGE), parsed.value(&IMAGE)) {
            (true, _) => None,
            (false, image) => Some(image.map_or_else(agent::image::tag, str::to_owned)),
        },
        socket: docker_socket(parsed),
        paths: crate::cli::shared_flags::root_paths(parsed)?,
    };
    let summaries = work_on(&targets, out, |target, sender| job.host(target, sender))?;
    tell_summaries(&summaries, job.is_json, out)?;
    let is_good = summaries.iter().all(|summary| summary.is_good);
    Ok(if is_good { Exit::Done } else { Exit::Failed })
}

/// The hosts that are meant, each once.
pub(crate) fn targets(parsed: &Parsed) -> Result<Vec<Target>, Failure> {
    let hosts = match parsed.value(&HOSTS) {
        Some(hosts) => hosts.split(',').map(str::to_owned).collect(),
        None => known_hosts(&crate::cli::shared_flags::root_paths(parsed)?)?,
    };
    let mut targets: Vec<Target> = Vec::new();
    for host in hosts {
        let target = Target::new(&host, parsed.value(&USER)).map_err(Failure::Usage)?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    if targets.len() > PROVISION_HOSTS_MAX {
        let text = format!("--host: more than {PROVISION_HOSTS_MAX} hosts");
        return Err(Failure::Usage(text));
    }
    Ok(targets)
}

/// Where all agents are.
fn known_hosts(paths: &Paths) -> Result<Vec<String>, Failure> {
    let registry = load(paths).map_err(Failure::Failed)?;
    if let Some(problem) = registry.problems.first() {
        return Err(Failure::Failed(problem.to_string()));
    }
    match registry.agents.iter().map(KnownAgent::host).collect::<Vec<_>>() {
        none if none.is_empty() => {
            Err(Failure::Usage("no agent is known here; which hosts? give --host".to_owned()))
        }
        hosts => Ok(hosts),
    }
}

fn tell_summaries(all: &[Summary], is_json: bool, out: &mut Out<'_>) -> Result<(), Failure> {
    let column = |title, goes| Column { title, goes };
    let columns = [column("HOST", 0), column("RESULT", 0), column("VERSION", 2)];
    let columns = [&columns[..], &[column("SECONDS", 3), column("NOTE", 1)]].concat();
    let mut table = Table::new(&columns, 4);
    for one in all {
        if is_json {
            out.json(&json!({
                "line": "summary", "host": one.host, "result": one.result, "ok": one.is_good,
                "version": one.version, "note": one.note, "seconds": one.seconds,
            }))?;
        }
        let (version, note) = (one.version.clone(), one.note.clone());
        let cells = [one.host.clone(), one.result.to_owned(), version];
        let [host, result, version] = cells;
        table.push([host, result, version, one.seconds.to_string(), note]);
    }
    if !is_json {
        out.text(&table.render(out.width()))?;
    }
    out.flush()
}

/// The agent's program for a processor, beside this one.
pub(crate) fn agent_program(machine: &str) -> Result<Vec<u8>, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let name = match machine == std::env::consts::ARCH {
        true => PROGRAM.to_owned(),
        false => format!("{PROGRAM}.{machine}"),
    };
    let path = own.with_file_name(name);
    disk::read_bounded(&path, PROVISION_FILE_BYTES_MAX, Links::Follow).map_err(|error| {
        format!("the agent's program for {machine} has to be beside this one: {error}")
    })
}

/// What becomes of a host.
enum Outcome {
    /// It is as it should be; what was changed or would be.
    Good(Vec<String>),
    /// The program before runs again, and why.
    Back(String),
}

impl Job {
    /// Works on one host to its end.
    fn host(&self, target: &Target, sender: &Sender<OutputLine>) -> Summary {
        let begun = Instant::now();
        let host = target.host().to_owned();
        let mut summary = Summary {
            host: host.clone(),
            result: "failed",
            is_good: false,
            version: String::new(),
            note: String::new(),
            seconds: 0,
        };
        match self.update(target, sender, &mut summary) {
            Ok(Outcome::Good(changed)) => {
                summary.is_good = true;
                summary.result = match (changed.is_empty(), self.check) {
                    (true, _) => "unchanged",
                    (false, true) => "would change",
                    (false, false) => "updated",
                };
            }
            Ok(Outcome::Back(why)) => {
                summary.result = "rolled back";
                summary.note = why;
            }
            Err(error) => summary.note = error,
        }
        summary.seconds = begun.elapsed().as_secs();
        summary
    }

    fn update(
        &self,
        target: &Target,
        sender: &Sender<OutputLine>,
        summary: &mut Summary,
    ) -> Result<Outcome, String> {
        let host = target.host();
        let (remote, probe) =
            Remote::connect(target.clone(), operator()).map_err(|e| e.to_string())?;
        let agent = agent_program(&probe.machine)?;
        let own = program_for(&probe.machine, "convocate-host", None).map_err(failure_text)?;
        let copy = remote.copy(&own).map_err(|error| error.to_string())?;
        let there = There { job: self, remote: &remote, copy: &copy, host, sender };
        let outcome = there.update(&agent, summary);
        // A host that is gone keeps a file that only root reads.
        let _removed = remote.clean(&copy);
        outcome
    }
}

/// A host with our copy on it.
struct There<'a> {
    job: &'a Job,
    remote: &'a Remote,
    copy: &'a Copied,
    host: &'a str,
    sender: &'a Sender<OutputLine>,
}

impl There<'_> {
    fn update(&self, agent: &[u8], summary: &mut Summary) -> Result<Outcome, String> {
        if let Some(image) = self.job.image.as_ref().filter(|_| !self.job.check) {
            self.ship(image)?;
        }
        let request = Request::replace(agent, self.job.check);
        let (done, id, mut changed) = self.call(&request, agent)?;
        if self.job.check {
            return done.map(|()| Outcome::Good(changed));
        }
        let is_up = done.and_then(|()| self.ping(id.as_deref(), summary));
        if let Err(why) = is_up {
            // Without this the program before is that of another update.
            let replaced = format!("program {}", Paths::default().program(PROGRAM).display());
            return match changed.contains(&replaced) {
                true => self.back(id.as_deref(), summary, why),
                false => Err(why),
            };
        }
        if let Some(image) = &self.job.image {
            let request = Request { work: Work::Stamp(image.clone()), check: false };
            let (done, id, stamped) = self.call(&request, &[])?;
            done.and_then(|()| self.ping(id.as_deref(), summary))?;
            changed.extend(stamped);
        }
        Ok(Outcome::Good(changed))
    }

    fn ship(&self, image: &str) -> Result<(), String> {
        let mut teller = Teller::new(self.host, image, self.job.is_json);
        let say = |said: OutputLine| self.sender.send(said).is_ok();
        let shipped = self.remote.ship(self.copy, image, self.job.socket.clone(), |progress| {
            teller.progress(progress).is_none_or(say)
        });
        let shipped = shipped.map_err(|error| error.to_string())?;
        let _heard = say(teller.done(&shipped));
        Ok(())
    }

    /// Has the host do something: whether it was done, the agent's id, and what was changed.
    #[expect(clippy::type_complexity, reason = "three answers of one call")]
    fn call(
        &self,
        request: &Request,
        payload: &[u8],
    ) -> Result<(Result<(), String>, Option<String>, Vec<String>), String> {
        let mut report = Report::new(self.host, self.job.is_json, self.sender);
        let line = json!(request).to_string();
        let tell = |line: &[u8]| report.tell(line);
        let is_done = self.remote.run_on(self.copy, "update --request", &line, payload, tell);
        let is_done = is_done.map_err(|error| error.to_string())?;
        if !report.has_ended {
            return Err(RemoteError::Cut.to_string());
        }
        let done = match (is_done, report.failed) {
            (true, None) => Ok(()),
            (_, failed) => Err(failed.unwrap_or_else(|| "it failed".to_owned())),
        };
        Ok((done, report.agent, report.changed))
    }

    /// Proves that the agent answers, by the keys that are here.
    fn ping(&self, id: Option<&str>, summary: &mut Summary) -> Result<(), String> {
        let answer = ping(&self.job.paths, id);
        match answer {
            Ok(Some(version)) => summary.version = version,
            Ok(None) => {
                "no keys of it are here: judged by its service".clone_into(&mut summary.note)
            }
            Err(error) => return Err(format!("it does not answer over tcp/222: {error}")),
        }
        Ok(())
    }

    /// Puts the program before in its place.
    fn back(
        &self,
        id: Option<&str>,
        summary: &mut Summary,
        why: String,
    ) -> Result<Outcome, String> {
        let note = format!("[{}] {why}; the program before is put back", self.host);
        let _heard = self.sender.send(OutputLine::Note(note));
        let request = Request { work: Work::Back, check: false };
        let back = self.call(&request, &[]).and_then(|(done, ..)| done);
        match back.and_then(|()| self.ping(id, summary)) {
            Ok(()) => Ok(Outcome::Back(why)),
            Err(error) => Err(format!("{why}; and the program before does not run: {error}")),
        }
    }
}

/// Asks an agent over its own port. Its version; `None` if its keys are not here.
pub(crate) fn ping(paths: &Paths, id: Option<&str>) -> Result<Option<String>, String> {
    let Ok(mut runner) = Runner::open(paths) else { return Ok(None) };
    let known = runner.registry().agents.iter().find(|agent| Some(agent.id.as_str()) == id);
    let Some(id) = known.map(|agent| agent.id.clone()) else { return Ok(None) };
    let replies = runner.survey(&[id], &[Call::Ping], |_| SURVEY_TIMEOUT, |_| false)?;
    let answer = replies.into_iter().next().and_then(|reply| reply.answers.into_iter().next());
    let result = answer.ok_or("it was not asked")?.map_err(|error| error.to_string())?;
    let pong: Pong = serde_json::from_value(result).map_err(|error| error.to_string())?;
    Ok(Some(pong.version))
}

// --- on the host ---

fn update_here(out: &mut Out<'_>) -> Result<Exit, Failure> {
    if machine::uid() != 0 {
        return Err(Failure::Failed("this needs root: it is run by update".to_owned()));
    }
    let request: Request = read_request()?;
    let paths = Paths::default();
    let rng = &mut Rng::from_seed(entropy::seed());
    let steps = match &request.work {
        Work::Replace { bytes, sha256 } => {
            let mut facts = agent_facts(&paths, None)?;
            facts.program = read_program(*bytes, sha256)?;
            replace(&facts, read(&paths.program(PROGRAM))?, rng)
        }
        Work::Back => match read(&paths.program_before(PROGRAM))? {
            Some(before) => back(&paths, &before),
            None => return Err(Failure::Failed("no program from before is kept".to_owned())),
        },
        Work::Stamp(image) => stamp(&paths, image),
    };
    if let Some(id) = read(&paths.agent_id())? {
        out.json(&json!({ "agent": String::from_utf8_lossy(&id).trim() }))?;
    }
    let mut manner = RunOptions::new(request.check, true);
    manner.until_stdin_ends = true;
    take(steps, &manner, out)?;
    Ok(Exit::Done)
}

/// The program that follows the request.
fn read_program(bytes: u64, sha256: &str) -> Result<Vec<u8>, Failure> {
    let limit = u64::try_from(PROVISION_FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut program = Vec::new();
    let input = std::io::stdin().lock();
    let read = input.take(bytes.min(limit)).read_to_end(&mut program);
    if read.is_err() || hex::text(&Sha256::digest(&program)) != sha256 {
        let text = "the program that arrived is not the one that was sent";
        return Err(Failure::Failed(text.to_owned()));
    }
    Ok(program)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match disk::read_bounded(path, PROVISION_FILE_BYTES_MAX, Links::Follow) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
}

pub(crate) fn failure_text(failure: Failure) -> String {
    match failure {
        Failure::Usage(text) | Failure::Failed(text) | Failure::Exit(_, text) => text,
        Failure::NobodyReads => "nobody reads the output".to_owned(),
    }
}
