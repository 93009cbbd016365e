//! `convocate kill`: stops a session and keeps its home.

use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSION, SESSION_HELP};
use crate::cli::convocate::sessions::change_session;
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::fleet::select::Care;
use crate::rpc::call::Call;

pub(crate) const KILL: Command = Command {
    name: "kill",
    summary: "stop a session and keep its home",
    operands: &[SESSION],
    flags: &[AGENT, JSON, ROOT],
    help: SESSION_HELP,
    run,
};

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    change_session(parsed, out, Care::Usual, Call::Kill, "stopped")
}
