//! The output of a program: results to standard output, the rest to standard error.
//!
//! The one place where text becomes bytes on a terminal. Names and sentences come from other
//! machines, so this file, not each caller, writes control characters, and invisible ones that
//! reorder text, as escapes. A reader that closes the output ends the program quietly.

use std::io::{self, Write};

use serde_json::Value;

use crate::base::text::{is_hostile, printable};
use crate::exit::Exit;
use crate::io::stream::Stream;
use crate::log::{Log, Style};

/// Why a command did not do what was asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The command line is wrong: one sentence.
    Usage(String),
    /// One sentence.
    Failed(String),
    /// It ends with this status: one sentence.
    Exit(Exit, String),
    /// Nobody reads what is written.
    NobodyReads,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::NobodyReads,
            _ => Failure::Failed(format!("cannot write the output: {error}")),
        }
    }
}

/// The log of a program that stays: on standard error, in journald's form if journald reads that
/// (systemd.exec(5), `JOURNAL_STREAM`).
///
/// # Errors
/// Standard error is closed.
pub(crate) fn service_log() -> io::Result<Log<Stream>> {
    let style = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => Style::Journal,
        None => Style::Plain,
    };
    Ok(Log::new(Stream::stderr()?, style))
}

/// The two streams of a program.
pub(crate) struct Out<'a> {
    output: &'a mut dyn Write,
    errors: &'a mut dyn Write,
    width: Option<usize>,
}

impl<'a> Out<'a> {
    /// Writes to these. `width` is the terminal's in cells, `None` where `output` is no terminal.
    pub(crate) fn new(
        output: &'a mut dyn Write,
        errors: &'a mut dyn Write,
        width: Option<usize>,
    ) -> Out<'a> {
        Out { output, errors, width }
    }

    /// How wide lines may be; `None` where the output is no terminal.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Writes text that may have several lines; a final newline is added if there is none.
    ///
    /// # Errors
    /// [`Failure::NobodyReads`], or [`Failure::Failed`] with the system's words.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        for line in text.lines() {
            writeln!(self.output, "{}", printable(line))?;
        }
        Ok(())
    }

    /// Writes the beginning of a line.
    pub(crate) fn part(&mut self, text: &str) -> Result<(), Failure> {
        Ok(write!(self.output, "{}", printable(text))?)
    }

    /// Writes a value as one line of JSON.
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        writeln!(self.output, "{}", json_line(value))?;
        Ok(())
    }

    /// Writes bytes of a session: as they are, or so that a terminal obeys none of them.
    pub(crate) fn bytes(&mut self, bytes: &[u8], is_raw: bool) -> Result<(), Failure> {
        Ok(write_bytes(self.output, bytes, is_raw)?)
    }

    /// The same to standard error.
    pub(crate) fn error_bytes(&mut self, bytes: &[u8], is_raw: bool) {
        let _ = write_bytes(self.errors, bytes, is_raw);
    }

    /// Writes something that is not the result to standard error, and ignores errors of that.
    pub(crate) fn note(&mut self, text: &str) {
        for line in text.lines() {
            let _ = writeln!(self.errors, "{}", printable(line));
        }
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.output.flush()?)
    }
}

fn write_bytes(to: &mut dyn Write, bytes: &[u8], is_raw: bool) -> io::Result<()> {
    if is_raw {
        return to.write_all(bytes);
    }
    let text = String::from_utf8_lossy(bytes);
    for part in text.split_inclusive(['\n', '\t']) {
        let (shown, end) = match part.strip_suffix(['\n', '\t']) {
            Some(shown) => (shown, &part[shown.len()..]),
            None => (part, ""),
        };
        write!(to, "{}{end}", printable(shown))?;
    }
    Ok(())
}

/// JSON lets C1 control characters and DEL stand in strings as they are; terminals obey them.
fn json_line(value: &Value) -> String {
    let text = value.to_string();
    if !text.chars().any(is_hostile) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for sign in text.chars() {
        match sign {
            // All of these are in the basic plane, so four digits are enough.
            _ if is_hostile(sign) => shown.push_str(&format!("\\u{:04x}", u32::from(sign))),
            _ => shown.push(sign),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_from_elsewhere_reaches_the_terminal_raw() {
        for sign in (0..=0x10_ffff).filter_map(char::from_u32) {
            let hostile = format!("a{sign}b");
            let (mut output, mut errors) = (Vec::new(), Vec::new());
            let mut out = Out::new(&mut output, &mut errors, None);
            out.text(&hostile).expect("memory takes all");
            out.note(&hostile);
            out.json(&Value::from(hostile.clone())).expect("memory takes all");
            for text in [&output, &errors] {
                let text = std::str::from_utf8(text).expect("text");
                assert!(!text.chars().any(|it| it.is_control() && it != '\n'), "{sign:?}");
            }
            let json = std::str::from_utf8(&output).expect("text").lines().last().expect("a line");
            assert_eq!(serde_json::from_str::<String>(json).ok(), Some(hostile));
        }
    }

    #[test]
    fn bytes_of_a_session_are_raw_only_if_that_is_asked_for() {
        let bytes = b"a\tb\n\x1b[2J\xff";
        for (is_raw, written) in
            [(true, &bytes[..]), (false, "a\tb\n\\u{1b}[2J\u{fffd}".as_bytes())]
        {
            let (mut output, mut errors) = (Vec::new(), Vec::new());
            let mut out = Out::new(&mut output, &mut errors, None);
            out.bytes(bytes, is_raw).expect("memory takes all");
            out.error_bytes(bytes, is_raw);
            assert_eq!((&output[..], &errors[..]), (written, written));
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_to_talk_about() {
        let mut errors = Vec::new();
        let mut closed = Closed;
        let mut out = Out::new(&mut closed, &mut errors, None);
        assert_eq!(out.text("x"), Err(Failure::NobodyReads));
    }
}
