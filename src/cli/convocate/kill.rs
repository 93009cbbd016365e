//! `convocate kill`: stops a session and keeps its home.

use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSIONS, SESSIONS_HELP};
use crate::cli::convocate::sessions::{Change, change_sessions};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::rpc::call::Call;

pub(crate) const KILL: Command = Command {
    name: "kill",
    summary: "stop sessions and keep their homes; also: stop",
    operands: &[SESSIONS],
    flags: &[AGENT, JSON, ROOT],
    help: SESSIONS_HELP,
    run,
};

/// The same under another name.
pub(crate) const STOP: Command = Command { name: "stop", summary: "", ..KILL };

const CHANGE: Change = Change {
    idle: |session| (!session.running).then_some("nothing ran in"),
    ..Change::new(Call::Kill, "stopped")
};

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    change_sessions(parsed, out, &CHANGE)
}
