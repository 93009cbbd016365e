//! What the commands on sessions share: which agents are asked, which session an operand means, one
//! call on it, and what is printed of it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::text::{age, printable};
use crate::base::time::Wall;
use crate::base::uuid::Uuid;
use crate::cli::command::Parsed;
use crate::cli::convocate::session_flags::AGENT;
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, root_paths};
use crate::exit::Exit;
use crate::fleet::listing::{AgentList, AgentSessions, SessionState};
use crate::fleet::member::RequestError;
use crate::fleet::registry::{AgentId, Problem};
use crate::fleet::run::{Reply, Runner};
use crate::fleet::select::{Care, Selected, is_whole_id, select};
use crate::limits::{END_ASKS_AFTER, END_ASKS_MAX, LOST_AGENT_PATIENCE, SURVEY_TIMEOUT};
use crate::rpc::call::{Call, Id};
use crate::rpc::session::{Ended, Session};
use crate::status::run::snapshot;
use crate::status::snapshot::Snapshot;

/// What to run where there is no agent.
pub(super) const NO_AGENT: &str =
    "no agent is enrolled yet; run: convocate-host init-agent --host HOST";

/// The fleet of `--root`. Notes what is wrong with entries of the registry.
pub(super) fn open_fleet(parsed: &Parsed, out: &mut Out<'_>) -> Result<Runner, Failure> {
    let runner = Runner::open(&root_paths(parsed)?).map_err(Failure::Failed)?;
    for problem in &runner.registry().problems {
        out.note(&problem.to_string());
    }
    Ok(runner)
}

/// The agents to ask: the one of `--agent`, or all.
pub(super) fn asked_agents(parsed: &Parsed, runner: &Runner) -> Result<Vec<AgentId>, Failure> {
    let registry = runner.registry();
    match parsed.value(&AGENT) {
        Some(text) => {
            let agent = registry.find(text).map_err(Failure::Failed)?;
            Ok(vec![agent.id.clone()])
        }
        None => Ok(registry.agents.iter().map(|agent| agent.id.clone()).collect()),
    }
}

/// How long to wait for an agent: not long if the hub says that it is lost, because then the hub's
/// last state of it is shown.
pub(super) fn reply_timeout(hub: Option<&Snapshot>, id: &AgentId) -> Duration {
    if is_lost(hub, id) { LOST_AGENT_PATIENCE } else { SURVEY_TIMEOUT }
}

fn is_lost(hub: Option<&Snapshot>, id: &AgentId) -> bool {
    hub.and_then(|hub| hub.agent(id.as_str())).is_some_and(|agent| !agent.is_connected())
}

/// An agent's part of the listing: its answer to `list`, or the hub's last state of it.
pub(super) fn agent_list(
    reply: &Reply,
    answer: &Result<Value, RequestError>,
    hub: Option<&Snapshot>,
) -> AgentList {
    let news = match answer {
        Ok(result) => AgentSessions::from_result(result.clone()),
        Err(error) => Err(error.to_string()),
    };
    let silent = |error| match hub.and_then(|hub| hub.agent(reply.agent.id.as_str())) {
        None => AgentSessions::Silent { error, last_news: None, sessions: Vec::new() },
        Some(known) => AgentSessions::Silent {
            error: known.error.clone().unwrap_or(error),
            last_news: known.last_news(),
            sessions: known.sessions.clone(),
        },
    };
    AgentList {
        id: reply.agent.id.clone(),
        host: reply.agent.host(),
        news: news.unwrap_or_else(silent),
    }
}

/// The session that the first operand means. Once it is found, the search does not wait for agents
/// that the hub has lost.
pub(super) fn choose_session(
    parsed: &Parsed,
    runner: &mut Runner,
    care: Care,
) -> Result<Selected, Failure> {
    let agents = asked_agents(parsed, runner)?;
    if agents.is_empty() {
        return Err(Failure::Failed(NO_AGENT.to_owned()));
    }
    let text = parsed.required(0);
    let hub = snapshot(&root_paths(parsed)?);
    let mut expected: BTreeSet<&AgentId> =
        agents.iter().filter(|id| !is_lost(hub.as_ref(), id)).collect();
    let mut is_found = false;
    let is_enough = |reply: &Reply| {
        let list = agent_list(reply, &reply.answers[0], None);
        expected.remove(&reply.agent.id);
        is_found |= select(text, &[list], Care::Usual).is_ok();
        is_found && (is_whole_id(text) || expected.is_empty())
    };
    let replies = runner
        .survey(&agents, &[Call::List], |_| SURVEY_TIMEOUT, is_enough)
        .map_err(Failure::Failed)?;
    let lists: Vec<_> =
        replies.iter().map(|reply| agent_list(reply, &reply.answers[0], None)).collect();
    select(text, &lists, care).map_err(|error| Failure::Failed(error.to_string()))
}

/// Asks the agent of the session that the first operand means. The session as it was found, and
/// the agent's result.
pub(super) fn call_on_session(
    parsed: &Parsed,
    out: &mut Out<'_>,
    care: Care,
    call: impl FnOnce(Uuid) -> Call,
) -> Result<(Selected, Value), Failure> {
    let mut runner = open_fleet(parsed, out)?;
    let found = choose_session(parsed, &mut runner, care)?;
    let result = runner.ask(&found.agent, &call(found.session.uuid)).map_err(Failure::Failed)?;
    Ok((found, result))
}

/// The same for an op whose result has nothing to print; says that it `is_done`.
pub(super) fn change_session(
    parsed: &Parsed,
    out: &mut Out<'_>,
    care: Care,
    call: fn(Id) -> Call,
    is_done: &str,
) -> Result<Exit, Failure> {
    let mut op = "";
    let (found, _) = call_on_session(parsed, out, care, |id| {
        let call = call(Id { id });
        op = call.op();
        call
    })?;
    print_change(parsed, out, &found, op, is_done)
}

/// Prints that an op without a result was done.
pub(super) fn print_change(
    parsed: &Parsed,
    out: &mut Out<'_>,
    found: &Selected,
    op: &str,
    is_done: &str,
) -> Result<Exit, Failure> {
    match parsed.has(&JSON) {
        true => out.json(&json!({
            "done": op, "uuid": found.session.uuid, "name": found.session.name,
            "agent_id": found.agent.as_str(), "agent_host": found.host,
        }))?,
        false => print_session(found, false, is_done, out)?,
    }
    Ok(Exit::Done)
}

/// Prints a session that an agent has just answered with.
pub(super) fn print_session(
    selected: &Selected,
    is_json: bool,
    is_done: &str,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    match is_json {
        true => out.json(&session_json(selected)),
        false => {
            let Selected { session: Session { name, uuid, .. }, agent, host } = selected;
            out.text(&format!("{is_done} session {name:?} {uuid} on {host} ({agent})"))
        }
    }
}

/// The lines behind a session's name that say how it ended, with its last screen.
pub(super) fn end_in_words(found: &Selected, ended: &Ended, now: Wall) -> String {
    let mut text = format!("{} ({} ago)", ended.in_words(), age(now.since(ended.at)));
    // The shell's status for a program that is not there.
    let is_missing = ended.exit_code == Some(127) && ended.cause == "exit";
    if is_missing && found.session.command.split_whitespace().next() == Some("claude") {
        let host = &found.host;
        text.push_str("; claude is not installed on ");
        text.push_str(host);
        text.push_str(": copy it there, to /usr/local/bin/claude, with mode 0755");
    }
    if !ended.screen.is_empty() {
        text.push_str("; its last screen:");
    }
    for line in ended.screen.lines() {
        text.push_str("\n  | ");
        text.push_str(&printable(line));
    }
    text
}

/// Asks how a session has ended. Its agent knows a moment after its terminals do. `None` if it
/// runs, or if nobody can say.
pub(super) fn how_it_ended(runner: &mut Runner, found: &Selected) -> Option<Ended> {
    let call = Call::Get(Id { id: found.session.uuid });
    for _ in 0..END_ASKS_MAX {
        let session = parse_session(runner.ask(&found.agent, &call).ok()?).ok()?;
        if session.running || session.ended.is_some() {
            return session.ended.map(|ended| *ended);
        }
        runner.pause(END_ASKS_AFTER);
    }
    None
}

pub(super) fn parse_session(result: Value) -> Result<Session, Failure> {
    serde_json::from_value(result)
        .map_err(|error| Failure::Failed(format!("unexpected answer: {error}")))
}

/// A session with its agent, for scripts.
pub(super) fn session_json(selected: &Selected) -> Value {
    let mut value = json!(selected.session);
    value["state"] = json!(SessionState::of(&selected.session).sign());
    value["agent_id"] = json!(selected.agent.as_str());
    value["agent_host"] = json!(selected.host);
    value
}

/// What is wrong with an entry of the registry, for scripts.
pub(super) fn problem_json(problem: &Problem) -> Value {
    json!({
        "agent": problem.agent, "path": problem.path.to_string_lossy(), "error": problem.what,
        "repair": problem.repair,
    })
}

/// `8080/tcp`; empty where no port is published.
pub(super) fn published_port(session: &Session) -> String {
    match session.port {
        0 => String::new(),
        port => format!("{port}/{}", session.protocol),
    }
}
