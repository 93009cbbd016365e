//! The place in the spool from which events are sent.
//!
//! It walks the durable part of the segments, a chunk in memory at a time. While it keeps up, the
//! bytes of each commit are its next chunk, and the disk is never read.
//!
//! Fetch: `Empty` → (asks) `InFlight` → `Loaded` → `Empty`; a read that fails rests a second.

use std::collections::VecDeque;

use super::Segment;
use crate::base::disk::{DiskOp, FileNo};
use crate::base::record::{self, RECORD_CHUNK_BYTES, RECORD_OVERHEAD_BYTES, Split};
use crate::base::time::Mono;
use crate::limits::SPOOL_RETRY;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peek {
    /// The events `from` to `to` are lost.
    Hole {
        /// The first that is lost.
        from: u64,
        /// The last that is lost.
        to: u64,
    },
    /// The line of this event is there.
    Event { seq: u64 },
}

#[derive(Debug)]
pub(super) struct SpoolReader {
    /// The number that is due; a higher one shows a hole.
    expected: u64,
    file: FileNo,
    /// Where the bytes that were not looked at start.
    at: u64,
    fetch: Fetch,
    shown: Option<Shown>,
    /// Memory for the next chunk.
    spare: Vec<u8>,
}

#[derive(Debug)]
enum Fetch {
    Empty,
    /// `at` and `file` are those of the request, unless the reader went elsewhere meanwhile.
    InFlight {
        wanted: bool,
    },
    /// Bytes that start at `at - head`.
    Loaded {
        chunk: Vec<u8>,
        head: usize,
    },
    RetryAt(Mono),
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    seq: u64,
    len: usize,
}

impl SpoolReader {
    pub(super) fn new(expected: u64) -> SpoolReader {
        let (file, fetch) = (FileNo(0), Fetch::Empty);
        SpoolReader { expected, file, at: 0, fetch, shown: None, spare: Vec::new() }
    }

    /// Goes to the first event from `expected` on.
    pub(super) fn rewind(&mut self, expected: u64) {
        self.expected = expected;
        self.go_to(FileNo(0), 0);
    }

    /// Everything up to `seq` need not be sent any more.
    pub(super) fn pass(&mut self, seq: u64) {
        if self.expected <= seq {
            (self.expected, self.shown) = (seq + 1, None);
        }
    }

    /// `synced` is the last number that can be told; what the segments do not have of it is lost.
    pub(super) fn peek(&mut self, segments: &VecDeque<Segment>, synced: u64) -> Option<Peek> {
        loop {
            let Some(segment) = self.settle(segments) else { return self.peek_end(synced) };
            let Fetch::Loaded { chunk, head } = &mut self.fetch else { return None };
            match record::split(&chunk[*head..]) {
                Split::Record { tag, len, .. } if tag >= self.expected => {
                    self.shown = Some(Shown { seq: tag, len });
                    return Some(if tag == self.expected {
                        Peek::Event { seq: tag }
                    } else {
                        Peek::Hole { from: self.expected, to: tag - 1 }
                    });
                }
                Split::Record { len, .. } | Split::Damaged { skip: Some(len) } => {
                    *head += len;
                    self.at += len as u64;
                }
                Split::Damaged { skip: None } => self.go_to(self.file, segment.len),
                Split::Short if *head == 0 && !chunk.is_empty() => {
                    self.go_to(self.file, segment.len);
                }
                Split::Short => self.unload(),
            }
        }
    }

    /// Behind the last segment there can only be numbers that were skipped.
    fn peek_end(&mut self, synced: u64) -> Option<Peek> {
        let hole = Peek::Hole { from: self.expected, to: synced };
        self.shown = (self.expected <= synced).then_some(Shown { seq: synced + 1, len: 0 });
        self.shown.map(|_| hole)
    }

    pub(super) fn line(&self) -> &[u8] {
        match (&self.fetch, self.shown) {
            (Fetch::Loaded { chunk, head }, Some(shown)) => {
                &chunk[head + RECORD_OVERHEAD_BYTES..head + shown.len]
            }
            _ => &[],
        }
    }

    pub(super) fn advance(&mut self) {
        let Some(shown) = self.shown.take() else { return };
        if self.expected < shown.seq {
            self.expected = shown.seq;
        } else if let Fetch::Loaded { head, .. } = &mut self.fetch {
            self.expected = shown.seq + 1;
            *head += shown.len;
            self.at += shown.len as u64;
        }
    }

    pub(super) fn poll_disk(&mut self, segments: &VecDeque<Segment>) -> Option<DiskOp> {
        let segment = self.settle(segments)?;
        if !matches!(self.fetch, Fetch::Empty) {
            return None;
        }
        let left = usize::try_from(segment.len - self.at).unwrap_or(usize::MAX);
        self.fetch = Fetch::InFlight { wanted: true };
        let buffer = std::mem::take(&mut self.spare);
        let len = left.min(RECORD_CHUNK_BYTES);
        Some(DiskOp::Read { file: self.file, offset: self.at, len, buffer })
    }

    /// A chunk that was asked for.
    pub(super) fn fetched(&mut self, now: Mono, chunk: Vec<u8>, good: bool) {
        match self.fetch {
            Fetch::InFlight { wanted: true } if good && !chunk.is_empty() => {
                self.fetch = Fetch::Loaded { chunk, head: 0 };
            }
            Fetch::InFlight { wanted: true } => self.fetch = Fetch::RetryAt(now + SPOOL_RETRY),
            Fetch::InFlight { wanted: false } => {
                self.fetch = Fetch::Empty;
                self.spare = chunk;
            }
            Fetch::Empty | Fetch::Loaded { .. } | Fetch::RetryAt(_) => self.spare = chunk,
        }
    }

    /// Bytes that have just become durable. Taken as the next chunk if they are what comes next;
    /// gives memory back that nobody needs.
    pub(super) fn offer(
        &mut self,
        file: FileNo,
        offset: u64,
        bytes: Vec<u8>,
        segments: &VecDeque<Segment>,
    ) -> Vec<u8> {
        self.unload_if_spent();
        let due = self.settle(segments).is_some() && (self.file, self.at) == (file, offset);
        if !due || !matches!(self.fetch, Fetch::Empty) {
            return bytes;
        }
        self.fetch = Fetch::Loaded { chunk: bytes, head: 0 };
        std::mem::take(&mut self.spare)
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        match self.fetch {
            Fetch::RetryAt(until) => Some(until),
            Fetch::Empty | Fetch::InFlight { .. } | Fetch::Loaded { .. } => None,
        }
    }

    pub(super) fn tick(&mut self, now: Mono) {
        if matches!(self.fetch, Fetch::RetryAt(until) if until <= now) {
            self.fetch = Fetch::Empty;
        }
    }

    /// The segment to read in, with bytes left to read; goes on to it if the last one is done or
    /// gone. `None` at the end of what is durable.
    fn settle(&mut self, segments: &VecDeque<Segment>) -> Option<Segment> {
        let left = |segment: &&Segment| {
            segment.last >= self.expected
                && (segment.file > self.file || segment.file == self.file && self.at < segment.len)
        };
        let segment = *segments.iter().find(left)?;
        if segment.file != self.file {
            self.go_to(segment.file, 0);
        }
        Some(segment)
    }

    fn go_to(&mut self, file: FileNo, at: u64) {
        (self.file, self.at, self.shown) = (file, at, None);
        match &mut self.fetch {
            Fetch::InFlight { wanted } => *wanted = false,
            Fetch::Loaded { .. } => self.unload(),
            Fetch::Empty | Fetch::RetryAt(_) => {}
        }
    }

    fn unload_if_spent(&mut self) {
        if matches!(&self.fetch, Fetch::Loaded { chunk, head } if *head == chunk.len()) {
            self.unload();
        }
    }

    fn unload(&mut self) {
        if let Fetch::Loaded { chunk, .. } = std::mem::replace(&mut self.fetch, Fetch::Empty) {
            self.spare = chunk;
        }
    }
}
