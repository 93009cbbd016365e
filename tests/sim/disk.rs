//! A disk in memory that forgets and tears what was not durable when its machine died.

use std::collections::{BTreeMap, VecDeque};

use convocate::base::disk::{DiskDone, DiskError, DiskOp, FileNo};

use crate::random::Dice;

#[derive(Default)]
pub struct Disk {
    files: BTreeMap<FileNo, Vec<u8>>,
    queue: VecDeque<DiskOp>,
    pub full: bool,
}

impl Disk {
    pub fn lengths(&self) -> Vec<(FileNo, u64)> {
        self.files.iter().map(|(file, bytes)| (*file, bytes.len() as u64)).collect()
    }

    pub fn bytes(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }

    /// Whether the disk was idle, so that its next answer must be scheduled.
    pub fn start(&mut self, op: DiskOp) -> bool {
        self.queue.push_back(op);
        self.queue.len() == 1
    }

    pub fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Finishes the oldest operation.
    pub fn finish(&mut self, dice: &mut Dice) -> Option<DiskDone> {
        let op = self.queue.pop_front()?;
        Some(self.execute(op, dice))
    }

    pub fn execute(&mut self, op: DiskOp, dice: &mut Dice) -> DiskDone {
        match op {
            DiskOp::Commit { file, offset, bytes } if self.full => {
                let some = &bytes[..dice.index(bytes.len() + 1)];
                self.put(file, offset, some);
                let result = Err(DiskError("write log: no space left on device".to_owned()));
                DiskDone::Committed { bytes, result }
            }
            DiskOp::Commit { file, offset, bytes } => {
                self.put(file, offset, &bytes);
                DiskDone::Committed { bytes, result: Ok(()) }
            }
            DiskOp::Read { file, offset, len, mut buffer } => {
                buffer.clear();
                let content = self.files.get(&file).map(Vec::as_slice).unwrap_or_default();
                let from = usize::try_from(offset).unwrap().min(content.len());
                buffer.extend_from_slice(&content[from..content.len().min(from + len)]);
                DiskDone::Read { buffer, result: Ok(()) }
            }
            DiskOp::Remove { file } => {
                self.files.remove(&file);
                DiskDone::Removed { result: Ok(()) }
            }
        }
    }

    /// The machine dies: the operation under way is done, half done, or not begun; those behind it
    /// are not begun.
    pub fn crash(&mut self, dice: &mut Dice) {
        let under_way = self.queue.pop_front();
        self.queue.clear();
        match under_way {
            Some(DiskOp::Commit { file, offset, bytes }) => self.tear(file, offset, &bytes, dice),
            Some(op @ DiskOp::Remove { .. }) if dice.percent(50) => {
                self.execute(op, dice);
            }
            _ => {}
        }
    }

    fn tear(&mut self, file: FileNo, offset: u64, bytes: &[u8], dice: &mut Dice) {
        let mut torn = bytes[..dice.index(bytes.len() + 1)].to_vec();
        match dice.below(4) {
            0 => return,
            1 => torn = bytes.to_vec(),
            2 if !torn.is_empty() => {
                // A block that never came is zeros, or something old.
                let hole = dice.index(torn.len());
                let filler = if dice.percent(50) { 0 } else { 0xa5 };
                let end = (hole + dice.amount(512)).min(torn.len());
                torn[hole..end].fill(filler);
            }
            _ => {}
        }
        self.put(file, offset, &torn);
    }

    fn put(&mut self, file: FileNo, offset: u64, bytes: &[u8]) {
        let content = self.files.entry(file).or_default();
        let offset = usize::try_from(offset).unwrap();
        assert!(offset <= content.len(), "a commit behind the end of {file:?}");
        content.truncate(offset);
        content.extend_from_slice(bytes);
    }
}
