//! `convocate clone`: copies a session's home under a new id and name, on the same agent.

use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{AGENT, NEW_NAME, SESSION};
use crate::cli::convocate::sessions::{choose_session, open_fleet, parse_session, print_session};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::fleet::select::{Care, Selected};
use crate::limits::{CLONE_ANSWER_TIMEOUT, CLONE_TOLD_AFTER};
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
own. What cannot be read is left out, and its number is said. It is waited for, up to an
hour; the copy goes on when this ends.
",
    run: clone,
};

fn clone(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let name = values::name(parsed.required(1)).map_err(Failure::Usage)?;
    let mut runner = open_fleet(parsed, out)?;
    let source = choose_session(parsed, parsed.required(0), &mut runner, Care::Usual)?;
    let call = Call::Clone(CloneSession { source_id: source.session.uuid, name });
    let mut tell = || {
        out.note(&format!(
            "its home is being copied, which is waited for {} minutes at most; it goes on when \
             this ends, too",
            CLONE_ANSWER_TIMEOUT.as_secs() / 60
        ));
    };
    let told = (CLONE_TOLD_AFTER, &mut tell as &mut dyn FnMut());
    let answer = runner.ask_slowly(&source.agent, &call, CLONE_ANSWER_TIMEOUT, told);
    let answer = answer.map_err(Failure::Failed)?;
    let result = answer.map_err(|error| Failure::Failed(error.to_string()))?;
    if let Some(count) = result.get("left_out").and_then(Value::as_u64) {
        out.note(&format!(
            "files and directories that could not be read, and are left out: {count}"
        ));
    }
    let copy = Selected { session: parse_session(result)?, ..source };
    print_session(&copy, parsed.has(&JSON), "created", out)?;
    Ok(Exit::Done)
}
