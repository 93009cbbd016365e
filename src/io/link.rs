//! A link pumps bytes between a stream and an endpoint.
//!
//! [`Pump`] holds the stream and borrows the endpoint for each turn: an endpoint that outlives its
//! stream is dialled again and again ([`super::outbound`]). [`Link`] is a pump with an endpoint of
//! its own. The code stands once, behind `dyn Endpoint`: beside a system call the indirection is
//! not felt.
//!
//! The driver's turn with a link: [`Link::ready`] for what the reactor reported, [`Link::receive`],
//! then act on the endpoint's events, then [`Link::send`], which says how it goes on. In a steady
//! exchange that is one read and one write: a short read or write on a socket counts as "would
//! block", so none is made to find that out.
//!
//! Backpressure is the endpoint's: while its input space is empty nothing is read, and the link
//! reads on, without a new event, in the first turn that finds space.
//!
//! ```text
//! Connecting -> Open -> Flushing (finished, output left) -> Draining (we sent our end) -> Closed
//! ```
//!
//! Draining reads and drops until the peer's end: closing a TCP socket with unread input resets it
//! and may take away from the peer what it has not read yet. What is dropped is bounded, and
//! whoever sends more is reset. Without a linger time a finished pump writes what is taken at once
//! and does not drain.

use std::io;
use std::time::Duration;

use super::reactor::Ready;
use super::stream::{Moved, Stream};
use crate::base::endpoint::Endpoint;
use crate::base::time::Mono;
use crate::limits::LINK_DRAIN_BYTES_MAX;

/// Dropped at once while draining; on the stack.
const DRAIN_BYTES: usize = 8 * 1024;

/// A stream and the endpoint that speaks on it.
#[derive(Debug)]
pub struct Link<E> {
    endpoint: E,
    pump: Pump,
}

/// A stream, below an endpoint that somebody else holds.
#[derive(Debug)]
pub(crate) struct Pump {
    stream: Stream,
    phase: Phase,
    /// How long a finished endpoint's peer has to take what is left and to close.
    linger: Option<Duration>,
    /// What may still be dropped while draining.
    drain_bytes: usize,
    cause: Option<io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Open(Sides),
    Flushing(Sides, Mono),
    Draining(Inward, Mono),
    Closed,
}

/// What the stream would do if it were asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sides {
    inward: Inward,
    outward: Outward,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inward {
    /// Bytes may be there.
    Ready,
    /// Bytes may be there and then the end, which no further event will tell.
    Ending,
    /// An event will tell.
    Blocked,
    /// The endpoint knows that nothing more comes.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outward {
    Ready,
    /// An event will tell.
    Blocked,
    /// Nothing can be written any more.
    Broken,
}

/// How it goes on with a link.
#[must_use = "a link that is to go again gets no event for it"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// After the next event, the deadline, or an act of the owner.
    Wait,
    /// In the next turn, when the others have had theirs.
    Again,
    /// Never: the link can be dropped.
    Closed,
}

impl<E: Endpoint> Link<E> {
    /// A link over an open stream. The reactor is to watch it for both directions. When the
    /// endpoint has finished, the peer has `linger` to take what is left and to close.
    pub fn open(stream: Stream, endpoint: E, linger: Duration) -> Link<E> {
        Link { endpoint, pump: Pump::open(stream, Some(linger)) }
    }

    /// A link over a stream that is still connecting ([`Stream::connect_tcp`]), else as
    /// [`Link::open`]. If that fails, the endpoint's input ends. The endpoint's deadline limits
    /// how long it may take.
    pub fn connecting(stream: Stream, endpoint: E, linger: Duration) -> Link<E> {
        Link { endpoint, pump: Pump::connecting(stream, Some(linger)) }
    }

    /// Takes note of what the reactor reported. Moves no bytes.
    pub fn ready(&mut self, now: Mono, ready: Ready) {
        if let Err(error) = self.pump.ready(ready) {
            self.pump.cause = Some(error);
            self.endpoint.input_end(now);
        }
    }

    /// Reads up to `budget_bytes` into the endpoint. After that its events and its output may have
    /// changed.
    pub fn receive(&mut self, now: Mono, budget_bytes: usize) {
        self.pump.receive(now, &mut self.endpoint, budget_bytes);
    }

    /// Writes up to `budget_bytes` of the endpoint's output and says how it goes on. To be called
    /// after the owner has acted on the endpoint, too.
    pub fn send(&mut self, now: Mono, budget_bytes: usize) -> Next {
        self.pump.send(now, &mut self.endpoint, budget_bytes)
    }

    /// Time has passed: see [`Link::deadline`].
    pub fn tick(&mut self, now: Mono) {
        match self.pump.phase {
            Phase::Flushing(_, until) | Phase::Draining(_, until) if until <= now => {
                self.pump.phase = Phase::Closed;
            }
            Phase::Connecting | Phase::Open(_) => self.endpoint.tick(now),
            Phase::Flushing(..) | Phase::Draining(..) | Phase::Closed => {}
        }
    }

    /// When [`Link::tick`] is wanted next.
    pub fn deadline(&self) -> Option<Mono> {
        match self.pump.phase {
            Phase::Connecting | Phase::Open(_) => self.endpoint.deadline(),
            Phase::Flushing(_, until) | Phase::Draining(_, until) => Some(until),
            Phase::Closed => None,
        }
    }

    /// The endpoint. [`Link::send`] is due after acting on it.
    pub fn endpoint_mut(&mut self) -> &mut E {
        &mut self.endpoint
    }

    /// The endpoint, for looking.
    pub fn endpoint(&self) -> &E {
        &self.endpoint
    }

    /// The stream, for the reactor to watch.
    pub fn stream(&self) -> &Stream {
        &self.pump.stream
    }

    /// The first error that broke the stream, if one did.
    pub fn cause(&self) -> Option<&io::Error> {
        self.pump.cause.as_ref()
    }
}

impl Pump {
    fn open(stream: Stream, linger: Option<Duration>) -> Pump {
        let phase = Phase::Open(Sides::OPENED);
        Pump { stream, phase, linger, drain_bytes: LINK_DRAIN_BYTES_MAX, cause: None }
    }

    pub(super) fn connecting(stream: Stream, linger: Option<Duration>) -> Pump {
        Pump { phase: Phase::Connecting, ..Pump::open(stream, linger) }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Takes note of what the reactor reported, and says whether the stream has just opened.
    ///
    /// # Errors
    /// It could not be opened, and is closed.
    pub(super) fn ready(&mut self, ready: Ready) -> io::Result<bool> {
        match &mut self.phase {
            Phase::Connecting if ready.writable => match self.stream.finish_connect() {
                Ok(true) => {
                    let mut sides = Sides::OPENED;
                    sides.note(ready);
                    self.phase = Phase::Open(sides);
                    return Ok(true);
                }
                Ok(false) => {}
                Err(error) => {
                    self.phase = Phase::Closed;
                    return Err(error);
                }
            },
            Phase::Open(sides) | Phase::Flushing(sides, _) => sides.note(ready),
            Phase::Draining(inward, _) => inward.note(ready),
            Phase::Connecting | Phase::Closed => {}
        }
        Ok(false)
    }

    /// As [`Link::receive`].
    pub(super) fn receive(&mut self, now: Mono, endpoint: &mut dyn Endpoint, budget_bytes: usize) {
        match self.phase {
            Phase::Open(sides) => {
                let inward = self.fill(now, endpoint, sides, budget_bytes);
                self.phase = Phase::Open(Sides { inward, ..sides });
            }
            Phase::Draining(inward, until) => {
                let inward = self.drop_input(inward, budget_bytes);
                self.phase = Phase::Draining(inward, until);
            }
            Phase::Connecting | Phase::Flushing(..) | Phase::Closed => {}
        }
    }

    /// As [`Link::send`].
    pub(super) fn send(
        &mut self,
        now: Mono,
        endpoint: &mut dyn Endpoint,
        budget_bytes: usize,
    ) -> Next {
        if let Phase::Open(sides) | Phase::Flushing(sides, _) = &mut self.phase {
            let mut left = budget_bytes;
            while left > 0 && sides.outward == Outward::Ready && !endpoint.output().is_empty() {
                left -= write_once(&self.stream, endpoint, sides, left, &mut self.cause);
            }
        }
        self.advance(now, endpoint);
        self.next(endpoint)
    }

    fn fill(
        &mut self,
        now: Mono,
        endpoint: &mut dyn Endpoint,
        sides: Sides,
        budget_bytes: usize,
    ) -> Inward {
        let mut inward = sides.inward;
        let mut left = budget_bytes;
        while left > 0 && inward.is_ready() && !endpoint.is_finished() {
            let space = endpoint.input_space();
            let wanted = space.len().min(left);
            if wanted == 0 {
                break;
            }
            match self.stream.read(&mut space[..wanted]) {
                Moved::Bytes(count) => {
                    endpoint.input(now, count);
                    left -= count;
                    let drained = count < wanted && self.stream.short_means_blocked();
                    if drained && inward == Inward::Ready {
                        inward = Inward::Blocked;
                    }
                }
                Moved::Blocked if sides.outward != Outward::Broken => inward = Inward::Blocked,
                Moved::Blocked | Moved::Closed => inward = self.end_input(now, endpoint, None),
                Moved::Failed(error) => inward = self.end_input(now, endpoint, Some(error)),
            }
        }
        inward
    }

    fn end_input(
        &mut self,
        now: Mono,
        endpoint: &mut dyn Endpoint,
        error: Option<io::Error>,
    ) -> Inward {
        self.cause = self.cause.take().or(error);
        endpoint.input_end(now);
        Inward::Ended
    }

    fn drop_input(&mut self, mut inward: Inward, budget_bytes: usize) -> Inward {
        let mut dropped = [0; DRAIN_BYTES];
        let mut left = budget_bytes.min(self.drain_bytes);
        while left > 0 && inward.is_ready() {
            match self.stream.read(&mut dropped) {
                Moved::Bytes(count) => {
                    left = left.saturating_sub(count);
                    self.drain_bytes = self.drain_bytes.saturating_sub(count);
                }
                Moved::Blocked => inward = Inward::Blocked,
                Moved::Closed | Moved::Failed(_) => inward = Inward::Ended,
            }
        }
        inward
    }

    /// Goes to the next phase, or the one after, if this one has nothing left to do.
    fn advance(&mut self, now: Mono, endpoint: &dyn Endpoint) {
        if let Phase::Open(sides) = self.phase {
            if endpoint.is_finished() {
                self.phase = Phase::Flushing(sides, now + self.linger.unwrap_or_default());
            } else if sides.inward == Inward::Ended && sides.outward == Outward::Broken {
                self.phase = Phase::Closed;
            }
        }
        if let Phase::Flushing(sides, until) = self.phase {
            let broken = sides.outward == Outward::Broken;
            let is_patient = self.linger.is_some();
            let may_write = is_patient || sides.outward == Outward::Ready;
            if !broken && may_write && !endpoint.output().is_empty() {
                return;
            }
            let is_ended = sides.inward == Inward::Ended || !self.stream.has_two_halves();
            let gone = broken || is_ended || !is_patient;
            self.phase = if gone { Phase::Closed } else { Phase::Draining(Inward::Ready, until) };
            self.stream.end_output();
        }
        if matches!(self.phase, Phase::Draining(inward, _)
            if inward == Inward::Ended || self.drain_bytes == 0)
        {
            self.phase = Phase::Closed;
        }
    }

    /// How it goes on, as the endpoint is now.
    pub(super) fn next(&self, endpoint: &mut dyn Endpoint) -> Next {
        let again = match self.phase {
            Phase::Closed => return Next::Closed,
            Phase::Connecting => false,
            Phase::Draining(inward, _) => inward.is_ready(),
            Phase::Flushing(sides, _) => sides.outward == Outward::Ready,
            Phase::Open(sides) => {
                let reads = sides.inward.is_ready() && !endpoint.input_space().is_empty();
                let writes = sides.outward == Outward::Ready && !endpoint.output().is_empty();
                reads || writes
            }
        };
        if again { Next::Again } else { Next::Wait }
    }
}

/// Writes once, and returns how many bytes went. Free of the pump so that it can borrow its parts.
fn write_once(
    stream: &Stream,
    endpoint: &mut dyn Endpoint,
    sides: &mut Sides,
    budget_bytes: usize,
    cause: &mut Option<io::Error>,
) -> usize {
    let output = endpoint.output();
    let chunk = &output[..output.len().min(budget_bytes)];
    let wanted = chunk.len();
    match stream.write(chunk) {
        Moved::Bytes(count) => {
            endpoint.output_sent(count);
            if count < wanted && stream.short_means_blocked() {
                sides.outward = Outward::Blocked;
            }
            count
        }
        Moved::Blocked => {
            sides.outward = Outward::Blocked;
            0
        }
        Moved::Closed => sides.break_output(),
        Moved::Failed(error) => {
            cause.get_or_insert(error);
            sides.break_output()
        }
    }
}

impl Sides {
    /// Of a stream that has just opened, or whose events are still to come.
    const OPENED: Sides = Sides { inward: Inward::Blocked, outward: Outward::Ready };

    fn note(&mut self, ready: Ready) {
        self.inward.note(ready);
        if ready.writable && self.outward == Outward::Blocked {
            self.outward = Outward::Ready;
        }
    }

    /// What the peer sent before it went is still to be read, and then the end is found there.
    fn break_output(&mut self) -> usize {
        self.outward = Outward::Broken;
        if self.inward != Inward::Ended {
            self.inward = Inward::Ending;
        }
        0
    }
}

impl Inward {
    fn note(&mut self, ready: Ready) {
        *self = match *self {
            Inward::Ended => Inward::Ended,
            _ if ready.closed => Inward::Ending,
            Inward::Blocked if ready.readable => Inward::Ready,
            unchanged => unchanged,
        };
    }

    fn is_ready(self) -> bool {
        matches!(self, Inward::Ready | Inward::Ending)
    }
}

#[cfg(test)]
mod tests;
