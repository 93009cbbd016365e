//! `convocate-host remove-agent`: an agent leaves the cluster.
//!
//! ```text
//! agent's host, if it can be reached: nobody drives it -> shell host: nobody knows it
//! ```

use std::sync::mpsc::channel;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::host::output::Report;
use crate::cli::host::remote::{BIN, HOST, USER, operator, program_for};
use crate::cli::host::update::failure_text;
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::{CHECK, JSON, REQUEST, ROOT};
use crate::cli::steps::{RunOptions, take};
use crate::cli::this_host::needs_root;
use crate::exit::Exit;
use crate::fleet::run::load;
use crate::paths::Paths;
use crate::provision::enrol::leave::{Facts, agent_side, shell_side};
use crate::provision::openssh::Target;
use crate::provision::remote::Remote;
use crate::provision::run::found;
use crate::rpc::agent_id::AgentId;

const AGENT: Flag = Flag {
    name: "agent",
    value: Some("A"),
    summary: "who leaves: its id, the start of its id, or its host",
    choices: &[],
};

/// `remove-agent`.
pub(crate) const REMOVE_AGENT: Command = Command {
    name: "remove-agent",
    summary: "take an agent out of the cluster, also one whose host is dead",
    operands: &[],
    flags: &[AGENT, HOST, USER, BIN, CHECK, JSON, ROOT, REQUEST],
    help: "\
To be run as root on the shell host. On the agent's host, over your own ssh:

  1. convocate-agent is stopped and starts no more; its sessions run on, and its homes,
     its id and its keys stay
  2. the key that drives it, the shell host's name and key, the certificate for logs,
     their forwarding, and the firewall's rule for 222/tcp go

Here its line in status_authorized_keys goes, its place among those whose logs are
collected, and /etc/convocate/agent-keys/ID with all keys. The status listener ends its
connections, forgets it and takes its names out of DNS by itself. Its collected logs in
/var/log/convocate-agent stay.

A host that cannot be reached is left as it is, and what was not done there is said:
nothing of it is let in any more. So is a host where another agent is known, too: it
was installed anew, and what is there is the other's. --host says where ssh reaches it.
To bring it back: init-agent. To take everything from its host: uninstall, after this.
",
    run: remove,
};

/// What the agent's host is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    check: bool,
}

fn remove(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    if parsed.has(&REQUEST) {
        needs_root("convocate-host remove-agent")?;
        let request: Request = read_request()?;
        take(agent_side(&Paths::default()), &RunOptions::of_request(request.check), out)?;
        return Ok(Exit::Done);
    }
    let Some(agent) = parsed.value(&AGENT) else {
        return Err(Failure::Usage("which agent? give --agent".to_owned()));
    };
    needs_root("convocate-host remove-agent")?;
    let paths = crate::cli::shared_flags::root_paths(parsed)?;
    let Chosen { id, host: dialled, other } = chosen(&paths, agent)?;
    let check = parsed.has(&CHECK);
    match parsed.value(&HOST).map(str::to_owned).or(dialled) {
        Some(host) if other.is_some() => out.note(&format!(
            "[{host}] agent {} is known there, too: the host is left as it is",
            other.as_ref().map_or("", AgentId::as_str)
        )),
        None => out.note(&format!("nothing is known of the host of {id}: it is left as it is")),
        Some(host) => {
            if let Err(why) = leave_there(parsed, &host, check, out) {
                out.note(&format!(
                    "[{host}] {}; left there: convocate-agent with its shell host's key, the \
                     certificate and forwarding of its logs, the rule for 222/tcp. Nothing of it \
                     is let in here any more; once the host is back, on it: convocate-host \
                     uninstall",
                    failure_text(why)
                ));
            }
        }
    }
    let collected = match paths.rsyslog_collector().exists() {
        true => Some((
            found::log_agents(&paths).map_err(Failure::Failed)?,
            found::log_user(&paths).map_err(Failure::Failed)?,
        )),
        false => None,
    };
    let facts = Facts { paths: paths.clone(), id: id.clone(), collected };
    take(shell_side(&facts), &RunOptions::new(check, parsed.has(&JSON)), out)?;
    let log = paths.agent_logs().join(format!("{id}.log"));
    if log.exists() {
        out.note(&format!("{} stays", log.display()));
    }
    Ok(Exit::Done)
}

#[derive(Debug)]
struct Chosen {
    id: AgentId,
    /// The host, if that is known.
    host: Option<String>,
    /// Another agent of that host: it was installed anew, and what is there is that one's.
    other: Option<AgentId>,
}

/// Who is meant: also an agent whose entry is broken, or gone by a call before.
fn chosen(paths: &Paths, text: &str) -> Result<Chosen, Failure> {
    let registry = load(paths).map_err(Failure::Failed)?;
    match (registry.find(text), AgentId::parse(text)) {
        (Ok(known), _) => {
            let host = known.host();
            let mut others = registry.agents.iter().filter(|it| it.id != known.id);
            let other = others.find(|it| it.host() == host).map(|it| it.id.clone());
            Ok(Chosen { id: known.id.clone(), host: Some(host), other })
        }
        (Err(_), Ok(id)) => Ok(Chosen { id, host: None, other: None }),
        (Err(why), Err(_)) => Err(Failure::Failed(why)),
    }
}

/// What is to be done on the agent's host.
fn leave_there(parsed: &Parsed, host: &str, check: bool, out: &mut Out<'_>) -> Result<(), Failure> {
    let target = Target::new(host, parsed.value(&USER)).map_err(Failure::Failed)?;
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let (remote, probe) = Remote::connect(target, operator()).map_err(|error| failed(&error))?;
    let program = program_for(&probe.machine, "convocate-host", parsed.value(&BIN))?;
    let copy = remote.copy(&program).map_err(|error| failed(&error))?;
    let (sender, said) = channel();
    let mut report = Report::new(host, parsed.has(&JSON), &sender);
    let request = json!(Request { check }).to_string();
    let done = remote.run_on(&copy, "remove-agent --request", &request, &[], |line| {
        report.tell(line) && said.try_iter().try_for_each(|said| said.write(out)).is_ok()
    });
    // A host that is gone keeps a file that only root reads.
    let _removed = remote.clean(&copy);
    let is_done = done.map_err(|error| failed(&error))?;
    if is_done && report.has_ended {
        return Ok(());
    }
    let what = report.failed.unwrap_or_else(|| "it did not come to its end".to_owned());
    Err(Failure::Failed(what))
}
