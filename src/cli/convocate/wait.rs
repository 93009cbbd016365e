//! `convocate wait`: waits until sessions have ended, wait for a person, or are done.
//!
//! The agents are asked once, and answer when it is so: nobody asks again and again. One that is
//! lost is dialled until it is back or the time is over.

use std::time::Duration;

use serde_json::{Value, json};

use crate::base::sorted_map::SortedMap;
use crate::base::text::printable;
use crate::base::time::Mono;
use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSIONS, TIMEOUT};
use crate::cli::convocate::sessions::{
    choose_session, names_json, open_fleet, parse_session, told_older,
};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT, read_flag};
use crate::exit::Exit;
use crate::fleet::fleet::FleetRequestId;
use crate::fleet::member::RequestError;
use crate::fleet::registry::AgentId;
use crate::fleet::run::Runner;
use crate::fleet::select::{Care, Selected};
use crate::limits::{RPC_ANSWER_TIMEOUT, WAIT_RETRY, WAIT_SECONDS_MAX};
use crate::rpc::call::Call;
use crate::rpc::drive::{Wait, WaitFor, Waited};
use crate::rpc::session::Session;
use crate::rpc::values::seconds;

const FOR: Flag =
    Flag::value("for", "WHAT", "what is waited for: ended, waiting, done, with commas");
const ANY: Flag = Flag::switch("any", "wait for the first of them, not for all");

pub(crate) const WAIT: Command = Command {
    name: "wait",
    summary: "wait until sessions have ended, wait for a person, or are done",
    operands: &[SESSIONS],
    flags: &[FOR, ANY, TIMEOUT, AGENT, JSON, ROOT],
    help: "\
Prints each session when it has ended, with its exit status. One that does not run has
ended already, and so has one that is deleted meanwhile. The exit status is 0 when all
have ended, or one with --any, and 1 if they have not after --timeout; without that, it
waits for ever. An agent that cannot be reached is waited for, too.

--for waiting waits until a session's program waits for a person: a permission, a
question, a menu. --for done waits until its turn is over; right after `convocate send`
that is the turn that the text begins. --for waiting,done waits for whichever comes
first. What a session does that ends instead is printed, and the exit status is 1. A
program that does not tell its state is never waiting or done: see `convocate ls`.
",
    run,
};

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let read = |text: &str| WaitFor::parse(text).map_err(|error| error.to_string());
    let what = read_flag(parsed, &FOR, read)?.unwrap_or_default();
    let limit = read_flag(parsed, &TIMEOUT, seconds)?;
    let mut runner = open_fleet(parsed, out)?;
    let begun = runner.now().mono;
    // Whoever does not want to wait wants an answer, too.
    let until = limit.map(|limit| begun + Duration::from_secs(limit.max(1).into()));
    let mut pending: Vec<Selected> = Vec::new();
    for text in parsed.operands() {
        let found = choose_session(parsed, text, &mut runner, Care::Usual)?;
        if pending.iter().all(|known| known.session.uuid != found.session.uuid) {
            pending.push(found);
        }
    }
    let asked = SortedMap::new();
    let mut watch = Watch { runner, pending, what, asked, until, is_noted: false };
    let mut exit = Exit::Done;
    while !watch.pending.is_empty() {
        let Some(told) = watch.next(out)? else {
            let names = watch.pending.iter().map(|it| format!("{:?}", it.session.name));
            let names = names.collect::<Vec<_>>().join(", ");
            let seconds = limit.unwrap_or_default();
            let words = parsed.value(&FOR).unwrap_or("ended");
            return Err(Failure::Failed(format!("not {words} after {seconds} s: {names}")));
        };
        let is_one = !told.is_empty();
        for (found, session) in told {
            tell(&found, session.as_ref(), parsed.has(&JSON), out)?;
            if !what.is_end() && session.is_none_or(|session| !session.running) {
                exit = Exit::Failed;
            }
        }
        out.flush()?;
        if is_one && parsed.has(&ANY) {
            break;
        }
    }
    Ok(exit)
}

/// The sessions that are waited for, and who was asked about them.
struct Watch {
    runner: Runner,
    pending: Vec<Selected>,
    what: WaitFor,
    asked: SortedMap<FleetRequestId, AgentId>,
    until: Option<Mono>,
    /// Whether it was said that an agent is lost.
    is_noted: bool,
}

/// One that is waited for no more, as its agent tells it; `None` if it is deleted.
type EndedSession = (Selected, Option<Session>);

impl Watch {
    /// Those that are waited for no more since the last time, or none if an agent is to be asked
    /// again. `None` when the time is over.
    fn next(&mut self, out: &mut Out<'_>) -> Result<Option<Vec<EndedSession>>, Failure> {
        if self.ask_all()? {
            self.pause();
        }
        loop {
            if let Some((request, answer)) = self.runner.next_reply() {
                let Some(agent) = self.asked.remove(&request) else { continue };
                return match answer {
                    Ok(result) => Ok(Some(self.take(&agent, result)?)),
                    Err(error) => self.failed(&agent, &error, out).map(|()| Some(Vec::new())),
                };
            }
            if self.until.is_some_and(|until| until <= self.runner.now().mono) {
                return Ok(None);
            }
            if self.asked.is_empty() {
                return Ok(Some(Vec::new()));
            }
            let turned = self.runner.step(self.until, &mut Vec::new());
            turned.map_err(|error| Failure::Failed(format!("cannot wait for events: {error}")))?;
        }
    }

    /// Asks every agent that has sessions to wait for and was not asked. Says whether one could not
    /// be asked.
    fn ask_all(&mut self) -> Result<bool, Failure> {
        let mut is_lost = false;
        let agents: Vec<AgentId> = self.pending.iter().map(|it| it.agent.clone()).collect();
        for agent in agents {
            if self.asked.values().any(|asked| *asked == agent) {
                continue;
            }
            let of_agent = self.pending.iter().filter(|it| it.agent == agent);
            let ids = of_agent.map(|it| it.session.uuid).collect();
            let left = self.until.map(|until| until.since(self.runner.now().mono).as_secs() + 1);
            let call = Wait::new(ids, left.unwrap_or(u64::MAX), self.what);
            let call = Call::Wait(call.map_err(|error| Failure::Failed(error.to_string()))?);
            let patience = Duration::from_secs(WAIT_SECONDS_MAX.into()) + RPC_ANSWER_TIMEOUT;
            match self.runner.submit_within(&agent, &call, patience) {
                Ok(request) => {
                    self.asked.insert(request, agent);
                }
                Err(_) => is_lost = true,
            }
        }
        Ok(is_lost)
    }

    fn take(&mut self, agent: &AgentId, result: Value) -> Result<Vec<EndedSession>, Failure> {
        let Waited { sessions, missing } = serde_json::from_value(result)
            .map_err(|error| Failure::Failed(format!("unexpected answer: {error}")))?;
        let told: Vec<Session> =
            sessions.into_iter().map(parse_session).collect::<Result<_, _>>()?;
        let mut ended = Vec::new();
        for found in std::mem::take(&mut self.pending) {
            let id = found.session.uuid;
            let session = told.iter().find(|session| session.uuid == id);
            if found.agent == *agent && (session.is_some() || missing.contains(&id)) {
                ended.push((found, session.cloned()));
            } else {
                self.pending.push(found);
            }
        }
        Ok(ended)
    }

    /// An agent has not answered: it is asked again, unless it has said no.
    fn failed(
        &mut self,
        agent: &AgentId,
        error: &RequestError,
        out: &mut Out<'_>,
    ) -> Result<(), Failure> {
        let Some(found) = self.pending.iter().find(|it| it.agent == *agent) else { return Ok(()) };
        if matches!(error, RequestError::Refused(_)) {
            let call = Wait::new(vec![found.session.uuid], 0, self.what);
            let call = Call::Wait(call.expect("one is not many"));
            return Err(Failure::Failed(told_older(&mut self.runner, found, &call, error)));
        }
        if !std::mem::replace(&mut self.is_noted, true) {
            out.note(&format!("{}: {error}; waiting to reconnect", found.host));
        }
        self.pause();
        Ok(())
    }

    fn pause(&mut self) {
        let left = self.until.map(|until| until.since(self.runner.now().mono));
        self.runner.pause(left.map_or(WAIT_RETRY, |left| left.min(WAIT_RETRY)));
    }
}

fn tell(
    found: &Selected,
    session: Option<&Session>,
    is_json: bool,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let ended = session.and_then(|session| session.ended.as_ref());
    let running = session.filter(|session| session.running);
    let attention = running.and_then(|session| session.attention.as_ref());
    if is_json {
        let mut value = names_json(found);
        value["deleted"] = json!(session.is_none());
        value["exit_status"] = json!(ended.and_then(|ended| ended.exit_code));
        value["cause"] = json!(ended.map(|ended| &ended.cause));
        value["ended_at"] = json!(ended.map(|ended| ended.at));
        value["attention"] = json!(attention);
        return out.json(&value);
    }
    let how = match (session, ended, attention) {
        (None, ..) => "it is deleted".to_owned(),
        (_, Some(ended), _) => ended.in_words(),
        (.., Some(attention)) => printable(&attention.in_words()).into_owned(),
        (_, None, None) => "it does not run".to_owned(),
    };
    out.text(&format!("session {:?} {}: {how}", found.session.name, found.session.uuid))
}
