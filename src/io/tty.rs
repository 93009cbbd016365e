//! The operator's terminal, and how it is left.
//!
//! It is opened afresh as `/dev/tty`, because O_NONBLOCK belongs to the open file: set on inherited
//! standard input it would change the shell's. In raw mode the terminal's old settings are kept in
//! one place of the process, from which they are put back exactly once: on demand, when the guard
//! is dropped, or in a panic (which aborts, so nothing is dropped).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{
    OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetwinsize, tcsetattr,
};
use rustix::time::Timespec;

use super::pty::Size;
use super::stream::{Moved, Stream};

/// What a byte is that comes in behind a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Not the answer.
    Other,
    /// A part of something: the rest of it belongs to it.
    Amid,
    /// The answer's last byte.
    Answer,
}

/// How long an answer is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) answer: Duration,
    /// How long it is silent after the beginning of something that has no end.
    pub(crate) silence: Duration,
    /// At most.
    pub(crate) all: Duration,
}

/// How long a terminal that takes nothing may hold up its own restoring.
const RESTORE_PATIENCE: Duration = Duration::from_secs(1);

/// A terminal that is in raw mode, and what it was before.
struct Raw {
    terminal: Stream,
    settings: Termios,
    reset: &'static [u8],
}

/// The one terminal of this process that is in raw mode, if any is.
static RAW: Mutex<Option<Raw>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// The operator's terminal. The reactor watches its stream for both directions.
#[derive(Debug)]
pub(crate) struct Tty {
    /// Keys and the screen.
    pub(crate) stream: Stream,
}

/// Raw mode, for as long as this lives.
#[derive(Debug)]
#[must_use = "dropping it leaves raw mode"]
pub(crate) struct RawMode {
    _private: (),
}

impl Tty {
    /// Opens the controlling terminal.
    ///
    /// # Errors
    /// When there is none: started by cron, by a service, or in a pipeline without one.
    pub(crate) fn open() -> io::Result<Tty> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(Tty::from_fd(rustix::fs::open("/dev/tty", flags, Mode::empty())?))
    }

    fn from_fd(fd: OwnedFd) -> Tty {
        Tty { stream: Stream::from_terminal(fd) }
    }

    /// Its size now; SIGWINCH tells when to ask again.
    ///
    /// # Errors
    /// When it has hung up.
    pub(crate) fn size(&self) -> io::Result<Size> {
        Ok(tcgetwinsize(&self.stream)?.into())
    }

    /// Every key as it is pressed, nothing echoed, no byte changed on its way to the screen. When
    /// that ends, however it ends, `reset` is written (main screen, cursor shown, mouse off) and
    /// the old settings are put back.
    ///
    /// # Errors
    /// When it has hung up, or a terminal of this process is in raw mode already.
    pub(crate) fn enter_raw_mode(&self, reset: &'static [u8]) -> io::Result<RawMode> {
        HOOK.call_once(restore_on_panic);
        let mut raw = held();
        if raw.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let settings = tcgetattr(&self.stream)?;
        let terminal = Stream::from_terminal(self.stream.as_fd().try_clone_to_owned()?);
        let mut changed = settings.clone();
        changed.make_raw();
        tcsetattr(&self.stream, OptionalActions::Now, &changed)?;
        *raw = Some(Raw { terminal, settings, reset });
        Ok(RawMode { _private: () })
    }
}

impl AsFd for Tty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl RawMode {
    /// Leaves raw mode behind an answer: writes `reset` in place of the one that it was entered
    /// with and `question`, and discards what comes in up to the answer, or all that came within
    /// `patience`. Without a question nothing is waited for.
    pub(crate) fn leave_behind(
        self,
        reset: &[u8],
        question: &[u8],
        patience: Patience,
        mut hear: impl FnMut(u8) -> Heard,
    ) {
        // A panic from here on would restore nothing; nothing here panics.
        let Some(raw) = held().take() else { return };
        let start = Instant::now();
        let mut until = start + patience.answer;
        let is_asked = raw.write(reset) && raw.write(question) && !question.is_empty();
        // One byte at a time: what was typed behind the answer stays for the next reader.
        let mut byte = [0];
        while is_asked && start.elapsed() < patience.all {
            match raw.terminal.read(&mut byte) {
                Moved::Bytes(_) => match hear(byte[0]) {
                    Heard::Answer => return raw.set_back(),
                    Heard::Amid => until = until.max(Instant::now() + patience.silence),
                    Heard::Other => until = start + patience.answer,
                },
                Moved::Blocked if raw.waits(PollFlags::IN, until) => {}
                Moved::Blocked | Moved::Closed | Moved::Failed(_) => break,
            }
        }
        let _ = tcflush(&raw.terminal, QueueSelector::IFlush);
        raw.set_back();
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let raw = held().take();
        if let Some(raw) = raw {
            raw.restore();
        }
    }
}

impl Raw {
    /// Errors have nobody to be told to: the terminal is what they would be shown on.
    fn restore(&self) {
        self.write(self.reset);
        self.set_back();
    }

    /// Writes all of it, unless the terminal takes nothing for a while.
    fn write(&self, mut left: &[u8]) -> bool {
        while !left.is_empty() {
            match self.terminal.write(left) {
                Moved::Bytes(count) => left = &left[count..],
                Moved::Blocked if self.waits(PollFlags::OUT, Instant::now() + RESTORE_PATIENCE) => {
                }
                Moved::Blocked | Moved::Closed | Moved::Failed(_) => return false,
            }
        }
        true
    }

    fn set_back(&self) {
        // At once: waiting until everything is shown could be for ever (Ctrl-S).
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.settings);
    }

    fn waits(&self, flags: PollFlags, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or_default();
        let mut fds = [PollFd::new(&self.terminal, flags)];
        poll(&mut fds, Some(&left)).is_ok_and(|count| count > 0)
    }
}

fn held() -> MutexGuard<'static, Option<Raw>> {
    RAW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the terminal back before a panic's message is printed, so that it can be read.
fn restore_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // If this very thread holds the lock, waiting for it would be for ever.
        let raw = RAW.try_lock().ok().and_then(|mut raw| raw.take());
        if let Some(raw) = raw {
            raw.restore();
        }
        print(panic);
    }));
}

#[cfg(test)]
mod tests {
    use rustix::termios::LocalModes;

    use super::super::process::{Exit, Program};
    use super::super::pty::{self, Pty};
    use super::super::scratch::{CHILD_FILE, child_arguments, child_file};
    use super::*;

    const SIZE: Size = Size { columns: 80, rows: 24 };
    const CHILD: &str = "io::tty::tests::a_panic_in_a_process_of_its_own";

    fn terminal() -> (Stream, Tty) {
        let (master, slave) = pty::open(SIZE).unwrap();
        rustix::io::ioctl_fionbio(slave.as_fd(), true).unwrap();
        (Stream::from_terminal(master), Tty::from_fd(slave))
    }

    fn is_raw(tty: &impl AsFd) -> bool {
        !tcgetattr(tty).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    #[test]
    fn raw_mode_is_entered_once_and_left_with_the_reset() {
        let (master, tty) = terminal();
        assert_eq!(tty.size().unwrap(), SIZE);
        let raw = tty.enter_raw_mode(b"\x1b[?25h").unwrap();
        assert!(is_raw(&tty));
        assert!(tty.enter_raw_mode(b"").is_err());
        assert!(matches!(master.write(b"\x03"), Moved::Bytes(1)));
        let mut space = [0; 32];
        assert!(matches!(tty.stream.read(&mut space), Moved::Bytes(1)));
        assert_eq!(space[0], 3);
        drop(raw);
        assert!(!is_raw(&tty));
        assert!(matches!(master.read(&mut space), Moved::Bytes(6)));
        assert_eq!(&space[..6], b"\x1b[?25h");
        assert!(!is_raw(&tty));
    }

    #[test]
    fn a_terminal_that_takes_nothing_is_restored_all_the_same() {
        let (_master, slave) = pty::open(SIZE).unwrap();
        rustix::io::ioctl_fionbio(slave.as_fd(), true).unwrap();
        let tty = Tty::from_fd(slave);
        let settings = tcgetattr(&tty).unwrap();
        while let Moved::Bytes(_) = tty.stream.write(&[b'x'; 4096]) {}
        let terminal = Stream::from_terminal(tty.as_fd().try_clone_to_owned().unwrap());
        let mut changed = settings.clone();
        changed.make_raw();
        tcsetattr(&tty, OptionalActions::Now, &changed).unwrap();
        Raw { terminal, settings, reset: b"never shown" }.restore();
        assert!(!is_raw(&tty));
    }

    /// The other half of `a_panic_restores_the_terminal`, on a terminal of its own.
    #[test]
    fn a_panic_in_a_process_of_its_own() {
        if child_file().is_none() {
            return;
        }
        let tty = Tty::open().unwrap();
        let raw = tty.enter_raw_mode(b"<reset>").unwrap();
        assert!(is_raw(&tty));
        // As in a release, where nothing is dropped: a panic aborts.
        std::mem::forget(raw);
        panic!("on purpose");
    }

    #[test]
    fn a_panic_restores_the_terminal() {
        let file = std::env::current_exe().unwrap();
        let mut program = Program::new(file, child_arguments(CHILD));
        program.environment = vec![(CHILD_FILE.into(), "/dev/null".into())];
        let mut pty = Pty::spawn(&program, SIZE).unwrap();
        let mut text = String::new();
        let mut space = [0; 1000];
        loop {
            assert_eq!(poll(&mut [PollFd::new(&pty.master, PollFlags::IN)], None), Ok(1));
            match pty.master.read(&mut space) {
                Moved::Bytes(count) => text.push_str(&String::from_utf8_lossy(&space[..count])),
                Moved::Blocked => {}
                Moved::Closed | Moved::Failed(_) => break,
            }
        }
        // Restored before the message, so the message has its line ends cooked.
        let (_, after) = text.split_once("<reset>").expect("the reset was written");
        assert!(after.contains("on purpose\r\n"), "{text}");
        assert_eq!(poll(&mut [PollFd::new(&pty.process, PollFlags::IN)], None), Ok(1));
        assert_eq!(pty.process.try_exit().unwrap(), Some(Exit::Code(101)));
    }
}
