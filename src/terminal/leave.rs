//! How the operator's terminal is taken for a session and left again.
//!
//! Of what a session did, one thing is kept in mind: whether it is on the alternate screen. All
//! else is undone, whether it was done or not. Where setting something back moves the cursor, it
//! stands between saving and restoring it. To leave a screen that one is not on moves the cursor in
//! tmux, and tmux has one saved cursor for both screens, so that is done only where it is called
//! for.

use super::parser::{Parser, Step};

/// Before a session's first byte: the cursor, the title, and whether the cursor blinks are put
/// aside. Terminals that cannot save a mode ignore that; for xterm, a cursor as usual blinks.
pub const ENTER: &[u8] = b"\x1b7\x1b[22;0;0t\x1b[?12s";

/// Undoes all of kitty's keyboard on the screen that is shown.
pub(super) const KEYBOARD_BACK: &[u8] = b"\x1b[<99u\x1b[=0u";

/// All that the filter lets through, undone, with what leaves the alternate screen in the midst.
macro_rules! reset {
    ($leave:literal) => {
        concat!(
            "\x18\x1b[?2026l\x1b7\x1b[<99u\x1b[=0u\x1b[?69l\x1b[r\x1b8",
            $leave,
            "\x1b7\x1b[<99u\x1b[=0u\x1b[r\x1b8",
            "\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l",
            "\x1b[?1015l\x1b[?1016l",
            "\x1b[?1004l\x1b[?2004l\x1b[?1l\x1b[?66l\x1b>\x1b[>4m\x1b[4l\x1b[?5l\x1b[?7h",
            "\x1b(B\x1b)B\x0f\x1b]8;;\x1b\\\x1b[0m",
            "\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\\x1b]7;\x1b\\",
            "\x1b[?12l\x1b[0 q\x1b[?12r\x1b[?25h\x1b[23;0;0t"
        )
        .as_bytes()
    };
}

/// Behind a session's last byte, which may be amidst a sequence.
pub fn reset(is_alternate: bool) -> &'static [u8] {
    if is_alternate { RESET } else { reset!("") }
}

/// The same where nobody can say which screen it is.
pub const RESET: &[u8] = reset!("\x1b[?1049l");

/// Asks the terminal what it is (DA1). Terminals answer in order, and all know this one.
pub const QUESTION: &[u8] = b"\x1b[c";

/// Whether a terminal of this name (`TERM`) knows any sequence at all.
pub fn takes_sequences(term: &str) -> bool {
    !matches!(term, "dumb" | "unknown")
}

/// Reads what comes behind [`QUESTION`] up to its answer.
#[derive(Debug, Default)]
pub struct Fence {
    parser: Parser,
}

impl Fence {
    /// Takes one byte. Whether it was the answer's last one.
    pub fn sees(&mut self, byte: u8) -> bool {
        let mut step = self.parser.step(byte);
        if step == Step::Broken {
            step = self.parser.step(byte);
        }
        step == Step::Sequence(b'c') && self.parser.held().starts_with(b"?")
    }

    /// Whether something has begun that has not ended.
    pub fn is_amid(&self) -> bool {
        !self.parser.is_ground()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fence_is_the_answer_and_nothing_else() {
        let before = b"jdy\x1b]52;c;?1c\x07\x1b[?1;2R\xff\x1b[>1;2c\xe2\x1b[1c\x1bP?1c\x1b\\";
        let answer = b"\x1b[?62;22c";
        let mut fence = Fence::default();
        assert!(!before.iter().any(|byte| fence.sees(*byte)));
        let seen: Vec<bool> = answer.iter().map(|byte| fence.sees(*byte)).collect();
        assert_eq!(seen.iter().position(|seen| *seen), Some(answer.len() - 1));
    }
}
