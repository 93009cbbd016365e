//! `convocate override`: clears the lock that a dead agent has left.

use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSION, SESSION_HELP};
use crate::cli::convocate::sessions::change_session;
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::fleet::select::Care;
use crate::rpc::call::Call;

pub(crate) const OVERRIDE: Command = Command {
    name: "override",
    summary: "clear the lock that a dead agent has left on a session",
    operands: &[SESSION],
    flags: &[AGENT, JSON, ROOT],
    help: SESSION_HELP,
    run,
};

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    change_session(parsed, out, Care::Usual, Call::Override, "cleared the lock of")
}
