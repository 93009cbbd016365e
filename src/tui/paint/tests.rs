//! A small terminal obeys what is painted, and must show the grid.

use super::*;
use crate::base::rng::Rng;
use crate::tui::grid::Area;

const COLOUR: Look = Look { has_colour: true, has_unicode: true };
const PLAIN: Look = Look { has_colour: false, has_unicode: false };

/// As much of a terminal as is made use of.
struct Screen {
    cols: usize,
    rows: Vec<Vec<char>>,
    at: (usize, usize),
    region: (usize, usize),
}

impl Screen {
    fn new(cols: usize, rows: usize) -> Screen {
        Screen { cols, rows: vec![vec![' '; cols]; rows], at: (0, 0), region: (0, rows) }
    }

    fn obey(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).expect("UTF-8");
        let mut signs = text.chars().peekable();
        while let Some(sign) = signs.next() {
            if sign != '\x1b' {
                self.put(sign);
                continue;
            }
            assert_eq!(signs.next(), Some('['), "{text:?}");
            let mut parameters = String::new();
            let last = loop {
                match signs.next().expect("a whole sequence") {
                    last @ '@'..='~' => break last,
                    sign => parameters.push(sign),
                }
            };
            self.sequence(&parameters, last);
        }
    }

    fn put(&mut self, sign: char) {
        let (row, col) = self.at;
        let width = cells_of(sign);
        assert!(width > 0 && col + width <= self.cols, "{sign:?} at {row}, {col}");
        self.rows[row][col] = sign;
        if width == 2 {
            self.rows[row][col + 1] = CONTINUED;
        }
        self.at.1 += width;
    }

    fn sequence(&mut self, parameters: &str, last: char) {
        let numbers: Vec<usize> =
            parameters.split(';').map(|number| number.parse().unwrap_or(0)).collect();
        let first = numbers[0].max(1);
        let (row, col) = self.at;
        match last {
            'H' => self.at = (first - 1, numbers.get(1).map_or(0, |col| col - 1)),
            'C' => self.at.1 += first,
            'J' => self.rows.iter_mut().for_each(|row| row.fill(' ')),
            'K' => self.rows[row][col..].fill(' '),
            'r' if parameters.is_empty() => (self.region, self.at) = ((0, self.rows.len()), (0, 0)),
            'r' => (self.region, self.at) = ((first - 1, numbers[1]), (0, 0)),
            'M' | 'L' => {
                let (from, to) =
                    if last == 'M' { (row, self.region.1 - 1) } else { (self.region.1 - 1, row) };
                for _ in 0..first {
                    self.rows.remove(from);
                    self.rows.insert(to, vec![' '; self.cols]);
                }
            }
            'm' | 'h' | 'l' => {}
            _ => unreachable!("{parameters:?} {last}"),
        }
    }

    fn shows(&self, grid: &Grid) -> bool {
        let row_is = |row: usize| {
            grid.row(row).iter().map(|cell| cell.sign).eq(self.rows[row].iter().copied())
        };
        (0..grid.rows()).all(row_is)
    }
}

fn list(first: usize, cursor: usize) -> Grid {
    let mut grid = Grid::new(40, 12);
    grid.text(grid.area(), "a title", Style::Title);
    for row in 1..11 {
        grid.text(grid.area().line(row), &format!("line {} of many", first + row), Style::Plain);
    }
    grid.restyle(grid.area().line(cursor), Style::Cursor);
    grid.text(grid.area().line(11), "a bar", Style::Key);
    grid
}

#[test]
fn any_grid_after_any_other() {
    let mut rng = Rng::from_seed([3; 32]);
    let (mut painter, mut screen) = (Painter::new(COLOUR), Screen::new(30, 10));
    let mut grid = Grid::new(30, 10);
    for round in 0..2_000 {
        match rng.below(4) {
            0 => {
                let lines: Vec<String> = grid.to_string().lines().map(str::to_owned).collect();
                let by = rng.below(5) as usize;
                grid = Grid::new(30, 10);
                for row in 0..10 - by {
                    let from = if round % 2 == 0 { row + by } else { row };
                    let to = if round % 2 == 0 { row } else { row + by };
                    grid.text(grid.area().line(to), &lines[from], Style::Plain);
                }
            }
            1 => {
                let area = Area {
                    col: rng.below(30) as usize,
                    row: rng.below(10) as usize,
                    cols: rng.below(9) as usize,
                    rows: rng.below(4) as usize,
                };
                grid.fill(area, Style::Cursor);
            }
            _ => {
                let texts = ["abc", "日本", "x", "a longer text", "  ", "ü…─"];
                let area = Area { col: rng.below(30) as usize, ..grid.area() };
                let text = texts[rng.below(6) as usize];
                grid.text(area.line(rng.below(10) as usize), text, Style::Good);
            }
        }
        mend(&mut grid);
        screen.obey(&painter.paint(grid.clone()));
        assert!(screen.shows(&grid), "round {round}:\n{grid}");
        assert_eq!(painter.paint(grid.clone()), b"", "nothing has changed");
    }
}

/// Halves of wide characters that were overwritten become blanks, as a view never leaves them.
fn mend(grid: &mut Grid) {
    for row in 0..grid.rows() {
        for col in 0..grid.cols() {
            let cells = grid.row_mut(row);
            let is_wide = cells_of(cells[col].sign) == 2 && cells[col].sign != CONTINUED;
            if is_wide && cells.get(col + 1).is_none_or(|next| next.sign != CONTINUED) {
                cells[col].sign = ' ';
            }
            let is_orphan =
                cells[col].sign == CONTINUED && (col == 0 || cells_of(cells[col - 1].sign) != 2);
            if is_orphan {
                cells[col].sign = ' ';
            }
        }
    }
}

#[test]
fn little_is_written_for_little_change() {
    let (mut painter, mut screen) = (Painter::new(COLOUR), Screen::new(40, 12));
    screen.obey(&painter.paint(list(0, 1)));
    for (grid, most) in [
        // The cursor moves: two rows.
        (list(0, 2), 80),
        // The list scrolls by one, by many, and back.
        (list(1, 2), 130),
        (list(5, 2), 190),
        (list(4, 2), 130),
    ] {
        let bytes = painter.paint(grid.clone());
        screen.obey(&bytes);
        assert!(screen.shows(&grid), "{grid}");
        assert!(bytes.len() <= most, "{} bytes: {:?}", bytes.len(), String::from_utf8(bytes));
    }
}

#[test]
fn without_colours_and_without_utf8() {
    let mut painter = Painter::new(PLAIN);
    let mut grid = Grid::new(20, 3);
    grid.frame(grid.area(), "größe 日");
    grid.restyle(grid.area().line(1), Style::Good);
    let bytes = painter.paint(grid);
    assert!(bytes.is_ascii());
    let text = String::from_utf8(bytes).expect("text");
    assert!(text.contains("gr??e ??"), "{text:?}");
    for colour in 30..38 {
        assert!(!text.contains(&format!(";{colour}m")), "{text:?}");
    }
}

#[test]
fn the_environment_says_what_a_terminal_can() {
    let look = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Look::from_environment(|name| {
            pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    };
    assert_eq!(look(&[("TERM", "xterm"), ("LANG", "en_US.UTF-8")]), COLOUR);
    assert!(!look(&[("TERM", "xterm"), ("LANG", "C")]).has_unicode);
    assert!(!look(&[("LC_ALL", "C"), ("LANG", "C.utf8")]).has_unicode);
    assert!(!look(&[("TERM", "xterm"), ("NO_COLOR", "1")]).has_colour);
    assert!(look(&[("TERM", "linux"), ("NO_COLOR", "")]).has_colour);
    assert!(!look(&[("TERM", "vt100")]).has_colour);
}
