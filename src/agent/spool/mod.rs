//! The agent's events, numbered and on disk until the shell host has them.
//!
//! A sans-IO core over a log of segment files ([`crate::base::disk`]). It never blocks and never
//! refuses an event. It never hands out for sending what is not durable here: a number that went
//! out and was then forgotten in a power cut would be given again, and the shell host would drop
//! the new event as one it has.
//!
//! - **Tail**: events not yet on disk, in memory, bounded. One commit is under way at a time; what
//!   comes meanwhile goes with the next one, so one sync covers many events.
//! - **Segments**: what is on disk, oldest first. A segment goes as a whole, once all of it is
//!   acknowledged or the spool is full.
//! - **Reader**: the place from which events are sent, see [`reader`].
//!
//! What is lost (the oldest segment of a full spool, the oldest of the tail when the disk takes
//! nothing, damaged records) leaves a hole in the numbers. Whoever reads comes upon the hole in its
//! place and announces it; nothing else has to remember it. Only a hole before the first segment
//! would be forgotten with the segment, so a new segment's header carries where it starts.

pub mod reader;
pub mod recovery;

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::reader::{Peek, SpoolReader};
use crate::base::disk::{DiskDone, DiskError, DiskOp, FileNo};
use crate::base::record::{self, Split};
use crate::base::rng::Rng;
use crate::base::time::Mono;
use crate::limits::{
    EVENT_BYTES_MAX, SPOOL_RETRY, SPOOL_SEGMENT_BYTES, SPOOL_SEGMENTS_MAX, SPOOL_TAIL_BYTES_MAX,
};
use crate::rpc::event::Event;

/// The name of a spool: random hex, made with it. Numbers of different epochs say nothing about
/// each other.
#[derive(Clone, PartialEq, Eq)]
pub struct Epoch(String);

impl Epoch {
    pub(crate) fn random(rng: &mut Rng) -> Epoch {
        Epoch(format!("{:016x}", u64::from_le_bytes(rng.bytes())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// How much the spool keeps. Tests make it small.
#[derive(Clone, Copy, Debug)]
pub struct SpoolTuning {
    /// One file, in bytes; more than two tails.
    pub segment_bytes: u64,
    /// Files at most; one more for a moment.
    pub segments_max: usize,
    /// Events in memory that the disk has not taken yet, in bytes.
    pub tail_bytes_max: usize,
}

impl Default for SpoolTuning {
    fn default() -> SpoolTuning {
        SpoolTuning {
            segment_bytes: SPOOL_SEGMENT_BYTES,
            segments_max: SPOOL_SEGMENTS_MAX,
            tail_bytes_max: SPOOL_TAIL_BYTES_MAX,
        }
    }
}

/// The spool. Made by [`recovery::Recovery`].
#[derive(Debug)]
pub struct Spool {
    tuning: SpoolTuning,
    epoch: Epoch,
    next_seq: u64,
    /// Everything up to here may go. At least one below the oldest that is kept, or lost.
    acked: u64,
    /// All events up to here are durable, or lost.
    synced: u64,
    /// The first of the events before the oldest segment that were lost before an acknowledgement.
    lost_from: Option<u64>,
    segments: VecDeque<Segment>,
    next_file: FileNo,
    tail: Tail,
    commit: CommitState,
    /// Memory for one line.
    line: Vec<u8>,
    /// Memory of the last commit, for the next one.
    spare: Vec<u8>,
    removals: VecDeque<FileNo>,
    reader: SpoolReader,
    disk_error: Option<DiskError>,
}

/// One file, as far as it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    file: FileNo,
    first: u64,
    last: u64,
    len: u64,
}

/// Whole records that are not on disk and not on their way there.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
    head: usize,
    last: u64,
}

#[derive(Debug)]
enum CommitState {
    Idle,
    InFlight(CommitTarget),
    /// What is under way belongs to an epoch that is over. The file, if only this commit opens it.
    Abandoned(Option<FileNo>),
    /// The disk took nothing; not again before this.
    RetryAt(Mono),
}

/// Where a commit goes, and what is in it.
#[derive(Clone, Copy, Debug)]
struct CommitTarget {
    file: FileNo,
    offset: u64,
    /// Bytes of the segment's header at the front, if the commit opens one.
    header: usize,
    first: u64,
    last: u64,
}

/// The first record of every segment, under tag 0.
#[derive(Serialize, Deserialize)]
struct SegmentHeader {
    epoch: String,
    /// The number of the first event, should its own record be damaged.
    #[serde(default)]
    first: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_from: Option<u64>,
}

impl Spool {
    /// Takes an event and gives it its number. It is durable when [`Spool::synced`] has reached
    /// that number. `epoch` and `seq` of the event are not looked at. Data that would make the line
    /// too long is left out.
    pub(crate) fn append(&mut self, event: &Event) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        let mut line = std::mem::take(&mut self.line);
        write_line(&mut line, event, &self.epoch, seq);
        if line.len() > EVENT_BYTES_MAX {
            let bare = Event { data: Value::Null, ..event.clone() };
            write_line(&mut line, &bare, &self.epoch, seq);
        }
        record::put(&mut self.tail.bytes, seq, |out| out.extend_from_slice(&line));
        self.line = line;
        self.tail.last = seq;
        self.tail.shrink(self.tuning.tail_bytes_max);
        seq
    }

    /// The shell host has everything up to `seq`. Numbers of another epoch are ignored.
    pub(crate) fn acknowledge(&mut self, epoch: &str, seq: u64) {
        if epoch == self.epoch.0 {
            self.deliver(seq);
        }
    }

    /// Everything up to `seq` is where it should be, whoever says so.
    pub(super) fn deliver(&mut self, seq: u64) {
        self.acked = self.acked.max(seq.min(self.synced));
        // A segment before a hole stays until the hole is acknowledged: nothing else remembers it.
        while self.segments.get(1).is_some_and(|second| second.first <= self.acked + 1) {
            self.drop_oldest();
        }
        if self.segments.front().is_none_or(|oldest| oldest.first <= self.acked + 1) {
            self.lost_from = None;
        }
        self.reader.pass(self.acked);
    }

    /// Everything is forgotten, and numbers start anew. The shell host is told that the first
    /// `lost` of them are lost.
    pub(super) fn begin_epoch(&mut self, epoch: Epoch, lost: u64) {
        if let CommitState::InFlight(target) = self.commit {
            self.commit = CommitState::Abandoned((target.offset == 0).then_some(target.file));
        }
        self.removals.extend(self.segments.drain(..).map(|segment| segment.file));
        self.tail.clear();
        (self.epoch, self.next_seq, self.acked, self.synced) = (epoch, lost + 1, 0, lost);
        self.lost_from = (lost > 0).then_some(1);
        self.reader.rewind(1);
    }

    /// What the disk is to do next. Call until it says `None`, after every other call.
    pub(crate) fn poll_disk(&mut self) -> Option<DiskOp> {
        if let Some(file) = self.removals.pop_front() {
            return Some(DiskOp::Remove { file });
        }
        self.start_commit().or_else(|| self.reader.poll_disk(&self.segments))
    }

    /// What became of the oldest operation that is not answered yet.
    pub(crate) fn disk_done(&mut self, now: Mono, done: DiskDone) {
        match done {
            DiskDone::Committed { bytes, result } => self.committed(now, bytes, result),
            DiskDone::Read { buffer, result } => {
                self.disk_error = result.as_ref().err().cloned();
                self.reader.fetched(now, buffer, result.is_ok());
            }
            DiskDone::Removed { result } => self.disk_error = result.err(),
        }
    }

    /// When [`Spool::tick`] is wanted.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let commit = match self.commit {
            CommitState::RetryAt(until) => Some(until),
            CommitState::Idle | CommitState::InFlight(_) | CommitState::Abandoned(_) => None,
        };
        commit.into_iter().chain(self.reader.deadline()).min()
    }

    pub(crate) fn tick(&mut self, now: Mono) {
        if matches!(self.commit, CommitState::RetryAt(until) if until <= now) {
            self.commit = CommitState::Idle;
        }
        self.reader.tick(now);
    }

    /// Starts reading again behind the last acknowledged event.
    pub(crate) fn rewind(&mut self) {
        self.reader.rewind(self.acked + 1);
    }

    /// The next durable event to send, if it is in memory. If it is not, [`Spool::poll_disk`] asks
    /// for it, if there is one.
    pub(crate) fn peek(&mut self) -> Option<Peek> {
        self.reader.peek(&self.segments, self.synced)
    }

    /// The line, with its newline, of the event that [`Spool::peek`] has just shown.
    pub(crate) fn line(&self) -> &[u8] {
        self.reader.line()
    }

    /// Goes past what [`Spool::peek`] has just shown: first past a hole, then past the event.
    pub(crate) fn advance(&mut self) {
        self.reader.advance();
    }

    pub const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// All events up to this one are durable, or lost and to be announced.
    pub const fn synced(&self) -> u64 {
        self.synced
    }

    /// The number of the last event.
    pub const fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// All events up to this one are acknowledged.
    pub const fn acked(&self) -> u64 {
        self.acked
    }

    /// What the disk said last, if it did not do what it was asked.
    pub(crate) const fn disk_error(&self) -> Option<&DiskError> {
        self.disk_error.as_ref()
    }

    fn start_commit(&mut self) -> Option<DiskOp> {
        if !matches!(self.commit, CommitState::Idle) || self.tail.is_empty() {
            return None;
        }
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.clear();
        let mut target = self.target();
        if target.offset == 0 {
            self.write_header(&mut bytes, target.first);
            target.header = bytes.len();
        }
        bytes.extend_from_slice(self.tail.as_slice());
        self.tail.clear();
        self.commit = CommitState::InFlight(target);
        Some(DiskOp::Commit { file: target.file, offset: target.offset, bytes })
    }

    /// The end of the newest segment, or a new one if there is none with room.
    fn target(&self) -> CommitTarget {
        let (first, last) = (first_tag(self.tail.as_slice()), self.tail.last);
        let added = self.tail.as_slice().len() as u64;
        match self.segments.back() {
            Some(segment) if segment.len + added <= self.tuning.segment_bytes => {
                CommitTarget { file: segment.file, offset: segment.len, header: 0, first, last }
            }
            _ => CommitTarget { file: self.next_file, offset: 0, header: 0, first, last },
        }
    }

    /// The header of a new segment. If the spool is full, the oldest segment will go for it.
    fn write_header(&mut self, out: &mut Vec<u8>, first_in_segment: u64) {
        if self.segments.len() >= self.tuning.segments_max {
            let first = self.segments[0].first.max(self.acked + 1);
            self.lost_from = self.lost_from.or(Some(first));
        }
        let (epoch, lost_from) = (self.epoch.0.clone(), self.lost_from);
        let header = SegmentHeader { epoch, first: Some(first_in_segment), lost_from };
        record::put(out, 0, |out| {
            serde_json::to_writer(out, &header).expect("strings and numbers go into memory");
        });
    }

    fn committed(&mut self, now: Mono, bytes: Vec<u8>, result: Result<(), DiskError>) {
        if let CommitState::Abandoned(file) = self.commit {
            self.commit = CommitState::Idle;
            self.next_file = file.map_or(self.next_file, FileNo::next);
            self.removals.extend(file);
        }
        let CommitState::InFlight(target) = self.commit else { return };
        self.disk_error = result.err();
        if self.disk_error.is_some() {
            self.commit = CommitState::RetryAt(now + SPOOL_RETRY);
            self.tail.put_back(&bytes[target.header..], target.last);
            self.tail.shrink(self.tuning.tail_bytes_max);
            self.spare = bytes;
            return;
        }
        self.commit = CommitState::Idle;
        self.extend(target, bytes.len() as u64);
        self.synced = target.last;
        self.spare = self.reader.offer(target.file, target.offset, bytes, &self.segments);
        while self.segments.len() > self.tuning.segments_max {
            self.drop_oldest();
        }
    }

    fn extend(&mut self, target: CommitTarget, added: u64) {
        if target.offset == 0 {
            let CommitTarget { file, first, last, .. } = target;
            self.segments.push_back(Segment { file, first, last, len: added });
            self.next_file = file.next();
        } else if let Some(segment) = self.segments.back_mut() {
            segment.last = target.last;
            segment.len += added;
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(segment) = self.segments.pop_front() {
            self.removals.push_back(segment.file);
        }
    }
}

impl Tail {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.head = 0;
    }

    /// What could not be written comes back, before what has come since.
    fn put_back(&mut self, older: &[u8], older_last: u64) {
        if self.is_empty() {
            self.last = older_last;
        }
        let mut bytes = Vec::with_capacity(older.len() + self.as_slice().len());
        bytes.extend_from_slice(older);
        bytes.extend_from_slice(self.as_slice());
        *self = Tail { bytes, head: 0, last: self.last };
    }

    /// Drops the oldest until the bound holds; moves the rest only when that frees half.
    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes.len() - self.head > bytes_max {
            let Split::Record { len, .. } = record::split(self.as_slice()) else {
                return self.clear();
            };
            self.head += len;
        }
        if self.head > bytes_max {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }
}

fn first_tag(records: &[u8]) -> u64 {
    match record::split(records) {
        Split::Record { tag, .. } => tag,
        Split::Short | Split::Damaged { .. } => 0,
    }
}

/// The event as it goes over the wire, with its newline. The number is put behind what serde wrote,
/// so that nothing of the event is copied.
fn write_line(out: &mut Vec<u8>, event: &Event, epoch: &Epoch, seq: u64) {
    out.clear();
    debug_assert!(event.epoch.is_none() && event.seq.is_none(), "an event is numbered once");
    serde_json::to_writer(&mut *out, event).expect("an event has only string keys");
    assert_eq!(out.pop(), Some(b'}'), "an event is an object");
    out.extend_from_slice(format!(",\"epoch\":\"{}\",\"seq\":{seq}}}\n", epoch.0).as_bytes());
}

#[cfg(test)]
mod tests;
