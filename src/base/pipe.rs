//! An endpoint without a protocol: bytes in, bytes out, a bounded window each way.
//!
//! It lets a raw stream (the master of a pty) be driven by the same links as everything else. What
//! came in is held until the owner consumes it, and no more is read meanwhile than fits.
//!
//! States: open, ended (the other side sends nothing more; what came can still be consumed), and
//! finished by the owner.

use super::buffer::Buffer;
use super::endpoint::Endpoint;
use super::time::Mono;

/// The window of one direction. Memory for it is taken when the first byte comes.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// Either empty or `window` bytes long; `taken <= filled <= room.len()`.
    room: Vec<u8>,
    taken: usize,
    filled: usize,
    window: usize,
    outgoing: Buffer,
    state: PipeState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PipeState {
    Open,
    Ended,
    Finished,
}

impl Pipe {
    /// A pipe that holds at most `window` bytes in each direction.
    pub(crate) const fn new(window: usize) -> Pipe {
        Pipe {
            room: Vec::new(),
            taken: 0,
            filled: 0,
            window,
            outgoing: Buffer::new(window),
            state: PipeState::Open,
        }
    }

    /// What came and was not consumed.
    pub(crate) fn received(&self) -> &[u8] {
        &self.room[self.taken..self.filled]
    }

    /// Drops the first `len` bytes of [`Pipe::received`]. Asserts that they are there.
    pub(crate) fn consume(&mut self, len: usize) {
        assert!(len <= self.filled - self.taken, "consumed more than was received");
        self.taken += len;
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
        }
    }

    /// Takes as much of `bytes` as there is room for, to be written, and says how much.
    #[must_use = "what was not taken is still the caller's"]
    pub(crate) fn send(&mut self, bytes: &[u8]) -> usize {
        self.outgoing.push(bytes)
    }

    /// How much [`Pipe::send`] would take now.
    pub(crate) fn send_space(&self) -> usize {
        self.outgoing.space()
    }

    /// Whether nothing more will come than [`Pipe::received`] has.
    pub(crate) fn has_ended(&self) -> bool {
        self.state != PipeState::Open
    }

    /// Nothing more is wanted: the stream may be closed.
    pub(crate) fn finish(&mut self) {
        self.state = PipeState::Finished;
    }
}

impl Endpoint for Pipe {
    fn input_space(&mut self) -> &mut [u8] {
        if self.state != PipeState::Open {
            return &mut [];
        }
        if self.room.is_empty() {
            self.room = vec![0; self.window];
        }
        &mut self.room[self.filled..]
    }

    fn input(&mut self, _now: Mono, len: usize) {
        self.filled += len;
    }

    fn input_end(&mut self, _now: Mono) {
        if self.state == PipeState::Open {
            self.state = PipeState::Ended;
        }
    }

    fn output(&self) -> &[u8] {
        self.outgoing.as_slice()
    }

    fn output_sent(&mut self, len: usize) {
        self.outgoing.consume(len);
        self.outgoing.trim();
    }

    fn deadline(&self) -> Option<Mono> {
        None
    }

    fn tick(&mut self, _now: Mono) {}

    fn is_finished(&self) -> bool {
        self.state == PipeState::Finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(pipe: &mut Pipe, bytes: &[u8]) -> usize {
        let space = pipe.input_space();
        let count = bytes.len().min(space.len());
        space[..count].copy_from_slice(&bytes[..count]);
        pipe.input(Mono::ZERO, count);
        count
    }

    #[test]
    fn a_full_window_takes_nothing_until_it_is_consumed() {
        let mut pipe = Pipe::new(4);
        assert_eq!(arrive(&mut pipe, b"abcdef"), 4);
        assert!(pipe.input_space().is_empty());
        pipe.consume(2);
        assert_eq!(pipe.received(), b"cd");
        assert!(pipe.input_space().is_empty(), "the room opens when it is empty");
        pipe.consume(2);
        assert_eq!(arrive(&mut pipe, b"ef"), 2);
        assert_eq!(pipe.received(), b"ef");
    }

    #[test]
    fn the_end_leaves_what_came() {
        let mut pipe = Pipe::new(4);
        assert_eq!(arrive(&mut pipe, b"ab"), 2);
        pipe.input_end(Mono::ZERO);
        assert!(pipe.has_ended() && !pipe.is_finished());
        assert_eq!(pipe.received(), b"ab");
        assert!(pipe.input_space().is_empty());
        pipe.finish();
        assert!(pipe.is_finished());
    }

    #[test]
    fn output_is_bounded_and_leaves_in_order() {
        let mut pipe = Pipe::new(3);
        assert_eq!(pipe.send(b"abcd"), 3);
        pipe.output_sent(1);
        assert_eq!(pipe.send(b"d"), 1);
        assert_eq!(pipe.output(), b"bcd");
    }
}
