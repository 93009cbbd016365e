//! What a session wants of a person, as its agent tells it.

use serde::{Deserialize, Serialize};

use crate::base::text::is_plain;
use crate::base::time::Wall;
use crate::limits::{ATTENTION_REASON_BYTES_MAX, ATTENTION_SOURCE_BYTES_MAX};

/// What is known of the program inside of a session, in one word and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    pub(crate) state: AttentionState,
    /// In a few words, one line; empty if there is nothing to add.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// Who said so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) source: String,
    /// Since when it is so, by the agent's clock.
    pub(crate) since: Wall,
}

/// One word of it. What a newer agent has beside these is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttentionState {
    /// It goes on by itself.
    Working,
    /// It waits for a person: a permission, a question, a menu.
    Waiting,
    /// A turn has ended, and nobody has looked since.
    Done,
    /// It has nothing to do.
    Idle,
    /// A program that tells its state is there, and what it tells cannot be believed.
    #[serde(other)]
    Unknown,
}

impl AttentionState {
    /// All words, in the order in which a person wants to see them.
    pub(crate) const ALL: [AttentionState; 5] = [
        AttentionState::Waiting,
        AttentionState::Done,
        AttentionState::Unknown,
        AttentionState::Working,
        AttentionState::Idle,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            AttentionState::Working => "working",
            AttentionState::Waiting => "waiting",
            AttentionState::Done => "done",
            AttentionState::Idle => "idle",
            AttentionState::Unknown => "unknown",
        }
    }

    /// `None` if it is none of the words.
    pub(crate) fn parse(word: &str) -> Option<AttentionState> {
        AttentionState::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Its place among [`AttentionState::ALL`].
    pub(crate) fn rank(self) -> usize {
        AttentionState::ALL.iter().position(|state| *state == self).unwrap_or_default()
    }
}

impl Attention {
    /// Whether an agent's words may be kept and shown.
    pub(crate) fn check(&self) -> bool {
        is_plain(&self.reason, ATTENTION_REASON_BYTES_MAX)
            && is_plain(&self.source, ATTENTION_SOURCE_BYTES_MAX)
    }

    /// The word, and the reason behind it if there is one.
    pub(crate) fn in_words(&self) -> String {
        match self.reason.as_str() {
            "" => self.state.as_str().to_owned(),
            reason => format!("{}: {reason}", self.state.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_later_is_unknown_and_no_word_is_lost() {
        let later = r#"{"state":"dreaming","since":"2026-11-28T05:00:00Z","more":1}"#;
        let read: Attention = serde_json::from_str(later).unwrap();
        assert_eq!(read.state, AttentionState::Unknown);
        for state in AttentionState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
            assert_eq!(AttentionState::parse(state.as_str()), Some(state));
        }
        assert_eq!(AttentionState::parse("Waiting"), None);
    }

    #[test]
    fn what_is_long_or_moves_a_cursor_is_refused() {
        let since = Wall::default();
        let of = |reason: &str, source: &str| Attention {
            state: AttentionState::Waiting,
            reason: reason.to_owned(),
            source: source.to_owned(),
            since,
        };
        assert!(of("permission prompt", "status file").check());
        assert!(!of("\u{1b}[2J", "").check() && !of("", "a\nb").check());
        assert!(!of(&"x".repeat(ATTENTION_REASON_BYTES_MAX + 1), "").check());
        assert!(!of("", &"x".repeat(ATTENTION_SOURCE_BYTES_MAX + 1)).check());
    }
}
