//! `convocate background`: detaches every terminal of a session.

use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSION, SESSION_HELP};
use crate::cli::convocate::sessions::change_session;
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::fleet::select::Care;
use crate::rpc::call::Call;

pub(crate) const BACKGROUND: Command = Command {
    name: "background",
    summary: "detach every terminal of a session and leave it running",
    operands: &[SESSION],
    flags: &[AGENT, JSON, ROOT],
    help: SESSION_HELP,
    run,
};

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    change_session(parsed, out, Care::Usual, Call::Background, "detached every terminal of")
}
