//! `convocate new`: creates a session on the agent of `--agent`, or on the only one.

use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::convocate::attach_terminal::{self, not_attached, take_screen};
use crate::cli::convocate::session_flags::{
    AGENT, CLAUDE_LOGIN, COMMAND, CPUS, DNS, DOCKER, EGRESS, MEMORY, NEW_NAME, PIDS, PORT, PROTO,
    PUBLISH, SSH_KEY,
};
use crate::cli::convocate::sessions::{
    NO_AGENT, asked_agents, open_fleet, parse_session, print_session,
};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT, read_flag, root_paths};
use crate::exit::Exit;
use crate::fleet::registry::AgentId;
use crate::fleet::run::Runner;
use crate::fleet::select::Selected;
use crate::rpc::call::{Call, Create};
use crate::rpc::values;

const ATTACH: Flag = Flag::switch("attach", "attach the terminal to it at once");

pub(crate) const NEW: Command = Command {
    name: "new",
    summary: "create a session",
    operands: &[NEW_NAME],
    flags: &[
        AGENT,
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
        ATTACH,
        JSON,
        ROOT,
    ],
    help: "\
Creates the session's home; nothing runs until you attach or restart it. --agent may be
left out when there is one agent. Prints the new session's id.

A port is published on 127.0.0.1 of the agent's host and on the address from which that
reaches the shell host, unless --publish names another or all. --egress none gives the
session no network at all, and no port; open is the internet.

Each session has an ssh key of its own for git, which its agent keeps and signs with for
it; show prints the public half. --ssh-key none makes none.

The Claude CLI in it is logged in, if its host has a token or a key for that (convocate-host
init-agent --claude-token FILE). --claude-login no keeps it from this session.
",
    run: new,
};

fn new(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let create = read(parsed)?;
    root_paths(parsed)?;
    // First, so that nothing is created where there is no terminal.
    let screen = parsed.has(&ATTACH).then(take_screen).transpose()?;
    let mut runner = open_fleet(parsed, out)?;
    let agent = chosen_agent(parsed, &runner)?;
    let result = runner.ask(&agent, &Call::Create(create)).map_err(Failure::Failed)?;
    let host = runner.registry().find(agent.as_str()).map_err(Failure::Failed)?.host();
    let selected = Selected { agent, host, session: parse_session(result)? };
    print_session(&selected, parsed.has(&JSON), "created", out)?;
    out.flush()?;
    match screen {
        None => Ok(Exit::Done),
        Some(screen) => attach_terminal::run(parsed, runner, screen, &selected, false, out)
            .map_err(not_attached),
    }
}

fn read(parsed: &Parsed) -> Result<Create, Failure> {
    Ok(Create {
        name: values::name(parsed.required(0)).map_err(Failure::Usage)?,
        port: read_flag(parsed, &PORT, values::port)?.unwrap_or_default(),
        protocol: read_flag(parsed, &PROTO, values::protocol)?.unwrap_or_default(),
        dns_name: read_flag(parsed, &DNS, values::dns_name)?.unwrap_or_default(),
        command: read_flag(parsed, &COMMAND, values::command)?,
        docker: read_flag(parsed, &DOCKER, values::yes_no)?,
        memory: read_flag(parsed, &MEMORY, values::memory)?,
        cpus: read_flag(parsed, &CPUS, values::cpus)?,
        pids: read_flag(parsed, &PIDS, values::pids)?,
        egress: read_flag(parsed, &EGRESS, values::egress)?,
        publish: read_flag(parsed, &PUBLISH, values::publish)?,
        ssh_key: read_flag(parsed, &SSH_KEY, values::ssh_key)?,
        claude_login: read_flag(parsed, &CLAUDE_LOGIN, values::yes_no)?,
    })
}

fn chosen_agent(parsed: &Parsed, runner: &Runner) -> Result<AgentId, Failure> {
    let mut agents = asked_agents(parsed, runner)?;
    match agents.len() {
        0 => Err(Failure::Failed(NO_AGENT.to_owned())),
        1 => Ok(agents.remove(0)),
        _ => {
            let known = runner.registry().agents.iter();
            let lines: Vec<_> = known
                .map(|agent| format!("\n  --{} {} ({})", AGENT.name, agent.id, agent.host()))
                .collect();
            Err(Failure::Usage(format!("there are several agents; choose one:{}", lines.concat())))
        }
    }
}
