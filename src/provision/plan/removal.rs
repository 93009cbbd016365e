//! The plan that takes away what installation, enrolment and updates have put on a host.
//!
//! Only what is ours: a file of the system that does not begin as we write it stays. Homes, logs
//! and the user stay unless they are to go, too. Packages, the firewall and Docker stay: others
//! use them. So do virtual machines, with their disks and names.

use std::path::Path;

use crate::docker::call;
use crate::limits::{AGENT_PORT, LOG_PORT, PROVISION_UNIT_TIMEOUT, STATUS_PORT};
use crate::paths::{
    AGENT_UNIT, CERTIFICATE_UNITS, CONVOCATE_SLICE, NETWORK_UNITS, Paths, RENEWAL_UNITS,
    SERVICE_USER, SESSION_NETWORK, SESSIONS_SLICE, STATUS_UNIT,
};
use crate::provision::goal::condition::Check;
use crate::provision::goal::file::Absent;
use crate::provision::goal::guarded::Expect;
use crate::provision::goal::network::NoSessionNetwork;
use crate::provision::goal::prune::NoOldImages;
use crate::provision::goal::upgrade;
use crate::provision::order::Command;
use crate::provision::plan::parts::{condition, guarded};
use crate::provision::plan::units::MARK;
use crate::provision::step::Step;
use crate::provision::vm::machine::CACHE;

/// What the plan depends on.
#[derive(Clone, Debug)]
pub(crate) struct RemovalFacts {
    pub(crate) paths: Paths,
    /// Whether homes, logs and the user go, too.
    pub(crate) with_homes: bool,
    /// Whether a Docker Engine can be asked.
    pub(crate) has_docker: bool,
    /// The label that containers of sessions have.
    pub(crate) session_label: &'static str,
}

/// All steps, in their order.
pub(crate) fn plan(facts: &RemovalFacts) -> Vec<Step> {
    let paths = &facts.paths;
    let mut steps = Vec::new();
    steps.extend(facts.has_docker.then(|| no_sessions_run(facts.session_label)));
    let units = CERTIFICATE_UNITS.into_iter().chain(RENEWAL_UNITS);
    let units = units.chain(NETWORK_UNITS.into_iter().rev());
    let units = [AGENT_UNIT, STATUS_UNIT, SESSIONS_SLICE, CONVOCATE_SLICE].into_iter().chain(units);
    steps.extend(units.map(|unit| without_unit(paths, unit)));
    // systemd keeps it when the timer is gone.
    let stamp = paths.timer_stamp(RENEWAL_UNITS[0]);
    steps.push(without_file(&stamp));
    steps.push(without_file(&paths.root().join(upgrade::STAMP.trim_start_matches('/'))));
    steps.extend(drop_ins(paths));
    steps.push(without_waiting_logs(paths));
    steps.extend(of_machines(paths));
    steps.extend([AGENT_PORT, STATUS_PORT, LOG_PORT].map(without_rule));
    if facts.has_docker {
        let name = "convocate".to_owned();
        let images = NoOldImages { name, keep: Vec::new() };
        steps.push(Step::new("session images that nothing uses", images));
        steps.push(Step::new(format!("no docker network {SESSION_NETWORK}"), NoSessionNetwork));
    }
    steps.push(without_rules());
    steps.extend(login_shell(paths));
    steps.push(without_claude(paths));
    let trees = [paths.agent_config(), paths.shell_config()];
    steps.extend(trees.iter().map(|path| without_tree(path)));
    steps.push(match facts.with_homes {
        true => without_tree(&paths.agent_state()),
        false => without_state(paths),
    });
    steps.push(without_tree(&paths.shell_state()));
    if facts.with_homes {
        steps.push(without_tree(&paths.agent_logs()));
        steps.push(without_user());
        steps.push(without_tree(&paths.sessions()));
    }
    for program in ["convocate", "convocate-agent", "convocate-host"] {
        steps.push(without_file(&paths.program(program)));
        steps.push(without_file(&paths.program_before(program)));
    }
    steps
}

/// The Claude CLI, if it is the one that we have put there.
fn without_claude(paths: &Paths) -> Step {
    let (program, mark) = (paths.claude(), paths.agent_claude_mark());
    let (program, mark) = (program.display().to_string(), mark.display().to_string());
    let ask = format!(
        "[ -f {mark} ] && [ -f {program} ] && sum=$(sha256sum <{program}) && \
         [ \"${{sum%% *}}\" = \"$(cat {mark})\" ]"
    );
    guarded(
        format!("no {program} of ours"),
        Command::new("sh", ["-c", ask.as_str()]),
        Expect::Nothing,
        format!("remove {program}"),
        vec![rm(&program)],
    )
}

/// The agent's state but the records, without which the homes that stay are only directories.
fn without_state(paths: &Paths) -> Step {
    let (state, records) = (paths.agent_state(), paths.session_records());
    let name = records.file_name().unwrap_or_default().to_string_lossy();
    let others = format!("find {} -mindepth 1 -maxdepth 1 ! -name {name}", state.display());
    guarded(
        format!("no {} without homes", state.display()),
        Command::new("sh", ["-c", &format!("{others} 2>/dev/null | grep -q .")]),
        Expect::Nothing,
        format!("remove what is in {} but the records of sessions", state.display()),
        vec![Command::new("sh", ["-c", &format!("{others} -exec rm -rf -- {{}} +")])],
    )
}

fn no_sessions_run(label: &'static str) -> Step {
    let check = Check::Docker(call::containers(label), |response| match response.containers() {
        Ok(all) => match all.iter().filter(|one| one.state == "running").count() {
            0 => None,
            count => Some(format!("{count} sessions run here")),
        },
        Err(error) => Some(format!("docker: {error}")),
    });
    condition("no session runs", check, "end them first: convocate kill")
}

/// A unit that is stopped, not started any more, and gone.
fn without_unit(paths: &Paths, unit: &str) -> Step {
    let path = paths.unit(unit).display().to_string();
    let disable = Command::new("systemctl", ["disable", "--now", "--quiet", unit]);
    let commands = vec![disable.within(PROVISION_UNIT_TIMEOUT), rm(&path), daemon_reload()];
    let effect = format!("stop {unit} and remove {path}");
    guarded(format!("no {unit}"), is_ours(&path), Expect::Nothing, effect, commands)
}

/// What we gave to other services, which then read their files again.
fn drop_ins(paths: &Paths) -> Vec<Step> {
    [
        (paths.image_prune(), None),
        // What it has raised stays so until the next boot.
        (paths.watch_limits(), None),
        (paths.dnsmasq_drop_in(), Some("dnsmasq.service")),
        // Without this it does not start beside systemd-resolved: what runs is left to run.
        (paths.dnsmasq_binding(), None),
        (paths.rsyslog_forward(), Some("rsyslog.service")),
        (paths.rsyslog_collector(), Some("rsyslog.service")),
        (paths.logrotate(), None),
        (paths.rsyslog_agent_confinement(), None),
        (paths.rsyslog_shell_confinement(), None),
    ]
    .into_iter()
    .map(|(path, unit)| without_drop_in(&path, unit))
    .collect()
}

/// A drop-in of ours that is gone, and the unit that read it reads its files again.
pub(crate) fn without_drop_in(path: &Path, unit: Option<&str>) -> Step {
    let restart = unit.map(|unit| Command::new("systemctl", ["try-restart", unit]));
    without_ours(path, restart.into_iter().collect())
}

/// What machines have in common: their limits, and the image that their disks were copied from.
fn of_machines(paths: &Paths) -> [Step; 3] {
    let limits = paths.machines_bound();
    let place = limits.parent().unwrap_or(&limits).display().to_string();
    let rmdir = Command::new("rmdir", ["--ignore-fail-on-non-empty", "--", &place]);
    let disks = Path::new(CACHE).parent().unwrap_or(Path::new(CACHE)).display().to_string();
    [
        without_ours(&limits, vec![rmdir, daemon_reload()]),
        without_tree(Path::new(CACHE)),
        guarded(
            format!("no {disks} without machines"),
            Command::new("sh", ["-c", &format!("test -d {disks} && ! ls -A {disks} | grep -q .")]),
            Expect::Nothing,
            format!("remove {disks}"),
            vec![Command::new("rmdir", ["--", &disks])],
        ),
    ]
}

/// Logs that rsyslog has kept for a shell host that could not be reached.
fn without_waiting_logs(paths: &Paths) -> Step {
    let files = format!("{}/convocate-forward*", paths.rsyslog_spool().display());
    guarded(
        "no logs on their way",
        Command::new("sh", ["-c", &format!("ls {files} >/dev/null 2>&1")]),
        Expect::Nothing,
        format!("remove {files}"),
        vec![Command::new("sh", ["-c", &format!("rm -f {files}")])],
    )
}

/// The kernel has no rules for sessions any more.
fn without_rules() -> Step {
    let table = format!("table inet {SESSION_NETWORK}");
    guarded(
        format!("no {table}"),
        Command::new("sh", ["-c", &format!("nft list {table} >/dev/null 2>&1")]),
        Expect::Nothing,
        format!("remove the {table}"),
        vec![Command::new("nft", ["delete", "table", "inet", SESSION_NETWORK])],
    )
}

/// The firewall no longer lets this port in.
pub(crate) fn without_rule(port: u16) -> Step {
    let rule = format!("{port}/tcp");
    guarded(
        format!("no rule for {rule}"),
        Command::new("ufw", ["show", "added"]),
        Expect::NoLine(format!("ufw allow {rule}")),
        format!("take back the rule for {rule}"),
        vec![Command::new("ufw", ["delete", "allow", &rule])],
    )
}

/// The user no longer gets our program at a login, and it is no login shell any more.
fn login_shell(paths: &Paths) -> [Step; 2] {
    let program = paths.program("convocate").display().to_string();
    let shells = paths.login_shells().display().to_string();
    let of_user = format!("^{SERVICE_USER}:.*:{program}$");
    let listed = ["--quiet", "--line-regexp", "--fixed-strings", "--", &program, &shells];
    [
        guarded(
            "login shell",
            Command::new("grep", ["--quiet", &of_user, "/etc/passwd"]),
            Expect::Nothing,
            format!("give the user {SERVICE_USER} no login shell"),
            vec![Command::new("usermod", ["--shell", "/usr/sbin/nologin", SERVICE_USER])],
        ),
        guarded(
            "login shells",
            Command::new("grep", listed),
            Expect::Nothing,
            format!("take {program} out of {shells}"),
            vec![without_lines(&format!("\\,^{program}$,d"), &shells)],
        ),
    ]
}

fn without_user() -> Step {
    guarded(
        format!("no user {SERVICE_USER}"),
        Command::new("getent", ["passwd", SERVICE_USER]),
        Expect::Output(String::new()),
        format!("remove the user {SERVICE_USER}"),
        vec![Command::new("userdel", [SERVICE_USER])],
    )
}

/// A directory that is gone with all that was in it.
pub(crate) fn without_tree(path: &Path) -> Step {
    let path = path.display().to_string();
    guarded(
        format!("no {path}"),
        Command::new("test", ["-e", &path]),
        Expect::Nothing,
        format!("remove {path} with all that is in it"),
        vec![Command::new("rm", ["-rf", "--one-file-system", "--", &path])],
    )
}

fn without_file(path: &Path) -> Step {
    Step::new(format!("no {}", path.display()), Absent(path.to_owned()))
}

/// A file that is gone if it is ours, after which some commands run.
fn without_ours(path: &Path, after: Vec<Command>) -> Step {
    let path = path.display().to_string();
    let commands = std::iter::once(rm(&path)).chain(after).collect();
    let effect = format!("remove {path}");
    guarded(format!("no {path}"), is_ours(&path), Expect::Nothing, effect, commands)
}

/// Ends with status 0 if the file begins as ours do.
fn is_ours(path: &str) -> Command {
    Command::new("grep", ["--quiet", "--no-messages", "--", MARK, path])
}

fn rm(path: &str) -> Command {
    Command::new("rm", ["-f", "--", path])
}

fn daemon_reload() -> Command {
    Command::new("systemctl", ["daemon-reload"])
}

/// Takes lines out of a file, by an expression of sed(1).
pub(crate) fn without_lines(expression: &str, file: &str) -> Command {
    Command::new("sed", ["--in-place", "--", expression, file])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(with_homes: bool) -> String {
        let facts = RemovalFacts {
            paths: Paths::default(),
            with_homes,
            has_docker: true,
            session_label: "x.session",
        };
        let names: Vec<String> = plan(&facts).into_iter().map(|step| step.name).collect();
        names.join("\n")
    }

    #[test]
    fn homes_and_logs_stay_unless_they_are_to_go() {
        for kept in ["no /home/claude", "no user claude", "no /var/log/convocate-agent"] {
            assert!(names(true).contains(kept), "{kept}");
            assert!(!names(false).contains(kept), "{kept}");
        }
        assert!(names(false).starts_with("no session runs\nno convocate-agent.service\n"));
    }

    #[test]
    fn what_other_services_were_given_is_taken_back() {
        let paths = Paths::default();
        for path in [
            paths.rsyslog_forward(),
            paths.rsyslog_collector(),
            paths.rsyslog_agent_confinement(),
            paths.rsyslog_shell_confinement(),
            paths.logrotate(),
            paths.dnsmasq_drop_in(),
            paths.timer_stamp(RENEWAL_UNITS[0]),
        ] {
            let line = format!("no {}", path.display());
            assert!(names(false).lines().any(|name| name == line), "{line}");
        }
    }

    #[test]
    fn what_no_role_has_put_there_goes_too() {
        let (named, paths) = (names(false), Paths::default());
        for path in [paths.dnsmasq_binding(), upgrade::STAMP.into(), paths.machines_bound()] {
            let line = format!("no {}", path.display());
            assert!(named.lines().any(|name| name == line), "{line}");
        }
    }

    #[test]
    fn every_file_of_an_agent_host_goes() {
        use crate::base::rng::Rng;
        use crate::provision::goal::file::{Directory, File};
        use crate::provision::plan::log_user::LogUser;
        use crate::provision::plan::{agent_host, shell_host};
        let (paths, rng) = (Paths::default(), &mut Rng::from_seed([7; 32]));
        let agent = agent_host::AgentHostFacts {
            paths: paths.clone(),
            cores: 2,
            memory_bytes: 1 << 34,
            program: vec![1],
            image: None,
            log_user: LogUser::Root,
            has_nftables: true,
        };
        let shell = shell_host::ShellHostFacts {
            paths: paths.clone(),
            program: vec![1],
            image: None,
            has_dnsmasq: true,
            log_user: LogUser::Root,
        };
        let mut steps = agent_host::plan(&agent, rng);
        steps.extend(shell_host::plan(&shell, rng));
        let removed = names(true);
        for step in steps {
            let file = step.goal::<File>().map(|file| &file.path);
            let directory = step.goal::<Directory>().map(|directory| &directory.path);
            let Some(path) = file.or(directory) else { continue };
            let is_removed = path.ancestors().any(|path| {
                let shown = path.display().to_string();
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
                removed.lines().any(|line| {
                    line == format!("no {shown}")
                        || name.as_ref().is_some_and(|name| line == format!("no {name}"))
                })
            });
            // Of the login shells only our line goes.
            assert!(is_removed || *path == paths.login_shells(), "{}", path.display());
        }
    }
}
