//! `ls` and `agents`.

use crate::cli::command::Parsed;
use crate::cli::convocate::session_flags::AGENT;
use crate::cli::convocate::sessions::{NO_AGENT, agent_list, open, patience, scope};
use crate::cli::convocate::views::{self, AgentLine};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, root_paths};
use crate::exit::Exit;
use crate::fleet::listing::{Listing, News};
use crate::fleet::run::{Reply, local_homes};
use crate::rpc::call::Call;
use crate::rpc::session::Pong;
use crate::status::run::snapshot;
use crate::status::snapshot::Snapshot;

/// `ls`: what all agents have, and who did not answer.
pub(crate) fn sessions(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = root_paths(parsed)?;
    let mut runner = open(parsed, out)?;
    let agents = scope(parsed, &runner)?;
    let hub = snapshot(&paths);
    let replies = runner
        .survey(&agents, &[Call::List], |id| patience(hub.as_ref(), id), |_| false)
        .map_err(Failure::Failed)?;
    let part = |reply: &Reply| agent_list(reply, &reply.answers[0], hub.as_ref());
    let lists: Vec<_> = replies.iter().map(part).collect();
    let is_all = parsed.value(&AGENT).is_none() && runner.registry().problems.is_empty();
    // Without every agent's word there is no telling what is an orphan.
    let local = if is_all { local_homes(&paths) } else { Vec::new() };
    let listing = Listing::merge(&lists, local);
    let now = runner.wall();
    if parsed.has(&JSON) {
        out.json(&views::listing_json(&listing, &runner.registry().problems))?;
    } else {
        out.text(&views::listing_table(&listing, now, out.width()))?;
    }
    out.flush()?;
    for note in &listing.notes {
        out.note(&views::note_line(note, now));
    }
    if lists.is_empty() {
        out.note(NO_AGENT);
        return Ok(Exit::Done);
    }
    let has_fresh = lists.iter().any(|list| matches!(list.news, News::Fresh { .. }));
    Ok(if has_fresh { Exit::Done } else { Exit::Failed })
}

/// `agents`: who is known, and how they answer.
pub(crate) fn agents(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let mut runner = open(parsed, out)?;
    let all = scope(parsed, &runner)?;
    let calls = [Call::List, Call::Ping];
    let hub = snapshot(&root_paths(parsed)?);
    let replies = runner
        .survey(&all, &calls, |id| patience(hub.as_ref(), id), |_| false)
        .map_err(Failure::Failed)?;
    let lines: Vec<_> = replies.iter().map(|reply| agent_line(reply, hub.as_ref())).collect();
    if parsed.has(&JSON) {
        out.json(&views::agents_json(&lines, &runner.registry().problems))?;
    } else {
        out.text(&views::agents_table(&lines, runner.wall(), out.width()))?;
    }
    if lines.is_empty() {
        out.note(NO_AGENT);
    }
    Ok(Exit::Done)
}

fn agent_line(reply: &Reply, hub: Option<&Snapshot>) -> AgentLine {
    let pong = match &reply.answers[1] {
        Ok(result) => serde_json::from_value::<Pong>(result.clone())
            .map_err(|error| format!("answer not understood: {error}")),
        Err(error) => Err(error.to_string()),
    };
    let counts = |news: &News| {
        let sessions = news.sessions();
        (sessions.len(), sessions.iter().filter(|session| session.running).count())
    };
    let list = agent_list(reply, &reply.answers[0], None);
    let is_fresh = matches!(list.news, News::Fresh { .. });
    AgentLine {
        agent: (*reply.agent).clone(),
        pong: pong.map(|pong| (pong, reply.took)),
        sessions: is_fresh.then(|| counts(&list.news)),
        status: hub.and_then(|hub| hub.agent(reply.agent.id.as_str())).cloned(),
    }
}
