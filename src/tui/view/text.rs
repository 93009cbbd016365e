//! Pages of lines: events, messages, help, settings.

use super::super::bindings::{BINDINGS, Place};
use super::super::cluster::{Agent, Hub};
use super::super::columns::{attention, caps, coarse_age, progress};
use super::super::grid::{Area, Grid, Style};
use super::super::model::Model;
use super::super::page::Page;
use super::super::row::SessionRow;
use super::agents::connection;
use super::{Layout, mark, window};
use crate::base::text::{printable, wrap};
use crate::base::time::Wall;
use crate::rpc::session::claude_missing;

/// A line of a page of text.
pub(crate) type Line = (Style, String);

/// How wide the names of fields are.
const LABEL_CELLS: usize = 14;

/// Draws a page of text.
pub(crate) fn draw(grid: &mut Grid, layout: &Layout, model: &Model) {
    grid.text(layout.head, model.page.name(), Style::Head);
    let lines = text_lines(model);
    for (at, line) in window(model.list(model.page), layout.body, lines.len()) {
        let (style, text) = &lines[at];
        grid.text(line.indented(1), text, *style);
    }
    let below = lines.len().saturating_sub(model.list(model.page).top + layout.body.rows);
    if below > 0 {
        grid.text_right(layout.head, &format!("{below} more lines below"), Style::Dim);
    }
}

/// The lines of the page that is shown, if it is one of text.
pub(crate) fn text_lines(model: &Model) -> Vec<Line> {
    match model.page {
        Page::Help => help(model.size.0.saturating_sub(2)),
        Page::Settings => settings(model),
        _ => Vec::new(),
    }
}

/// A key or a sign and what it is, wrapped beside it.
fn entry(lines: &mut Vec<Line>, name: &str, text: &str, width: usize) {
    const NAME_CELLS: usize = 7;
    for (at, part) in wrap(text, width.saturating_sub(NAME_CELLS)).iter().enumerate() {
        let name = if at == 0 { name } else { "" };
        lines.push((Style::Plain, format!("{name:<NAME_CELLS$}{part}")));
    }
}

fn help(width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for (place, title) in [
        (Place::Sessions, "With the selected session, on the page of sessions"),
        (Place::Agents, "On the page of agents"),
        (Place::Lists, "On pages with lines"),
        (Place::Everywhere, "Everywhere"),
        (Place::Elsewhere, "On every page but the first"),
    ] {
        lines.push((Style::Head, title.to_owned()));
        for binding in BINDINGS.iter().filter(|binding| binding.place == place) {
            entry(&mut lines, binding.shown, binding.help, width);
        }
        lines.push((Style::Plain, String::new()));
    }
    lines.push((Style::Head, "States".to_owned()));
    for (sign, text) in [
        ("-", "stopped"),
        ("R", "running, nobody attached"),
        ("C", "running, at least one terminal attached"),
        (
            "L",
            "locked: an operation was in flight when its agent died; O clears it; LR, LC: it runs",
        ),
        ("O", "orphan: a session's directory on this host that no agent owns"),
        ("?", "its agent cannot be reached now; behind it the age of the last news"),
    ] {
        entry(&mut lines, sign, text, width);
    }
    lines
}

fn settings(model: &Model) -> Vec<Line> {
    let mut lines = Vec::new();
    let row = model.selected.as_ref().and_then(|key| model.row(key));
    let on_agents = model.page_before == Page::Agents;
    let agent = match (&row, on_agents) {
        (_, true) => model.agent.as_ref().and_then(|id| model.cluster.agents.get(id)),
        (Some(row), false) => row.agent,
        (None, false) => None,
    };
    if let Some(row) = row.filter(|_| !on_agents) {
        session_lines(&mut lines, &row, model);
    }
    if let Some(agent) = agent {
        agent_lines(&mut lines, agent, model);
    }
    program_lines(&mut lines, model);
    lines
}

fn field(lines: &mut Vec<Line>, model: &Model, name: &str, text: &str, style: Style) {
    if text.is_empty() {
        return;
    }
    let width = model.size.0.saturating_sub(LABEL_CELLS + 2);
    for (at, part) in wrap(&printable(text), width).iter().enumerate() {
        let name = if at == 0 { name } else { "" };
        lines.push((style, format!("{name:LABEL_CELLS$}{part}")));
    }
}

fn session_lines(lines: &mut Vec<Line>, row: &SessionRow<'_>, model: &Model) {
    lines.push((Style::Head, format!("Session {:?}", row.name())));
    let mut put = |name: &str, text: &str| field(lines, model, name, text, Style::Plain);
    put("id", &row.key.id.to_string());
    put("state", &format!("{} {}", row.state.sign(), row.state.word()));
    if let Some(session) = row.session {
        let moment = |at: Wall| format!("{at} ({})", coarse_age(at, model.now.wall));
        put("terminals", &session.attached_count.to_string());
        put("created", &moment(Wall::new(session.created_at.seconds(), 0)));
        put("last access", &moment(Wall::new(row.last_accessed.seconds(), 0)));
        let started = session.started_at.map(|at| moment(Wall::new(at.seconds(), 0)));
        put("started", &started.unwrap_or_default());
        let port = match session.port {
            0 => "none".to_owned(),
            port => format!("{port}/{}", session.protocol),
        };
        put("port", &port);
        put("dns name", if session.dns_name.is_empty() { "none" } else { &session.dns_name });
        put("command", &session.command);
        put("image", &session.image);
        put("cpus, memory", &caps(session.cpus, session.memory));
        put("processes", &if session.pids > 0 { session.pids.to_string() } else { String::new() });
        put("docker", if session.docker { "yes: root on the host" } else { "no" });
        if session.lacks_claude() {
            put("ended", &claude_missing(row.host()));
        }
        let attention = attention(row).map(|attention| {
            format!("{}, since {}", attention.in_words(), moment(attention.since))
        });
        put("attention", &attention.unwrap_or_default());
        put("broken", session.broken.as_ref().map_or("", |why| &why.0));
        put("stale", session.stale.as_ref().map_or("", |why| &why.0));
    }
    lines.push((Style::Plain, String::new()));
}

fn agent_lines(lines: &mut Vec<Line>, agent: &Agent, model: &Model) {
    lines.push((Style::Head, format!("Agent {}", agent.id)));
    let (state, style) = connection(agent, model.now);
    field(lines, model, "connection", &state, style);
    let mut put = |name: &str, text: &str| field(lines, model, name, text, Style::Plain);
    if let Some(enrolled) = &agent.enrolled {
        put("address", &enrolled.address);
        put("repair", &format!("{}  (enrols it again)", enrolled.repair));
    } else {
        put("address", "not in the registry of this host; only the hub knows it");
    }
    put("version", &agent.version);
    put("runtime", &agent.runtime);
    put("image", &agent.image);
    let news = agent.last_news.map(|at| Wall::new(at.seconds(), 0).to_string());
    put("last news", &news.unwrap_or_default());
    put("sessions", &agent.sessions.len().to_string());
    put("load", &agent.load.as_ref().map(ToString::to_string).unwrap_or_default());
    lines.push((Style::Plain, String::new()));
}

fn program_lines(lines: &mut Vec<Line>, model: &Model) {
    lines.push((Style::Head, "This program".to_owned()));
    let hub = match &model.cluster.hub {
        Hub::Unknown => "not looked for yet".to_owned(),
        Hub::Found => "found; its news are on their way".to_owned(),
        Hub::Live => "live: changes come by themselves".to_owned(),
        Hub::Absent(why) => format!("{why}; agents are asked every few seconds instead"),
    };
    for problem in &model.cluster.problems {
        field(lines, model, "registry", problem, Style::Bad);
    }
    let mut put = |name: &str, text: &str| field(lines, model, name, text, Style::Plain);
    put("version", env!("CARGO_PKG_VERSION"));
    put("hub", &hub);
    let colours = if model.look.has_colour { "colours" } else { "no colours" };
    let signs = if model.look.has_unicode { "UTF-8" } else { "ASCII" };
    let (cols, rows) = model.size;
    put("terminal", &format!("{cols}x{rows}, {colours}, {signs}"));
    let painted = &model.painted;
    let mean = painted.bytes.checked_div(painted.frames).unwrap_or(0);
    let text = format!(
        "{} times, {mean} bytes on average, {} the last time",
        painted.frames, painted.last
    );
    put("painted", &text);
}

/// Draws the events, the newest first.
pub(crate) fn events(grid: &mut Grid, layout: &Layout, model: &Model) {
    grid.text(layout.head, "TIME     HOST             EVENT              SESSION", Style::Head);
    let event_rows = model.shown_event_rows();
    if event_rows.is_empty() {
        let text = match (&model.cluster.hub, model.filter(Page::Events).is_empty()) {
            (Hub::Live, true) => "Nothing has happened since this screen was opened.".to_owned(),
            (Hub::Live, false) => "No event has these words.".to_owned(),
            (Hub::Absent(why), _) => format!("Events come from the hub of this host: {why}."),
            (Hub::Unknown | Hub::Found, _) => "The hub is being asked.".to_owned(),
        };
        paragraph(grid, layout.body, &text);
    }
    let list = model.list(Page::Events);
    for (at, line) in window(list, layout.body, event_rows.len()) {
        let it = event_rows[at];
        grid.text(line, &clock(it.at), Style::Dim);
        grid.text(Area { cols: 16.min(line.cols), ..line.indented(9) }, &it.host, Style::Plain);
        let kind = Area { cols: 18, ..line.indented(26) };
        grid.text(kind, &it.kind, kind_style(&it.kind));
        grid.text(line.indented(45), &it.text, Style::Plain);
        mark(grid, line, at == list.at);
    }
}

fn kind_style(kind: &str) -> Style {
    match kind {
        "agent.gap" | "hub.lost" | "hub.silent" | "agent.shutdown" => Style::Bad,
        "container.started" | "agent.started" | "hub.connected" => Style::Good,
        "agent.heartbeat" => Style::Dim,
        _ => Style::Plain,
    }
}

/// Draws what is under way and what was said, the newest first.
pub(crate) fn messages(grid: &mut Grid, layout: &Layout, model: &Model) {
    grid.text(layout.head, "TIME     WHAT WAS DONE AND SAID", Style::Head);
    let mut body = layout.body;
    for task in model.requests.tasks() {
        let text = format!("under way: {} {}", progress(task, model.now), task.subject);
        grid.text(body, &text, Style::Busy);
        body = Area { row: body.row + 1, rows: body.rows.saturating_sub(1), ..body };
    }
    let messages = model.shown_messages();
    if messages.is_empty() {
        return paragraph(grid, body, "Nothing was said.");
    }
    let list = model.list(Page::Messages);
    let mut row = 0;
    for (at, message) in messages.iter().enumerate().skip(list.top) {
        let style = if message.is_error { Style::Bad } else { Style::Plain };
        let lines = match at == list.at {
            // The selected one is shown whole.
            true => wrap(&printable(&message.text), body.cols.saturating_sub(9)),
            false => vec![message.text.clone()],
        };
        for (part, text) in lines.iter().enumerate() {
            let line = body.line(row);
            if line.rows == 0 {
                return;
            }
            if part == 0 {
                grid.text(line, &clock(message.at), Style::Dim);
            }
            grid.text(line.indented(9), text, style);
            mark(grid, line, at == list.at);
            row += 1;
        }
    }
}

fn paragraph(grid: &mut Grid, body: Area, text: &str) {
    for (at, line) in wrap(text, body.cols.saturating_sub(4)).iter().enumerate() {
        grid.text(body.line(at + 1).indented(2), line, Style::Plain);
    }
}

fn clock(at: Wall) -> String {
    let (_, _, _, hour, minute, second) = at.civil();
    format!("{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_has_every_key() {
        let text: Vec<String> = help(200).into_iter().map(|(_, text)| text).collect();
        for binding in BINDINGS {
            let found = text
                .iter()
                .any(|line| line.starts_with(binding.shown) && line.contains(binding.help));
            assert!(found, "{:?}", binding.command);
        }
    }
}
