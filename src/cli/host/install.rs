//! `convocate-host install`: on this machine, or over the operator's ssh on another.
//!
//! Both are the same plan run by the same engine. For another host this program is copied there and
//! called with `--request`.

use std::env;
use std::path::Path;

use serde_json::json;

use crate::agent::docker::description::LABEL_SESSION;
use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::host::flags::{HOST, USER, target};
use crate::cli::host::output::{Detail, HostOutput};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::{CHECK, JSON, REQUEST};
use crate::cli::steps::{Format, RunOptions, take};
use crate::cli::this_host::needs_root;
use crate::cli::turn::turn;
use crate::docker::{DockerResponse, call};
use crate::exit::Exit;
use crate::io::clock::Clock;
use crate::io::disk::{self, Links};
use crate::limits::{CONFIG_LINE_BYTES_MAX, PROVISION_LISTS_AGE_MAX};
use crate::paths::{DOCKER_SOCKET, Paths};
use crate::provision::plan::base_host::{BaseHostFacts, plan, restart_reason};
use crate::provision::run::docker::DockerEngine;
use crate::provision::workflow::install::{self, InstallRequest};

const FIREWALL: Flag = Flag {
    name: "firewall",
    value: Some("F"),
    summary: "take the place of the firewall that is there with this one",
    choices: &["ufw"],
};
const REBOOT: Flag = Flag {
    name: "reboot",
    value: None,
    summary: "restart the host if it wants that, also while sessions run there",
    choices: &[],
};

pub(crate) const INSTALL: Command = Command {
    name: "install",
    summary: "prepare a vanilla Ubuntu or Debian host for any role",
    operands: &[],
    flags: &[HOST, USER, FIREWALL, REBOOT, CHECK, JSON, REQUEST],
    help: "\
Run it on each new machine, physical or virtual, before it gets a role. It can be
run again at any time: what is as it should be is left alone.

What it makes sure of, in this order:

  1. the system is Ubuntu 22.04 or later, or Debian 12 or later, run by systemd,
     and cloud-init has finished; the number 1337 is claude's or free, no docker is in
     the path that is not docker.service's, and no other firewall is on (iptables-
     persistent, firewalld, nftables): ufw takes its place only with --firewall ufw
  2. what dpkg was interrupted at is finished, and packages are up to date: apt-get
     update and dist-upgrade, with changed configuration files kept and apt's locks
     waited for. An interrupt lets apt finish, and ends the run behind it
  3. docker, dnsmasq, jq, curl, git, ufw, ca-certificates, openssh-server, rsyslog
     with TLS and logrotate are installed; a Docker of other origin stays; dnsmasq
     leaves systemd-resolved and libvirt their parts of port 53
  4. the user claude (uid and gid 1337) is there, in the group docker
  5. the time zone is Etc/UTC
  6. docker, ssh and dnsmasq run, now and after a restart
  7. ufw denies what comes in, but for 22/tcp and the port of the operator's own
     ssh connection, which are allowed before it is enabled; rules that are there
     stay

Without --host it works on this machine, as root: sudo convocate-host install.
If a new kernel or the system wants a restart it says so, and leaves that to you. Two
calls on one host do not meet: the second waits, and says for whom.

With --host it uses your own ssh, with all that ~/.ssh/config, your agent and your
known hosts say; under sudo, those of the user who called sudo. Whoever logs in
needs sudo without a password, or is root. Before anything is changed the host is
looked at: processor, system, rights, free disk. Then this program is copied to a
directory of root's, verified by its hash, run, and removed. A host that wants a
restart is restarted, unless sessions run there and --reboot is not given, and asked
for up to 10 minutes until it is in another boot.
",
    run: install,
};

fn install(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let (check, is_json) = (parsed.has(&CHECK), parsed.has(&JSON));
    let takes_firewall = parsed.has(&FIREWALL);
    match (target(parsed)?, parsed.has(&REQUEST)) {
        (Some(_), true) => {
            Err(Failure::Usage("--request is for the host itself, without --host".to_owned()))
        }
        (Some(target), false) => {
            let mut output = HostOutput::new(out, is_json, Detail::Steps);
            let may_end_sessions = parsed.has(&REBOOT);
            let request = InstallRequest { check, ssh_port: 0, takes_firewall };
            install::install(target, request, may_end_sessions, &mut |host, event| {
                output.tell(host, event)
            })?;
            Ok(Exit::Done)
        }
        (None, true) => {
            needs_root()?;
            let request: InstallRequest = read_request()?;
            let options = RunOptions::of_request(request.check);
            install_here(Some(request.ssh_port), request.takes_firewall, &options, out)
        }
        (None, false) => {
            needs_root()?;
            install_here(own_ssh_port(), takes_firewall, &RunOptions::new(check, is_json), out)
        }
    }
}

fn install_here(
    ssh_port: Option<u16>,
    takes_firewall: bool,
    options: &RunOptions,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    let _turn = turn(&Paths::default(), options.mode, out)?;
    let now = Clock::new().wall().seconds();
    let age = i64::try_from(PROVISION_LISTS_AGE_MAX.as_secs()).unwrap_or(i64::MAX);
    let units = ["/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system"];
    let has_docker = units.iter().any(|it| Path::new(it).join("docker.service").exists());
    let facts = BaseHostFacts {
        paths: Paths::default(),
        other_docker: program("docker").filter(|_| !has_docker),
        has_docker,
        takes_firewall: takes_firewall || program("ufw").is_some(),
        ssh_port,
        lists_after: now.saturating_sub(age),
    };
    take(plan(&facts), options, out)?;
    let reason = restart_wanted();
    if options.format == Format::Json {
        out.json(&json!({ "line": "restart", "reason": reason, "sessions": sessions() }))?;
    } else if let Some(reason) = reason {
        out.text(&format!("{reason}; restart this machine when it suits: sudo systemctl reboot"))?;
    }
    Ok(Exit::Done)
}

/// The port of the connection through which the operator sits here, if it is one.
fn own_ssh_port() -> Option<u16> {
    env::var("SSH_CONNECTION").ok()?.split_whitespace().nth(3)?.parse().ok()
}

fn program(name: &str) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut files = env::split_paths(&path).map(|directory| directory.join(name));
    files.find(|file| file.is_file()).map(|file| file.display().to_string())
}

/// How many sessions run here.
fn sessions() -> usize {
    let engine = DockerEngine { socket: DOCKER_SOCKET.into() };
    let all = engine.ask(&call::containers(LABEL_SESSION)).and_then(DockerResponse::containers);
    all.map_or(0, |all| all.iter().filter(|one| one.state == "running").count())
}

fn restart_wanted() -> Option<String> {
    let is_asked = Path::new("/run/reboot-required").exists();
    // Ubuntu has the link in /boot, Debian at the top.
    let links = ["/boot/vmlinuz", "/vmlinuz"];
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
    let is_new = |link: &&&str| {
        let changed = std::fs::symlink_metadata(link).and_then(|file| file.modified()).ok();
        changed.and_then(|at| at.elapsed().ok()).is_some_and(|age| age.as_secs_f64() < uptime)
    };
    let link = links.iter().find(|link| Path::new(link).is_symlink()).filter(is_new);
    let kernel = link.and_then(|link| std::fs::read_link(link).ok());
    let path = Path::new("/proc/sys/kernel/osrelease");
    let running = disk::read_bounded(path, CONFIG_LINE_BYTES_MAX, Links::Follow).ok()?;
    let running = String::from_utf8_lossy(&running);
    restart_reason(is_asked, kernel.as_ref().and_then(|path| path.to_str()), running.trim())
}
