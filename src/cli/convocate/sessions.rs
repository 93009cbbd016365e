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
use crate::fleet::select::{
    Care, LastKnown, SelectError, Selected, is_whole_id, last_known, means, select,
};
use crate::limits::{
    END_ASKS_AFTER, END_ASKS_MAX, LOST_AGENT_PATIENCE, START_PROOF, SURVEY_TIMEOUT,
};
use crate::rpc::call::{Call, Id, refused_by_older};
use crate::rpc::session::{Ended, Pong, Session, claude_missing, lacks_claude};
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
    named_agents(parsed.value(&AGENT), runner)
}

/// The agent that is named, or all.
pub(super) fn named_agents(named: Option<&str>, runner: &Runner) -> Result<Vec<AgentId>, Failure> {
    let registry = runner.registry();
    match named {
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
            error,
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

/// The session that an operand means. Once it is found, the search does not wait for agents
/// that the hub has lost, or knows not to have it.
pub(super) fn choose_session(
    parsed: &Parsed,
    text: &str,
    runner: &mut Runner,
    care: Care,
) -> Result<Selected, Failure> {
    let agents = asked_agents(parsed, runner)?;
    if agents.is_empty() {
        return Err(Failure::Failed(NO_AGENT.to_owned()));
    }
    let hub = snapshot(&root_paths(parsed)?);
    // An agent of which the hub knows that it has no such session is not waited for, unless there
    // is no way back from what is done.
    let may_have = |id: &AgentId| match hub.as_ref().and_then(|hub| hub.agent(id.as_str())) {
        Some(known) if care == Care::Usual => {
            known.is_connected() && known.sessions.iter().any(|session| means(text, session))
        }
        Some(known) => known.is_connected(),
        None => true,
    };
    let mut expected: BTreeSet<&AgentId> = agents.iter().filter(|id| may_have(id)).collect();
    let mut is_found = false;
    let is_enough = |reply: &Reply| {
        let list = agent_list(reply, &reply.answers[0], None);
        expected.remove(&reply.agent.id);
        is_found |= select(text, &[list], Care::Usual).is_ok();
        let is_settled = is_whole_id(text) && care == Care::Usual;
        is_found && (is_settled || expected.is_empty())
    };
    let replies = runner
        .survey(&agents, &[Call::List], |_| SURVEY_TIMEOUT, is_enough)
        .map_err(Failure::Failed)?;
    let lists: Vec<_> =
        replies.iter().map(|reply| agent_list(reply, &reply.answers[0], None)).collect();
    select(text, &lists, care).map_err(|error| {
        let known = match &error {
            SelectError::NotFound(..) => {
                let list = |reply: &Reply| agent_list(reply, &reply.answers[0], hub.as_ref());
                last_known(text, &replies.iter().map(list).collect::<Vec<_>>())
            }
            _ => None,
        };
        let sentence = known.map(|known| unreachable_in_words(&known, runner.wall()));
        Failure::Failed(sentence.unwrap_or_else(|| error.to_string()))
    })
}

/// Why nothing can be done with a session whose agent does not answer.
fn unreachable_in_words(known: &LastKnown, now: Wall) -> String {
    let LastKnown { session, error, last_news } = known;
    let since = last_news.map_or_else(String::new, |then| {
        let then_in_words = Wall::new(then.seconds(), 0);
        format!(" since {then_in_words} ({} ago)", age(now.since(then)))
    });
    format!(
        "session {:?} is on {}, which is not reachable{since}: {error}; ls shows what is known",
        session.name, session.host
    )
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
    let found = choose_session(parsed, parsed.required(0), &mut runner, care)?;
    let call = call(found.session.uuid);
    let result = ask_with_fields(&mut runner, &found.agent, &found.host, &call)?;
    Ok((found, result))
}

/// Asks an agent for something that may have fields which agents of earlier versions do not know.
pub(super) fn ask_with_fields(
    runner: &mut Runner,
    agent: &AgentId,
    host: &str,
    call: &Call,
) -> Result<Value, Failure> {
    let told = |refusal: String| refused_by_older(&refusal, host).unwrap_or(refusal);
    runner.ask(agent, call).map_err(|refusal| Failure::Failed(told(refusal)))
}

/// What is done to sessions, and what is said of it.
pub(super) struct Change {
    pub(super) care: Care,
    pub(super) call: fn(Id) -> Call,
    /// What must be done before to one that runs.
    pub(super) before: Option<fn(Id) -> Call>,
    pub(super) is_done: &'static str,
    /// Whether one that was started must still run a moment later.
    pub(super) is_proved: bool,
    /// Why there is nothing to do to one, in words that follow its name.
    pub(super) idle: fn(&Session) -> Option<&'static str>,
}

impl Change {
    pub(super) const fn new(call: fn(Id) -> Call, is_done: &'static str) -> Change {
        Change { care: Care::Usual, call, before: None, is_done, is_proved: false, idle: |_| None }
    }
}

/// Does something to every session that the operands mean. What fails is said, and stops no other.
pub(super) fn change_sessions(
    parsed: &Parsed,
    out: &mut Out<'_>,
    change: &Change,
) -> Result<Exit, Failure> {
    for_each_session(parsed, out, &mut |text, runner, out| {
        change_session(parsed, text, runner, out, change)
    })
}

/// What is done to the session that an operand means.
type Act<'a> = dyn FnMut(&str, &mut Runner, &mut Out<'_>) -> Result<(), Failure> + 'a;

/// Does something for every operand. What fails is said, and stops no other.
pub(super) fn for_each_session(
    parsed: &Parsed,
    out: &mut Out<'_>,
    act: &mut Act<'_>,
) -> Result<Exit, Failure> {
    let mut runner = open_fleet(parsed, out)?;
    let [only] = parsed.operands() else {
        let mut exit = Exit::Done;
        for text in parsed.operands() {
            match act(text, &mut runner, out) {
                Err(Failure::Failed(why)) => {
                    out.flush()?;
                    out.note(&why);
                    exit = Exit::Failed;
                }
                done => done?,
            }
        }
        return Ok(exit);
    };
    act(only, &mut runner, out)?;
    Ok(Exit::Done)
}

/// Asks the agent of a session for something that agents of earlier versions do not know.
pub(super) fn ask_newer(
    runner: &mut Runner,
    found: &Selected,
    call: &Call,
    patience: Duration,
) -> Result<Value, Failure> {
    let answer = runner.ask_within(&found.agent, call, patience).map_err(Failure::Failed)?;
    answer.map_err(|error| Failure::Failed(told_older(runner, found, call, &error)))
}

/// Why a call has failed: in the agent's words, or that it does not know the call.
pub(super) fn told_older(
    runner: &mut Runner,
    found: &Selected,
    call: &Call,
    error: &RequestError,
) -> String {
    let pong = match error {
        RequestError::Refused(_) => runner.ask(&found.agent, &Call::Ping).ok(),
        _ => None,
    };
    let pong = pong.and_then(|pong| serde_json::from_value::<Pong>(pong).ok());
    match pong.filter(|pong| pong.ops.iter().all(|op| op != call.op())) {
        None => error.to_string(),
        Some(pong) => format!(
            "the agent on {} has version {}, which has no {}; update it: convocate-host update",
            found.host,
            pong.version,
            call.op()
        ),
    }
}

/// A session by its names, for scripts; what is told of it stands beside.
pub(super) fn names_json(found: &Selected) -> Value {
    json!({
        "uuid": found.session.uuid, "name": found.session.name,
        "agent_id": found.agent.as_str(), "agent_host": found.host,
    })
}

fn change_session(
    parsed: &Parsed,
    text: &str,
    runner: &mut Runner,
    out: &mut Out<'_>,
    change: &Change,
) -> Result<(), Failure> {
    let found = choose_session(parsed, text, runner, change.care)?;
    let session = &found.session;
    let id = || Id { id: session.uuid };
    // One that is locked is refused, whether it runs or not.
    if let Some(before) = change.before.filter(|_| session.running && !session.locked) {
        runner.ask(&found.agent, &before(id())).map_err(Failure::Failed)?;
    }
    let call = (change.call)(id());
    let done = runner.ask(&found.agent, &call);
    done.map_err(|why| Failure::Failed(with_advice(runner, &found, why)))?;
    if change.is_proved {
        runner.pause(START_PROOF);
        if let Some(ended) = how_it_ended(runner, &found) {
            let how = end_in_words(&found, &ended, runner.wall());
            let text = format!("session {:?} was started, and {how}", session.name);
            return Err(Failure::Failed(text));
        }
    }
    let idle = (change.idle)(session);
    match (parsed.has(&JSON), idle) {
        (true, _) => out.json(&json!({
            "done": call.op(), "changed": idle.is_none(), "uuid": session.uuid,
            "name": session.name, "agent_id": found.agent.as_str(), "agent_host": found.host,
        })),
        (false, None) => print_session(&found, false, change.is_done, out),
        (false, Some(why)) => print_session(&found, false, &format!("{why}:"), out),
    }
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
    if ended.cause == "exit" && lacks_claude(&found.session.command, ended.exit_code) {
        text.push_str("; ");
        text.push_str(&claude_missing(&found.host));
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

/// Why a change failed, and what to do if it is that the Claude CLI is not on the session's host.
fn with_advice(runner: &mut Runner, found: &Selected, why: String) -> String {
    let call = Call::Get(Id { id: found.session.uuid });
    let session = runner.ask(&found.agent, &call).ok().and_then(|it| parse_session(it).ok());
    match session.is_some_and(|session| session.lacks_claude()) {
        true => format!("{why}; {}", claude_missing(&found.host)),
        false => why,
    }
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

/// A session as scripts get it: what it starts with stands beside its other fields, as in its
/// agent's record.
pub(super) fn told_json(session: &Session) -> Value {
    let mut value = json!(session);
    if let Value::Object(fields) = &mut value
        && let Some(Value::Object(startup)) = fields.remove("startup")
    {
        // The image that it runs is not always the one that was chosen.
        fields.extend(startup.into_iter().filter(|(name, _)| name != "image"));
    }
    value
}

/// A session with its agent, for scripts.
pub(super) fn session_json(selected: &Selected) -> Value {
    let mut value = told_json(&selected.session);
    let state = SessionState::of(&selected.session);
    value["state"] = json!(state.sign());
    value["state_name"] = json!(state.word());
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
