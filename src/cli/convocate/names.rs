//! `convocate names`: what a shell completes an operand or `--agent` with, one name a line.
//!
//! A name with blanks would be several words to a shell, so the start of the session's id stands
//! for it. The status hub knows all names at once; without it the agents are asked, and not for
//! long: somebody waits for a completion.

use crate::base::text::printable;
use crate::cli::command::{Command, Operand, Parsed};
use crate::cli::convocate::sessions::agent_list;
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{ROOT, root_paths};
use crate::exit::Exit;
use crate::fleet::run::Runner;
use crate::limits::NAMES_PATIENCE;
use crate::rpc::call::Call;
use crate::rpc::session::Session;
use crate::status::run::snapshot;

const KINDS: [&str; 2] = ["sessions", "agents"];
const KIND: Operand = Operand { name: "KIND", is_optional: false, is_many: false, choices: &KINDS };

pub(crate) const NAMES: Command = Command {
    name: "names",
    summary: "",
    operands: &[KIND],
    flags: &[ROOT],
    help: "\
Prints names of sessions or agents for the completions of shells, one a line.
",
    run,
};

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = root_paths(parsed)?;
    let mut runner = Runner::open(&paths).map_err(Failure::Failed)?;
    let agents = &runner.registry().agents;
    let names: Vec<String> = match parsed.required(0) {
        "agents" => agents.iter().map(|agent| agent.host()).collect(),
        "sessions" => match snapshot(&paths) {
            Some(hub) => hub.agents.iter().flat_map(|agent| &agent.sessions).map(word).collect(),
            None => {
                let ids: Vec<_> = agents.iter().map(|agent| agent.id.clone()).collect();
                let replies = runner
                    .survey(&ids, &[Call::List], |_| NAMES_PATIENCE, |_| false)
                    .map_err(Failure::Failed)?;
                let lists = replies.iter().map(|reply| agent_list(reply, &reply.answers[0], None));
                lists
                    .flat_map(|list| list.news.sessions().iter().map(word).collect::<Vec<_>>())
                    .collect()
            }
        },
        other => return Err(Failure::Usage(format!("{other:?} is none of {}", KINDS.join(", ")))),
    };
    for name in names {
        out.text(&name)?;
    }
    Ok(Exit::Done)
}

/// The session in one word of a shell.
fn word(session: &Session) -> String {
    let name = &session.name;
    let is_word = |sign: char| sign.is_alphanumeric() || "_-.".contains(sign);
    match !name.is_empty() && name.chars().all(is_word) && !name.starts_with('-') {
        true => printable(name).into_owned(),
        false => session.uuid.short(),
    }
}
