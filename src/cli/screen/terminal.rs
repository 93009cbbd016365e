//! The person's terminal while the screen is shown, and how it is given back.
//!
//! Whatever ends the screen, the terminal is as it was: its modes, its main screen, its cursor, its
//! title. The guard of [`RawMode`] does it on return, the panic hook in a panic.

use std::io;

use crate::io::reactor::Ready;
use crate::io::signals::{Signal, Signals};
use crate::io::stream::Moved;
use crate::io::tty::{RawMode, Tty};
use crate::limits::{TERMINAL_CELLS_MAX, TYPED_BYTES_MAX};

/// What a terminal is told when the screen comes and when it goes.
struct ScreenCodes {
    enter: &'static str,
    leave: &'static str,
}

/// An alternate screen, pasting in brackets, and a title that is put aside.
const FULL: ScreenCodes = ScreenCodes {
    enter: "\x1b[22;2t\x1b]2;convocate\x07\x1b[?1049h\x1b[?2004h\x1b[?25l",
    leave: "\x1b[?2004l\x1b[r\x1b[0m\x1b[?25h\x1b[?1049l\x1b[23;2t",
};
/// Without a title: not every multiplexer can put one aside.
const MULTIPLEXED: ScreenCodes = ScreenCodes {
    enter: "\x1b[?1049h\x1b[?2004h\x1b[?25l",
    leave: "\x1b[?2004l\x1b[r\x1b[0m\x1b[?25h\x1b[?1049l",
};
/// There is one screen only, which is left empty.
const CONSOLE: ScreenCodes =
    ScreenCodes { enter: "\x1b[?25l", leave: "\x1b[r\x1b[0m\x1b[H\x1b[2J\x1b[?25h" };

pub(crate) struct Terminal {
    tty: Tty,
    signals: Signals,
    manners: &'static ScreenCodes,
    raw: Option<RawMode>,
    output: Vec<u8>,
    written: usize,
    is_readable: bool,
    is_writable: bool,
}

impl Terminal {
    /// Opens the controlling terminal and takes the signals over. To be called before any thread
    /// is started.
    ///
    /// # Errors
    /// There is none, or it cannot move its cursor: one sentence.
    pub(crate) fn open() -> Result<Terminal, String> {
        let signals =
            Signals::block().map_err(|error| format!("cannot take signals over: {error}"))?;
        let tty = Tty::open().map_err(|error| format!("there is no terminal: {error}"))?;
        let term = std::env::var("TERM").unwrap_or_default();
        let manners = match term.as_str() {
            "" | "dumb" | "unknown" => {
                return Err(format!("the terminal cannot show a screen (TERM is {term:?})"));
            }
            _ if term.starts_with("linux") || term.starts_with("vt") => &CONSOLE,
            _ if term.starts_with("screen") || term.starts_with("tmux") => &MULTIPLEXED,
            _ => &FULL,
        };
        Ok(Terminal {
            tty,
            signals,
            manners,
            raw: None,
            output: Vec::new(),
            written: 0,
            is_readable: true,
            is_writable: true,
        })
    }

    /// Its size now, in columns and rows; the usual one if it does not tell.
    pub(crate) fn size(&self) -> (usize, usize) {
        const USUAL: (usize, usize) = (80, 24);
        let most = usize::try_from(TERMINAL_CELLS_MAX).unwrap_or(usize::MAX) / 10;
        match self.tty.size() {
            Ok(size) if size.columns > 0 && size.rows > 0 => {
                (usize::from(size.columns).min(most), usize::from(size.rows).min(most))
            }
            _ => USUAL,
        }
    }

    /// The terminal, for the reactor.
    pub(crate) fn tty(&self) -> &Tty {
        &self.tty
    }

    /// The signals, for the reactor.
    pub(crate) fn signals(&self) -> &Signals {
        &self.signals
    }

    /// The next signal that has come.
    pub(crate) fn next_signal(&mut self) -> Option<Signal> {
        self.signals.next_signal()
    }

    /// Takes the terminal for the screen.
    ///
    /// # Errors
    /// When it has hung up.
    pub(crate) fn take(&mut self) -> io::Result<()> {
        self.raw = Some(self.tty.enter_raw_mode(self.manners.leave.as_bytes())?);
        (self.output, self.written) = (self.manners.enter.as_bytes().to_vec(), 0);
        (self.is_readable, self.is_writable) = (true, true);
        Ok(())
    }

    /// Puts everything back as it was.
    pub(crate) fn give_back(&mut self) {
        self.finish_output();
        self.raw = None;
    }

    /// Takes note of what became possible.
    pub(crate) fn note(&mut self, ready: Ready) {
        self.is_readable |= ready.readable || ready.closed;
        self.is_writable |= ready.writable;
    }

    /// Hands over what was typed. True when the terminal is gone.
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

    /// Whether all that was to be written is.
    pub(crate) fn is_flushed(&self) -> bool {
        self.written == self.output.len()
    }

    /// Takes bytes to be written, when all before them are.
    pub(crate) fn write(&mut self, bytes: Vec<u8>) {
        debug_assert!(self.is_flushed(), "a picture is painted when the last one is there");
        (self.output, self.written) = (bytes, 0);
    }

    /// Writes what the terminal takes.
    pub(crate) fn flush(&mut self) {
        while self.is_writable && !self.is_flushed() {
            match self.tty.stream.write(&self.output[self.written..]) {
                Moved::Bytes(count) => self.written += count,
                // Reading will tell that it is gone.
                Moved::Blocked | Moved::Closed | Moved::Failed(_) => self.is_writable = false,
            }
        }
    }

    /// Whether something can be done at once.
    pub(crate) fn has_more(&self) -> bool {
        self.raw.is_some() && (self.is_readable || (self.is_writable && !self.is_flushed()))
    }

    /// The rest of a picture: a sequence that is cut would swallow what follows it. What does not
    /// fit now is ended by a character that ends every sequence.
    fn finish_output(&mut self) {
        self.flush();
        if !self.is_flushed() {
            let _ = self.tty.stream.write(b"\x18");
        }
        (self.output, self.written) = (Vec::new(), 0);
    }
}
