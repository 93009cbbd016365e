//! The header line of `convocate-agent-attach`.

use serde::{Deserialize, Serialize};

use super::field::{FieldError, is_object};
use crate::base::uuid::Uuid;
use crate::limits::{TERMINAL_COLS_MAX, TERMINAL_ROWS_MAX};

/// The exit status of a terminal that ended because its session did, as of a command that was hung
/// up on (SIGHUP). A detach is 0.
pub(crate) const SESSION_ENDED_STATUS: u32 = 129;

/// A terminal's size in cells: 1 to [`TERMINAL_COLS_MAX`] by 1 to [`TERMINAL_ROWS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    cols: u16,
    rows: u16,
}

impl TerminalSize {
    /// A size, brought into range: zero becomes the default of that side, too much the maximum.
    pub fn clamped(cols: u32, rows: u32) -> TerminalSize {
        let side = |cells: u32, default: u16, max: u16| match cells {
            0 => default,
            _ => u16::try_from(cells).unwrap_or(max).min(max),
        };
        TerminalSize {
            cols: side(cols, 80, TERMINAL_COLS_MAX),
            rows: side(rows, 24, TERMINAL_ROWS_MAX),
        }
    }

    pub const fn cols(self) -> u16 {
        self.cols
    }

    pub const fn rows(self) -> u16 {
        self.rows
    }
}

/// A name, a host's name, and what stands between.
const LABEL_CHARS_MAX: usize = 320;

/// Which session, and what the terminal is like. Unknown fields are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachHeader {
    pub id: Uuid,
    /// Columns; 0 or absent is 80.
    #[serde(default)]
    pub cols: u32,
    /// Rows; 0 or absent is 24.
    #[serde(default)]
    pub rows: u32,
    /// The terminal's `TERM`; checked by [`AttachHeader::parse`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub term: String,
    /// Nothing that is typed reaches the session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// What the session is called where the terminal is, with its host: for the status line and the
    /// title; checked by [`AttachHeader::parse`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
}

impl AttachHeader {
    /// Reads a header line, whose length the caller has bounded. A `term` that no terminal has is
    /// dropped.
    ///
    /// # Errors
    /// One sentence for the peer.
    pub fn parse(line: &[u8]) -> Result<AttachHeader, FieldError> {
        if !is_object(line) {
            return Err(FieldError("decode header: an object is expected".to_owned()));
        }
        let mut header: AttachHeader = serde_json::from_slice(line).map_err(|error| {
            let text: String =
                error.to_string().chars().filter(|sign| !sign.is_control()).collect();
            FieldError(format!("decode header: {text}"))
        })?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
        if header.term.len() > 64 || !header.term.bytes().all(allowed) {
            header.term.clear();
        }
        // What tmux would take for a format, a style or its end is none of a name.
        let allowed = |sign: char| sign.is_alphanumeric() || " _-.:·".contains(sign);
        if header.label.chars().count() > LABEL_CHARS_MAX || !header.label.chars().all(allowed) {
            header.label.clear();
        }
        Ok(header)
    }

    /// The header line, with its newline.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("a header has only strings and numbers");
        line.push(b'\n');
        line
    }

    pub(crate) fn size(&self) -> TerminalSize {
        TerminalSize::clamped(self.cols, self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_unknown_fields_and_sizes() {
        let line = br#"{"id":"01234567-89ab-4def-8123-456789abcdef","new":1,"term":"x;rm"}"#;
        let header = AttachHeader::parse(line).unwrap();
        assert_eq!((header.size().cols(), header.size().rows()), (80, 24));
        assert_eq!((header.term.as_str(), header.read_only), ("", false));
        for (label, kept) in
            [("日本 · host-1", true), ("a#(id)", false), ("a;", false), ("a\nb", false)]
        {
            let line = AttachHeader { label: label.to_owned(), ..header.clone() }.to_line();
            let read = AttachHeader::parse(&line).unwrap();
            assert_eq!(read.label, if kept { label } else { "" });
        }
        let huge = TerminalSize::clamped(u32::MAX, 1);
        assert_eq!((huge.cols(), huge.rows()), (TERMINAL_COLS_MAX, 1));
        let tall = TerminalSize::clamped(1001, 501);
        assert_eq!((tall.cols(), tall.rows()), (TERMINAL_COLS_MAX, TERMINAL_ROWS_MAX));
        assert_eq!(AttachHeader::parse(&header.to_line()), Ok(header));
    }

    #[test]
    fn what_is_no_header_gets_a_sentence() {
        const LIST: &[u8] = br#"["01234567-89ab-4def-8123-456789abcdef",80,24,"",false]"#;
        for line in [&b""[..], b"{}", b"[]", LIST, br#"{"id":"x"}"#, b"\xff\xfe"] {
            let error = AttachHeader::parse(line).expect_err("not a header");
            assert!(error.to_string().starts_with("decode header: "), "{error}");
        }
    }
}
