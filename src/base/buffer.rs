//! A bounded byte queue whose content is one slice.
//!
//! Bytes go in at the back and leave at the front. Memory is taken as it is needed, up to the limit
//! given at the start, kept while bytes flow (allocation is slow on musl), and given back by
//! [`Buffer::trim`]. It never grows past its limit: a push takes what fits and says how much.

/// Bytes on their way from one place to another. `head <= bytes.len() <= limit` always holds.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    head: usize,
    limit: usize,
}

/// The first allocation; growth doubles from here.
const FIRST_CAPACITY_BYTES: usize = 1024;

impl Buffer {
    /// An empty buffer that will hold at most `limit` bytes. Allocates nothing.
    pub(crate) const fn new(limit: usize) -> Buffer {
        Buffer { bytes: Vec::new(), head: 0, limit }
    }

    /// Appends as much of `bytes` as there is room for, and returns how much that was.
    #[must_use = "what did not fit is still the caller's"]
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.space());
        self.make_room(count);
        self.bytes.extend_from_slice(&bytes[..count]);
        count
    }

    /// Drops `count` bytes from the front. Asserts that they are there.
    pub(crate) fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed more than the buffer holds");
        self.head += count;
        if self.head == self.bytes.len() {
            self.clear();
        }
    }

    /// Drops everything, keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.head = 0;
    }

    /// Gives the memory back if nothing is held.
    pub(crate) fn trim(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.head = 0;
        }
    }

    /// What is held, oldest first.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    /// How many bytes are held.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many more bytes would be taken.
    pub(crate) fn space(&self) -> usize {
        self.limit - self.len()
    }

    /// Memory held now, in bytes.
    pub(crate) fn allocated(&self) -> usize {
        self.bytes.capacity()
    }

    /// Moves the content to the front when the back is full, or grows: doubling, within the limit.
    fn make_room(&mut self, count: usize) {
        if self.bytes.capacity() - self.bytes.len() >= count {
            return;
        }
        let held = self.len();
        // Moving pays only if it frees a good part of what it moves; else the same bytes would be
        // moved again and again. A quarter lets an owner that holds at most four fifths of the
        // limit move for ever and never allocate again.
        if self.head >= held / 4 && self.bytes.capacity() - held >= count {
            self.compact();
            return;
        }
        let wanted = (held + count).max(self.bytes.capacity() * 2).max(FIRST_CAPACITY_BYTES);
        let mut grown = Vec::with_capacity(wanted.min(self.limit.max(held + count)));
        grown.extend_from_slice(self.as_slice());
        self.bytes = grown;
        self.head = 0;
    }

    fn compact(&mut self) {
        let held = self.len();
        self.bytes.copy_within(self.head.., 0);
        self.bytes.truncate(held);
        self.head = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_no_more_than_its_limit() {
        let mut buffer = Buffer::new(5);
        assert_eq!(buffer.push(b"abc"), 3);
        assert_eq!(buffer.push(b"defg"), 2);
        assert_eq!(buffer.push(b"h"), 0);
        assert_eq!(buffer.as_slice(), b"abcde");
    }

    #[test]
    fn bytes_leave_in_the_order_they_came() {
        let mut buffer = Buffer::new(4096);
        let (mut next_in, mut next_out) = (0_u8, 0_u8);
        for round in 0..10_000_usize {
            for _ in 0..round % 7 {
                if buffer.push(&[next_in]) == 1 {
                    next_in = next_in.wrapping_add(1);
                }
            }
            for _ in 0..(round % 5).min(buffer.len()) {
                assert_eq!(buffer.as_slice()[0], next_out);
                buffer.consume(1);
                next_out = next_out.wrapping_add(1);
            }
            assert!(buffer.len() <= 4096);
        }
    }

    #[test]
    fn a_steady_flow_allocates_once() {
        let mut buffer = Buffer::new(1 << 20);
        let chunk = [7_u8; 700];
        assert_eq!(buffer.push(&chunk), chunk.len());
        let held = {
            assert_eq!(buffer.push(&chunk), chunk.len());
            buffer.allocated()
        };
        for _ in 0..1000 {
            buffer.consume(700);
            assert_eq!(buffer.push(&chunk), chunk.len());
        }
        assert!(buffer.allocated() <= held * 2, "{}", buffer.allocated());
    }

    #[test]
    fn trim_gives_memory_back_only_when_empty() {
        let mut buffer = Buffer::new(100);
        assert_eq!(buffer.push(b"x"), 1);
        buffer.trim();
        assert_eq!(buffer.as_slice(), b"x");
        buffer.consume(1);
        buffer.trim();
        assert_eq!(buffer.allocated(), 0);
    }

    #[test]
    #[should_panic(expected = "consumed more than the buffer holds")]
    fn consuming_too_much_is_a_bug() {
        Buffer::new(10).consume(1);
    }
}
