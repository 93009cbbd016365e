//! The verbs on one session: `show`, `edit`, `restart`, `background`, `kill`, `override`, `rm`.

use crate::base::uuid::Uuid;
use crate::cli::command::Parsed;
use crate::cli::convocate::session_flags::{
    COMMAND, CPUS, DNS, DOCKER, MEMORY, NAME, PIDS, PORT, PROTO,
};
use crate::cli::convocate::sessions::{chosen, open, read_session, tell_session};
use crate::cli::convocate::views;
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, read_flag};
use crate::exit::Exit;
use crate::fleet::select::{Care, Selected};
use crate::rpc::call::{Call, Edit, Id};
use crate::rpc::values;

/// `show`: every field, as the agent has it now.
pub(crate) fn show(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let mut runner = open(parsed, out)?;
    let found = chosen(parsed, &mut runner, Care::Usual)?;
    let call = Call::Get(Id { id: found.session.uuid });
    let result = runner.ask(&found.agent, &call).map_err(Failure::Failed)?;
    let selected = Selected { session: read_session(result)?, ..found };
    match parsed.has(&JSON) {
        true => out.json(&views::session_json(&selected))?,
        false => out.text(&views::session_fields(&selected, runner.wall()))?,
    }
    Ok(Exit::Done)
}

/// `edit`: what is named changes.
pub(crate) fn edit(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let flags = [&NAME, &PORT, &PROTO, &DNS, &COMMAND, &DOCKER, &MEMORY, &CPUS, &PIDS];
    if !flags.iter().any(|flag| parsed.has(flag)) {
        return Err(Failure::Usage("nothing to change is named".to_owned()));
    }
    let edit = read_edit(parsed)?;
    let mut runner = open(parsed, out)?;
    let found = chosen(parsed, &mut runner, Care::Usual)?;
    let call = Call::Edit(edit(found.session.uuid));
    let result = runner.ask(&found.agent, &call).map_err(Failure::Failed)?;
    let selected = Selected { session: read_session(result)?, ..found };
    tell_session(&selected, parsed.has(&JSON), "changed", out)?;
    if selected.session.running && !parsed.has(&JSON) {
        out.note("it is running and keeps its old settings until it is restarted");
    }
    Ok(Exit::Done)
}

/// Checks all that is to change before anybody is asked; only the id is still open.
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
    Ok(move |id| Edit { id, name, port, protocol, dns_name, command, docker, memory, cpus, pids })
}

/// `restart`: starts it, detached.
pub(crate) fn restart(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    act(parsed, out, Care::Usual, Call::Restart, "started")
}

/// `background`: detaches every terminal.
pub(crate) fn background(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    act(parsed, out, Care::Usual, Call::Background, "detached every terminal of")
}

/// `kill`: stops it.
pub(crate) fn kill(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    act(parsed, out, Care::Usual, Call::Kill, "stopped")
}

/// `override`: clears a stale lock.
pub(crate) fn clear_lock(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    act(parsed, out, Care::Usual, Call::Override, "cleared the lock of")
}

/// `rm`: removes everything of it.
pub(crate) fn remove(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    act(parsed, out, Care::Exact, Call::Delete, "removed")
}

/// An op on one session whose answer says nothing but that it is done.
fn act(
    parsed: &Parsed,
    out: &mut Out<'_>,
    care: Care,
    call: fn(Id) -> Call,
    what: &str,
) -> Result<Exit, Failure> {
    let mut runner = open(parsed, out)?;
    let found = chosen(parsed, &mut runner, care)?;
    let call = call(Id { id: found.session.uuid });
    runner.ask(&found.agent, &call).map_err(Failure::Failed)?;
    match parsed.has(&JSON) {
        true => out.json(&serde_json::json!({
            "done": call.op(), "uuid": found.session.uuid, "name": found.session.name,
            "agent_id": found.agent.as_str(), "agent_host": found.host,
        }))?,
        false => tell_session(&found, false, what, out)?,
    }
    Ok(Exit::Done)
}
