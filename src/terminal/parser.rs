//! A state machine for the bytes of a terminal, of either direction.
//!
//! It follows Paul Flo Williams' table of DEC's parsers (vt100.net/emu/dec_ansi_parser) for UTF-8:
//! bytes above 0x7f are characters, never controls. A control inside a sequence takes effect at
//! once, CAN and SUB end what was begun, ESC begins anew. What is too long is read to its end and
//! given up.
//!
//! ```text
//! Ground <─> Character
//!   └──> Escape ──> Sequence                 ESC [
//!           ├─────> Command <─> StringEnd    ESC ]
//!           └─────> Ignored <─> StringEnd    ESC P, X, ^, _
//! ```

use crate::limits::{TERMINAL_COMMAND_BYTES_MAX, TERMINAL_SEQUENCE_BYTES_MAX};

const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
/// What begins a sequence.
pub(super) const ESC: u8 = 0x1b;
const DEL: u8 = 0x7f;

/// What a byte has completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing, or something that nobody needs.
    Nothing,
    /// A control of C0.
    Control(u8),
    /// The character that [`Parser::held`] has.
    Character,
    /// This byte, or this and those before, are no character.
    Invalid,
    /// Those before are no character. This byte is not taken: it is to be offered again.
    Broken,
    /// ESC, intermediate bytes, and this one.
    Escape(u8),
    /// CSI, parameters and intermediate bytes, and this one.
    Sequence(u8),
    /// OSC and its text; whether BEL ended it, and not ST.
    Command { by_bell: bool },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ParserState {
    #[default]
    Ground,
    Character {
        wanted: usize,
    },
    Escape,
    Sequence,
    Command,
    /// A string of another kind.
    Ignored,
    /// ESC inside a string: of a command, or of another one.
    StringEnd {
        is_command: bool,
    },
}

/// The state machine.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    state: ParserState,
    held: Vec<u8>,
    is_too_long: bool,
}

impl Parser {
    /// Takes one byte, unless the answer is [`Step::Broken`].
    pub(crate) fn step(&mut self, byte: u8) -> Step {
        match self.state {
            ParserState::Ground => self.ground(byte),
            ParserState::Character { wanted } => self.character(byte, wanted),
            ParserState::Escape => self.escape(byte),
            ParserState::Sequence => self.sequence(byte),
            ParserState::Command | ParserState::Ignored => self.string(byte),
            ParserState::StringEnd { is_command } => self.string_end(byte, is_command),
        }
    }

    /// Begins what ESC and this byte begin. Says whether that is anything.
    pub(crate) fn introduce(&mut self, byte: u8) -> bool {
        let state = match byte {
            b'[' => ParserState::Sequence,
            b']' => ParserState::Command,
            b'P' | b'X' | b'^' | b'_' => ParserState::Ignored,
            _ => return false,
        };
        self.begin(state);
        true
    }

    /// Begins a string that is given up, whatever it has.
    pub(crate) fn ignore_string(&mut self) {
        self.begin(ParserState::Ignored);
    }

    /// Gives up what was begun.
    pub(crate) fn reset(&mut self) {
        self.begin(ParserState::Ground);
    }

    /// What belongs to the last step, until the next one.
    pub(crate) fn held(&self) -> &[u8] {
        &self.held
    }

    pub(crate) fn is_ground(&self) -> bool {
        self.state == ParserState::Ground
    }

    /// Whether there was ESC and nothing behind it that says of what.
    pub(crate) fn is_escape(&self) -> bool {
        self.state == ParserState::Escape
    }

    /// Whether a character has begun.
    pub(crate) fn is_character(&self) -> bool {
        matches!(self.state, ParserState::Character { .. })
    }

    fn begin(&mut self, state: ParserState) {
        self.state = state;
        self.is_too_long = false;
        self.held.clear();
        // A command of a megabyte was an exception.
        self.held.shrink_to(TERMINAL_SEQUENCE_BYTES_MAX);
    }

    fn end(&mut self, step: Step) -> Step {
        self.state = ParserState::Ground;
        if self.is_too_long { Step::Nothing } else { step }
    }

    fn hold(&mut self, byte: u8, limit: usize) -> Step {
        self.is_too_long |= self.held.len() >= limit;
        if !self.is_too_long {
            self.held.push(byte);
        }
        Step::Nothing
    }

    fn ground(&mut self, byte: u8) -> Step {
        let wanted = match byte {
            ESC => {
                self.begin(ParserState::Escape);
                return Step::Nothing;
            }
            0x00..=0x1a | 0x1c..=0x1f => return Step::Control(byte),
            DEL => return Step::Nothing,
            0x20..=0x7e => 1,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return Step::Invalid,
        };
        self.begin(ParserState::Character { wanted });
        self.held.push(byte);
        if wanted == 1 { self.end(Step::Character) } else { Step::Nothing }
    }

    fn character(&mut self, byte: u8, wanted: usize) -> Step {
        if !matches!(byte, 0x80..=0xbf) {
            self.reset();
            return Step::Broken;
        }
        self.held.push(byte);
        match self.held.len() < wanted {
            true => Step::Nothing,
            false if std::str::from_utf8(&self.held).is_ok() => self.end(Step::Character),
            false => self.end(Step::Invalid),
        }
    }

    /// What every state between ESC and an end does with a control, and with what is none of its
    /// own bytes.
    fn other(&mut self, byte: u8) -> Step {
        match byte {
            ESC => self.begin(ParserState::Escape),
            CAN | SUB => self.reset(),
            ..0x20 => return Step::Control(byte),
            DEL => {}
            _ => {
                self.reset();
                return self.ground(byte);
            }
        }
        Step::Nothing
    }

    fn escape(&mut self, byte: u8) -> Step {
        match byte {
            0x20..=0x2f => self.hold(byte, TERMINAL_SEQUENCE_BYTES_MAX),
            0x30..=0x7e if self.held.is_empty() && self.introduce(byte) => Step::Nothing,
            0x30..=0x7e => self.end(Step::Escape(byte)),
            _ => self.other(byte),
        }
    }

    fn sequence(&mut self, byte: u8) -> Step {
        match byte {
            0x20..=0x3f => self.hold(byte, TERMINAL_SEQUENCE_BYTES_MAX),
            0x40..=0x7e => self.end(Step::Sequence(byte)),
            _ => self.other(byte),
        }
    }

    fn string(&mut self, byte: u8) -> Step {
        let is_command = self.state == ParserState::Command;
        match byte {
            BEL if is_command => return self.end(Step::Command { by_bell: true }),
            ESC => self.state = ParserState::StringEnd { is_command },
            CAN | SUB => self.reset(),
            ..0x20 | DEL => {}
            _ if is_command => return self.hold(byte, TERMINAL_COMMAND_BYTES_MAX),
            _ => {}
        }
        Step::Nothing
    }

    fn string_end(&mut self, byte: u8, is_command: bool) -> Step {
        if byte == b'\\' {
            let step = if is_command { Step::Command { by_bell: false } } else { Step::Nothing };
            return self.end(step);
        }
        self.begin(ParserState::Escape);
        self.escape(byte)
    }
}
