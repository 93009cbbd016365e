//! Rows under titles, as wide as the terminal and no wider.
//!
//! Without a terminal, the table is whole. Where the terminal is too narrow, columns are left out
//! in the order of `goes`, and then the flexible one is cut.

use crate::base::text::{cells, cut, printable};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// What stands above it.
    pub(crate) title: &'static str,
    /// When it goes if there is no room: the highest first, 0 never.
    pub(crate) goes: u8,
}

pub(crate) const fn column(title: &'static str, goes: u8) -> Column {
    Column { title, goes }
}

/// A table. Each row has a cell for each column.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    /// The column that is cut when nothing more can go.
    flexible: usize,
    /// Columns that are not shown.
    left_out: Vec<usize>,
    rows: Vec<Vec<String>>,
}

/// Cells between two columns.
const GAP: usize = 2;
/// A flexible column is not cut below this.
const FLEXIBLE_CELLS_MIN: usize = 8;
/// A flexible column is cut to this before others go for it.
const FLEXIBLE_CELLS_FAIR: usize = 20;

impl Table {
    /// A table without rows, whose column `flexible` is the one to be cut.
    pub(crate) fn new(columns: &[Column], flexible: usize) -> Table {
        Table { columns: columns.to_vec(), flexible, left_out: Vec::new(), rows: Vec::new() }
    }

    /// Never shows a column.
    pub(crate) fn leave_out(&mut self, column: usize) {
        self.left_out.push(column);
    }

    pub(crate) fn push<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.columns.len(), "a row has a cell for each column");
        self.rows.push(cells.iter().map(|cell| printable(cell).into_owned()).collect());
    }

    /// The whole as text, for a terminal of this width.
    pub(crate) fn render(&self, width: Option<usize>) -> String {
        let mut widths = self.natural_widths();
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        shown.retain(|column| !self.left_out.contains(column));
        if let Some(width) = width {
            self.fit(&mut shown, &mut widths, width);
        }
        let titles: Vec<String> =
            self.columns.iter().map(|column| column.title.to_owned()).collect();
        let mut text = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            push_row(&mut text, row, &shown, &widths);
        }
        text
    }

    fn natural_widths(&self) -> Vec<usize> {
        let widest = |at: usize| self.rows.iter().map(|row| cells(&row[at])).max().unwrap_or(0);
        let columns = self.columns.iter().enumerate();
        columns.map(|(at, column)| widest(at).max(cells(column.title))).collect()
    }

    /// Leaves columns out, then cuts the flexible one, until it fits or nothing more can be done.
    fn fit(&self, shown: &mut Vec<usize>, widths: &mut [usize], width: usize) {
        let total = |shown: &[usize], widths: &[usize]| {
            shown.iter().map(|&at| widths[at] + GAP).sum::<usize>().saturating_sub(GAP)
        };
        let wanted = widths[self.flexible];
        widths[self.flexible] = wanted.min(FLEXIBLE_CELLS_FAIR);
        while total(shown, widths) > width {
            let next = shown.iter().max_by_key(|&&at| self.columns[at].goes).copied();
            match next.filter(|&at| self.columns[at].goes > 0) {
                Some(gone) => shown.retain(|&at| at != gone),
                None => break,
            }
        }
        widths[self.flexible] = wanted;
        let excess = total(shown, widths).saturating_sub(width);
        widths[self.flexible] = wanted.saturating_sub(excess).max(FLEXIBLE_CELLS_MIN.min(wanted));
    }
}

fn push_row(text: &mut String, row: &[String], shown: &[usize], widths: &[usize]) {
    let start = text.len();
    for &at in shown {
        let cell = cut(&row[at], widths[at]);
        text.push_str(&cell);
        text.extend(std::iter::repeat_n(' ', widths[at] - cells(&cell) + GAP));
    }
    // No blanks at the end of a line.
    text.truncate(start + text[start..].trim_end().len());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let columns = [
            Column { title: "S", goes: 0 },
            Column { title: "NAME", goes: 0 },
            Column { title: "DNS", goes: 1 },
            Column { title: "IMAGE", goes: 2 },
        ];
        let mut table = Table::new(&columns, 1);
        for cells in [["R", "web server", "web", "convocate:1"], ["-", "db\u{1b}[2J", "", ""]] {
            table.push(cells.map(str::to_owned));
        }
        table
    }

    #[test]
    fn without_a_terminal_everything_is_there() {
        let text = table().render(None);
        assert_eq!(
            text,
            "S  NAME         DNS  IMAGE\n\
             R  web server   web  convocate:1\n\
             -  db\\u{1b}[2J\n"
        );
    }

    #[test]
    fn wide_characters_stand_in_two_cells() {
        let mut table = Table::new(&[column("NAME", 0), column("AGENT", 0)], 0);
        table.push(["日本語日本語".to_owned(), "x".to_owned()]);
        table.push(["abc".to_owned(), "y".to_owned()]);
        let whole = "NAME          AGENT\n日本語日本語  x\nabc           y\n";
        assert_eq!(table.render(None), whole);
        let cut = "NAME        AGENT\n日本語日…   x\nabc         y\n";
        assert_eq!(table.render(Some(17)), cut);
    }

    #[test]
    fn columns_go_and_then_the_flexible_one_is_cut() {
        assert!(table().render(Some(32)).contains("IMAGE"));
        assert!(!table().render(Some(31)).contains("IMAGE"));
        let narrow = table().render(Some(12));
        assert_eq!(narrow, "S  NAME\nR  web serv…\n-  db\\u{1b}…\n");
        for width in 11..60 {
            let text = table().render(Some(width));
            assert!(text.lines().all(|line| cells(line) <= width), "{width}\n{text}");
        }
    }
}
