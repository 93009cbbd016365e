//! What a session's repository is like, as its agent tells it.

use serde::{Deserialize, Serialize};

use crate::base::text::is_plain;
use crate::base::time::Wall;
use crate::limits::REPOSITORY_BRANCH_BYTES_MAX;

/// The state of a working tree when somebody looked last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// The branch that is checked out; the start of the commit's id where there is none.
    pub(crate) branch: String,
    /// Commits that its upstream lacks; without an upstream, those since the session began.
    #[serde(default)]
    pub(crate) ahead: u32,
    /// Files that are changed and not committed, with those that git does not follow.
    #[serde(default)]
    pub(crate) dirty: u32,
    /// When it was looked at, by the agent's clock.
    pub(crate) seen_at: Wall,
}

impl Repository {
    /// Whether an agent's words may be kept and shown.
    pub(crate) fn check(&self) -> bool {
        is_plain(&self.branch, REPOSITORY_BRANCH_BYTES_MAX)
    }

    /// Whether it says the same, whenever it was seen.
    pub(crate) fn is_like(&self, other: &Repository) -> bool {
        (&self.branch, self.ahead, self.dirty) == (&other.branch, other.ahead, other.dirty)
    }

    /// For a column: `main +2 *3`.
    pub(crate) fn in_short(&self) -> String {
        let mut text = self.branch.clone();
        if self.ahead > 0 {
            text.push_str(&format!(" +{}", self.ahead));
        }
        if self.dirty > 0 {
            text.push_str(&format!(" *{}", self.dirty));
        }
        text
    }

    /// For a sentence: `main, 2 commits ahead, 3 files changed`.
    pub(crate) fn in_words(&self) -> String {
        let mut text = self.branch.clone();
        for (count, one, many) in [
            (self.ahead, "commit ahead", "commits ahead"),
            (self.dirty, "file changed", "files changed"),
        ] {
            match count {
                0 => {}
                1 => text.push_str(&format!(", 1 {one}")),
                _ => text.push_str(&format!(", {count} {many}")),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(branch: &str, ahead: u32, dirty: u32) -> Repository {
        Repository { branch: branch.to_owned(), ahead, dirty, seen_at: Wall::default() }
    }

    #[test]
    fn words_have_what_there_is() {
        for (one, short, words) in [
            (of("main", 0, 0), "main", "main"),
            (of("fix", 1, 2), "fix +1 *2", "fix, 1 commit ahead, 2 files changed"),
            (of("x", 3, 1), "x +3 *1", "x, 3 commits ahead, 1 file changed"),
        ] {
            assert_eq!((one.in_short().as_str(), one.in_words().as_str()), (short, words));
        }
    }

    #[test]
    fn a_branch_that_moves_a_cursor_is_refused() {
        assert!(of("main", 0, 0).check());
        assert!(!of("a\u{1b}[2J", 0, 0).check());
        assert!(!of(&"x".repeat(REPOSITORY_BRANCH_BYTES_MAX + 1), 0, 0).check());
    }
}
