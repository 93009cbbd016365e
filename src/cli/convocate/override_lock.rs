//! `convocate override`: clears the lock that a dead agent has left.

use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSIONS, SESSIONS_HELP};
use crate::cli::convocate::sessions::{Change, change_sessions};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::rpc::call::Call;

pub(crate) const OVERRIDE: Command = Command {
    name: "override",
    summary: "clear the lock that a dead agent has left on sessions",
    operands: &[SESSIONS],
    flags: &[AGENT, JSON, ROOT],
    help: SESSIONS_HELP,
    run,
};

const CHANGE: Change = Change {
    idle: |session| (!session.locked).then_some("there was no lock on"),
    ..Change::new(Call::Override, "cleared the lock of")
};

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    change_sessions(parsed, out, &CHANGE)
}
