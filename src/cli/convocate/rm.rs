//! `convocate rm`: stops a session and removes everything of it.

use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSIONS};
use crate::cli::convocate::sessions::{Change, change_sessions};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::fleet::select::Care;
use crate::rpc::call::Call;

pub(crate) const RM: Command = Command {
    name: "rm",
    summary: "stop sessions and remove everything of them; also: delete",
    operands: &[SESSIONS],
    flags: &[AGENT, JSON, ROOT],
    help: "\
Does not ask for confirmation. Each SESSION must be the whole id, or the whole name
when every agent has answered and no other session has it.
",
    run,
};

/// The same under another name.
pub(crate) const DELETE: Command = Command { name: "delete", summary: "", ..RM };

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    change_sessions(
        parsed,
        out,
        &Change { care: Care::Exact, ..Change::new(Call::Delete, "removed") },
    )
}
