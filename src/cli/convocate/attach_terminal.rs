//! A session's terminal on this one, until the person leaves it.

use crate::base::uuid::Uuid;
use crate::cli::command::Parsed;
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::ROOT;
use crate::exit::Exit;
use crate::fleet::attach::AttachEnd;
use crate::fleet::run::{Runner, Screen};
use crate::fleet::select::Selected;
use crate::rpc::attach::AttachHeader;

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
        AttachEnd::Detached => {
            out.note(&format!("{text}{come_back}"));
            Ok(Exit::Done)
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
            Err(Failure::Exit(Exit::ConnectionLost, format!("{text}{come_back}")))
        }
    }
}
