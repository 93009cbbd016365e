//! Newline framing with a bound.
//!
//! Bytes go in as they come; whole lines come out without their newline. A line longer than the
//! limit is an error and stays one: the framing has lost its place.

/// Collects bytes until a newline. Holds at most `limit` bytes of an unfinished line.
#[derive(Debug)]
pub struct Lines {
    line: Vec<u8>,
    limit: usize,
    state: LinesState,
}

#[derive(Debug, PartialEq, Eq)]
enum LinesState {
    Collecting,
    Complete,
    TooLong,
}

/// A line was longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong {
    /// The limit, in bytes without the newline.
    pub(crate) limit: usize,
}

impl std::fmt::Display for LineTooLong {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "line longer than {} bytes", self.limit)
    }
}

impl std::error::Error for LineTooLong {}

impl Lines {
    /// Framing for lines of at most `limit` bytes.
    pub(crate) const fn new(limit: usize) -> Lines {
        Lines { line: Vec::new(), limit, state: LinesState::Collecting }
    }

    /// Takes bytes up to and including the first newline, and returns how many it took. Once a line
    /// is complete, takes nothing until [`Lines::next_line`] has collected it.
    ///
    /// # Errors
    /// [`LineTooLong`] as soon as a line exceeds the limit, and on every call after that.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<usize, LineTooLong> {
        match self.state {
            LinesState::TooLong => return Err(LineTooLong { limit: self.limit }),
            LinesState::Complete => return Ok(0),
            LinesState::Collecting => {}
        }
        let newline = bytes.iter().position(|&byte| byte == b'\n');
        let part = &bytes[..newline.unwrap_or(bytes.len())];
        if self.line.len() + part.len() > self.limit {
            self.state = LinesState::TooLong;
            self.line = Vec::new();
            return Err(LineTooLong { limit: self.limit });
        }
        self.line.extend_from_slice(part);
        if newline.is_some() {
            self.state = LinesState::Complete;
        }
        Ok(part.len() + usize::from(newline.is_some()))
    }

    /// Bytes of the line that is collected.
    pub(crate) fn held(&self) -> usize {
        self.line.len()
    }

    /// The line, if it is complete. A carriage return before the newline is part of it.
    pub(crate) fn next_line(&mut self) -> Option<Vec<u8>> {
        if self.state != LinesState::Complete {
            return None;
        }
        self.state = LinesState::Collecting;
        Some(std::mem::take(&mut self.line))
    }

    /// What the end of the stream left without a newline, if anything.
    pub(crate) fn take_rest(&mut self) -> Option<Vec<u8>> {
        let rest = std::mem::take(&mut self.line);
        (!rest.is_empty()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(input: &[u8], step: usize) -> Result<Vec<Vec<u8>>, LineTooLong> {
        let mut lines = Lines::new(8);
        let mut found = Vec::new();
        for chunk in input.chunks(step) {
            let mut rest = chunk;
            while !rest.is_empty() {
                let taken = lines.push(rest)?;
                rest = &rest[taken..];
                found.extend(lines.next_line());
            }
        }
        found.extend(lines.take_rest());
        Ok(found)
    }

    #[test]
    fn same_lines_however_they_are_cut() {
        let input = b"one\n\ntwo two\nrest";
        for step in 1..=input.len() {
            let lines = split(input, step).expect("all lines are short");
            assert_eq!(lines, [&b"one"[..], b"", b"two two", b"rest"]);
        }
    }

    #[test]
    fn the_limit_is_exact_and_failure_stays() {
        assert_eq!(split(b"12345678\n", 3).map(|lines| lines.len()), Ok(1));
        assert_eq!(split(b"123456789\n", 3), Err(LineTooLong { limit: 8 }));
        let mut lines = Lines::new(1);
        assert!(lines.push(b"ab").is_err());
        assert!(lines.push(b"a\n").is_err());
    }
}
