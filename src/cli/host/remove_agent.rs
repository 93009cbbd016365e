//! `convocate-host remove-agent`: an agent leaves the cluster.

use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::host::flags::{BIN, HOST, USER, programs};
use crate::cli::host::output::{Detail, HostOutput};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::{CHECK, JSON, REQUEST, ROOT, root_paths};
use crate::cli::steps::{RunOptions, take};
use crate::cli::this_host::needs_root;
use crate::cli::turn::turn;
use crate::exit::Exit;
use crate::paths::Paths;
use crate::provision::enrol::leave::{LeavingAgentFacts, agent_side, shell_side};
use crate::provision::run::found;
use crate::provision::workflow::remove_agent::{LeavingAgent, RemoveRequest};

const AGENT: Flag = Flag {
    name: "agent",
    value: Some("A"),
    summary: "who leaves: its id, the start of its id, or its host",
    choices: &[],
};

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

fn remove(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    if parsed.has(&REQUEST) {
        needs_root()?;
        let request: RemoveRequest = read_request()?;
        let options = RunOptions::of_request(request.check);
        let _turn = turn(&Paths::default(), options.mode, out)?;
        take(agent_side(&Paths::default()), &options, out)?;
        return Ok(Exit::Done);
    }
    let Some(agent) = parsed.value(&AGENT) else {
        return Err(Failure::Usage("which agent? give --agent".to_owned()));
    };
    needs_root()?;
    let paths = root_paths(parsed)?;
    let leaving = LeavingAgent::find(&paths, agent)?;
    let (check, is_json) = (parsed.has(&CHECK), parsed.has(&JSON));
    let mut output = HostOutput::new(out, is_json, Detail::Changes);
    let ssh = (parsed.value(&HOST), parsed.value(&USER));
    let mut tell = |host: &str, event| output.tell(host, event);
    leaving.leave_there(ssh, &programs(parsed), check, &mut tell)?;
    let options = RunOptions::new(check, is_json);
    let _turn = turn(&paths, options.mode, out)?;
    let collected = match paths.rsyslog_collector().exists() {
        true => Some((
            found::log_agents(&paths).map_err(Failure::Failed)?,
            found::log_user(&paths).map_err(Failure::Failed)?,
        )),
        false => None,
    };
    let log = paths.agent_logs().join(format!("{}.log", leaving.id));
    let facts = LeavingAgentFacts { paths, id: leaving.id, collected };
    take(shell_side(&facts), &options, out)?;
    if log.exists() {
        out.note(&format!("{} stays", log.display()));
    }
    Ok(Exit::Done)
}
