//! The hub's memory on disk: which bytes go where, and when they are safe.
//!
//! A log of files ([`crate::base::disk`]). A commit takes all that has gathered while the one
//! before was under way, so one sync covers many events. When a file is old, the next commit opens
//! a new one; along with the following commits, what is known is written into it piece by piece
//! (the checkpoint), and when that is complete the older files go. A piece is what is known at that
//! moment, so whoever reads the files in order comes to the same state at any time.
//!
//! Checkpoint: `Idle` → (the file is old) `Walking` → (all is written) `Closing` → (durable)
//! `Idle`.

use std::collections::VecDeque;

use super::known::Cursor;
use crate::base::disk::{DiskError, DiskOp, FileNo};
use crate::base::record;
use crate::base::time::Mono;
use crate::limits::{
    EVENT_BYTES_MAX, JOURNAL_CHECKPOINT_BYTES, JOURNAL_FILE_BYTES, JOURNAL_PENDING_BYTES_MAX,
    JOURNAL_REST_BYTES, JOURNAL_RETRY,
};

/// How the journal turns over. Tests make it small.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Age of a file in bytes, at which a new one is begun.
    pub file_bytes: u64,
    /// What of a checkpoint goes along with one commit, in bytes.
    pub checkpoint_bytes: usize,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning { file_bytes: JOURNAL_FILE_BYTES, checkpoint_bytes: JOURNAL_CHECKPOINT_BYTES }
    }
}

/// The journal's end that is written.
#[derive(Debug)]
pub(crate) struct Journal {
    tuning: Tuning,
    /// Files that the checkpoint will replace.
    older: VecDeque<FileNo>,
    file: FileNo,
    /// Durable bytes of `file`.
    len: u64,
    pending: Vec<u8>,
    /// The number of the commit that `pending` will go with.
    batch: u64,
    commit: Commit,
    checkpoint: Checkpoint,
    removals: VecDeque<FileNo>,
    /// Memory of the last commit, for the next one.
    spare: Vec<u8>,
    trouble: Option<DiskError>,
}

#[derive(Debug)]
enum Commit {
    Idle,
    Flying,
    /// The disk did not take these; they must go before all others.
    Failed {
        until: Mono,
        bytes: Vec<u8>,
    },
    Again(Vec<u8>),
}

#[derive(Debug, PartialEq, Eq)]
enum Checkpoint {
    Idle,
    Walking(Cursor),
    Closing,
}

/// Room that an event needs beside its line: the hub's own fields and the record's.
const EVENT_OVERHEAD_BYTES: usize = 1024;

impl Journal {
    /// A journal that goes on in `file`, whose first `len` bytes are good. Older files are replaced
    /// by a checkpoint.
    pub(crate) fn new(tuning: Tuning, older: VecDeque<FileNo>, file: FileNo, len: u64) -> Journal {
        let walk = if older.is_empty() {
            Checkpoint::Idle
        } else {
            Checkpoint::Walking(Cursor::default())
        };
        Journal {
            tuning,
            older,
            file,
            len,
            pending: Vec::new(),
            batch: 1,
            commit: Commit::Idle,
            checkpoint: walk,
            removals: VecDeque::new(),
            spare: Vec::new(),
            trouble: None,
        }
    }

    /// Whether there is room for another event. While there is none, agents are not read.
    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() + EVENT_BYTES_MAX + EVENT_OVERHEAD_BYTES <= JOURNAL_PENDING_BYTES_MAX
    }

    /// Adds a record, and says which commit it goes with.
    pub(crate) fn append(&mut self, tag: u64, body: &[u8]) -> u64 {
        record::put(&mut self.pending, tag, |out| out.extend_from_slice(body));
        self.batch
    }

    /// Whether everything that was added is durable.
    pub(crate) fn is_settled(&self) -> bool {
        self.pending.is_empty() && matches!(self.commit, Commit::Idle)
    }

    /// A file that is to be removed.
    pub(crate) fn poll_removal(&mut self) -> Option<DiskOp> {
        self.removals.pop_front().map(|file| DiskOp::Remove { file })
    }

    /// A commit that failed, once more.
    pub(crate) fn poll_again(&mut self) -> Option<DiskOp> {
        match std::mem::replace(&mut self.commit, Commit::Flying) {
            Commit::Again(bytes) => {
                Some(DiskOp::Commit { file: self.file, offset: self.len, bytes })
            }
            other => {
                self.commit = other;
                None
            }
        }
    }

    /// Whether [`Journal::begin`] may be called and has something to do.
    pub(crate) fn is_due(&self) -> bool {
        let walking = matches!(self.checkpoint, Checkpoint::Walking(_));
        matches!(self.commit, Commit::Idle) && (walking || !self.pending.is_empty())
    }

    /// Starts a commit of all that was added. `header` writes what a new file begins with; `piece`
    /// writes a piece of what is known, of about so many bytes, and says whether that was the last.
    pub(crate) fn begin(
        &mut self,
        header: impl FnOnce(&mut Vec<u8>),
        piece: impl FnOnce(&mut Vec<u8>, &mut Cursor, usize) -> bool,
    ) -> DiskOp {
        if self.len >= self.tuning.file_bytes && self.checkpoint == Checkpoint::Idle {
            self.older.push_back(self.file);
            (self.file, self.len) = (self.file.next(), 0);
            self.checkpoint = Checkpoint::Walking(Cursor::default());
        }
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.clear();
        if self.len == 0 {
            header(&mut bytes);
            bytes.extend_from_slice(&self.pending);
            self.pending.clear();
        } else {
            std::mem::swap(&mut bytes, &mut self.pending);
        }
        if let Checkpoint::Walking(cursor) = &mut self.checkpoint
            && piece(&mut bytes, cursor, self.tuning.checkpoint_bytes)
        {
            self.checkpoint = Checkpoint::Closing;
        }
        self.batch += 1;
        self.commit = Commit::Flying;
        DiskOp::Commit { file: self.file, offset: self.len, bytes }
    }

    /// What became of the commit. Whether it is durable.
    #[must_use = "nothing may be acknowledged before this is true"]
    pub(crate) fn committed(
        &mut self,
        now: Mono,
        bytes: Vec<u8>,
        result: Result<(), DiskError>,
    ) -> bool {
        self.trouble = result.err();
        if self.trouble.is_some() {
            self.commit = Commit::Failed { until: now + JOURNAL_RETRY, bytes };
            return false;
        }
        self.len += bytes.len() as u64;
        self.spare = bytes;
        self.commit = Commit::Idle;
        self.rest();
        if self.checkpoint == Checkpoint::Closing {
            self.checkpoint = Checkpoint::Idle;
            self.removals.append(&mut self.older);
        }
        true
    }

    /// Gives back what a burst has left, once nothing waits.
    fn rest(&mut self) {
        if self.pending.is_empty() {
            for buffer in [&mut self.pending, &mut self.spare] {
                buffer.clear();
                buffer.shrink_to(JOURNAL_REST_BYTES);
            }
        }
    }

    /// When [`Journal::tick`] is wanted.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        match self.commit {
            Commit::Failed { until, .. } => Some(until),
            Commit::Idle | Commit::Flying | Commit::Again(_) => None,
        }
    }

    pub(crate) fn tick(&mut self, now: Mono) {
        if let Commit::Failed { until, bytes } = &mut self.commit
            && *until <= now
        {
            self.commit = Commit::Again(std::mem::take(bytes));
        }
    }

    /// What the disk said last, if it did not do what it was asked.
    pub(crate) const fn trouble(&self) -> Option<&DiskError> {
        self.trouble.as_ref()
    }
}
