//! `convocate exec`: runs a command beside a session's own.

use std::io::IsTerminal;
use std::time::Duration;

use serde_json::json;

use crate::cli::command::{Command, Flag, Operand, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSION, TIMEOUT};
use crate::cli::convocate::sessions::{ask_newer, choose_session, names_json, open_fleet};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT, read_flag};
use crate::exit::Exit;
use crate::fleet::select::Care;
use crate::limits::{EXEC_MARGIN, EXEC_OUTPUT_BYTES_MAX, RPC_ANSWER_TIMEOUT};
use crate::rpc::call::Call;
use crate::rpc::drive::{Exec, ExecCommand, ExecSeconds, Executed};
use crate::rpc::session::Session;
use crate::rpc::values::seconds;

const COMMAND: Operand =
    Operand { name: "COMMAND", is_optional: false, is_many: true, choices: &[] };
pub(super) const RAW: Flag =
    Flag::switch("raw", "show control characters to a terminal as they are");

/// The status of timeout(1).
const STATUS_TIMED_OUT: u8 = 124;

pub(crate) const EXEC: Command = Command {
    name: "exec",
    summary: "run a command in a session, beside what runs there",
    operands: &[SESSION, COMMAND],
    flags: &[TIMEOUT, RAW, AGENT, JSON, ROOT],
    help: "\
Write -- before the command: convocate exec web -- ls -l. It runs in the session's
container, as the session's user, in its home, with nothing on standard input and not
through a shell; sh -c 'a | b' gives one. It is ended after 10 minutes, or --timeout.

When it has ended, prints its standard output and its standard error: the first MiB of
each, and says if there was more. Where they go to a terminal, control characters are
shown as escapes unless --raw is given. The exit status is the command's; 124 if its
time was over, 125 if it could not be run, 127 if there is no such command. --json has
the outputs as text.
",
    run: |parsed, out| {
        run(parsed, out).map_err(|failure| match failure {
            Failure::Failed(text) => Failure::Exit(Exit::NotRun, text),
            other => other,
        })
    },
};

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let usage = |error: crate::rpc::field::FieldError| Failure::Usage(error.to_string());
    let limit = read_flag(parsed, &TIMEOUT, seconds)?.map(ExecSeconds::new).transpose();
    let limit = limit.map_err(usage)?.unwrap_or_default();
    let command = ExecCommand::new(parsed.operands()[1..].to_vec()).map_err(usage)?;
    in_session(parsed, out, limit, |_| Ok(command))
}

/// Runs in the session of the first operand what `command` makes of it, and prints what it says.
pub(super) fn in_session(
    parsed: &Parsed,
    out: &mut Out<'_>,
    limit: ExecSeconds,
    command: impl FnOnce(&Session) -> Result<ExecCommand, Failure>,
) -> Result<Exit, Failure> {
    let mut runner = open_fleet(parsed, out)?;
    let found = choose_session(parsed, parsed.required(0), &mut runner, Care::Usual)?;
    let command = command(&found.session)?;
    let call = Call::Exec(Exec { id: found.session.uuid, command, seconds: limit });
    let patience = Duration::from_secs(limit.get().into()) + EXEC_MARGIN + RPC_ANSWER_TIMEOUT;
    let result = ask_newer(&mut runner, &found, &call, patience)?;
    let executed: Executed = serde_json::from_value(result)
        .map_err(|error| Failure::Failed(format!("unexpected answer: {error}")))?;
    let (output, errors) = executed.outputs().map_err(Failure::Failed)?;
    if parsed.has(&JSON) {
        let mut value = names_json(&found);
        value["exit_status"] = json!(executed.exit_status);
        value["stdout"] = json!(String::from_utf8_lossy(&output));
        value["stderr"] = json!(String::from_utf8_lossy(&errors));
        value["stdout_cut"] = json!(executed.stdout_cut);
        value["stderr_cut"] = json!(executed.stderr_cut);
        value["timed_out"] = json!(executed.timed_out);
        out.json(&value)?;
    } else {
        let is_raw = parsed.has(&RAW);
        out.bytes(&output, is_raw || out.width().is_none())?;
        out.flush()?;
        out.error_bytes(&errors, is_raw || !std::io::stderr().is_terminal());
        for (is_cut, what) in [(executed.stdout_cut, "output"), (executed.stderr_cut, "error")] {
            if is_cut {
                let bytes = EXEC_OUTPUT_BYTES_MAX;
                out.note(&format!("convocate: the standard {what} is cut after {bytes} bytes"));
            }
        }
    }
    if executed.timed_out {
        let text = format!("the command was ended after {} s", limit.get());
        return Err(Failure::Exit(Exit::Status(STATUS_TIMED_OUT), text));
    }
    // An exit status has eight bits.
    Ok(Exit::Status(executed.exit_status.to_le_bytes()[0]))
}
