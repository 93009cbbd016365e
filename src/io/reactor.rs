//! Waits: for descriptors, for a deadline, for other threads.
//!
//! A thin face over mio's epoll. Each descriptor is watched under a [`Key`] of the owner's table,
//! so an event for something that is gone finds nothing there instead of its successor. Several
//! descriptors may share one key (a child's pipes). All watching is edge-triggered: an event says
//! that something became possible, and is not repeated until the owner has read or written up to
//! "would block".
//!
//! Nothing here decides what runs.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Token};

use super::clock::Clock;
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::limits::REACTOR_EVENTS_PER_WAIT;

/// A key fits into a token only where both have 64 bits.
const _: () = assert!(size_of::<usize>() == size_of::<u64>());

#[derive(Debug)]
pub struct Reactor {
    poll: mio::Poll,
    events: mio::Events,
    /// Kept here, because a wake is lost when the last handle goes before the wait has seen it.
    waker: Option<Waker>,
}

/// What became possible with the descriptor, or one of the descriptors, under `key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The owner's name for it; it may be gone by now.
    pub key: Key,
    /// There is something to read, or an end or an error to be found by reading.
    pub(crate) readable: bool,
    /// There is room to write, or an error to be found by writing.
    pub(crate) writable: bool,
    /// The peer will send nothing more: reading goes on up to the end.
    pub closed: bool,
}

/// Which events are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interests {
    /// Only reading: listeners, signals, processes.
    Read,
    /// Only writing: a child's standard input.
    Write,
    Both,
}

/// What came of [`Reactor::watch`].
#[must_use = "a file that is always ready brings no events"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Events will come.
    Events,
    /// A regular file or `/dev/null`: epoll takes none of them, no event will ever come, and
    /// reading never has to wait.
    AlwaysReady,
}

impl Reactor {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// When the process or the system is out of descriptors.
    pub fn new() -> io::Result<Reactor> {
        let events = mio::Events::with_capacity(REACTOR_EVENTS_PER_WAIT);
        Ok(Reactor { poll: mio::Poll::new()?, events, waker: None })
    }

    /// Watches `source` under `key`. What is ready already is reported by the next wait.
    ///
    /// # Errors
    /// When the source is watched already, or the kernel has no room for it.
    pub fn watch(&self, source: &impl AsFd, key: Key, interests: Interests) -> io::Result<Watch> {
        let fd = source.as_fd().as_raw_fd();
        let wanted = match interests {
            Interests::Read => Interest::READABLE,
            Interests::Write => Interest::WRITABLE,
            Interests::Both => Interest::READABLE | Interest::WRITABLE,
        };
        match self.poll.registry().register(&mut SourceFd(&fd), token(key), wanted) {
            Ok(()) => Ok(Watch::Events),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Watch::AlwaysReady),
            Err(error) => Err(error),
        }
    }

    /// Stops watching. Closing a descriptor does the same, unless a copy of it is still open.
    ///
    /// # Errors
    /// When the source was not watched.
    #[cfg(test)]
    fn forget(&self, source: &impl AsFd) -> io::Result<()> {
        let fd = source.as_fd().as_raw_fd();
        self.poll.registry().deregister(&mut SourceFd(&fd))
    }

    /// A handle for other threads, which makes a key readable: the key of the first call, for as
    /// long as the reactor lives, because it has one of them.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn waker(&mut self, key: Key) -> io::Result<Waker> {
        if let Some(waker) = &self.waker {
            return Ok(waker.clone());
        }
        let waker = Waker { waker: Arc::new(mio::Waker::new(self.poll.registry(), token(key))?) };
        self.waker = Some(waker.clone());
        Ok(waker)
    }

    /// Waits until something is ready or `deadline` has come, and puts what is ready into `ready`,
    /// which is emptied before. Returns at once if the deadline has passed. May return early with
    /// nothing.
    ///
    /// # Errors
    /// Only if epoll itself fails, which is a bug.
    pub fn wait(
        &mut self,
        clock: &Clock,
        deadline: Option<Mono>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        ready.clear();
        let timeout = deadline.map(|at| at.since(clock.mono()));
        self.wait_for(timeout, ready)
    }

    /// As [`Reactor::wait`], but without waiting if there `is_more` to do at once.
    ///
    /// # Errors
    /// As [`Reactor::wait`].
    pub fn turn(
        &mut self,
        clock: &Clock,
        deadline: Option<Mono>,
        is_more: bool,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        match is_more {
            true => self.look(ready),
            false => self.wait(clock, deadline, ready),
        }
    }

    /// As [`Reactor::wait`], without waiting: for a turn when something was queued again.
    ///
    /// # Errors
    /// As [`Reactor::wait`].
    pub fn look(&mut self, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        self.wait_for(Some(Duration::ZERO), ready)
    }

    /// A timeout is rounded up to milliseconds, so a deadline that ended a wait has passed.
    fn wait_for(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        ready.extend(self.events.iter().map(|event| Ready {
            key: Key::from_bits(event.token().0 as u64),
            readable: event.is_readable() || event.is_read_closed() || event.is_error(),
            writable: event.is_writable() || event.is_write_closed() || event.is_error(),
            closed: event.is_read_closed() || event.is_error(),
        }));
        Ok(())
    }
}

/// Ends the reactor's wait from any thread.
#[derive(Clone, Debug)]
pub struct Waker {
    waker: Arc<mio::Waker>,
}

impl Waker {
    /// Ends the current wait, or the next one if none is going on.
    pub fn wake(&self) {
        // The eventfd's counter cannot overflow (mio resets it), and there is nobody to tell.
        let _ = self.waker.wake();
    }
}

#[expect(clippy::cast_possible_truncation, reason = "asserted above: usize has 64 bits")]
const fn token(key: Key) -> Token {
    Token(key.to_bits() as usize)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn key(number: u64) -> Key {
        Key::from_bits(number)
    }

    #[test]
    fn an_edge_is_told_once_under_its_key() {
        let (mut far, near) = UnixStream::pair().unwrap();
        let (clock, mut reactor, mut ready) = (Clock::new(), Reactor::new().unwrap(), Vec::new());
        let name = key((7 << 32) | 3);
        assert_eq!(reactor.watch(&near, name, Interests::Read).unwrap(), Watch::Events);
        reactor.look(&mut ready).unwrap();
        assert!(ready.is_empty());
        far.write_all(b"x").unwrap();
        reactor.wait(&clock, None, &mut ready).unwrap();
        let told = Ready { key: name, readable: true, writable: false, closed: false };
        assert_eq!(ready, [told]);
        reactor.look(&mut ready).unwrap();
        assert!(ready.is_empty(), "{ready:?}");
        drop(far);
        reactor.wait(&clock, None, &mut ready).unwrap();
        assert!(ready[0].closed && ready[0].readable);
    }

    #[test]
    fn a_deadline_ends_the_wait_and_has_passed_then() {
        let (clock, mut reactor, mut ready) = (Clock::new(), Reactor::new().unwrap(), Vec::new());
        let deadline = clock.mono() + Duration::from_micros(1500);
        reactor.wait(&clock, Some(deadline), &mut ready).unwrap();
        assert!(clock.mono() >= deadline);
        reactor.wait(&clock, Some(Mono::ZERO), &mut ready).unwrap();
        assert!(ready.is_empty());
    }

    #[test]
    fn another_thread_wakes_it() {
        let (clock, mut reactor, mut ready) = (Clock::new(), Reactor::new().unwrap(), Vec::new());
        let waker = reactor.waker(key(1)).unwrap();
        let thread = std::thread::spawn(move || waker.wake());
        reactor.wait(&clock, None, &mut ready).unwrap();
        assert_eq!((ready[0].key, ready[0].readable), (key(1), true));
        thread.join().unwrap();
    }

    #[test]
    fn files_that_epoll_refuses_are_always_ready() {
        let reactor = Reactor::new().unwrap();
        for path in ["/dev/null", "/proc/self/exe"] {
            let file = std::fs::File::open(path).unwrap();
            assert_eq!(
                reactor.watch(&file, key(1), Interests::Read).unwrap(),
                Watch::AlwaysReady,
                "{path}"
            );
        }
    }

    #[test]
    fn what_is_forgotten_is_silent() {
        let (mut far, near) = UnixStream::pair().unwrap();
        let (mut reactor, mut ready) = (Reactor::new().unwrap(), Vec::new());
        let _ = reactor.watch(&near, key(1), Interests::Both).unwrap();
        reactor.forget(&near).unwrap();
        far.write_all(b"x").unwrap();
        reactor.look(&mut ready).unwrap();
        assert!(ready.is_empty());
        assert!(reactor.forget(&near).is_err());
    }
}
