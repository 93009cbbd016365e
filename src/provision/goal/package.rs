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

/// Runs apt until it gets the locks of its lists and archives, which it does not wait for itself.
const UNTIL_LOCKED: &str = "n=0; while :; do out=$(\"$@\" 2>&1); code=$?; \
    case \"$code $out\" in *\"Could not get lock\"*) n=$((n+1)); [ $n -lt $0 ] || break; sleep 1;; \
    *) break;; esac; done; printf \"%s\\n\" \"$out\"; exit $code";

/// `apt-get`, told to ask nothing and to wait for its locks. It comes to its end in any case.
pub(crate) fn apt<const N: usize>(arguments: [&str; N]) -> Command {
    let seconds = PROVISION_APT_LOCK_WAIT.as_secs();
    let lock = format!("DPkg::Lock::Timeout={seconds}");
    let mut command = Command::new("sh", ["-c", UNTIL_LOCKED, &seconds.to_string()])
        .with(["apt-get", "--option", &lock])
        .with(["--option", "Dpkg::Options::=--force-confdef"])
        .with(["--option", "Dpkg::Options::=--force-confold"])
        .with(arguments);
    command.is_wrapped = true;
    whole(command)
}

/// A call of apt or dpkg that asks nothing and comes to its own end.
pub(crate) fn whole(mut command: Command) -> Command {
    command.is_whole = true;
    command = command.within(PROVISION_APT_TIMEOUT);
    command.environment.push(("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned()));
    // Restarting what uses a replaced library is for whoever installs, not for a question.
    command.environment.push(("NEEDRESTART_MODE".to_owned(), "l".to_owned()));
    command
}

/// Prints the packages that dpkg was interrupted at.
pub(crate) const INTERRUPTED: &str = r#"dpkg-query -W -f "\${db:Status-Abbrev} \${Package}\n" |
    sed -n "s/^.[HUFWt]. *//p; s/^..R *//p""#;

/// Has dpkg finish that, and fetches packages again whose files are in no order.
pub(crate) const FINISH: &str = r#"dpkg --force-confdef --force-confold --configure -a
    again=$(dpkg-query -W -f "\${db:Status-Abbrev} \${Package}\n" | sed -n "s/^..R *//p")
    [ -z "$again" ] || { apt-get update -qq; apt-get install --reinstall --yes -qq $again; }
    exec apt-get install --fix-broken --yes -qq"#;

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
            assert!(command.to_string().starts_with("apt-get "), "{command}");
            assert!(command.to_string().ends_with(&format!("--no-install-recommends {wanted}")));
            assert!(command.to_string().contains("DPkg::Lock::Timeout=600"));
        }
    }
}
