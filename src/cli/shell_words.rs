//! The words of one command line, as sshd passes it to a login shell: `-c "ls --json"`.
//!
//! Blanks separate words, quotes and backslashes keep them together, and that is all: nothing is
//! expanded or run, and no other character has a meaning.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WordsError {
    /// The line ends inside this kind of quote.
    OpenQuote(char),
    /// The line ends with a backslash.
    OpenBackslash,
}

impl fmt::Display for WordsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WordsError::OpenQuote(quote) => write!(out, "the quote {quote} is not closed"),
            WordsError::OpenBackslash => out.write_str("the last backslash escapes nothing"),
        }
    }
}

impl std::error::Error for WordsError {}

#[derive(Clone, Copy)]
enum Quote {
    None,
    Single,
    Double,
}

/// Splits a command line. `''` is a word; inside `'…'` everything is literal, inside `"…"` a
/// backslash keeps its meaning before `"` and `\` only.
///
/// # Errors
/// [`WordsError`]
pub(crate) fn split(line: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = Quote::None;
    let mut signs = line.chars().peekable();
    while let Some(sign) = signs.next() {
        match (quote, sign) {
            (Quote::None, ' ' | '\t' | '\n') => words.extend(word.take()),
            (Quote::None, '\'' | '"') => {
                quote = if sign == '"' { Quote::Double } else { Quote::Single };
                word.get_or_insert_default();
            }
            (Quote::Single, '\'') | (Quote::Double, '"') => quote = Quote::None,
            (Quote::None, '\\') => {
                let next = signs.next().ok_or(WordsError::OpenBackslash)?;
                word.get_or_insert_default().push(next);
            }
            (Quote::Double, '\\') => {
                let escaped = signs.next_if(|next| matches!(next, '"' | '\\'));
                word.get_or_insert_default().push(escaped.unwrap_or('\\'));
            }
            (Quote::None | Quote::Single | Quote::Double, sign) => {
                word.get_or_insert_default().push(sign);
            }
        }
    }
    words.extend(word);
    match quote {
        Quote::None => Ok(words),
        Quote::Single => Err(WordsError::OpenQuote('\'')),
        Quote::Double => Err(WordsError::OpenQuote('"')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_and_backslashes() {
        for (line, words) in [
            ("", &[][..]),
            ("  \t ", &[]),
            ("ls --json", &["ls", "--json"]),
            ("new 'web server' --dns \"\"", &["new", "web server", "--dns", ""]),
            (r#"a\ b "c \" \d" 'e\'"#, &["a b", r#"c " \d"#, r"e\"]),
            ("a'b'\"c\"d", &["abcd"]),
            // Nothing of a shell's is understood.
            ("ls; rm -rf $HOME > x", &["ls;", "rm", "-rf", "$HOME", ">", "x"]),
            ("`id` $(id) a&&b", &["`id`", "$(id)", "a&&b"]),
        ] {
            assert_eq!(split(line), Ok(words.iter().map(|&word| word.to_owned()).collect()));
        }
    }

    #[test]
    fn what_is_not_finished_is_refused() {
        assert_eq!(split("a 'b"), Err(WordsError::OpenQuote('\'')));
        assert_eq!(split("a \"b"), Err(WordsError::OpenQuote('"')));
        assert_eq!(split("a \\"), Err(WordsError::OpenBackslash));
    }
}
