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
        Dialog::Leave => leave(grid, body, model),
    }
}

fn question(grid: &mut Grid, body: Area, confirm: &Confirm) {
    let line = asked(grid, body, confirm.verb, &confirm.question(), confirm.consequence);
    let Some((wanted, typed)) = &confirm.proof else { return yes_or_no(grid, line) };
    let what = if confirm.target.has_name { "its name" } else { wanted };
    let end = grid.text(line, &format!("Type {what} and press Enter: "), Style::Bad);
    input(grid, line.indented(end - line.col), typed, true);
}

fn leave(grid: &mut Grid, body: Area, model: &Model) {
    let count = model.running();
    let question = match count {
        1 => "Leave and end the session that runs?".to_owned(),
        _ => format!("Leave and end the {count} sessions that run?"),
    };
    let consequence = "This is the demo: all sessions and their homes are removed with it.";
    let line = asked(grid, body, "Leave", &question, consequence);
    yes_or_no(grid, line);
}

/// Draws a question, and gives the line for the answer.
fn asked(grid: &mut Grid, body: Area, title: &str, question: &str, consequence: &str) -> Area {
    let cols = body.cols.min(COLS_MAX);
    let width = cols.saturating_sub(4);
    let mut lines = wrap(&printable(question), width);
    let asked = lines.len();
    lines.push(String::new());
    lines.extend(wrap(consequence, width));
    let inside = grid.frame(body.middle(cols, lines.len() + 4), title);
    for (at, line) in lines.iter().enumerate() {
        let style = if at < asked { Style::Strong } else { Style::Plain };
        grid.text(inside.line(at), line, style);
    }
    inside.line(lines.len() + 1)
}

fn yes_or_no(grid: &mut Grid, line: Area) {
    let end = grid.text(line, "Y yes   ", Style::Bad);
    grid.text(line.indented(end - line.col), "N no", Style::Key);
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
            let field = form.fields.get(form.at);
            let error = field.and_then(|field| form.shown_error(field));
            let hint = field.map(|field| form.hint(field));
            let room = width.saturating_sub(LABEL_CELLS + FIELD_CELLS + 1);
            match (error, hint.filter(|hint| cells(hint) > room)) {
                (Some(error), _) => (wrap(&printable(&error), width), Style::Bad),
                (None, Some(hint)) => (wrap(&hint, width), Style::Dim),
                (None, None) => (wrap(&room_left(form, model), width), Style::Dim),
            }
        }
        FormStage::Typing(Some(error)) => (wrap(&printable(error), width), Style::Bad),
        FormStage::Asking(_) => {
            let task = model.requests.tasks().last();
            let text = task.map_or_else(String::new, |task| progress(task, model.now));
            (wrap(&text, width), Style::Busy)
        }
    }
}

/// What room there is on the agent of a new session, and what a field that is left blank stands
/// for; empty if the agent has not told.
fn room_left(form: &Form, model: &Model) -> String {
    let agent = form.new_on().and_then(|on| model.cluster.agents.get(on.id.as_str()));
    let Some((host, capacity)) = agent.and_then(|agent| Some((agent.host(), agent.capacity()?)))
    else {
        return String::new();
    };
    let (room, defaults) = (capacity.in_words(), capacity.defaults_in_words());
    format!("left on {host}: {room}; where blank: {defaults}")
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
    match form.shown_error(field) {
        // The sentence of the field that is typed in stands below the fields, whole.
        Some(_) if is_here => {
            grid.text(behind, "see below", Style::Bad);
        }
        Some(error) => {
            grid.text(behind, &error, Style::Bad);
        }
        None if is_here && cells(&form.hint(field)) <= behind.cols => {
            grid.text(behind, &form.hint(field), Style::Dim);
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
