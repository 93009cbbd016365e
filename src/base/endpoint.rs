//! What a protocol core looks like to the thing that moves its bytes.
//!
//! One trait, so that the reactor's links, the simulator and the fuzzer drive the same cores. An
//! endpoint is a peer on a byte stream: it takes what was read, offers what is to be written, and
//! says when it wants to be woken. What it has to tell its owner (events) is its own, not part of
//! this trait.

use super::time::Mono;

/// One end of a byte stream, without the stream.
///
/// The driver's turn: fill [`Endpoint::input_space`] and call [`Endpoint::input`]; write
/// [`Endpoint::output`] and call [`Endpoint::output_sent`]; call [`Endpoint::tick`] when
/// [`Endpoint::deadline`] has passed. After each of these, output, deadline and the owner's events
/// may have changed. No call blocks, and none fails: a failed endpoint takes no more input
/// ([`Endpoint::is_finished`]) and tells its owner why through its events.
pub trait Endpoint {
    /// Where the next bytes from the peer go. Empty while the endpoint takes none: then the driver
    /// stops reading, and looks again after the owner has acted.
    fn input_space(&mut self) -> &mut [u8];

    /// `len` bytes were put at the start of the last [`Endpoint::input_space`].
    fn input(&mut self, now: Mono, len: usize);

    /// The peer will send nothing more (end of stream or a reset).
    fn input_end(&mut self, now: Mono);

    /// Bytes to write, oldest first; empty if there are none.
    fn output(&self) -> &[u8];

    /// The first `len` bytes of [`Endpoint::output`] have been written.
    fn output_sent(&mut self, len: usize);

    /// When [`Endpoint::tick`] is wanted next. Ticking earlier is harmless.
    fn deadline(&self) -> Option<Mono>;

    fn tick(&mut self, now: Mono);

    /// Whether the stream may be closed: nothing more will be read, and the driver should write
    /// what [`Endpoint::output`] still has, if it can, and close.
    fn is_finished(&self) -> bool;
}

/// Holds an endpoint and has no say in its bytes and times: then it is one itself.
pub(crate) trait Wraps {
    type Inner: Endpoint;

    fn inner(&self) -> &Self::Inner;

    /// The endpoint inside, to move its bytes.
    fn inner_mut(&mut self) -> &mut Self::Inner;
}

impl<W: Wraps> Endpoint for W {
    fn input_space(&mut self) -> &mut [u8] {
        self.inner_mut().input_space()
    }

    fn input(&mut self, now: Mono, len: usize) {
        self.inner_mut().input(now, len);
    }

    fn input_end(&mut self, now: Mono) {
        self.inner_mut().input_end(now);
    }

    fn output(&self) -> &[u8] {
        self.inner().output()
    }

    fn output_sent(&mut self, len: usize) {
        self.inner_mut().output_sent(len);
    }

    fn deadline(&self) -> Option<Mono> {
        self.inner().deadline()
    }

    fn tick(&mut self, now: Mono) {
        self.inner_mut().tick(now);
    }

    fn is_finished(&self) -> bool {
        self.inner().is_finished()
    }
}
