//! Connects to a host that has several numbers, as RFC 8305 has it: one attempt after the other,
//! the next one as soon as one fails or [`CONNECT_ATTEMPT_DELAY`] has passed, and the first stream
//! that opens is taken. The families take turns, beginning with the resolver's first.
//!
//! All attempts and the timer between them are watched under one key, so the owner need not know
//! how many there are.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::link::Pump;
use super::reactor::{Interests, Reactor, Ready};
use super::stream::Stream;
use crate::base::slots::Key;
use crate::base::unreached::Unreached;
use crate::limits::CONNECT_ATTEMPT_DELAY;

/// Attempts at one host.
#[derive(Debug)]
pub(super) struct HappyEyeballs {
    key: Key,
    attempts: Vec<Pump>,
    rest: VecDeque<SocketAddr>,
    /// Runs while an attempt is young and others are left.
    timer: Option<OwnedFd>,
}

/// What has come of them.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing new.
    Waiting,
    /// One more has begun.
    Started,
    Opened(Pump),
    /// All have failed.
    Failed(Unreached),
}

impl HappyEyeballs {
    /// None yet: [`HappyEyeballs::start`] begins. What opens is watched under `key`.
    pub(super) fn new(key: Key, numbers: Vec<SocketAddr>) -> HappyEyeballs {
        HappyEyeballs { key, attempts: Vec::new(), rest: interleaved(numbers), timer: None }
    }

    /// Begins with the next number to which that is possible.
    pub(super) fn start(&mut self, reactor: &Reactor) -> Step {
        let none = Unreached::Refused("no address is left to be tried".to_owned());
        self.next_or(reactor, none)
    }

    /// Takes note of what the reactor reported.
    pub(super) fn ready(&mut self, reactor: &Reactor, ready: Ready) -> Step {
        let mut failed = None;
        for mut pump in std::mem::take(&mut self.attempts) {
            match pump.ready(ready) {
                Ok(true) => return Step::Opened(pump),
                Ok(false) => self.attempts.push(pump),
                Err(error) => failed = Some(error.into()),
            }
        }
        let late = || Unreached::Silent("no answer".to_owned());
        match failed {
            None if !self.is_time_for_next() => Step::Waiting,
            failed => self.next_or(reactor, failed.unwrap_or_else(late)),
        }
    }

    /// Watches all of it, with another reactor than before.
    ///
    /// # Errors
    /// As [`Reactor::watch`].
    pub(super) fn watch(&self, reactor: &Reactor) -> io::Result<()> {
        for pump in &self.attempts {
            self.watch_one(reactor, pump.stream(), Interests::Both)?;
        }
        if let Some(timer) = &self.timer {
            self.watch_one(reactor, timer, Interests::Read)?;
        }
        Ok(())
    }

    /// The next attempt. Where there is none to be made and none under way, `failed` says why.
    fn next_or(&mut self, reactor: &Reactor, mut failed: Unreached) -> Step {
        self.timer = None;
        while let Some(number) = self.rest.pop_front() {
            match self.attempt(reactor, number) {
                Ok(()) => return Step::Started,
                Err(error) => failed = error.into(),
            }
        }
        if self.attempts.is_empty() { Step::Failed(failed) } else { Step::Waiting }
    }

    fn attempt(&mut self, reactor: &Reactor, number: SocketAddr) -> io::Result<()> {
        let stream = Stream::connect_tcp(number)?;
        self.watch_one(reactor, &stream, Interests::Both)?;
        if !self.rest.is_empty() {
            let timer = timer()?;
            self.watch_one(reactor, &timer, Interests::Read)?;
            self.timer = Some(timer);
        }
        self.attempts.push(Pump::connecting(stream, None));
        Ok(())
    }

    fn watch_one(
        &self,
        reactor: &Reactor,
        source: &impl AsFd,
        interests: Interests,
    ) -> io::Result<()> {
        reactor.watch(source, self.key, interests).map(drop)
    }

    fn is_time_for_next(&self) -> bool {
        let mut expirations = [0; 8];
        let timer = self.timer.as_ref();
        timer.is_some_and(|timer| rustix::io::read(timer, &mut expirations).is_ok())
    }
}

/// Fires once, after [`CONNECT_ATTEMPT_DELAY`].
fn timer() -> io::Result<OwnedFd> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    let delay = Timespec { tv_sec: 0, tv_nsec: CONNECT_ATTEMPT_DELAY.subsec_nanos().into() };
    let once = Itimerspec { it_interval: Timespec::default(), it_value: delay };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
    Ok(timer)
}

/// One of each family after the other, in the order that they had (RFC 8305 §4).
fn interleaved(numbers: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = numbers.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        numbers.into_iter().partition(|number| number.is_ipv6() == first_is_v6);
    let mut mixed = VecDeque::new();
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use super::super::clock::Clock;
    use super::*;

    const KEY: Key = Key::from_bits(1);

    /// A listener whose queue is full: the kernel drops what dials it, as a silent host would.
    fn silent() -> (SocketAddr, OwnedFd, Vec<Stream>) {
        use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
        let queue = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&queue, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
        listen(&queue, 0).unwrap();
        let address = SocketAddr::try_from(getsockname(&queue).unwrap()).unwrap();
        let waiting = (0..4).map(|_| Stream::connect_tcp(address).unwrap()).collect();
        (address, queue, waiting)
    }

    fn outcome(numbers: Vec<SocketAddr>) -> Result<SocketAddr, Unreached> {
        let (clock, mut reactor) = (Clock::new(), Reactor::new().unwrap());
        let mut attempts = HappyEyeballs::new(KEY, numbers);
        let mut step = attempts.start(&reactor);
        let mut ready = Vec::new();
        loop {
            match step {
                Step::Opened(pump) => {
                    let peer = rustix::net::getpeername(pump.stream()).unwrap().unwrap();
                    return Ok(SocketAddr::try_from(peer).unwrap());
                }
                Step::Failed(why) => return Err(why),
                Step::Waiting | Step::Started => {}
            }
            step = Step::Waiting;
            reactor.wait(&clock, None, &mut ready).unwrap();
            for ready in ready.drain(..) {
                if let Step::Waiting | Step::Started = step {
                    step = attempts.ready(&reactor, ready);
                }
            }
        }
    }

    #[test]
    fn a_silent_number_costs_one_delay_and_the_slow_first_may_still_win() {
        let (silent, _queue, _waiting) = silent();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let start = Instant::now();
        assert_eq!(outcome(vec![silent, good]), Ok(good));
        assert!(start.elapsed() >= CONNECT_ATTEMPT_DELAY);
        assert_eq!(outcome(vec![good, silent]), Ok(good));
    }

    #[test]
    fn a_number_that_refuses_costs_nothing_and_the_last_refusal_is_told() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        assert_eq!(outcome(vec![closed, closed, good]), Ok(good));
        assert!(matches!(outcome(vec![closed, closed]), Err(Unreached::Refused(_))));
    }

    #[test]
    fn families_take_turns() {
        let number = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (a, b, c) = (number("[::1]:1"), number("[::2]:1"), number("[::3]:1"));
        let d = number("192.0.2.1:1");
        assert_eq!(interleaved(vec![a, b, c, d]), [a, d, b, c]);
        assert_eq!(interleaved(vec![d, a, b]), [d, a, b]);
    }
}
