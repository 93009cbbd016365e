//! `convocate restart`: starts a session anew, detached.

use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSIONS, SESSIONS_HELP};
use crate::cli::convocate::sessions::{Change, change_sessions};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::rpc::call::Call;

pub(crate) const RESTART: Command = Command {
    name: "restart",
    summary: "stop sessions if they run, and start them, detached",
    operands: &[SESSIONS],
    flags: &[AGENT, JSON, ROOT],
    help: SESSIONS_HELP,
    run,
};

pub(crate) const START: Command = Command {
    name: "start",
    summary: "start stopped sessions, detached",
    run: |parsed, out| change_sessions(parsed, out, &STARTING),
    ..RESTART
};

const STARTING: Change = Change { is_proved: true, ..Change::new(Call::Restart, "started") };

/// One that runs is stopped first.
const RESTARTING: Change = Change { before: Some(Call::Kill), ..STARTING };

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    change_sessions(parsed, out, &RESTARTING)
}
