//! `attach`: this terminal, a session.

use crate::base::uuid::Uuid;
use crate::cli::command::{Parsed, ROOT};
use crate::cli::convocate::READ_ONLY;
use crate::cli::out::{Failure, Out};
use crate::cli::verbs::{chosen, open};
use crate::exit::Exit;
use crate::fleet::attach::End;
use crate::fleet::run::{Runner, Screen};
use crate::fleet::select::{Care, Selected};
use crate::rpc::attach::AttachHeader;

/// Attaches, and comes back when the person has left or there is nothing to come back to.
pub(crate) fn attach(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let screen = take_screen()?;
    let mut runner = open(parsed, out).map_err(could_not)?;
    let found = chosen(parsed, &mut runner, Care::Usual).map_err(could_not)?;
    let come_back = come_back(parsed, found.session.uuid);
    run(runner, screen, &found, parsed.has(&READ_ONLY), &come_back, out).map_err(could_not)
}

/// How the person who has left a session is back in it.
pub(crate) fn come_back(parsed: &Parsed, id: Uuid) -> String {
    let root = parsed.value(&ROOT).map(|root| format!(" --{} {root}", ROOT.name));
    format!("; come back with: convocate attach {id}{}", root.unwrap_or_default())
}

/// The person's terminal. Taken before anything else, because its signals must be.
pub(crate) fn take_screen() -> Result<Screen, Failure> {
    Screen::open().map_err(|text| Failure::Exit(Exit::NotAttached, text))
}

/// Whatever fails on the way to a terminal means that there was none.
pub(crate) fn could_not(failure: Failure) -> Failure {
    match failure {
        Failure::Failed(text) => Failure::Exit(Exit::NotAttached, text),
        other => other,
    }
}

/// Gives the session's terminal to the screen and says how it ended; where one can come back, with
/// `come_back` behind it.
pub(crate) fn run(
    runner: Runner,
    screen: Screen,
    selected: &Selected,
    read_only: bool,
    come_back: &str,
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
    };
    let end = runner.attach(&selected.agent, header, screen).map_err(Failure::Failed)?;
    let text = format!("session {:?}: {end}", selected.session.name);
    match end {
        End::Detached => {
            out.note(&format!("{text}{come_back}"));
            Ok(Exit::Done)
        }
        End::SessionEnded => {
            out.note(&text);
            Ok(Exit::Done)
        }
        End::Failed(_) => Err(Failure::Exit(Exit::Failed, text)),
        End::Refused(_) | End::Unreachable(_) | End::Silent => {
            Err(Failure::Exit(Exit::NotAttached, text))
        }
        End::GivenUp(_) => Err(Failure::Exit(Exit::ConnectionLost, format!("{text}{come_back}"))),
    }
}
