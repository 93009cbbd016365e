//! `convocate-host migrate-session`, and its other end, `receive-session`.
//!
//! ```text
//! look (here, at all agents, there) -> send each -> agent takes them in -> lists them -> erase
//! ```
//!
//! What lies where decides what is left to do, so the same call goes on wherever one was cut
//! short. A home here goes only when the agent lists it; erasing begins with setting it aside.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command as Process;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::docker::description::session_id;
use crate::base::uuid::Uuid;
use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::host::remote::{BIN, HOST, USER, operator, program_for};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::{CHECK, JSON, ROOT};
use crate::cli::this_host::needs_root;
use crate::docker::call;
use crate::exit::Exit;
use crate::fleet::registry::AgentId;
use crate::fleet::run::{Runner, local_homes};
use crate::io::disk::{self, Contents, read_tree};
use crate::limits::{PROVISION_PROOF_PATIENCE, PROVISION_PROOF_PAUSE, SURVEY_TIMEOUT};
use crate::paths::{AGENT_UNIT, Paths, REMAINS_PREFIX};
use crate::provision::migrate::messages::{There, Wanted};
use crate::provision::openssh::{Copied, Target};
use crate::provision::remote::Remote;
use crate::provision::remote::migrate::{MoveError, Moved, hash};
use crate::provision::run::docker::Engine;
use crate::provision::run::receive_session::receive_session;
use crate::provision::ship::progress::{Progress, mib};
use crate::rpc::call::Call;

const AGENT: Flag = Flag {
    name: "agent",
    value: Some("A"),
    summary: "the agent that gets it: its id, the start of its id, or its host",
    choices: &[],
};
const SESSION: Flag =
    Flag { name: "session", value: Some("UUID"), summary: "which orphan", choices: &[] };
const ALL: Flag =
    Flag { name: "all", value: None, summary: "every orphan of this host", choices: &[] };

/// `migrate-session`.
pub(crate) const MIGRATE_SESSION: Command = Command {
    name: "migrate-session",
    summary: "move a session's directory that no agent owns from here to an agent",
    operands: &[],
    flags: &[AGENT, SESSION, ALL, CHECK, JSON, HOST, USER, BIN, ROOT],
    help: "\
To be run as root on the shell host, for what the screen shows as O: a directory
/home/claude/UUID of this host that no agent owns. In this order:

  1. the directory goes to the agent's host over your own ssh, with owners, modes,
     times, links, holes and extended attributes; sockets and devices are left out,
     and named. It lies there where no list shows it
  2. SHA-256 of the whole tree, as it lies on both disks, is compared; only then it
     gets its name there
  3. the agent is started again, which takes it in: sessions run on, and attached
     terminals come back by themselves
  4. only when the agent lists it, the directory here is erased

Interrupted anywhere, one complete copy is there, and the same call goes on. Refused is
a session whose container runs here, one that another agent has, and any while an agent
does not answer: it may be that one's. --host says where ssh reaches the agent's host,
if that is not where the shell host dials it.
",
    run: migrate,
};

/// `receive-session`.
pub(crate) const RECEIVE_SESSION: Command = Command {
    name: "receive-session",
    summary: "",
    operands: &[],
    flags: &[],
    help: "How a call of migrate-session runs on the agent's host. It is not for hands.\n",
    run: receive,
};

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

fn migrate(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let Some(agent) = parsed.value(&AGENT) else {
        return Err(Failure::Usage("to which agent? give --agent".to_owned()));
    };
    let one = match (parsed.value(&SESSION), parsed.has(&ALL)) {
        (Some(text), false) => {
            Some(Uuid::parse(text).map_err(|error| Failure::Usage(error.to_string()))?)
        }
        (None, true) => None,
        _ => {
            return Err(Failure::Usage("which session? give --session UUID or --all".to_owned()));
        }
    };
    needs_root("convocate-host migrate-session")?;
    let paths = crate::cli::shared_flags::root_paths(parsed)?;
    let mut runner = Runner::open(&paths).map_err(Failure::Failed)?;
    let known = runner.registry().find(agent).map_err(Failure::Failed)?;
    let (id, dialled) = (known.id.clone(), known.host());
    check_other_host(&paths, &id)?;
    let owners = owners(&mut runner, out)?;
    let host = parsed.value(&HOST).unwrap_or(&dialled).to_owned();
    let target = Target::new(&host, parsed.value(&USER)).map_err(Failure::Usage)?;
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("{host}: {error}"));
    let connected = Remote::connect(target, operator());
    let (remote, probe) = connected.map_err(|error| failed(&error))?;
    let program = program_for(&probe.machine, "convocate-host", parsed.value(&BIN))?;
    let copy = remote.copy(&program).map_err(|error| failed(&error))?;
    let mut work = Work {
        paths: &paths,
        agent: &id,
        owners,
        running: running(&paths)?,
        remote: &remote,
        copy: &copy,
        teller: Teller { host: &host, is_json: parsed.has(&JSON) },
    };
    let done = work.carry_out(one, parsed.has(&CHECK), out);
    // A host that is gone keeps a file that only root reads.
    let _removed = remote.clean(&copy);
    done
}

/// An agent of this very host has its sessions here already.
fn check_other_host(paths: &Paths, id: &AgentId) -> Result<(), Failure> {
    let own = fs::read_to_string(paths.agent_id()).unwrap_or_default();
    if own.trim() != id.as_str() {
        return Ok(());
    }
    let text = format!(
        "the agent {id} is this host's own: what lies here is where it looks; to have it look, \
         run: systemctl restart {AGENT_UNIT}"
    );
    Err(Failure::Failed(text))
}

/// Which agent has which session.
fn owners(runner: &mut Runner, out: &mut Out<'_>) -> Result<BTreeMap<Uuid, AgentId>, Failure> {
    if let Some(problem) = runner.registry().problems.first() {
        return Err(Failure::Failed(problem.to_string()));
    }
    let all: Vec<AgentId> = runner.registry().agents.iter().map(|agent| agent.id.clone()).collect();
    let asked = runner.survey(&all, &[Call::List], |_| SURVEY_TIMEOUT, |_| false);
    let mut owners = BTreeMap::new();
    let mut silent = Vec::new();
    for reply in asked.map_err(Failure::Failed)? {
        let id = reply.agent.id.clone();
        match reply.answers.into_iter().next() {
            Some(Ok(list)) => owners.extend(listed(&list).map(|session| (session, id.clone()))),
            Some(Err(error)) => silent.push((id, error.to_string())),
            None => silent.push((id, "it was not asked".to_owned())),
        }
    }
    for (id, error) in &silent {
        out.note(&format!("agent {id}: {error}"));
    }
    match silent.first() {
        None => Ok(owners),
        Some((id, _)) => Err(Failure::Failed(format!(
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
fn running(paths: &Paths) -> Result<Vec<Uuid>, Failure> {
    let socket = Path::new("/var/run/docker.sock");
    if !paths.is_system() || !socket.exists() {
        return Ok(Vec::new());
    }
    let engine = Engine { socket: socket.to_owned() };
    let all = engine.ask(&call::all_containers()).and_then(crate::docker::Response::containers);
    let all = all.map_err(|error| Failure::Failed(format!("docker: {error}")))?;
    let running = all.iter().filter(|one| !matches!(&*one.state, "exited" | "dead" | "created"));
    Ok(running.filter_map(|one| session_id(&one.labels)).collect())
}

struct Work<'a> {
    paths: &'a Paths,
    agent: &'a AgentId,
    owners: BTreeMap<Uuid, AgentId>,
    running: Vec<Uuid>,
    remote: &'a Remote,
    copy: &'a Copied,
    teller: Teller<'a>,
}

impl Work<'_> {
    fn carry_out(
        &mut self,
        one: Option<Uuid>,
        check: bool,
        out: &mut Out<'_>,
    ) -> Result<Exit, Failure> {
        let ids = one.map_or_else(|| self.candidates(), |id| vec![id]);
        let there = self.remote.sessions(self.copy, ids.clone()).map_err(|it| self.failed(&it))?;
        let mut exit = Exit::Done;
        let (mut arrived, mut over) = (Vec::new(), Vec::new());
        for (id, there) in ids.into_iter().zip(there) {
            if one.is_none() && self.is_anothers(id, &there) {
                continue;
            }
            let plan = self.plan(id, there);
            if check && !matches!(plan, Plan::Refuse(_)) {
                self.teller.planned(id, &plan, &self.paths.session(id), out)?;
                continue;
            }
            match self.bring(id, plan, out)? {
                Ok(true) => arrived.push(id),
                Ok(false) => over.push(id),
                Err(why) => {
                    self.teller.failed(id, &why, out)?;
                    exit = Exit::Failed;
                }
            }
        }
        if !arrived.is_empty() {
            self.pick_up(&arrived)?;
        }
        for id in arrived {
            self.teller.phase(id, "listed", "the agent lists it", out)?;
            self.erase(id, out)?;
            over.push(id);
        }
        let count = over.len();
        if count > 0 {
            let told = self.remote.tell_sessions(self.copy, &Wanted::Forget(over));
            told.map_err(|error| self.failed(&error))?;
        }
        self.teller.end(count, check, out)?;
        Ok(exit)
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::Failed(format!("{}: {error}", self.teller.host))
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
    fn is_anothers(&self, id: Uuid, there: &There) -> bool {
        let is_owned = self.owners.contains_key(&id);
        let is_here = self.paths.session(id).is_dir();
        (is_owned || !is_here) && there.receipt.is_none()
    }

    fn plan(&self, id: Uuid, there: There) -> Plan {
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

    /// Brings it there: whether it is still here, or why it is not brought.
    fn bring(
        &mut self,
        id: Uuid,
        plan: Plan,
        out: &mut Out<'_>,
    ) -> Result<Result<bool, String>, Failure> {
        let home = self.paths.session(id);
        let brought = match plan {
            Plan::Refuse(why) => Err(why),
            Plan::Nothing => {
                self.teller.phase(id, "there", "is there, and nothing of it here", out)?;
                Ok(false)
            }
            Plan::Erase => {
                self.erase(id, out)?;
                Ok(false)
            }
            Plan::Compare(there) => {
                self.teller.phase(id, "comparing", "has arrived before; comparing", out)?;
                match hash(&home) {
                    Ok(here) if here == there => Ok(true),
                    Ok(_) => Err("it has arrived before, and was changed here since; both are \
                                  kept: take away the one that is wrong"
                        .to_owned()),
                    Err(error) => Err(error.to_string()),
                }
            }
            Plan::Send => match self.send(id, &home, out)? {
                Ok(moved) => {
                    self.teller.arrived(id, &moved, out)?;
                    Ok(true)
                }
                Err(error) => Err(error.to_string()),
            },
        };
        Ok(brought)
    }

    fn send(
        &mut self,
        id: Uuid,
        home: &Path,
        out: &mut Out<'_>,
    ) -> Result<Result<Moved, MoveError>, Failure> {
        let size = match size(home) {
            Ok(size) => size,
            Err(error) => return Ok(Err(error)),
        };
        self.teller.phase(id, "sending", &format!("sending {} MiB", mib(size)), out)?;
        let mut told = Duration::ZERO;
        let teller = &self.teller;
        Ok(self.remote.send_session(self.copy, id, (home, size), |progress| {
            if teller.is_json || progress.took >= told * 3 / 2 + Duration::from_secs(1) {
                told = progress.took;
                // A reader that has gone is noticed with the next phase.
                let _heard = teller.progress(id, progress, out);
            }
        }))
    }

    /// Has the agent take in what has arrived, and waits until it lists all of it.
    fn pick_up(&self, arrived: &[Uuid]) -> Result<(), Failure> {
        let lists_all = || {
            // A connection from before the restart is none any more.
            let list = Runner::open(self.paths)?.ask(self.agent, &Call::List)?;
            let has = |id: &&Uuid| !listed(&list).any(|listed| listed == **id);
            match arrived.iter().find(has) {
                None => Ok(()),
                Some(id) => Err(format!("it does not list {id}")),
            }
        };
        if lists_all().is_ok() {
            return Ok(());
        }
        let told = self.remote.tell_sessions(self.copy, &Wanted::PickUp);
        told.map_err(|error| self.failed(&error))?;
        let begun = Instant::now();
        loop {
            match lists_all() {
                Ok(()) => return Ok(()),
                Err(why) if begun.elapsed() > PROVISION_PROOF_PATIENCE => {
                    let text = format!("{why}; what lies here stays, and the same call goes on");
                    return Err(self.failed(&text));
                }
                Err(_) => std::thread::park_timeout(PROVISION_PROOF_PAUSE),
            }
        }
    }

    /// Removes what lies here: it is set aside first, so that it is never half a session.
    fn erase(&self, id: Uuid, out: &mut Out<'_>) -> Result<(), Failure> {
        let failed = |error: disk::DiskError| Failure::Failed(error.to_string());
        let (home, aside) = (self.paths.session(id), self.paths.session_remains(id));
        if home.is_dir() {
            // What an older session of this id has left.
            disk::remove_tree(&aside).map_err(failed)?;
            disk::rename_new(&home, &aside).map_err(failed)?;
            self.teller.phase(id, "set-aside", "set aside here", out)?;
        }
        disk::remove_tree(&aside).map_err(failed)?;
        self.teller.phase(id, "erased", "erased here", out)
    }
}

/// Bytes that the directory takes.
fn size(home: &Path) -> Result<u64, MoveError> {
    let read = read_tree(home, Contents::Skip, |_| ControlFlow::Continue(()));
    read.map(|read| read.stored_bytes).map_err(MoveError::Here)
}

/// Tells how far each session is.
struct Teller<'a> {
    host: &'a str,
    is_json: bool,
}

impl Teller<'_> {
    fn phase(&self, id: Uuid, phase: &str, text: &str, out: &mut Out<'_>) -> Result<(), Failure> {
        self.line(id, json!({ "phase": phase }), text, out)
    }

    fn line(
        &self,
        id: Uuid,
        mut line: Value,
        text: &str,
        out: &mut Out<'_>,
    ) -> Result<(), Failure> {
        if self.is_json {
            line["line"] = "session".into();
            line["session"] = json!(id);
            line["host"] = self.host.into();
            out.json(&line)?;
        } else {
            out.text(&format!("[{}] {id} … {text}", self.host))?;
        }
        out.flush()
    }

    fn failed(&self, id: Uuid, why: &str, out: &mut Out<'_>) -> Result<(), Failure> {
        let text = format!("not moved: {why}");
        self.line(id, json!({ "phase": "failed", "error": why }), &text, out)
    }

    fn planned(
        &self,
        id: Uuid,
        plan: &Plan,
        home: &Path,
        out: &mut Out<'_>,
    ) -> Result<(), Failure> {
        let text = match plan {
            Plan::Send => match size(home) {
                Ok(size) => format!("would move {} MiB", mib(size)),
                Err(error) => return self.failed(id, &error.to_string(), out),
            },
            Plan::Compare(_) => "has arrived there; would be compared and erased here".to_owned(),
            Plan::Erase => "is there; would be erased here".to_owned(),
            Plan::Nothing => "is there, and nothing of it here".to_owned(),
            Plan::Refuse(why) => format!("would not be moved: {why}"),
        };
        self.line(id, json!({ "phase": "check", "text": text }), &text, out)
    }

    fn progress(&self, id: Uuid, progress: &Progress, out: &mut Out<'_>) -> Result<(), Failure> {
        let line = json!({
            "phase": "progress", "plain_bytes": progress.plain_bytes,
            "wire_bytes": progress.wire_bytes, "rate": progress.rate(),
        });
        self.line(id, line, &progress.text(), out)
    }

    fn arrived(&self, id: Uuid, moved: &Moved, out: &mut Out<'_>) -> Result<(), Failure> {
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
            let named = read.notes.join(", ");
            text.push_str(&format!("; left out {}: {named}", read.skipped));
        }
        let line = json!({
            "phase": "arrived", "entries": read.entries, "stored_bytes": read.stored_bytes,
            "wire_bytes": wire_bytes, "seconds": took.as_secs_f64(), "sha256": sha256,
            "skipped": read.skipped, "notes": read.notes,
        });
        self.line(id, line, &text, out)
    }

    fn end(&self, count: usize, check: bool, out: &mut Out<'_>) -> Result<(), Failure> {
        if !self.is_json && !check {
            let noun = if count == 1 { "session is" } else { "sessions are" };
            out.text(&format!("{}: {count} {noun} there, and not here", self.host))?;
        }
        out.flush()
    }
}

// --- on the agent's host ---

fn receive(_parsed: &Parsed, _out: &mut Out<'_>) -> Result<Exit, Failure> {
    needs_root("convocate-host receive-session")?;
    let wanted: Wanted = read_request()?;
    let (input, output) = (std::io::stdin().lock(), std::io::stdout());
    let pick_up = || {
        let restarted = Process::new("systemctl").args(["try-restart", AGENT_UNIT]).status();
        match restarted {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(format!(
                "{AGENT_UNIT} does not start again; look at: journalctl -u \
                                  {AGENT_UNIT}"
            )),
            Err(error) => Err(format!("cannot run systemctl: {error}")),
        }
    };
    match receive_session(&Paths::default(), &wanted, input, output, pick_up) {
        Ok(true) => Ok(Exit::Done),
        // It has been said in the report.
        Ok(false) => Err(Failure::Exit(Exit::Failed, String::new())),
        Err(error) => Err(error.into()),
    }
}
