//! One line of text that is being typed.

use super::keys::Key;
use crate::limits::INPUT_CHARS_MAX;

/// A line with a cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Input {
    signs: Vec<char>,
    at: usize,
}

impl Input {
    /// This text, with the cursor behind it.
    pub(crate) fn new(text: &str) -> Input {
        let signs: Vec<char> = text.chars().take(INPUT_CHARS_MAX).collect();
        Input { at: signs.len(), signs }
    }

    pub(crate) fn text(&self) -> String {
        self.signs.iter().collect()
    }

    /// How many characters stand before the cursor.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Takes a key, and says whether it was one for a line.
    pub(crate) fn key(&mut self, key: &Key) -> bool {
        match key {
            Key::Char(sign) => self.insert(*sign),
            Key::Paste(text) => text.chars().for_each(|sign| self.insert(sign)),
            Key::Backspace if self.at > 0 => {
                self.at -= 1;
                self.signs.remove(self.at);
            }
            Key::Delete | Key::Ctrl('d') if self.at < self.signs.len() => {
                self.signs.remove(self.at);
            }
            Key::Left | Key::Ctrl('b') => self.at = self.at.saturating_sub(1),
            Key::Right | Key::Ctrl('f') => self.at = (self.at + 1).min(self.signs.len()),
            Key::Home | Key::Ctrl('a') => self.at = 0,
            Key::End | Key::Ctrl('e') => self.at = self.signs.len(),
            Key::Ctrl('u') => {
                self.signs.drain(..self.at);
                self.at = 0;
            }
            Key::Ctrl('k') => self.signs.truncate(self.at),
            Key::Ctrl('w') => {
                let before = &self.signs[..self.at];
                let end = before.iter().rposition(|sign| *sign != ' ').map_or(0, |at| at + 1);
                let start = before[..end].iter().rposition(|sign| *sign == ' ');
                let start = start.map_or(0, |at| at + 1);
                self.signs.drain(start..self.at);
                self.at = start;
            }
            Key::Backspace | Key::Delete => {}
            _ => return false,
        }
        true
    }

    fn insert(&mut self, sign: char) {
        if self.signs.len() < INPUT_CHARS_MAX && !sign.is_control() {
            self.signs.insert(self.at, sign);
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_typed_and_mended() {
        let mut input = Input::new("web servr");
        for key in [Key::Left, Key::Char('e'), Key::End, Key::Char('!')] {
            assert!(input.key(&key));
        }
        assert_eq!(input.text(), "web server!");
        input.key(&Key::Ctrl('w'));
        assert_eq!(input.text(), "web ");
        input.key(&Key::Paste("äö\u{7}".to_owned()));
        assert_eq!((input.text().as_str(), input.at()), ("web äö", 6));
        for key in [Key::Home, Key::Delete, Key::Backspace, Key::Ctrl('k')] {
            assert!(input.key(&key));
        }
        assert_eq!(input.text(), "");
        for key in [Key::Backspace, Key::Delete, Key::Left, Key::Right, Key::Ctrl('w')] {
            assert!(input.key(&key));
        }
        assert!(!input.key(&Key::Enter) && !input.key(&Key::Up));
        input.key(&Key::Paste("x".repeat(2 * INPUT_CHARS_MAX)));
        assert_eq!(input.text().len(), INPUT_CHARS_MAX);
    }
}
