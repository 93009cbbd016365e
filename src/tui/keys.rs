//! Bytes of a terminal as keys.
//!
//! A lone Escape and the start of a sequence are the same byte: which it was is decided by what
//! follows within [`ESCAPE_PATIENCE`], and the time is handed in. What is pasted comes as one
//! [`Key::Paste`], so no pasted text is ever taken for keys. Unknown sequences are no keys.
//!
//! States: `Ground`, `Escape`, `Sequence` (CSI), `Single` (SS3), `Pasting`, and inside a character.

use crate::base::time::Mono;
use crate::limits::{ESCAPE_PATIENCE, KEY_SEQUENCE_BYTES_MAX, PASTE_BYTES_MAX};

/// A key that was pressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    /// Control and a letter, in lower case.
    Ctrl(char),
    /// Alt and a character.
    Alt(char),
    Enter,
    Esc,
    Tab,
    /// Shift and Tab.
    BackTab,
    /// The key above Return.
    Backspace,
    Delete,
    Home,
    End,
    PageUp,
    PageDown,
    Up,
    Down,
    Left,
    Right,
    /// A function key, from 1.
    Function(u8),
    /// Text that was pasted, without control characters.
    Paste(String),
}

/// The end of a pasted text (bracketed paste).
const PASTE_END: &[u8] = b"\x1b[201~";

/// Makes keys of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    state: DecoderState,
}

#[derive(Debug, Default)]
enum DecoderState {
    #[default]
    Ground,
    /// Since this time.
    Escape {
        since: Mono,
    },
    Sequence {
        bytes: Vec<u8>,
        since: Mono,
    },
    Single {
        since: Mono,
    },
    Pasting {
        bytes: Vec<u8>,
    },
    Character {
        bytes: Vec<u8>,
        wanted: usize,
    },
}

impl Decoder {
    /// Takes bytes and appends the keys that they are.
    pub fn feed(&mut self, now: Mono, bytes: &[u8], keys: &mut Vec<Key>) {
        for &byte in bytes {
            self.state = self.step(now, byte, keys);
        }
    }

    /// When [`Decoder::tick`] is wanted.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        match self.state {
            DecoderState::Escape { since }
            | DecoderState::Sequence { since, .. }
            | DecoderState::Single { since } => Some(since + ESCAPE_PATIENCE),
            DecoderState::Ground
            | DecoderState::Pasting { .. }
            | DecoderState::Character { .. } => None,
        }
    }

    /// Time has passed: an Escape that nothing has followed was one.
    pub fn tick(&mut self, now: Mono, keys: &mut Vec<Key>) {
        if self.deadline().is_none_or(|at| at > now) {
            return;
        }
        match std::mem::take(&mut self.state) {
            DecoderState::Escape { .. } => keys.push(Key::Esc),
            DecoderState::Single { .. } => keys.push(Key::Alt('O')),
            DecoderState::Sequence { bytes, .. } if bytes.is_empty() => keys.push(Key::Alt('[')),
            _ => {}
        }
    }

    fn step(&mut self, now: Mono, byte: u8, keys: &mut Vec<Key>) -> DecoderState {
        match std::mem::take(&mut self.state) {
            DecoderState::Ground => ground(now, byte, keys),
            DecoderState::Escape { .. } => escape(now, byte, keys),
            DecoderState::Sequence { bytes, since } => sequence(now, byte, bytes, since, keys),
            DecoderState::Single { .. } => {
                keys.extend(single(byte));
                DecoderState::Ground
            }
            DecoderState::Pasting { bytes } => pasting(byte, bytes, keys),
            DecoderState::Character { bytes, wanted } => character(now, byte, bytes, wanted, keys),
        }
    }
}

fn ground(now: Mono, byte: u8, keys: &mut Vec<Key>) -> DecoderState {
    match byte {
        0x1b => return DecoderState::Escape { since: now },
        b'\r' | b'\n' => keys.push(Key::Enter),
        b'\t' => keys.push(Key::Tab),
        0x08 | 0x7f => keys.push(Key::Backspace),
        0x01..=0x1a => keys.push(Key::Ctrl(char::from(byte - 1 + b'a'))),
        0x20..=0x7e => keys.push(Key::Char(char::from(byte))),
        0xc2..=0xdf => return DecoderState::Character { bytes: vec![byte], wanted: 2 },
        0xe0..=0xef => return DecoderState::Character { bytes: vec![byte], wanted: 3 },
        0xf0..=0xf4 => return DecoderState::Character { bytes: vec![byte], wanted: 4 },
        _ => {}
    }
    DecoderState::Ground
}

fn escape(now: Mono, byte: u8, keys: &mut Vec<Key>) -> DecoderState {
    match byte {
        b'[' => return DecoderState::Sequence { bytes: Vec::new(), since: now },
        b'O' => return DecoderState::Single { since: now },
        0x1b => {
            keys.push(Key::Esc);
            return DecoderState::Escape { since: now };
        }
        0x20..=0x7e => keys.push(Key::Alt(char::from(byte))),
        _ => {
            keys.push(Key::Esc);
            return ground(now, byte, keys);
        }
    }
    DecoderState::Ground
}

/// Behind `ESC [`: parameters, then the byte that ends it (ECMA-48 §5.4).
fn sequence(
    now: Mono,
    byte: u8,
    mut bytes: Vec<u8>,
    since: Mono,
    keys: &mut Vec<Key>,
) -> DecoderState {
    // The Linux console has function keys of its own: ESC [ [ A.
    let is_console = byte == b'[' && bytes.is_empty();
    match byte {
        0x20..=0x3f => {}
        _ if is_console => {}
        0x40..=0x7e if bytes == b"200" && byte == b'~' => {
            return DecoderState::Pasting { bytes: Vec::new() };
        }
        0x40..=0x7e => {
            keys.extend(named(&bytes, byte));
            return DecoderState::Ground;
        }
        // Whatever it was, it is over.
        0x1b => return DecoderState::Escape { since: now },
        _ => return DecoderState::Ground,
    }
    if bytes.len() < KEY_SEQUENCE_BYTES_MAX {
        bytes.push(byte);
    }
    DecoderState::Sequence { bytes, since }
}

/// The key of a sequence; modifiers (`1;5A`) are not looked at.
fn named(parameters: &[u8], last: u8) -> Option<Key> {
    let first = parameters.split(|&byte| byte == b';').next().unwrap_or_default();
    if parameters == b"[" {
        return (b'A'..=b'E').contains(&last).then(|| Key::Function(last - b'A' + 1));
    }
    Some(match (last, first) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', b"1" | b"7") => Key::Home,
        (b'F', _) | (b'~', b"4" | b"8") => Key::End,
        (b'Z', _) => Key::BackTab,
        (b'~', b"3") => Key::Delete,
        (b'~', b"5") => Key::PageUp,
        (b'~', b"6") => Key::PageDown,
        (b'P'..=b'S', _) => Key::Function(last - b'P' + 1),
        (b'~', number) => {
            let number: u8 = std::str::from_utf8(number).ok()?.parse().ok()?;
            match number {
                11..=15 => Key::Function(number - 10),
                17..=21 => Key::Function(number - 11),
                23..=24 => Key::Function(number - 12),
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// Behind `ESC O`: keypads, and function keys of most terminals.
fn single(byte: u8) -> Option<Key> {
    match byte {
        b'M' => Some(Key::Enter),
        b'A'..=b'D' | b'H' | b'F' | b'P'..=b'S' => named(b"", byte),
        _ => None,
    }
}

fn pasting(byte: u8, mut bytes: Vec<u8>, keys: &mut Vec<Key>) -> DecoderState {
    bytes.push(byte);
    if bytes.ends_with(PASTE_END) {
        bytes.truncate(bytes.len() - PASTE_END.len());
        bytes.truncate(PASTE_BYTES_MAX);
        let text = String::from_utf8_lossy(&bytes);
        let blank = |sign: char| if sign.is_control() { ' ' } else { sign };
        keys.push(Key::Paste(text.trim().chars().map(blank).collect()));
        return DecoderState::Ground;
    }
    // What is too long is dropped; the end is still looked for.
    if bytes.len() > PASTE_BYTES_MAX + PASTE_END.len() {
        bytes.remove(PASTE_BYTES_MAX);
    }
    DecoderState::Pasting { bytes }
}

fn character(
    now: Mono,
    byte: u8,
    mut bytes: Vec<u8>,
    wanted: usize,
    keys: &mut Vec<Key>,
) -> DecoderState {
    if !(0x80..=0xbf).contains(&byte) {
        return ground(now, byte, keys);
    }
    bytes.push(byte);
    if bytes.len() < wanted {
        return DecoderState::Character { bytes, wanted };
    }
    let sign = std::str::from_utf8(&bytes).ok().and_then(|text| text.chars().next());
    keys.extend(sign.filter(|sign| !sign.is_control()).map(Key::Char));
    DecoderState::Ground
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(millis * 1_000_000)
    }

    fn keys(pieces: &[&[u8]]) -> Vec<Key> {
        let (mut decoder, mut keys) = (Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.feed(at(0), piece, &mut keys);
        }
        decoder.tick(at(1_000), &mut keys);
        assert_eq!(decoder.deadline(), None);
        keys
    }

    const ALL: &[(&[u8], &[Key])] = &[
        (b"jK", &[Key::Char('j'), Key::Char('K')]),
        (
            b"\r\x03\x7f\t\x08",
            &[Key::Enter, Key::Ctrl('c'), Key::Backspace, Key::Tab, Key::Backspace],
        ),
        (b"\x1b[A\x1bOB\x1b[1;5C", &[Key::Up, Key::Down, Key::Right]),
        (
            b"\x1b[H\x1b[4~\x1b[5~\x1b[6~\x1b[3~",
            &[Key::Home, Key::End, Key::PageUp, Key::PageDown, Key::Delete],
        ),
        (
            b"\x1bOP\x1b[[B\x1b[24~\x1b[Z",
            &[Key::Function(1), Key::Function(2), Key::Function(12), Key::BackTab],
        ),
        ("ä日🦀".as_bytes(), &[Key::Char('ä'), Key::Char('日'), Key::Char('🦀')]),
        (b"\x1bx\x1b\x1b[B", &[Key::Alt('x'), Key::Esc, Key::Down]),
        (b"\x1b", &[Key::Esc]),
        (b"\x1b[?1;2c\x1b[9999999999999999999999999999999999999999x", &[]),
    ];

    #[test]
    fn keys_whole_and_byte_by_byte() {
        for (bytes, wanted) in ALL {
            assert_eq!(keys(&[bytes]), *wanted, "{}", bytes.escape_ascii());
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(keys(&single), *wanted, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_pasted_is_never_a_key() {
        let pasted = b"\x1b[200~dy\rq\x1b[201~j";
        for cut in 0..pasted.len() {
            assert_eq!(
                keys(&[&pasted[..cut], &pasted[cut..]]),
                [Key::Paste("dy q".to_owned()), Key::Char('j')]
            );
        }
        let long = [b"\x1b[200~".as_slice(), &vec![b'x'; 3 * PASTE_BYTES_MAX], PASTE_END].concat();
        assert_eq!(keys(&[&long]), [Key::Paste("x".repeat(PASTE_BYTES_MAX))]);
    }

    #[test]
    fn an_escape_waits_for_what_follows() {
        let (mut decoder, mut keys) = (Decoder::default(), Vec::new());
        decoder.feed(at(0), b"\x1b", &mut keys);
        decoder.tick(at(10), &mut keys);
        assert_eq!(keys, []);
        decoder.feed(at(20), b"[A", &mut keys);
        assert_eq!(keys, [Key::Up]);
        decoder.feed(at(30), b"\x1b", &mut keys);
        let deadline = decoder.deadline().expect("it waits");
        decoder.tick(deadline, &mut keys);
        assert_eq!(keys, [Key::Up, Key::Esc]);
    }

    #[test]
    fn any_bytes_are_taken() {
        for one in 0..=255 {
            for other in 0..=255 {
                keys(&[&[0x1b, one, other, b'x'], &[one, other, 0x1b, b'[', other]]);
            }
        }
    }
}
