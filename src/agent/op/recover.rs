//! Recover: a session that should run is looked at, and started again if it went with the engine or
//! the host.
//!
//! Its container tells which of the two it was: a command that ended by itself stays ended.

use super::start::{self, Purpose};
use super::{Flow, NOTHING, Stage};
use crate::agent::session::{Cause, End, Session};
use crate::agent::state::AgentState;
use crate::agent::work::{Done, LastRun, Outcome, RuntimeWork, Work};
use crate::base::time::Now;
use crate::base::uuid::Uuid;

/// Exit statuses of a container that somebody ended: by SIGTERM, by SIGKILL, and what the Engine
/// notes of one that a lost power supply has ended.
const ENDED_FROM_OUTSIDE: [i32; 3] = [143, KILLED, 255];
const KILLED: i32 = 137;

/// Where it is.
#[derive(Debug)]
pub(in crate::agent) enum Recover {
    /// What became of it.
    Looking,
    Starting(start::Start),
}

pub(super) fn begin(session: &Session) -> Flow {
    let look = RuntimeWork::Look { id: session.id };
    Flow::Run(Stage::Recover(Recover::Looking), Work::Runtime(look))
}

impl Recover {
    pub(super) fn step(self, state: &mut AgentState, now: Now, id: Uuid, outcome: Outcome) -> Flow {
        match self {
            Recover::Looking => looked(state, now, id, outcome),
            Recover::Starting(stage) => {
                let flow = stage.step(state, now, id, outcome);
                go_on(state, now, id, flow)
            }
        }
    }
}

fn looked(state: &mut AgentState, now: Now, id: Uuid, outcome: Outcome) -> Flow {
    let run = match outcome {
        Ok(Done::LastRun(run)) => run,
        Ok(_) => return Flow::Done(NOTHING),
        Err(error) => {
            let is_running = state.session(id).is_none_or(Session::is_running);
            if !is_running && state.may_recover(now, id) {
                state.recovered(now, id, Err(&error.to_string()));
            }
            return Flow::Done(Err(error.to_string()));
        }
    };
    let Some(session) = state.session(id) else { return Flow::Done(Err(super::not_found(id))) };
    let since = run.as_ref().and_then(|run| run.since);
    if session.is_running() {
        since.into_iter().for_each(|since| state.saw_since(now, id, since));
        return Flow::Done(NOTHING);
    }
    if !session.record().is_ok_and(|record| record.runs) {
        return Flow::Done(NOTHING);
    }
    if let Some(end) = run.filter(|_| since.is_none()).and_then(|run| own_end(&run)) {
        state.ended_unseen(now, id, end);
        return Flow::Done(NOTHING);
    }
    if !state.may_recover(now, id) {
        return Flow::Done(NOTHING);
    }
    let Some(session) = state.session(id) else { return Flow::Done(Err(super::not_found(id))) };
    let flow = start::begin(session, Purpose::Recover);
    go_on(state, now, id, flow)
}

/// How a command ended, if it did by itself.
fn own_end(run: &LastRun) -> Option<End> {
    // Docker says that memory ran out of a container in which that ever killed a process.
    let is_killed = run.exit_code == KILLED && run.out_of_memory;
    let cause = match is_killed {
        _ if !run.error.is_empty() => return None,
        true => Cause::Oom,
        false if ENDED_FROM_OUTSIDE.contains(&run.exit_code) => return None,
        false => Cause::Exit,
    };
    Some(End { cause, exit_code: Some(run.exit_code) })
}

/// A start within this operation.
fn go_on(state: &mut AgentState, now: Now, id: Uuid, flow: Flow) -> Flow {
    match flow {
        Flow::Run(Stage::Start(stage), work) => {
            Flow::Run(Stage::Recover(Recover::Starting(stage)), work)
        }
        Flow::List(Stage::Start(stage)) => Flow::List(Stage::Recover(Recover::Starting(stage))),
        Flow::Done(answer) => {
            state.recovered(now, id, answer.as_ref().map(drop).map_err(String::as_str));
            Flow::Done(answer)
        }
        other => other,
    }
}
