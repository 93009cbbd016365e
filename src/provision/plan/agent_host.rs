//! The plan of an agent host: what `convocate-agent install` makes hold.
//!
//! On an installed host everything of the agent that is local to it. Below another root, for one
//! user and without root's rights, only what lies there: directories, identity, keys.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::base::rng::Rng;
use crate::docker::call;
use crate::limits::{INOTIFY_INSTANCES_MIN, INOTIFY_WATCHES_MIN};
use crate::paths::{
    AGENT_UNIT, CERTIFICATE_UNITS, CONVOCATE_SLICE, NETWORK_UNITS, Owner, PUBLIC_FILE, Paths,
    SESSION_DIR, SESSION_FILE, SESSION_NETWORK, SESSIONS_SLICE, STATE_DIR,
};
use crate::provision::goal::account::Shell;
use crate::provision::goal::condition::Check;
use crate::provision::goal::download::Download;
use crate::provision::goal::file::{Content, File};
use crate::provision::goal::guarded::Expect;
use crate::provision::goal::image::Image;
use crate::provision::goal::network::SessionNetwork;
use crate::provision::goal::package::Packages;
use crate::provision::goal::prune::NoOldImages;
use crate::provision::goal::unit::Unit;
use crate::provision::order::Command;
use crate::provision::plan::log_user::LogUser;
use crate::provision::plan::parts::{
    access, account, authorized_keys, condition, directory, docker, drop_in, file, guarded, key,
    once, program, read_by_systemd, secret, systemd, unit,
};
use crate::provision::plan::units::{
    self, AGENT_SERVICE, CERTIFICATE_PATH, CERTIFICATE_SERVICE, IMAGE_PRUNE, MARK, NETWORK_FILES,
    SCRIPT_MARK, SESSION_RULES, sessions_slice,
};
use crate::provision::step::Step;
use crate::provision::vm::spec::{Sha256Hex, Url};
use crate::rpc::agent_id::AgentId;
use crate::ssh::keys::{KeyPair, PublicKey};
use crate::x509;

/// What the plan depends on.
#[derive(Clone, Debug)]
pub(crate) struct AgentHostFacts {
    pub(crate) paths: Paths,
    /// Processors of the machine.
    pub(crate) cores: usize,
    /// Memory of the machine.
    pub(crate) memory_bytes: u64,
    /// This very program, to be put in its place.
    pub(crate) program: Vec<u8>,
    /// The session image; none where it is brought from elsewhere.
    pub(crate) image: Option<Image>,
    /// As whom rsyslogd runs, which reads what stands below the configuration.
    pub(crate) log_user: LogUser,
    /// Whether the kernel has nftables. Where it has none, sessions are not kept from this host.
    pub(crate) has_nftables: bool,
}

/// All steps, in their order. What is made once is made from `rng`.
pub(crate) fn plan(facts: &AgentHostFacts, rng: &mut Rng) -> Vec<Step> {
    let mut steps = preparation(facts, rng);
    if facts.paths.is_system() {
        steps.extend(start(&facts.paths));
    }
    steps
}

/// The steps before the service is started.
pub(crate) fn preparation(facts: &AgentHostFacts, rng: &mut Rng) -> Vec<Step> {
    let paths = &facts.paths;
    if !paths.is_system() {
        let steps = [directories(facts), identity(paths, rng)];
        return steps.into_iter().flatten().collect();
    }
    let mut steps = vec![systemd(), docker(), cgroup_driver(), users_of_host(), system_calls()];
    steps.extend(account(Shell::AtFirst("/usr/sbin/nologin".to_owned()), true));
    steps.extend(directories(facts));
    steps.extend(identity(paths, rng));
    steps.extend(log_identity(facts, rng));
    steps.push(program(paths, "convocate-agent", &facts.program));
    if let Some(image) = &facts.image {
        steps.push(Step::new(format!("session image {}", image.tag), image.clone()));
        steps.push(current_image(paths, &image.tag));
    }
    steps.extend(system_files(facts));
    steps.extend(file_watches(paths));
    steps.extend(network(facts));
    steps
}

/// The network of sessions, and what it lets them reach.
fn network(facts: &AgentHostFacts) -> Vec<Step> {
    let paths = &facts.paths;
    let rules = (paths.session_rules(), SESSION_RULES);
    let units = NETWORK_UNITS.map(|name| paths.unit(name)).into_iter().zip(NETWORK_FILES);
    let file = |(path, text): (PathBuf, &str)| {
        drop_in(paths, &format!("file {}", path.display()), &path, text)
    };
    let mut steps: Vec<Step> = std::iter::once(rules).chain(units).map(file).collect();
    let docker = format!("docker network {SESSION_NETWORK}");
    if facts.has_nftables {
        steps.push(Step::new("nftables", Packages::new(["nftables"])));
        steps.push(unit(
            NETWORK_UNITS[0],
            vec![paths.session_rules(), paths.unit(NETWORK_UNITS[0])],
        ));
        steps.extend(NETWORK_UNITS[1..].iter().map(|name| read_by_systemd(name)));
        steps.push(Step::new(docker, SessionNetwork));
    } else {
        let open =
            "the kernel has no nftables, so its sessions reach this host's ports and networks";
        steps.push(Step::new(format!("{docker} ({open})"), SessionNetwork));
    }
    steps
}

/// The steps that start the service.
pub(crate) fn start(paths: &Paths) -> [Step; 5] {
    let name = SESSIONS_SLICE.to_owned();
    let slice = Unit { name, is_enabled: false, made_from: Vec::new() };
    let [trigger, triggered] = CERTIFICATE_UNITS;
    [
        read_by_systemd(CONVOCATE_SLICE),
        Step::new(SESSIONS_SLICE, slice),
        read_by_systemd(triggered),
        unit(trigger, vec![paths.unit(trigger)]),
        service(paths),
    ]
}

/// The service, restarted when something that it reads only at its start is newer.
pub(crate) fn service(paths: &Paths) -> Step {
    let made_from = vec![
        paths.unit(AGENT_UNIT),
        paths.program("convocate-agent"),
        paths.agent_id(),
        paths.agent_host_key(),
        paths.agent_current_image(),
        paths.agent_shell_key(),
        paths.agent_shell_host(),
        paths.agent_shell_known_host(),
    ];
    unit(AGENT_UNIT, made_from)
}

/// The step that removes images which nothing names.
pub(crate) fn prune(current_image: String) -> Step {
    let name = "convocate".to_owned();
    Step::new("old session images", NoOldImages { name, keep: vec![current_image] })
}

/// The Engine leaves control groups to systemd: else the slice bounds nothing.
fn cgroup_driver() -> Step {
    let check = Check::Docker(call::info(), |response| match response.info() {
        Ok(info) if info.cgroup_driver == "systemd" => None,
        Ok(info) => Some(format!("its cgroup driver is {}", info.cgroup_driver)),
        Err(error) => Some(format!("docker: {error}")),
    });
    let advice = "add \"exec-opts\": [\"native.cgroupdriver=systemd\"] to \
                  /etc/docker/daemon.json, then: systemctl restart docker";
    condition("docker leaves control groups to systemd", check, advice)
}

/// The Engine gives containers the host's own numbers of users: a session's home belongs to one.
pub(crate) fn users_of_host() -> Step {
    let check = Check::Docker(call::info(), |response| {
        let info = response.info().ok()?;
        let is_other =
            |it: &String| it.starts_with("name=userns") || it.starts_with("name=rootless");
        let option = info.security_options.into_iter().find(is_other)?;
        Some(format!("docker runs with {option}: sessions could not read their homes"))
    });
    let advice = "take \"userns-remap\" out of /etc/docker/daemon.json, then: systemctl restart \
                  docker; a rootless engine is none for sessions";
    condition("docker leaves users as they are", check, advice)
}

/// The Engine filters what sessions may call of the kernel. Its own profile cannot be asked for by
/// name before version 23 (`seccomp=builtin`), so it is looked at that it is not switched off.
fn system_calls() -> Step {
    let check = Check::Docker(call::info(), |response| {
        let options = response.info().ok()?.security_options;
        let is_filter =
            |it: &String| it.starts_with("name=seccomp") && !it.ends_with("profile=unconfined");
        let told = "docker filters no system calls: sessions could call all of the kernel";
        (!options.iter().any(is_filter)).then(|| told.to_owned())
    });
    let advice = "take \"seccomp-profile\" out of /etc/docker/daemon.json, then: systemctl restart \
                  docker; a kernel without seccomp is none for sessions";
    condition("docker filters system calls", check, advice)
}

fn directories(facts: &AgentHostFacts) -> Vec<Step> {
    let paths = &facts.paths;
    [
        (paths.agent_config(), facts.log_user.config_dir()),
        (paths.agent_state(), STATE_DIR),
        (paths.sessions(), STATE_DIR),
        (paths.skeleton(), SESSION_DIR),
    ]
    .map(|(path, right)| directory(paths, &path, right))
    .into()
}

fn identity(paths: &Paths, rng: &mut Rng) -> Vec<Step> {
    let id = format!("{}\n", AgentId::random(rng));
    let check_id = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        AgentId::parse(text.trim()).map(drop).map_err(|error| format!("is unfit: {error}"))
    };
    vec![
        once(paths, "agent id", &paths.agent_id(), id.into_bytes(), PUBLIC_FILE, check_id),
        key(paths, "host key", &paths.agent_host_key(), "agent host key", rng),
        key(paths, "agent to shell key", &paths.agent_shell_key(), "agent to shell", rng),
        authorized_keys(paths, "authorized keys", &paths.agent_authorized_keys()),
    ]
}

/// The key with which the agent sends its logs, made here and once. Its certificate comes from the
/// shell host.
fn log_identity(facts: &AgentHostFacts, rng: &mut Rng) -> [Step; 2] {
    let tls = facts.paths.agent_tls();
    let bytes = Zeroizing::new(x509::KeyPair::generate(rng).to_pem().as_bytes().to_vec());
    let check = |bytes: &[u8]| {
        let text = Zeroizing::new(String::from_utf8_lossy(bytes).into_owned());
        let key = x509::KeyPair::parse_pem(&text);
        key.map(drop).map_err(|error| format!("is unfit: {error}"))
    };
    let content = Content::Once { bytes, check };
    let access = facts.log_user.secret(&facts.paths);
    [
        directory(&facts.paths, tls.dir(), facts.log_user.config_dir()),
        Step::new("key of its logs", File { path: tls.key(), content, access }),
    ]
}

/// What its sessions log in to Claude with. The agent reads it at each start of one.
pub(crate) fn claude_login(paths: &Paths, kind: &str, login: &[u8]) -> Step {
    let name = format!("login for claude ({kind})");
    secret(&name, &paths.agent_claude_login(), login, access(paths, SESSION_FILE))
}

/// A released Claude CLI in its place.
///
/// # Errors
/// When the address is none.
pub(crate) fn claude_release(
    paths: &Paths,
    (version, sha256): (&str, &Sha256Hex),
    url: &str,
) -> Result<Vec<Step>, String> {
    let path = paths.claude();
    let program = path.display().to_string();
    let url = Some(Url::parse(url)?);
    let download = Download { url, sha256: Some(sha256.clone()), path: path.clone() };
    let mut steps = Vec::new();
    if let Some(above) = path.parent() {
        steps.push(directory(paths, above, (Owner::Root, 0o755)));
    }
    steps.push(Step::new(format!("claude {version}"), download));
    steps.push(guarded(
        format!("mode of {program}"),
        Command::new(
            "find",
            [program.as_str(), "-maxdepth", "0", "-perm", "0755", "-printf", "ok"],
        ),
        Expect::Output("ok".to_owned()),
        format!("let everybody run {program}"),
        vec![Command::new("chmod", ["0755", program.as_str()])],
    ));
    let mark = Content::Text { text: format!("{}\n", sha256.as_str()), mark: "" };
    steps.push(file(paths, "mark of claude", &paths.agent_claude_mark(), mark, PUBLIC_FILE));
    Ok(steps)
}

/// The image that new containers use.
pub(crate) fn current_image(paths: &Paths, tag: &str) -> Step {
    let path = paths.agent_current_image();
    let content = Content::Text { text: format!("{tag}\n"), mark: "convocate:" };
    file(paths, "current image", &path, content, PUBLIC_FILE)
}

fn system_files(facts: &AgentHostFacts) -> [Step; 6] {
    let paths = &facts.paths;
    let slice = sessions_slice(facts.cores, facts.memory_bytes);
    let script = Content::Text { text: IMAGE_PRUNE.to_owned(), mark: SCRIPT_MARK };
    let [trigger, renewed] = CERTIFICATE_UNITS.map(|name| paths.unit(name));
    let prune = &paths.image_prune();
    [
        drop_in(paths, "trigger of renewal", &trigger, CERTIFICATE_PATH),
        drop_in(paths, "unit of renewal", &renewed, CERTIFICATE_SERVICE),
        drop_in(paths, "slice above", &paths.unit(CONVOCATE_SLICE), units::CONVOCATE_SLICE),
        drop_in(paths, "slice of the sessions", &paths.unit(SESSIONS_SLICE), slice),
        drop_in(paths, "unit of the agent", &paths.unit(AGENT_UNIT), AGENT_SERVICE),
        file(paths, "daily removal of old images", prune, script, (Owner::Root, 0o755)),
    ]
}

/// Each session may watch as many files as watchers of large source trees need. Nothing is ever
/// lowered: the file is read before all others at a boot, and now only what is less is raised.
fn file_watches(paths: &Paths) -> [Step; 2] {
    let path = paths.watch_limits();
    let (instances, watches) = (INOTIFY_INSTANCES_MIN, INOTIFY_WATCHES_MIN);
    let text = format!(
        "{MARK}-agent install: for each user, and each session is one. Files with later names say \
         more.\n\
         fs.inotify.max_user_instances = {instances}\n\
         fs.inotify.max_user_watches = {watches}\n"
    );
    let limits = [("max_user_instances", instances), ("max_user_watches", watches)];
    let place = "cd /proc/sys/fs/inotify";
    let is_less = limits.map(|(name, least)| format!("[ $(cat {name}) -lt {least} ]"));
    let raise = limits.map(|(name, least)| {
        format!("if [ $(cat {name}) -lt {least} ]; then echo {least} >{name}; fi")
    });
    let ask = format!("{place}; {}", is_less.join(" || "));
    let change = format!("set -e; {place}; {}", raise.join("; "));
    [
        drop_in(paths, "limits of file watches", &path, &text),
        guarded(
            "file watches",
            Command::new("sh", ["-c", ask.as_str()]),
            Expect::Nothing,
            format!("grant each user {instances} inotify instances and {watches} watches"),
            vec![Command::new("sh", ["-c", change.as_str()])],
        ),
    ]
}

/// The public half of a private key file, as a line.
///
/// # Errors
/// One sentence.
pub(crate) fn public_line(file: &[u8], comment: &str) -> Result<String, String> {
    let pair = KeyPair::parse_openssh(file).map_err(|error| error.to_string())?;
    let public: &PublicKey = pair.public();
    Ok(public.to_line(comment).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &str) -> Vec<String> {
        let facts = AgentHostFacts {
            paths: Paths::below(root),
            cores: 2,
            memory_bytes: 1 << 34,
            program: vec![1],
            image: None,
            log_user: LogUser::Root,
            has_nftables: true,
        };
        let steps = plan(&facts, &mut Rng::from_seed([7; 32]));
        for step in &steps {
            if let Some(file) = step.goal::<File>() {
                assert!(file.path.starts_with(root), "{}", file.path.display());
                assert_eq!(file.access.owner.is_some(), root == "/", "{}", step.name);
            }
        }
        steps.into_iter().map(|step| step.name).collect()
    }

    #[test]
    fn the_service_is_started_last_and_only_on_a_host() {
        let installed = names("/");
        assert_eq!(installed.last().map(String::as_str), Some(AGENT_UNIT));
        let private = names("/tmp/x");
        assert_eq!(private.len(), 8, "{private:?}");
    }

    #[test]
    fn a_key_is_public_only_by_its_public_half() {
        let pair = KeyPair::from_seed([3; 32]);
        let line = public_line(pair.to_openssh("c", 1).as_bytes(), "name").unwrap();
        assert!(line.starts_with("ssh-ed25519 AAAA") && line.ends_with(" name"), "{line}");
        assert!(public_line(b"x", "name").is_err());
    }
}
