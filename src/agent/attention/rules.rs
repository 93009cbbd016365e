//! What the words of the Claude CLI's status file mean: a table of data, which the operator can
//! replace by `attention.conf` without a new release.
//!
//! A line of it has a word and what it means, with a reason behind that: `shell working a command
//! runs behind it`. `idle done` says that a turn has ended; where none was seen, it is idle.

use crate::base::settings;
use crate::limits::{ATTENTION_REASON_CHARS_MAX, ATTENTION_RULES_MAX, STATUS_WORD_BYTES_MAX};
use crate::rpc::attention::AttentionState;
use crate::rpc::field::shown;

/// Found with version 2.1.332. Of a word that is not here, nothing is believed.
const OURS: &str = "\
# word = what it means, and why
busy    = working
shell   = working a background command runs
waiting = waiting
idle    = done
";

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    word: String,
    pub(super) state: AttentionState,
    /// The reason, where the program gives none.
    pub(super) reason: String,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules::read(OURS).expect("our own rules are read by a test")
    }
}

impl Rules {
    /// Reads the rules of a file, which stand in the place of ours.
    ///
    /// # Errors
    /// One sentence that begins with the number of the line.
    pub(crate) fn read(text: &str) -> Result<Rules, String> {
        let mut rules = Vec::new();
        settings::read(
            text,
            |_| settings::Rule::default(),
            |word, value| {
                rules.push(rule(word, value)?);
                match rules.len() <= ATTENTION_RULES_MAX {
                    true => Ok(()),
                    false => Err(format!("there are more than {ATTENTION_RULES_MAX} rules")),
                }
            },
        )?;
        Ok(Rules(rules))
    }

    pub(super) fn of(&self, word: &str) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.word == word)
    }
}

fn rule(word: &str, value: &str) -> Result<Rule, String> {
    let (name, reason) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
    let Some(state) = AttentionState::parse(name) else {
        let known = AttentionState::ALL.map(AttentionState::as_str).join(", ");
        return Err(format!("{} is none of {known}", shown(name)));
    };
    if word.len() > STATUS_WORD_BYTES_MAX || reason.chars().count() > ATTENTION_REASON_CHARS_MAX {
        return Err("it is longer than what is kept".to_owned());
    }
    Ok(Rule { word: word.to_owned(), state, reason: reason.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_rules_know_every_word_of_the_program() {
        let rules = Rules::default();
        for (word, state) in [
            ("busy", AttentionState::Working),
            ("shell", AttentionState::Working),
            ("waiting", AttentionState::Waiting),
            ("idle", AttentionState::Done),
        ] {
            assert_eq!(rules.of(word).map(|rule| rule.state), Some(state), "{word}");
        }
        assert_eq!(rules.of("shell").unwrap().reason, "a background command runs");
        assert_eq!(rules.of("Busy"), None);
    }

    #[test]
    fn a_file_stands_in_the_place_of_ours() {
        let rules = Rules::read("# none\nparked = idle\nshell waiting look at it\n").unwrap();
        assert_eq!(rules.of("busy"), None);
        assert_eq!(rules.of("parked").map(|rule| rule.state), Some(AttentionState::Idle));
        assert_eq!(rules.of("shell").unwrap().reason, "look at it");
        for (text, why) in [
            (
                "busy sleeping",
                "line 1: \"sleeping\" is none of waiting, done, unknown, working, idle",
            ),
            ("\nbusy", "line 2: \"\" is none of waiting, done, unknown, working, idle"),
            ("a idle\na done", "line 2: a stands here a second time"),
        ] {
            assert_eq!(Rules::read(text), Err(why.to_owned()));
        }
        let many: String = (0..=ATTENTION_RULES_MAX).map(|at| format!("w{at} idle\n")).collect();
        assert!(Rules::read(&many).is_err());
        assert!(Rules::read(&format!("a idle {}", "x".repeat(999))).is_err());
    }
}
