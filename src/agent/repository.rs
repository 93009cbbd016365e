//! What is known of a session's repository, and when it is looked at again. No input or output.
//!
//! The repository is the session's, and so is its configuration, which can name programs: so git
//! runs in the session, as its user, bounded in time and output, and never on the host. It is asked
//! after something has happened (the session has started, its attention has changed, a terminal has
//! come or gone, something was sent or run there), and not otherwise: an idle session is not woken.
//! What it answers is believed of its own row.

use std::time::Duration;

use super::work::{ExecPlan, Exited};
use crate::base::text::printable;
use crate::base::time::{Mono, Now};
use crate::base::uuid::Uuid;
use crate::limits::{
    EXEC_KILL_AFTER_SECONDS, EXEC_MARGIN, REPOSITORY_BRANCH_BYTES_MAX, REPOSITORY_LOOK_DELAY,
    REPOSITORY_LOOK_EVERY, REPOSITORY_LOOK_SHARE, REPOSITORY_OUTPUT_BYTES_MAX,
    REPOSITORY_SECONDS_MAX, REPOSITORY_TRIES_MAX,
};
use crate::rpc::env::SessionEnv;
use crate::rpc::repository::Repository;

const SCRIPT: &str = include_str!("repository/look.sh");

/// What is known of the repository of one session.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    told: Option<Repository>,
    /// When it is to be looked at, if something has happened.
    due: Option<Mono>,
    /// Not before this time.
    earliest: Mono,
    /// When the look that is under way began.
    began: Option<Mono>,
    /// How often nothing was found since the session has started.
    tries: u32,
}

impl Known {
    pub(super) fn told(&self) -> Option<&Repository> {
        self.told.as_ref()
    }

    /// Something has happened in the session, which has a repository.
    pub(super) fn stir(&mut self, now: Mono) {
        let at = (now + REPOSITORY_LOOK_DELAY).max(self.earliest);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// The session has started.
    pub(super) fn started(&mut self, now: Mono) {
        (self.tries, self.earliest) = (0, now);
        self.stir(now);
    }

    /// Nothing runs there any more. What was seen last stays so.
    pub(super) fn ended(&mut self) {
        (self.due, self.began) = (None, None);
    }

    /// When a look is due, unless one is under way.
    pub(super) fn due(&self) -> Option<Mono> {
        self.due.filter(|_| self.began.is_none())
    }

    /// A look has begun.
    pub(super) fn begin(&mut self, now: Mono) {
        (self.due, self.began) = (None, Some(now));
    }

    /// A look has ended. Returns whether there is something new to tell.
    pub(super) fn saw(&mut self, now: Now, exited: Option<&Exited>) -> bool {
        let Some(began) = self.began.take() else { return false };
        let took = now.mono.since(began);
        self.earliest = now.mono + (took * REPOSITORY_LOOK_SHARE).max(REPOSITORY_LOOK_EVERY);
        self.due = self.due.map(|due| due.max(self.earliest));
        let Some(found) = exited.and_then(|exited| parse(now, exited)) else {
            if self.told.is_none() && self.tries < REPOSITORY_TRIES_MAX {
                let wait = REPOSITORY_LOOK_DELAY * (1 << self.tries);
                self.tries += 1;
                self.due = Some(now.mono + wait.max(took * REPOSITORY_LOOK_SHARE));
            }
            return false;
        };
        let is_new = self.told.as_ref().is_none_or(|told| !told.is_like(&found));
        self.told = Some(found);
        is_new
    }
}

/// What is to run in a session whose repository is in this directory of its home.
pub(super) fn plan(id: Uuid, uid: Option<u32>, directory: &str) -> ExecPlan {
    let (seconds, kill_after) =
        (REPOSITORY_SECONDS_MAX.to_string(), EXEC_KILL_AFTER_SECONDS.to_string());
    let words = ["timeout", "-k", &kill_after, &seconds, "sh", "-c", SCRIPT, "look", directory];
    ExecPlan {
        id,
        uid,
        argv: words.map(str::to_owned).to_vec(),
        env: Vec::new(),
        session_env: SessionEnv::default(),
        output_bytes_max: REPOSITORY_OUTPUT_BYTES_MAX,
        patience: Duration::from_secs((REPOSITORY_SECONDS_MAX + EXEC_KILL_AFTER_SECONDS).into())
            + EXEC_MARGIN,
    }
}

/// What [`SCRIPT`] has printed: lines of `git status --porcelain=v2 --branch`, how many lines there
/// were in all, and how many commits there are since the session began.
fn parse(now: Now, exited: &Exited) -> Option<Repository> {
    if exited.status != 0 || exited.output.is_cut {
        return None;
    }
    let text = String::from_utf8_lossy(&exited.output.bytes);
    let (mut head, mut oid, mut ahead) = (None, "", None);
    let (mut headers, mut lines, mut since) = (0_u32, None, 0);
    for line in text.lines() {
        let (name, value) = line.rsplit_once(' ').unwrap_or(("", line));
        headers += u32::from(line.starts_with("# branch."));
        match name {
            "# branch.oid" => oid = value,
            "# branch.head" => head = Some(value),
            "" => lines = value.parse().ok(),
            "since" => since = value.parse().unwrap_or(0),
            name if name.starts_with("# branch.ab ") => {
                ahead = name.rsplit_once('+').and_then(|(_, count)| count.parse().ok());
            }
            _ => {}
        }
    }
    let branch = match head? {
        "(detached)" => oid.get(..8)?,
        head => head,
    };
    let branch = printable(branch);
    let dirty = u32::saturating_sub(lines?, headers);
    let is_fit = !branch.is_empty() && branch.len() <= REPOSITORY_BRANCH_BYTES_MAX;
    is_fit.then(|| Repository {
        branch: branch.into_owned(),
        ahead: ahead.unwrap_or(since),
        dirty,
        seen_at: now.wall,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::collected::Collected;
    use crate::base::time::Wall;

    fn at(seconds: u64) -> Now {
        let wall = Wall::new(i64::try_from(seconds).unwrap(), 0);
        Now { mono: Mono::ZERO + Duration::from_secs(seconds), wall }
    }

    fn exited(status: i32, text: &str) -> Exited {
        let output = Collected { bytes: text.as_bytes().to_vec(), is_cut: false };
        Exited { status, output, errors: Collected::default() }
    }

    const STATUS: &str = "# branch.oid 0123456789abcdef\n# branch.head main\n\
        # branch.upstream origin/main\n# branch.ab +2 -7\n7\nsince 5\n";

    #[test]
    fn what_git_says_is_a_branch_and_two_numbers() {
        for (text, short) in [
            (STATUS, "main +2 *3"),
            ("# branch.oid (initial)\n# branch.head main\n2\nsince \n", "main"),
            ("# branch.oid 0123456789\n# branch.head fix-1\n3\nsince 4\n", "fix-1 +4 *1"),
            ("# branch.oid 0123456789\n# branch.head (detached)\n2\n", "01234567"),
            ("# branch.oid x\n# branch.head a\u{1b}b\n2\n", "a\\u{1b}b"),
            // A number that is none, or is too large for one.
            ("# branch.head a\n# branch.ab +99999999999 -1\n1\n", "a"),
        ] {
            let seen = parse(at(1), &exited(0, text)).map(|seen| seen.in_short());
            assert_eq!(seen.as_deref(), Some(short), "{text:?}");
        }
        let long = format!("# branch.head {}\n1\n", "x".repeat(5000));
        for text in ["", "1\n", "# branch.head main\n", "\u{fffd}\n", long.as_str()] {
            assert_eq!(parse(at(1), &exited(0, text)), None, "{text:?}");
        }
        assert_eq!(parse(at(1), &exited(3, STATUS)), None);
    }

    #[test]
    fn each_cut_and_each_changed_byte_is_read_or_refused() {
        for cut in 0..STATUS.len() {
            let _ = parse(at(1), &exited(0, &STATUS[..cut]));
            let mut bytes = STATUS.as_bytes().to_vec();
            bytes[cut] ^= 0x80;
            let output = Collected { bytes, is_cut: false };
            let seen = parse(at(1), &Exited { status: 0, output, errors: Collected::default() });
            assert!(seen.is_none_or(|seen| seen.check()), "{cut}");
        }
    }

    #[test]
    fn it_is_looked_at_after_something_has_happened_and_at_a_pace() {
        let mut known = Known::default();
        assert_eq!(known.due(), None);
        known.started(at(0).mono);
        assert_eq!(known.due(), Some(at(1).mono));
        known.begin(at(1).mono);
        assert_eq!(known.due(), None);
        // What happens meanwhile is seen by a look of its own.
        known.stir(at(1).mono);
        assert!(known.saw(at(1), Some(&exited(0, STATUS))));
        assert_eq!(known.due(), Some(at(6).mono));
        known.begin(at(6).mono);
        assert!(!known.saw(at(7), Some(&exited(0, STATUS))), "it is as it was");
        assert_eq!(known.told().map(|told| told.seen_at), Some(at(7).wall));
        assert_eq!(known.due(), None, "nothing has happened");
        known.stir(at(20).mono);
        assert_eq!(known.due(), Some(at(57).mono), "a look of a second has its price");
        known.ended();
        assert_eq!(known.due(), None);
        assert!(known.told().is_some());
    }

    #[test]
    fn what_is_not_there_yet_is_looked_for_and_not_for_ever() {
        let mut known = Known::default();
        known.started(at(0).mono);
        let mut looks = 0;
        while let Some(due) = known.due() {
            known.begin(due);
            let now = Now { mono: due, wall: Wall::default() };
            assert!(!known.saw(now, Some(&exited(3, ""))));
            looks += 1;
        }
        assert_eq!(looks, REPOSITORY_TRIES_MAX + 1);
        // Nor is one that has no git asked again by itself.
        known.stir(at(9000).mono);
        known.begin(at(9001).mono);
        assert!(!known.saw(at(9001), None));
        assert_eq!(known.due(), None);
    }

    #[test]
    fn a_shell_reads_the_script() {
        let check = std::process::Command::new("sh").args(["-n", "-c", SCRIPT]).status();
        assert!(check.unwrap().success());
    }
}
