//! A stream below an endpoint that outlives it.
//!
//! A member is dialled again and again, so it cannot belong to one stream; a wire borrows it for
//! each turn. Edge-triggered: a side that would block waits for the reactor's word.

use std::io;
use std::net::SocketAddr;

use super::reactor::Ready;
use super::stream::{Moved, Stream};
use crate::base::endpoint::Endpoint;
use crate::base::time::Mono;
use crate::limits::LINK_TURN_BYTES;

/// One stream, connecting or open.
pub struct Wire {
    stream: Stream,
    phase: Phase,
}

enum Phase {
    /// What is left to be tried if this fails.
    Connecting {
        rest: Vec<SocketAddr>,
    },
    Open {
        is_readable: bool,
        is_writable: bool,
    },
}

/// What came of the reactor's word on a wire that was connecting.
pub enum Dialled {
    /// It was open before, or still is not.
    Unchanged,
    /// It is open now.
    Open,
    /// It will not be; these are left to be tried.
    Failed(io::Error, Vec<SocketAddr>),
}

/// How it goes on after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// There is more to do at once.
    Again,
    /// The reactor tells when.
    Wait,
    /// The stream can be dropped.
    Over,
}

impl Wire {
    /// Starts to connect to the first of `numbers`, of which there is at least one.
    ///
    /// # Errors
    /// What is known at once about each of them; the last is told.
    pub(crate) fn dial(mut numbers: Vec<SocketAddr>) -> io::Result<Wire> {
        loop {
            let first = numbers.remove(0);
            match Stream::connect_tcp(first) {
                Ok(stream) => {
                    return Ok(Wire { stream, phase: Phase::Connecting { rest: numbers } });
                }
                Err(error) if numbers.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// The stream, for the reactor to watch in both directions.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Whether output would be taken now, as far as is known.
    pub fn is_writable(&self) -> bool {
        matches!(self.phase, Phase::Open { is_writable: true, .. })
    }

    /// Takes note of what the reactor said. Moves no bytes.
    pub fn note(&mut self, ready: Ready) -> Dialled {
        match &mut self.phase {
            Phase::Open { is_readable, is_writable } => {
                *is_readable |= ready.readable || ready.closed;
                *is_writable |= ready.writable;
                Dialled::Unchanged
            }
            Phase::Connecting { rest } if ready.writable => match self.stream.finish_connect() {
                Ok(true) => {
                    self.phase = Phase::Open { is_readable: true, is_writable: true };
                    Dialled::Open
                }
                Ok(false) => Dialled::Unchanged,
                Err(error) => Dialled::Failed(error, std::mem::take(rest)),
            },
            Phase::Connecting { .. } => Dialled::Unchanged,
        }
    }

    /// Moves bytes both ways, at most [`LINK_TURN_BYTES`] each.
    pub fn pump<E: Endpoint>(&mut self, now: Mono, endpoint: &mut E) -> Flow {
        let Phase::Open { is_readable, is_writable } = &mut self.phase else { return Flow::Wait };
        *is_readable = *is_readable && read(&self.stream, now, endpoint);
        *is_writable = *is_writable && write(&self.stream, endpoint);
        let wants_write = !endpoint.output().is_empty();
        if endpoint.is_finished() {
            return match wants_write && *is_writable {
                true => Flow::Again,
                // Last words that do not fit now are not worth waiting for.
                false => Flow::Over,
            };
        }
        // Asking for space takes memory, so it is asked only where something may come.
        let wants_read = *is_readable && !endpoint.input_space().is_empty();
        match wants_read || (*is_writable && wants_write) {
            true => Flow::Again,
            false => Flow::Wait,
        }
    }
}

/// Reads until the budget is used, and says whether there may be more.
fn read<E: Endpoint>(stream: &Stream, now: Mono, endpoint: &mut E) -> bool {
    let mut left = LINK_TURN_BYTES;
    while left > 0 && !endpoint.is_finished() {
        let space = endpoint.input_space();
        let wanted = space.len().min(left);
        if wanted == 0 {
            return true;
        }
        match stream.read(&mut space[..wanted]) {
            Moved::Bytes(count) => {
                endpoint.input(now, count);
                left -= count;
            }
            Moved::Blocked => return false,
            Moved::Closed | Moved::Failed(_) => {
                endpoint.input_end(now);
                return false;
            }
        }
    }
    true
}

/// Writes until the budget is used, and says whether more may fit.
fn write<E: Endpoint>(stream: &Stream, endpoint: &mut E) -> bool {
    let mut left = LINK_TURN_BYTES;
    while left > 0 && !endpoint.output().is_empty() {
        let output = endpoint.output();
        match stream.write(&output[..output.len().min(left)]) {
            Moved::Bytes(count) => {
                endpoint.output_sent(count);
                left -= count;
            }
            // A stream that is broken for writing says so when it is read.
            Moved::Blocked | Moved::Closed | Moved::Failed(_) => return false,
        }
    }
    true
}
