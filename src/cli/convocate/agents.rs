//! `convocate agents`: the agents, and how they answer.

use std::time::Duration;

use serde_json::{Value, json};

use crate::base::text::{age, printable};
use crate::base::time::Wall;
use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::sessions::{
    NO_AGENT, agent_list, asked_agents, open_fleet, problem_json, reply_timeout,
};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT, root_paths};
use crate::cli::table::{Table, column};
use crate::exit::Exit;
use crate::fleet::listing::AgentSessions;
use crate::fleet::registry::{KnownAgent, Problem};
use crate::fleet::run::Reply;
use crate::limits::CLOCK_TOLERANCE_SECONDS;
use crate::rpc::call::Call;
use crate::rpc::capacity::Capacity;
use crate::rpc::session::{Pong, claude_missing, token_ends};
use crate::status::run::snapshot;
use crate::status::snapshot::{AgentSnapshot, Snapshot};

pub(crate) const AGENTS: Command = Command {
    name: "agents",
    summary: "list the agents and how they answer",
    operands: &[],
    flags: &[JSON, ROOT],
    help: "\
EVENTS says whether an agent's events arrive, and if not, the age of the last one; it
is - where no status hub runs. ANSWER is how long an agent took, or why it did not
answer. convocate does not wait long for an agent that the hub has lost. CLAUDE is what
its sessions log in with and how long ago that was put there; missing means that the Claude
CLI is not on its host. A token lasts a year; 30 days before, agents says so. It also says
when a host's clock is more than 30 s off, and when two hosts have the identity of one
agent. MEMORY and DISK are what is left for sessions, of what the host has; its CPUS are
shared by those that are busy. --json also has what a session may use at most where
nothing was said.
",
    run: agents,
};

fn agents(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let mut runner = open_fleet(parsed, out)?;
    let all = asked_agents(parsed, &runner)?;
    let calls = [Call::List, Call::Ping];
    let hub = snapshot(&root_paths(parsed)?);
    let replies = runner
        .survey(&all, &calls, |id| reply_timeout(hub.as_ref(), id), |_| false)
        .map_err(Failure::Failed)?;
    let lines: Vec<_> = replies.iter().map(|reply| agent_line(reply, hub.as_ref())).collect();
    if parsed.has(&JSON) {
        out.json(&agents_json(&lines, &runner.registry().problems))?;
    } else {
        out.text(&agents_table(&lines, runner.wall(), out.width()))?;
    }
    for line in &lines {
        if let Some(twins) = line.status.as_ref().and_then(|status| status.twins.as_ref()) {
            out.note(&format!(
                "agent {} ({}): {}",
                line.agent.id,
                line.agent.host(),
                printable(twins)
            ));
        }
    }
    for line in lines.iter().filter(|line| line.clock_off_seconds.abs() > CLOCK_TOLERANCE_SECONDS) {
        out.note(&clock_note(&line.agent.host(), line.clock_off_seconds));
    }
    for note in lines.iter().flat_map(|line| claude_notes(line, runner.wall())) {
        out.note(&note);
    }
    if lines.is_empty() {
        out.note(NO_AGENT);
    }
    Ok(Exit::Done)
}

fn agent_line(reply: &Reply, hub: Option<&Snapshot>) -> AgentLine {
    let pong = match &reply.answers[1] {
        Ok(result) => serde_json::from_value::<Pong>(result.clone())
            .map_err(|error| format!("unexpected answer: {error}")),
        Err(error) => Err(error.to_string()),
    };
    let counts = |news: &AgentSessions| {
        let sessions = news.sessions();
        (sessions.len(), sessions.iter().filter(|session| session.running).count())
    };
    let list = agent_list(reply, &reply.answers[0], None);
    let is_fresh = matches!(list.news, AgentSessions::Fresh { .. });
    let told = pong
        .as_ref()
        .map(|pong| clock_off_seconds(pong.server_time, reply.answered_at, reply.took));
    AgentLine {
        clock_off_seconds: told.unwrap_or(0),
        agent: (*reply.agent).clone(),
        pong: pong.map(|pong| (pong, reply.took)),
        sessions: is_fresh.then(|| counts(&list.news)),
        status: hub.and_then(|hub| hub.agent(reply.agent.id.as_str())).cloned(),
    }
}

/// An agent, and what it has answered to a ping, or why it has not.
#[derive(Clone, Debug)]
struct AgentLine {
    agent: KnownAgent,
    /// Its answer with the time that it took, or the sentence.
    pong: Result<(Pong, Duration), String>,
    /// So far its host's clock is ahead of this one's, at least; negative if it is behind.
    clock_off_seconds: i64,
    /// Its sessions, if it has told: all, and those that run.
    sessions: Option<(usize, usize)>,
    /// What the hub knows of its events, if there is one and it knows it.
    status: Option<AgentSnapshot>,
}

/// The agents as a table.
fn agents_table(agents: &[AgentLine], now: Wall, width: Option<usize>) -> String {
    let columns = [
        column("HOST", 0),
        column("ID", 0),
        column("VERSION", 1),
        column("RUNTIME", 3),
        column("SESSIONS", 0),
        column("RUNNING", 2),
        column("MEMORY", 5),
        column("DISK", 5),
        column("CPUS", 5),
        column("CLAUDE", 4),
        column("EVENTS", 0),
        column("ANSWER", 0),
    ];
    let mut table = Table::new(&columns, 11);
    for line in agents {
        let pong = line.pong.as_ref().ok().map(|(pong, _)| pong);
        let count = |pick: fn((usize, usize)) -> usize| {
            line.sessions.map_or_else(|| "-".to_owned(), |counts| pick(counts).to_string())
        };
        table.push([
            line.agent.host(),
            line.agent.id.to_string(),
            pong.map_or_else(|| "-".to_owned(), |pong| pong.version.clone()),
            pong.map_or_else(|| "-".to_owned(), |pong| pong.runtime.clone()),
            count(|(all, _)| all),
            count(|(_, running)| running),
            room(pong, Capacity::memory_in_short),
            room(pong, Capacity::disk_in_short),
            room(pong, Capacity::cpus),
            pong.map_or_else(|| "-".to_owned(), |pong| claude_state(pong, now)),
            line.status.as_ref().map_or_else(|| "-".to_owned(), |news| events_state(news, now)),
            match &line.pong {
                Ok((_, took)) => format!("{:.1} ms", took.as_secs_f64() * 1000.0),
                Err(error) => format!("? {error}"),
            },
        ]);
    }
    table.render(width)
}

/// Something of the room that an agent's host has.
fn room(pong: Option<&Pong>, text: fn(&Capacity) -> String) -> String {
    pong.and_then(|pong| pong.capacity.as_ref()).map_or_else(|| "-".to_owned(), text)
}

/// What an agent's host has of Claude: nothing, no login, or a login of some age.
fn claude_state(pong: &Pong, now: Wall) -> String {
    match (pong.has_claude, pong.claude_login.as_deref(), pong.claude_token_since) {
        (None, ..) => "-".to_owned(),
        (Some(false), ..) => "missing".to_owned(),
        (Some(true), Some("token"), Some(since)) => format!("token {}", age(now.since(since))),
        (Some(true), Some("key"), Some(since)) => format!("key {}", age(now.since(since))),
        (Some(true), ..) => "no login".to_owned(),
    }
}

/// How far a clock is ahead of this host's that showed `told` at some time while an answer took
/// `took` and until it came: what that leaves no doubt of.
fn clock_off_seconds(told: Wall, answered_at: Wall, took: Duration) -> i64 {
    let off = told.seconds() - answered_at.seconds();
    // It was told before the answer came, by as long as that took at most.
    let doubt = i64::try_from(took.as_secs()).unwrap_or(i64::MAX).saturating_add(1);
    match off {
        ahead @ 1.. => ahead,
        behind => behind.saturating_add(doubt).min(0),
    }
}

fn clock_note(host: &str, off: i64) -> String {
    let (by, how) =
        (age(Duration::from_secs(off.unsigned_abs())), if off > 0 { "ahead of" } else { "behind" });
    format!(
        "the clock of {host} is {by} {how} this host's, so times that are told of its sessions \
         are wrong; look on both what is right: timedatectl"
    )
}

/// What the operator is to do for Claude on an agent's host.
fn claude_notes(line: &AgentLine, now: Wall) -> Vec<String> {
    let Ok((pong, _)) = &line.pong else { return Vec::new() };
    let host = line.agent.host();
    let missing = (pong.has_claude == Some(false)).then(|| claude_missing(&host));
    let since = pong.claude_token_since.filter(|_| pong.claude_login.as_deref() == Some("token"));
    let ending = since.and_then(|since| token_ends(since, now)).map(|when| {
        format!(
            "the Claude token on {host} {when}; renew it: convocate-host init-agent --host {host} \
             --claude-token FILE"
        )
    });
    missing.into_iter().chain(ending).collect()
}

/// Whether an agent's events arrive, with the age of the last one where they do not.
fn events_state(news: &AgentSnapshot, now: Wall) -> String {
    match news.last_news() {
        Some(then) if !news.is_connected() => format!("{} {}", news.state, age(now.since(then))),
        _ => news.state.clone(),
    }
}

/// The agents for scripts.
fn agents_json(agents: &[AgentLine], problems: &[Problem]) -> Value {
    let lines: Vec<_> = agents.iter().map(agent_json).collect();
    let problems: Vec<_> = problems.iter().map(problem_json).collect();
    json!({ "agents": lines, "problems": problems })
}

fn agent_json(line: &AgentLine) -> Value {
    let mut value = json!({
        "agent_id": line.agent.id.as_str(),
        "host": line.agent.host(),
        "address": line.agent.address.to_string(),
        "reachable": line.pong.is_ok(),
        "sessions": line.sessions.map(|(all, _)| all),
        "running": line.sessions.map(|(_, running)| running),
    });
    if let Some(news) = &line.status {
        value["events"] = json!({
            "state": news.state, "last_news": news.last_news(), "error": news.error,
            "twins": news.twins,
        });
    }
    match &line.pong {
        Ok((pong, took)) => {
            value["version"] = json!(pong.version);
            value["runtime"] = json!(pong.runtime);
            value["server_time"] = json!(pong.server_time);
            value["clock_off_seconds"] = json!(line.clock_off_seconds);
            value["has_claude"] = json!(pong.has_claude);
            value["claude_login"] = json!(pong.claude_login);
            value["claude_token_since"] = json!(pong.claude_token_since);
            value["capacity"] = json!(pong.capacity);
            value["answer_ms"] = json!(took.as_secs_f64() * 1000.0);
        }
        Err(error) => value["error"] = json!(error),
    }
    value
}
