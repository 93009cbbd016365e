//! A session's terminal on this one, until the person leaves it.

use crate::base::uuid::Uuid;
use crate::cli::command::Parsed;
use crate::cli::convocate::sessions::{end_in_words, how_it_ended};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{ROOT, root_paths};
use crate::exit::Exit;
use crate::fleet::attach::AttachEnd;
use crate::fleet::run::{Runner, Screen};
use crate::fleet::select::Selected;
use crate::rpc::attach::AttachHeader;
use crate::terminal::filter::Clipboard;

/// The variable of the environment that closes the clipboard. The screen passes it on.
const CLIPBOARD: &str = "CONVOCATE_CLIPBOARD";

/// How to attach again after leaving a session.
fn come_back(parsed: &Parsed, id: Uuid) -> String {
    let root = parsed.value(&ROOT).map(|root| format!(" --{} {root}", ROOT.name));
    format!("; come back with: convocate attach {id}{}", root.unwrap_or_default())
}

/// Takes the terminal, before anything else: its signals must be blocked before threads start.
pub(crate) fn take_screen() -> Result<Screen, Failure> {
    Screen::open().map_err(|text| Failure::Exit(Exit::NotAttached, text))
}

/// Makes a failure before the terminal is attached exit with that status.
pub(crate) fn not_attached(failure: Failure) -> Failure {
    match failure {
        Failure::Failed(text) => Failure::Exit(Exit::NotAttached, text),
        other => other,
    }
}

/// Whether sessions may write this terminal's clipboard: unless [`CLIPBOARD`] is `off`.
fn clipboard() -> Clipboard {
    match std::env::var_os(CLIPBOARD).is_some_and(|value| value == "off") {
        true => Clipboard::Closed,
        false => Clipboard::Writable,
    }
}

/// How the session has ended, if that was after `selected` was found, and whether something other
/// than its command or an operator has ended it.
fn last_words(parsed: &Parsed, selected: &Selected) -> Option<(String, bool)> {
    let mut runner = Runner::open(&root_paths(parsed).ok()?).ok()?;
    let ended = how_it_ended(&mut runner, selected)?;
    let before = selected.session.ended.as_ref().map(|before| before.at);
    let is_from_outside = matches!(ended.cause.as_str(), "asked" | "engine");
    let words = || (end_in_words(selected, &ended, runner.wall()), is_from_outside);
    (before != Some(ended.at)).then(words)
}

/// Attaches the session and notes how that ended, with [`come_back`] added where it helps.
pub(crate) fn run(
    parsed: &Parsed,
    runner: Runner,
    screen: Screen,
    selected: &Selected,
    read_only: bool,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    let id = selected.session.uuid;
    let size = screen.size();
    let header = AttachHeader {
        id,
        cols: u32::from(size.cols()),
        rows: u32::from(size.rows()),
        term: std::env::var("TERM").unwrap_or_default(),
        read_only,
        label: format!("{} · {}", selected.session.name, selected.host),
    };
    let end =
        runner.attach(&selected.agent, header, screen, clipboard()).map_err(Failure::Failed)?;
    let name = &selected.session.name;
    let words = match &end {
        AttachEnd::SessionEnded | AttachEnd::Refused(_) => last_words(parsed, selected),
        _ => None,
    };
    let is_from_outside = words.as_ref().is_some_and(|(_, is_from_outside)| *is_from_outside);
    let text = match words {
        Some((how, _)) => format!("session {name:?}: {how}"),
        None => format!("session {name:?}: {end}"),
    };
    match end {
        AttachEnd::Detached => {
            out.note(&format!("{text}{}", come_back(parsed, id)));
            Ok(Exit::Done)
        }
        AttachEnd::SessionEnded if is_from_outside => {
            Err(Failure::Exit(Exit::ConnectionLost, format!("{text}{}", come_back(parsed, id))))
        }
        AttachEnd::SessionEnded => {
            out.note(&text);
            Ok(Exit::Done)
        }
        AttachEnd::Failed(_) => Err(Failure::Exit(Exit::Failed, text)),
        AttachEnd::Refused(_) | AttachEnd::Unreachable(_) | AttachEnd::Silent => {
            Err(Failure::Exit(Exit::NotAttached, text))
        }
        AttachEnd::GivenUp(_) => {
            Err(Failure::Exit(Exit::ConnectionLost, format!("{text}{}", come_back(parsed, id))))
        }
    }
}
