//! Bytes of a terminal as keys.
//!
//! A terminal's answers come in among the keys, and late ones after the question is forgotten: the
//! sequences that are no known key and all control strings are swallowed whole, however they are
//! cut and however long they are. One without an end is over after [`CONTROL_STRING_SILENCE`].
//!
//! A lone Escape and the start of a sequence are the same byte. An Escape that nothing follows
//! within [`ESCAPE_PATIENCE`] is told as a key. If the start of a sequence follows still later, and
//! at once more of it, it was an answer that was cut. The time is handed in.
//!
//! What is pasted comes as one [`Key::Paste`], so no pasted text is ever taken for keys.

use crate::base::time::Mono;
use crate::limits::{
    CONTROL_STRING_SILENCE, ESCAPE_PATIENCE, LATE_ANSWER_PATIENCE, PASTE_BYTES_MAX,
};
use crate::terminal::parser::{Parser, Step};

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
    parser: Parser,
    state: DecoderState,
    /// When the last byte came.
    since: Mono,
    /// The Escape that the parser holds was told as a key. What began it since, if anything.
    told: Option<Option<char>>,
}

#[derive(Debug, Default)]
enum DecoderState {
    #[default]
    Parsing,
    /// Behind `ESC O`: keypads, and function keys of most terminals.
    Single,
    /// Behind `ESC [ [`: function keys of the Linux console.
    Console,
    /// Behind `ESC [ M`: a click in the oldest form, so many bytes of it.
    Click(u8),
    Pasting {
        bytes: Vec<u8>,
    },
}

impl Decoder {
    /// Takes bytes and appends the keys that they are.
    pub fn feed(&mut self, now: Mono, bytes: &[u8], keys: &mut Vec<Key>) {
        self.since = if bytes.is_empty() { self.since } else { now };
        for &byte in bytes {
            self.state = match std::mem::take(&mut self.state) {
                DecoderState::Parsing => self.parse(byte, keys),
                DecoderState::Single => {
                    keys.extend(single(byte));
                    DecoderState::Parsing
                }
                DecoderState::Console => {
                    let key = (b'A'..=b'E').contains(&byte).then(|| byte - b'A' + 1);
                    keys.extend(key.map(Key::Function));
                    DecoderState::Parsing
                }
                DecoderState::Click(1) => DecoderState::Parsing,
                DecoderState::Click(left) => DecoderState::Click(left - 1),
                DecoderState::Pasting { bytes } => pasting(byte, bytes, keys),
            };
        }
    }

    /// When [`Decoder::tick`] is wanted.
    pub fn deadline(&self) -> Option<Mono> {
        let patience = match &self.state {
            DecoderState::Pasting { .. } => return None,
            DecoderState::Single | DecoderState::Console | DecoderState::Click(_) => {
                CONTROL_STRING_SILENCE
            }
            DecoderState::Parsing if self.parser.is_ground() || self.parser.is_character() => {
                return None;
            }
            DecoderState::Parsing => match self.told {
                None if self.parser.is_escape() => ESCAPE_PATIENCE,
                Some(None) => LATE_ANSWER_PATIENCE,
                Some(Some(_)) if self.parser.held().is_empty() => ESCAPE_PATIENCE,
                None | Some(Some(_)) => CONTROL_STRING_SILENCE,
            },
        };
        Some(self.since + patience)
    }

    /// Time has passed: an Escape that nothing has followed was one, and what has no end is over.
    pub fn tick(&mut self, now: Mono, keys: &mut Vec<Key>) {
        if self.deadline().is_none_or(|at| at > now) {
            return;
        }
        if self.told.is_none() && self.parser.is_escape() && self.parser.held().is_empty() {
            keys.push(Key::Esc);
            self.told = Some(None);
            return;
        }
        if let Some(Some(sign)) = self.told
            && self.parser.held().is_empty()
        {
            keys.push(Key::Char(sign));
        }
        self.give_up();
    }

    fn give_up(&mut self) {
        self.parser.reset();
        self.told = None;
        self.state = DecoderState::Parsing;
    }

    fn parse(&mut self, byte: u8, keys: &mut Vec<Key>) -> DecoderState {
        if self.parser.is_escape() && self.parser.held().is_empty() {
            self.follow_escape(byte, keys);
        }
        let mut step = self.parser.step(byte);
        if step == Step::Broken {
            step = self.parser.step(byte);
        }
        let state = self.take(step, byte, keys);
        if self.parser.is_ground() {
            self.told = None;
        }
        state
    }

    /// What an Escape was, now that this byte is behind it.
    fn follow_escape(&mut self, byte: u8, keys: &mut Vec<Key>) {
        let is_start = matches!(byte, b'[' | b']' | b'P' | b'X' | b'^' | b'_');
        match self.told {
            Some(_) if is_start => self.told = Some(Some(char::from(byte))),
            Some(_) => self.give_up(),
            None if (0x20..0x7f).contains(&byte) => {}
            None => {
                keys.push(Key::Esc);
                self.give_up();
            }
        }
    }

    fn take(&mut self, step: Step, byte: u8, keys: &mut Vec<Key>) -> DecoderState {
        let held = self.parser.held();
        match step {
            // Inside a sequence it belongs to whatever that is.
            Step::Control(byte) if self.parser.is_ground() => keys.extend(control(byte)),
            Step::Control(_) | Step::Nothing | Step::Broken | Step::Command { .. } => {
                // DEL is a key.
                let is_key = byte == 0x7f && self.parser.is_ground();
                keys.extend(is_key.then_some(Key::Backspace));
            }
            // A control of eight bits begins what ESC and seven do.
            Step::Invalid => {
                self.parser.introduce(byte.wrapping_sub(0x40));
            }
            Step::Character => {
                let sign = std::str::from_utf8(held).ok().and_then(|text| text.chars().next());
                match sign {
                    Some(sign @ '\u{80}'..='\u{9f}') => {
                        self.parser.introduce((sign as u8).wrapping_sub(0x40));
                    }
                    sign => keys.extend(sign.map(Key::Char)),
                }
            }
            Step::Escape(b'O') if held.is_empty() => return DecoderState::Single,
            Step::Escape(last) if held.is_empty() => keys.push(Key::Alt(char::from(last))),
            Step::Sequence(b'[') if held.is_empty() => return DecoderState::Console,
            Step::Sequence(b'M') if held.is_empty() => return DecoderState::Click(3),
            Step::Sequence(b'~') if held == b"200" => {
                return DecoderState::Pasting { bytes: Vec::new() };
            }
            Step::Sequence(last) => keys.extend(named(held, last)),
            Step::Escape(_) => {}
        }
        DecoderState::Parsing
    }
}

fn control(byte: u8) -> Option<Key> {
    Some(match byte {
        b'\r' | b'\n' => Key::Enter,
        b'\t' => Key::Tab,
        0x08 => Key::Backspace,
        0x01..=0x1a => Key::Ctrl(char::from(byte - 1 + b'a')),
        _ => return None,
    })
}

/// The key of a sequence; modifiers (`1;5A`) are not looked at. With other parameters it is an
/// answer: `5;10R` says where the cursor is, and so may `1;1R`, which no key needs to be.
fn named(parameters: &[u8], last: u8) -> Option<Key> {
    let first = parameters.split(|&byte| byte == b';').next().unwrap_or_default();
    let is_key = last == b'~' || parameters.is_empty() || first == b"1" && last != b'R';
    if !is_key {
        return None;
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

/// Behind `ESC O`.
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
        return DecoderState::Parsing;
    }
    // What is too long is dropped; the end is still looked for.
    if bytes.len() > PASTE_BYTES_MAX + PASTE_END.len() {
        bytes.remove(PASTE_BYTES_MAX);
    }
    DecoderState::Pasting { bytes }
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
        for second in 1..4 {
            decoder.tick(at(second * 1_000), &mut keys);
        }
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
        (b"\x1bP\x1bj\xc2\x41", &[Key::Alt('j'), Key::Char('A')]),
    ];

    /// Answers and reports of terminals, and strings of all kinds.
    const NO_KEYS: &[&[u8]] = &[
        b"\x1b[?62;1;2c",
        b"\x1b[>41;354;0c",
        b"\x1b[0n",
        b"\x1b[24;80R",
        b"\x1b[1;1R",
        b"\x1b[?25;1$y",
        b"\x1b[?0u",
        b"\x1b[8;24;80t",
        b"\x1b[9999999999999999999999999999999999999999999999999999x",
        b"\x1b[I",
        b"\x1b[O",
        b"\x1b[<0;10;10M",
        b"\x1b[<0;10;10m",
        b"\x1b[Mjdy",
        b"\x1b[?1;2A",
        b"\x1b]11;rgb:1212/3434/5656\x07",
        b"\x1b]52;c;amR5\x1b\\",
        b"\x1b]ljdy\x1b\\",
        b"\x1bP>|xterm(390)\x1b\\",
        b"\x1bP1+r524742=38\x1b\\",
        b"\x1b_Gi=31;OK\x1b\\",
        b"\x1b^jdy\x1b\\",
        b"\x1bXjdy\x1b\\",
        b"\x9b?1;2c",
        b"\x9djdy\x07",
        b"\xc2\x9b?1;2c",
        b"\xc2\x90jdy\x1b\\",
    ];

    /// Feeds pieces with a pause between, in which time is told of.
    fn paused(pieces: &[&[u8]], pause: u64) -> Vec<Key> {
        let (mut decoder, mut keys) = (Decoder::default(), Vec::new());
        for (number, piece) in (0..).zip(pieces) {
            decoder.tick(at(number * pause), &mut keys);
            decoder.feed(at(number * pause), piece, &mut keys);
        }
        keys
    }

    #[test]
    fn answers_are_no_keys_cut_anywhere_at_any_pace() {
        for answer in NO_KEYS {
            for cut in 0..answer.len() {
                let (first, second) = answer.split_at(cut);
                assert_eq!(keys(&[first, second, b"j"]), [Key::Char('j')]);
                // A pause behind ESC itself makes that one a key, and nothing else.
                let mut wanted = vec![Key::Char('j')];
                if first.ends_with(b"\x1b") && cut == 1 {
                    wanted.insert(0, Key::Esc);
                }
                let pieces = [first, &[second, b"j"].concat()];
                assert_eq!(paused(&pieces, 900), wanted, "{} {cut}", answer.escape_ascii());
            }
            let single: Vec<&[u8]> = answer.chunks(1).collect();
            assert_eq!(paused(&single, 40), [], "{}", answer.escape_ascii());
        }
    }

    #[test]
    fn strings_without_an_end_are_bounded_and_end_in_silence() {
        for start in [&b"\x1b]52;c;"[..], b"\x1bP>|jdyj", b"\x1b[?1;2;3"] {
            let (mut decoder, mut keys) = (Decoder::default(), Vec::new());
            decoder.feed(at(0), start, &mut keys);
            for _ in 0..300 {
                decoder.feed(at(10), &[b'7'; 10_000], &mut keys);
            }
            assert!(decoder.parser.held().len() <= 1 << 20);
            decoder.tick(at(1_900), &mut keys);
            decoder.feed(at(1_900), b"7", &mut keys);
            decoder.tick(at(3_899), &mut keys);
            assert_eq!(keys, []);
            decoder.tick(at(3_900), &mut keys);
            decoder.feed(at(3_900), b"j", &mut keys);
            assert_eq!(keys, [Key::Char('j')]);
        }
    }

    #[test]
    fn a_person_presses_escape_and_then_something() {
        for sign in ['[', ']', 'P', 'X', '_', '^', 'j', 'O'] {
            let (mut decoder, mut keys) = (Decoder::default(), Vec::new());
            decoder.feed(at(0), b"\x1b", &mut keys);
            decoder.tick(at(100), &mut keys);
            decoder.feed(at(300), sign.to_string().as_bytes(), &mut keys);
            decoder.tick(at(400), &mut keys);
            decoder.feed(at(410), b"k", &mut keys);
            assert_eq!(keys, [Key::Esc, Key::Char(sign), Key::Char('k')]);
        }
    }

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
