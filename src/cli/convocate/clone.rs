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

use serde_json::Value;

pub(crate) const CLONE: Command = Command {
    name: "clone",
    summary: "copy a session's home under a new id and name, on the same agent",
    operands: &[SESSION, NEW_NAME],
    flags: &[AGENT, JSON, ROOT],
    help: "\
The copy is stopped and has no port and no DNS name. Its files belong to a user of its
own. What cannot be read is left out, and its number is said.
",
    run: clone,
};

fn clone(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let name = values::name(parsed.required(1)).map_err(Failure::Usage)?;
    let (source, result) = call_on_session(parsed, out, Care::Usual, |source_id| {
        Call::Clone(CloneSession { source_id, name })
    })?;
    if let Some(count) = result.get("left_out").and_then(Value::as_u64) {
        out.note(&format!(
            "files and directories that could not be read, and are left out: {count}"
        ));
    }
    let copy = Selected { session: parse_session(result)?, ..source };
    print_session(&copy, parsed.has(&JSON), "created", out)?;
    Ok(Exit::Done)
}
