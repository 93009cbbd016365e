//! A terminal emulator of the tests' own on the master of a pty: what stands on its screen, and all
//! the state that a program can leave behind in a terminal.
//!
//! It answers nothing by itself. It is written from the terminals' manuals and not from the
//! product's parser: ECMA-48, DEC's, xterm's `ctlseqs`, and kitty's keyboard protocol.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

use convocate::io::process::Program;
use convocate::io::pty::{Pty, Size};
use convocate::io::stream::Moved;

use super::wait::{PATIENCE, pause};

/// What a program can leave behind, as far as it is not what a fresh terminal has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// `4` (insert), `?1004` (focus) and so on, which are not as usual.
    pub modes: BTreeMap<String, bool>,
    /// Parameters of SGR since the last reset.
    pub style: Vec<String>,
    /// The character sets G0 to G3 that are not ASCII.
    pub charsets: BTreeMap<char, String>,
    pub is_shifted_out: bool,
    /// Rows of the scrolling region, columns between the margins.
    pub region: Option<(usize, usize)>,
    pub margins: Option<String>,
    pub has_application_keypad: bool,
    pub cursor_style: String,
    /// By the number of the command, and of the palette's colour.
    pub colours: BTreeMap<String, String>,
    pub title: String,
    pub titles: Vec<String>,
    pub link: String,
    pub directory: String,
    /// Flags and stack of kitty's keyboard, of the main screen and of the other one.
    pub kitty: [(u16, Vec<u16>); 2],
    /// xterm's modifyOtherKeys.
    pub other_keys: String,
    /// Tab stops that were set or cleared.
    pub tabs: Vec<String>,
}

/// What DECSC keeps.
#[derive(Clone, Debug, Default)]
struct Saved {
    at: (usize, usize),
    style: Vec<String>,
    charsets: BTreeMap<char, String>,
    is_shifted_out: bool,
}

/// The screen, without the line that leads to it.
#[derive(Debug)]
pub struct Screen {
    cols: usize,
    rows: usize,
    pub state: State,
    /// The main screen and the other one.
    cells: [Vec<Vec<char>>; 2],
    saved: [Saved; 2],
    at: (usize, usize),
    /// What was begun.
    held: Vec<u8>,
    /// Questions what it is (DA1).
    pub questions: usize,
    /// Sequences that ask for anything else, or that carry programs: nobody may send these.
    pub forbidden: Vec<String>,
}

/// A program before the emulator.
pub struct Emulator {
    pty: Pty,
    pub screen: Screen,
    /// All that the program has written.
    pub written: Vec<u8>,
    pub has_ended: bool,
    /// Whether it says what it is as soon as it is asked, as most terminals do.
    pub answers: bool,
    answered: usize,
}

/// What it says then.
pub const ANSWER: &[u8] = b"\x1b[?62;22c";

impl Emulator {
    /// Starts a program with the environment of `call`, and with nothing else of it but its
    /// arguments and directory.
    pub fn start((cols, rows): (u16, u16), call: &Command) -> Emulator {
        let mut words: Vec<OsString> = vec!["-i".into()];
        if let Some(dir) = call.get_current_dir() {
            words.extend(["-C".into(), dir.into()]);
        }
        for (name, value) in call.get_envs() {
            let mut word = name.to_owned();
            word.push("=");
            word.push(value.unwrap_or_default());
            words.push(word);
        }
        words.push(call.get_program().to_owned());
        words.extend(call.get_args().map(ToOwned::to_owned));
        let size = Size { columns: cols, rows };
        let pty = Pty::spawn(&Program::new("env", words), size).expect("a terminal");
        let screen = Screen::new(cols.into(), rows.into());
        let written = Vec::new();
        Emulator { pty, screen, written, has_ended: false, answers: true, answered: 0 }
    }

    /// Presses C-b and d. tmux takes keys within a millisecond of each other, or of an attaching,
    /// for pasted text, and obeys none of them.
    pub fn detaches(&mut self) {
        for key in [b"\x02", b"d"] {
            self.shows(Duration::from_millis(50));
            self.types(key);
        }
    }

    /// Types, however long that takes.
    pub fn types(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.has_ended {
            match self.pty.master.write(bytes) {
                Moved::Bytes(count) => bytes = &bytes[count..],
                Moved::Blocked => self.shows(Duration::from_millis(5)),
                Moved::Closed | Moved::Failed(_) => return,
            }
        }
    }

    /// Shows what comes within this time.
    pub fn shows(&mut self, span: Duration) {
        let end = Instant::now() + span;
        let mut space = [0; 16 * 1024];
        while !self.has_ended {
            match self.pty.master.read(&mut space) {
                Moved::Bytes(count) => {
                    self.screen.feed(&space[..count]);
                    self.written.extend_from_slice(&space[..count]);
                    while self.answers && self.answered < self.screen.questions {
                        self.answered += 1;
                        self.types(ANSWER);
                    }
                }
                Moved::Blocked if Instant::now() < end => {
                    pause(Duration::from_millis(1));
                }
                Moved::Blocked => return,
                Moved::Closed | Moved::Failed(_) => self.has_ended = true,
            }
        }
    }

    /// Shows what comes until something holds.
    ///
    /// # Panics
    ///
    /// With the screen, if it never does.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&Screen) -> bool) {
        let start = Instant::now();
        while !holds(&self.screen) {
            let is_late = start.elapsed() > PATIENCE || self.has_ended;
            assert!(!is_late, "no {what}:\n{}", self.screen.text());
            self.shows(Duration::from_millis(5));
        }
    }

    /// Shows what comes until this stands on the screen.
    #[track_caller]
    pub fn until_text(&mut self, text: &str) {
        self.until(text, |screen| screen.text().contains(text));
    }

    /// Shows all until the program has ended.
    ///
    /// # Panics
    ///
    /// With the screen, if it runs on.
    #[track_caller]
    pub fn until_end(&mut self) {
        let start = Instant::now();
        while !self.has_ended {
            assert!(start.elapsed() < PATIENCE, "it runs on:\n{}", self.screen.text());
            self.shows(Duration::from_millis(5));
        }
    }
}

impl Screen {
    pub fn new(cols: usize, rows: usize) -> Screen {
        Screen {
            cols,
            rows,
            state: State::default(),
            cells: std::array::from_fn(|_| vec![vec![' '; cols]; rows]),
            saved: Default::default(),
            at: (0, 0),
            held: Vec::new(),
            questions: 0,
            forbidden: Vec::new(),
        }
    }

    /// What stands on it, trailing blanks cut.
    pub fn text(&self) -> String {
        let cells = &self.cells[self.number()];
        let lines = cells.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.held.push(byte);
            if self.is_complete() {
                let held = std::mem::take(&mut self.held);
                self.take(&held);
            }
        }
    }

    fn is_complete(&mut self) -> bool {
        let held = &self.held[..];
        let last = held.last().copied().unwrap_or_default();
        // CAN ends whatever was begun, ESC begins anew.
        if held.len() > 1 && last == 0x18 {
            self.held.clear();
            return false;
        }
        match held {
            [0x1b] => false,
            [0x1b, b'[', .., 0x1b] | [0x1b, 0x1b] => {
                self.held = vec![0x1b];
                false
            }
            [0x1b, b'['] => false,
            [0x1b, b'[', ..] => (0x40..=0x7e).contains(&last),
            [0x1b, b']', .., 0x07] => true,
            [0x1b, b']' | b'P' | b'_' | b'^' | b'X', .., 0x1b, b'\\'] => true,
            [0x1b, b']' | b'P' | b'_' | b'^' | b'X', ..] => false,
            [0x1b, ..] => !(0x20..0x30).contains(&last),
            [0..=0x7f] => true,
            [..] => std::str::from_utf8(held).is_ok() || held.len() == 4,
        }
    }

    fn take(&mut self, held: &[u8]) {
        match held {
            [0x1b, b'[', inner @ .., last] => {
                let text = String::from_utf8_lossy(inner).into_owned();
                self.sequence(&text, char::from(*last));
            }
            [0x1b, b']', command @ .., 0x07] | [0x1b, b']', command @ .., 0x1b, b'\\'] => {
                self.command(&String::from_utf8_lossy(command));
            }
            [0x1b, b'7'] => self.save(),
            [0x1b, b'8'] => self.restore(),
            [0x1b, b'='] => self.state.has_application_keypad = true,
            [0x1b, b'>'] => self.state.has_application_keypad = false,
            [0x1b, b'D'] => self.line_feed(),
            [0x1b, b'E'] => {
                self.at.1 = 0;
                self.line_feed();
            }
            [0x1b, b'M'] => self.reverse_line_feed(),
            [0x1b, b'H'] => self.state.tabs.push(format!("set {}", self.at.1)),
            [0x1b, set @ (b'(' | b')' | b'*' | b'+'), rest @ ..] => {
                let (set, name) = (char::from(*set), String::from_utf8_lossy(rest).into_owned());
                self.state.charsets.remove(&set);
                if name != "B" {
                    self.state.charsets.insert(set, name);
                }
            }
            [0x1b, ..] => self.forbidden.push(held.escape_ascii().to_string()),
            [b'\r'] => self.at.1 = 0,
            [b'\n' | 0x0b | 0x0c] => self.line_feed(),
            [0x08] => self.at.1 = self.at.1.saturating_sub(1),
            [b'\t'] => self.at.1 = (self.at.1 / 8 * 8 + 8).min(self.cols - 1),
            [0x0e] => self.state.is_shifted_out = true,
            [0x0f] => self.state.is_shifted_out = false,
            [0x05] => self.forbidden.push("ENQ".to_owned()),
            [0..=0x1f | 0x7f] => {}
            _ => {
                let text = String::from_utf8_lossy(held).into_owned();
                text.chars().for_each(|sign| self.put(sign));
            }
        }
    }

    fn put(&mut self, sign: char) {
        if self.at.1 >= self.cols {
            self.at.1 = 0;
            self.line_feed();
        }
        let number = self.number();
        self.cells[number][self.at.0][self.at.1] = sign;
        self.at.1 += 1;
    }

    fn number(&self) -> usize {
        usize::from(
            ["?47", "?1047", "?1049"].iter().any(|mode| self.state.modes.contains_key(*mode)),
        )
    }

    fn edges(&self) -> (usize, usize) {
        self.state.region.unwrap_or((0, self.rows - 1))
    }

    fn line_feed(&mut self) {
        if self.at.0 == self.edges().1 {
            self.move_rows(self.edges().0, 1);
        } else {
            self.at.0 = (self.at.0 + 1).min(self.rows - 1);
        }
    }

    fn reverse_line_feed(&mut self) {
        if self.at.0 == self.edges().0 {
            self.move_rows(self.at.0, -1);
        } else {
            self.at.0 = self.at.0.saturating_sub(1);
        }
    }

    /// Moves the rows from `top` to the region's end up, or down.
    fn move_rows(&mut self, top: usize, lines: isize) {
        let (number, bottom, cols) = (self.number(), self.edges().1, self.cols);
        let rows = &mut self.cells[number];
        for _ in 0..lines.unsigned_abs().min(bottom + 1 - top) {
            let (from, to) = if lines > 0 { (top, bottom) } else { (bottom, top) };
            rows.remove(from);
            rows.insert(to, vec![' '; cols]);
        }
    }

    fn save(&mut self) {
        let State { style, charsets, is_shifted_out, .. } = self.state.clone();
        self.saved[self.number()] = Saved { at: self.at, style, charsets, is_shifted_out };
    }

    fn restore(&mut self) {
        let Saved { at, style, charsets, is_shifted_out } = self.saved[self.number()].clone();
        self.at = at;
        (self.state.style, self.state.charsets) = (style, charsets);
        self.state.is_shifted_out = is_shifted_out;
    }

    fn sequence(&mut self, inner: &str, last: char) {
        let digits = |text: &str| text.parse::<usize>().unwrap_or(0);
        let numbers: Vec<usize> = inner.split(';').map(digits).collect();
        let first = numbers.first().copied().unwrap_or_default();
        let count = first.max(1);
        let second = numbers.get(1).copied().unwrap_or_default();
        let (bottom, right) = (self.rows - 1, self.cols - 1);
        let kitty = usize::from(self.number() == 1);
        match (inner.chars().next().filter(|sign| "?<=>".contains(*sign)), last) {
            (None, 'A') => self.at.0 = self.at.0.saturating_sub(count),
            (None, 'B') => self.at.0 = (self.at.0 + count).min(bottom),
            (None, 'C') => self.at.1 = (self.at.1 + count).min(right),
            (None, 'D') => self.at.1 = self.at.1.min(right).saturating_sub(count),
            (None, 'G' | '`') => self.at.1 = (count - 1).min(right),
            (None, 'd') => self.at.0 = (count - 1).min(bottom),
            (None, 'H' | 'f') => {
                self.at = ((count - 1).min(bottom), (second.max(1) - 1).min(right));
            }
            (None, 'J') => self.erase(first),
            (None, 'K') => self.erase_in_row(self.at.0, first),
            (None, 'X') => self.blank(self.at.0, self.at.1, self.at.1 + count),
            (None, 'L') => self.move_rows(self.at.0, -isize::try_from(count).unwrap_or(0)),
            (None, 'M') => self.move_rows(self.at.0, isize::try_from(count).unwrap_or(0)),
            (None, 'S') => self.move_rows(self.edges().0, isize::try_from(count).unwrap_or(0)),
            (None, 'T') => self.move_rows(self.edges().0, -isize::try_from(count).unwrap_or(0)),
            (None, 'm') => self.style(inner),
            (None, 'r') => {
                let to = if second == 0 { self.rows } else { second };
                let region = (count - 1, to - 1);
                self.state.region = Some(region).filter(|region| *region != (0, bottom));
                self.at = (0, 0);
            }
            (None, 's') if !inner.is_empty() => self.state.margins = Some(inner.to_owned()),
            (None, 's') => self.save(),
            (None, 'u') => self.restore(),
            (None, 'g') => self.state.tabs.push(format!("clear {inner}")),
            (None, 'q') if inner.ends_with(' ') => {
                self.state.cursor_style = inner.trim_end().trim_start_matches('0').to_owned();
            }
            (None, 't') if first == 22 => {
                let title = self.state.title.clone();
                self.state.titles.push(title);
            }
            (None, 't') if first == 23 => {
                self.state.title = self.state.titles.pop().unwrap_or_default();
            }
            (None, 'c') if inner.is_empty() => self.questions += 1,
            (None | Some('?'), 'h' | 'l') => self.modes(inner, last == 'h'),
            (Some('>'), 'm') => {
                self.state.other_keys = inner.strip_prefix(">4;").unwrap_or_default().to_owned();
            }
            (Some('<'), 'u') => {
                for _ in 0..digits(&inner[1..]).clamp(1, 100) {
                    let (flags, stack) = &mut self.state.kitty[kitty];
                    *flags = stack.pop().unwrap_or(0);
                }
            }
            (Some('>'), 'u') => {
                let (flags, stack) = &mut self.state.kitty[kitty];
                stack.push(std::mem::replace(flags, inner[1..].parse().unwrap_or(0)));
            }
            (Some('='), 'u') => {
                let flags = inner[1..].split(';').next().unwrap_or_default();
                self.state.kitty[kitty].0 = flags.parse().unwrap_or(0);
            }
            // Saved and restored, which it has no word for.
            (Some('?'), 's' | 'r') => {}
            (None, '@' | 'P' | 'E' | 'F' | 'I' | 'Z' | 'a' | 'e' | 'b') => {}
            _ => self.forbidden.push(format!("CSI {inner}{last}")),
        }
    }

    fn style(&mut self, inner: &str) {
        match inner {
            "" | "0" => self.state.style.clear(),
            _ => {
                if inner.starts_with("0;") {
                    self.state.style.clear();
                }
                self.state.style.push(inner.to_owned());
            }
        }
    }

    fn modes(&mut self, inner: &str, is_set: bool) {
        let prefix = if inner.starts_with('?') { "?" } else { "" };
        for number in inner[prefix.len()..].split(';') {
            let mode = format!("{prefix}{number}");
            let is_usual = is_set == ["?7", "?25"].contains(&&*mode);
            match &*mode {
                "?1048" if is_set => return self.save(),
                "?1048" => return self.restore(),
                "?69" if !is_set => self.state.margins = None,
                "?1049" if is_set => {
                    self.save();
                    self.cells[1] = vec![vec![' '; self.cols]; self.rows];
                }
                _ => {}
            }
            match is_usual {
                true => self.state.modes.remove(&mode),
                false => self.state.modes.insert(mode.clone(), is_set),
            };
            if ["?47", "?1047", "?1049"].contains(&&*mode) && !is_set {
                for other in ["?47", "?1047", "?1049"] {
                    self.state.modes.remove(other);
                }
                if mode == "?1049" {
                    self.restore();
                }
            }
        }
    }

    fn command(&mut self, text: &str) {
        let (number, rest) = text.split_once(';').unwrap_or((text, ""));
        let colours = &mut self.state.colours;
        match number {
            "0" | "1" | "2" => self.state.title = rest.to_owned(),
            "7" => self.state.directory = rest.to_owned(),
            "8" => self.state.link = rest.split_once(';').unwrap_or_default().1.to_owned(),
            _ if rest.split(';').any(|part| part == "?") => {
                self.forbidden.push(format!("OSC {text}"));
            }
            "4" => {
                let (index, colour) = rest.split_once(';').unwrap_or_default();
                colours.insert(format!("4;{index}"), colour.to_owned());
            }
            "10" | "11" | "12" => drop(colours.insert(number.to_owned(), rest.to_owned())),
            "104" => colours.retain(|name, _| !name.starts_with("4;")),
            "110" | "111" | "112" => drop(colours.remove(&number[1..])),
            "52" => {}
            _ => self.forbidden.push(format!("OSC {text}")),
        }
    }

    fn erase(&mut self, what: usize) {
        let rows = match what {
            0 => self.at.0 + 1..self.rows,
            1 => 0..self.at.0,
            _ => 0..self.rows,
        };
        rows.for_each(|row| self.blank(row, 0, self.cols));
        if what < 2 {
            self.erase_in_row(self.at.0, what);
        }
    }

    fn erase_in_row(&mut self, row: usize, what: usize) {
        match what {
            0 => self.blank(row, self.at.1, self.cols),
            1 => self.blank(row, 0, self.at.1 + 1),
            _ => self.blank(row, 0, self.cols),
        }
    }

    fn blank(&mut self, row: usize, from: usize, to: usize) {
        let number = self.number();
        let cells = &mut self.cells[number][row];
        let to = to.min(cells.len());
        cells[from.min(to)..to].fill(' ');
    }
}
