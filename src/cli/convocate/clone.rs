//! `convocate clone`: copies a session's home under a new id and name, on the same agent.

use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{AGENT, NEW_NAME, SESSION};
use crate::cli::convocate::sessions::{call_on_session, parse_session, print_session};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::fleet::select::{Care, Selected};
use crate::rpc::call::{Call, CloneSession};
use crate::rpc::values;

pub(crate) const CLONE: Command = Command {
    name: "clone",
    summary: "copy a session's home under a new id and name, on the same agent",
    operands: &[SESSION, NEW_NAME],
    flags: &[AGENT, JSON, ROOT],
    help: "The copy is stopped and has no port and no DNS name.\n",
    run: clone,
};

fn clone(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let name = values::name(parsed.required(1)).map_err(Failure::Usage)?;
    let (source, result) = call_on_session(parsed, out, Care::Usual, |source_id| {
        Call::Clone(CloneSession { source_id, name })
    })?;
    let copy = Selected { session: parse_session(result)?, ..source };
    print_session(&copy, parsed.has(&JSON), "created", out)?;
    Ok(Exit::Done)
}
