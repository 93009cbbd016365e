//! The project's own sources, as the tests that judge them read them.
//!
//! A [`Source`] has its text, and its code: the same lines and columns with every comment and every
//! literal blanked, so that a search finds code and nothing else. Not a parser: it knows what a
//! token of Rust is and no more.

#![allow(clippy::panic, reason = "a harness has no other way to fail a test")]

use std::fs;
use std::path::{Path, PathBuf};

/// One file of Rust.
pub struct Source {
    /// Where it is, from the top of the repository.
    pub path: String,
    /// What is in it.
    pub text: String,
    /// Its text without comments and literals, line by line.
    pub code: String,
}

impl Source {
    /// A file of which `text` is known.
    pub fn new(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into(), code: code_of(text) }
    }

    /// All Rust files below the directories `tops`, sorted by path.
    pub fn all_below(tops: &[&str]) -> Vec<Source> {
        let rust = files_below(tops).into_iter().filter(|path| path.ends_with(".rs"));
        let text = |path: &str| String::from_utf8(read_bytes(path)).expect("Rust is UTF-8");
        rust.map(|path| Source::new(&path, &text(&path))).collect()
    }
}

/// The top of the repository.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is in a file, its path given from the top of the repository.
pub fn read_bytes(path: &str) -> Vec<u8> {
    fs::read(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files below the directories `tops`, as paths from the top of the repository, sorted.
pub fn files_below(tops: &[&str]) -> Vec<String> {
    let mut waiting: Vec<PathBuf> = tops.iter().map(|name| top().join(name)).collect();
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory that was listed is there");
            waiting.extend(entries.map(|entry| entry.expect("a readable entry").path()));
        } else {
            let path = path.strip_prefix(top()).expect("the walk starts at the top");
            found.push(path.to_str().expect("our own names are UTF-8").to_string());
        }
    }
    found.sort();
    found
}

/// Blanks comments and literals. Quotes go too; line ends stay.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = blank_len(rest, code.chars().next_back());
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (blank, behind) = rest.split_at(skipped);
            code.extend(blank.chars().map(|sign| if sign == '\n' { '\n' } else { ' ' }));
            rest = behind;
        }
    }
    code
}

/// How many bytes at the start of `rest` are a comment or a literal.
fn blank_len(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(is_word);
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment_len(rest)
    } else if rest.starts_with('"') {
        quoted_len(rest, '"')
    } else if !in_word && raw_string_start(rest).is_some() {
        let (start, end) = raw_string_start(rest).unwrap_or_default();
        rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
    } else if rest.starts_with('\'') {
        char_len(rest)
    } else {
        0
    }
}

/// Block comments nest.
fn block_comment_len(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let (step, change) = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth += change;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// A literal that ends with the first `quote` that no backslash precedes.
fn quoted_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, sign) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if sign == quote {
            return at + 1;
        } else {
            escaped = sign == '\\';
        }
    }
    rest.len()
}

/// For `r"`, `r#"`, `br"` and so on: how long the start is, and what ends the literal.
fn raw_string_start(rest: &str) -> Option<(usize, String)> {
    let behind = ["br", "cr", "r"].iter().find_map(|prefix| rest.strip_prefix(prefix))?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let behind = behind[hashes..].strip_prefix('"')?;
    Some((rest.len() - behind.len(), format!("\"{}", "#".repeat(hashes))))
}

/// `'x'` is a literal, `'x` a lifetime.
fn char_len(rest: &str) -> usize {
    let mut signs = rest.chars().skip(1);
    match (signs.next(), signs.next()) {
        (Some('\\'), _) => quoted_len(rest, '\''),
        (Some(sign), Some('\'')) => 2 + sign.len_utf8(),
        _ => 0,
    }
}

/// Whether `sign` can be part of an identifier.
pub fn is_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

/// A token of code, and its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// An identifier, `::`, or one other character.
    pub text: &'a str,
    /// Counted from 1.
    pub line: usize,
}

/// Splits code, from which comments and literals are gone, into tokens.
pub fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = if is_word(first) {
                rest.find(|sign| !is_word(sign)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (text, behind) = rest.split_at(len);
            tokens.push(Token { text, line: index + 1 });
            rest = behind.trim_start();
        }
    }
    tokens
}
