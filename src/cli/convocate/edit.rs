//! `convocate edit`: changes a session's settings.

use crate::base::uuid::Uuid;
use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{
    AGENT, CLAUDE_LOGIN, COMMAND, CPUS, DNS, DOCKER, EGRESS, MEMORY, NAME, PIDS, PORT, PROTO,
    PUBLISH, SESSION, SSH_KEY,
};
use crate::cli::convocate::sessions::{call_on_session, parse_session, print_session};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT, read_flag};
use crate::exit::Exit;
use crate::fleet::select::{Care, Selected};
use crate::rpc::call::{Call, Edit};
use crate::rpc::values;

pub(crate) const EDIT: Command = Command {
    name: "edit",
    summary: "change a session's settings",
    operands: &[SESSION],
    flags: &[
        NAME,
        PORT,
        PROTO,
        PUBLISH,
        DNS,
        EGRESS,
        SSH_KEY,
        CLAUDE_LOGIN,
        COMMAND,
        DOCKER,
        MEMORY,
        CPUS,
        PIDS,
        AGENT,
        JSON,
        ROOT,
    ],
    help: "\
Settings without an option keep their value; --dns '' removes the DNS name. A running
session keeps its old settings until it is restarted; its old key it loses at once.
",
    run: edit,
};

fn edit(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let flags = [&NAME, &PORT, &PROTO, &PUBLISH, &DNS, &EGRESS, &SSH_KEY, &COMMAND, &DOCKER];
    let others = [&CLAUDE_LOGIN, &MEMORY, &CPUS, &PIDS];
    if !flags.iter().chain(&others).any(|flag| parsed.has(flag)) {
        return Err(Failure::Usage("nothing to change is named".to_owned()));
    }
    let edit = read_edit(parsed)?;
    let (found, result) = call_on_session(parsed, out, Care::Usual, |id| Call::Edit(edit(id)))?;
    let selected = Selected { session: parse_session(result)?, ..found };
    print_session(&selected, parsed.has(&JSON), "changed", out)?;
    if selected.session.running && !parsed.has(&JSON) {
        out.note("it is running and keeps its old settings until it is restarted");
    }
    Ok(Exit::Done)
}

/// Checks all values before any agent is asked; only the id is still open.
fn read_edit(parsed: &Parsed) -> Result<impl FnOnce(Uuid) -> Edit, Failure> {
    let name = read_flag(parsed, &NAME, values::name)?;
    let port = read_flag(parsed, &PORT, values::port)?;
    let protocol = read_flag(parsed, &PROTO, values::protocol)?;
    let dns_name = read_flag(parsed, &DNS, values::dns_name)?;
    let command = read_flag(parsed, &COMMAND, values::command)?;
    let docker = read_flag(parsed, &DOCKER, values::yes_no)?;
    let memory = read_flag(parsed, &MEMORY, values::memory)?;
    let cpus = read_flag(parsed, &CPUS, values::cpus)?;
    let pids = read_flag(parsed, &PIDS, values::pids)?;
    let egress = read_flag(parsed, &EGRESS, values::egress)?;
    let publish = read_flag(parsed, &PUBLISH, values::publish)?;
    let ssh_key = read_flag(parsed, &SSH_KEY, values::ssh_key)?;
    let claude_login = read_flag(parsed, &CLAUDE_LOGIN, values::yes_no)?;
    Ok(move |id| Edit {
        id,
        name,
        port,
        protocol,
        dns_name,
        command,
        docker,
        memory,
        cpus,
        pids,
        egress,
        publish,
        ssh_key,
        claude_login,
    })
}
