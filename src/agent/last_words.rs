//! What a session leaves at its end: its exit status, and what stood on its screen.
//!
//! The file is written by the session itself (`image/pane.sh`), so it is input without trust: it is
//! bounded, and nothing of it moves a cursor.

use crate::base::text::printable;
use crate::base::ustar;
use crate::limits::{LAST_SCREEN_BYTES_MAX, LAST_SCREEN_LINES_MAX};

/// Where it is inside a container that has ended.
pub(crate) const IN_CONTAINER: &str = "/var/lib/convocate/last-words";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastWords {
    pub(crate) exit_code: Option<i32>,
    /// The last lines that stood there; empty if that is not known.
    pub(crate) screen: String,
}

impl LastWords {
    /// Reads the file. What makes no sense is not there.
    pub(crate) fn parse(bytes: &[u8]) -> LastWords {
        let text = String::from_utf8_lossy(bytes);
        let (status, screen) = text.split_once('\n').unwrap_or((&text, ""));
        let screen = last_of(screen, LAST_SCREEN_LINES_MAX, LAST_SCREEN_BYTES_MAX);
        LastWords { exit_code: status.parse().ok(), screen }
    }

    /// Reads the archive in which the Engine gives the file.
    pub(crate) fn from_archive(archive: &[u8]) -> LastWords {
        ustar::first_file(archive).map_or_else(LastWords::default, LastWords::parse)
    }
}

/// The last of what a screen shows, without blank lines at its end.
pub(crate) fn last_of(screen: &str, lines_max: usize, bytes_max: usize) -> String {
    let lines: Vec<&str> = screen.trim_end().lines().collect();
    let first = lines.len().saturating_sub(lines_max);
    let mut left = bytes_max;
    let mut kept: Vec<String> = Vec::new();
    for line in lines[first..].iter().rev() {
        let line = printable(&line.replace('\t', " ")).trim_end().to_owned();
        let Some(rest) = left.checked_sub(line.len() + 1) else { break };
        left = rest;
        kept.push(line);
    }
    kept.reverse();
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_screen_without_its_blank_end() {
        let words = LastWords::parse(b"127\n$ claude\nclaude:\tnot found  \n\n  \n\n");
        assert_eq!(words.exit_code, Some(127));
        assert_eq!(words.screen, "$ claude\nclaude: not found");
    }

    #[test]
    fn the_last_of_much_is_kept_and_nothing_moves_a_cursor() {
        let long: String =
            (0..999).map(|number| format!("{number} {}\n", "x".repeat(90))).collect();
        let words = LastWords::parse(format!("0\n{long}\u{1b}[2J\u{202e}").as_bytes());
        assert!(words.screen.len() <= LAST_SCREEN_BYTES_MAX);
        assert!(words.screen.lines().count() <= LAST_SCREEN_LINES_MAX);
        assert!(words.screen.ends_with("x\n\\u{1b}[2J\\u{202e}"), "{:?}", words.screen);
        assert_eq!(LastWords::parse(&[b'y'; 99_999]).screen, "");
        assert_eq!(LastWords::parse(&[&b"1\n"[..], &[b'y'; 99_999]].concat()).screen, "");
        for bytes in [&b""[..], b"\n\n", b"x\n", b"\xff\n\xff"] {
            assert_eq!(LastWords::parse(bytes).exit_code, None);
        }
    }

    #[test]
    fn archives_are_cut_links_and_nonsense() {
        let text = b"7\nbye\n";
        let file = ustar::header("last-words", 0o644, text.len() as u64);
        let whole = [&file[..], text, ustar::padding(text.len() as u64), &ustar::END].concat();
        let words = LastWords { exit_code: Some(7), screen: "bye".to_owned() };
        assert_eq!(LastWords::from_archive(&whole), words);
        for cut in 0..whole.len() {
            let _ = LastWords::from_archive(&whole[..cut]);
        }
        let mut link = whole.clone();
        link[156] = b'2';
        assert_eq!(LastWords::from_archive(&link), LastWords::default());
        let mut endless = whole;
        endless[124..135].copy_from_slice(b"77777777777");
        assert_eq!(LastWords::from_archive(&endless).exit_code, Some(7));
    }
}
