//! Ctrl-C, and the signals that mean the same, for everything that this process does on hosts.
//!
//! A signal ends no thread: each run polls, tells its host by closing the standard input there, and
//! hears it out. The first signal counts for all threads until [`Interrupts::rearm`].

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::io::clock::Clock;
use crate::io::reactor::{Interests, Reactor};
use crate::io::signals::{Signal, Signals};

const SIGNALS: Key = Key::from_bits(1);
/// How long a thread waits at most until it looks again: the signal that woke it may have been read
/// by another thread.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Whether the operator wants everything to end. Shared by all threads.
#[derive(Debug)]
pub(crate) struct Interrupts {
    signals: Mutex<Signals>,
    has_come: AtomicBool,
}

impl Interrupts {
    /// From now on signals end runs on hosts and not this process. Must be called before the
    /// process has other threads.
    pub(crate) fn block() -> io::Result<Interrupts> {
        Ok(Interrupts { signals: Mutex::new(Signals::block()?), has_come: AtomicBool::new(false) })
    }

    pub(crate) fn has_come(&self) -> bool {
        let mut signals = self.signals.lock().expect("nothing panics under the lock");
        while let Some(signal) = signals.next_signal() {
            if signal != Signal::WindowChange {
                self.has_come.store(true, Ordering::Relaxed);
            }
        }
        self.has_come.load(Ordering::Relaxed)
    }

    /// Only signals from now on count: what is begun now is to end as well if another one comes.
    pub(crate) fn rearm(&self) {
        let _until_now = self.has_come();
        self.has_come.store(false, Ordering::Relaxed);
    }

    /// When a thread looks again at the latest, with this deadline of its own.
    pub(super) fn next_look(now: Mono, deadline: Option<Mono>) -> Mono {
        let look = now + LOOK_INTERVAL;
        deadline.map_or(look, |deadline| deadline.min(look))
    }

    /// A reactor that wakes up for signals.
    pub(super) fn reactor(&self) -> io::Result<Reactor> {
        let reactor = Reactor::new()?;
        let signals = self.signals.lock().expect("nothing panics under the lock");
        let _ = reactor.watch(&*signals, SIGNALS, Interests::Read)?;
        Ok(reactor)
    }

    /// Waits that long, or until the operator wants everything to end; whether that is so.
    pub(crate) fn pause(&self, length: Duration) -> io::Result<bool> {
        let (clock, mut ready) = (Clock::new(), Vec::new());
        let mut reactor = self.reactor()?;
        let until = clock.mono() + length;
        while clock.mono() < until && !self.has_come() {
            let look = Interrupts::next_look(clock.mono(), Some(until));
            reactor.wait(&clock, Some(look), &mut ready)?;
        }
        Ok(self.has_come())
    }
}
