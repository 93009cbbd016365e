//! `convocate-agent enrol`: the agent's part of `convocate-host init-agent`, which runs it.

use std::process::Command as Process;

use serde_json::json;

use crate::cli::command::{Command, Parsed};
use crate::cli::output::{Failure, Out};
use crate::cli::request::init_agent_request;
use crate::cli::shared_flags::REQUEST;
use crate::cli::steps::{RunOptions, take};
use crate::cli::turn::turn;
use crate::exit::Exit;
use crate::limits::{CONFIG_LINE_BYTES_MAX, LOG_PORT};
use crate::paths::Paths;
use crate::provision::enrol::agent::{AgentEnrolmentFacts, plan};
use crate::provision::enrol::messages::{Done, EnrolHere};
use crate::provision::logs::rsyslog::{LogTarget, LogToken};
use crate::provision::run::found;
use crate::x509::{AltName, CommonName};

pub(crate) const ENROL: Command = Command {
    name: "enrol",
    summary: "",
    operands: &[],
    flags: &[REQUEST],
    help: "\
Not for people: convocate-host init-agent runs it on the agent host and describes the
shell host on standard input.
",
    run: enrol,
};

fn enrol(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let (paths, wanted): (_, EnrolHere) = init_agent_request(parsed)?;
    let options = RunOptions::of_request(wanted.check);
    let _turn = turn(&paths, options.mode, out)?;
    if !wanted.check && found::image_layers(&wanted.image) != wanted.layers {
        let text = format!(
            "the image {} here differs from that of the shell host; run init-agent again",
            wanted.image
        );
        return Err(Failure::Failed(text));
    }
    let before = found::text(&paths.agent_shell_host(), CONFIG_LINE_BYTES_MAX);
    if let Some(before) = before.map_err(Failure::Failed)?
        && before.trim() != wanted.shell_host
    {
        let (before, now) = (before.trim(), &wanted.shell_host);
        out.note(&format!(
            "this agent was of the shell host {before}, and is of {now} from now on"
        ));
    }
    let facts = facts(&paths, &wanted)?;
    take(plan(&facts), &options, out)?;
    if !wanted.check {
        let logged =
            Process::new("logger").args(["--tag", "convocate-agent", &wanted.mark]).status();
        if !logged.is_ok_and(|status| status.success()) {
            return Err(Failure::Failed("logger failed on this host".to_owned()));
        }
    }
    out.json(&json!(Done {}))?;
    Ok(Exit::Done)
}

fn facts(paths: &Paths, wanted: &EnrolHere) -> Result<AgentEnrolmentFacts, Failure> {
    let unfit = |what: &str| Failure::Usage(format!("--request: standard input: {what}"));
    let known = &wanted.known;
    let host = AltName::parse(&wanted.shell_host).map_err(|it| unfit(&it.to_string()))?;
    let name = CommonName::parse(&known.collector).map_err(|it| unfit(&it.to_string()))?;
    Ok(AgentEnrolmentFacts {
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
