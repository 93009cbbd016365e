//! `convocate new`: creates a session on the agent of `--agent`, or on the only one.

use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::convocate::attach_terminal::{self, not_attached, take_screen};
use crate::cli::convocate::new_options::{chosen_profile, said};
use crate::cli::convocate::session_flags::{
    AGENT, ALLOW, BRANCH, CLAUDE_LOGIN, COMMAND, CPUS, DENY, DNS, DOCKER, EGRESS, ENV, IMAGE,
    MEMORY, NEW_NAME, PIDS, PORT, PROFILE, PROMPT, PROTO, PUBLISH, REPO, SETUP, SSH_KEY,
};
use crate::cli::convocate::sessions::{
    NO_AGENT, ask_with_fields, named_agents, open_fleet, parse_session, print_session,
};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT, root_paths};
use crate::exit::Exit;
use crate::fleet::listing::AgentSessions;
use crate::fleet::profiles::merged;
use crate::fleet::registry::AgentId;
use crate::fleet::run::Runner;
use crate::fleet::select::Selected;
use crate::rpc::call::Call;
use crate::rpc::session::Session;
use crate::rpc::values;
use crate::status::run::snapshot;

const ATTACH: Flag = Flag::switch("attach", "attach the terminal to it at once");

pub(crate) const NEW: Command = Command {
    name: "new",
    summary: "create a session",
    operands: &[NEW_NAME],
    flags: &[
        PROFILE,
        AGENT,
        REPO,
        BRANCH,
        SETUP,
        PROMPT,
        COMMAND,
        ENV,
        PORT,
        PROTO,
        PUBLISH,
        DNS,
        EGRESS,
        ALLOW,
        DENY,
        SSH_KEY,
        CLAUDE_LOGIN,
        DOCKER,
        IMAGE,
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

What no option says, the profile of --profile says, or the one called default; see
`convocate profiles`. An empty value, as in --prompt '', says that there is none.

At its first start the session clones --repo into its home with its own git key, runs
--setup there, and hands --prompt to the command. If that fails, you find the reason and
a shell, and a restart tries again. The command always starts in the repository. --env
may be given more than once; show prints the values.

A port is published on 127.0.0.1 of the agent's host and on the address from which that
reaches the shell host, unless --publish names another or all. --egress none gives the
session no network at all, and no port; open is the internet.

With --egress list it reaches the names of --allow and nothing else, by the proxy that its
environment names: example.org, *.example.org, example.org:8443, or a set of names: claude,
crates, debian, github, npm, pypi, ubuntu. A name without a port is for 443 and 80. --deny
takes a name out again. Its port can be a tcp one only. See `convocate egress`, and edit
for changes while it runs.

Each session has an ssh key of its own for git, which its agent keeps and signs with for
it; show prints the public half. --ssh-key none makes none.

The Claude CLI in it is logged in, if its host has a token or a key for that (convocate-host
init-agent --claude-token FILE). --claude-login no keeps it from this session.
",
    run: new,
};

fn new(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let name = values::name(parsed.required(0)).map_err(Failure::Usage)?;
    let said = said(parsed)?;
    let profile = chosen_profile(parsed.value(&PROFILE), &root_paths(parsed)?)?;
    let options = merged(said, profile.as_ref()).map_err(Failure::Failed)?;
    let create = options.create(name, profile.map(|it| it.name)).map_err(Failure::Failed)?;
    // First, so that nothing is created where there is no terminal.
    let screen = parsed.has(&ATTACH).then(take_screen).transpose()?;
    let mut runner = open_fleet(parsed, out)?;
    let agent = chosen_agent(options.get(AGENT.name).as_deref(), &runner)?;
    let host = runner.registry().find(agent.as_str()).map_err(Failure::Failed)?.host();
    let result = ask_with_fields(&mut runner, &agent, &host, &Call::Create(Box::new(create)))?;
    let selected = Selected { agent, host, session: parse_session(result)? };
    print_session(&selected, parsed.has(&JSON), "created", out)?;
    out.flush()?;
    if let Some(other) = same_name(parsed, &mut runner, &selected) {
        out.note(&other);
    }
    match screen {
        None => Ok(Exit::Done),
        Some(screen) => attach_terminal::run(parsed, runner, screen, &selected, false, out)
            .map_err(not_attached),
    }
}

/// Says that another session has the name, as far as its own agent and the hub know.
fn same_name(parsed: &Parsed, runner: &mut Runner, made: &Selected) -> Option<String> {
    let Session { name, uuid, .. } = &made.session;
    let is_other = |other: &&Session| other.name == *name && other.uuid != *uuid;
    let list = runner.ask(&made.agent, &Call::List).ok();
    let list = list.and_then(|list| AgentSessions::from_result(list).ok());
    let here = list.as_ref().and_then(|list| list.sessions().iter().find(is_other));
    let hub = snapshot(&root_paths(parsed).ok()?);
    let away =
        hub.as_ref().and_then(|hub| hub.agents.iter().flat_map(|it| &it.sessions).find(is_other));
    let id = here.or(away)?.uuid;
    Some(format!(
        "session {id} is called {name:?}, too: commands take the one or the other by its id, or by \
         the start of it"
    ))
}

fn chosen_agent(named: Option<&str>, runner: &Runner) -> Result<AgentId, Failure> {
    let mut agents = named_agents(named, runner)?;
    match agents.len() {
        0 => Err(Failure::Failed(NO_AGENT.to_owned())),
        1 => Ok(agents.remove(0)),
        _ => {
            let known = runner.registry().agents.iter();
            let lines: Vec<_> = known
                .map(|agent| format!("\n  --{} {} ({})", AGENT.name, agent.host(), agent.id))
                .collect();
            Err(Failure::Usage(format!("there are several agents; choose one:{}", lines.concat())))
        }
    }
}
