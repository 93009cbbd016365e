//! `convocate rm`: stops a session and removes everything of it.

use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSION};
use crate::cli::convocate::sessions::change_session;
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::fleet::select::Care;
use crate::rpc::call::Call;

pub(crate) const RM: Command = Command {
    name: "rm",
    summary: "stop a session and remove everything of it",
    operands: &[SESSION],
    flags: &[AGENT, JSON, ROOT],
    help: "\
Does not ask for confirmation. SESSION must be the whole id, or the whole name when
every agent has answered and no other session has it.
",
    run,
};

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    change_session(parsed, out, Care::Exact, Call::Delete, "removed")
}
