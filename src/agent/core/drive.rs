//! Calls that drive a session without a terminal, or wait for something of it. They take no turn: a
//! session can be stopped, deleted and attached to while a command runs in it.

use serde_json::json;

use super::{Agent, CLOSING, Mode};
use crate::agent::action::{Caller, WorkId};
use crate::agent::drive::{Drive, Place};
use crate::agent::drives::{Running, Waiting};
use crate::agent::op::{Stage, not_found};
use crate::agent::session::{RunState, Session, Transition};
use crate::agent::work::{Outcome, RuntimeWork, Work};
use crate::base::time::{Mono, Now};
use crate::base::uuid::Uuid;
use crate::limits::WAITS_MAX;
use crate::rpc::attention::AttentionState;
use crate::rpc::drive::{ScreenText, Wait, WaitFor, Waited};
use crate::rpc::env::SessionEnv;
use crate::rpc::session::Ended;

impl Agent {
    /// Runs something in a session that runs.
    pub(super) fn drive(&mut self, now: Now, caller: Caller, id: Uuid, drive: Drive) {
        let no_env = SessionEnv::default();
        let refusal = match self.state.session(id) {
            None => not_found(id),
            Some(_) if self.mode == Mode::Closing => CLOSING.to_owned(),
            Some(session) => match &session.run_state {
                RunState::Unknown => {
                    let label = session.label();
                    format!("whether {label} runs is not known yet; try again")
                }
                RunState::Stopped if matches!(drive, Drive::Screen(_)) => {
                    let answer = last_screen(session);
                    return self.answer(caller, Ok(answer));
                }
                RunState::Stopped => {
                    format!("{} does not run; start it first: convocate start", session.label())
                }
                RunState::Running { .. } if would_answer(session, &drive) => {
                    let label = session.label();
                    format!(
                        "{label} waits for a person{}, and what is sent would answer that; look \
                         first: convocate screen; then send it with --answer",
                        why(session)
                    )
                }
                RunState::Running { .. } if !self.drives.has_room(&drive) => {
                    "too many commands run in the sessions of this agent; try again later"
                        .to_owned()
                }
                RunState::Running { running, .. } => {
                    let runtime = self.state.config.runtime;
                    let startup = session.record().map(|it| &it.startup.env).ok();
                    let session_env = startup.unwrap_or(&no_env);
                    let place = Place { id, uid: running.uid, runtime, session_env };
                    let plan = drive.plan(place, self.state.actions.last_work().0);
                    let work = Work::Runtime(RuntimeWork::Exec(Box::new(plan)));
                    let work = self.state.actions.run(work);
                    let running = Running { caller: Some(caller), drive, began: now.mono };
                    self.drives.running.insert(work, running);
                    return;
                }
            },
        };
        self.answer(caller, Err(refusal));
    }

    /// Runs something in a session that runs, for nobody who waits.
    pub(super) fn drive_by_itself(&mut self, now: Now, id: Uuid, drive: Drive) {
        let Some(session) = self.state.session(id) else { return };
        let RunState::Running { running, .. } = &session.run_state else { return };
        if self.mode == Mode::Closing {
            return;
        }
        let no_env = SessionEnv::default();
        let runtime = self.state.config.runtime;
        let place = Place { id, uid: running.uid, runtime, session_env: &no_env };
        let plan = drive.plan(place, self.state.actions.last_work().0);
        let work = self.state.actions.run(Work::Runtime(RuntimeWork::Exec(Box::new(plan))));
        let running = Running { caller: None, drive, began: now.mono };
        self.drives.running.insert(work, running);
    }

    /// Answers the call whose work this was, if it was one's.
    pub(super) fn drive_done(&mut self, now: Now, work: WorkId, outcome: &Outcome) -> bool {
        let Some(Running { caller, drive, began }) = self.drives.running.remove(&work) else {
            return false;
        };
        let answer = drive.answer(began, now.mono, outcome.clone());
        if let (Drive::OpenNetwork(_), Err(why)) = (&drive, &answer) {
            self.state.actions.warn(format!("a session's network cannot be opened: {why}"));
        }
        if let (Drive::Send(send), Ok(_)) = (&drive, &answer) {
            self.state.sent(now, send.id);
        }
        if let Drive::Exec(exec) = &drive {
            self.state.stir_repository(now.mono, exec.id);
        }
        self.state.reply(caller, &answer);
        true
    }

    pub(super) fn wait(&mut self, now: Now, caller: Caller, wait: &Wait) {
        if self.drives.waits.len() >= WAITS_MAX {
            let text = format!("{WAITS_MAX} calls wait on this agent, and it holds no more");
            return self.answer(caller, Err(text));
        }
        let until = now.mono + std::time::Duration::from_secs(wait.seconds.into());
        let (ids, what) = (wait.ids.ids().to_vec(), wait.what);
        self.drives.waits.push(Waiting { caller, ids, what, until });
        self.tell_waits(now);
    }

    /// Answers the waits of which a session has ended or is what is waited for, and those whose
    /// time is over. To be called whenever that may have changed.
    pub(super) fn tell_waits(&mut self, now: Now) {
        self.drives.looked_at = now.mono;
        for Waiting { caller, ids, what, until } in std::mem::take(&mut self.drives.waits) {
            let mut waited = Waited::default();
            for id in &ids {
                match self.state.session(*id) {
                    None => waited.missing.push(*id),
                    Some(session) if self.is_waited_for(now, session, what) => {
                        waited.sessions.push(self.state.wire_value(*id, None));
                    }
                    Some(_) => {}
                }
            }
            if waited == Waited::default() && until > now.mono {
                self.drives.waits.push(Waiting { caller, ids, what, until });
            } else {
                let answer = serde_json::to_value(waited);
                self.answer(caller, Ok(answer.expect("string keys and finite numbers only")));
            }
        }
    }

    /// Whether there is nothing more to wait for: it is so, or never will be.
    fn is_waited_for(&self, now: Now, session: &Session, what: WaitFor) -> bool {
        let is_it = match session.attention.settled(now.mono) {
            Some(AttentionState::Waiting) => what.waiting,
            Some(AttentionState::Done | AttentionState::Idle) => what.done,
            Some(AttentionState::Working | AttentionState::Unknown) | None => false,
        };
        is_it || self.has_ended(session)
    }

    /// When the state of a session that is waited for counts, if it does not yet. Where it is not
    /// the one that is waited for, that has been seen by then.
    pub(super) fn unsettled_until(&self) -> Option<Mono> {
        let waits = self.drives.waits.iter().filter(|wait| !wait.what.is_end());
        let sessions = waits.flat_map(|wait| &wait.ids).filter_map(|id| self.state.session(*id));
        let times = sessions.map(|session| session.attention.settles_at());
        times.filter(|at| *at > self.drives.looked_at).min()
    }

    /// Whether it does not run, nothing starts it, and how it ended is known.
    fn has_ended(&self, session: &Session) -> bool {
        let starts = |(_, stage): &(_, Stage)| stage.is_start();
        session.run_state == RunState::Stopped
            && session.transition == Transition::Nothing
            && !self.jobs.get(&session.id).is_some_and(starts)
            && !self.state.is_unexplained(session.id)
    }
}

/// Whether a call's keys would choose in a dialog, for which nobody has asked.
fn would_answer(session: &Session, drive: &Drive) -> bool {
    let waits = session.attention.state() == Some(AttentionState::Waiting);
    waits && matches!(drive, Drive::Send(send) if !send.answer)
}

/// For what it waits, in parentheses.
fn why(session: &Session) -> String {
    match session.attention.told() {
        Some(told) if !told.reason.is_empty() => format!(" ({})", told.reason),
        _ => String::new(),
    }
}

/// What stood on the screen of one that does not run.
fn last_screen(session: &Session) -> serde_json::Value {
    let ended = session.record().ok().and_then(|record| record.ended.clone());
    let screen = ended.as_ref().map(|ended| ended.screen.clone()).unwrap_or_default();
    let ended = ended.map(|ended| Ended { screen: String::new(), ..ended });
    json!(ScreenText { running: false, screen, ended })
}
