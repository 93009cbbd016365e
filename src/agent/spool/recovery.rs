//! From the files of a spool to the spool, once, before the agent serves.
//!
//! Each file is a segment: a header record (tag 0: epoch, first number, start of an earlier hole),
//! then one record per event, tagged with the event's number. Recovery reads all of them, oldest
//! first, and keeps of each the span of numbers and the length up to its last whole record.
//!
//! - A torn end is cut: a commit is sent only after its sync, so nothing of a torn one was ever
//!   sent.
//! - Damaged bytes look like torn ones. So as many numbers as may have stood in them are skipped:
//!   the next event gets a number that no event can have had, and the hole is announced like any
//!   other.
//! - The next number follows the highest of all files, not that of the last one: a commit that
//!   failed and was repeated in a new file may have left records at the end of the file before.
//! - A file without a whole event is removed. The epoch is the one in the headers; without any file
//!   the spool is new, with a random epoch, and its numbers start at 1.

use std::collections::VecDeque;

use super::reader::SpoolReader;
use super::{CommitState, Epoch, Segment, SegmentHeader, Spool, SpoolTuning, Tail};
use crate::base::disk::{DiskDone, DiskOp, FileNo};
use crate::base::record::{Found, Newest, RECORD_OVERHEAD_BYTES, Scan};
use crate::base::rng::Rng;

/// A spool that is being read.
#[derive(Debug)]
pub struct Recovery {
    tuning: SpoolTuning,
    scan: Scan,
    buffer: Vec<u8>,
    read: RecoveredSpool,
    fresh: Epoch,
}

/// What was read so far.
#[derive(Debug, Default)]
struct RecoveredSpool {
    epoch: Option<Epoch>,
    lost_from: Option<u64>,
    segments: VecDeque<Segment>,
    empty: VecDeque<FileNo>,
    newest: Option<FileNo>,
    /// Bytes behind the last whole record of all.
    torn: u64,
    /// The first number of the file that is being read, as its header says.
    opened: Option<u64>,
    /// Numbers of the first and last record of the file that is being read.
    span: Option<(u64, u64)>,
}

impl Recovery {
    /// Starts with the files that are there and their lengths; none are a new spool. `rng` gives it
    /// its epoch.
    pub fn new(files: Vec<(FileNo, u64)>, tuning: SpoolTuning, rng: &mut Rng) -> Recovery {
        let fresh = Epoch::random(rng);
        let newest = files.iter().map(|(file, _)| *file).max();
        let read = RecoveredSpool { newest, ..RecoveredSpool::default() };
        Recovery { tuning, scan: Scan::new(files, Newest::Kept), buffer: Vec::new(), read, fresh }
    }

    /// What is to be read; `None` when [`Recovery::finish`] is due.
    pub fn poll_disk(&mut self) -> Option<DiskOp> {
        self.scan.poll(std::mem::take(&mut self.buffer))
    }

    /// What was read. A file that cannot be read counts as damaged.
    pub fn disk_done(&mut self, done: DiskDone) {
        let DiskDone::Read { mut buffer, result } = done else { return };
        if result.is_err() {
            buffer.clear();
        }
        let read = &mut self.read;
        self.scan.read(&buffer, &mut |found| read.found(found));
        self.buffer = buffer;
    }

    /// The spool, which has removals to do if files were useless.
    pub fn finish(self) -> Spool {
        let RecoveredSpool { epoch, lost_from, segments, empty, newest, torn, .. } = self.read;
        // Not the last file's alone: of a commit that failed, and was made again in a new file,
        // some may stand at the end of the one before.
        let last = segments.iter().map(|segment| segment.last).max().unwrap_or(0);
        let skipped = torn.div_ceil(RECORD_OVERHEAD_BYTES as u64);
        let next_seq = last + 1 + skipped;
        let oldest = segments.front().map_or(next_seq, |segment| segment.first);
        // A new spool starts at 1, so whatever it skips is announced too.
        let expected = if segments.is_empty() { 1 } else { lost_from.unwrap_or(oldest) };
        Spool {
            tuning: self.tuning,
            epoch: epoch.unwrap_or(self.fresh),
            next_seq,
            acked: expected - 1,
            synced: next_seq - 1,
            lost_from,
            segments,
            next_file: newest.map_or(FileNo(1), FileNo::next),
            tail: Tail::default(),
            commit: CommitState::Idle,
            line: Vec::new(),
            spare: Vec::new(),
            removals: empty,
            reader: SpoolReader::new(expected),
            disk_error: None,
        }
    }
}

impl RecoveredSpool {
    fn found(&mut self, found: Found<'_>) {
        match found {
            Found::Record { tag: 0, body, .. } => self.header(body),
            Found::Record { tag, .. } => {
                let first = self.span.map(|(first, _)| first).or(self.opened).unwrap_or(tag);
                self.span = Some((first, tag));
            }
            Found::End { file, valid, torn, .. } => self.end(file, valid, torn),
        }
    }

    fn header(&mut self, body: &[u8]) {
        if let Ok(header) = serde_json::from_slice::<SegmentHeader>(body) {
            self.lost_from = header.lost_from;
            self.opened = header.first;
            self.epoch = Some(Epoch(header.epoch));
        }
    }

    fn end(&mut self, file: FileNo, valid: u64, torn: u64) {
        self.opened = None;
        match self.span.take() {
            Some((first, last)) => {
                self.segments.push_back(Segment { file, first, last, len: valid });
                self.torn = torn;
            }
            None => {
                self.empty.push_back(file);
                self.torn += torn;
            }
        }
    }
}
