//! The columns of the sessions' table, one entry for each: title, widths, text, order.
//!
//! To add one, add an entry to [`COLUMNS`] at its place from left to right; drawing and sorting
//! follow. A new `goes` decides when it makes room. Then draw `tests/tui/screens` anew
//! (`CONVOCATE_DRAW=1 cargo test --test tui`) and read the difference.

use std::cmp::Ordering;

use super::grid::Style;
use super::ops::Task;
use super::row::{SessionKey, SessionRow};
use crate::base::text::{age, cells, printable};
use crate::base::time::{Now, Wall};
use crate::fleet::listing::{SessionState, attention_order};
use crate::limits::{FILTER_ID_CHARS_MIN, TASK_PATIENCE};
use crate::rpc::attention::{Attention, AttentionState};
use crate::rpc::capacity::short;
use crate::rpc::repository::Repository;
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
    /// Whether a filter looks at it while it is shown.
    pub(crate) is_searched: bool,
    /// Whether the greatest value stands first, until the order is inverted.
    pub(crate) falls: bool,
    /// The order that one expects when sorting by it.
    pub(crate) order: fn(&SessionRow<'_>, &SessionRow<'_>) -> Ordering,
}

/// All of them, from left to right.
pub(crate) static COLUMNS: &[Column] = &[
    Column {
        title: "S",
        cells: (5, 6),
        goes: 0,
        is_searched: false,
        falls: false,
        text: |row, now| match row.last_news() {
            Some(then) => format!("{} {}", row.state.sign(), age(now.wall.since(then))),
            None => row.state.signs(row.session),
        },
        style: |row, _| state_style(row.state),
        order: |one, other| one.state.cmp(&other.state),
    },
    Column {
        title: "NAME",
        cells: (20, 64),
        goes: 0,
        is_searched: false,
        falls: false,
        text: |row, now| match row.task {
            Some(task) => format!("{} · {}", doing(task, now), row.name()),
            None => row.name().to_owned(),
        },
        style: |row, now| match row.task {
            Some(task) if is_late(task, now) => Style::Warn,
            Some(_) => Style::Busy,
            None if row.session.is_some_and(|session| session.broken.is_some()) => Style::Bad,
            None if row.runs() => Style::Strong,
            None => Style::Plain,
        },
        order: |one, other| one.name().cmp(other.name()),
    },
    Column {
        title: "ATTENTION",
        cells: (28, 40),
        goes: 0,
        is_searched: true,
        falls: false,
        text: |row, now| attention(row).map_or_else(String::new, |it| attention_text(it, now)),
        style: |row, _| attention(row).map_or(Style::Plain, |it| attention_style(it.state)),
        order: |one, other| order_by_attention(one).cmp(&order_by_attention(other)),
    },
    Column {
        title: "BRANCH",
        cells: (14, 32),
        goes: 3,
        is_searched: true,
        falls: false,
        text: |row, _| branch(row).map_or_else(String::new, Repository::in_short),
        style: |row, _| match branch(row) {
            Some(seen) if seen.ahead + seen.dirty > 0 => Style::Plain,
            _ => Style::Dim,
        },
        order: |one, other| order_by_branch(one).cmp(&order_by_branch(other)),
    },
    Column {
        title: "ID",
        cells: (8, 8),
        goes: 3,
        is_searched: false,
        falls: false,
        text: |row, _| row.key.id.short(),
        style: |_, _| Style::Dim,
        order: |one, other| one.key.id.cmp(&other.key.id),
    },
    Column {
        title: "AGENT",
        cells: (12, 28),
        goes: 0,
        is_searched: true,
        falls: false,
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
        is_searched: true,
        falls: false,
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
        is_searched: true,
        falls: false,
        text: |row, _| row.session.map_or_else(String::new, |session| session.dns_name.clone()),
        style: |_, _| Style::Plain,
        order: |one, other| dns(one).cmp(&dns(other)),
    },
    Column {
        title: "IMAGE",
        cells: (16, 32),
        goes: 4,
        is_searched: true,
        falls: false,
        text: |row, _| row.session.map_or_else(String::new, |session| session.image.clone()),
        style: |_, _| Style::Dim,
        order: |one, other| image(one).cmp(image(other)),
    },
    Column {
        title: "CAPS",
        cells: (10, 12),
        goes: 5,
        is_searched: false,
        falls: true,
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
        is_searched: false,
        falls: true,
        text: |row, _| usage(row).map_or_else(String::new, load),
        style: |_, _| Style::Plain,
        order: |one, other| usage(other).cmp(&usage(one)),
    },
    Column {
        title: "ACCESS",
        cells: (6, 6),
        goes: 0,
        is_searched: false,
        falls: false,
        text: |row, now| coarse_age(row.last_accessed, now.wall),
        style: |_, _| Style::Plain,
        order: |one, other| other.last_accessed.cmp(&one.last_accessed),
    },
];

/// The column that the table is sorted by until somebody says otherwise: the newest access first.
pub(crate) const ACCESS: usize = COLUMNS.len() - 1;

/// The column of names.
const NAME: usize = 1;

/// The column of what programs want of a person, which is there if one of them tells it.
pub(crate) const ATTENTION: usize = 2;

/// The column of repositories, which is there if a session has one.
const BRANCH: usize = 3;

/// Cells between two columns.
const GAP: usize = 1;

/// A screen that is narrower shows the state and no reason.
const WIDTH_FOR_REASONS: usize = 80;
const ATTENTION_CELLS_MIN: usize = 11;
/// How many cells a name has before other columns stand beside it.
const NAME_CELLS_FAIR: usize = 40;
/// Columns that go later than this one do not make room for a name.
const GOES_FOR_NAMES: u8 = 2;

/// How many cells each column's longest text takes.
pub(crate) type Needs = [usize; COLUMNS.len()];

/// What these rows need. What changes by itself, as an age, has its room anyway.
pub(crate) fn needs(rows: &[SessionRow<'_>], now: Now) -> Needs {
    std::array::from_fn(|at| {
        let Column { title, text, cells: (least, most), .. } = &COLUMNS[at];
        let widths = rows.iter().map(|row| cells(&printable(&text(row, now))));
        let widest = widths.fold(0, usize::max);
        if matches!(at, ATTENTION | BRANCH) && widest == 0 {
            return 0;
        }
        // A column without text is as wide as its title and the sign of the order.
        let least =
            if widest == 0 || at == ATTENTION { (cells(title) + 1).min(*least) } else { *least };
        widest.clamp(least, *most)
    })
}

/// Which columns have room in so many cells, and how wide each is.
pub(crate) fn fit(width: usize, needs: &Needs) -> Vec<(&'static Column, usize)> {
    let mut shown: Vec<usize> = (0..COLUMNS.len()).collect();
    shown.retain(|at| !matches!(*at, ATTENTION | BRANCH) || needs[*at] > 0);
    let least = |at: &usize, name: usize| match *at {
        NAME => name,
        ATTENTION if width < WIDTH_FOR_REASONS => needs[ATTENTION].min(ATTENTION_CELLS_MIN),
        at => COLUMNS[at].cells.0.min(needs[at]),
    };
    let total = |shown: &[usize], name| shown.iter().map(|at| least(at, name) + GAP).sum::<usize>();
    let fair = needs[NAME].min(NAME_CELLS_FAIR);
    for (name, spares) in [(fair, GOES_FOR_NAMES), (COLUMNS[NAME].cells.0, 0)] {
        while total(&shown, name) > width + GAP {
            match shown.iter().map(|at| COLUMNS[*at].goes).max().filter(|goes| *goes > spares) {
                Some(goes) => shown.retain(|at| COLUMNS[*at].goes != goes),
                None => break,
            }
        }
    }
    let name = match total(&shown, fair) > width + GAP {
        true => COLUMNS[NAME].cells.0,
        false => fair,
    };
    let mut left = (width + GAP).saturating_sub(total(&shown, name));
    let mut widths: Vec<usize> = shown.iter().map(|at| least(at, name)).collect();
    // What is asked first, then names, then the others from the left; a name takes what nobody
    // needs.
    let name = shown.iter().position(|at| *at == NAME).unwrap_or(0);
    let rest = (0..shown.len()).filter(|place| *place != name);
    let wanted = |place: usize| needs[shown[place]];
    let last = (name, COLUMNS[NAME].cells.1);
    let asked = shown.iter().position(|at| *at == ATTENTION);
    let all = asked.into_iter().chain([name]).chain(rest).map(|place| (place, wanted(place)));
    for (place, most) in all.chain([last]) {
        let more = most.saturating_sub(widths[place]).min(left);
        left -= more;
        widths[place] += more;
    }
    shown.into_iter().map(|at| &COLUMNS[at]).zip(widths).collect()
}

/// Whether a row is one that a filter of these words in lower case shows: each stands in its name,
/// its state or a column that is shown, or is the start of its id.
pub(crate) fn is_found(
    row: &SessionRow<'_>,
    words: &[String],
    shown: &[&Column],
    now: Now,
) -> bool {
    if words.is_empty() {
        return true;
    }
    let mut text = format!("{} {}", row.name(), row.state.word());
    for column in shown.iter().filter(|column| column.is_searched) {
        text.push(' ');
        text.push_str(&(column.text)(row, now));
    }
    let (text, id) = (text.to_lowercase(), row.key.id.to_string());
    let is_id = |word: &str| word.len() >= FILTER_ID_CHARS_MIN && id.starts_with(word);
    // The page of agents filters by an agent's whole id.
    let agent = row.key.agent.as_ref().map_or("", |id| id.as_str());
    words.iter().all(|word| text.contains(word) || is_id(word) || word == agent)
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

/// What a session's program wants of a person, if that is known now.
pub(crate) fn attention<'a>(row: &SessionRow<'a>) -> Option<&'a Attention> {
    row.session.filter(|_| row.state != SessionState::Unknown)?.attention.as_deref()
}

/// What its repository is like, as far as it was looked at.
fn branch<'a>(row: &SessionRow<'a>) -> Option<&'a Repository> {
    row.session?.repository.as_deref()
}

/// Those without one come last.
fn order_by_branch<'a>(row: &SessionRow<'a>) -> (bool, &'a str) {
    let branch = branch(row);
    (branch.is_none(), branch.map_or("", |seen| &seen.branch))
}

/// `waiting 5m permission prompt`
fn attention_text(attention: &Attention, now: Now) -> String {
    let Attention { state, reason, since, .. } = attention;
    let text = format!("{} {} {reason}", state.as_str(), coarse_age(*since, now.wall));
    text.trim_end().to_owned()
}

const fn attention_style(state: AttentionState) -> Style {
    match state {
        AttentionState::Waiting => Style::Warn,
        AttentionState::Done => Style::Good,
        AttentionState::Unknown => Style::Bad,
        AttentionState::Working => Style::Busy,
        AttentionState::Idle => Style::Dim,
    }
}

/// Who waits first, and of those whoever has waited longest.
fn order_by_attention(row: &SessionRow<'_>) -> (usize, Wall) {
    let session = row.session.filter(|_| attention(row).is_some());
    session.map_or((usize::MAX, Wall::default()), attention_order)
}

/// An age that does not change every second, so that a quiet screen is quiet.
pub(crate) fn coarse_age(then: Wall, now: Wall) -> String {
    let span = now.since(then);
    if span.as_secs() < 60 { "now".to_owned() } else { age(span) }
}

/// Processors and memory that a session may use; empty if its agent did not say.
pub(crate) fn caps(cpus: f64, memory: u64) -> String {
    let memory = size(memory);
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
    let memory = short(memory.max(1 << 20));
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
