//! `convocate enrol` and `prove`: taking in an agent on the shell host, and showing that it works.
//! `convocate-host init-agent` runs both.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::thread;
use std::time::Instant;

use serde_json::json;

use crate::agent;
use crate::base::rng::Rng;
use crate::cli::command::{Command, Parsed};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::REQUEST;
use crate::cli::steps::{RunOptions, take};
use crate::cli::this_host::{installed_paths, public_key};
use crate::exit::Exit;
use crate::fleet::run::Runner;
use crate::io::clock::Clock;
use crate::io::entropy;
use crate::limits::{
    CONFIG_LINE_BYTES_MAX, PROVISION_PROOF_PATIENCE, PROVISION_PROOF_PAUSE, SSH_KEY_FILE_BYTES_MAX,
};
use crate::paths::Paths;
use crate::provision::enrol::messages::{AgentKnown, Done, EnrolAgent, ProveAgent};
use crate::provision::enrol::shell::{DrivingKey, Facts, issued, plan};
use crate::provision::logs::rsyslog::LogToken;
use crate::provision::report::{EndLine, ReportLine, StepLine};
use crate::provision::run::found;
use crate::rpc::agent_id::AgentId;
use crate::rpc::call::Call;
use crate::status::run::snapshot;
use crate::x509::rotation::Trust;
use crate::x509::{AltName, Certificate, Purpose, verify};

/// `enrol`.
pub(crate) const ENROL: Command = Command {
    name: "enrol",
    summary: "",
    operands: &[],
    flags: &[REQUEST],
    help: "\
Is not for people: convocate-host init-agent runs it on the shell host, tells it about
the agent on standard input, and gives the agent what it answers.
",
    run: enrol,
};

/// `prove`.
pub(crate) const PROVE: Command = Command {
    name: "prove",
    summary: "",
    operands: &[],
    flags: &[REQUEST],
    help: "\
Is not for people: convocate-host init-agent runs it on the shell host. It calls the
agent on tcp/222, looks for its events on tcp/223, and for a line of its log that came
through tcp/514, over TLS with the agent's certificate, which is written down then.
",
    run: prove,
};

/// The end of a log in which a line is looked for that has just been written.
const LOG_TAIL_BYTES: u64 = 64 * 1024;

fn demand_request(parsed: &Parsed) -> Result<(), Failure> {
    match parsed.has(&REQUEST) {
        true => Ok(()),
        false => Err(Failure::Usage("convocate-host init-agent runs this".to_owned())),
    }
}

fn enrol(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    demand_request(parsed)?;
    let paths = installed_paths(parsed, "convocate-host init-agent")?;
    let wanted: EnrolAgent = read_request()?;
    let id = AgentId::parse(&wanted.id).map_err(|error| Failure::Failed(error.to_string()))?;
    let tls = found::authority(&paths).map_err(Failure::Failed)?;
    let (trust, collector) = collector(&paths, &tls)?;
    check_certificate(&wanted, &trust)?;
    let mut rng = Rng::from_seed(entropy::seed());
    let entry = paths.agent_entry(id.as_str());
    let read = |path: &Path, limit| found::text(path, limit).map_err(Failure::Failed);
    let key = read(&entry.shell_to_agent_key(), SSH_KEY_FILE_BYTES_MAX)?;
    let token = read(&entry.log_token(), CONFIG_LINE_BYTES_MAX)?;
    let token = token.and_then(|text| LogToken::parse(&text));
    let facts = Facts {
        driving: DrivingKey::of(key.as_ref().map(|text| text.as_bytes()), &mut rng),
        token: token.unwrap_or_else(|| LogToken::random(&mut rng)),
        others: found::log_agents(&paths).map_err(Failure::Failed)?,
        log_user: found::log_user(&paths).map_err(Failure::Failed)?,
        id,
        host: wanted.host,
        host_key: wanted.host_key,
        agent_to_shell_key: wanted.agent_to_shell_key,
        paths: paths.clone(),
    };
    take(plan(&facts), &RunOptions::of_request(wanted.check), out)?;
    out.json(&json!(AgentKnown {
        shell_to_agent_key: facts.driving.public,
        status_host_key: public_key(&paths.status_host_key(), "status host key")?,
        collector,
        authorities: trust.to_pem(),
        log_token: facts.token.reveal().to_owned(),
        image: found::image_layers(&agent::image::tag()),
    }))?;
    Ok(Exit::Done)
}

/// Who is trusted here, and the common name of the collector.
fn collector(
    paths: &Paths,
    found: &crate::provision::logs::authority::Found,
) -> Result<(Trust, String), Failure> {
    let files = paths.log_authority();
    let (Some(authorities), Some(server)) = (&found.authorities, &found.server_certificate) else {
        let text = "this is no shell host yet; make it one with: convocate-host init-shell";
        return Err(Failure::Failed(text.to_owned()));
    };
    let unfit = |path: std::path::PathBuf| {
        move |error| Failure::Failed(format!("{} is unfit: {error}", path.display()))
    };
    let trust = Trust::parse_pem(authorities).map_err(unfit(files.authorities()))?;
    let server = Certificate::parse_pem(server).map_err(unfit(files.server_certificate()))?;
    Ok((trust, server.subject().as_str().to_owned()))
}

/// The collector would refuse a certificate of another authority, so it is refused here.
fn check_certificate(wanted: &EnrolAgent, trust: &Trust) -> Result<(), Failure> {
    let refused = |error: &dyn std::fmt::Display| {
        Failure::Failed(format!(
            "the agent's certificate is not for this shell host: {error}; give its own authority \
             with --ca-cert and --ca-key"
        ))
    };
    let certificate = Certificate::parse_pem(&wanted.certificate).map_err(|it| refused(&it))?;
    let authorities: Vec<Certificate> = trust.authorities().into_iter().cloned().collect();
    let name = AltName::parse(&wanted.id).map_err(|it| refused(&it))?;
    let now = Clock::new().wall();
    verify(&certificate, &authorities, &Purpose::Client(&name), now).map_err(|it| refused(&it))
}

// --- the proof ---

fn prove(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    demand_request(parsed)?;
    let paths = installed_paths(parsed, "convocate-host init-agent")?;
    let wanted: ProveAgent = read_request()?;
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
                Some(agent) if agent.is_connected() && agent.heard().is_some() => Ok(()),
                Some(agent) => Err(agent.error.clone().unwrap_or_else(|| agent.state.clone())),
                None => Err("the status hub does not know it".to_owned()),
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

/// Tells of what is shown as if it were steps.
struct Proof<'a, 'b> {
    out: &'a mut Out<'b>,
    end: EndLine,
}

impl Proof<'_, '_> {
    /// Asks until it holds, or for [`PROVISION_PROOF_PATIENCE`]. Nothing is asked behind a failure.
    fn step(
        &mut self,
        name: &str,
        advice: &str,
        mut ask: impl FnMut() -> Result<(), String>,
    ) -> Result<(), Failure> {
        if self.end.failed > 0 {
            return Ok(());
        }
        self.out.json(&json!(ReportLine::Begin { step: name.to_owned() }))?;
        self.out.flush()?;
        let begun = Instant::now();
        let told = loop {
            match ask() {
                Err(_) if begun.elapsed() < PROVISION_PROOF_PATIENCE => {
                    thread::park_timeout(PROVISION_PROOF_PAUSE);
                }
                told => break told,
            }
        };
        let line = StepLine::shown(name, told.err().as_ref(), advice, begun.elapsed());
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
        false => Err(format!("{} does not have the line that was logged there", log.display())),
    }
}
