//! `convocate-host migrate-session`, and its other end, `receive-session`.

use crate::base::uuid::Uuid;
use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::host::flags::{BIN, HOST, USER, programs};
use crate::cli::host::output::{Detail, HostOutput};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::{CHECK, JSON, ROOT, root_paths};
use crate::cli::this_host::needs_root;
use crate::exit::Exit;
use crate::provision::migrate::messages::MigrateRequest;
use crate::provision::workflow::migrate_session::{self, MigrateSession, Migrated};

const AGENT: Flag = Flag {
    name: "agent",
    value: Some("A"),
    summary: "the agent that gets it: its id, the start of its id, or its host",
    choices: &[],
};
const SESSION: Flag = Flag::value("session", "UUID", "which orphan");
const ALL: Flag = Flag::switch("all", "every orphan of this host");

pub(crate) const MIGRATE_SESSION: Command = Command {
    name: "migrate-session",
    summary: "move a session's directory that no agent owns from here to an agent",
    operands: &[],
    flags: &[AGENT, SESSION, ALL, CHECK, JSON, HOST, USER, BIN, ROOT],
    help: "\
To be run as root on the shell host, for what the screen shows as O: a directory
/home/claude/UUID of this host that no agent owns. In this order:

  1. the directory goes to the agent's host over your own ssh, with owners, modes,
     times, links, holes and extended attributes; sockets and devices are left out,
     and named. It lies there where no list shows it
  2. SHA-256 of the whole tree, as it lies on both disks, is compared; only then it
     gets its name there
  3. the agent is started again, which takes it in: sessions run on, and attached
     terminals come back by themselves
  4. only when the agent lists it, the directory here is erased

Interrupted anywhere, one complete copy is there, and the same call goes on. Refused is
a session whose container runs here, one that another agent has, and any while an agent
does not answer: it may be that one's. --host says where ssh reaches the agent's host,
if that is not where the shell host dials it.
",
    run: migrate,
};

pub(crate) const RECEIVE_SESSION: Command = Command {
    name: "receive-session",
    summary: "",
    operands: &[],
    flags: &[],
    help: "How a call of migrate-session runs on the agent's host. It is not for hands.\n",
    run: receive,
};

fn migrate(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let Some(agent) = parsed.value(&AGENT) else {
        return Err(Failure::Usage("to which agent? give --agent".to_owned()));
    };
    let session = match (parsed.value(&SESSION), parsed.has(&ALL)) {
        (Some(text), false) => {
            Some(Uuid::parse(text).map_err(|error| Failure::Usage(error.to_string()))?)
        }
        (None, true) => None,
        _ => {
            return Err(Failure::Usage("which session? give --session UUID or --all".to_owned()));
        }
    };
    needs_root()?;
    let migration = MigrateSession {
        paths: &root_paths(parsed)?,
        agent,
        session,
        host: parsed.value(&HOST),
        user: parsed.value(&USER),
        programs: programs(parsed),
        check: parsed.has(&CHECK),
    };
    let mut output = HostOutput::new(out, parsed.has(&JSON), Detail::Changes);
    let migrated = migration.carry_out(&mut |host, event| output.tell(host, event))?;
    let Migrated { host, count, has_failed } = migrated;
    if !parsed.has(&JSON) && !parsed.has(&CHECK) {
        let noun = if count == 1 { "session is" } else { "sessions are" };
        out.text(&format!("{host}: {count} {noun} there, and not here"))?;
    }
    Ok(if has_failed { Exit::Failed } else { Exit::Done })
}

fn receive(_parsed: &Parsed, _out: &mut Out<'_>) -> Result<Exit, Failure> {
    needs_root()?;
    let wanted: MigrateRequest = read_request()?;
    match migrate_session::receive(&wanted, std::io::stdin().lock(), std::io::stdout()) {
        Ok(true) => Ok(Exit::Done),
        // The report has said why.
        Ok(false) => Err(Failure::Exit(Exit::Failed, String::new())),
        Err(error) => Err(error.into()),
    }
}
