//! `convocate-agent check`: what is wrong with this host, and how to fix it.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use zeroize::Zeroizing;

use crate::agent::claude_settings::ClaudeLogin;
use crate::agent::serve::setup::{attention_rules, defaults};
use crate::base::rng::Rng;
use crate::base::text::age;
use crate::base::time::Wall;
use crate::cli::command::{Command, Parsed};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::cli::this_host::{agent_facts, current_image, installed_paths};
use crate::exit::Exit;
use crate::io::clock::Clock;
use crate::io::disk::{self, Links};
use crate::io::{entropy, machine};
use crate::limits::{CLAUDE_LOGIN_BYTES_MAX, X509_PEM_BYTES_MAX, X509_WARN_DAYS};
use crate::paths::{DOCKER_SOCKET, Paths};
use crate::provision::engine::{StepEvent, StepMode};
use crate::provision::plan::agent_check::conditions;
use crate::provision::plan::agent_host::plan;
use crate::provision::report::{ReportLine, StepLine, StepResult};
use crate::provision::run::{DriverOptions, found, run};
use crate::rpc::session::token_ends;
use crate::x509::Certificate;
use crate::x509::life::days_left;

pub(crate) const CHECK_HOST: Command = Command {
    name: "check",
    summary: "say what is wrong with this host, and how to fix it",
    operands: &[],
    flags: &[JSON, ROOT],
    help: "\
Checks everything that install makes, and what it cannot make: Docker, the image, the
limits of the slice, who may drive this agent, the certificate of its logs, clock, disks
and firewall; whether the Claude CLI is there, and with what its sessions log in. Shows
what a session may use that was not asked for otherwise: the host's share, changed by
/etc/convocate-agent/agent.conf. Changes nothing. The exit status is 1 if a check fails.
With --json, each check is one object a line. Needs root.

With --root it checks what install --root makes, who may drive that agent, clock and
disk, for the user who runs it.
",
    run: check,
};

/// The check that shows what a session may use that was not asked for otherwise.
const DEFAULTS: &str = "defaults of sessions";

/// The check that shows what sessions log in to Claude with.
const LOGIN: &str = "login for claude";

fn check(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = installed_paths(parsed)?;
    let mut steps = plan(&agent_facts(&paths, None)?, &mut Rng::from_seed(entropy::seed()));
    steps.extend(conditions(&paths, &current_image(&paths)?, &machine::host_name()));
    let options = DriverOptions {
        mode: StepMode::Check,
        docker_socket: PathBuf::from(DOCKER_SOCKET),
        until_stdin_ends: false,
    };
    let as_json = parsed.has(&JSON);
    let repair = match paths.is_system() {
        true => "convocate-agent install".to_owned(),
        false => format!("convocate-agent install --root {}", paths.root().display()),
    };
    let mut lost = None;
    let report_event = |event: &StepEvent| {
        report(event, as_json, &repair, out).map_err(|failure| {
            lost = Some(failure);
            "the output is closed"
        })
    };
    let tally =
        run(steps, &options, report_event).map_err(|error| Failure::Failed(error.to_string()))?;
    if let Some(failure) = lost {
        return Err(failure);
    }
    let mut lines = vec![check_defaults(&paths), check_claude_login(&paths)];
    lines.extend(check_attention(&paths));
    lines.extend(check_certificate(&paths));
    let steps = tally.steps + lines.len();
    let failed = lines.iter().filter(|line| line.result == StepResult::Failed).count();
    let wrong = tally.changed + tally.failed + failed;
    lines.into_iter().try_for_each(|line| report_line(line, as_json, out))?;
    if as_json {
        out.json(&json!({ "line": "end", "steps": steps, "wrong": wrong }))?;
    } else {
        out.text(&format!("{steps} checks, {wrong} failed"))?;
    }
    Ok(if wrong == 0 { Exit::Done } else { Exit::Failed })
}

/// Reports what is wrong; as JSON, every check.
fn report(
    event: &StepEvent,
    as_json: bool,
    repair: &str,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let ReportLine::Step(mut line) = ReportLine::of(event, StepMode::Check) else { return Ok(()) };
    if line.result == StepResult::WouldChange {
        line.result = StepResult::Failed;
        line.error = Some(format!("differs from the installation: {}", line.changes.join(", ")));
        line.advice = Some(repair.to_owned());
        line.changes.clear();
    }
    report_line(line, as_json, out)
}

fn report_line(line: StepLine, as_json: bool, out: &mut Out<'_>) -> Result<(), Failure> {
    if as_json {
        return out.json(&json!(ReportLine::Step(line)));
    }
    let Some(error) = line.error else {
        // What a person may want to know even so.
        return match [DEFAULTS, LOGIN].iter().any(|name| line.step.starts_with(name)) {
            true => out.text(&line.step),
            false => Ok(()),
        };
    };
    out.text(&format!("{}: {error}", line.step))?;
    line.diff.iter().try_for_each(|line| out.text(&format!("      {line}")))?;
    match line.advice {
        Some(advice) => out.text(&format!("    to fix it: {advice}")),
        None => Ok(()),
    }
}

/// Checks `agent.conf`, and shows what it comes to.
fn check_defaults(paths: &Paths) -> StepLine {
    let begun = Instant::now();
    let (name, fault) = match defaults(paths) {
        Ok(defaults) => (format!("{DEFAULTS}: {}", defaults.summary()), None),
        Err(error) => (DEFAULTS.to_owned(), Some(error.to_string())),
    };
    let advice = "correct the line, then: systemctl restart convocate-agent";
    StepLine::shown(&name, fault.as_ref(), advice, begun.elapsed())
}

/// Checks what sessions log in to Claude with, and shows its kind and age.
fn check_claude_login(paths: &Paths) -> StepLine {
    let begun = Instant::now();
    let (name, fault) = match claude_login(paths, Clock::new().wall()) {
        Ok(what) => (format!("{LOGIN}: {what}"), None),
        Err(why) => (LOGIN.to_owned(), Some(why)),
    };
    let advice = format!(
        "on the shell host, run: convocate-host init-agent --host {} --claude-token FILE",
        machine::host_name()
    );
    StepLine::shown(&name, fault.as_ref(), &advice, begun.elapsed())
}

fn claude_login(paths: &Paths, now: Wall) -> Result<String, String> {
    let path = paths.agent_claude_login();
    let Some(found) = disk::look(&path).map_err(|error| error.to_string())? else {
        return Ok("none; each session logs in by itself".to_owned());
    };
    if found.mode & 0o077 != 0 {
        let path = path.display();
        return Err(format!("{path} has mode {:04o}, so others could read it", found.mode));
    }
    let bytes = disk::read_bounded(&path, CLAUDE_LOGIN_BYTES_MAX, Links::Refuse);
    let bytes = Zeroizing::new(bytes.map_err(|error| error.to_string())?);
    let login = ClaudeLogin::parse(&bytes).map_err(|why| format!("{} {why}", path.display()))?;
    let since = disk::modified_at(&path).unwrap_or(now);
    match token_ends(since, now).filter(|_| matches!(login, ClaudeLogin::Token(_))) {
        Some(when) => Err(format!("the token {when}")),
        None => Ok(format!("{}, put there {} ago", login.kind(), age(now.since(since)))),
    }
}

/// Says what is wrong with `attention.conf`, if something is.
fn check_attention(paths: &Paths) -> Option<StepLine> {
    let begun = Instant::now();
    let fault = attention_rules(paths).err()?.to_string();
    let advice = "correct the line, then: systemctl restart convocate-agent";
    Some(StepLine::shown("meaning of status files", Some(&fault), advice, begun.elapsed()))
}

/// Checks the certificate for logs, if this host has been enrolled.
fn check_certificate(paths: &Paths) -> Option<StepLine> {
    let begun = Instant::now();
    let text = found::text(&paths.agent_tls().certificate(), X509_PEM_BYTES_MAX).transpose()?;
    let certificate = text
        .and_then(|pem| Certificate::parse_pem(&pem).map_err(|error| format!("invalid: {error}")));
    let days = certificate.map(|it| days_left(it.validity(), Clock::new().wall()));
    let (name, fault) = match days {
        Ok(days) if days < 0 => {
            ("certificate of its logs".to_owned(), Some("it has expired".to_owned()))
        }
        Ok(days) if days <= X509_WARN_DAYS => {
            ("certificate of its logs".to_owned(), Some(format!("it expires in {days} days")))
        }
        Ok(days) => (format!("certificate of its logs, {days} days left"), None),
        Err(why) => ("certificate of its logs".to_owned(), Some(why)),
    };
    let advice = "on the shell host, run: convocate renew-certificates; or enrol this host again: \
                  convocate-host init-agent";
    Some(StepLine::shown(&name, fault.as_ref(), advice, begun.elapsed()))
}
