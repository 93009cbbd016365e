//! The plan of an agent host: what `convocate-agent install` makes hold.
//!
//! On an installed host everything of the agent that is local to it. Below another root, for one
//! user and without root's rights, only what lies there: directories, identity, keys.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::base::rng::Rng;
use crate::docker::call;
use crate::paths::{
    AGENT_UNIT, CERTIFICATE_UNITS, Owner, PUBLIC_FILE, Paths, SERVICE_KEY, SERVICE_USER,
    SERVICE_USER_ID, SESSION_DIR, SESSIONS_SLICE, STATE_DIR,
};
use crate::provision::goal::account::{Group, Shell, User};
use crate::provision::goal::command::{Condition, Expect, Settled};
use crate::provision::goal::file::{Content, Directory, File};
use crate::provision::goal::image::Image;
use crate::provision::goal::prune::NoOldImages;
use crate::provision::goal::unit::Unit;
use crate::provision::logs::user::LogUser;
use crate::provision::order::{Access, Account, Answer, Command, Entry, Question};
use crate::provision::plan::units::{
    AGENT_SERVICE, CERTIFICATE_PATH, CERTIFICATE_SERVICE, IMAGE_PRUNE, MARK, SCRIPT_MARK,
    sessions_slice,
};
use crate::provision::step::Step;
use crate::rpc::agent_id::AgentId;
use crate::ssh::keys::{KeyPair, PublicKey};
use crate::x509;

/// What the plan depends on.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
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
}

/// All steps, in their order. What is made once is made from `rng`.
pub(crate) fn plan(facts: &Facts, rng: &mut Rng) -> Vec<Step> {
    let mut steps = preparation(facts, rng);
    if facts.paths.is_system() {
        steps.extend(start(&facts.paths));
    }
    steps
}

/// The steps before the service is started.
pub(crate) fn preparation(facts: &Facts, rng: &mut Rng) -> Vec<Step> {
    let paths = &facts.paths;
    if !paths.is_system() {
        let steps = [directories(facts), identity(paths, rng)];
        return steps.into_iter().flatten().collect();
    }
    let mut steps = vec![systemd(), docker(), cgroup_driver()];
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
    steps
}

/// The steps that start the service.
pub(crate) fn start(paths: &Paths) -> [Step; 4] {
    let name = SESSIONS_SLICE.to_owned();
    let slice = Unit { name, is_enabled: false, made_from: Vec::new() };
    let [trigger, triggered] = CERTIFICATE_UNITS;
    let made_from = vec![paths.unit(trigger)];
    let renewal = Unit { name: trigger.to_owned(), is_enabled: true, made_from };
    [
        Step::new(SESSIONS_SLICE, slice),
        read_by_systemd(triggered),
        Step::new(trigger, renewal),
        Step::new(AGENT_UNIT, service(paths)),
    ]
}

/// The service, restarted when something that it reads only at its start is newer.
pub(crate) fn service(paths: &Paths) -> Unit {
    Unit {
        name: AGENT_UNIT.to_owned(),
        is_enabled: true,
        made_from: vec![
            paths.unit(AGENT_UNIT),
            paths.program("convocate-agent"),
            paths.agent_id(),
            paths.agent_host_key(),
            paths.agent_current_image(),
            paths.agent_shell_key(),
            paths.agent_shell_host(),
            paths.agent_shell_known_host(),
        ],
    }
}

/// The step that removes images which nothing names.
pub(crate) fn prune(current_image: String) -> Step {
    let name = "convocate".to_owned();
    Step::new("old session images", NoOldImages { name, keep: vec![current_image] })
}

/// systemd runs this machine.
pub(crate) fn systemd() -> Step {
    Step::new(
        "systemd",
        Condition {
            ask: Question::Look(PathBuf::from("/run/systemd/system")),
            fault: |answer| match answer {
                Answer::Looked(Entry::Directory(_)) => None,
                _ => Some("systemd does not run this machine".to_owned()),
            },
            advice: "a host of a cluster needs it; to try convocate out: convocate demo".to_owned(),
        },
    )
}

/// The Docker Engine answers.
pub(crate) fn docker() -> Step {
    Step::new(
        "docker",
        Condition {
            ask: Question::Engine(call::version()),
            fault: |answer| match answer {
                Answer::Engine(Ok(response)) if response.status == 200 => None,
                Answer::Engine(Ok(response)) => Some(format!("docker: {}", response.status)),
                Answer::Engine(Err(why)) => Some(why.clone()),
                _ => Some("nobody asked".to_owned()),
            },
            advice: "install it (apt-get install docker.io) or start it (systemctl start docker)"
                .to_owned(),
        },
    )
}

/// The Engine leaves control groups to systemd: else the slice bounds nothing.
pub(crate) fn cgroup_driver() -> Step {
    Step::new(
        "docker leaves control groups to systemd",
        Condition {
            ask: Question::Engine(call::info()),
            fault: |answer| match answer {
                Answer::Engine(Ok(response)) => match response.clone().info() {
                    Ok(info) if info.cgroup_driver == "systemd" => None,
                    Ok(info) => Some(format!("its cgroup driver is {}", info.cgroup_driver)),
                    Err(error) => Some(format!("docker: {error}")),
                },
                Answer::Engine(Err(why)) => Some(why.clone()),
                _ => Some("nobody asked".to_owned()),
            },
            advice: "add \"exec-opts\": [\"native.cgroupdriver=systemd\"] to \
                     /etc/docker/daemon.json, then: systemctl restart docker"
                .to_owned(),
        },
    )
}

/// The user that the services run as.
pub(crate) fn account(shell: Shell, in_docker: bool) -> [Step; 2] {
    let (name, id) = (SERVICE_USER.to_owned(), SERVICE_USER_ID);
    let groups = if in_docker { vec!["docker".to_owned()] } else { Vec::new() };
    let home = "/home/claude".to_owned();
    let user = User { name: name.clone(), id, group: name.clone(), home, shell, groups };
    [
        Step::new(format!("group {name} ({id})"), Group { name: name.clone(), id }),
        Step::new(format!("user {name} ({id})"), user),
    ]
}

fn directories(facts: &Facts) -> Vec<Step> {
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
    let check_keys = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err("is no text".to_owned()),
    };
    vec![
        once(paths, "agent id", &paths.agent_id(), id.into_bytes(), PUBLIC_FILE, check_id),
        key(paths, "host key", &paths.agent_host_key(), "agent host key", rng),
        key(paths, "agent to shell key", &paths.agent_shell_key(), "agent to shell", rng),
        once(
            paths,
            "authorized keys",
            &paths.agent_authorized_keys(),
            Vec::new(),
            PUBLIC_FILE,
            check_keys,
        ),
    ]
}

/// The key with which the agent sends its logs, made here and once. Its certificate comes from the
/// shell host.
fn log_identity(facts: &Facts, rng: &mut Rng) -> [Step; 2] {
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

/// The image that new containers use.
pub(crate) fn current_image(paths: &Paths, tag: &str) -> Step {
    let path = paths.agent_current_image();
    let content = Content::Text { text: format!("{tag}\n"), mark: "convocate:" };
    file(paths, "current image", &path, content, PUBLIC_FILE)
}

fn system_files(facts: &Facts) -> [Step; 5] {
    let paths = &facts.paths;
    let slice = sessions_slice(facts.cores, facts.memory_bytes);
    let text = |text: &str| Content::Text { text: text.to_owned(), mark: MARK };
    let script = Content::Text { text: IMAGE_PRUNE.to_owned(), mark: SCRIPT_MARK };
    let service = paths.unit(AGENT_UNIT);
    let [trigger, renewed] = CERTIFICATE_UNITS.map(|name| paths.unit(name));
    [
        file(paths, "trigger of renewal", &trigger, text(CERTIFICATE_PATH), PUBLIC_FILE),
        file(paths, "unit of renewal", &renewed, text(CERTIFICATE_SERVICE), PUBLIC_FILE),
        file(
            paths,
            "slice of the sessions",
            &paths.unit(SESSIONS_SLICE),
            text(&slice),
            PUBLIC_FILE,
        ),
        file(paths, "unit of the agent", &service, text(AGENT_SERVICE), PUBLIC_FILE),
        file(
            paths,
            "daily removal of old images",
            &paths.image_prune(),
            script,
            (Owner::Root, 0o755),
        ),
    ]
}

// --- steps that other plans have, too ---

/// One of our programs, where the system's programs are.
pub(crate) fn program(paths: &Paths, name: &str, bytes: &[u8]) -> Step {
    let path = paths.program(name);
    let content = Content::Binary(bytes.to_vec());
    file(paths, &format!("program {}", path.display()), &path, content, (Owner::Root, 0o755))
}

/// systemd has the file of a unit as it is: one that only another starts, and that nothing here
/// looks at otherwise.
pub(crate) fn read_by_systemd(name: &str) -> Step {
    let goal = Settled {
        ask: Command::new("systemctl", ["show", "--property", "NeedDaemonReload", "--value", name]),
        expect: Expect::Output("no".to_owned()),
        effect: "let systemd read its units again".to_owned(),
        make: vec![Command::new("systemctl", ["daemon-reload"])],
    };
    Step::new(name, goal)
}

pub(crate) fn directory(paths: &Paths, path: &Path, right: (Owner, u32)) -> Step {
    let goal = Directory { path: path.to_owned(), access: access(paths, right) };
    Step::new(format!("directory {}", path.display()), goal)
}

pub(crate) fn file(
    paths: &Paths,
    name: &str,
    path: &Path,
    content: Content,
    right: (Owner, u32),
) -> Step {
    Step::new(name, File { path: path.to_owned(), content, access: access(paths, right) })
}

/// A file that is made once.
pub(crate) fn once(
    paths: &Paths,
    name: &str,
    path: &Path,
    bytes: Vec<u8>,
    right: (Owner, u32),
    check: fn(&[u8]) -> Result<(), String>,
) -> Step {
    file(paths, name, path, Content::Once { bytes: Zeroizing::new(bytes), check }, right)
}

/// A private key that a service reads, made here and once.
pub(crate) fn key(paths: &Paths, name: &str, path: &Path, comment: &str, rng: &mut Rng) -> Step {
    let pair = KeyPair::from_seed(rng.bytes());
    let text = pair.to_openssh(comment, rng.below(u32::MAX));
    // An ordinary user's own key is nobody else's.
    let right = if paths.is_system() { SERVICE_KEY } else { (SERVICE_KEY.0, 0o600) };
    once(paths, name, path, text.as_bytes().to_vec(), right, |bytes| {
        KeyPair::parse_openssh(bytes).map(drop).map_err(|error| format!("is unfit: {error}"))
    })
}

/// Owner and mode; below a root of one's own everything belongs to oneself.
pub(crate) fn access(paths: &Paths, (owner, mode): (Owner, u32)) -> Access {
    let account = |user: &str, group: &str| Account { user: user.into(), group: group.into() };
    let owner = match owner {
        Owner::Root => account("root", "root"),
        Owner::RootClaude => account("root", SERVICE_USER),
        Owner::Claude => account(SERVICE_USER, SERVICE_USER),
    };
    Access { owner: paths.is_system().then_some(owner), mode }
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
    use crate::provision::step::Goal;

    fn names(root: &str) -> Vec<String> {
        let facts = Facts {
            paths: Paths::below(root),
            cores: 2,
            memory_bytes: 1 << 34,
            program: vec![1],
            image: None,
            log_user: LogUser::Root,
        };
        let steps = plan(&facts, &mut Rng::from_seed([7; 32]));
        for step in &steps {
            if let Goal::File(file) = &step.goal {
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
