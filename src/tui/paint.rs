//! What to write to a terminal so that it shows a grid, given what it shows now: few bytes.
//!
//! Only what differs is written. A list that has scrolled is moved by the terminal itself. Blanks
//! up to the end of a row are one sequence. What a style looks like is one table, with and without
//! colours; without UTF-8 every character has a stand-in.
//!
//! Only sequences that xterm, tmux, screen and the Linux console have in common are used.

use std::fmt::Write as _;

use super::grid::{BLANK, CONTINUED, Cell, Grid, Style};
use crate::base::text::cells_of;

/// What a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether colours are wanted; else bold, underlined and inverse must do.
    pub has_colour: bool,
    /// Whether it takes UTF-8.
    pub has_unicode: bool,
}

impl Look {
    /// What the environment's variables say: `NO_COLOR`, `TERM`, `LC_ALL`, `LC_CTYPE`, `LANG`.
    pub(crate) fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Look {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let term = set("TERM").unwrap_or_default();
        let is_monochrome = term.starts_with("vt1") || term.starts_with("vt2");
        let is_monochrome = is_monochrome || term.ends_with("-m") || term.ends_with("-mono");
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        Look {
            has_colour: set("NO_COLOR").is_none() && !is_monochrome,
            has_unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }
}

/// The parameters of SGR (ECMA-48 §8.3.117) for a style: with colours, and without.
const fn looks(style: Style) -> (&'static str, &'static str) {
    match style {
        Style::Plain => ("", ""),
        Style::Dim => (";2", ""),
        Style::Strong => (";1", ";1"),
        Style::Title => (";1;7", ";1;7"),
        Style::Head => (";1;36", ";1"),
        Style::Cursor => (";7", ";7"),
        Style::Key => (";1;33", ";1"),
        Style::Good => (";32", ""),
        Style::Busy => (";1;36", ";1"),
        Style::Warn => (";33", ";1"),
        Style::Bad => (";1;31", ";1"),
        Style::Input => (";4", ";4"),
        Style::Frame => (";36", ""),
    }
}

/// What a terminal without UTF-8 shows instead.
const fn stand_in(sign: char) -> char {
    match sign {
        ' '..='~' => sign,
        '…' => '~',
        '─' => '-',
        '│' => '|',
        '┌' | '┐' | '└' | '┘' => '+',
        '▲' | '↑' => '^',
        '▼' | '↓' => 'v',
        '←' => '<',
        '→' | '▶' => '>',
        '·' | '–' => '-',
        _ => '?',
    }
}

/// A gap of unchanged cells that is cheaper written again than jumped over.
const GAP_CELLS_MAX: usize = 4;
/// Rows that must be saved before the terminal is told to move them.
const SCROLLED_ROWS_MIN: usize = 3;

/// Knows what the terminal shows.
#[derive(Debug)]
pub struct Painter {
    look: Look,
    shown: Option<Grid>,
}

impl Painter {
    /// Knows nothing yet: the first grid is painted whole.
    pub const fn new(look: Look) -> Painter {
        Painter { look, shown: None }
    }

    /// Forgets what is shown: the next grid is painted whole.
    pub(crate) fn forget(&mut self) {
        self.shown = None;
    }

    /// The bytes that make the terminal show `grid`; none if it does already.
    pub fn paint(&mut self, grid: Grid) -> Vec<u8> {
        let same_size = |shown: &Grid| shown.cols() == grid.cols() && shown.rows() == grid.rows();
        let mut brush = Brush::new(self.look);
        let mut shown = match self.shown.take().filter(same_size) {
            Some(shown) => shown,
            None => {
                brush.text.push_str("\x1b[0m\x1b[H\x1b[2J\x1b[?25l");
                brush.place = Some((0, 0));
                Grid::new(grid.cols(), grid.rows())
            }
        };
        let old_cursor = shown.cursor;
        if let Some(moved) = Moved::find(&shown, &grid) {
            brush.scroll(&moved);
            moved.apply(&mut shown);
        }
        for row in 0..grid.rows() {
            brush.row(row, shown.row(row), grid.row(row));
        }
        let is_painted = !brush.text.is_empty();
        brush.finish(old_cursor != grid.cursor, is_painted, &grid);
        self.shown = Some(grid);
        brush.text.into_bytes()
    }
}

/// Writes cells, and knows where the cursor is and what is on.
struct Brush {
    look: Look,
    text: String,
    /// Row and column, if they are known.
    place: Option<(usize, usize)>,
    style: Style,
}

impl Brush {
    fn new(look: Look) -> Brush {
        // Every painting ends with nothing on.
        Brush { look, text: String::new(), place: None, style: Style::Plain }
    }

    fn row(&mut self, row: usize, old: &[Cell], new: &[Cell]) {
        let end = new.iter().rposition(|cell| *cell != BLANK).map_or(0, |at| at + 1);
        let mut col = 0;
        while col < new.len() {
            if old[col] == new[col] {
                col += 1;
                continue;
            }
            if col >= end {
                self.go(row, col, old, new);
                self.style(Style::Plain);
                self.text.push_str("\x1b[K");
                return;
            }
            // A wide character is written from its start.
            while new[col].sign == CONTINUED && col > 0 {
                col -= 1;
            }
            self.go(row, col, old, new);
            col = self.cell(row, col, new[col]);
        }
    }

    /// Moves to a cell; over a few unchanged ones by writing them again.
    fn go(&mut self, row: usize, col: usize, old: &[Cell], new: &[Cell]) {
        if self.place == Some((row, col)) {
            return;
        }
        if let Some((at_row, at_col)) = self.place
            && at_row == row
            && at_col < col
        {
            let gap = &new[at_col..col];
            let is_cheap = gap.len() <= GAP_CELLS_MAX
                && gap == &old[at_col..col]
                && gap.iter().all(|cell| cell.style == self.style && cells_of(cell.sign) == 1);
            if is_cheap {
                for (at, cell) in gap.iter().enumerate() {
                    self.cell(row, at_col + at, *cell);
                }
                return;
            }
            let _ = write!(self.text, "\x1b[{}C", col - at_col);
        } else {
            let _ = match col {
                0 => write!(self.text, "\x1b[{}H", row + 1),
                _ => write!(self.text, "\x1b[{};{}H", row + 1, col + 1),
            };
        }
        self.place = Some((row, col));
    }

    /// Writes one cell and returns the column behind it.
    fn cell(&mut self, row: usize, col: usize, cell: Cell) -> usize {
        self.style(cell.style);
        let width = cells_of(cell.sign).max(1);
        if self.look.has_unicode {
            self.text.push(cell.sign);
        } else {
            let sign = stand_in(cell.sign);
            self.text.extend(std::iter::repeat_n(sign, width));
        }
        // Terminals differ about wide characters: where the cursor is then is not relied upon.
        let is_sure = cell.sign.is_ascii() || width == 1;
        self.place = is_sure.then_some((row, col + width));
        col + width
    }

    fn style(&mut self, style: Style) {
        if self.style == style {
            return;
        }
        let (coloured, plain) = looks(style);
        let parameters = if self.look.has_colour { coloured } else { plain };
        let _ = match parameters {
            "" => write!(self.text, "\x1b[m"),
            _ => write!(self.text, "\x1b[0{parameters}m"),
        };
        self.style = style;
    }

    /// Lets the terminal move rows: in a region of its screen, lines go out at one end.
    fn scroll(&mut self, moved: &Moved) {
        let Moved { top, bottom, lines } = *moved;
        let _ = write!(self.text, "\x1b[{};{bottom}r\x1b[{}H", top + 1, top + 1);
        let _ = match lines {
            1.. => write!(self.text, "\x1b[{lines}M"),
            _ => write!(self.text, "\x1b[{}L", -lines),
        };
        self.text.push_str("\x1b[r");
        self.place = None;
    }

    /// Puts the cursor where the person types, or hides it.
    fn finish(&mut self, is_cursor_new: bool, is_painted: bool, grid: &Grid) {
        self.style(Style::Plain);
        match grid.cursor {
            Some(at) if is_cursor_new || is_painted => {
                let _ = write!(self.text, "\x1b[{};{}H\x1b[?25h", at.row + 1, at.col + 1);
            }
            None if is_cursor_new => self.text.push_str("\x1b[?25l"),
            Some(_) | None => {}
        }
    }
}

/// Rows that are where others were.
struct Moved {
    /// The first row of the region.
    top: usize,
    /// Behind its last row.
    bottom: usize,
    /// How far up; negative if down.
    lines: isize,
}

impl Moved {
    /// The largest run of rows that are the same as others were, some lines away.
    fn find(old: &Grid, new: &Grid) -> Option<Moved> {
        let rows = new.rows();
        let differs = |row: &usize| old.row(*row) != new.row(*row);
        let (first, last) = ((0..rows).find(differs)?, (0..rows).rfind(differs)?);
        let span = last + 1 - first;
        if span <= SCROLLED_ROWS_MIN {
            return None;
        }
        let mut best: Option<(usize, Moved)> = None;
        for lines in 1..span {
            for up in [true, false] {
                let same = |row: &usize| match up {
                    true => *row + lines <= last && old.row(row + lines) == new.row(*row),
                    false => *row >= first + lines && old.row(row - lines) == new.row(*row),
                };
                let saved = (first..=last).filter(|row| same(row) && differs(row)).count();
                if saved >= SCROLLED_ROWS_MIN && best.as_ref().is_none_or(|(most, _)| saved > *most)
                {
                    let lines = isize::try_from(lines).unwrap_or(isize::MAX);
                    let lines = if up { lines } else { -lines };
                    best = Some((saved, Moved { top: first, bottom: last + 1, lines }));
                }
            }
        }
        best.map(|(_, moved)| moved)
    }

    /// Does to the grid what the terminal does to its screen.
    fn apply(&self, grid: &mut Grid) {
        let rows: Vec<Vec<Cell>> =
            (self.top..self.bottom).map(|row| grid.row(row).to_vec()).collect();
        for at in 0..rows.len() {
            let from = at.checked_add_signed(self.lines).and_then(|from| rows.get(from));
            let row = grid.row_mut(self.top + at);
            match from {
                Some(cells) => row.copy_from_slice(cells),
                None => row.fill(BLANK),
            }
        }
    }
}

#[cfg(test)]
mod tests;
