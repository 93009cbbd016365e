//! Goal: the distribution's packages are as new as its sources have them.
//!
//! Only apt knows, so it is asked what it would do. Its lists are fetched anew when they are older
//! than the plan allows; whether they were is told by a file that is written when they have been.

use std::path::PathBuf;

use crate::limits::PROVISION_OUTPUT_LINES_SHOWN;
use crate::provision::goal::package::apt;
use crate::provision::order::{Answer, Command, Entry, Question};
use crate::provision::step::{Change, Goal, StepFailure, StepVerdict};

/// No package has a newer version in its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upgrade {
    /// Lists that were fetched after this time are new enough, in seconds since 1970.
    pub(crate) lists_after: i64,
}

/// Written each time when the lists have been fetched.
pub(crate) const STAMP: &str = "/var/lib/apt/convocate-lists-fetched";

impl Goal for Upgrade {
    fn questions(&self) -> Vec<Question> {
        let would = Command::new("apt-get", ["--simulate", "--quiet", "dist-upgrade"]);
        vec![Question::Look(PathBuf::from(STAMP)), Question::Run(would)]
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let [Answer::Looked(stamp), Answer::Ran(ran)] = answers else {
            return StepVerdict::mismatch();
        };
        if !ran.is_success() {
            let what = format!("apt-get --simulate dist-upgrade {}", ran.end);
            let output = ran.last_lines(PROVISION_OUTPUT_LINES_SHOWN);
            let advice = "mend the packages first: apt-get --fix-broken install".to_owned();
            return StepVerdict::Refused(StepFailure { what, output, advice });
        }
        let is_fresh = match stamp {
            Entry::File { seen, .. } => seen.changed_at.seconds() >= self.lists_after,
            _ => false,
        };
        let newer = ran.output.lines().filter(|line| line.starts_with("Inst ")).count();
        let mut change = Change::default();
        if !is_fresh {
            change.run("fetch the lists of packages", apt(["update", "--quiet"]));
        }
        if newer > 0 || !is_fresh {
            let effect = match newer {
                0 => "upgrade what the new lists name".to_owned(),
                _ if is_fresh => format!("upgrade {newer} packages"),
                _ => format!("upgrade {newer} packages, and what the new lists name"),
            };
            change.run(effect, apt(["dist-upgrade", "--yes", "--quiet"]));
        }
        if !is_fresh {
            change
                .actions
                .push(crate::provision::order::Action::Run(Command::new("touch", [STAMP])));
        }
        StepVerdict::of(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Wall;
    use crate::provision::goal::testing::{effects, ran, seen};

    fn judged(stamp: Option<i64>, code: i32, output: &str) -> StepVerdict {
        let entry = stamp.map_or(Entry::Missing, |seconds| {
            let seen = seen(0o644, Wall::new(seconds, 0));
            Entry::File { bytes: Vec::new(), seen }
        });
        Upgrade { lists_after: 100 }.judge(&[Answer::Looked(entry), ran(code, output)])
    }

    #[test]
    fn fresh_lists_and_nothing_newer_is_all_that_holds() {
        assert_eq!(judged(Some(100), 0, "Reading\n"), StepVerdict::Holds);
        let newer = "Inst bash [5.1] (5.2 Debian)\nConf bash (5.2 Debian)\n";
        assert_eq!(effects(judged(Some(100), 0, newer)), ["upgrade 1 packages"]);
        let wanted = ["fetch the lists of packages", "upgrade what the new lists name"];
        assert_eq!(effects(judged(Some(99), 0, "")), wanted);
        assert_eq!(effects(judged(None, 0, "")), wanted);
        let both = "upgrade 1 packages, and what the new lists name";
        assert_eq!(effects(judged(None, 0, newer))[1], both);
        let broken = effects(judged(Some(100), 100, ""));
        assert!(broken[0].starts_with("apt-get --simulate dist-upgrade"), "{broken:?}");
    }
}
