//! The page of agents.

use super::super::cluster::{Agent, Reach};
use super::super::columns::coarse_age;
use super::super::grid::{Area, Grid, Style};
use super::super::model::Model;
use super::super::page::Page;
use super::{Layout, mark, window};
use crate::base::text::{age, cells};
use crate::base::time::Now;
use crate::limits::TASK_PATIENCE;
use crate::rpc::capacity::Capacity;

/// One column: title, width, and its text.
struct Column {
    title: &'static str,
    width: usize,
    /// When it goes if there is no room: the highest first, 0 never.
    goes: u8,
    text: fn(&Agent, Now) -> String,
}

const COLUMNS: &[Column] = &[
    Column { title: "ID", width: 12, goes: 0, text: |agent, _| agent.id.to_string() },
    Column { title: "HOST", width: 18, goes: 0, text: |agent, _| agent.host().to_owned() },
    Column { title: "VERSION", width: 9, goes: 1, text: |agent, _| or_dash(&agent.version) },
    Column { title: "IMAGE", width: 18, goes: 4, text: |agent, _| or_dash(&agent.image) },
    Column { title: "RUNTIME", width: 7, goes: 5, text: |agent, _| or_dash(&agent.runtime) },
    Column { title: "CERT", width: 5, goes: 3, text: |agent, _| certificate_days(agent) },
    Column { title: "LOAD", width: 11, goes: 2, text: |agent, _| load(agent) },
    Column {
        title: "MEMORY",
        width: 11,
        goes: 6,
        text: |it, _| room(it, Capacity::memory_in_short),
    },
    Column { title: "DISK", width: 11, goes: 6, text: |it, _| room(it, Capacity::disk_in_short) },
    Column { title: "NEWS", width: 5, goes: 0, text: news },
];

/// Draws titles and rows; what the selected agent's trouble is stands below its row.
pub(crate) fn draw(grid: &mut Grid, layout: &Layout, model: &Model) {
    let mut columns: Vec<&Column> = COLUMNS.iter().collect();
    let taken = |columns: &[&Column]| columns.iter().map(|it| it.width + 1).sum::<usize>();
    while taken(&columns) + CONNECTION_CELLS_MIN > layout.head.cols {
        match columns.iter().map(|column| column.goes).max().filter(|goes| *goes > 0) {
            Some(goes) => columns.retain(|column| column.goes != goes),
            None => break,
        }
    }
    let mut at = layout.head;
    for column in &columns {
        grid.text(at, column.title, Style::Head);
        at = at.indented(column.width + 1);
    }
    grid.text(at, "CONNECTION", Style::Head);
    let agents = model.shown_agents();
    if agents.is_empty() {
        grid.text(layout.body.line(1).indented(2), "No agents.", Style::Plain);
    }
    let list = model.list(Page::Agents);
    for (at, line) in window(list, layout.body, agents.len()) {
        row(grid, line, agents[at], &columns, model.now);
        mark(grid, line, at == list.at);
    }
}

/// What is left for the connection's state at least.
const CONNECTION_CELLS_MIN: usize = 24;

fn row(grid: &mut Grid, line: Area, agent: &Agent, columns: &[&Column], now: Now) {
    let mut at = line;
    for column in columns {
        let cell = Area { cols: column.width.min(at.cols), ..at };
        grid.text(cell, &(column.text)(agent, now), Style::Plain);
        at = at.indented(column.width + 1);
    }
    let (text, style) = connection(agent, now);
    grid.text(at, &text, style);
}

/// How it can be reached, and what repairs it if it cannot.
pub(crate) fn connection(agent: &Agent, now: Now) -> (String, Style) {
    let silent_for = agent.asked_since().map(|since| now.mono.since(since));
    let late = silent_for.filter(|silence| *silence >= TASK_PATIENCE);
    match (&agent.reach, late) {
        (Reach::Here, Some(silence)) => (format!("no answer for {}", age(silence)), Style::Warn),
        (Reach::Here, None) if agent.is_in_hub => ("connected to the hub".to_owned(), Style::Good),
        (Reach::Here, None) => ("answers".to_owned(), Style::Good),
        (Reach::Awaited, _) => ("being asked".to_owned(), Style::Dim),
        (Reach::Away(why), _) => (why.clone(), Style::Bad),
    }
}

/// The whole of the selected agent's trouble, and what repairs it.
pub(crate) fn footnote(model: &Model) -> (String, Style) {
    let agent = model.agent.as_ref().and_then(|id| model.cluster.agents.get(id));
    let Some(agent) = agent else { return (String::new(), Style::Plain) };
    let (text, style) = connection(agent, model.now);
    let host = agent.host();
    match (&agent.reach, &agent.enrolled) {
        (Reach::Away(_), Some(enrolled)) if !text.contains(&enrolled.repair) => {
            (format!("{host}: {text}. Enrol it again with: {}", enrolled.repair), style)
        }
        (Reach::Away(_), _) => (format!("{host}: {text}"), style),
        _ => (String::new(), style),
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn news(agent: &Agent, now: Now) -> String {
    match (agent.last_news, &agent.reach) {
        (None, _) => "never".to_owned(),
        (Some(then), Reach::Here) => coarse_age(then, now.wall),
        // To the second, as behind the state of its sessions.
        (Some(then), Reach::Awaited | Reach::Away(_)) => age(now.wall.since(then)),
    }
}

/// Days until the agent's certificate ends, if it tells.
fn certificate_days(agent: &Agent) -> String {
    let days = agent.load.as_ref().and_then(|load| load["certificate_days_left"].as_i64());
    days.map_or_else(|| "-".to_owned(), |days| format!("{days}d"))
}

/// Something of the room that its host has left for sessions, if it tells.
fn room(agent: &Agent, text: fn(&Capacity) -> String) -> String {
    agent.capacity().as_ref().map_or_else(|| "-".to_owned(), text)
}

/// Sessions that run, of all that it has, and operations in flight if it tells.
fn load(agent: &Agent) -> String {
    let running = agent.sessions.values().filter(|session| session.running).count();
    let operations = agent.load.as_ref().and_then(|load| load["operations"].as_u64()).unwrap_or(0);
    let text = format!("{running}/{}", agent.sessions.len());
    let more = format!("{text} +{operations}");
    if operations > 0 && cells(&more) <= 11 { more } else { text }
}
