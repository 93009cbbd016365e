//! The loop of a daemon: one thread that waits, lets each part act, and waits again.
//!
//! It ends on SIGTERM, SIGINT and SIGQUIT, and, where a parent process holds the other end of
//! standard input, when that ends. SIGHUP asks for a new look at files.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;

use super::error::ServeError;
use crate::base::time::{Mono, Now};
use crate::io::clock::Clock;
use crate::io::disk;
use crate::io::reactor::{Interests, Ready};
use crate::io::registry::Registry;
use crate::io::signals::{Signal, Signals};
use crate::io::stream::{Moved, Stream};
use crate::io::{machine, notify};
use crate::limits::{DESCRIPTORS_RESERVED, KEYS_LOOK_INTERVAL};
use crate::log::Log;
use crate::paths::PUBLIC_FILE;

/// What both daemons hold beside what they serve.
pub(crate) struct EventLoop<O, W> {
    pub(crate) clock: Clock,
    pub(crate) log: Log<W>,
    pub(crate) registry: Registry<O>,
    signals: Signals,
    parent_pipe: Option<Stream>,
    /// When the file of authorized keys is looked at next.
    look_at_keys: Mono,
}

/// What a signal or the end of the parent's pipe asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// To end, and why.
    End(&'static str),
    /// To look at files anew.
    Reload,
}

/// Writes where a daemon listens to a file, for whoever chose no port.
#[cold]
pub(crate) fn write_address(path: &Path, address: SocketAddr) -> Result<(), disk::DiskError> {
    let (_, mode) = PUBLIC_FILE;
    disk::write_atomic(path, format!("{address}\n").as_bytes(), mode)
}

/// A daemon, to its loop.
pub(crate) trait Daemon {
    fn is_over(&self) -> bool;

    /// Waits for events until the daemon's next deadline, or not at all if it `is_busy`.
    ///
    /// # Errors
    /// As [`crate::io::reactor::Reactor::wait`].
    fn wait(&mut self, is_busy: bool, ready: &mut Vec<Ready>) -> io::Result<Now>;

    /// Something became possible with one descriptor.
    fn dispatch(&mut self, now: Now, ready: Ready);

    fn tick(&mut self, now: Now);

    /// Does all that can be done without waiting, a bounded share of it. Says whether there is
    /// more.
    fn turn(&mut self, now: Now) -> bool;
}

/// Turns until the daemon is over.
///
/// # Errors
/// The event loop itself fails.
pub(crate) fn run(daemon: &mut dyn Daemon) -> Result<(), ServeError> {
    let (mut ready, mut is_busy) = (Vec::new(), true);
    while !daemon.is_over() {
        let now = daemon.wait(is_busy, &mut ready).map_err(ServeError::system("event loop"))?;
        for ready in &ready {
            daemon.dispatch(now, *ready);
        }
        daemon.tick(now);
        is_busy = daemon.turn(now);
    }
    Ok(())
}

impl<O: Copy, W: io::Write> EventLoop<O, W> {
    /// Watches signals, and standard input if its end is to end the daemon, for these owners.
    /// `signals` were taken over before any thread was started.
    ///
    /// # Errors
    /// [`ServeError::System`]
    pub(crate) fn new(
        signals: Signals,
        log: Log<W>,
        descriptors_max: usize,
        until_stdin_ends: bool,
        (for_signals, for_parent_pipe): (O, O),
    ) -> Result<EventLoop<O, W>, ServeError> {
        machine::raise_descriptor_limit(descriptors_max + DESCRIPTORS_RESERVED);
        let registry = Registry::new(descriptors_max).map_err(ServeError::system("event loop"))?;
        let parent_pipe = until_stdin_ends.then(Stream::stdin).transpose();
        let parent_pipe = parent_pipe.map_err(ServeError::system("standard input"))?;
        let clock = Clock::new();
        let look_at_keys = clock.mono();
        let mut new = EventLoop { clock, log, registry, signals, parent_pipe, look_at_keys };
        let watched = new.registry.watch_for(&new.signals, for_signals, Interests::Read);
        watched.map_err(ServeError::system("event loop"))?;
        if let Some(pipe) = &new.parent_pipe {
            let watched = new.registry.watch_for(pipe, for_parent_pipe, Interests::Read);
            watched.map_err(ServeError::system("event loop"))?;
        }
        Ok(new)
    }

    /// Watches a listener.
    ///
    /// # Errors
    /// [`ServeError::System`]
    pub(crate) fn watch(&mut self, listener: &impl AsFd, owner: O) -> Result<(), ServeError> {
        let watched = self.registry.watch_for(listener, owner, Interests::Read);
        watched.map(drop).map_err(ServeError::system("event loop"))
    }

    /// Waits until `deadline`, or not at all if the daemon `is_busy`.
    ///
    /// # Errors
    /// As [`crate::io::reactor::Reactor::wait`].
    pub(crate) fn wait(
        &mut self,
        deadline: Option<Mono>,
        is_busy: bool,
        ready: &mut Vec<Ready>,
    ) -> io::Result<Now> {
        self.registry.reactor.turn(&self.clock, deadline, is_busy, ready)?;
        Ok(self.clock.now())
    }

    /// When [`EventLoop::keys_are_due`] says so next. A daemon that has nothing else to do need not
    /// wake for it.
    pub(crate) fn keys_deadline(&self) -> Mono {
        self.look_at_keys
    }

    /// Whether it is time to look at the keys, which then is so again after a while.
    pub(crate) fn keys_are_due(&mut self, now: Mono) -> bool {
        let is_due = self.look_at_keys <= now;
        if is_due {
            self.look_at_keys = now + KEYS_LOOK_INTERVAL;
        }
        is_due
    }

    /// What is asked for next, if anything is.
    #[cold]
    pub(crate) fn next_control(&mut self) -> Option<Control> {
        while let Some(signal) = self.signals.next_signal() {
            match signal {
                Signal::Terminate => return Some(Control::End("SIGTERM")),
                Signal::Interrupt => return Some(Control::End("SIGINT")),
                Signal::Quit => return Some(Control::End("SIGQUIT")),
                Signal::HangUp => return Some(Control::Reload),
                Signal::WindowChange => {}
            }
        }
        let mut dropped = [0; 64];
        while let Some(pipe) = &self.parent_pipe {
            match pipe.read(&mut dropped) {
                Moved::Bytes(_) => {}
                Moved::Blocked => return None,
                Moved::Closed | Moved::Failed(_) => {
                    self.parent_pipe = None;
                    return Some(Control::End("its owner has ended"));
                }
            }
        }
        None
    }

    /// Tells systemd that the daemon is ready.
    #[cold]
    pub(crate) fn tell_ready(&mut self) {
        if let Err(error) = notify::ready() {
            self.log.warning(format_args!("cannot tell systemd that this is ready: {error}"));
        }
    }
}
