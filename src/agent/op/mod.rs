//! The operations on sessions, one file each, as state machines.
//!
//! An operation occupies its session from [`begin`] until its [`Flow`] is done; the core keeps
//! those that wait behind it. A stage owns what it needs and nothing else. A step takes the outcome
//! of the stage's work, changes the state, and says what follows.
//!
//! Those that change what runs write a lock before the first effect and remove it after the last
//! one, so that an agent that dies between them leaves a session that says so. Those with a single
//! atomic effect (create, clone, edit) need none: they have happened or they have not.
//!
//! To add an operation: (1) give it a variant in `rpc::call::Call` and a line in `Agent::call`; (2)
//! write its file here, with an enum of its stages, `begin` and `step`; (3) add it to [`SessionOp`]
//! (with its name), [`Stage`], [`begin`], [`Stage::step`], and to [`gate`] if it is special there.

mod background;
mod clone;
mod create;
mod delete;
mod edit;
mod kill;
mod recover;
mod save;
mod start;
mod unlock;

pub(super) use clone::begin as begin_clone;
pub(super) use create::begin as begin_create;

use serde_json::Value;

use super::lock::{Lock, LockFile};
use super::session::Session;
use super::state::AgentState;
use super::work::{DiskWork, Outcome, RuntimeWork, Work};
use crate::base::time::Now;
use crate::base::uuid::Uuid;
use crate::rpc::attach::TerminalSize;
use crate::rpc::call::Edit;
use crate::rpc::response::Answer;

/// An operation on a session that is there.
#[derive(Debug)]
pub(super) enum SessionOp {
    /// A terminal wants in: start the session if it does not run. The size is that of the terminal.
    Attach(TerminalSize),
    Restart,
    Edit(Box<Edit>),
    Kill,
    Delete,
    Background,
    Override,
    /// Write `last_accessed` down.
    Save,
    /// Detach what a predecessor of this agent has left attached.
    Sweep,
    /// Look what became of it while nobody could, and start it again if it went with the engine.
    Recover,
}

impl SessionOp {
    /// Its name in lock files and sentences. Attach and restart both start the session.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            SessionOp::Attach(_) | SessionOp::Restart | SessionOp::Recover => START,
            SessionOp::Edit(_) => "edit",
            SessionOp::Kill => KILL,
            SessionOp::Delete => DELETE,
            SessionOp::Background => "background",
            SessionOp::Override => "override",
            SessionOp::Save => "save",
            SessionOp::Sweep => "detach",
        }
    }
}

const START: &str = "start";
const KILL: &str = "kill";
const DELETE: &str = "delete";

/// Where an operation is.
#[derive(Debug)]
pub(super) enum Stage {
    Create(create::Create),
    Clone(clone::Clone),
    Edit(edit::Edit),
    Start(start::Start),
    Kill(kill::Kill),
    Delete(delete::Delete),
    Background(background::Background),
    Override(unlock::Override),
    Save(save::Save),
    Recover(recover::Recover),
}

/// What follows a step.
#[derive(Debug)]
pub(super) enum Flow {
    /// Work; its outcome is the stage's next step.
    Run(Stage, Work),
    /// A listing. When it has been applied the stage's next step is told how it went.
    List(Stage),
    /// Nothing: the operation is over.
    Done(Answer),
}

/// Begins an operation on session `id`, which is there and has no other operation.
pub(super) fn begin(state: &mut AgentState, now: Now, id: Uuid, order: SessionOp) -> Flow {
    if matches!(order, SessionOp::Recover) {
        state.take_recovery(id);
    }
    let Some(session) = state.session(id) else {
        return Flow::Done(Err(not_found(id)));
    };
    if let Err(text) = gate(session, &order) {
        return Flow::Done(Err(text));
    }
    match order {
        SessionOp::Attach(size) => start::begin(session, start::Purpose::Attach(size)),
        SessionOp::Restart => start::begin(session, start::Purpose::Restart),
        SessionOp::Edit(edit) => edit::begin(state, id, &edit),
        SessionOp::Kill => kill::begin(now, id),
        SessionOp::Delete => delete::begin(now, id),
        SessionOp::Background => background::begin(session),
        SessionOp::Override => unlock::begin(session),
        SessionOp::Save => save::begin(session),
        SessionOp::Recover => recover::begin(session),
        SessionOp::Sweep => Flow::Run(
            Stage::Background(background::Background::Sweeping),
            Work::Runtime(RuntimeWork::Detach { id, uid: session.uid() }),
        ),
    }
}

/// What a session admits: the one place that decides it.
///
/// One with a stale lock admits its deletion, the override, and the operation that was in flight
/// once more. A broken one can be stopped and deleted. One that is being copied stays.
fn gate(session: &Session, order: &SessionOp) -> Result<(), String> {
    match (&session.lock, order) {
        // Neither changes what a lock protects.
        (_, SessionOp::Sweep | SessionOp::Save) | (None, _) => {}
        (Some(_), SessionOp::Override | SessionOp::Delete) => {}
        (Some(lock), _) if lock.is_of(order.name()) => {}
        (Some(lock), _) => return Err(locked(session, lock)),
    }
    match order {
        SessionOp::Recover if session.lock.is_some() => Err("it is locked".to_owned()),
        SessionOp::Attach(_) | SessionOp::Restart | SessionOp::Recover | SessionOp::Edit(_) => {
            session.record().map(drop)
        }
        SessionOp::Delete if session.copies > 0 => {
            Err(format!("{} is being cloned; delete it when the clone is done", session.label()))
        }
        _ => Ok(()),
    }
}

fn locked(session: &Session, lock: &Lock) -> String {
    format!(
        "{} is locked: {} was in flight when the agent died; do it again, or clear the lock with \
         override",
        session.label(),
        lock.op()
    )
}

/// The sentence for an id that no session has.
pub(super) fn not_found(id: Uuid) -> String {
    format!("session \"{id}\" not found")
}

impl Stage {
    /// Takes what the stage's work, or its listing, came to.
    pub(super) fn step(self, state: &mut AgentState, now: Now, id: Uuid, outcome: Outcome) -> Flow {
        match self {
            Stage::Create(stage) => stage.step(state, now, outcome),
            Stage::Clone(stage) => stage.step(state, now, outcome),
            Stage::Edit(stage) => stage.step(state, now, outcome),
            Stage::Start(stage) => stage.step(state, now, id, outcome),
            Stage::Kill(stage) => stage.step(state, now, id, outcome),
            Stage::Delete(stage) => stage.step(state, now, id, outcome),
            Stage::Background(stage) => stage.step(state, id, outcome),
            Stage::Override(stage) => stage.step(state, now, id, outcome),
            Stage::Save(stage) => stage.step(state, now, id, &outcome),
            Stage::Recover(stage) => stage.step(state, now, id, outcome),
        }
    }

    /// Whether this is a start that others may join instead of waiting behind it.
    pub(super) fn is_start(&self) -> bool {
        matches!(self, Stage::Start(_) | Stage::Recover(recover::Recover::Starting(_)))
    }

    /// Whether it detaches a predecessor's terminals on its own.
    pub(super) fn sweeps(&self) -> bool {
        match self {
            Stage::Start(stage) => stage.sweeps(),
            Stage::Recover(recover::Recover::Starting(stage)) => stage.sweeps(),
            _ => false,
        }
    }
}

/// The lock of operation `op` on a session.
fn lock_work(now: Now, id: Uuid, op: &str) -> Work {
    let content = LockFile::new(op, now.wall).to_bytes();
    Work::Disk(DiskWork::Lock { id, content, start: None })
}

fn unlock_work(id: Uuid) -> Work {
    Work::Disk(DiskWork::Unlock { id })
}

/// The lock has been removed, or it is still there and the session says so. The answer stands
/// either way: the operation itself is over.
fn unlocked(state: &mut AgentState, now: Now, id: Uuid, op: &str, outcome: Outcome) {
    let lock = outcome.is_err().then(|| Lock(Some(LockFile::new(op, now.wall))));
    if let Some(session) = state.session_mut(id) {
        session.lock = lock;
    }
}

/// A session as an answer: with all of it.
fn session_answer(state: &AgentState, id: Uuid) -> Answer {
    let mut value = state.wire_value(id, None);
    state.tell_more(id, &mut value);
    Ok(value)
}

/// The answer of an operation that has nothing to tell.
const NOTHING: Answer = Ok(Value::Null);
