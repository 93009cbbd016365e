//! The first and the last row: what is the case, and what can be done.

use super::super::bindings::{BINDINGS, Binding, Command};
use super::super::cluster::Hub;
use super::super::dialog::Dialog;
use super::super::form::FormStage;
use super::super::grid::{Area, Grid, Style};
use super::super::model::Model;
use super::super::page::Page;
use crate::base::text::cells;
use crate::fleet::listing::SessionState;
use crate::rpc::attention::AttentionState;

/// `convocate  12 sessions: 3 running …  agents 2/3  hub  21:48 UTC`
pub(crate) fn title(grid: &mut Grid, area: Area, model: &Model) {
    grid.fill(area, Style::Title);
    let (_, _, _, hour, minute, _) = model.now.wall.civil();
    let clock = format!("{hour:02}:{minute:02} UTC ");
    let room = Area { cols: area.cols.saturating_sub(cells(&clock) + 1), ..area };
    let words = parts(model, |state| format!(" {}", state.word()), ", ");
    let mut shown = match cells(&words.join(GAP)) <= room.cols {
        true => words,
        false => parts(model, |state| state.sign().to_string(), " "),
    };
    // What has no room is left out whole; the most important stands first.
    while cells(&shown.join(GAP)) > room.cols && shown.len() > 1 {
        shown.pop();
    }
    grid.text(room, &shown.join(GAP), Style::Title);
    grid.text_right(area, &clock, Style::Title);
}

/// What stands between two parts of the title.
const GAP: &str = "  ";

/// All that there is to say, with the states called in one way or another.
fn parts(model: &Model, name: fn(SessionState) -> String, between: &str) -> Vec<String> {
    let parts = [
        " convocate".to_owned(),
        wanting(model),
        sessions(model, name, between),
        agents(model),
        busy(model),
        hub(model),
    ];
    parts.into_iter().filter(|it| !it.is_empty()).collect()
}

fn sessions(model: &Model, name: fn(SessionState) -> String, between: &str) -> String {
    let count: usize = model.counts.values().sum();
    let states: Vec<String> =
        model.counts.iter().map(|(state, count)| format!("{count}{}", name(*state))).collect();
    match count {
        0 => "no sessions".to_owned(),
        1 => format!("1 session: {}", states.join(between)),
        _ => format!("{count} sessions: {}", states.join(between)),
    }
}

/// `3 wait, 2 done`
fn wanting(model: &Model) -> String {
    let count = |state: AttentionState| model.wanting.get(&state.rank()).copied().unwrap_or(0);
    let parts = [(AttentionState::Waiting, "wait"), (AttentionState::Done, "done")];
    let parts = parts.map(|(state, word)| (count(state), word));
    let words = parts.iter().filter(|(count, _)| *count > 0);
    words.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

fn agents(model: &Model) -> String {
    let (here, all) = model.cluster.reachable();
    format!("agents {here}/{all}")
}

fn hub(model: &Model) -> String {
    match &model.cluster.hub {
        Hub::Unknown => String::new(),
        Hub::Found => "hub …".to_owned(),
        Hub::Live => "hub live".to_owned(),
        Hub::Absent(_) => "no hub".to_owned(),
    }
}

fn busy(model: &Model) -> String {
    match model.requests.tasks().count() {
        0 => String::new(),
        count => format!("{count} under way"),
    }
}

/// The keys that mean something now.
pub(crate) fn keys(grid: &mut Grid, area: Area, model: &Model) {
    let fixed: &[(&str, &str)] = match &model.dialog {
        Some(Dialog::Confirm(confirm)) if confirm.proof.is_some() => {
            &[("Enter", "do it"), ("Esc", "leave it as it is")]
        }
        Some(Dialog::Confirm(_) | Dialog::Leave) => &[("Y", "yes"), ("N", "no")],
        Some(Dialog::Form(form)) => match form.stage {
            FormStage::Typing(_) => &[("Enter", "do it"), ("Tab", "next field"), ("Esc", "leave")],
            FormStage::Asking(_) => &[("Esc", "leave it to go on")],
        },
        None if model.is_typing => &[("Enter", "keep"), ("Esc", "take away"), ("↑ ↓", "move")],
        None => &[],
    };
    let entries = match fixed {
        [] => fitting(model, area.cols),
        _ => fixed.to_vec(),
    };
    let mut at = area;
    for (shown, name) in entries {
        let end = grid.text(at, shown, Style::Key);
        let end = grid.text(at.indented(end + 1 - at.col), name, Style::Plain);
        at = at.indented(end + 2 - at.col);
    }
}

/// Those that have room, by their importance, in the order of the table.
fn fitting(model: &Model, width: usize) -> Vec<(&'static str, &'static str)> {
    let leads_on = model.page == Page::Sessions && !wanting(model).is_empty();
    let is_jump = |binding: &Binding| leads_on && binding.command == Command::NextPage;
    // What it is called, and when it goes.
    let shown_as = |binding: &'static Binding| match is_jump(binding) {
        true => (binding.shown, "who waits", Some(1)),
        false => (binding.shown, binding.name, binding.bar),
    };
    let is_shown = |binding: &&Binding| {
        binding.bar.is_some() && binding.is_on(model.page) && model.has(binding.need)
    };
    let mut shown: Vec<_> = BINDINGS.iter().filter(is_shown).map(shown_as).collect();
    let taken = |shown: &[(&str, &str, Option<u8>)]| -> usize {
        shown.iter().map(|(key, name, _)| cells(key) + cells(name) + 3).sum()
    };
    while taken(&shown) > width + 2 {
        let most = shown.iter().filter_map(|(.., goes)| *goes).max();
        let Some(place) = shown.iter().rposition(|(.., goes)| *goes == most) else { break };
        shown.remove(place);
    }
    shown.into_iter().map(|(key, name, _)| (key, name)).collect()
}
