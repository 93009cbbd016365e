//! Brings the agents of many hosts to this version, each host on a thread of its own.
//!
//! ```text
//! connect -> image -> program (the one before kept) -> ping -> stamp -> ping
//!                                                        \-> program before -> ping
//! ```

use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::parallel::for_each;
use super::ship_image::send_image;
use super::{WorkflowError, block_signals, connect};
use crate::base::hex;
use crate::fleet::run::Runner;
use crate::limits::SURVEY_TIMEOUT;
use crate::paths::Paths;
use crate::provision::enrol::messages::{ClaudeRelease, InstalledClaude, SecretText};
use crate::provision::openssh::Target;
use crate::provision::plan::update::PROGRAM;
use crate::provision::remote::HostError;
use crate::provision::remote::claude::{ClaudeChoice, bring_claude};
use crate::provision::remote::event::{HostEvent, Tell};
use crate::provision::remote::interrupts::Interrupts;
use crate::provision::remote::programs::Programs;
use crate::provision::remote::session::{HostSession, RunReport};
use crate::provision::remote::ship::Source;
use crate::rpc::call::Call;
use crate::rpc::session::Pong;

/// To `convocate-host update --request` on the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateRequest {
    pub(crate) work: UpdateWork,
    pub(crate) check: bool,
    /// What sessions there are to log in to Claude with; what is there stays if none.
    #[serde(default)]
    pub(crate) claude_login: Option<SecretText>,
    /// Which Claude CLI is to be there; what is there stays if none.
    #[serde(default)]
    pub(crate) claude_release: Option<ClaudeRelease>,
}

/// What is to be done there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum UpdateWork {
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

impl UpdateRequest {
    fn of(work: UpdateWork) -> UpdateRequest {
        UpdateRequest { work, check: false, claude_login: None, claude_release: None }
    }

    /// Replaces the program by this one, or looks what that would change.
    pub(super) fn replace(program: &[u8], check: bool) -> UpdateRequest {
        let bytes = u64::try_from(program.len()).expect("a program is short");
        let sha256 = hex::text(&Sha256::digest(program));
        let work = UpdateWork::Replace { bytes, sha256 };
        UpdateRequest { check, ..UpdateRequest::of(work) }
    }
}

/// What is the same for all hosts.
pub(crate) struct Update {
    pub(crate) check: bool,
    /// The Claude CLI of sessions.
    pub(crate) claude: ClaudeChoice,
    /// What they log in with, if that is brought now.
    pub(crate) claude_login: Option<SecretText>,
    /// The image that new sessions get; they keep theirs if none.
    pub(crate) image: Option<String>,
    /// Where the Docker Engine here listens.
    pub(crate) docker_socket: PathBuf,
    /// Where the keys of agents are.
    pub(crate) paths: Paths,
}

/// How a host was left.
#[derive(Debug)]
pub(crate) struct UpdatedHost {
    pub(crate) host: String,
    pub(crate) result: UpdateResult,
    /// The agent's version, if it was asked.
    pub(crate) version: String,
    /// Why it is not as it should be, or what else there is to know.
    pub(crate) note: String,
    pub(crate) seconds: u64,
}

/// What became of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpdateResult {
    Unchanged,
    WouldChange,
    Updated,
    /// The program before runs again.
    RolledBack,
    Failed,
}

impl UpdateResult {
    pub(crate) fn is_good(self) -> bool {
        !matches!(self, UpdateResult::RolledBack | UpdateResult::Failed)
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            UpdateResult::Unchanged => "unchanged",
            UpdateResult::WouldChange => "would change",
            UpdateResult::Updated => "updated",
            UpdateResult::RolledBack => "rolled back",
            UpdateResult::Failed => "failed",
        }
    }
}

impl Update {
    /// Works on all hosts. One that fails does not stop the others.
    pub(crate) fn carry_out(
        &self,
        targets: &[Target],
        tell: &mut Tell<'_>,
    ) -> Result<Vec<UpdatedHost>, WorkflowError> {
        let interrupts = block_signals()?;
        for_each(targets, tell, |target, tell| self.host(target, &interrupts, tell))
    }

    fn host(&self, target: &Target, interrupts: &Interrupts, tell: &mut Tell<'_>) -> UpdatedHost {
        let begun = Instant::now();
        let mut updated = UpdatedHost {
            host: target.host().to_owned(),
            result: UpdateResult::Failed,
            version: String::new(),
            note: String::new(),
            seconds: 0,
        };
        match self.update(target, interrupts, &mut updated, tell) {
            Ok(result) => updated.result = result,
            Err(why) => updated.note = why,
        }
        updated.seconds = begun.elapsed().as_secs();
        updated
    }

    fn update(
        &self,
        target: &Target,
        interrupts: &Interrupts,
        updated: &mut UpdatedHost,
        tell: &mut Tell<'_>,
    ) -> Result<UpdateResult, String> {
        let (session, agent) = connect_agent(target, interrupts)?;
        HostUpdate { update: self, session, updated, tell }.carry_out(&agent)
    }
}

/// Reaches a host of an agent; with the agent's program for it.
pub(super) fn connect_agent<'a>(
    target: &Target,
    interrupts: &'a Interrupts,
) -> Result<(HostSession<'a>, Vec<u8>), String> {
    let programs = Programs::default();
    let session = connect(target.clone(), &programs, interrupts).map_err(text)?;
    let machine = &session.probe().expect("it was copied there").machine;
    let agent = programs.read(PROGRAM, machine)?;
    Ok((session, agent))
}

/// What a table says of an error: the host has a column of its own.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn text(error: HostError) -> String {
    error.text()
}

/// A host that is updated.
struct HostUpdate<'a> {
    update: &'a Update,
    session: HostSession<'a>,
    updated: &'a mut UpdatedHost,
    tell: &'a mut Tell<'a>,
}

impl HostUpdate<'_> {
    fn carry_out(&mut self, agent: &[u8]) -> Result<UpdateResult, String> {
        let Update { check, image, .. } = self.update;
        if let Some(image) = image.as_ref().filter(|_| !check) {
            self.ship(image)?;
        }
        let claude_login = self.update.claude_login.clone();
        let machine = self.session.probe().map_or("", |probe| &probe.machine);
        let claude_release = self.update.claude.release(machine)?;
        let replace = UpdateRequest::replace(agent, *check);
        let request = UpdateRequest { claude_login, claude_release, ..replace };
        let report = self.run(&request, agent)?;
        let id = agent_id(&report);
        let mut changed = report.changed.clone();
        let claude = serde_json::from_value::<InstalledClaude>(report.answer["claude"].clone());
        let done = report.check();
        if done.is_ok() {
            let HostUpdate { session, tell, .. } = self;
            let (choice, there) = (&self.update.claude, claude.ok());
            let brought = bring_claude(session, choice, there.as_ref(), *check, *tell);
            if brought.map_err(text)? {
                changed.push("claude".to_owned());
            }
        }
        if *check {
            return done.map(|_| match changed.is_empty() {
                true => UpdateResult::Unchanged,
                false => UpdateResult::WouldChange,
            });
        }
        if let Err(why) = done.and_then(|_| self.ping(id.as_deref())) {
            // Without this the program before is that of another update.
            let replaced = format!("program {}", Paths::default().program(PROGRAM).display());
            return match changed.contains(&replaced) {
                true => self.back(id.as_deref(), why),
                false => Err(why),
            };
        }
        if let Some(image) = image {
            let work = UpdateWork::Stamp(image.clone());
            let report = self.run(&UpdateRequest::of(work), &[])?;
            changed.extend(report.check()?.changed);
            self.ping(id.as_deref())?;
        }
        match changed.is_empty() {
            true => Ok(UpdateResult::Unchanged),
            false => Ok(UpdateResult::Updated),
        }
    }

    fn ship(&mut self, image: &str) -> Result<(), String> {
        let HostUpdate { update, session, tell, .. } = self;
        let source = Source::Here(update.docker_socket.clone());
        send_image(session, &source, image, *tell).map_err(|error| error.to_string())
    }

    fn run(&mut self, request: &UpdateRequest, payload: &[u8]) -> Result<RunReport, String> {
        self.session.run("update --request", request, payload, self.tell).map_err(text)
    }

    /// Proves that the agent answers, by the keys that are here.
    fn ping(&mut self, id: Option<&str>) -> Result<(), String> {
        match ping(&self.update.paths, id) {
            Ok(Some(version)) => self.updated.version = version,
            Ok(None) => {
                "no keys of it are here: judged by its service".clone_into(&mut self.updated.note);
            }
            Err(error) => return Err(format!("it does not answer over tcp/222: {error}")),
        }
        Ok(())
    }

    /// Puts the program before in its place.
    fn back(&mut self, id: Option<&str>, why: String) -> Result<UpdateResult, String> {
        let note = HostEvent::Note(format!("{why}; the program before is put back"));
        let _heard = (self.tell)(&self.session.name, note);
        let work = UpdateWork::Back;
        let request = UpdateRequest::of(work);
        let back = self.run(&request, &[]).and_then(|report| report.check());
        match back.and_then(|_| self.ping(id)) {
            Ok(()) => {
                self.updated.note = why;
                Ok(UpdateResult::RolledBack)
            }
            Err(error) => Err(format!("{why}; and the program before does not run: {error}")),
        }
    }
}

/// The agent that a host says it has.
fn agent_id(report: &RunReport) -> Option<String> {
    report.answer["agent"].as_str().map(str::to_owned)
}

/// Asks an agent over its own port. Its version; `None` if its keys are not here.
pub(super) fn ping(paths: &Paths, id: Option<&str>) -> Result<Option<String>, String> {
    let Ok(mut runner) = Runner::open(paths) else { return Ok(None) };
    let known = runner.registry().agents.iter().find(|agent| Some(agent.id.as_str()) == id);
    let Some(id) = known.map(|agent| agent.id.clone()) else { return Ok(None) };
    let replies = runner.survey(&[id], &[Call::Ping], |_| SURVEY_TIMEOUT, |_| false)?;
    let answer = replies.into_iter().next().and_then(|reply| reply.answers.into_iter().next());
    let result = answer.ok_or("it was not asked")?.map_err(|error| error.to_string())?;
    let pong: Pong = serde_json::from_value(result).map_err(|error| error.to_string())?;
    Ok(Some(pong.version))
}
