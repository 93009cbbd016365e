//! Goal: packages of the distribution, by apt.
//!
//! apt asks nothing, keeps configuration that somebody has changed, and waits for whoever holds
//! dpkg's lock: a fresh machine updates itself in its first minutes.

use crate::limits::{PROVISION_APT_LOCK_WAIT, PROVISION_APT_TIMEOUT};
use crate::provision::order::{Answer, Command, Question};
use crate::provision::step::{Change, Goal, StepVerdict};

/// Packages that are to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packages(pub(crate) Vec<String>);

impl Goal for Packages {
    fn questions(&self) -> Vec<Question> {
        let command = Command::new("dpkg-query", ["--show"]);
        let command = command.with(["--showformat", "${Package} ${db:Status-Abbrev}\\n"]);
        vec![Question::Run(command.with(&self.0))]
    }

    /// `dpkg-query` ends with status 1 if it does not know one of them, and tells of the others.
    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let [Answer::Ran(ran)] = answers else { return StepVerdict::mismatch() };
        let is_installed = |name: &str| {
            let mut lines = ran.output.lines().filter_map(|line| line.split_once(' '));
            lines.any(|(found, status)| found == name && status.starts_with("ii"))
        };
        let missing: Vec<&str> =
            self.0.iter().map(String::as_str).filter(|name| !is_installed(name)).collect();
        if missing.is_empty() {
            return StepVerdict::Holds;
        }
        let mut change = Change::default();
        change.run("fetch the lists of packages", apt(["update", "--quiet"]));
        let install = apt(["install", "--yes", "--quiet", "--no-install-recommends"]);
        change.run(format!("install {}", missing.join(" ")), install.with(missing));
        StepVerdict::Differs(change)
    }
}

impl Packages {
    pub(crate) fn new<const N: usize>(names: [&str; N]) -> Packages {
        Packages(names.map(str::to_owned).to_vec())
    }
}

/// `apt-get`, told to ask nothing and to wait for its lock.
pub(crate) fn apt<const N: usize>(arguments: [&str; N]) -> Command {
    let lock = format!("DPkg::Lock::Timeout={}", PROVISION_APT_LOCK_WAIT.as_secs());
    let mut command = Command::new("apt-get", ["--option", &lock])
        .with(["--option", "Dpkg::Options::=--force-confdef"])
        .with(["--option", "Dpkg::Options::=--force-confold"])
        .with(arguments)
        .within(PROVISION_APT_TIMEOUT);
    command.environment.push(("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned()));
    // Restarting what uses a replaced library is for whoever installs, not for a question.
    command.environment.push(("NEEDRESTART_MODE".to_owned(), "l".to_owned()));
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::goal::testing::ran;
    use crate::provision::order::Action;

    fn judged(output: &str) -> StepVerdict {
        Packages::new(["jq", "git"]).judge(&[ran(1, output)])
    }

    #[test]
    fn only_what_is_missing_is_installed() {
        assert_eq!(judged("jq ii \ngit ii \n"), StepVerdict::Holds);
        for (output, wanted) in [("", "jq git"), ("git ii \njq rc \n", "jq"), ("jq ii \n", "git")] {
            let StepVerdict::Differs(change) = judged(output) else { panic!("{output:?} holds") };
            assert_eq!(change.effects[1], format!("install {wanted}"));
            let Some(Action::Run(command)) = change.actions.last() else { panic!("no command") };
            assert!(command.to_string().ends_with(&format!("--no-install-recommends {wanted}")));
            assert!(command.to_string().contains("DPkg::Lock::Timeout=600"));
        }
    }
}
