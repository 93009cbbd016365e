//! The plan of a shell host: what `convocate install` makes hold.
//!
//! Below another root, for one user and without root's rights, only what lies there: directories,
//! the status listener's key, who may push.

use crate::base::rng::Rng;
use crate::paths::{CONFIG_DIR, Owner, Paths, SHARED_STATE_DIR, STATE_DIR, STATUS_UNIT};
use crate::provision::goal::account::Shell;
use crate::provision::goal::file::Content;
use crate::provision::goal::image::Image;
use crate::provision::plan::log_user::LogUser;
use crate::provision::plan::parts::{
    account, authorized_keys, directory, docker, drop_in, file, key, program, systemd, unit,
};
use crate::provision::plan::units::{DNSMASQ, STATUS_SERVICE};
use crate::provision::step::Step;

/// What the plan depends on.
#[derive(Clone, Debug)]
pub(crate) struct ShellHostFacts {
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
pub(crate) fn plan(facts: &ShellHostFacts, rng: &mut Rng) -> Vec<Step> {
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
    let unit_path = paths.unit(STATUS_UNIT);
    steps.push(drop_in(paths, "unit of the status listener", &unit_path, STATUS_SERVICE));
    // Restarted when something that it reads only at its start is newer.
    let made_from = vec![unit_path, paths.program("convocate"), paths.status_host_key()];
    steps.push(unit(STATUS_UNIT, made_from));
    steps
}

fn own_files(paths: &Paths, log_user: &LogUser, rng: &mut Rng) -> Vec<Step> {
    vec![
        directory(paths, &paths.shell_config(), log_user.config_dir()),
        directory(paths, &paths.agent_keys(), CONFIG_DIR),
        directory(paths, &paths.shell_state(), SHARED_STATE_DIR),
        key(paths, "status host key", &paths.status_host_key(), "status host key", rng),
        authorized_keys(paths, "who may tell", &paths.status_authorized_keys()),
    ]
}

/// sshd and others let in only users whose shell is on the list.
fn login_shells(paths: &Paths, shell: &str) -> Step {
    let content = Content::Line { line: shell.to_owned(), instead_of: None };
    file(paths, "list of login shells", &paths.login_shells(), content, (Owner::Root, 0o644))
}

fn dnsmasq(paths: &Paths) -> [Step; 2] {
    let path = paths.dnsmasq_drop_in();
    [
        drop_in(paths, "names of sessions for dnsmasq", &path, DNSMASQ),
        unit("dnsmasq.service", vec![path]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::goal::file::File;

    fn names(root: &str, has_dnsmasq: bool) -> Vec<String> {
        let paths = Paths::below(root);
        let log_user = LogUser::Root;
        let facts = ShellHostFacts { paths, program: vec![1], image: None, has_dnsmasq, log_user };
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
