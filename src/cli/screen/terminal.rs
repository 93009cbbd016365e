//! The operator's terminal while the screen is shown, and how it is restored.
//!
//! Whatever ends the screen restores the terminal: its modes, main screen, cursor and title. The
//! guard of [`RawMode`] does it on return, the panic hook in a panic.

use std::io;

use crate::base::text::{cut, printable};
use crate::io::reactor::Ready;
use crate::io::signals::{Signal, Signals};
use crate::io::stream::Moved;
use crate::io::tty::{RawMode, Tty};
use crate::limits::{NOTICE_CELLS_MAX, TERMINAL_COLS_MAX, TERMINAL_ROWS_MAX, TYPED_BYTES_MAX};
use crate::terminal::leave::takes_sequences;

/// The sequences that show the screen and restore the terminal.
struct ScreenCodes {
    enter: &'static str,
    leave: &'static str,
    /// Whether there may be a desktop that shows notifications.
    has_notices: bool,
}

/// Alternate screen, bracketed paste, and a title that is pushed and popped.
const FULL: ScreenCodes = ScreenCodes {
    enter: "\x1b[22;2t\x1b]2;convocate\x07\x1b[?1049h\x1b[?2004h\x1b[?25l",
    leave: "\x1b[?2004l\x1b[r\x1b[0m\x1b[?25h\x1b[?1049l\x1b[23;2t",
    has_notices: true,
};
/// Without a title: not every multiplexer can push one.
const MULTIPLEXED: ScreenCodes = ScreenCodes {
    enter: "\x1b[?1049h\x1b[?2004h\x1b[?25l",
    leave: "\x1b[?2004l\x1b[r\x1b[0m\x1b[?25h\x1b[?1049l",
    has_notices: false,
};
/// A console has one screen only, which is left empty.
const CONSOLE: ScreenCodes = ScreenCodes {
    enter: "\x1b[?25l",
    leave: "\x1b[r\x1b[0m\x1b[H\x1b[2J\x1b[?25h",
    has_notices: false,
};

pub(crate) struct Terminal {
    tty: Tty,
    signals: Signals,
    codes: &'static ScreenCodes,
    raw: Option<RawMode>,
    output: Vec<u8>,
    written: usize,
    is_readable: bool,
    is_writable: bool,
}

impl Terminal {
    /// Opens the controlling terminal and blocks the signals. To be called before any thread
    /// starts.
    ///
    /// # Errors
    /// There is none, or it cannot move its cursor: one sentence.
    pub(crate) fn open() -> Result<Terminal, String> {
        let signals = Signals::block().map_err(|error| format!("cannot block signals: {error}"))?;
        let tty = Tty::open().map_err(|error| format!("there is no terminal: {error}"))?;
        let term = std::env::var("TERM").unwrap_or_default();
        let codes = match term.as_str() {
            name if name.is_empty() || !takes_sequences(name) => {
                return Err(format!("the terminal cannot show a screen (TERM is {term:?})"));
            }
            _ if term.starts_with("linux") || term.starts_with("vt") => &CONSOLE,
            _ if term.starts_with("screen") || term.starts_with("tmux") => &MULTIPLEXED,
            _ => &FULL,
        };
        Ok(Terminal {
            tty,
            signals,
            codes,
            raw: None,
            output: Vec::new(),
            written: 0,
            is_readable: true,
            is_writable: true,
        })
    }

    /// Its size now, in columns and rows; 80 by 24 if it does not report one.
    pub(crate) fn size(&self) -> (usize, usize) {
        const USUAL: (usize, usize) = (80, 24);
        match self.tty.size() {
            Ok(size) if size.columns > 0 && size.rows > 0 => {
                let (cols, rows) = (TERMINAL_COLS_MAX, TERMINAL_ROWS_MAX);
                (usize::from(size.columns.min(cols)), usize::from(size.rows.min(rows)))
            }
            _ => USUAL,
        }
    }

    pub(crate) fn tty(&self) -> &Tty {
        &self.tty
    }

    pub(crate) fn signals(&self) -> &Signals {
        &self.signals
    }

    pub(crate) fn next_signal(&mut self) -> Option<Signal> {
        self.signals.next_signal()
    }

    /// Takes the terminal for the screen.
    ///
    /// # Errors
    /// When it has hung up.
    pub(crate) fn take(&mut self) -> io::Result<()> {
        self.raw = Some(self.tty.enter_raw_mode(self.codes.leave.as_bytes())?);
        (self.output, self.written) = (self.codes.enter.as_bytes().to_vec(), 0);
        (self.is_readable, self.is_writable) = (true, true);
        Ok(())
    }

    pub(crate) fn give_back(&mut self) {
        self.finish_output();
        self.raw = None;
    }

    pub(crate) fn note(&mut self, ready: Ready) {
        self.is_readable |= ready.readable || ready.closed;
        self.is_writable |= ready.writable;
    }

    /// Passes on what was typed. True when the terminal has hung up.
    pub(crate) fn read(&mut self, mut take: impl FnMut(&[u8])) -> bool {
        let mut space = [0; TYPED_BYTES_MAX];
        if !self.is_readable {
            return false;
        }
        match self.tty.stream.read(&mut space) {
            Moved::Bytes(count) => take(&space[..count]),
            Moved::Blocked => self.is_readable = false,
            Moved::Closed | Moved::Failed(_) => {
                self.is_readable = false;
                return true;
            }
        }
        false
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.written == self.output.len()
    }

    /// Takes a picture to write, and what the person is to be told besides: by the bell, and where
    /// there may be a desktop by a notification (OSC 9). All before it must be flushed.
    pub(crate) fn write(&mut self, mut bytes: Vec<u8>, notice: Option<&str>) {
        debug_assert!(self.is_flushed(), "a picture is painted when the last one is there");
        if let Some(notice) = notice {
            bytes.push(b'\x07');
            if self.codes.has_notices {
                let text = printable(notice);
                let text = cut(&text, NOTICE_CELLS_MAX);
                bytes.extend_from_slice(format!("\x1b]9;{text}\x07").as_bytes());
            }
        }
        (self.output, self.written) = (bytes, 0);
    }

    /// Writes what the terminal takes.
    pub(crate) fn flush(&mut self) {
        while self.is_writable && !self.is_flushed() {
            match self.tty.stream.write(&self.output[self.written..]) {
                Moved::Bytes(count) => self.written += count,
                // Reading will report a hang-up.
                Moved::Blocked | Moved::Closed | Moved::Failed(_) => self.is_writable = false,
            }
        }
    }

    /// Whether something can be done at once.
    pub(crate) fn has_more(&self) -> bool {
        self.raw.is_some() && (self.is_readable || (self.is_writable && !self.is_flushed()))
    }

    /// Writes the rest of a picture. If it does not fit now, CAN ends the sequence that was cut,
    /// which would else swallow what follows.
    fn finish_output(&mut self) {
        self.flush();
        if !self.is_flushed() {
            let _ = self.tty.stream.write(b"\x18");
        }
        (self.output, self.written) = (Vec::new(), 0);
    }
}
