//! A screen as a value: cells with a character and a meaning.
//!
//! What a style looks like is decided when it is painted ([`super::paint`]); here it only says what
//! a cell is. Text from elsewhere is made harmless on its way in. Nothing is ever written outside.

use std::fmt;

use crate::base::text::{cells, cells_of, cut, printable};

/// What a cell means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Style {
    #[default]
    Plain,
    /// Text that can be missed.
    Dim,
    /// Text that should not be.
    Strong,
    /// The line at the top.
    Title,
    /// The titles of columns and of groups.
    Head,
    /// The selected line.
    Cursor,
    /// The name of a key.
    Key,
    Good,
    /// Somebody is in it, or something is under way.
    Busy,
    /// It is not known, or needs a look.
    Warn,
    Bad,
    /// What is being typed.
    Input,
    /// The border of a dialog.
    Frame,
}

/// One cell. The second cell of a wide character has [`CONTINUED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) sign: char,
    pub(crate) style: Style,
}

/// Stands in the second cell of a wide character.
pub(crate) const CONTINUED: char = '\0';

pub(crate) const BLANK: Cell = Cell { sign: ' ', style: Style::Plain };

/// A place on the screen, from the top left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The column, from 0.
    pub(crate) col: usize,
    /// The row, from 0.
    pub(crate) row: usize,
}

/// A rectangle of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) col: usize,
    pub(crate) row: usize,
    /// How many columns it has.
    pub(crate) cols: usize,
    /// How many rows it has.
    pub(crate) rows: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    cols: usize,
    rows: usize,
    cells: Vec<Cell>,
    /// Where the person types; the cursor is hidden if nowhere.
    pub(crate) cursor: Option<Place>,
}

impl Area {
    /// Row `row` of it; empty below its end.
    pub(crate) fn line(self, row: usize) -> Area {
        let rows = usize::from(row < self.rows);
        Area { row: self.row + row, rows, ..self }
    }

    /// Without `count` cells at its left.
    pub(crate) fn indented(self, count: usize) -> Area {
        let count = count.min(self.cols);
        Area { col: self.col + count, cols: self.cols - count, ..self }
    }

    /// An area of this size in the middle of this one, or as much of it as fits.
    pub(crate) fn middle(self, cols: usize, rows: usize) -> Area {
        let (cols, rows) = (cols.min(self.cols), rows.min(self.rows));
        let col = self.col + (self.cols - cols) / 2;
        Area { col, row: self.row + (self.rows - rows) / 2, cols, rows }
    }
}

impl Grid {
    pub(crate) fn new(cols: usize, rows: usize) -> Grid {
        Grid { cols, rows, cells: vec![BLANK; cols * rows], cursor: None }
    }

    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn area(&self) -> Area {
        Area { col: 0, row: 0, cols: self.cols, rows: self.rows }
    }

    /// One row of cells.
    pub(crate) fn row(&self, row: usize) -> &[Cell] {
        &self.cells[row * self.cols..(row + 1) * self.cols]
    }

    pub(super) fn row_mut(&mut self, row: usize) -> &mut [Cell] {
        &mut self.cells[row * self.cols..(row + 1) * self.cols]
    }

    /// Writes text into the first row of `area`, cut to its width, and returns the column behind
    /// it.
    pub(crate) fn text(&mut self, area: Area, text: &str, style: Style) -> usize {
        if area.rows == 0 || area.row >= self.rows || area.col >= self.cols {
            return area.col;
        }
        let width = area.cols.min(self.cols - area.col);
        let harmless = printable(text);
        let mut col = area.col;
        for sign in cut(&harmless, width).chars() {
            let taken = cells_of(sign);
            if taken == 0 {
                continue;
            }
            let row = self.row_mut(area.row);
            row[col] = Cell { sign, style };
            if taken == 2 {
                row[col + 1] = Cell { sign: CONTINUED, style };
            }
            col += taken;
        }
        col
    }

    /// Writes text so that it ends where the first row of `area` does.
    pub(crate) fn text_right(&mut self, area: Area, text: &str, style: Style) {
        let width = cells(&printable(text));
        self.text(area.indented(area.cols.saturating_sub(width)), text, style);
    }

    /// Makes all of `area` blank, in this style.
    pub(crate) fn fill(&mut self, area: Area, style: Style) {
        let end = (area.col + area.cols).min(self.cols);
        for row in area.row..(area.row + area.rows).min(self.rows) {
            self.row_mut(row)[area.col.min(end)..end].fill(Cell { sign: ' ', style });
        }
    }

    /// Gives all of `area` this style and leaves its characters.
    pub(crate) fn restyle(&mut self, area: Area, style: Style) {
        let end = (area.col + area.cols).min(self.cols);
        for row in area.row..(area.row + area.rows).min(self.rows) {
            for cell in &mut self.row_mut(row)[area.col.min(end)..end] {
                cell.style = style;
            }
        }
    }

    /// Empties `area`, draws a border along its edge, and returns what is inside.
    pub(crate) fn frame(&mut self, area: Area, title: &str) -> Area {
        self.fill(area, Style::Plain);
        if area.cols < 4 || area.rows < 2 {
            return Area { rows: 0, ..area };
        }
        let (right, bottom) = (area.cols - 1, area.rows - 1);
        let across = "─".repeat(area.cols - 2);
        self.text(area, &format!("┌{across}┐"), Style::Frame);
        self.text(area.line(bottom), &format!("└{across}┘"), Style::Frame);
        for row in 1..bottom {
            self.text(area.line(row), "│", Style::Frame);
            self.text(area.line(row).indented(right), "│", Style::Frame);
        }
        let head = Area { cols: area.cols - 4, ..area.indented(2) };
        self.text(head, &format!(" {title} "), Style::Strong);
        Area { row: area.row + 1, rows: area.rows - 2, cols: area.cols - 4, ..head }
    }
}

/// The characters alone, a line for each row, without blanks at their ends.
impl fmt::Display for Grid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in 0..self.rows {
            let signs = self.row(row).iter().map(|cell| cell.sign);
            let line: String = signs.filter(|sign| *sign != CONTINUED).collect();
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_inside_and_is_made_harmless() {
        let mut grid = Grid::new(8, 2);
        let end = grid.text(grid.area().indented(2), "a\u{1b}[2Jb", Style::Plain);
        assert_eq!((grid.to_string().as_str(), end), ("  a\\u{1…\n\n", 8));
        grid.text(grid.area().line(1), "日本語日本語", Style::Plain);
        assert_eq!(grid.to_string().lines().last(), Some("日本語…"));
        for area in [
            Area { col: 9, row: 0, cols: 3, rows: 1 },
            Area { col: 0, row: 7, cols: 3, rows: 1 },
            Area { col: 6, row: 1, cols: 90, rows: 90 },
        ] {
            grid.text(area, "outside", Style::Plain);
            grid.fill(area, Style::Bad);
            grid.restyle(area, Style::Good);
            grid.frame(area, "outside");
        }
    }

    #[test]
    fn a_frame_of_any_size() {
        let mut grid = Grid::new(12, 4);
        let inside = grid.frame(grid.area(), "one");
        assert_eq!(inside, Area { col: 2, row: 1, cols: 8, rows: 2 });
        assert_eq!(grid.to_string(), "┌─ one ────┐\n│          │\n│          │\n└──────────┘\n");
        for (cols, rows) in [(0, 0), (1, 1), (3, 3), (4, 2), (5, 1)] {
            let mut grid = Grid::new(cols, rows);
            grid.frame(grid.area(), "a title that is long");
        }
    }
}
