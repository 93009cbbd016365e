//! Text as it may stand on somebody's terminal: made harmless, measured, cut.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use unicode_width::UnicodeWidthChar;

/// Takes a value from a string of a serde format, which is only looked at.
pub(super) struct Reading<F> {
    pub(crate) what: &'static str,
    pub(crate) read: F,
}

impl<T, E: fmt::Display, F: FnOnce(&str) -> Result<T, E>> serde::de::Visitor<'_> for Reading<F> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.what)
    }

    fn visit_str<W: serde::de::Error>(self, text: &str) -> Result<T, W> {
        (self.read)(text).map_err(W::custom)
    }
}

/// Text without anything that moves a cursor or hides itself; such characters become `\u{…}`.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for sign in text.chars() {
        if is_hostile(sign) {
            shown.extend(sign.escape_unicode());
        } else {
            shown.push(sign);
        }
    }
    Cow::Owned(shown)
}

/// Text without the sequences that colour it or move a cursor (ECMA-48 §5.4: CSI, parameters and
/// intermediates, and a final byte), as a console says it.
pub(crate) fn without_sequences(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|sign| matches!(sign, ' '..='?'));
        let mut rest = rest.chars();
        let is_final = rest.next().is_none_or(|sign| matches!(sign, '@'..='~'));
        plain.push_str(if is_final { rest.as_str() } else { part });
    }
    plain
}

/// Control characters, line separators, and the format characters that reorder or hide text.
pub(crate) fn is_hostile(sign: char) -> bool {
    sign.is_control()
        || matches!(sign, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(sign, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Whether a text of somebody else is one that is kept: short enough, and without control
/// characters.
pub(crate) fn is_plain(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && !text.chars().any(char::is_control)
}

/// How many cells of a terminal a character takes: 0 if it joins the one before it, 2 if it is one
/// of the wide ones (UAX #11), else 1. Control characters, which nobody draws, count as 1.
pub(crate) fn cells_of(sign: char) -> usize {
    sign.width().map_or(1, |cells| cells.min(2))
}

/// How many cells a text takes that is [`printable`].
pub(crate) fn cells(text: &str) -> usize {
    text.chars().map(cells_of).sum()
}

/// The text if it has room in so many cells, else its beginning and `…`.
pub(crate) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if cells(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut left = width.saturating_sub(1);
    let fits = |sign: &char| {
        let taken = cells_of(*sign);
        let has_room = taken <= left;
        left = left.saturating_sub(taken);
        has_room
    };
    let mut shown: String = text.chars().take_while(fits).collect();
    if width > 0 {
        shown.push('…');
    }
    Cow::Owned(shown)
}

/// The text in lines of so many cells at most, broken at blanks where there are any. At least one
/// line.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(2);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let has_room = cells(&line) + usize::from(!line.is_empty()) + cells(word) <= width;
        if !has_room && !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for sign in word.chars() {
            if cells(&line) + cells_of(sign) > width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(sign);
        }
    }
    lines.push(line);
    lines
}

/// A span in one unit: `5s`, `3m`, `2h`, `4d`.
pub(crate) fn age(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_harmless_is_left_alone() {
        for text in ["", "web server 1", "größe", "日本", "a\u{301}"] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
        }
        assert_eq!(printable("\u{1b}[2J\u{202e}"), "\\u{1b}[2J\\u{202e}");
    }

    #[test]
    fn colours_are_left_out() {
        let line = "[\u{1b}[0;32m  OK  \u{1b}[0m] Reached \u{1b}[2Jthe end";
        assert_eq!(without_sequences(line), "[  OK  ] Reached the end");
        assert_eq!(without_sequences("\u{1b}[\u{1b}[1é\u{1b}"), "1é\u{1b}");
    }

    #[test]
    fn wide_and_joining_characters_are_measured() {
        assert_eq!((cells("größe"), cells("日本"), cells("a\u{301}")), (5, 4, 1));
        for (sign, taken) in [
            ('⌛', 2),
            ('⏰', 2),
            ('☕', 2),
            ('🦀', 2),
            ('㎏', 2),
            ('…', 1),
            ('─', 1),
            ('▼', 1),
            ('α', 1),
            ('\u{ad}', 0),
            ('\u{378}', 1),
            ('\u{e000}', 1),
            ('\u{301}', 0),
            ('\u{fe0f}', 0),
            ('\u{0}', 1),
            ('\u{1b}', 1),
        ] {
            assert_eq!(cells_of(sign), taken, "{sign:?}");
        }
        assert_eq!(cut("☕☕☕", 5), "☕☕…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!((cut("abc", 2).as_ref(), cut("abc", 0).as_ref()), ("a…", ""));
    }

    #[test]
    fn lines_break_at_blanks_and_long_words_anywhere() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("", 3), [""]);
        for width in 0..20 {
            let lines = wrap("a 日本語日本語 word", width);
            assert!(lines.iter().all(|line| cells(line) <= width.max(2)), "{lines:?}");
        }
    }
}
