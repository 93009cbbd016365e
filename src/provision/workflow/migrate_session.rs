//! Moves a session's directory that no agent owns from here to an agent.
//!
//! ```text
//! look (here, at all agents, there) -> send each -> agent takes them in -> lists them -> erase
//! ```
//!
//! What lies where decides what is left to do, so the same call goes on wherever one was cut
//! short. A home here goes only when the agent lists it; erasing begins with setting it aside.

use std::fs;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command as Process;
use std::time::Instant;

use serde_json::Value;

use super::{WorkflowError, block_signals, connect};
use crate::agent::docker::description::session_id;
use crate::base::sorted_map::SortedMap;
use crate::base::uuid::Uuid;
use crate::docker::call;
use crate::fleet::registry::AgentId;
use crate::fleet::run::{Runner, local_homes};
use crate::io::disk::{self, Contents, Links, read_tree};
use crate::limits::{
    PROVISION_PROOF_PATIENCE, PROVISION_PROOF_PAUSE, SESSION_FILE_BYTES_MAX, SURVEY_TIMEOUT,
};
use crate::paths::{AGENT_UNIT, DOCKER_SOCKET, Paths, REMAINS_PREFIX};
use crate::provision::migrate::messages::{HeldSession, MigrateRequest};
use crate::provision::openssh::Target;
use crate::provision::remote::RemoteError;
use crate::provision::remote::event::{HostEvent, SessionPhase, Tell};
use crate::provision::remote::migrate::{MoveError, hash};
use crate::provision::remote::programs::Programs;
use crate::provision::remote::session::HostSession;
use crate::provision::run::docker::DockerEngine;
use crate::provision::run::receive_session::receive_session;
use crate::provision::ship::progress::mib;
use crate::rpc::call::Call;

/// What the operator asks for.
pub(crate) struct MigrateSession<'a> {
    pub(crate) paths: &'a Paths,
    /// The agent that gets it: its id, the start of its id, or its host.
    pub(crate) agent: &'a str,
    /// Which session; all that no agent owns if none.
    pub(crate) session: Option<Uuid>,
    /// Where ssh reaches the agent's host, if not where the agent is dialled.
    pub(crate) host: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
    pub(crate) programs: Programs,
    pub(crate) check: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Migrated {
    pub(crate) host: String,
    /// Sessions that are there, and not here.
    pub(crate) count: usize,
    /// Whether some could not be moved, which was reported.
    pub(crate) has_failed: bool,
}

/// What is left to do for a session.
#[derive(Debug)]
enum Plan {
    /// All of it.
    Send,
    /// It has arrived with this hash, and lies here, too.
    Compare(String),
    /// It has arrived and is set aside here.
    Erase,
    /// It is there, and nothing is here.
    Nothing,
    /// It cannot be moved.
    Refuse(String),
}

/// Why a session is not brought there.
enum BringError {
    /// This one: the others are moved.
    Session(String),
    /// The whole call ends.
    Call(WorkflowError),
}

impl From<WorkflowError> for BringError {
    fn from(error: WorkflowError) -> BringError {
        BringError::Call(error)
    }
}

struct Migration<'a, 'b> {
    paths: &'a Paths,
    agent: &'a AgentId,
    owners: SortedMap<Uuid, AgentId>,
    running: Vec<Uuid>,
    host: HostSession<'a>,
    tell: &'a mut Tell<'b>,
}

impl MigrateSession<'_> {
    /// Moves the sessions, or reports what that would do.
    pub(crate) fn carry_out(self, tell: &mut Tell<'_>) -> Result<Migrated, WorkflowError> {
        let interrupts = block_signals()?;
        let paths = self.paths;
        let mut runner = Runner::open(paths).map_err(WorkflowError::Failed)?;
        let known = runner.registry().find(self.agent).map_err(WorkflowError::Failed)?;
        let (id, dialled) = (known.id.clone(), known.host());
        check_other_host(paths, &id)?;
        let owners = owners(&mut runner, tell)?;
        let host = self.host.unwrap_or(&dialled);
        let target = Target::new(host, self.user).map_err(WorkflowError::Usage)?;
        let session = connect(target, &self.programs, &interrupts)?;
        let running = running(paths)?;
        Migration { paths, agent: &id, owners, running, host: session, tell }
            .carry_out(self.session, self.check)
    }
}

/// An agent of this very host has its sessions here already.
fn check_other_host(paths: &Paths, id: &AgentId) -> Result<(), WorkflowError> {
    let own = fs::read_to_string(paths.agent_id()).unwrap_or_default();
    if own.trim() != id.as_str() {
        return Ok(());
    }
    let text = format!(
        "the agent {id} is this host's own: what lies here is where it looks; to have it look, \
         run: systemctl restart {AGENT_UNIT}"
    );
    Err(WorkflowError::Failed(text))
}

/// Which agent has which session.
fn owners(
    runner: &mut Runner,
    tell: &mut Tell<'_>,
) -> Result<SortedMap<Uuid, AgentId>, WorkflowError> {
    if let Some(problem) = runner.registry().problems.first() {
        return Err(WorkflowError::Failed(problem.to_string()));
    }
    let all: Vec<AgentId> = runner.registry().agents.iter().map(|agent| agent.id.clone()).collect();
    let asked = runner.survey(&all, &[Call::List], |_| SURVEY_TIMEOUT, |_| false);
    let mut owners = SortedMap::new();
    let mut silent = None;
    for reply in asked.map_err(WorkflowError::Failed)? {
        let id = reply.agent.id.clone();
        let error = match reply.answers.into_iter().next() {
            Some(Ok(list)) => {
                owners.extend(listed(&list).map(|session| (session, id.clone())));
                continue;
            }
            Some(Err(error)) => error.to_string(),
            None => "it was not asked".to_owned(),
        };
        let _heard = tell(&format!("agent {id}"), HostEvent::Note(error));
        silent.get_or_insert(id);
    }
    match silent {
        None => Ok(owners),
        Some(id) => Err(WorkflowError::Failed(format!(
            "agent {id} does not answer, and what lies here may be its own; mend that, or take it \
             out of the cluster: convocate-host remove-agent --agent {id}"
        ))),
    }
}

/// The sessions of an agent's answer, also those that it cannot read.
fn listed(list: &Value) -> impl Iterator<Item = Uuid> {
    let all = list.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter_map(|session| Uuid::parse(session["uuid"].as_str()?).ok())
}

/// Sessions with a container that runs here.
fn running(paths: &Paths) -> Result<Vec<Uuid>, WorkflowError> {
    let socket = Path::new(DOCKER_SOCKET);
    if !paths.is_system() || !socket.exists() {
        return Ok(Vec::new());
    }
    let engine = DockerEngine { socket: socket.to_owned() };
    let all =
        engine.ask(&call::all_containers()).and_then(crate::docker::DockerResponse::containers);
    let all = all.map_err(|error| WorkflowError::Failed(format!("docker: {error}")))?;
    let running = all.iter().filter(|one| !matches!(&*one.state, "exited" | "dead" | "created"));
    Ok(running.filter_map(|one| session_id(&one.labels)).collect())
}

impl Migration<'_, '_> {
    fn carry_out(mut self, one: Option<Uuid>, check: bool) -> Result<Migrated, WorkflowError> {
        let ids = one.map_or_else(|| self.candidates(), |id| vec![id]);
        let there = self.host.sessions(ids.clone()).map_err(|it| self.failed(&it))?;
        let (mut arrived, mut over, mut has_failed) = (Vec::new(), Vec::new(), false);
        for (id, there) in ids.into_iter().zip(there) {
            self.go_on()?;
            if one.is_none() && self.is_anothers(id, &there) {
                continue;
            }
            let plan = self.plan(id, there);
            if check && !matches!(plan, Plan::Refuse(_)) {
                self.tell(id, self.would(id, &plan))?;
                continue;
            }
            match self.bring(id, plan) {
                Ok(true) => arrived.push(id),
                Ok(false) => over.push(id),
                Err(BringError::Call(error)) => return Err(error),
                Err(BringError::Session(why)) => {
                    self.tell(id, SessionPhase::Failed(why))?;
                    has_failed = true;
                }
            }
        }
        self.go_on()?;
        if !arrived.is_empty() {
            self.pick_up(&arrived)?;
        }
        for id in arrived {
            self.go_on()?;
            self.tell(id, SessionPhase::Listed)?;
            self.erase(id)?;
            over.push(id);
        }
        let count = over.len();
        if count > 0 {
            let done = self.host.tell_sessions(&MigrateRequest::Forget(over));
            done.map_err(|error| self.failed(&error))?;
        }
        Ok(Migrated { host: self.host.name.clone(), count, has_failed })
    }

    /// # Errors
    /// The operator wants it to end.
    fn go_on(&self) -> Result<(), WorkflowError> {
        match self.host.interrupts().has_come() {
            true => Err(RemoteError::Interrupted.on(&self.host.name).into()),
            false => Ok(()),
        }
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> WorkflowError {
        WorkflowError::Failed(format!("{}: {error}", self.host.name))
    }

    fn tell(&mut self, id: Uuid, phase: SessionPhase) -> Result<(), WorkflowError> {
        match (self.tell)(&self.host.name, HostEvent::Session { id, phase }) {
            true => Ok(()),
            false => Err(WorkflowError::NobodyListens),
        }
    }

    /// What could be moved: directories of sessions, and those that a call before has set aside.
    fn candidates(&self) -> Vec<Uuid> {
        let mut ids: Vec<Uuid> = local_homes(self.paths).iter().map(|home| home.id).collect();
        let entries = fs::read_dir(self.paths.sessions()).into_iter().flatten().flatten();
        ids.extend(entries.filter_map(|entry| {
            Uuid::parse(entry.file_name().to_str()?.strip_prefix(REMAINS_PREFIX)?).ok()
        }));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Whether it is no orphan, nor one that is on its way.
    fn is_anothers(&self, id: Uuid, there: &HeldSession) -> bool {
        let is_owned = self.owners.contains_key(&id);
        let is_here = self.paths.session(id).is_dir();
        (is_owned || !is_here) && there.receipt.is_none()
    }

    fn plan(&self, id: Uuid, there: HeldSession) -> Plan {
        let agent = self.agent;
        let is_here = fs::symlink_metadata(self.paths.session(id)).is_ok_and(|it| it.is_dir());
        let is_aside = self.paths.session_remains(id).is_dir();
        if let Some(other) = self.owners.get(&id).filter(|other| *other != agent) {
            return Plan::Refuse(format!("the agent {other} has it; it is no orphan"));
        }
        if self.running.contains(&id) {
            return Plan::Refuse("its container runs here; end that first".to_owned());
        }
        match (is_here, there.home, there.receipt) {
            (true, false, _) => Plan::Send,
            (true, true, Some(hash)) => Plan::Compare(hash),
            (true, true, None) => Plan::Refuse(format!("the agent {agent} has one of this id")),
            (false, _, Some(_)) if is_aside => Plan::Erase,
            (false, true, _) => Plan::Nothing,
            (false, false, _) => {
                Plan::Refuse(format!("{} is not there", self.paths.session(id).display()))
            }
        }
    }

    /// What a plan would do.
    fn would(&self, id: Uuid, plan: &Plan) -> SessionPhase {
        SessionPhase::Check(match plan {
            Plan::Send => match size(&self.paths.session(id)) {
                Ok(size) => format!("would move {} MiB", mib(size)),
                Err(error) => return SessionPhase::Failed(error.to_string()),
            },
            Plan::Compare(_) => "has arrived there; would be compared and erased here".to_owned(),
            Plan::Erase => "is there; would be erased here".to_owned(),
            Plan::Nothing => "is there, and nothing of it here".to_owned(),
            Plan::Refuse(why) => format!("would not be moved: {why}"),
        })
    }

    /// Brings it there: whether it is still here.
    fn bring(&mut self, id: Uuid, plan: Plan) -> Result<bool, BringError> {
        match plan {
            Plan::Refuse(why) => Err(BringError::Session(why)),
            Plan::Nothing => {
                self.tell(id, SessionPhase::There)?;
                Ok(false)
            }
            Plan::Erase => {
                self.erase(id)?;
                Ok(false)
            }
            Plan::Compare(there) => {
                self.tell(id, SessionPhase::Comparing)?;
                match hash(&self.paths.session(id)) {
                    Ok(here) if here == there => Ok(true),
                    Ok(_) => Err(BringError::Session(
                        "it has arrived before, and was changed here since; both are kept: take \
                         away the one that is wrong"
                            .to_owned(),
                    )),
                    Err(error) => Err(BringError::Session(error.to_string())),
                }
            }
            Plan::Send => self.send(id).map(|()| true),
        }
    }

    fn send(&mut self, id: Uuid) -> Result<(), BringError> {
        let home = self.paths.session(id);
        let failed = |error: MoveError| match error {
            MoveError::Remote(error @ RemoteError::Interrupted) => {
                BringError::Call(error.on(&self.host.name).into())
            }
            error => BringError::Session(error.to_string()),
        };
        let bytes = size(&home).map_err(failed)?;
        let host = &self.host.name;
        let mut tell = |phase| (self.tell)(host, HostEvent::Session { id, phase });
        if !tell(SessionPhase::Sending { bytes }) {
            return Err(BringError::Call(WorkflowError::NobodyListens));
        }
        let record = self.paths.session_record(id);
        let record = match disk::read_bounded(&record, SESSION_FILE_BYTES_MAX, Links::Refuse) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.is_missing() => None,
            Err(error) => return Err(BringError::Session(error.to_string())),
        };
        let moved = self.host.send_session(id, (&home, bytes), record, |&progress| {
            // That nobody listens any more is noticed with the next phase.
            let _heard = tell(SessionPhase::Progress(progress));
            true
        });
        let moved = moved.map_err(failed)?;
        Ok(self.tell(id, SessionPhase::Arrived(moved))?)
    }

    /// Has the agent take in what has arrived, and waits until it lists all of it.
    fn pick_up(&self, arrived: &[Uuid]) -> Result<(), WorkflowError> {
        let lists_all = || {
            // A restart of the agent has cut the connection from before.
            let list = Runner::open(self.paths)?.ask(self.agent, &Call::List)?;
            let is_missing = |id: &&Uuid| !listed(&list).any(|listed| listed == **id);
            match arrived.iter().find(is_missing) {
                None => Ok(()),
                Some(id) => Err(format!("it does not list {id}")),
            }
        };
        if lists_all().is_ok() {
            return Ok(());
        }
        let done = self.host.tell_sessions(&MigrateRequest::PickUp);
        done.map_err(|error| self.failed(&error))?;
        let begun = Instant::now();
        while let Err(why) = lists_all() {
            let is_interrupted = self.host.interrupts().pause(PROVISION_PROOF_PAUSE);
            if is_interrupted.unwrap_or(true) {
                return Err(RemoteError::Interrupted.on(&self.host.name).into());
            }
            if begun.elapsed() > PROVISION_PROOF_PATIENCE {
                let text = format!("{why}; what lies here stays, and the same call goes on");
                return Err(self.failed(&text));
            }
        }
        Ok(())
    }

    /// Removes what lies here: it is set aside first, so that it is never half a session.
    fn erase(&mut self, id: Uuid) -> Result<(), WorkflowError> {
        let failed = |error: disk::DiskError| WorkflowError::Failed(error.to_string());
        let (home, aside) = (self.paths.session(id), self.paths.session_remains(id));
        if home.is_dir() {
            // What an older session of this id has left.
            disk::remove_tree(&aside).map_err(failed)?;
            disk::rename_new(&home, &aside).map_err(failed)?;
            self.tell(id, SessionPhase::SetAside)?;
        }
        disk::remove_file(&self.paths.session_key(id)).map_err(failed)?;
        disk::remove_file(&self.paths.session_record(id)).map_err(failed)?;
        disk::remove_tree(&aside).map_err(failed)?;
        self.tell(id, SessionPhase::Erased)
    }
}

/// Bytes that the directory takes.
fn size(home: &Path) -> Result<u64, MoveError> {
    let read = read_tree(home, Contents::Skip, |_| ControlFlow::Continue(()));
    read.map(|read| read.stored_bytes).map_err(MoveError::Here)
}

/// The other end, on the agent's host: whether it was done.
///
/// # Errors
/// When nobody reads the output.
pub(crate) fn receive(
    wanted: &MigrateRequest,
    input: impl Read,
    output: impl Write,
) -> io::Result<bool> {
    receive_session(&Paths::default(), wanted, input, output, || {
        let restarted = Process::new("systemctl").args(["try-restart", AGENT_UNIT]).status();
        match restarted {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(format!(
                "{AGENT_UNIT} does not start again; look at: journalctl -u {AGENT_UNIT}"
            )),
            Err(error) => Err(format!("cannot run systemctl: {error}")),
        }
    })
}
