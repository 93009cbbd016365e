//! Questions and forms.

use super::super::columns::progress;
use super::super::dialog::{Confirm, Dialog};
use super::super::form::{Field, FieldValue, Form, FormStage};
use super::super::grid::{Area, Grid, Place, Style};
use super::super::input::Input;
use super::super::model::Model;
use crate::base::text::{cells, printable, wrap};

/// How wide a dialog is at most.
const COLS_MAX: usize = 100;
/// How wide labels are.
const LABEL_CELLS: usize = 11;
/// How wide a field is, if there is room.
const FIELD_CELLS: usize = 34;

/// Rows below the fields, so that a form does not jump while it is typed in.
const FOOT_ROWS_MIN: usize = 2;

/// Draws the dialog in the middle of the page.
pub(crate) fn draw(grid: &mut Grid, body: Area, dialog: &Dialog, model: &Model) {
    grid.cursor = None;
    match dialog {
        Dialog::Confirm(confirm) => question(grid, body, confirm),
        Dialog::Form(form) => fields(grid, body, form, model),
    }
}

fn question(grid: &mut Grid, body: Area, confirm: &Confirm) {
    let cols = body.cols.min(COLS_MAX);
    let width = cols.saturating_sub(4);
    let mut lines = Vec::new();
    lines.extend(wrap(&printable(&confirm.question()), width));
    let asked = lines.len();
    lines.push(String::new());
    lines.extend(wrap(confirm.consequence, width));
    let inside = grid.frame(body.middle(cols, lines.len() + 4), confirm.verb);
    for (at, line) in lines.iter().enumerate() {
        let style = if at < asked { Style::Strong } else { Style::Plain };
        grid.text(inside.line(at), line, style);
    }
    let end = grid.text(inside.line(lines.len() + 1), "Y yes   ", Style::Bad);
    let rest = inside.line(lines.len() + 1).indented(end - inside.col);
    grid.text(rest, "N no", Style::Key);
}

fn fields(grid: &mut Grid, body: Area, form: &Form, model: &Model) {
    let cols = body.cols.min(COLS_MAX);
    let width = cols.saturating_sub(4);
    let (foot, style) = foot(form, model, width);
    let rows = form.fields.len() + 3 + foot.len().max(FOOT_ROWS_MIN);
    let inside = grid.frame(body.middle(cols, rows), &form.title());
    for (at, field) in form.fields.iter().enumerate() {
        let is_here = at == form.at && matches!(form.stage, FormStage::Typing(_));
        field_line(grid, inside.line(at), form, field, is_here);
    }
    for (at, line) in foot.iter().enumerate() {
        grid.text(inside.line(form.fields.len() + 1 + at), line, style);
    }
}

/// What stands below the fields: the whole error of the agent, or that it is being asked.
fn foot(form: &Form, model: &Model, width: usize) -> (Vec<String>, Style) {
    match &form.stage {
        FormStage::Typing(None) => {
            // Next to the field there may not be room for all of it.
            let error = form.fields.get(form.at).and_then(|field| form.error(field));
            let lines = error.map_or_else(Vec::new, |error| wrap(&printable(&error), width));
            (lines, Style::Bad)
        }
        FormStage::Typing(Some(error)) => (wrap(&printable(error), width), Style::Bad),
        FormStage::Asking(_) => {
            let task = model.requests.tasks().last();
            let text = task.map_or_else(String::new, |task| progress(task, model.now));
            (wrap(&text, width), Style::Busy)
        }
    }
}

fn field_line(grid: &mut Grid, line: Area, form: &Form, field: &Field, is_here: bool) {
    let label = if is_here { Style::Strong } else { Style::Plain };
    grid.text(line, field.what.label(), label);
    let place = line.indented(LABEL_CELLS);
    let place = Area { cols: FIELD_CELLS.min(place.cols), ..place };
    match &field.value {
        FieldValue::Text(text) => input(grid, place, text, is_here),
        FieldValue::Choice { .. } => choice(grid, place, field, is_here),
    }
    let behind = line.indented(LABEL_CELLS + FIELD_CELLS + 1);
    match form.error(field) {
        Some(error) => {
            grid.text(behind, &error, Style::Bad);
        }
        None if is_here => {
            grid.text(behind, field.what.hint(), Style::Dim);
        }
        None => {}
    }
}

fn choice(grid: &mut Grid, place: Area, field: &Field, is_here: bool) {
    let style = if is_here { Style::Cursor } else { Style::Plain };
    grid.text(place, &format!("‹ {} ›", field.shown()).replace(['‹', '›'], " "), style);
    if is_here {
        grid.cursor = Some(Place { col: place.col, row: place.row });
    }
}

/// A line that is typed: as much of it as there is room for, with the cursor in it.
pub(crate) fn input(grid: &mut Grid, place: Area, input: &Input, is_here: bool) {
    if place.cols == 0 || place.rows == 0 {
        return;
    }
    let text = input.text();
    let before: String = text.chars().take(input.at()).collect();
    let before_cells = cells(&printable(&before));
    // Whole characters are left out at the front until the cursor has room.
    let mut skipped = 0;
    let mut skipped_cells = 0;
    for sign in before.chars() {
        if before_cells - skipped_cells < place.cols {
            break;
        }
        skipped += 1;
        skipped_cells += cells(&printable(&sign.to_string()));
    }
    let shown: String = text.chars().skip(skipped).collect();
    grid.fill(place, Style::Input);
    let mut room = String::new();
    for sign in shown.chars() {
        let next = printable(&sign.to_string()).into_owned();
        if cells(&room) + cells(&next) > place.cols {
            break;
        }
        room.push_str(&next);
    }
    grid.text(place, &room, Style::Input);
    if is_here {
        grid.cursor = Some(Place { col: place.col + before_cells - skipped_cells, row: place.row });
    }
}
