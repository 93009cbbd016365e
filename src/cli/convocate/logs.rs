//! `convocate logs`: what has happened to a session, as far as it is still known, and its last
//! words.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::sorted_map::SortedMap;
use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::convocate::events::Names;
use crate::cli::convocate::session_flags::{AGENT, SESSION};
use crate::cli::convocate::sessions::{call_on_session, end_in_words, names_json, parse_session};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT, read_flag, root_paths};
use crate::exit::Exit;
use crate::fleet::select::Care;
use crate::io::clock::Clock;
use crate::limits::HUB_PATIENCE;
use crate::paths::Paths;
use crate::rpc::call::{Call, Id};
use crate::rpc::field::shown;
use crate::status::run::Feed;
use crate::status::snapshot::Snapshot;

const LINES: Flag = Flag::value("lines", "N", "only the last so many events");

pub(crate) const LOGS: Command = Command {
    name: "logs",
    summary: "show what has happened to a session, and its last words",
    operands: &[SESSION],
    flags: &[LINES, AGENT, JSON, ROOT],
    help: "\
Prints the session's events that the status hub of this host still has, oldest first: it
keeps the last few thousand of all sessions. Without a hub there are none. Below them
stands how the session ended, with its last screen, if it does not run. What a session
that runs shows is told by `convocate screen`.
",
    run,
};

/// A line of the hub, as far as it is looked at.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    event: Value,
}

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let lines = read_flag(parsed, &LINES, |text| {
        text.parse::<usize>().map_err(|_| format!("{} must be a number", shown(text)))
    })?;
    let (found, result) = call_on_session(parsed, out, Care::Usual, |id| Call::Get(Id { id }))?;
    let session = parse_session(result)?;
    let paths = root_paths(parsed)?;
    let mut names = Names::of_registry(&paths);
    let events = events_of(&paths, &session.uuid.to_string(), &mut names)?;
    if events.is_none() {
        out.note("no status hub runs on this host, so no event is known");
    }
    let events = events.unwrap_or_default();
    let first = lines.map_or(0, |lines| events.len().saturating_sub(lines));
    let ended = session.ended.as_deref().filter(|_| !session.running);
    if parsed.has(&JSON) {
        let mut value = names_json(&found);
        value["events"] = json!(events[first..]);
        value["ended"] = json!(ended);
        out.json(&value)?;
        return Ok(Exit::Done);
    }
    for event in &events[first..] {
        out.text(&names.line(event))?;
    }
    if let Some(ended) = ended {
        out.text(&end_in_words(&found, ended, Clock::new().wall()))?;
    }
    Ok(Exit::Done)
}

/// The events of a session that the hub has; `None` if no hub runs here.
fn events_of(paths: &Paths, id: &str, names: &mut Names) -> Result<Option<Vec<Value>>, Failure> {
    let Some(mut feed) = Feed::open(paths).map_err(Failure::Failed)? else { return Ok(None) };
    let lost = |error: std::io::Error| Failure::Failed(format!("the status hub: {error}"));
    let Some(snapshot) = feed.next_line().map_err(lost)?.and_then(Snapshot::parse_if_any) else {
        return Ok(None);
    };
    names.learn(&snapshot);
    feed.ask_since(0).map_err(lost)?;
    // Whether the last of them is a heartbeat, which is not kept, only silence tells. What happens
    // meanwhile may come before those that were asked for, and comes again behind them.
    feed.wait_at_most(HUB_PATIENCE).map_err(lost)?;
    let mut events: SortedMap<u64, Value> = SortedMap::new();
    let mut has_begun = false;
    while let Ok(Some(line)) = feed.next_line() {
        let Ok(Line { seq, event }) = serde_json::from_slice(line) else { continue };
        names.learn_from(&event);
        if event["session_id"] == *id {
            events.insert(seq, event);
        }
        has_begun |= seq <= snapshot.seq;
        if has_begun && seq >= snapshot.seq {
            break;
        }
    }
    Ok(Some(events.into_values().collect()))
}
