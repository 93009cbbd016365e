//! The model as a screen: a pure function of its state and its size.
//!
//! From the top: the title, the page (its columns' titles and its lines), what was said last or the
//! filter that is typed, the keys. A dialog lies above the page.

mod agents;
mod bar;
mod dialog;
mod sessions;
mod text;

use super::grid::{Area, Grid, Style};
use super::list::List;
use super::model::Model;
use super::page::Page;
use crate::base::text::{printable, wrap};
use crate::limits::{SCREEN_COLS_MIN, SCREEN_MESSAGE_ROWS_MAX, SCREEN_ROWS_MIN};

pub(crate) use text::text_lines;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) title: Area,
    /// The titles of the columns, or the page's name.
    pub(crate) head: Area,
    pub(crate) body: Area,
    /// The newest message, or the filter.
    pub(crate) message: Area,
    pub(crate) bar: Area,
}

/// Where everything is on this model's screen.
pub(crate) fn layout(model: &Model) -> Layout {
    let (cols, rows) = model.size;
    let all = Area { col: 0, row: 0, cols, rows };
    let foot_rows = foot(model).0.len().max(1);
    let body_rows = rows.saturating_sub(3 + foot_rows);
    Layout {
        title: all.line(0),
        head: all.line(1),
        body: Area { row: 2, rows: body_rows, ..all },
        message: Area { row: 2 + body_rows, rows: foot_rows, ..all },
        bar: all.line(rows.saturating_sub(1)),
    }
}

pub fn draw(model: &Model) -> Grid {
    let (cols, rows) = model.size;
    let mut grid = Grid::new(cols, rows);
    if cols < SCREEN_COLS_MIN || rows < SCREEN_ROWS_MIN {
        let text = format!("{SCREEN_COLS_MIN}x{SCREEN_ROWS_MIN} at least");
        grid.text(grid.area(), &text, Style::Plain);
        return grid;
    }
    let layout = layout(model);
    bar::title(&mut grid, layout.title, model);
    match model.page {
        Page::Sessions => sessions::draw(&mut grid, &layout, model),
        Page::Agents => agents::draw(&mut grid, &layout, model),
        Page::Events => text::events(&mut grid, &layout, model),
        Page::Messages => text::messages(&mut grid, &layout, model),
        Page::Settings | Page::Help => text::draw(&mut grid, &layout, model),
    }
    message(&mut grid, layout.message, model);
    bar::keys(&mut grid, layout.bar, model);
    if let Some(open) = &model.dialog {
        dialog::draw(&mut grid, layout.body, open, model);
    }
    grid
}

/// The rows of a page's list that are shown, with the row that each is drawn in.
fn window(list: List, body: Area, len: usize) -> impl Iterator<Item = (usize, Area)> {
    (list.top..len.min(list.top + body.rows)).map(move |at| (at, body.line(at - list.top)))
}

/// Marks the selected line over its whole width.
fn mark(grid: &mut Grid, line: Area, is_selected: bool) {
    if is_selected {
        grid.restyle(line, Style::Cursor);
    }
}

/// What stands below the page in lines of its own: what was said last, or else what is to be known
/// about the selected agent.
fn foot(model: &Model) -> (Vec<String>, Style) {
    let (text, style) = match model.current_message() {
        _ if model.is_typing || model.page == Page::Messages => {
            return (Vec::new(), Style::Plain);
        }
        Some(message) if message.is_error => (message.text.clone(), Style::Bad),
        Some(message) => (message.text.clone(), Style::Good),
        None if model.page == Page::Agents => agents::footnote(model),
        None => return (Vec::new(), Style::Plain),
    };
    let mut lines = wrap(&printable(&text), model.size.0);
    if lines.len() > SCREEN_MESSAGE_ROWS_MAX {
        lines.truncate(SCREEN_MESSAGE_ROWS_MAX);
        let more = " … M shows all of it";
        if let Some(last) = lines.last_mut() {
            let room = model.size.0.saturating_sub(more.chars().count());
            let kept: String = last.chars().take(room).collect();
            *last = format!("{kept}{more}");
        }
    }
    if text.is_empty() {
        lines.clear();
    }
    (lines, style)
}

fn message(grid: &mut Grid, area: Area, model: &Model) {
    let page = model.page;
    if model.is_typing {
        let end = grid.text(area, "filter: ", Style::Key);
        let field = area.indented(end - area.col);
        let input = model.filters.get(&page).cloned().unwrap_or_default();
        dialog::input(grid, field, &input, true);
        return;
    }
    let (lines, style) = foot(model);
    if !lines.is_empty() {
        for (at, line) in lines.iter().enumerate() {
            grid.text(area.line(at), line, style);
        }
        return;
    }
    let filter = model.filter(page);
    if !filter.is_empty() {
        let text = format!("filter: {filter}   (Esc takes it away)");
        grid.text(area, &text, Style::Warn);
    } else if page == Page::Sessions {
        sessions::footnote(grid, area, model);
    }
}
