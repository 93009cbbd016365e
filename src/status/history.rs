//! The most recent events, once, for all subscribers.
//!
//! Whole lines of the status socket in chunks; the oldest chunk goes when there are too many. A
//! subscriber holds only a place in it, so one that never reads costs nothing and notices, when it
//! does read, that its place is gone. Places count bytes since the hub's start.

use std::collections::VecDeque;
use std::io::Write as _;

use crate::limits::{HISTORY_BYTES_MAX, HISTORY_CHUNK_BYTES};

/// Recent lines, each `{"seq":N,"event":…}` with its newline.
#[derive(Debug, Default)]
pub(crate) struct History {
    chunks: VecDeque<Chunk>,
    /// Behind the newest line.
    end: u64,
    /// Behind the newest line that may be told.
    visible: u64,
    held: usize,
    /// The number of the newest line that is gone, or of the newest before the start.
    forgotten: u64,
}

#[derive(Debug)]
struct Chunk {
    start: u64,
    last_seq: u64,
    bytes: Vec<u8>,
}

/// The start of every line, before the number.
const LINE_START: &[u8] = b"{\"seq\":";

/// Writes the line of an event under a number of the hub.
pub(crate) fn write_line(out: &mut Vec<u8>, seq: u64, event: &[u8]) {
    out.extend_from_slice(LINE_START);
    write!(out, "{seq},\"event\":").expect("memory takes every write");
    out.extend_from_slice(event);
    out.extend_from_slice(b"}\n");
}

impl History {
    /// A history that starts behind the event `seq`.
    pub(crate) fn starting_after(seq: u64) -> History {
        History { forgotten: seq, ..History::default() }
    }

    /// Appends a line, which may not be told yet. An event without a number of its own has that of
    /// the event before it.
    pub(crate) fn push(&mut self, seq: u64, line: &[u8]) {
        let chunk = match self.chunks.back_mut() {
            Some(chunk) if chunk.bytes.len() + line.len() <= HISTORY_CHUNK_BYTES => chunk,
            _ => self.open_chunk(line.len()),
        };
        chunk.bytes.extend_from_slice(line);
        chunk.last_seq = seq;
        self.end += line.len() as u64;
        self.held += line.len();
    }

    /// Everything up to the place `end` may be told.
    pub(crate) fn show(&mut self, end: u64) {
        self.visible = self.visible.max(end);
    }

    /// Behind the newest line.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// The number of the newest line.
    pub(crate) fn last_seq(&self) -> u64 {
        self.chunks.back().map_or(self.forgotten, |chunk| chunk.last_seq)
    }

    /// Behind the newest line that may be told.
    pub(crate) const fn visible(&self) -> u64 {
        self.visible
    }

    /// The lines that may be told from the place `at` on, as many as lie together; empty if there
    /// are none. `None` if the place is gone.
    pub(crate) fn lines(&self, at: u64) -> Option<&[u8]> {
        if at >= self.visible {
            return Some(&[]);
        }
        let index = self.chunks.partition_point(|chunk| chunk.start <= at).checked_sub(1)?;
        let chunk = &self.chunks[index];
        let offset = |place: u64| usize::try_from(place - chunk.start).unwrap_or(usize::MAX);
        Some(&chunk.bytes[offset(at)..offset(self.visible).min(chunk.bytes.len())])
    }

    /// The place behind the event `seq`, or the number of the newest event that is gone if there
    /// were later ones.
    ///
    /// # Errors
    /// That number.
    pub(crate) fn place_after(&self, seq: u64) -> Result<u64, u64> {
        if seq < self.forgotten {
            return Err(self.forgotten);
        }
        let index = self.chunks.partition_point(|chunk| chunk.last_seq <= seq);
        let Some(chunk) = self.chunks.get(index) else { return Ok(self.end) };
        let mut place = chunk.start;
        for line in chunk.bytes.split_inclusive(|&byte| byte == b'\n') {
            if line_seq(line) > seq {
                break;
            }
            place += line.len() as u64;
        }
        Ok(place)
    }

    /// The place of the oldest line.
    pub(crate) fn start(&self) -> u64 {
        self.chunks.front().map_or(self.end, |chunk| chunk.start)
    }

    fn open_chunk(&mut self, wanted: usize) -> &mut Chunk {
        let mut bytes = Vec::new();
        while self.held + wanted.max(HISTORY_CHUNK_BYTES) > HISTORY_BYTES_MAX {
            let Some(oldest) = self.chunks.pop_front() else { break };
            self.held -= oldest.bytes.len();
            self.forgotten = oldest.last_seq;
            bytes = oldest.bytes;
        }
        bytes.clear();
        bytes.reserve_exact(wanted.max(HISTORY_CHUNK_BYTES));
        bytes.shrink_to(wanted.max(HISTORY_CHUNK_BYTES));
        self.chunks.push_back(Chunk { start: self.end, last_seq: 0, bytes });
        self.chunks.back_mut().expect("it was pushed on the line above")
    }
}

/// The number in a line that [`write_line`] wrote.
fn line_seq(line: &[u8]) -> u64 {
    let digits = line.strip_prefix(LINE_START).unwrap_or_default().iter();
    digits
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: u64) -> Vec<u8> {
        let mut line = Vec::new();
        write_line(&mut line, seq, br#"{"type":"x"}"#);
        line
    }

    fn filled(count: u64) -> History {
        let mut history = History::starting_after(0);
        for seq in 1..=count {
            history.push(seq, &line(seq));
        }
        history
    }

    #[test]
    fn nothing_is_told_before_it_may_be() {
        let mut history = filled(3);
        assert_eq!(history.lines(0), Some(&[][..]));
        history.show(line(1).len() as u64);
        assert_eq!(history.lines(0), Some(line(1).as_slice()));
        history.show(history.end());
        assert_eq!(
            history.lines(line(1).len() as u64),
            Some([line(2), line(3)].concat().as_slice())
        );
        assert_eq!(history.lines(history.end()), Some(&[][..]));
    }

    #[test]
    fn memory_is_bounded_and_a_lost_place_is_noticed() {
        let mut history = filled(100_000);
        history.show(history.end());
        assert!(history.held <= HISTORY_BYTES_MAX);
        let capacity: usize = history.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum();
        assert!(capacity <= HISTORY_BYTES_MAX + HISTORY_CHUNK_BYTES, "{capacity}");
        assert_eq!(history.lines(0), None);
        let (mut at, mut seq) = (history.start(), history.forgotten);
        loop {
            let lines = history.lines(at).unwrap();
            if lines.is_empty() {
                break;
            }
            for line in lines.split_inclusive(|&byte| byte == b'\n') {
                seq += 1;
                assert_eq!(line_seq(line), seq);
            }
            at += lines.len() as u64;
        }
        assert_eq!(seq, 100_000);
    }

    #[test]
    fn a_number_leads_to_its_place() {
        let mut history = filled(100_000);
        history.show(history.end());
        assert_eq!(history.place_after(5), Err(history.forgotten));
        for seq in [history.forgotten, history.forgotten + 1, 99_000, 99_999] {
            let place = history.place_after(seq).unwrap();
            assert_eq!(line_seq(history.lines(place).unwrap()), seq + 1);
        }
        assert_eq!(history.place_after(100_000), Ok(history.end()));
        assert_eq!(history.place_after(u64::MAX), Ok(history.end()));
    }
}
