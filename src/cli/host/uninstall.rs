//! `convocate-host uninstall`: on this machine, or over the operator's ssh on another.

use std::path::Path;
use std::sync::mpsc::channel;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::agent::docker::description::LABEL_SESSION;
use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::host::output::Report;
use crate::cli::host::remote::{HOST, USER, operator, program_for};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::{CHECK, JSON, REQUEST};
use crate::cli::steps::{RunOptions, take};
use crate::exit::Exit;
use crate::io::machine;
use crate::paths::Paths;
use crate::provision::openssh::Target;
use crate::provision::plan::removal::{Facts, plan};
use crate::provision::remote::Remote;

const YES: Flag = Flag {
    name: "yes",
    value: None,
    summary: "do it: without this, or --check, nothing is done",
    choices: &[],
};
const HOMES: Flag = Flag {
    name: "homes",
    value: None,
    summary: "remove homes, collected logs and the user claude, too",
    choices: &[],
};

/// `uninstall`.
pub(crate) const UNINSTALL: Command = Command {
    name: "uninstall",
    summary: "take from a host what these programs have put there",
    operands: &[],
    flags: &[HOST, USER, YES, HOMES, CHECK, JSON, REQUEST],
    help: "\
Stops and removes services, units, programs, configuration with all keys, state, drop-ins
for dnsmasq, rsyslog, logrotate and cron, session images that no container uses, the
firewall's rules for our ports, the common bound of virtual machines, and the image that
create-vm has fetched for them. Machines stay, with their disks and names; homes,
collected logs and the user claude stay unless --homes is given. What was not written by
these programs stays, also where it has one of our names; so do packages, Docker and the
firewall. What goes of dnsmasq's is also what let it start beside systemd-resolved: it
runs on, and to have it after a restart, give it bind-dynamic in a file of your own.

A host on which sessions run is refused. It can be run again at any time. The other
hosts of the cluster still know an agent that is gone: convocate-host remove-agent, on
the shell host and before this, takes it out.
",
    run: uninstall,
};

/// What the other end is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    check: bool,
    homes: bool,
}

fn uninstall(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let given = Request { check: parsed.has(&CHECK), homes: parsed.has(&HOMES) };
    if parsed.has(&REQUEST) {
        let request: Request = read_request()?;
        let mut manner = RunOptions::new(request.check, true);
        manner.until_stdin_ends = true;
        return uninstall_here(&request, &manner, out);
    }
    if !given.check && !parsed.has(&YES) {
        let text = "this removes keys for good: look with --check, then give --yes";
        return Err(Failure::Usage(text.to_owned()));
    }
    match parsed.value(&HOST) {
        Some(host) => {
            let target = Target::new(host, parsed.value(&USER)).map_err(Failure::Usage)?;
            uninstall_there(target, &given, parsed.has(&JSON), out)
        }
        None => uninstall_here(&given, &RunOptions::new(given.check, parsed.has(&JSON)), out),
    }
}

fn uninstall_here(
    request: &Request,
    manner: &RunOptions,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    if machine::uid() != 0 {
        let text = "this needs root; run: sudo convocate-host uninstall".to_owned();
        return Err(Failure::Failed(text));
    }
    let facts = Facts {
        paths: Paths::default(),
        with_homes: request.homes,
        has_docker: Path::new("/var/run/docker.sock").exists(),
        session_label: LABEL_SESSION,
    };
    take(plan(&facts), manner, out)?;
    Ok(Exit::Done)
}

fn uninstall_there(
    target: Target,
    request: &Request,
    is_json: bool,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    let host = target.host().to_owned();
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("{host}: {error}"));
    let (remote, probe) = Remote::connect(target, operator()).map_err(|error| failed(&error))?;
    let program = program_for(&probe.machine, "convocate-host", None)?;
    let copy = remote.copy(&program).map_err(|error| failed(&error))?;
    let (sender, said) = channel();
    let mut report = Report::new(&host, is_json, &sender);
    let request = json!(request).to_string();
    let done = remote.run_on(&copy, "uninstall --request", &request, &[], |line| {
        report.tell(line) && said.try_iter().try_for_each(|said| said.write(out)).is_ok()
    });
    // A host that is gone keeps a file that only root reads.
    let _removed = remote.clean(&copy);
    let is_done = done.map_err(|error| failed(&error))?;
    if !is_done || !report.has_ended {
        let what = report.failed.unwrap_or_else(|| "it did not come to its end".to_owned());
        return Err(failed(&format!("{what}; mend that and run it again")));
    }
    if !is_json {
        let verb = if request.contains("\"check\":true") { "would be taken" } else { "taken" };
        out.text(&format!("{host}: {} things {verb} away", report.changed.len()))?;
    }
    Ok(Exit::Done)
}
