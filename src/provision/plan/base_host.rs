//! The plan of any host of a cluster: what `convocate-host install` makes hold, on a vanilla Ubuntu
//! or Debian. Roles come on top of it.

use std::path::PathBuf;

use crate::limits::{PROVISION_APT_TIMEOUT, SSH_STANDARD_PORT};
use crate::paths::{Paths, SERVICE_USER, SERVICE_USER_ID};
use crate::provision::goal::account::Shell;
use crate::provision::goal::condition::Check;
use crate::provision::goal::firewall::Firewall;
use crate::provision::goal::guarded::Expect;
use crate::provision::goal::package::{FINISH, INTERRUPTED, Packages, whole};
use crate::provision::goal::upgrade::Upgrade;
use crate::provision::openssh::check_system;
use crate::provision::order::{Command, End};
use crate::provision::plan::parts::{
    account, condition, drop_in, guarded, open_port, systemd, unit,
};
use crate::provision::step::Step;

/// What the plan depends on.
#[derive(Clone, Debug)]
pub(crate) struct BaseHostFacts {
    pub(crate) paths: Paths,
    /// Whether there is a Docker that is not the distribution's, which stays.
    pub(crate) has_docker: bool,
    /// A program of that name which belongs to no docker.service.
    pub(crate) other_docker: Option<String>,
    /// Whether ufw is there, or may take the place of another firewall.
    pub(crate) takes_firewall: bool,
    /// The port through which the operator has come in; none on the machine itself.
    pub(crate) ssh_port: Option<u16>,
    /// Lists of packages that were fetched after this time are new enough, in seconds since 1970.
    pub(crate) lists_after: i64,
}

/// systemd-resolved and libvirt have port 53 on addresses of their own; dnsmasq takes it on all
/// others.
const DNSMASQ: &str = "# Written by convocate: leaves port 53 of 127.0.0.53 to systemd-resolved, \
                       and that of\n# libvirt's networks to libvirt.\n\
                       bind-dynamic\nexcept-interface=virbr*\n";

/// All steps, in their order.
pub(crate) fn plan(facts: &BaseHostFacts) -> Vec<Step> {
    let dnsmasq = facts.paths.dnsmasq_binding();
    let mut steps = vec![system(), systemd(), first_boot()];
    steps.push(claude_is_free("passwd"));
    steps.push(claude_is_free("group"));
    steps.extend(facts.other_docker.as_deref().map(other_docker));
    if !facts.takes_firewall {
        steps.push(other_firewall());
    }
    steps.push(dpkg_in_order());
    steps.push(Step::new("packages up to date", Upgrade { lists_after: facts.lists_after }));
    // Before the package: its service starts with it.
    steps.push(dnsmasq_binding(&facts.paths));
    steps.push(Step::new("packages", packages(facts.has_docker)));
    steps.extend(account(Shell::AtFirst("/bin/bash".to_owned()), true));
    steps.push(time_zone());
    steps.push(unit("docker.service", Vec::new()));
    steps.push(unit("ssh.service", Vec::new()));
    steps.push(unit("dnsmasq.service", vec![dnsmasq]));
    // The operator's way in, which is open before the firewall is enabled.
    let other = facts.ssh_port.filter(|port| *port != SSH_STANDARD_PORT);
    steps.extend(std::iter::once(SSH_STANDARD_PORT).chain(other).map(open_port));
    steps.push(Step::new("firewall", Firewall));
    steps
}

/// A distribution that the packages are known of.
pub(crate) fn system() -> Step {
    let ask = Command::new("sed", ["-n", "s/^ID=/os /p; s/^VERSION_ID=/version /p"]);
    let check = Check::Program(ask.with(["/etc/os-release"]), |ran| {
        let value = |name: &str| {
            let mut lines = ran.output.lines();
            let found = lines.find_map(|line| line.strip_prefix(name));
            found.unwrap_or_default().trim_matches('"').to_owned()
        };
        let checked = check_system(&value("os "), &value("version "));
        checked.err().map(|fault| fault.to_string())
    });
    condition("operating system", check, "")
}

/// A machine in its first minutes is still being set up by cloud-init, which is waited for.
pub(crate) fn first_boot() -> Step {
    let ask = Command::new("cloud-init", ["status", "--wait"]).within(PROVISION_APT_TIMEOUT);
    let check = Check::Program(ask, |ran| match ran.end {
        // Its other statuses say how the first boot went, which is not ours to judge.
        End::Code(_) | End::NotThere => None,
        _ => Some(format!("cloud-init {}", ran.end)),
    });
    condition("first boot is over", check, "see what keeps it: cloud-init status --long")
}

fn packages(has_docker: bool) -> Packages {
    let mut names =
        vec!["dnsmasq", "jq", "curl", "git", "ufw", "ca-certificates", "openssh-server"];
    // For the logs of either role, so that giving a host its role fetches nothing.
    names.extend(["rsyslog", "rsyslog-gnutls", "logrotate"]);
    // For what sessions may reach.
    names.push("nftables");
    if !has_docker {
        names.insert(0, "docker.io");
    }
    Packages(names.into_iter().map(str::to_owned).collect())
}

fn dnsmasq_binding(paths: &Paths) -> Step {
    drop_in(paths, "dnsmasq beside systemd-resolved", &paths.dnsmasq_binding(), DNSMASQ)
}

/// The numbers of the user and of its group, before anything is changed.
fn claude_is_free(database: &'static str) -> Step {
    let id = SERVICE_USER_ID.to_string();
    let check = Check::Program(Command::new("getent", [database, SERVICE_USER, &id]), |ran| {
        let id = SERVICE_USER_ID.to_string();
        let is_other = |line: &&str| {
            let mut fields = line.split(':');
            fields.next() != Some(SERVICE_USER) || fields.nth(1) != Some(&id)
        };
        let line = ran.output.lines().find(is_other)?;
        Some(format!("{SERVICE_USER} needs the number {id}, and this is there: {line}"))
    });
    let advice = "give that one another name or number, and its files to it";
    condition(format!("{SERVICE_USER} ({id}) in {database}"), check, advice)
}

fn other_docker(path: &str) -> Step {
    let check = Check::Path(PathBuf::from(path), |_| {
        Some(
            "the docker here is none with a docker.service, but a snap, podman's or a link"
                .to_owned(),
        )
    });
    let advice = format!("remove {path} (snap remove docker, apt-get remove podman-docker)");
    condition("docker", check, advice)
}

/// The package of ufw would remove others without a word, or stand beside them.
fn other_firewall() -> Step {
    let units = ["netfilter-persistent", "firewalld", "nftables"];
    let ask = Command::new("systemctl", ["is-enabled"]).with(units);
    let check = Check::Program(ask, |ran| {
        let is_on = ran.output.lines().any(|line| line == "enabled");
        is_on.then(|| {
            "this host has a firewall (netfilter-persistent, firewalld or nftables)".to_owned()
        })
    });
    let advice = "ufw would take its place, and let in only ssh and our ports: look at its rules, \
                  then give --firewall ufw";
    condition("no other firewall", check, advice)
}

/// Whoever ran dpkg before has finished.
fn dpkg_in_order() -> Step {
    let finish = whole(Command::new("sh", ["-c", FINISH]));
    let guard = Command::new("sh", ["-c", INTERRUPTED]);
    let nothing = Expect::Output(String::new());
    guarded("dpkg is in order", guard, nothing, "finish what was interrupted", vec![finish])
}

fn time_zone() -> Step {
    guarded(
        "time zone Etc/UTC",
        Command::new("timedatectl", ["show", "--property", "Timezone", "--value"]),
        Expect::Output("Etc/UTC".to_owned()),
        "set the time zone to Etc/UTC",
        vec![Command::new("timedatectl", ["set-timezone", "Etc/UTC"])],
    )
}

/// Why the host must be restarted: the system asks for it, or a kernel was installed since it
/// started, and runs at the next start. `new_kernel` is what the link of the boot loader points to,
/// if that is younger than the start: one that was there and was not taken is never taken.
pub(crate) fn restart_reason(
    is_asked: bool,
    new_kernel: Option<&str>,
    running: &str,
) -> Option<String> {
    if is_asked {
        return Some("the system asks for a restart (/run/reboot-required)".to_owned());
    }
    let file = new_kernel?.rsplit('/').next()?;
    let version = file.strip_prefix("vmlinuz-")?;
    (version != running).then(|| format!("kernel {version} is installed, and {running} runs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ssh_port: Option<u16>) -> Vec<String> {
        let facts = BaseHostFacts {
            paths: Paths::default(),
            has_docker: false,
            other_docker: None,
            takes_firewall: true,
            ssh_port,
            lists_after: 0,
        };
        plan(&facts).into_iter().map(|step| step.name).collect()
    }

    #[test]
    fn the_way_in_is_open_before_the_firewall_is_on() {
        let steps = names(Some(2222));
        let at = |name: &str| steps.iter().position(|step| step == name).expect(name);
        assert!(at("ufw allow 22/tcp") < at("firewall"));
        assert!(at("ufw allow 2222/tcp") < at("firewall"));
        assert!(!names(Some(22)).contains(&"ufw allow 2222/tcp".to_owned()));
        assert_eq!(names(None), names(Some(22)));
    }

    #[test]
    fn a_docker_that_is_there_stays() {
        assert!(packages(false).0.contains(&"docker.io".to_owned()));
        assert!(!packages(true).0.contains(&"docker.io".to_owned()));
    }

    #[test]
    fn a_new_kernel_or_a_wish_wants_a_restart() {
        assert!(restart_reason(true, None, "6.1").is_some());
        let newer = restart_reason(false, Some("boot/vmlinuz-6.2"), "6.1");
        assert_eq!(newer.as_deref(), Some("kernel 6.2 is installed, and 6.1 runs"));
        for kernel in [Some("boot/vmlinuz-6.1"), Some("Image"), None] {
            assert_eq!(restart_reason(false, kernel, "6.1"), None);
        }
    }
}
