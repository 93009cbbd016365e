//! The columns of the sessions' table, one entry for each: title, widths, text, order.
//!
//! To add one, add an entry to [`COLUMNS`] at its place from left to right; drawing and sorting
//! follow. A new `goes` decides when it makes room. Then draw `tests/tui/screens` anew
//! (`CONVOCATE_DRAW=1 cargo test --test tui`) and read the difference.

use std::cmp::Ordering;

use super::grid::Style;
use super::ops::Task;
use super::row::{SessionKey, SessionRow};
use crate::base::text::age;
use crate::base::time::{Now, Wall};
use crate::fleet::listing::SessionState;
use crate::limits::TASK_PATIENCE;
use crate::rpc::values::size;

pub(crate) struct Column {
    /// What stands above it.
    pub(crate) title: &'static str,
    /// Its width in cells, and what it takes where there is room.
    pub(crate) cells: (usize, usize),
    /// When it goes if there is no room: the highest first, 0 never.
    pub(crate) goes: u8,
    /// The text of a cell.
    pub(crate) text: fn(&SessionRow<'_>, Now) -> String,
    /// What a cell means.
    pub(crate) style: fn(&SessionRow<'_>, Now) -> Style,
    /// The order that one expects when sorting by it.
    pub(crate) order: fn(&SessionRow<'_>, &SessionRow<'_>) -> Ordering,
}

/// All of them, from left to right.
pub(crate) static COLUMNS: &[Column] = &[
    Column {
        title: "S",
        cells: (5, 6),
        goes: 0,
        text: |row, now| match row.last_news() {
            Some(then) => format!("{} {}", row.state.sign(), age(now.wall.since(then))),
            None => row.state.sign().to_string(),
        },
        style: |row, _| state_style(row.state),
        order: |one, other| one.state.cmp(&other.state),
    },
    Column {
        title: "NAME",
        cells: (20, 64),
        goes: 0,
        text: |row, now| match row.task {
            Some(task) => format!("{} · {}", doing(task, now), row.name()),
            None => row.name().to_owned(),
        },
        style: |row, now| match row.task {
            Some(task) if is_late(task, now) => Style::Warn,
            Some(_) => Style::Busy,
            None if row.session.is_some_and(|session| session.broken.is_some()) => Style::Bad,
            None => Style::Plain,
        },
        order: |one, other| one.name().cmp(other.name()),
    },
    Column {
        title: "ID",
        cells: (8, 8),
        goes: 3,
        text: |row, _| row.key.id.short(),
        style: |_, _| Style::Dim,
        order: |one, other| one.key.id.cmp(&other.key.id),
    },
    Column {
        title: "AGENT",
        cells: (12, 28),
        goes: 0,
        text: |row, _| row.host().to_owned(),
        style: |_, _| Style::Plain,
        order: |one, other| {
            (one.host(), agent_id(&one.key)).cmp(&(other.host(), agent_id(&other.key)))
        },
    },
    Column {
        title: "PORT",
        cells: (9, 9),
        goes: 1,
        text: |row, _| match row.session {
            Some(session) if session.port > 0 => format!("{}/{}", session.port, session.protocol),
            _ => String::new(),
        },
        style: |_, _| Style::Plain,
        order: |one, other| port(one).cmp(&port(other)),
    },
    Column {
        title: "DNS",
        cells: (12, 32),
        goes: 2,
        text: |row, _| row.session.map_or_else(String::new, |session| session.dns_name.clone()),
        style: |_, _| Style::Plain,
        order: |one, other| dns(one).cmp(&dns(other)),
    },
    Column {
        title: "IMAGE",
        cells: (16, 32),
        goes: 4,
        text: |row, _| row.session.map_or_else(String::new, |session| session.image.clone()),
        style: |_, _| Style::Dim,
        order: |one, other| image(one).cmp(image(other)),
    },
    Column {
        title: "CAPS",
        cells: (10, 12),
        goes: 5,
        text: |row, _| {
            row.session.map_or_else(String::new, |session| caps(session.cpus, session.memory))
        },
        style: |_, _| Style::Dim,
        order: |one, other| memory(other).cmp(&memory(one)),
    },
    Column {
        title: "LOAD",
        cells: (10, 11),
        goes: 2,
        text: |row, _| usage(row).map_or_else(String::new, load),
        style: |_, _| Style::Plain,
        order: |one, other| usage(other).cmp(&usage(one)),
    },
    Column {
        title: "ACCESS",
        cells: (6, 6),
        goes: 0,
        text: |row, now| coarse_age(row.last_accessed, now.wall),
        style: |_, _| Style::Plain,
        order: |one, other| other.last_accessed.cmp(&one.last_accessed),
    },
];

/// The column that the table is sorted by until somebody says otherwise: the newest access first.
pub(crate) const ACCESS: usize = COLUMNS.len() - 1;

/// Cells between two columns.
const GAP: usize = 1;

/// Which columns have room in so many cells, and how wide each is.
pub(crate) fn fit(width: usize) -> Vec<(&'static Column, usize)> {
    let mut shown: Vec<&'static Column> = COLUMNS.iter().collect();
    let least = |shown: &[&Column]| shown.iter().map(|it| it.cells.0 + GAP).sum::<usize>();
    while least(&shown) > width + GAP {
        match shown.iter().map(|column| column.goes).max().filter(|goes| *goes > 0) {
            Some(goes) => shown.retain(|column| column.goes != goes),
            None => break,
        }
    }
    let mut left = (width + GAP).saturating_sub(least(&shown));
    let mut fitted = Vec::new();
    for column in shown {
        let more = (column.cells.1 - column.cells.0).min(left);
        left -= more;
        fitted.push((column, column.cells.0 + more));
    }
    fitted
}

/// What is being done, for how long, and whether that is too long.
pub(crate) fn progress(task: &Task, now: Now) -> String {
    let more = if is_late(task, now) { ", no answer yet" } else { "" };
    format!("{}{more}", doing(task, now))
}

/// What is being done, and for how long: `killing 3s`.
fn doing(task: &Task, now: Now) -> String {
    format!("{} {}s", task.doing(), now.mono.since(task.since).as_secs())
}

fn is_late(task: &Task, now: Now) -> bool {
    now.mono.since(task.since) >= TASK_PATIENCE
}

/// What a state looks like.
pub(crate) fn state_style(state: SessionState) -> Style {
    match state {
        SessionState::Stopped => Style::Plain,
        SessionState::Running => Style::Good,
        SessionState::Attached => Style::Busy,
        SessionState::Locked => Style::Bad,
        SessionState::Orphan | SessionState::Unknown => Style::Warn,
    }
}

/// An age that does not change every second, so that a quiet screen is quiet.
pub(crate) fn coarse_age(then: Wall, now: Wall) -> String {
    let span = now.since(then);
    if span.as_secs() < 60 { "now".to_owned() } else { age(span) }
}

/// Processors and memory that a session may use; empty if its agent did not say.
pub(crate) fn caps(cpus: f64, memory: u64) -> String {
    // Whole mebibytes: a share of a host's memory is rarely a round number.
    let memory = size(memory >> 20 << 20);
    if cpus > 0.0 || !memory.is_empty() { format!("{cpus} {memory}") } else { String::new() }
}

/// What a session that runs used when its agent's last heartbeat was made: thousandths of a
/// processor, if they were known by then, and bytes of memory.
fn usage(row: &SessionRow<'_>) -> Option<(Option<u64>, u64)> {
    let told = row.agent?.load.as_ref()?.get("usage")?.get(row.key.id.to_string())?;
    row.session?.running.then_some((told.get(0)?.as_u64(), told.get(1)?.as_u64()?))
}

/// `25% 812m`: of one processor, and memory.
fn load((cpu, memory): (Option<u64>, u64)) -> String {
    let memory = match memory >> 20 {
        0 => "1m".to_owned(),
        mebibytes @ ..1000 => format!("{mebibytes}m"),
        mebibytes @ ..102_400 => {
            format!("{}.{}g", mebibytes >> 10, ((mebibytes & 1023) * 10) >> 10)
        }
        mebibytes => format!("{}g", mebibytes >> 10),
    };
    let cpu = cpu.map_or_else(|| "-".to_owned(), |millis| format!("{}%", millis.div_ceil(10)));
    format!("{cpu:>4} {memory:>5}")
}

fn agent_id(key: &SessionKey) -> &str {
    key.agent.as_ref().map_or("", |id| id.as_str())
}

fn port(row: &SessionRow<'_>) -> (bool, u16) {
    let port = row.session.map_or(0, |session| session.port);
    (port == 0, port)
}

/// Those without one come last.
fn dns<'a>(row: &SessionRow<'a>) -> (bool, &'a str) {
    let name = row.session.map_or("", |session| session.dns_name.as_str());
    (name.is_empty(), name)
}

fn image<'a>(row: &SessionRow<'a>) -> &'a str {
    row.session.map_or("", |session| &session.image)
}

fn memory(row: &SessionRow<'_>) -> u64 {
    row.session.map_or(0, |session| session.memory)
}
