//! `convocate enrol`: registers an agent on the shell host. `convocate-host init-agent` runs it.

use std::path::Path;

use serde_json::json;

use crate::agent;
use crate::base::rng::Rng;
use crate::cli::command::{Command, Parsed};
use crate::cli::output::{Failure, Out};
use crate::cli::request::init_agent_request;
use crate::cli::shared_flags::REQUEST;
use crate::cli::steps::{RunOptions, take};
use crate::cli::this_host::public_key;
use crate::cli::turn::turn;
use crate::exit::Exit;
use crate::io::clock::Clock;
use crate::io::entropy;
use crate::limits::{CONFIG_LINE_BYTES_MAX, SSH_KEY_FILE_BYTES_MAX};
use crate::paths::Paths;
use crate::provision::enrol::messages::{AgentKnown, EnrolAgent};
use crate::provision::enrol::shell::{DrivingKey, ShellEnrolmentFacts, plan};
use crate::provision::logs::authority;
use crate::provision::logs::rsyslog::LogToken;
use crate::provision::run::found;
use crate::rpc::agent_id::AgentId;
use crate::x509::rotation::Trust;
use crate::x509::{AltName, Certificate, CertificatePurpose, verify};

pub(crate) const ENROL: Command = Command {
    name: "enrol",
    summary: "",
    operands: &[],
    flags: &[REQUEST],
    help: "\
Not for people: convocate-host init-agent runs it on the shell host, describes the
agent on standard input, and gives the agent what it answers.
",
    run: enrol,
};

fn enrol(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let (paths, wanted): (_, EnrolAgent) = init_agent_request(parsed)?;
    let options = RunOptions::of_request(wanted.check);
    let _turn = turn(&paths, options.mode, out)?;
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
    let facts = ShellEnrolmentFacts {
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
    take(plan(&facts), &options, out)?;
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
fn collector(paths: &Paths, found: &authority::AuthorityFiles) -> Result<(Trust, String), Failure> {
    let files = paths.log_authority();
    let (Some(authorities), Some(server)) = (&found.authorities, &found.server_certificate) else {
        let text = "this is not a shell host yet; run: convocate-host init-shell";
        return Err(Failure::Failed(text.to_owned()));
    };
    let invalid = |path: std::path::PathBuf| {
        move |error| Failure::Failed(format!("{} is invalid: {error}", path.display()))
    };
    let trust = Trust::parse_pem(authorities).map_err(invalid(files.authorities()))?;
    let server = Certificate::parse_pem(server).map_err(invalid(files.server_certificate()))?;
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
    verify(&certificate, &authorities, &CertificatePurpose::Client(&name), now)
        .map_err(|it| refused(&it))
}
