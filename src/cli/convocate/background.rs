//! `convocate background`: detaches every terminal of a session.

use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSIONS, SESSIONS_HELP};
use crate::cli::convocate::sessions::{Change, change_sessions};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::rpc::call::Call;

pub(crate) const BACKGROUND: Command = Command {
    name: "background",
    summary: "detach every terminal of sessions and leave them running",
    operands: &[SESSIONS],
    flags: &[AGENT, JSON, ROOT],
    help: SESSIONS_HELP,
    run,
};

const CHANGE: Change = Change {
    idle: |session| (!session.attached).then_some("no terminal was attached to"),
    ..Change::new(Call::Background, "detached every terminal of")
};

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    change_sessions(parsed, out, &CHANGE)
}
