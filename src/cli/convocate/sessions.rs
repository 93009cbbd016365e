//! What the commands of `convocate` do: ask, choose, act, tell.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::cli::command::Parsed;
use crate::cli::convocate::session_flags::AGENT;
use crate::cli::convocate::views;
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::root_paths;
use crate::fleet::listing::{AgentList, News};
use crate::fleet::member::RequestError;
use crate::fleet::registry::AgentId;
use crate::fleet::run::{Reply, Runner};
use crate::fleet::select::{Care, Selected, is_whole_id, select};
use crate::limits::{LOST_AGENT_PATIENCE, SURVEY_TIMEOUT};
use crate::rpc::call::Call;
use crate::rpc::session::Session;
use crate::status::run::snapshot;
use crate::status::snapshot::Snapshot;

/// What to run where there is no agent.
pub(super) const NO_AGENT: &str =
    "no agent is known yet; enrol one with: convocate-host init-agent --host HOST";

/// The fleet that is meant. What is wrong with entries of the registry is told.
pub(super) fn open(parsed: &Parsed, out: &mut Out<'_>) -> Result<Runner, Failure> {
    let runner = Runner::open(&root_paths(parsed)?).map_err(Failure::Failed)?;
    for problem in &runner.registry().problems {
        out.note(&problem.to_string());
    }
    Ok(runner)
}

/// The agents that are to be asked: one, or all.
pub(super) fn scope(parsed: &Parsed, runner: &Runner) -> Result<Vec<AgentId>, Failure> {
    let registry = runner.registry();
    match parsed.value(&AGENT) {
        Some(text) => {
            let agent = registry.find(text).map_err(Failure::Failed)?;
            Ok(vec![agent.id.clone()])
        }
        None => Ok(registry.agents.iter().map(|agent| agent.id.clone()).collect()),
    }
}

/// How long an agent is waited for: not long if the hub says that it is lost, because then what the
/// hub knows is shown.
pub(super) fn patience(hub: Option<&Snapshot>, id: &AgentId) -> Duration {
    if is_lost(hub, id) { LOST_AGENT_PATIENCE } else { SURVEY_TIMEOUT }
}

/// Whether the hub says that an agent is lost.
pub(super) fn is_lost(hub: Option<&Snapshot>, id: &AgentId) -> bool {
    hub.and_then(|hub| hub.agent(id.as_str())).is_some_and(|agent| !agent.is_connected())
}

/// An agent's part of the listing: its answer to `list`, or what the hub knows of it.
pub(super) fn agent_list(
    reply: &Reply,
    answer: &Result<Value, RequestError>,
    hub: Option<&Snapshot>,
) -> AgentList {
    let news = match answer {
        Ok(result) => News::from_result(result.clone()),
        Err(error) => Err(error.to_string()),
    };
    let silent = |error| match hub.and_then(|hub| hub.agent(reply.agent.id.as_str())) {
        None => News::Silent { error, last_news: None, sessions: Vec::new() },
        Some(known) => News::Silent {
            error: known.error.clone().unwrap_or(error),
            last_news: known.heard(),
            sessions: known.sessions.clone(),
        },
    };
    AgentList {
        id: reply.agent.id.clone(),
        host: reply.agent.host(),
        news: news.unwrap_or_else(silent),
    }
}

/// The session that the first operand means. Once it is found, agents that the hub has lost are not
/// waited for.
pub(super) fn chosen(
    parsed: &Parsed,
    runner: &mut Runner,
    care: Care,
) -> Result<Selected, Failure> {
    let agents = scope(parsed, runner)?;
    if agents.is_empty() {
        return Err(Failure::Failed(NO_AGENT.to_owned()));
    }
    let text = parsed.required(0);
    let hub = snapshot(&root_paths(parsed)?);
    let mut expected: BTreeSet<&AgentId> =
        agents.iter().filter(|id| !is_lost(hub.as_ref(), id)).collect();
    let mut is_found = false;
    let has_it = |reply: &Reply| {
        let list = agent_list(reply, &reply.answers[0], None);
        expected.remove(&reply.agent.id);
        is_found |= select(text, &[list], Care::Usual).is_ok();
        is_found && (is_whole_id(text) || expected.is_empty())
    };
    let replies = runner
        .survey(&agents, &[Call::List], |_| SURVEY_TIMEOUT, has_it)
        .map_err(Failure::Failed)?;
    let lists: Vec<_> =
        replies.iter().map(|reply| agent_list(reply, &reply.answers[0], None)).collect();
    select(text, &lists, care).map_err(|error| Failure::Failed(error.to_string()))
}

/// Tells about a session that an agent has just answered with.
pub(super) fn tell_session(
    selected: &Selected,
    is_json: bool,
    what: &str,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    match is_json {
        true => out.json(&views::session_json(selected)),
        false => {
            let Selected { session: Session { name, uuid, .. }, agent, host } = selected;
            out.text(&format!("{what} session {name:?} {uuid} on {host} ({agent})"))
        }
    }
}

/// Reads a session out of a result.
pub(super) fn read_session(result: Value) -> Result<Session, Failure> {
    serde_json::from_value(result)
        .map_err(|error| Failure::Failed(format!("answer not understood: {error}")))
}
