//! What of a session's bytes reaches the operator's terminal.
//!
//! What is let through is written anew in one form: 7-bit introducers, valid UTF-8, whole
//! sequences. So it means the same to every terminal, whatever that would have made of the
//! original, and text of ours may stand between any two pieces of output. What is not known is
//! dropped; so is what [`super::leave::RESET`] could not undo (tab stops, origin mode), what is
//! not the session's (the scrollback, the size and place of the window), and what asks.

use super::leave::KEYBOARD_BACK;
use super::parser::{ESC, Parser, Step};
use crate::limits::{
    TERMINAL_PARAMETER_DIGITS_MAX, TERMINAL_SEQUENCE_BYTES_MAX, TERMINAL_TEXT_BYTES_MAX,
};

/// Private modes (DECSET) that a session may set, each undone at the end.
const MODES: &[&[u8]] = &[
    b"1", b"5", b"7", b"9", b"12", b"25", b"47", b"66", b"69", b"1000", b"1002", b"1003", b"1004",
    b"1005", b"1006", b"1015", b"1016", b"1047", b"1048", b"1049", b"2004", b"2026",
];
/// And of the modes of ECMA-48: insert.
const STANDARD_MODES: &[&[u8]] = &[b"4"];

/// Whether a session may write the clipboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clipboard {
    Writable,
    Closed,
}

/// The filter of one session's terminal.
#[derive(Debug)]
pub struct Filter {
    parser: Parser,
    clipboard: Clipboard,
    has_titles: bool,
    is_alternate: bool,
    /// Whether kitty's keyboard was changed on the alternate screen, which has its own.
    has_keyboard: bool,
    farewell: Farewell,
}

/// What tmux's client prints behind the alternate screen when it detaches, and when its session has
/// ended. Our own sentence says the same, with the session's name, so they are left out.
const DETACHED: &[u8] = b"[detached (from session claude)]\r\n";
const EXITED: &[u8] = b"[exited]\r\n";

#[derive(Clone, Copy, Debug)]
enum Farewell {
    /// The alternate screen was not left.
    None,
    /// It was, and so much of this came since, which is held back.
    Begun { text: &'static [u8], held: usize },
    /// [`EXITED`] came.
    Exited,
}

impl Filter {
    pub fn new(clipboard: Clipboard) -> Filter {
        Filter {
            parser: Parser::default(),
            clipboard,
            has_titles: true,
            is_alternate: false,
            has_keyboard: false,
            farewell: Farewell::None,
        }
    }

    /// Whether the session may set the window's title.
    pub(crate) fn set_titles(&mut self, has_titles: bool) {
        self.has_titles = has_titles;
    }

    /// Whether what was let through leaves the terminal on its alternate screen.
    pub fn is_alternate(&self) -> bool {
        self.is_alternate
    }

    /// Forgets what was begun: the bytes that follow are of another terminal.
    pub(crate) fn restart(&mut self) {
        self.parser.reset();
        self.farewell = Farewell::None;
    }

    /// Whether tmux's client said that its session has ended.
    pub(crate) fn has_exited(&self) -> bool {
        matches!(self.farewell, Farewell::Exited)
    }

    /// Takes a session's bytes and appends what may be shown: three bytes for each at most, and
    /// one whole sequence that was begun before.
    pub fn feed(&mut self, mut input: &[u8], output: &mut Vec<u8>) {
        while let [byte, rest @ ..] = input {
            if self.parser.is_ground() && self.is_farewell(*byte, output) {
                input = rest;
                continue;
            }
            if self.parser.is_ground() {
                let run = match self.farewell {
                    // It begins behind anything that is not text.
                    Farewell::Begun { .. } => plain(input),
                    _ => kept(input),
                };
                if run > 0 {
                    output.extend_from_slice(&input[..run]);
                    input = &input[run..];
                    continue;
                }
            }
            input = rest;
            let mut step = self.parser.step(*byte);
            if step == Step::Broken {
                output.extend_from_slice("\u{fffd}".as_bytes());
                step = self.parser.step(*byte);
            }
            self.show(step, output);
        }
    }

    /// Whether a byte is held back as one of a farewell. Another one gives back those before it.
    fn is_farewell(&mut self, byte: u8, output: &mut Vec<u8>) -> bool {
        let Farewell::Begun { text, held } = self.farewell else { return false };
        let goes_on =
            |other: &&[u8]| other.starts_with(&text[..held]) && other.get(held) == Some(&byte);
        self.farewell = match [DETACHED, EXITED].into_iter().find(goes_on) {
            Some(text) if held + 1 < text.len() => Farewell::Begun { text, held: held + 1 },
            Some(EXITED) => Farewell::Exited,
            Some(_) => Farewell::None,
            // Any other text is the end of it, controls and sequences are not.
            None if held == 0 => {
                if byte >= 0x20 {
                    self.farewell = Farewell::None;
                }
                return false;
            }
            None => {
                output.extend_from_slice(&text[..held]);
                self.farewell = Farewell::None;
                return false;
            }
        };
        true
    }

    fn show(&mut self, step: Step, output: &mut Vec<u8>) {
        let held = self.parser.held();
        match step {
            Step::Control(byte @ 0x07..=0x0f) => output.push(byte),
            Step::Nothing | Step::Broken | Step::Control(_) => {}
            // U+0080 to U+009F are controls of eight bits.
            Step::Character if held.len() == 2 && held[0] == 0xc2 && held[1] < 0xa0 => {}
            Step::Character => output.extend_from_slice(held),
            Step::Invalid => output.extend_from_slice("\u{fffd}".as_bytes()),
            // The title of a window of screen's: a string like the others.
            Step::Escape(b'k') if held.is_empty() => self.parser.ignore_string(),
            Step::Escape(last) if draws_escape(held, last) => {
                output.push(ESC);
                output.extend_from_slice(held);
                output.push(last);
            }
            Step::Escape(_) => {}
            Step::Sequence(last) => {
                let start = output.len();
                let screen = sequence(held, last, output);
                let is_keyboard =
                    last == b'u' && held.first().is_some_and(|it| b"<=>".contains(it));
                self.has_keyboard |= self.is_alternate && is_keyboard;
                if let Some(is_alternate) = screen {
                    // Behind it nobody could set that one back.
                    if self.is_alternate && !is_alternate && std::mem::take(&mut self.has_keyboard)
                    {
                        output.splice(start..start, KEYBOARD_BACK.iter().copied());
                    }
                    self.farewell = match self.is_alternate && !is_alternate {
                        true => Farewell::Begun { text: DETACHED, held: 0 },
                        false => Farewell::None,
                    };
                    self.is_alternate = is_alternate;
                }
            }
            Step::Command { .. } if !self.has_titles && is_title(held) => {}
            Step::Command { by_bell } if draws_command(held, self.clipboard) => {
                output.extend_from_slice(b"\x1b]");
                output.extend_from_slice(held);
                output.extend_from_slice(if by_bell { b"\x07" } else { b"\x1b\\" });
            }
            Step::Command { .. } => {}
        }
    }
}

/// How many bytes at the beginning are let through as they are: whole characters, and whole
/// sequences of those that most output is made of. What is behind them is to be looked at.
fn kept(input: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = &input[at..];
        let len = match rest.first() {
            Some(0x20..=0x7e) => plain(rest),
            Some(0x07..=0x0f) => 1,
            Some(&ESC) => common_sequence(rest),
            Some(0x80..) => character(rest),
            _ => 0,
        };
        if len == 0 {
            return at;
        }
        at += len;
    }
}

/// How many printable ASCII characters are at the beginning.
fn plain(input: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let mut at = 0;
    for eight in input.chunks_exact(8) {
        let eight = u64::from_le_bytes(eight.try_into().unwrap_or_default());
        // The highest bit of each byte that is below 0x20, DEL, or no ASCII; of the bytes above the
        // lowest of these it may be wrong.
        let below = eight.wrapping_sub(0x20 * ONES) & !eight;
        let others = (below | eight | eight.wrapping_add(ONES)) & (0x80 * ONES);
        if others != 0 {
            return at + others.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + input[at..].iter().take_while(|byte| (0x20..0x7f).contains(*byte)).count()
}

/// The length of the character above ASCII at the beginning (Unicode, table 3-7); 0 if it is none,
/// is not whole, or is a control of eight bits.
fn character(input: &[u8]) -> usize {
    match input {
        [0xc2, 0xa0..=0xbf, ..] | [0xc3..=0xdf, 0x80..=0xbf, ..] => 2,
        [0xe0, 0xa0..=0xbf, 0x80..=0xbf, ..]
        | [0xe1..=0xec | 0xee | 0xef, 0x80..=0xbf, 0x80..=0xbf, ..]
        | [0xed, 0x80..=0x9f, 0x80..=0xbf, ..] => 3,
        [0xf0, 0x90..=0xbf, 0x80..=0xbf, 0x80..=0xbf, ..]
        | [0xf1..=0xf3, 0x80..=0xbf, 0x80..=0xbf, 0x80..=0xbf, ..]
        | [0xf4, 0x80..=0x8f, 0x80..=0xbf, 0x80..=0xbf, ..] => 4,
        _ => 0,
    }
}

/// The length of the sequence at the beginning if it is one of those that most output is made of,
/// and that [`sequence`] and [`draws_escape`] let through as they are; 0 if it is to be looked at.
fn common_sequence(input: &[u8]) -> usize {
    let rest = match input {
        [ESC, b'[', b'?', b'2', b'5', b'h' | b'l', ..] => return 6,
        [ESC, b'(', b'B', ..] => return 3,
        [ESC, b'[', rest @ ..] => rest,
        _ => return 0,
    };
    let mut digits = 0;
    for (at, byte) in rest.iter().enumerate().take(TERMINAL_SEQUENCE_BYTES_MAX) {
        match byte {
            b'0'..=b'9' if digits < TERMINAL_PARAMETER_DIGITS_MAX => digits += 1,
            b';' => digits = 0,
            b'm' | b'A'..=b'D' | b'G' | b'H' | b'K' | b'L' | b'M' | b'P' | b'X' | b'd' | b'r' => {
                return at + 3;
            }
            _ => return 0,
        }
    }
    0
}

/// Cursor saved and restored, keypad, line feeds; character sets ASCII, British and lines.
fn draws_escape(held: &[u8], last: u8) -> bool {
    match held {
        b"" => matches!(last, b'7' | b'8' | b'=' | b'>' | b'D' | b'E' | b'M'),
        b"(" | b")" => matches!(last, b'0' | b'A' | b'B'),
        _ => false,
    }
}

/// Writes what draws of it. If that changes the screen: whether to the alternate one.
fn sequence(held: &[u8], last: u8, output: &mut Vec<u8>) -> Option<bool> {
    let is_prefix = held.first().is_some_and(|byte| matches!(byte, b'<'..=b'?'));
    let (prefix, rest) = held.split_at(usize::from(is_prefix));
    let end = rest.iter().position(|byte| matches!(byte, 0x20..=0x2f)).unwrap_or(rest.len());
    let (parameters, intermediates) = rest.split_at(end);
    let mut numbers = parameters.split(|byte| matches!(byte, b';' | b':'));
    let is_number = |number: &[u8]| {
        number.len() <= TERMINAL_PARAMETER_DIGITS_MAX && number.iter().all(u8::is_ascii_digit)
    };
    if !numbers.all(is_number) || last != b'm' && parameters.contains(&b':') {
        return None;
    }
    let mut fields = parameters.split(|byte| *byte == b';');
    let known = match (prefix, last) {
        (b"?", b'h' | b'l') => MODES,
        (b"", b'h' | b'l') => STANDARD_MODES,
        _ => &[],
    };
    let modes = fields.clone().filter(|field| known.contains(&plain_number(field)));
    let draws = match (prefix, intermediates, last) {
        // The scrollback is the operator's.
        (b"", b"", b'J') => fields.all(|field| plain_number(field) != b"3"),
        // With more parameters, this one tracks the mouse.
        (b"", b"", b'T') => !parameters.contains(&b';'),
        (b"", b"", b'u') => parameters.is_empty(),
        (b"" | b"?", b"", b'h' | b'l') => modes.clone().next().is_some(),
        (b"?", b"", b'J' | b'K') | (b"", b" ", b'q') | (b"<" | b"=" | b">", b"", b'u') => true,
        // modifyOtherKeys alone.
        (b">", b"", b'm') => fields.next().is_some_and(|field| plain_number(field) == b"4"),
        (b"", b"", last) => b"@ABCDEFGHIKLMPSXZ`abdefmrs".contains(&last),
        _ => false,
    };
    if draws {
        output.extend_from_slice(b"\x1b[");
        output.extend_from_slice(prefix);
        match known {
            [] => output.extend_from_slice(parameters),
            _ => modes.clone().enumerate().for_each(|(at, mode)| {
                output.extend_from_slice(if at == 0 { b"" } else { b";" });
                output.extend_from_slice(mode);
            }),
        }
        output.extend_from_slice(intermediates);
        output.push(last);
    }
    let is_screen = |mode: &&[u8]| [&b"47"[..], b"1047", b"1049"].contains(&plain_number(mode));
    (prefix == b"?" && modes.clone().any(|mode| is_screen(&mode))).then_some(last == b'h')
}

/// A number without zeros in front.
fn plain_number(field: &[u8]) -> &[u8] {
    let zeros = field.iter().take_while(|byte| **byte == b'0').count();
    &field[zeros..]
}

fn is_title(held: &[u8]) -> bool {
    matches!(held.split(|byte| *byte == b';').next(), Some(b"0" | b"1" | b"2"))
}

/// Titles, colours, the directory, links, and the clipboard.
fn draws_command(held: &[u8], clipboard: Clipboard) -> bool {
    let end = held.iter().position(|byte| *byte == b';').unwrap_or(held.len());
    let (number, text) = held.split_at(end);
    if number == b"52" {
        return clipboard == Clipboard::Writable && writes_clipboard(text);
    }
    let is_text = |text: &str| !text.chars().any(char::is_control);
    let draws = match number {
        b"0" | b"1" | b"2" | b"7" | b"8" => !text.is_empty(),
        // Where a colour may stand, a question mark asks for it.
        b"4" | b"10" | b"11" | b"12" => !text.is_empty() && !text.contains(&b'?'),
        b"104" | b"110" | b"111" | b"112" => true,
        _ => false,
    };
    draws && held.len() <= TERMINAL_TEXT_BYTES_MAX && std::str::from_utf8(held).is_ok_and(is_text)
}

/// Whether it is `;`, names of selections, `;` and base64.
fn writes_clipboard(text: &[u8]) -> bool {
    let mut parts = text.splitn(3, |byte| *byte == b';');
    let (Some(b""), Some(names), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    names.iter().all(|name| b"cpqs01234567".contains(name)) && data.iter().all(is_base64)
}

#[cfg(test)]
mod tests;
