//! One end of a connection that is carried: a stream, and what it has not taken yet.

use crate::io::reactor::Ready;
use crate::io::stream::{Moved, Stream};

/// Nothing is read for a side that has something left to take: so what is kept is bounded by what
/// is read at once, and the peer of a slow one waits.
#[derive(Debug)]
pub(super) struct Side {
    stream: Stream,
    may_read: bool,
    /// The end may be there, which no further event tells.
    is_ending: bool,
    has_ended: bool,
    may_write: bool,
    kept: Vec<u8>,
    /// What of it is written.
    written: usize,
    wants_end: bool,
    is_shut: bool,
    is_broken: bool,
}

impl Side {
    pub(super) fn new(stream: Stream) -> Side {
        Side {
            stream,
            may_read: true,
            is_ending: false,
            has_ended: false,
            may_write: true,
            kept: Vec::new(),
            written: 0,
            wants_end: false,
            is_shut: false,
            is_broken: false,
        }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(super) fn note(&mut self, ready: Ready) {
        self.may_read |= ready.readable && !self.has_ended;
        self.is_ending |= ready.closed;
        self.may_write |= ready.writable;
    }

    /// Whether something may be there to be read.
    pub(super) fn may_read(&self) -> bool {
        self.may_read && !self.has_ended && !self.is_broken
    }

    /// Whether it has said all.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether it has taken all that was written.
    pub(super) fn is_clear(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether nothing can be read or written any more.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether its end was told to it.
    pub(super) fn is_shut(&self) -> bool {
        self.is_shut
    }

    /// Reads what is there. Nothing is 0, as is the end.
    pub(super) fn read(&mut self, space: &mut [u8]) -> usize {
        if !self.may_read() || space.is_empty() {
            return 0;
        }
        match self.stream.read(space) {
            Moved::Bytes(count) => {
                self.may_read = self.is_ending || count == space.len();
                count
            }
            Moved::Blocked => {
                self.may_read = false;
                0
            }
            Moved::Closed => {
                self.has_ended = true;
                0
            }
            Moved::Failed(_) => {
                self.is_broken = true;
                0
            }
        }
    }

    /// Writes what is taken at once, and keeps the rest.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.is_broken || self.is_shut {
            return;
        }
        let taken = if self.kept.is_empty() { self.write_once(bytes) } else { 0 };
        self.kept.extend_from_slice(&bytes[taken..]);
    }

    /// Writes what was kept, then the end if that is wanted.
    pub(super) fn flush(&mut self) {
        while !self.kept.is_empty() && self.may_write && !self.is_broken {
            let kept = std::mem::take(&mut self.kept);
            self.written += self.write_once(&kept[self.written..]);
            if self.written < kept.len() {
                self.kept = kept;
            } else {
                self.written = 0;
            }
        }
        if self.wants_end && self.kept.is_empty() && !self.is_shut {
            self.stream.end_output();
            self.is_shut = true;
        }
    }

    /// Tells it the end when it has taken everything.
    pub(super) fn end(&mut self) {
        self.wants_end = true;
        self.flush();
    }

    fn write_once(&mut self, bytes: &[u8]) -> usize {
        if bytes.is_empty() || !self.may_write {
            return 0;
        }
        match self.stream.write(bytes) {
            Moved::Bytes(count) => {
                self.may_write = count == bytes.len();
                count
            }
            Moved::Blocked => {
                self.may_write = false;
                0
            }
            Moved::Closed | Moved::Failed(_) => {
                self.is_broken = true;
                0
            }
        }
    }
}
