//! Where one stands in a list that is longer than the screen.

/// A selected line and the first one that is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List {
    pub at: usize,
    /// The first line that is shown.
    pub(crate) top: usize,
}

impl List {
    /// Selects the line so many further, or the end.
    pub(crate) fn step(&mut self, by: isize, len: usize) {
        self.at = self.at.saturating_add_signed(by).min(len.saturating_sub(1));
    }

    /// Brings the selected line into a window of so many rows.
    pub(crate) fn show(&mut self, len: usize, rows: usize) {
        self.at = self.at.min(len.saturating_sub(1));
        let highest = self.at.min(len.saturating_sub(rows));
        let lowest = (self.at + 1).saturating_sub(rows);
        self.top = self.top.clamp(lowest.min(highest), highest);
    }

    /// Moves the window itself, for text without a selected line.
    pub(crate) fn scroll(&mut self, by: isize, len: usize, rows: usize) {
        self.top = self.top.saturating_add_signed(by).min(len.saturating_sub(rows));
        self.at = self.top;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_line_is_always_shown() {
        for len in 0..12 {
            for rows in 1..8 {
                let mut list = List::default();
                for by in [1, 1, 5, -2, isize::MAX, -1, isize::MIN, 3] {
                    list.step(by, len);
                    list.show(len, rows);
                    let end = list.top + rows;
                    assert!(list.at >= list.top && list.at < end, "{list:?} {len} {rows}");
                    assert!(list.at == 0 || list.at < len);
                    assert!(list.top == 0 || end <= len, "no blank rows below: {list:?}");
                }
            }
        }
    }
}
