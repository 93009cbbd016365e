//! The operator's keys on their way to a session, and the way out that no session and no network
//! can close: `~` at a line's start, as ssh has it.
//!
//! Behind Enter, and before the first key, `~.` leaves, `~?` asks for help and `~~` is one `~`;
//! before any other key the `~` is sent. It is held back until that key is there. Nothing in pasted
//! text is such a key (bracketed paste). Terminals in another keyboard's mode send the same keys as
//! sequences (xterm's modifyOtherKeys, kitty's keyboard), which count like the keys; a sequence
//! that is no key, as the mouse's, changes nothing.

/// What a person has asked of us, and not of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Leave,
    Help,
}

/// What `~?` shows.
pub const HELP: &str = "~. leaves, the session runs on   ~~ types ~   ~? is this";

const ENTER: &[&[u8]] = &[b"\r", b"\n", b"\x1b[13u", b"\x1b[13;1u", b"\x1b[27;1;13~"];
const TILDE: &[&[u8]] = &[
    b"~",
    b"\x1b[27;2;126~",
    b"\x1b[126u",
    b"\x1b[126;2u",
    b"\x1b[96;2u",
    b"\x1b[96:126;2u",
    b"\x1b[96:126;2;126u",
];
const DOT: &[&[u8]] = &[b".", b"\x1b[46u", b"\x1b[46;1u", b"\x1b[46;;46u"];
const QUESTION: &[&[u8]] = &[
    b"?",
    b"\x1b[27;2;63~",
    b"\x1b[63u",
    b"\x1b[63;2u",
    b"\x1b[47;2u",
    b"\x1b[47:63;2u",
    b"\x1b[47:63;2;63u",
];
const PASTE_BEGIN: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";
/// The numbers of keys that only change others, in kitty's keyboard: Shift, Alt and so on.
const MODIFIERS: std::ops::RangeInclusive<u32> = 57441..=57454;

/// The keys of one terminal.
#[derive(Debug)]
pub struct Escape {
    place: Place,
    /// Of a paste's end, so many bytes have come; `None` where nothing is pasted.
    pasted: Option<usize>,
    /// Of a paste's beginning, so many bytes have come.
    begun: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    /// This `~` is held back.
    Tilde(&'static [u8]),
    Line,
}

impl Default for Escape {
    fn default() -> Escape {
        Escape { place: Place::LineStart, pasted: None, begun: 0 }
    }
}

impl Escape {
    /// Takes bytes of the terminal and appends those that are for the session. How many keys these
    /// are, and what was asked of us; behind a wish to leave nothing more is taken.
    pub fn take(&mut self, mut bytes: &[u8], session: &mut Vec<u8>) -> (u64, Option<Asked>) {
        let (mut keys, mut asked) = (0, None);
        while !bytes.is_empty() {
            let (key, rest) = bytes.split_at(self.key_len(bytes));
            bytes = rest;
            if let Place::Tilde(tilde) = self.place {
                if DOT.contains(&key) {
                    self.place = Place::LineStart;
                    return (keys, Some(Asked::Leave));
                }
                if QUESTION.contains(&key) {
                    self.place = Place::LineStart;
                    asked = Some(Asked::Help);
                    continue;
                }
                if !is_no_key(key) {
                    self.place = Place::Line;
                    session.extend_from_slice(tilde);
                    keys += 1;
                    if TILDE.contains(&key) {
                        continue;
                    }
                }
            } else if self.place == Place::LineStart
                && self.pasted.is_none()
                && let Some(tilde) = TILDE.iter().find(|tilde| **tilde == key)
            {
                self.place = Place::Tilde(tilde);
                continue;
            }
            session.extend_from_slice(key);
            keys += self.pass(key);
        }
        (keys, asked)
    }

    /// A key that is sent. Whether it counts as one.
    fn pass(&mut self, key: &[u8]) -> u64 {
        if let Some(matched) = self.pasted {
            let byte = key.first().copied().unwrap_or_default();
            let matched = match PASTE_END.get(matched) == Some(&byte) {
                true => matched + 1,
                false => usize::from(byte == PASTE_END[0]),
            };
            self.pasted = (matched < PASTE_END.len()).then_some(matched);
            return u64::from(is_character_start(byte));
        }
        if self.begins_paste(key) {
            (self.pasted, self.place) = (Some(0), Place::Line);
            return 0;
        }
        if is_no_key(key) {
            return 0;
        }
        self.place = if ENTER.contains(&key) { Place::LineStart } else { Place::Line };
        u64::from(key.first().is_some_and(|byte| is_character_start(*byte)))
    }

    /// Whether a paste begins with these, also if its beginning came in pieces.
    fn begins_paste(&mut self, key: &[u8]) -> bool {
        for byte in key {
            self.begun = match PASTE_BEGIN.get(self.begun) == Some(byte) {
                true => self.begun + 1,
                false => usize::from(*byte == PASTE_BEGIN[0]),
            };
        }
        let is_begun = self.begun == PASTE_BEGIN.len();
        if is_begun {
            self.begun = 0;
        }
        is_begun
    }

    /// How many bytes at the beginning are one key: a byte, or a sequence that is there whole.
    fn key_len(&self, bytes: &[u8]) -> usize {
        match bytes {
            [0x1b, b'[', rest @ ..] if self.pasted.is_none() => {
                let parameters = rest.iter().take_while(|byte| (0x20..0x40).contains(*byte));
                let end = parameters.count();
                match rest.get(end) {
                    Some(0x40..=0x7e) => end + 3,
                    _ => 1,
                }
            }
            _ => 1,
        }
    }
}

/// Bytes of a character but its first are no key of their own.
fn is_character_start(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

/// What the mouse has done, whether somebody looks, a key that was let go, or one that only changes
/// others.
fn is_no_key(key: &[u8]) -> bool {
    let Some(sequence) = key.strip_prefix(b"\x1b[") else { return false };
    match sequence {
        [b'<', .., b'M' | b'm'] | b"I" | b"O" => true,
        [parameters @ .., _] => {
            let text = std::str::from_utf8(parameters).unwrap_or_default();
            let number = text.split([';', ':']).next().and_then(|number| number.parse().ok());
            let is_let_go = text.split(';').nth(1).is_some_and(|it| it.ends_with(":3"));
            is_let_go || number.is_some_and(|number| MODIFIERS.contains(&number))
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a session gets of these bytes, in one piece and in single ones, and what was asked.
    fn taken(bytes: &[u8]) -> (Vec<u8>, u64, Vec<Asked>) {
        let (mut whole, mut session) = (Escape::default(), Vec::new());
        let (keys, asked) = whole.take(bytes, &mut session);
        (session, keys, asked.into_iter().collect())
    }

    fn in_pieces(bytes: &[u8]) -> (Vec<u8>, u64, Vec<Asked>) {
        let (mut escape, mut session) = (Escape::default(), Vec::new());
        let (mut keys, mut all) = (0, Vec::new());
        for byte in bytes {
            let (more, asked) = escape.take(&[*byte], &mut session);
            keys += more;
            all.extend(asked);
        }
        (session, keys, all)
    }

    #[test]
    fn a_tilde_at_a_lines_start_is_ours() {
        for (typed, session, asked) in [
            (&b"~."[..], &b""[..], &[Asked::Leave][..]),
            (b"ls\r~.", b"ls\r", &[Asked::Leave]),
            (b"ls\r~~.", b"ls\r~.", &[]),
            (b"~?x", b"x", &[Asked::Help]),
            (b"~?~.", b"", &[Asked::Leave]),
            (b"ls ~.", b"ls ~.", &[]),
            (b"\r~/a", b"\r~/a", &[]),
            (b"\x03~.", b"\x03~.", &[]),
            (b"~\r~.", b"~\r", &[Asked::Leave]),
            // The mouse is no key.
            (b"\r\x1b[<35;1;2M~\x1b[<35;1;3M.", b"\r\x1b[<35;1;2M\x1b[<35;1;3M", &[Asked::Leave]),
            (b"\x1b[A~.", b"\x1b[A~.", &[]),
        ] {
            let (got, _, all) = taken(typed);
            // Of two wishes in one piece the last one is told.
            assert_eq!((got.as_slice(), all.as_slice()), (session, asked), "{typed:?}");
        }
        assert_eq!(in_pieces(b"ls\r~?~."), (b"ls\r".to_vec(), 3, vec![Asked::Help, Asked::Leave]));
    }

    #[test]
    fn other_keyboards_send_the_same_keys() {
        for typed in [
            &b"\x1b[13u\x1b[27;2;126~."[..],
            b"\x1b[13u\x1b[13;1:3u\x1b[57441;2u\x1b[96:126;2u\x1b[96;2:3u\x1b[46u",
            b"\r\x1b[96;2u\x1b[46;1u",
        ] {
            assert_eq!(taken(typed).2, [Asked::Leave], "{typed:?}");
        }
        assert_eq!(taken(b"\r\x1b[96;2u\x1b[97u").0, b"\r\x1b[96;2u\x1b[97u");
    }

    #[test]
    fn nothing_pasted_is_for_us_wherever_it_is_cut() {
        let paste = b"\x1b[200~a\r~.\r~?\x1b[201~";
        for typed in [&paste[..], &[&paste[..], b"~."].concat()] {
            assert_eq!(taken(typed), (typed.to_vec(), taken(typed).1, vec![]));
        }
        for cut in 1..paste.len() {
            let (mut escape, mut session) = (Escape::default(), Vec::new());
            assert_eq!(escape.take(&paste[..cut], &mut session).1, None);
            assert_eq!(escape.take(&paste[cut..], &mut session).1, None);
            assert_eq!(session, paste);
            assert_eq!(escape.take(b"\r~.", &mut session).1, Some(Asked::Leave), "{cut}");
        }
    }

    #[test]
    fn keys_are_counted_and_no_byte_is_lost() {
        for (typed, keys) in [
            (&b"abc"[..], 3),
            ("ä€😀".as_bytes(), 3),
            (b"\x1b[A\x1b[<0;1;1M\x1b[I", 1),
            (b"~x", 2),
            (b"\x1b[200~ab\x1b[201~", 8),
        ] {
            let (session, counted, asked) = taken(typed);
            assert_eq!((session.as_slice(), counted, asked.len()), (typed, keys, 0), "{typed:?}");
        }
        let mut all: Vec<u8> = (0..=u8::MAX).collect();
        all.retain(|byte| *byte != b'~');
        assert_eq!(taken(&all).0, all);
    }
}
