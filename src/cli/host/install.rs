//! `convocate-host install`: on this machine, or over the operator's ssh on another.
//!
//! Both are the same plan run by the same engine. For another host this program is copied there and
//! called with `--request`.

use std::env;
use std::path::Path;

use serde_json::json;

use crate::cli::command::{Command, Parsed};
use crate::cli::host::flags::{HOST, USER, target};
use crate::cli::host::output::{Detail, HostOutput};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::{CHECK, JSON, REQUEST};
use crate::cli::steps::{Format, RunOptions, take};
use crate::cli::this_host::needs_root;
use crate::cli::turn::turn;
use crate::exit::Exit;
use crate::io::clock::Clock;
use crate::io::disk::{self, Links};
use crate::limits::{CONFIG_LINE_BYTES_MAX, PROVISION_LISTS_AGE_MAX};
use crate::paths::Paths;
use crate::provision::plan::base_host::{BaseHostFacts, plan, restart_reason};
use crate::provision::workflow::install::{self, InstallRequest};

pub(crate) const INSTALL: Command = Command {
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
  3. docker, dnsmasq, jq, curl, git, ufw, ca-certificates, openssh-server, rsyslog
     with TLS and logrotate are installed; a Docker of other origin stays; dnsmasq
     leaves systemd-resolved its part of port 53
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

fn install(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let (check, is_json) = (parsed.has(&CHECK), parsed.has(&JSON));
    match (target(parsed)?, parsed.has(&REQUEST)) {
        (Some(_), true) => {
            Err(Failure::Usage("--request is for the host itself, without --host".to_owned()))
        }
        (Some(target), false) => {
            let mut output = HostOutput::new(out, is_json, Detail::Steps);
            install::install(target, check, &mut |host, event| output.tell(host, event))?;
            Ok(Exit::Done)
        }
        (None, true) => {
            needs_root("convocate-host install")?;
            let request: InstallRequest = read_request()?;
            install_here(Some(request.ssh_port), &RunOptions::of_request(request.check), out)
        }
        (None, false) => {
            needs_root("convocate-host install")?;
            install_here(own_ssh_port(), &RunOptions::new(check, is_json), out)
        }
    }
}

fn install_here(
    ssh_port: Option<u16>,
    options: &RunOptions,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    let _turn = turn(&Paths::default(), options.mode, out)?;
    let now = Clock::new().wall().seconds();
    let age = i64::try_from(PROVISION_LISTS_AGE_MAX.as_secs()).unwrap_or(i64::MAX);
    let facts = BaseHostFacts {
        paths: Paths::default(),
        has_docker: is_program("docker"),
        ssh_port,
        lists_after: now.saturating_sub(age),
    };
    take(plan(&facts), options, out)?;
    let reason = restart_wanted();
    if options.format == Format::Json {
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
