//! The agent's part of `convocate-host init-agent`: who it is, and whose it becomes.

use std::process::Command as Process;

use serde_json::json;

use crate::agent;
use crate::base::rng::Rng;
use crate::cli::agent::install::{facts, paths, public_key};
use crate::cli::command::{Command, Parsed};
use crate::cli::host::remote::{REQUEST, host_name, read_request};
use crate::cli::out::{Failure, Out};
use crate::cli::steps::{RunOptions, take};
use crate::exit::Exit;
use crate::io::entropy;
use crate::limits::{CONFIG_LINE_BYTES_MAX, LOG_PORT, X509_PEM_BYTES_MAX};
use crate::paths::Paths;
use crate::provision::enrol::agent::{Facts, plan};
use crate::provision::enrol::messages::{AgentMade, AgentWanted, Done, EnrolHere};
use crate::provision::logs::rsyslog::{LogTarget, LogToken};
use crate::provision::plan::agent_host::preparation;
use crate::provision::run::found;
use crate::rpc::agent_id::AgentId;
use crate::ssh::keys;
use crate::x509::{AltName, CommonName, KeyPair, Request};

/// `enrol`.
pub(crate) const ENROL: Command = Command {
    name: "enrol",
    summary: "",
    operands: &[],
    flags: &[REQUEST],
    help: "\
Is not for people: convocate-host init-agent runs it on the agent host and tells it
about the shell host on standard input.
",
    run: enrol,
};

/// `install --request`: everything that the agent host can do alone, but for the start.
pub(crate) fn install_wanted(paths: &Paths, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let wanted: AgentWanted = read_request()?;
    let mut rng = Rng::from_seed(entropy::seed());
    let steps = preparation(&facts(paths, None)?, &mut rng);
    take(steps, &RunOptions::of_request(wanted.check), out)?;
    out.json(&json!(made(paths, wanted.check, &mut rng)?))?;
    Ok(Exit::Done)
}

/// Who this agent is. While nothing is changed on a fresh host, who it could be.
fn made(paths: &Paths, check: bool, rng: &mut Rng) -> Result<AgentMade, Failure> {
    let read = |path: &std::path::Path, limit| found::text(path, limit).map_err(Failure::Failed);
    let tls = paths.agent_tls();
    let id = match read(&paths.agent_id(), CONFIG_LINE_BYTES_MAX)? {
        Some(text) => AgentId::parse(text.trim()),
        None => Ok(AgentId::random(rng)),
    };
    let id = id.map_err(|error| Failure::Failed(error.to_string()))?;
    let mut public = |path: &std::path::Path, comment| match public_key(path, comment) {
        Err(_) if check => Ok(keys::KeyPair::from_seed(rng.bytes()).public().to_line(comment)),
        line => line,
    };
    let host_key = public(&paths.agent_host_key(), "agent host key")?;
    let agent_to_shell_key = public(&paths.agent_shell_key(), "agent to shell")?;
    let key = match read(&tls.key(), X509_PEM_BYTES_MAX)? {
        Some(text) => KeyPair::parse_pem(&text),
        None => Ok(KeyPair::generate(rng)),
    };
    let key =
        key.map_err(|error| Failure::Failed(format!("{} is unfit: {error}", tls.key().display())))?;
    let name = CommonName::parse(id.as_str()).expect("an id is a common name");
    let certificate = read(&tls.certificate(), X509_PEM_BYTES_MAX)?;
    Ok(AgentMade {
        id: id.to_string(),
        host_name: host_name(),
        host_key,
        agent_to_shell_key,
        certificate_request: Request::new(&name, &key).to_pem(),
        certificate: certificate.map(|text| text.to_string()),
        image: found::image_layers(&agent::image::tag()),
    })
}

fn enrol(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    if !parsed.has(&REQUEST) {
        return Err(Failure::Usage("convocate-host init-agent runs this".to_owned()));
    }
    let paths = paths(parsed, "convocate-host init-agent")?;
    let wanted: EnrolHere = read_request()?;
    if !wanted.check && found::image_layers(&wanted.image) != wanted.layers {
        let text = format!("{} is not here as the shell host has it; call again", wanted.image);
        return Err(Failure::Failed(text));
    }
    let facts = enrolment(&paths, &wanted)?;
    take(plan(&facts), &RunOptions::of_request(wanted.check), out)?;
    if !wanted.check {
        let logged =
            Process::new("logger").args(["--tag", "convocate-agent", &wanted.mark]).status();
        if !logged.is_ok_and(|status| status.success()) {
            return Err(Failure::Failed("logger does not log here".to_owned()));
        }
    }
    out.json(&json!(Done {}))?;
    Ok(Exit::Done)
}

fn enrolment(paths: &Paths, wanted: &EnrolHere) -> Result<Facts, Failure> {
    let unfit = |what: &str| Failure::Usage(format!("--request: standard input: {what}"));
    let known = &wanted.known;
    let host = AltName::parse(&wanted.shell_host).map_err(|it| unfit(&it.to_string()))?;
    let name = CommonName::parse(&known.collector).map_err(|it| unfit(&it.to_string()))?;
    Ok(Facts {
        paths: paths.clone(),
        shell_host: wanted.shell_host.clone(),
        driving_key: known.shell_to_agent_key.clone(),
        status_host_key: known.status_host_key.clone(),
        authorities: known.authorities.clone(),
        certificate: wanted.certificate.clone(),
        target: LogTarget { host, port: LOG_PORT, name },
        token: LogToken::parse(&known.log_token).ok_or_else(|| unfit("no token"))?,
        image: wanted.image.clone(),
        image_comes: wanted.check && found::image_layers(&wanted.image) != wanted.layers,
        is_confined: paths.rsyslog_confinements().is_dir(),
    })
}
