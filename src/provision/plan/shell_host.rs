//! The plan of a shell host: what `convocate install` makes hold.
//!
//! Below another root, for one user and without root's rights, only what lies there: directories,
//! the status listener's key, who may push.

use crate::base::rng::Rng;
use crate::paths::{
    CONFIG_DIR, Owner, PUBLIC_FILE, Paths, SHARED_STATE_DIR, STATE_DIR, STATUS_UNIT,
};
use crate::provision::goal::account::Shell;
use crate::provision::goal::file::Content;
use crate::provision::goal::image::Image;
use crate::provision::goal::unit::Unit;
use crate::provision::logs::user::LogUser;
use crate::provision::plan::agent_host::{
    account, directory, docker, file, key, once, program, systemd,
};
use crate::provision::plan::units::{DNSMASQ, MARK, STATUS_SERVICE};
use crate::provision::step::Step;

/// What the plan depends on.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) paths: Paths,
    /// The program, to be put in its place.
    pub(crate) program: Vec<u8>,
    /// The session image that agents are given; none where there is no Docker to build it.
    pub(crate) image: Option<Image>,
    /// Whether dnsmasq is installed: without it the names of sessions do not resolve.
    pub(crate) has_dnsmasq: bool,
    /// As whom rsyslogd runs, which reads what stands below the configuration.
    pub(crate) log_user: LogUser,
}

/// All steps, in their order. What is made once is made from `rng`.
pub(crate) fn plan(facts: &Facts, rng: &mut Rng) -> Vec<Step> {
    let paths = &facts.paths;
    if !paths.is_system() {
        return own_files(paths, &facts.log_user, rng);
    }
    let mut steps = vec![systemd()];
    steps.extend(facts.image.is_some().then(docker));
    // First the shell, then the user whose login shell it is.
    steps.push(program(paths, "convocate", &facts.program));
    let path = paths.program("convocate").display().to_string();
    steps.push(login_shells(paths, &path));
    steps.extend(account(Shell::Is(path), false));
    steps.push(directory(paths, &paths.sessions(), STATE_DIR));
    steps.extend(own_files(paths, &facts.log_user, rng));
    if let Some(image) = &facts.image {
        steps.push(Step::new(format!("session image {}", image.tag), image.clone()));
    }
    if facts.has_dnsmasq {
        steps.extend(dnsmasq(paths));
    }
    let unit = Content::Text { text: STATUS_SERVICE.to_owned(), mark: MARK };
    let unit_path = paths.unit(STATUS_UNIT);
    steps.push(file(paths, "unit of the status listener", &unit_path, unit, PUBLIC_FILE));
    steps.push(Step::new(STATUS_UNIT, service(paths)));
    steps
}

/// The service, restarted when something that it reads only at its start is newer.
pub(crate) fn service(paths: &Paths) -> Unit {
    Unit {
        name: STATUS_UNIT.to_owned(),
        is_enabled: true,
        made_from: vec![
            paths.unit(STATUS_UNIT),
            paths.program("convocate"),
            paths.status_host_key(),
        ],
    }
}

fn own_files(paths: &Paths, log_user: &LogUser, rng: &mut Rng) -> Vec<Step> {
    let keys = paths.status_authorized_keys();
    let is_text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err("is no text".to_owned()),
    };
    vec![
        directory(paths, &paths.shell_config(), log_user.config_dir()),
        directory(paths, &paths.agent_keys(), CONFIG_DIR),
        directory(paths, &paths.shell_state(), SHARED_STATE_DIR),
        key(paths, "status host key", &paths.status_host_key(), "status host key", rng),
        once(paths, "who may tell", &keys, Vec::new(), PUBLIC_FILE, is_text),
    ]
}

/// sshd and others let in only users whose shell is on the list.
fn login_shells(paths: &Paths, shell: &str) -> Step {
    let content = Content::Line { line: shell.to_owned(), instead_of: None };
    file(paths, "list of login shells", &paths.login_shells(), content, (Owner::Root, 0o644))
}

fn dnsmasq(paths: &Paths) -> [Step; 2] {
    let path = paths.dnsmasq_drop_in();
    let content = Content::Text { text: DNSMASQ.to_owned(), mark: MARK };
    let name = "dnsmasq.service".to_owned();
    let unit = Unit { name, is_enabled: true, made_from: vec![path.clone()] };
    [
        file(paths, "names of sessions for dnsmasq", &path, content, PUBLIC_FILE),
        Step::new("dnsmasq.service", unit),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::step::Goal;

    fn names(root: &str, has_dnsmasq: bool) -> Vec<String> {
        let paths = Paths::below(root);
        let log_user = LogUser::Root;
        let facts = Facts { paths, program: vec![1], image: None, has_dnsmasq, log_user };
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
    fn the_login_shell_is_there_before_its_user() {
        let steps = names("/", true);
        let place = |name: &str| steps.iter().position(|step| step.starts_with(name));
        assert!(place("program ") < place("user claude"), "{steps:?}");
        assert!(place("names of sessions") < place("dnsmasq.service"), "{steps:?}");
        assert_eq!(steps.last().map(String::as_str), Some(STATUS_UNIT));
        assert_eq!(names("/", false).len(), steps.len() - 2);
        assert_eq!(names("/tmp/x", true).len(), 5);
    }
}
