//! A link pumps bytes between a stream and an endpoint.
//!
//! The driver's turn with a link: [`Link::ready`] for what the reactor said, [`Link::receive`],
//! then look at the endpoint's events and act on them, then [`Link::send`], which says how it goes
//! on. In a steady exchange that is one read and one write: a short read or write on a socket
//! counts as "would block", so none is made to find that out.
//!
//! Backpressure is the endpoint's: while its input space is empty nothing is read, and the link
//! reads on, without a new event, in the first turn that finds space.
//!
//! ```text
//! Connecting -> Open -> Flushing (finished, output left) -> Draining (we sent our end) -> Closed
//! ```
//!
//! Draining reads and drops until the peer's end: closing a TCP socket with unread input resets it
//! and may take away from the peer what it has not read yet.

use std::io;
use std::time::Duration;

use super::reactor::Ready;
use super::stream::{Moved, Stream};
use crate::base::endpoint::Endpoint;
use crate::base::time::Mono;

/// Dropped at once while draining; on the stack.
const DRAIN_BYTES: usize = 8 * 1024;

/// A stream and the endpoint that speaks on it.
#[derive(Debug)]
pub struct Link<E> {
    endpoint: E,
    stream: Stream,
    phase: Phase,
    linger: Duration,
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
    /// A link over a stream that stands. The reactor is to watch it for both directions. When the
    /// endpoint has finished, the peer has `linger` to take what is left and to close.
    pub fn open(stream: Stream, endpoint: E, linger: Duration) -> Link<E> {
        let sides = Sides { inward: Inward::Blocked, outward: Outward::Ready };
        Link { endpoint, stream, phase: Phase::Open(sides), linger, cause: None }
    }

    /// A link over a stream that is still connecting ([`Stream::connect_tcp`]), else as
    /// [`Link::open`]. If that fails, the endpoint's input ends. How long it may take is for the
    /// endpoint's deadline to say.
    pub fn connecting(stream: Stream, endpoint: E, linger: Duration) -> Link<E> {
        Link { endpoint, stream, phase: Phase::Connecting, linger, cause: None }
    }

    /// Takes note of what the reactor said. Moves no bytes.
    pub fn ready(&mut self, now: Mono, ready: Ready) {
        match &mut self.phase {
            Phase::Connecting if ready.writable => match self.stream.finish_connect() {
                Ok(true) => {
                    let mut sides = Sides { inward: Inward::Blocked, outward: Outward::Ready };
                    sides.note(ready);
                    self.phase = Phase::Open(sides);
                }
                Ok(false) => {}
                Err(error) => self.fail_to_connect(now, error),
            },
            Phase::Open(sides) | Phase::Flushing(sides, _) => sides.note(ready),
            Phase::Draining(inward, _) => inward.note(ready),
            Phase::Connecting | Phase::Closed => {}
        }
    }

    /// Reads up to `budget_bytes` into the endpoint. After that its events and its output may have
    /// changed.
    pub fn receive(&mut self, now: Mono, budget_bytes: usize) {
        match self.phase {
            Phase::Open(sides) => {
                let inward = self.fill(now, sides, budget_bytes);
                self.phase = Phase::Open(Sides { inward, ..sides });
            }
            Phase::Draining(inward, until) => {
                let inward = self.drop_input(inward, budget_bytes);
                self.phase = Phase::Draining(inward, until);
            }
            Phase::Connecting | Phase::Flushing(..) | Phase::Closed => {}
        }
    }

    /// Writes up to `budget_bytes` of the endpoint's output and says how it goes on. To be called
    /// after the owner has acted on the endpoint, too.
    pub fn send(&mut self, now: Mono, budget_bytes: usize) -> Next {
        if let Phase::Open(sides) | Phase::Flushing(sides, _) = &mut self.phase {
            let mut left = budget_bytes;
            while left > 0 && sides.outward == Outward::Ready && !self.endpoint.output().is_empty()
            {
                left -= write_once(&self.stream, &mut self.endpoint, sides, left, &mut self.cause);
            }
        }
        self.advance(now);
        self.next()
    }

    /// Time has passed: see [`Link::deadline`].
    pub fn tick(&mut self, now: Mono) {
        match self.phase {
            Phase::Flushing(_, until) | Phase::Draining(_, until) if until <= now => {
                self.phase = Phase::Closed;
            }
            Phase::Connecting | Phase::Open(_) => self.endpoint.tick(now),
            Phase::Flushing(..) | Phase::Draining(..) | Phase::Closed => {}
        }
    }

    /// When [`Link::tick`] is wanted next.
    pub fn deadline(&self) -> Option<Mono> {
        match self.phase {
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
        &self.stream
    }

    /// What broke the stream, if anything did: the first error.
    pub fn cause(&self) -> Option<&io::Error> {
        self.cause.as_ref()
    }

    fn fail_to_connect(&mut self, now: Mono, error: io::Error) {
        self.cause = Some(error);
        self.phase = Phase::Closed;
        self.endpoint.input_end(now);
    }

    fn fill(&mut self, now: Mono, sides: Sides, budget_bytes: usize) -> Inward {
        let mut inward = sides.inward;
        let mut left = budget_bytes;
        while left > 0 && inward.is_ready() && !self.endpoint.is_finished() {
            let space = self.endpoint.input_space();
            let wanted = space.len().min(left);
            if wanted == 0 {
                break;
            }
            match self.stream.read(&mut space[..wanted]) {
                Moved::Bytes(count) => {
                    self.endpoint.input(now, count);
                    left -= count;
                    let drained = count < wanted && self.stream.short_means_blocked();
                    if drained && inward == Inward::Ready {
                        inward = Inward::Blocked;
                    }
                }
                Moved::Blocked if sides.outward != Outward::Broken => inward = Inward::Blocked,
                Moved::Blocked | Moved::Closed => inward = self.end_input(now, None),
                Moved::Failed(error) => inward = self.end_input(now, Some(error)),
            }
        }
        inward
    }

    fn end_input(&mut self, now: Mono, error: Option<io::Error>) -> Inward {
        self.cause = self.cause.take().or(error);
        self.endpoint.input_end(now);
        Inward::Ended
    }

    fn drop_input(&mut self, mut inward: Inward, budget_bytes: usize) -> Inward {
        let mut dropped = [0; DRAIN_BYTES];
        let mut left = budget_bytes;
        while left > 0 && inward.is_ready() {
            match self.stream.read(&mut dropped) {
                Moved::Bytes(count) => left = left.saturating_sub(count),
                Moved::Blocked => inward = Inward::Blocked,
                Moved::Closed | Moved::Failed(_) => inward = Inward::Ended,
            }
        }
        inward
    }

    /// Goes to the next phase, or the one after, if this one has nothing left to do.
    fn advance(&mut self, now: Mono) {
        if let Phase::Open(sides) = self.phase {
            if self.endpoint.is_finished() {
                self.phase = Phase::Flushing(sides, now + self.linger);
            } else if sides.inward == Inward::Ended && sides.outward == Outward::Broken {
                self.phase = Phase::Closed;
            }
        }
        if let Phase::Flushing(sides, until) = self.phase {
            let broken = sides.outward == Outward::Broken;
            if !broken && !self.endpoint.output().is_empty() {
                return;
            }
            let gone = broken || sides.inward == Inward::Ended || !self.stream.has_two_halves();
            self.phase = if gone { Phase::Closed } else { Phase::Draining(Inward::Ready, until) };
            self.stream.end_output();
        }
        if let Phase::Draining(Inward::Ended, _) = self.phase {
            self.phase = Phase::Closed;
        }
    }

    fn next(&mut self) -> Next {
        let again = match self.phase {
            Phase::Closed => return Next::Closed,
            Phase::Connecting => false,
            Phase::Draining(inward, _) => inward.is_ready(),
            Phase::Flushing(sides, _) => sides.outward == Outward::Ready,
            Phase::Open(sides) => {
                let reads = sides.inward.is_ready() && !self.endpoint.input_space().is_empty();
                let writes = sides.outward == Outward::Ready && !self.endpoint.output().is_empty();
                reads || writes
            }
        };
        if again { Next::Again } else { Next::Wait }
    }
}

/// Writes once, and returns how many bytes went. Free of the link so that it can borrow its parts.
fn write_once<E: Endpoint>(
    stream: &Stream,
    endpoint: &mut E,
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
