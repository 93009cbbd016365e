//! `convocate prove`: checks that an enrolled agent works. `convocate-host init-agent` runs it on
//! the shell host.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::thread;
use std::time::Instant;

use serde_json::json;

use crate::cli::command::{Command, Parsed};
use crate::cli::output::{Failure, Out};
use crate::cli::request::init_agent_request;
use crate::cli::shared_flags::REQUEST;
use crate::cli::steps::{RunOptions, take};
use crate::exit::Exit;
use crate::fleet::run::Runner;
use crate::limits::{PROVISION_PROOF_PATIENCE, PROVISION_PROOF_PAUSE};
use crate::paths::Paths;
use crate::provision::enrol::messages::{Done, ProveAgent};
use crate::provision::enrol::shell::issued;
use crate::provision::report::{EndLine, ReportLine, StepLine};
use crate::rpc::agent_id::AgentId;
use crate::rpc::call::Call;
use crate::status::run::snapshot;

pub(crate) const PROVE: Command = Command {
    name: "prove",
    summary: "",
    operands: &[],
    flags: &[REQUEST],
    help: "\
Not for people: convocate-host init-agent runs it on the shell host. It calls the agent
on tcp/222, looks for its events on tcp/223, and for a line of its log that came through
tcp/514, over TLS with the agent's certificate, which it then records.
",
    run: prove,
};

/// How much of a log's end is searched for the line.
const LOG_TAIL_BYTES: u64 = 64 * 1024;

fn prove(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let (paths, wanted): (_, ProveAgent) = init_agent_request(parsed)?;
    let id = AgentId::parse(&wanted.id).map_err(|error| Failure::Failed(error.to_string()))?;
    if !wanted.check {
        proven(&paths, &id, &wanted.mark, out)?;
    }
    let step = issued(&paths, &id, wanted.certificate);
    take(vec![step], &RunOptions::of_request(wanted.check), out)?;
    out.json(&json!(Done {}))?;
    Ok(Exit::Done)
}

fn proven(paths: &Paths, id: &AgentId, mark: &str, out: &mut Out<'_>) -> Result<(), Failure> {
    let mut proof = Proof { out, end: EndLine::default() };
    proof.step(
        "it answers on tcp/222",
        "look at: systemctl status convocate-agent, there",
        || answers(paths, id),
    )?;
    proof.step(
        "its events arrive on tcp/223",
        "look at: journalctl -u convocate-agent, there",
        || {
            let snapshot = snapshot(paths).ok_or("no status hub answers here")?;
            match snapshot.agent(id.as_str()) {
                Some(agent) if agent.is_connected() && agent.last_news().is_some() => Ok(()),
                Some(agent) => Err(agent.error.clone().unwrap_or_else(|| agent.state.clone())),
                None => Err("the status hub does not know this agent".to_owned()),
            }
        },
    )?;
    let log = paths.agent_logs().join(format!("{id}.log"));
    proof.step(
        "its log arrives on tcp/514",
        "look at: journalctl -u rsyslog, on both hosts",
        || has_line(&log, mark),
    )?;
    let end = proof.end;
    out.json(&json!(ReportLine::End(end)))?;
    if end.failed > 0 {
        return Err(Failure::Exit(Exit::Failed, String::new()));
    }
    Ok(())
}

/// Checks, reported as if they were steps.
struct Proof<'a, 'b> {
    out: &'a mut Out<'b>,
    end: EndLine,
}

impl Proof<'_, '_> {
    /// Checks until it holds, or for [`PROVISION_PROOF_PATIENCE`]. After a failure, does nothing.
    fn step(
        &mut self,
        name: &str,
        advice: &str,
        mut check: impl FnMut() -> Result<(), String>,
    ) -> Result<(), Failure> {
        if self.end.failed > 0 {
            return Ok(());
        }
        self.out.json(&json!(ReportLine::Begin { step: name.to_owned() }))?;
        self.out.flush()?;
        let begun = Instant::now();
        let result = loop {
            match check() {
                Err(_) if begun.elapsed() < PROVISION_PROOF_PATIENCE => {
                    thread::park_timeout(PROVISION_PROOF_PAUSE);
                }
                result => break result,
            }
        };
        let line = StepLine::shown(name, result.err().as_ref(), advice, begun.elapsed());
        self.end.count(&line);
        self.out.json(&json!(ReportLine::Step(line)))?;
        self.out.flush()
    }
}

fn answers(paths: &Paths, id: &AgentId) -> Result<(), String> {
    let mut runner = Runner::open(paths)?;
    let broken = runner.registry().problems.iter().find(|it| it.agent == id.as_str());
    if let Some(problem) = broken {
        return Err(problem.to_string());
    }
    runner.ask(id, &Call::Ping).map(drop)
}

fn has_line(log: &Path, mark: &str) -> Result<(), String> {
    let tail = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut tail)?;
        Ok(tail)
    };
    let tail = tail().map_err(|error| format!("{}: {error}", log.display()))?;
    match String::from_utf8_lossy(&tail).contains(mark) {
        true => Ok(()),
        false => Err(format!("{} lacks the line that the agent host logged", log.display())),
    }
}
