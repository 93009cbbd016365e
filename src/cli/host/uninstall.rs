//! `convocate-host uninstall`: on this machine, or over the operator's ssh on another.

use std::path::Path;

use crate::agent::docker::description::LABEL_SESSION;
use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::host::flags::{HOST, USER};
use crate::cli::host::output::{Detail, HostOutput};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::{CHECK, JSON, REQUEST};
use crate::cli::steps::{RunOptions, take};
use crate::cli::this_host::needs_root;
use crate::cli::turn::turn;
use crate::exit::Exit;
use crate::paths::{DOCKER_SOCKET, Paths};
use crate::provision::openssh::Target;
use crate::provision::plan::removal::{RemovalFacts, plan};
use crate::provision::workflow::uninstall::{self, UninstallRequest};

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

fn uninstall(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    if parsed.has(&REQUEST) {
        let request: UninstallRequest = read_request()?;
        return uninstall_here(&request, &RunOptions::of_request(request.check), out);
    }
    let request = UninstallRequest { check: parsed.has(&CHECK), homes: parsed.has(&HOMES) };
    if !request.check && !parsed.has(&YES) {
        let text = "this removes keys for good: look with --check, then give --yes";
        return Err(Failure::Usage(text.to_owned()));
    }
    let Some(host) = parsed.value(&HOST) else {
        return uninstall_here(&request, &RunOptions::new(request.check, parsed.has(&JSON)), out);
    };
    let target = Target::new(host, parsed.value(&USER)).map_err(Failure::Usage)?;
    let mut output = HostOutput::new(out, parsed.has(&JSON), Detail::Changes);
    let mut tell = |host: &str, event| output.tell(host, event);
    let count = uninstall::uninstall(target, &request, &mut tell)?;
    if !parsed.has(&JSON) {
        let verb = if request.check { "would be taken" } else { "taken" };
        out.text(&format!("{host}: {count} things {verb} away"))?;
    }
    Ok(Exit::Done)
}

fn uninstall_here(
    request: &UninstallRequest,
    options: &RunOptions,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    needs_root()?;
    let _turn = turn(&Paths::default(), options.mode, out)?;
    let facts = RemovalFacts {
        paths: Paths::default(),
        with_homes: request.homes,
        has_docker: Path::new(DOCKER_SOCKET).exists(),
        session_label: LABEL_SESSION,
    };
    take(plan(&facts), options, out)?;
    Ok(Exit::Done)
}
