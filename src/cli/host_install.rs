//! `convocate-host install`: on this machine, or over the operator's ssh on another.
//!
//! Both are the same plan run by the same engine. For another host this program is copied there and
//! called with `--request`, and says in JSON what is shown here.

use std::env;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::command::{Command, Flag, JSON, Parsed};
use super::install::own_program;
use super::out::{Failure, Out};
use super::steps::{CHECK, Manner, Tone, take};
use crate::exit::Exit;
use crate::io::clock::Clock;
use crate::io::disk::{self, Ids, Links};
use crate::io::machine;
use crate::limits::{
    CONFIG_LINE_BYTES_MAX, PROVISION_FILE_BYTES_MAX, PROVISION_LISTS_AGE_MAX,
    PROVISION_REQUEST_BYTES_MAX,
};
use crate::paths::Paths;
use crate::provision::base_host::{Facts, plan, restart_reason};
use crate::provision::install::{Operator, Remote, RemoteError};
use crate::provision::openssh::Target;
use crate::provision::report::Line;

const HOST: Flag = Flag {
    name: "host",
    value: Some("H"),
    summary: "the host, as ssh knows it; this machine if not given",
    choices: &[],
};
const USER: Flag = Flag {
    name: "user",
    value: Some("U"),
    summary: "who logs in there; what ~/.ssh/config says, or $USER, if not given",
    choices: &[],
};
const REQUEST: Flag = Flag {
    name: "request",
    value: None,
    summary: "take what to do from standard input: how a call with --host runs over there",
    choices: &[],
};

/// `install`.
pub const INSTALL: Command = Command {
    name: "install",
    summary: "prepare a vanilla Ubuntu or Debian host for any role",
    operands: &[],
    flags: &[HOST, USER, CHECK, JSON, REQUEST],
    help: "\
Run it on each new machine, physical or virtual, before it gets a role. It can be
run again at any time: what is as it should be is left alone.

What it makes sure of, in this order:

  1. the system is Ubuntu 22.04 or later, or Debian 12 or later, run by systemd,
     and cloud-init has finished
  2. packages are up to date: apt-get update and dist-upgrade, with changed
     configuration files kept and dpkg's lock waited for
  3. docker, dnsmasq, jq, curl, git, ufw, ca-certificates and openssh-server are
     installed; a Docker of other origin stays; dnsmasq leaves systemd-resolved
     its part of port 53
  4. the user claude (uid and gid 1337) is there, in the group docker
  5. the time zone is Etc/UTC
  6. docker, ssh and dnsmasq run, now and after a restart
  7. ufw denies what comes in, but for 22/tcp and the port of the operator's own
     ssh connection, which are allowed before it is enabled; rules that are there
     stay

Without --host it works on this machine, as root: sudo convocate-host install.
If a new kernel or the system wants a restart it says so, and leaves that to you.

With --host it uses your own ssh, with all that ~/.ssh/config, your agent and your
known hosts say; under sudo, those of the user who called sudo. Whoever logs in
needs sudo without a password, or is root. Before anything is changed the host is
looked at: processor, system, rights, free disk. Then this program is copied to a
directory of root's, verified by its hash, run, and removed. A host that wants a
restart is restarted, and asked for up to 10 minutes until it is in another boot.
",
    run: install,
};

/// What the other end is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    check: bool,
    ssh_port: u16,
}

fn install(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let is_json = parsed.has(&JSON);
    match parsed.value(&HOST) {
        Some(_) if parsed.has(&REQUEST) => {
            Err(Failure::Usage("--request is for the host itself, without --host".to_owned()))
        }
        Some(host) => {
            let target = Target::new(host, parsed.value(&USER)).map_err(Failure::Usage)?;
            install_there(target, parsed.has(&CHECK), is_json, out)
        }
        None if parsed.has(&USER) => {
            Err(Failure::Usage("--user is for another host: give --host too".to_owned()))
        }
        None if machine::uid() != 0 => {
            let text = "this needs root; run: sudo convocate-host install".to_owned();
            Err(Failure::Failed(text))
        }
        None if parsed.has(&REQUEST) => {
            let request = read_request()?;
            let mut manner = Manner::new(request.check, true);
            manner.until_stdin_ends = true;
            install_here(Some(request.ssh_port), &manner, out)
        }
        None => install_here(own_ssh_port(), &Manner::new(parsed.has(&CHECK), is_json), out),
    }
}

// --- on this machine ---

fn install_here(
    ssh_port: Option<u16>,
    manner: &Manner,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    let now = Clock::new().wall().seconds();
    let age = i64::try_from(PROVISION_LISTS_AGE_MAX.as_secs()).unwrap_or(i64::MAX);
    let facts = Facts {
        paths: Paths::default(),
        has_docker: is_program("docker"),
        ssh_port,
        lists_after: now.saturating_sub(age),
    };
    take(plan(&facts), manner, out)?;
    let reason = restart_wanted();
    if manner.tone == Tone::Json {
        out.json(&json!({ "line": "restart", "reason": reason }))?;
    } else if let Some(reason) = reason {
        out.text(&format!("{reason}; restart this machine when it suits: sudo systemctl reboot"))?;
    }
    Ok(Exit::Done)
}

/// The port of the connection through which the operator sits here, if it is one.
fn own_ssh_port() -> Option<u16> {
    env::var("SSH_CONNECTION").ok()?.split_whitespace().nth(3)?.parse().ok()
}

fn is_program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

fn restart_wanted() -> Option<String> {
    let is_asked = Path::new("/run/reboot-required").exists();
    // Ubuntu has the link in /boot, Debian at the top.
    let links = ["/boot/vmlinuz", "/vmlinuz"];
    let kernel = links.iter().find_map(|link| std::fs::read_link(link).ok());
    let path = Path::new("/proc/sys/kernel/osrelease");
    let running = disk::read_bounded(path, CONFIG_LINE_BYTES_MAX, Links::Follow).ok()?;
    let running = String::from_utf8_lossy(&running);
    restart_reason(is_asked, kernel.as_ref().and_then(|path| path.to_str()), running.trim())
}

/// One line of standard input, and not a byte more: its end is watched by the run.
fn read_request() -> Result<Request, Failure> {
    let mut line = Vec::new();
    let mut input = std::io::stdin().lock();
    let mut byte = [0];
    while input.read(&mut byte).is_ok_and(|length| length == 1) && byte != *b"\n" {
        if line.len() == PROVISION_REQUEST_BYTES_MAX {
            return Err(Failure::Usage("--request: the line is too long".to_owned()));
        }
        line.extend(byte);
    }
    serde_json::from_slice(&line)
        .map_err(|error| Failure::Usage(format!("--request: standard input: {error}")))
}

// --- on another host ---

fn install_there(
    target: Target,
    check: bool,
    is_json: bool,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    let host = target.host().to_owned();
    let failed = |error: RemoteError| match error {
        RemoteError::NobodyListens => Failure::NobodyReads,
        error => Failure::Failed(format!("{host}: {error}")),
    };
    let remote = Remote::connect(target, operator()).map_err(failed)?;
    let program = program_for(&remote.probe().machine)?;
    let copy = remote.copy(&program).map_err(failed)?;
    let request = json!(Request { check, ssh_port: remote.probe().ssh_port }).to_string();
    let mut report = Report { host: &host, is_json, has_ended: false, restart: None };
    let done =
        remote.run(&copy, "install --request", &request, |line| report.tell(line, out).is_ok());
    let is_done = done.map_err(failed)?;
    let Report { has_ended, restart, .. } = report;
    if !has_ended {
        return Err(failed(RemoteError::Cut));
    }
    if !is_done {
        let text = format!("{host}: mend that and run it again: what is done stays done");
        return Err(Failure::Exit(Exit::Failed, text));
    }
    match restart {
        Some(reason) if check => tell_restart(&host, is_json, &reason, "would restart", out)?,
        Some(reason) => {
            tell_restart(&host, is_json, &reason, "restarting", out)?;
            let took = remote.restart().map_err(failed)?;
            let text = format!("back in another boot after {} s", took.as_secs());
            tell_restart(&host, is_json, &reason, &text, out)?;
        }
        None => {}
    }
    Ok(Exit::Done)
}

/// Under sudo, whoever called it: the keys and the configuration are that person's.
fn operator() -> Option<Operator> {
    let name = env::var("SUDO_USER").ok().filter(|name| !name.is_empty() && name != "root")?;
    let number = |variable| env::var(variable).ok()?.parse().ok();
    let ids = Ids { user: number("SUDO_UID")?, group: number("SUDO_GID")? };
    (machine::uid() == 0).then_some(Operator { name, ids })
}

/// This program for a processor: the file that runs, or the one beside it that says so in its name.
fn program_for(machine: &str) -> Result<Vec<u8>, Failure> {
    if machine == env::consts::ARCH {
        return own_program();
    }
    let own = env::current_exe().map_err(|error| Failure::Failed(error.to_string()))?;
    let path = own.with_file_name(format!("convocate-host.{machine}"));
    disk::read_bounded(&path, PROVISION_FILE_BYTES_MAX, Links::Follow).map_err(|error| {
        Failure::Failed(format!(
            "the host is of kind {machine}, and this program is not; put one that is there as {}: \
             {error}",
            path.display()
        ))
    })
}

/// What the host reports, as it is shown here.
struct Report<'a> {
    host: &'a str,
    is_json: bool,
    has_ended: bool,
    restart: Option<String>,
}

impl Report<'_> {
    fn tell(&mut self, bytes: &[u8], out: &mut Out<'_>) -> Result<(), Failure> {
        let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else {
            // What a login shell says of itself is no report.
            out.note(&format!("[{}] {}", self.host, String::from_utf8_lossy(bytes)));
            return Ok(());
        };
        if value["line"] == "restart" {
            self.restart = value["reason"].as_str().map(str::to_owned);
            return Ok(());
        }
        let line = serde_json::from_value::<Line>(value.clone()).ok();
        self.has_ended |= matches!(line, Some(Line::End(_)));
        if self.is_json {
            value["host"] = json!(self.host);
            out.json(&value)?;
        } else {
            match &line {
                Some(Line::End(end)) => out.text(&format!("{}: {}", self.host, end.text()))?,
                Some(line) => {
                    if let Some(text) = line.text() {
                        out.text(&format!("[{}] {text}", self.host))?;
                    }
                }
                None => {}
            }
        }
        out.flush()
    }
}

fn tell_restart(
    host: &str,
    is_json: bool,
    reason: &str,
    what: &str,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    if is_json {
        out.json(&json!({ "line": "restart", "host": host, "reason": reason, "text": what }))?;
    } else {
        out.text(&format!("{host}: {what} ({reason})"))?;
    }
    out.flush()
}
