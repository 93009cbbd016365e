//! The table of sessions.

use super::super::cluster::Reach;
use super::super::columns::{COLUMNS, Column, coarse_age, fit, progress, state_style};
use super::super::grid::{Area, Grid, Style};
use super::super::model::Model;
use super::super::page::Page;
use super::super::row::{SessionRow, TableLine};
use super::{Layout, mark, window};
use crate::base::text::{cells, printable, wrap};
use crate::fleet::listing::SessionState;
use crate::fleet::registry::AgentId;

/// What to run where there is no agent.
const NO_AGENTS: &[&str] = &[
    "No agent is known yet, so there is nothing to show.",
    "",
    "Set one up, and let this host drive it:",
    "",
    "    convocate-host init-agent --host HOST",
    "",
    "Or try everything out on this machine alone, without root:",
    "",
    "    convocate demo",
    "",
    "This screen notices a new agent by itself. Q leaves.",
];

/// Draws titles and rows.
pub(crate) fn draw(grid: &mut Grid, layout: &Layout, model: &Model) {
    if model.cluster.agents.is_empty() && model.items.is_empty() {
        return nothing(grid, layout.body, model);
    }
    let columns = fit(layout.head.cols, &model.needs);
    titles(grid, layout.head, model, &columns);
    if model.items.is_empty() {
        return no_rows(grid, layout.body, model);
    }
    let list = model.list(Page::Sessions);
    for (at, line) in window(list, layout.body, model.items.len()) {
        match &model.items[at] {
            TableLine::Group { agent, count } => group(grid, line, model, agent.as_ref(), *count),
            TableLine::Session(key) => {
                let Some(row) = model.row(key) else { continue };
                cells_of_row(grid, line, model, &row, &columns);
                mark(grid, line, at == list.at);
            }
        }
    }
}

fn nothing(grid: &mut Grid, body: Area, model: &Model) {
    let width = body.cols.saturating_sub(4);
    let problems =
        model.cluster.problems.iter().flat_map(|problem| {
            std::iter::once(String::new()).chain(wrap(&printable(problem), width))
        });
    let lines = NO_AGENTS.iter().map(|line| (*line).to_owned()).chain(problems);
    for (at, line) in lines.enumerate() {
        let style = if at < NO_AGENTS.len() { Style::Plain } else { Style::Bad };
        grid.text(body.line(at + 1).indented(2), &line, style);
    }
}

/// Why there is no row: nobody has made a session, or nobody tells of any.
fn no_rows(grid: &mut Grid, body: Area, model: &Model) {
    let away = model.cluster.agents.values().filter(|agent| agent.reach != Reach::Here);
    let mut lines = Vec::new();
    if !model.filter(Page::Sessions).is_empty() {
        lines.push("No session has these words. Esc takes the filter away.".to_owned());
    } else if model.cluster.reachable().0 > 0 {
        lines.push("No sessions yet. N makes one.".to_owned());
    } else {
        lines.push("No session is known, because no agent has answered yet.".to_owned());
    }
    lines.extend(away.map(|agent| match &agent.reach {
        Reach::Away(why) => format!("{}: {why}", agent.host()),
        Reach::Awaited | Reach::Here => format!("{}: is being asked", agent.host()),
    }));
    let width = body.cols.saturating_sub(4);
    let lines = lines.iter().flat_map(|line| wrap(&printable(line), width));
    for (at, line) in lines.enumerate() {
        let style = if at == 0 { Style::Plain } else { Style::Warn };
        grid.text(body.line(at + 1).indented(2), &line, style);
    }
}

fn titles(grid: &mut Grid, head: Area, model: &Model, columns: &[(&'static Column, usize)]) {
    let Column { title: sorted, falls, .. } = COLUMNS[model.order.column];
    // The sign points to the greatest value.
    let sign = if model.order.is_inverted == falls { "▲" } else { "▼" };
    let mut at = head;
    for (column, width) in columns {
        let cell = Area { cols: *width, ..at };
        let end = grid.text(cell, column.title, Style::Head);
        // A title that fills its column keeps its last letter to itself.
        if column.title == sorted && end < cell.col + cell.cols {
            grid.text(cell.indented(end - cell.col), sign, Style::Head);
        }
        at = at.indented(width + 1);
    }
}

fn cells_of_row(
    grid: &mut Grid,
    line: Area,
    model: &Model,
    row: &SessionRow<'_>,
    columns: &[(&'static Column, usize)],
) {
    let mut at = line;
    for (column, width) in columns {
        let cell = Area { cols: (*width).min(at.cols), ..at };
        let style = match (column.style)(row, model.now) {
            Style::Plain if row.state == SessionState::Stopped => Style::Dim,
            style => style,
        };
        grid.text(cell, &(column.text)(row, model.now), style);
        at = at.indented(width + 1);
    }
}

fn group(grid: &mut Grid, line: Area, model: &Model, agent: Option<&AgentId>, count: usize) {
    let known = agent.and_then(|id| model.cluster.agents.get(id.as_str()));
    let Some(known) = known else {
        grid.text(line, &format!("this host: {count} without an agent"), Style::Head);
        return;
    };
    let end = grid.text(line, &format!("{} ({}): {count}", known.host(), known.id), Style::Head);
    if let Reach::Away(why) = &known.reach {
        grid.text(line.indented(end + 2 - line.col), why, Style::Warn);
    }
}

/// What the selected session's state means, and what is wrong with it.
pub(crate) fn footnote(grid: &mut Grid, area: Area, model: &Model) {
    let Some(row) = model.selected.as_ref().and_then(|key| model.row(key)) else { return };
    let end = grid.text(area, row.state.word(), state_style(row.state));
    let more = explanation(&row, model);
    if !more.is_empty() {
        grid.text(area.indented(end - area.col), &format!(": {more}"), Style::Dim);
    }
    let place = format!("{}/{}", position(model), model.counts.values().sum::<usize>());
    let room = area.cols.saturating_sub(cells(&more) + 14);
    if cells(&place) < room {
        grid.text_right(area, &place, Style::Dim);
    }
}

fn position(model: &Model) -> usize {
    let at = model.list(Page::Sessions).at;
    let is_session = |item: &&TableLine| matches!(item, TableLine::Session(_));
    model.items.iter().take(at + 1).filter(is_session).count()
}

fn explanation(row: &SessionRow<'_>, model: &Model) -> String {
    let Some(agent) = row.agent else {
        return "a session's directory on this host that no agent owns".to_owned();
    };
    let session = row.session;
    if let Some(task) = row.task {
        return progress(task, model.now);
    }
    if let Some(why) = session.and_then(|session| session.broken.as_ref()) {
        return format!("its metadata cannot be read, it can only be deleted: {}", why.0);
    }
    match (&agent.reach, session.and_then(|session| session.stale.as_ref())) {
        (Reach::Away(why), _) => why.clone(),
        (Reach::Awaited, _) => "its agent is being asked".to_owned(),
        (Reach::Here, Some(why)) => why.0.clone(),
        (Reach::Here, None) => match session {
            Some(session) if session.locked => {
                "an operation was in flight when its agent died; O clears the lock".to_owned()
            }
            Some(session) => match session.started_at {
                Some(at) => {
                    format!("since {}, {}", coarse_age(at, model.now.wall), session.command)
                }
                None => session.command.clone(),
            },
            None => String::new(),
        },
    }
}
