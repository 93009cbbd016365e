//! Steps that several plans have.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::base::rng::Rng;
use crate::docker::call;
use crate::paths::{Owner, PUBLIC_FILE, Paths, SERVICE_KEY, SERVICE_USER, SERVICE_USER_ID};
use crate::provision::goal::account::{Group, Shell, User};
use crate::provision::goal::condition::{Check, Condition};
use crate::provision::goal::file::{Content, Directory, File};
use crate::provision::goal::firewall::Rule;
use crate::provision::goal::guarded::{Expect, GuardedCommands};
use crate::provision::goal::package::Packages;
use crate::provision::goal::unit::Unit;
use crate::provision::order::{Access, Account, Command, Entry};
use crate::provision::plan::units::MARK;
use crate::provision::step::Step;
use crate::ssh::keys::KeyPair;

/// How each certificate's file begins.
const CERTIFICATE_MARK: &str = "-----BEGIN CERTIFICATE-----";

// --- conditions ---

/// Something that must hold already. The advice is one sentence.
pub(crate) fn condition(name: impl Into<String>, check: Check, advice: impl Into<String>) -> Step {
    Step::new(name, Condition { check, advice: advice.into() })
}

pub(crate) fn systemd() -> Step {
    let is_running = |entry: &Entry| match entry {
        Entry::Directory(_) => None,
        _ => Some("systemd does not run this machine".to_owned()),
    };
    let check = Check::Path(PathBuf::from("/run/systemd/system"), is_running);
    condition(
        "systemd",
        check,
        "a host of a cluster needs it; to try convocate out: convocate demo",
    )
}

/// The Docker Engine answers.
pub(crate) fn docker() -> Step {
    let check = Check::Docker(call::version(), |response| {
        (response.status != 200).then(|| format!("docker: {}", response.status))
    });
    let advice = "install it (apt-get install docker.io) or start it (systemctl start docker)";
    condition("docker", check, advice)
}

/// The Docker Engine has a session image.
pub(crate) fn has_image(tag: &str, advice: &str) -> Step {
    let check = Check::Docker(call::image_inspect(tag), |response| {
        (response.status != 200).then(|| "the Docker engine does not have it".to_owned())
    });
    condition(format!("session image {tag}"), check, advice)
}

// --- programs and units ---

/// Commands that run only if `guard` does not say what is expected.
pub(crate) fn guarded(
    name: impl Into<String>,
    guard: Command,
    expect: Expect,
    effect: impl Into<String>,
    commands: Vec<Command>,
) -> Step {
    Step::new(name, GuardedCommands { guard, expect, effect: effect.into(), commands })
}

/// A unit that starts at boot, restarted when one of these files is newer than its start.
pub(crate) fn unit(name: &str, made_from: Vec<PathBuf>) -> Step {
    Step::new(name, Unit { name: name.to_owned(), is_enabled: true, made_from })
}

/// systemd has read the file of a unit: for one that only another unit starts, and that no other
/// step looks at.
pub(crate) fn read_by_systemd(name: &str) -> Step {
    guarded(
        name,
        Command::new("systemctl", ["show", "--property", "NeedDaemonReload", "--value", name]),
        Expect::Output("no".to_owned()),
        "let systemd read its units again",
        vec![Command::new("systemctl", ["daemon-reload"])],
    )
}

/// rsyslog, restarted when one of these files is newer.
pub(crate) fn rsyslog(made_from: Vec<PathBuf>) -> Step {
    unit("rsyslog.service", made_from)
}

/// What logs need of the distribution.
pub(crate) fn log_packages() -> Packages {
    Packages::new(["rsyslog", "rsyslog-gnutls", "logrotate"])
}

/// The firewall lets this port in.
pub(crate) fn open_port(port: u16) -> Step {
    Step::new(format!("ufw allow {port}/tcp"), Rule(format!("{port}/tcp")))
}

/// The user that the services run as, and its group.
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

// --- files ---

/// Owner and mode. Below a root other than `/` everything belongs to whoever runs this.
pub(crate) fn access(paths: &Paths, (owner, mode): (Owner, u32)) -> Access {
    let account = |user: &str, group: &str| Account { user: user.into(), group: group.into() };
    let owner = match owner {
        Owner::Root => account("root", "root"),
        Owner::RootClaude => account("root", SERVICE_USER),
        Owner::Claude => account(SERVICE_USER, SERVICE_USER),
    };
    Access { owner: paths.is_system().then_some(owner), mode }
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

/// A text of ours, which begins with [`MARK`], in a directory of the system. Anybody may read it.
pub(crate) fn drop_in(paths: &Paths, name: &str, path: &Path, text: impl Into<String>) -> Step {
    file(paths, name, path, Content::Text { text: text.into(), mark: MARK }, PUBLIC_FILE)
}

/// One of our programs, where the system's programs are.
pub(crate) fn program(paths: &Paths, name: &str, bytes: &[u8]) -> Step {
    let path = paths.program(name);
    let content = Content::Binary(bytes.to_vec());
    file(paths, &format!("program {}", path.display()), &path, content, (Owner::Root, 0o755))
}

/// A file that is made once and then kept, if `check` accepts it.
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

/// A file of authorized keys, which begins empty.
pub(crate) fn authorized_keys(paths: &Paths, name: &str, path: &Path) -> Step {
    once(paths, name, path, Vec::new(), PUBLIC_FILE, |bytes| match std::str::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err("is no text".to_owned()),
    })
}

/// A private key that a service reads, made here and once.
pub(crate) fn key(paths: &Paths, name: &str, path: &Path, comment: &str, rng: &mut Rng) -> Step {
    let pair = KeyPair::from_seed(rng.bytes());
    let text = pair.to_openssh(comment, rng.below(u32::MAX));
    // Below another root the service is the user: nobody else reads the key.
    let right = if paths.is_system() { SERVICE_KEY } else { (SERVICE_KEY.0, 0o600) };
    once(paths, name, path, text.as_bytes().to_vec(), right, |bytes| {
        KeyPair::parse_openssh(bytes).map(drop).map_err(|error| format!("is unfit: {error}"))
    })
}

/// A certificate, which anybody may read.
pub(crate) fn certificate(paths: &Paths, name: &str, path: &Path, text: String) -> Step {
    file(paths, name, path, Content::Text { text, mark: CERTIFICATE_MARK }, PUBLIC_FILE)
}

/// A file whose content is never shown.
pub(crate) fn secret(name: &str, path: &Path, bytes: &[u8], access: Access) -> Step {
    let content = Content::Secret(Zeroizing::new(bytes.to_vec()));
    Step::new(name, File { path: path.to_owned(), content, access })
}
