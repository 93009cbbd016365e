//! `convocate install`: what the shell host needs, as steps. `convocate-host init-shell` runs it
//! with a request, which also sets up the collector of the agents' logs.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::process::Command as Process;

use serde_json::json;

use crate::base::rng::Rng;
use crate::cli::command::{Command, Parsed};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::{BASE, CHECK, JSON, NO_IMAGE, REQUEST, ROOT};
use crate::cli::steps::{Format, RunOptions, take};
use crate::cli::this_host::{installed_paths, own_program, public_key, session_image};
use crate::cli::turn::turn;
use crate::exit::Exit;
use crate::io::clock::Clock;
use crate::io::{entropy, machine};
use crate::paths::Paths;
use crate::provision::engine::StepMode;
use crate::provision::enrol::messages::{RotationWanted, ShellMade, ShellWanted};
use crate::provision::logs::authority;
use crate::provision::logs::authority::AuthorityRequest;
use crate::provision::plan::collector;
use crate::provision::plan::shell_host::{ShellHostFacts, plan};
use crate::provision::run::found;
use crate::ssh::keys::KeyPair;
use crate::x509::rotation::Trust;
use crate::x509::{AltName, Certificate};

pub(crate) const INSTALL_SHELL: Command = Command {
    name: "install",
    summary: "make this machine the shell host, or repair it",
    operands: &[],
    flags: &[CHECK, JSON, BASE, NO_IMAGE, ROOT, REQUEST],
    help: "\
Creates what is missing and repairs what differs: the user claude, whose login shell
this program becomes, the directories, the status listener's host key and service, the
session image for agents, and where dnsmasq is installed, the names of sessions in it.
What is right stays as it is. Needs root and systemd, and Docker for the image.

With --root it creates only directories and key, below DIR and for the user who runs it.

convocate-host init-shell also sets up the collection of the agents' logs.
",
    run: install,
};

/// Local and remote address of a socket that only looks up a route. The remote ones are reserved
/// for documentation (RFC 5737, RFC 3849); nothing is ever sent to them.
const ROUTE_PROBES: [(&str, &str); 2] =
    [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];

fn install(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = installed_paths(parsed)?;
    if parsed.has(&REQUEST) {
        return install_by_request(&paths, &read_request()?, out);
    }
    let run_options = RunOptions::new(parsed.has(&CHECK), parsed.has(&JSON));
    let _turn = turn(&paths, run_options.mode, out)?;
    let facts = facts(&paths, parsed.has(&NO_IMAGE), parsed.value(&BASE))?;
    take(plan(&facts, &mut Rng::from_seed(entropy::seed())), &run_options, out)?;
    if run_options.mode == StepMode::Check {
        return Ok(Exit::Done);
    }
    let host_key = public_key(&paths.status_host_key(), "status host key")?;
    if run_options.format == Format::Json {
        out.json(&json!({ "line": "shell", "status_host_key": host_key }))?;
        return Ok(Exit::Done);
    }
    out.text(&format!("\nstatus host key  {host_key}"))?;
    if paths.is_system() && !facts.has_dnsmasq {
        out.note("dnsmasq is not installed: session names will not resolve here");
    }
    Ok(Exit::Done)
}

fn facts(paths: &Paths, no_image: bool, base: Option<&str>) -> Result<ShellHostFacts, Failure> {
    let image = match (paths.is_system(), no_image) {
        (true, false) => Some(session_image(paths, base)?),
        _ => None,
    };
    Ok(ShellHostFacts {
        program: if paths.is_system() { own_program()? } else { Vec::new() },
        image,
        has_dnsmasq: Path::new("/usr/sbin/dnsmasq").exists(),
        log_user: found::log_user(paths).map_err(Failure::Failed)?,
        paths: paths.clone(),
    })
}

// --- for convocate-host ---

fn install_by_request(
    paths: &Paths,
    wanted: &ShellWanted,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    let options = RunOptions::of_request(wanted.check);
    let _turn = turn(paths, options.mode, out)?;
    let mut rng = Rng::from_seed(entropy::seed());
    let base = facts(paths, wanted.no_image, wanted.base.as_deref())?;
    let mut steps = plan(&base, &mut rng);
    let logs = collector_facts(paths, wanted, &mut rng)?;
    steps.extend(collector::plan(&logs));
    take(steps, &options, out)?;
    let status_host_key = match public_key(&paths.status_host_key(), "status host key") {
        Err(_) if wanted.check => KeyPair::from_seed(rng.bytes()).public().to_line("not made yet"),
        line => line?,
    };
    let outstanding = match &logs.authority.trust {
        Trust::One(_) => None,
        both @ Trust::Overlap { .. } => Some(both.outstanding(&agent_certificates(paths)?)),
    };
    out.json(&json!(ShellMade { status_host_key, outstanding }))?;
    Ok(Exit::Done)
}

fn agent_certificates(paths: &Paths) -> Result<Vec<(String, Option<Certificate>)>, Failure> {
    found::agent_certificates(paths).map_err(Failure::Failed)
}

fn collector_facts(
    paths: &Paths,
    wanted: &ShellWanted,
    rng: &mut Rng,
) -> Result<collector::CollectorFacts, Failure> {
    let found = found::authority(paths).map_err(Failure::Failed)?;
    let files = paths.log_authority();
    let now = Clock::new().wall();
    let ask = match wanted.rotation {
        None => AuthorityRequest::Mend,
        Some(RotationWanted::Begin) => AuthorityRequest::Rotate,
        Some(way) => AuthorityRequest::Finish {
            agents: agent_certificates(paths)?,
            is_forced: way == RotationWanted::ForceFinish,
        },
    };
    let names = own_names(&wanted.names)?;
    let authority = authority::wanted(&found, &files, &names, ask, now, rng);
    let authority = authority.map_err(|failure| {
        let parts = [failure.what, failure.advice];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Failure::Failed(parts.join("; "))
    })?;
    Ok(collector::CollectorFacts {
        authority,
        agents: found::log_agents(paths).map_err(Failure::Failed)?,
        log_user: found::log_user(paths).map_err(Failure::Failed)?,
        is_confined: paths.rsyslog_confinements().is_dir(),
        paths: paths.clone(),
    })
}

/// The names and addresses of this host, its full name first.
fn own_names(others: &[String]) -> Result<Vec<AltName>, Failure> {
    let full = Process::new("hostname").arg("--fqdn").output();
    let full = full.ok().filter(|output| output.status.success());
    let full = full.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let texts = full.into_iter().chain([machine::host_name()]).chain(others.iter().cloned());
    let numbers = ROUTE_PROBES.iter().filter_map(|(own, other)| own_address(own, other));
    let texts = texts.chain(numbers.map(|number| number.to_string()));
    let mut names: Vec<AltName> = Vec::new();
    for name in texts.filter_map(|text| AltName::parse(&text).ok()) {
        let is_local = name == AltName::parse("localhost").expect("it is a name");
        if !is_local && !names.contains(&name) {
            names.push(name);
        }
    }
    match names.is_empty() {
        false => Ok(names),
        true => Err(Failure::Failed(
            "this host has no name; set one: hostnamectl set-hostname NAME".to_owned(),
        )),
    }
}

/// The address that a packet to `other` would come from.
fn own_address(own: &str, other: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(own).ok()?;
    socket.connect(other).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
