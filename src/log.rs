//! Lines for the journal: one event each, with the priority that journald reads.
//!
//! A [`Log`] writes to what it is given and knows no global state. A line never holds a control
//! character, so nothing that a peer sends can forge a second line or reach a terminal raw, and it
//! is never longer than [`LOG_LINE_BYTES_MAX`].
//!
//! An output that would make the writer wait ([`io::ErrorKind::WouldBlock`]) loses the line. The
//! next line that can be written comes behind one that says how many were lost.

use std::fmt::{self, Display, Write as _};
use std::io;

use crate::limits::LOG_LINE_BYTES_MAX;

/// How much a line matters; the numbers are syslog's (RFC 5424 §6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Something does not work and someone must look.
    Error = 3,
    /// Something was refused or given up; the rest goes on.
    Warning = 4,
    /// What happens in the course of things.
    Info = 6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// journald reads standard error (`JOURNAL_STREAM` names it): `<4>text`.
    Journal,
    /// A person does: `warning: text`, and nothing before what is merely information.
    Plain,
}

/// Writes lines to `out`.
#[derive(Debug)]
pub(crate) struct Log<W> {
    out: W,
    style: Style,
    line: String,
    /// Lines that could not be written since the last one that was.
    lost: u64,
}

impl<W: io::Write> Log<W> {
    /// A log that writes to `out`, one `write` for each line.
    pub(crate) fn new(out: W, style: Style) -> Log<W> {
        Log { out, style, line: String::with_capacity(LOG_LINE_BYTES_MAX), lost: 0 }
    }

    /// Something does not work and someone must look.
    pub(crate) fn error(&mut self, event: impl Display) {
        self.write(Priority::Error, &event);
    }

    /// Something was refused or given up.
    pub(crate) fn warning(&mut self, event: impl Display) {
        self.write(Priority::Warning, &event);
    }

    /// What happens in the course of things.
    pub(crate) fn info(&mut self, event: impl Display) {
        self.write(Priority::Info, &event);
    }

    fn write(&mut self, priority: Priority, event: &dyn Display) {
        if self.lost > 0 {
            let lost = self.lost;
            let text = format_args!("{lost} lines of this log are lost: nobody read them in time");
            match self.write_line(Priority::Warning, &text) {
                Ok(()) => self.lost = 0,
                Err(_) => return self.lost += 1,
            }
        }
        if let Err(error) = self.write_line(priority, event)
            && error.kind() == io::ErrorKind::WouldBlock
        {
            self.lost += 1;
        }
        // Where a log cannot be written for another reason there is nobody left to tell.
    }

    fn write_line(&mut self, priority: Priority, event: &dyn Display) -> io::Result<()> {
        self.line.clear();
        self.line.push_str(prefix(self.style, priority));
        // Fails when the line is full; what it holds by then is written.
        let _cut = write!(OneLine(&mut self.line), "{event}");
        self.line.push('\n');
        self.out.write_all(self.line.as_bytes())
    }
}

const fn prefix(style: Style, priority: Priority) -> &'static str {
    match (style, priority) {
        (Style::Journal, Priority::Error) => "<3>",
        (Style::Journal, Priority::Warning) => "<4>",
        (Style::Journal, Priority::Info) => "<6>",
        (Style::Plain, Priority::Error) => "error: ",
        (Style::Plain, Priority::Warning) => "warning: ",
        (Style::Plain, Priority::Info) => "",
    }
}

/// Takes text up to the limit, control characters as escapes.
struct OneLine<'a>(&'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|sign| self.write_char(sign))
    }

    fn write_char(&mut self, sign: char) -> fmt::Result {
        // One byte is kept for the newline.
        let room = LOG_LINE_BYTES_MAX - 1 - self.0.len();
        if sign.is_control() {
            let escaped = sign.escape_default();
            if escaped.len() > room {
                return Err(fmt::Error);
            }
            self.0.extend(escaped);
        } else {
            if sign.len_utf8() > room {
                return Err(fmt::Error);
            }
            self.0.push(sign);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(style: Style, write: impl FnOnce(&mut Log<&mut Vec<u8>>)) -> String {
        let mut out = Vec::new();
        write(&mut Log::new(&mut out, style));
        String::from_utf8(out).expect("lines are UTF-8")
    }

    #[test]
    fn each_line_has_its_priority() {
        let all = |log: &mut Log<&mut Vec<u8>>| {
            log.error("a");
            log.warning(format_args!("b {}", 1));
            log.info("c");
        };
        assert_eq!(written(Style::Journal, all), "<3>a\n<4>b 1\n<6>c\n");
        assert_eq!(written(Style::Plain, all), "error: a\nwarning: b 1\nc\n");
    }

    #[test]
    fn a_peer_cannot_forge_a_line() {
        let line = written(Style::Journal, |log| log.info("x\n<3>y\u{1b}[2J\u{9b}ü"));
        assert_eq!(line, "<6>x\\n<3>y\\u{1b}[2J\\u{9b}ü\n");
    }

    #[test]
    fn a_line_is_cut_at_its_limit_and_at_a_character() {
        for text in ["a", "ü", "\n", "日"] {
            for shift in 0..4 {
                let event = "x".repeat(shift) + &text.repeat(LOG_LINE_BYTES_MAX);
                let line = written(Style::Plain, |log| log.error(&event));
                assert!(line.len() <= LOG_LINE_BYTES_MAX, "{text:?}: {}", line.len());
                assert!(line.len() > LOG_LINE_BYTES_MAX - 4, "{text:?}: {}", line.len());
                assert_eq!(line.find('\n'), Some(line.len() - 1));
            }
        }
    }

    /// Takes so many lines, and would block for the others.
    struct Room(usize, Vec<u8>);

    impl io::Write for Room {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::WouldBlock)?;
            self.1.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_found_no_room_are_counted_and_told() {
        let mut log = Log::new(Room(1, Vec::new()), Style::Plain);
        for number in 0..4 {
            log.info(number);
        }
        log.out.0 = 1;
        log.info("the count found room, this did not");
        log.out.0 = 2;
        log.info("last");
        let written = String::from_utf8(log.out.1).unwrap();
        let count = |lost| {
            format!("warning: {lost} lines of this log are lost: nobody read them in time\n")
        };
        assert_eq!(written, format!("0\n{}{}last\n", count(3), count(1)));
    }

    #[test]
    fn a_log_that_cannot_be_written_is_no_failure() {
        let mut log = Log::new(&mut [][..], Style::Plain);
        log.error("nobody reads this");
    }
}
