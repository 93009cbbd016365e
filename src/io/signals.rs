//! Signals as something to read, instead of something that interrupts.
//!
//! They are blocked in the whole process and come out of a descriptor. Children must not inherit
//! the blocking, nor what our own parent had us ignore (a script ignores SIGINT for what it starts
//! with `&`): a shell whose SIGINT is blocked or ignored cannot be interrupted.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;

/// What the program is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM: end in good order.
    Terminate,
    /// SIGINT: the operator pressed Ctrl-C.
    Interrupt,
    /// SIGQUIT: the operator pressed Ctrl-\.
    Quit,
    /// SIGHUP: the terminal is gone, or the configuration is to be read again.
    HangUp,
    /// SIGWINCH: the terminal has a new size.
    WindowChange,
}

const SIGNALS: [(libc::c_int, Signal); 5] = [
    (libc::SIGTERM, Signal::Terminate),
    (libc::SIGINT, Signal::Interrupt),
    (libc::SIGQUIT, Signal::Quit),
    (libc::SIGHUP, Signal::HangUp),
    (libc::SIGWINCH, Signal::WindowChange),
];

/// The descriptor that signals come out of. The reactor watches it for reading.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks the signals of [`Signal`] in this thread and in those that it starts from now on, so
    /// it must be called before any other thread runs. They stay blocked: a second signal while the
    /// program ends must not cut that short.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    #[expect(unsafe_code, reason = "neither std nor rustix has signalfd")]
    pub(crate) fn block() -> io::Result<Signals> {
        let set = signal_set(SIGNALS.iter().map(|(number, _)| *number));
        // SAFETY: `set` is initialised and outlives both calls; a null old set is allowed.
        let fd = unsafe {
            let error =
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            if error != 0 {
                return Err(io::Error::from_raw_os_error(error));
            }
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above just made this descriptor, and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Signals { fd })
    }

    /// The next signal that has come; to be called until there is none.
    pub(crate) fn next_signal(&mut self) -> Option<Signal> {
        const RECORD_BYTES: usize = size_of::<libc::signalfd_siginfo>();
        let mut record = [0; RECORD_BYTES];
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&self.fd, &mut record));
        match count {
            Ok(RECORD_BYTES) => {}
            // Nothing has come; the kernel gives whole records only.
            Ok(_) | Err(Errno::AGAIN) | Err(_) => return None,
        }
        // `ssi_signo` is the first field, a u32 (signalfd(2)).
        let number = u32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
        SIGNALS
            .iter()
            .find_map(|(known, signal)| (u32::try_from(*known) == Ok(number)).then_some(*signal))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Lets a command start with no signal blocked, and with none of [`Signal`] ignored.
#[expect(unsafe_code, reason = "std lets the child inherit both, and has no other way in")]
pub(crate) fn reset_in_child(command: &mut Command) {
    let none = signal_set([]);
    // SAFETY: between fork and exec; both calls are async-signal-safe and allocate nothing, and no
    // handler of ours is replaced, as there is none.
    unsafe {
        command.pre_exec(move || {
            for (number, _) in SIGNALS {
                libc::signal(number, libc::SIG_DFL);
            }
            let error =
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
        });
    }
}

#[expect(unsafe_code, reason = "libc's only way to fill a signal set")]
fn signal_set(numbers: impl IntoIterator<Item = libc::c_int>) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set before anything is added, and cannot fail; sigaddset
    // fails for numbers that are no signals only, and leaves the set as it was.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for number in numbers {
            libc::sigaddset(set.as_mut_ptr(), number);
        }
        set.assume_init()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(unsafe_code, reason = "raise, so that only this thread of the test gets it")]
    fn raise(number: libc::c_int) {
        // SAFETY: it is blocked in this thread.
        assert_eq!(unsafe { libc::raise(number) }, 0);
    }

    #[test]
    #[expect(unsafe_code, reason = "signal, as a script does it for what it starts")]
    fn what_we_ignore_is_not_ignored_by_a_child() {
        // SAFETY: SIGQUIT has no handler here, and nobody sends it to this process.
        unsafe { libc::signal(libc::SIGQUIT, libc::SIG_IGN) };
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -c 0; kill -QUIT $$; echo survived"]);
        reset_in_child(&mut command);
        assert_eq!(command.output().unwrap().stdout, b"");
    }

    #[test]
    fn signals_are_read_one_by_one() {
        let mut signals = Signals::block().unwrap();
        assert_eq!(signals.next_signal(), None);
        raise(libc::SIGWINCH);
        raise(libc::SIGTERM);
        raise(libc::SIGTERM);
        let mut come = [signals.next_signal(), signals.next_signal()];
        come.sort_by_key(|signal| *signal == Some(Signal::WindowChange));
        assert_eq!(come, [Some(Signal::Terminate), Some(Signal::WindowChange)]);
        assert_eq!(signals.next_signal(), None);
    }
}
