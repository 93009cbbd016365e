//! Start: for a terminal that wants in, or detached by `restart`.
//!
//! The runtime is asked first, because both the answer "already running" and the admission must be
//! right; then disk and memory are measured, the session is counted in, the lock written, the
//! session started, the lock removed.

use super::{Flow, NOTHING, START, Stage, unlock_work, unlocked};
use crate::agent::action::Action;
use crate::agent::capacity::{self, CapacityRefusal, Disk, Grown};
use crate::agent::claude_settings::ClaudeSettings;
use crate::agent::config::RuntimeKind;
use crate::agent::lock::LockFile;
use crate::agent::record::Record;
use crate::agent::session::{Body, RunState, Session, Transition};
use crate::agent::session_key::{KeyChange, SessionKey};
use crate::agent::state::AgentState;
use crate::agent::work::{
    DiskWork, Done, Outcome, RuntimeWork, StartFiles, StartPlan, Work, WorkError,
};
use crate::base::time::Now;
use crate::base::uuid::Uuid;
use crate::limits::{HOMES_COUNT_MAX, LARGEST_HOMES_TOLD};
use crate::rpc::attach::TerminalSize;
use crate::rpc::field::KeyChoice;
use crate::rpc::network::Egress;
use crate::rpc::response::Answer;

/// Where a start is.
#[derive(Debug)]
pub(in crate::agent) enum Start {
    /// The runtime is asked. `is_first`: nothing was known of the session before.
    Listing {
        purpose: Purpose,
        is_first: bool,
    },
    /// It runs, and what a predecessor of this agent left attached is being detached.
    Sweeping(Answer),
    /// Disk and memory are measured, then capacity is looked at.
    Measuring(Purpose),
    /// The disk has no room: who takes it is counted, for the answer.
    Counting(CapacityRefusal),
    /// It is counted in.
    Locking(Box<StartPlan>, SessionKey, Purpose),
    Starting(Purpose),
    Unlocking(Answer),
}

/// What it is started for.
#[derive(Clone, Copy, Debug)]
pub(in crate::agent) enum Purpose {
    /// A terminal of this size. That it runs already is just right.
    Attach(TerminalSize),
    /// Nobody. That it runs already is an error.
    Restart,
    /// Nobody: it ran before, and has ended with the engine or the host.
    Recover,
}

pub(super) fn begin(session: &Session, purpose: Purpose) -> Flow {
    match purpose {
        Purpose::Attach(_) if session.is_running() => leave(session, NOTHING),
        _ => {
            let is_first = session.run_state == RunState::Unknown;
            Flow::List(Stage::Start(Start::Listing { purpose, is_first }))
        }
    }
}

/// Ends before anything was done. If the session was locked by an earlier start, this repetition
/// has finished it.
fn leave(session: &Session, answer: Answer) -> Flow {
    if session.lock.is_none() {
        return Flow::Done(answer);
    }
    Flow::Run(Stage::Start(Start::Unlocking(answer)), unlock_work(session.id))
}

impl Start {
    pub(super) fn step(self, state: &mut AgentState, now: Now, id: Uuid, outcome: Outcome) -> Flow {
        match self {
            Start::Listing { purpose, is_first } => listed(state, id, purpose, is_first, outcome),
            // Whatever is still attached there does not keep anyone out.
            Start::Sweeping(answer) => match state.session(id) {
                Some(session) => leave(session, answer),
                None => Flow::Done(answer),
            },
            Start::Measuring(purpose) => measured(state, now, id, purpose, outcome),
            Start::Counting(refusal) => {
                let homes = match outcome {
                    Ok(Done::HomesCounted(homes)) => homes,
                    _ => Vec::new(),
                };
                let grown = match refusal {
                    CapacityRefusal::Disk(disk) => {
                        state.home_growth.grown_most(now.mono, disk, &homes)
                    }
                    CapacityRefusal::Memory { .. } => None,
                };
                let largest = &homes[..homes.len().min(LARGEST_HOMES_TOLD)];
                Flow::Done(Err(refused(state, id, refusal, (largest, grown))))
            }
            Start::Locking(plan, key, purpose) => locked(state, id, plan, (key, purpose), outcome),
            Start::Starting(purpose) => started(state, now, id, purpose, outcome),
            Start::Unlocking(answer) => {
                unlocked(state, now, id, START, outcome);
                Flow::Done(answer)
            }
        }
    }

    /// Whether it detaches a predecessor's terminals on its own.
    pub(super) fn sweeps(&self) -> bool {
        matches!(self, Start::Listing { is_first: true, .. } | Start::Sweeping(_))
    }
}

fn listed(
    state: &AgentState,
    id: Uuid,
    purpose: Purpose,
    is_first: bool,
    outcome: Outcome,
) -> Flow {
    let session = match (state.session(id), outcome) {
        (Some(session), Ok(_)) => session,
        (None, _) => return Flow::Done(Err(super::not_found(id))),
        (_, Err(error)) => return Flow::Done(Err(error.to_string())),
    };
    if !session.is_running() {
        let containers = state.containers().map(|(id, name)| (id, name.to_owned())).collect();
        let work = Work::Disk(DiskWork::Measure { containers });
        return Flow::Run(Stage::Start(Start::Measuring(purpose)), work);
    }
    let answer = match purpose {
        Purpose::Attach(_) | Purpose::Recover => NOTHING,
        Purpose::Restart => Err(format!("{} is already running", session.label())),
    };
    if is_first {
        let work = Work::Runtime(RuntimeWork::Detach { id, uid: session.uid() });
        return Flow::Run(Stage::Start(Start::Sweeping(answer)), work);
    }
    leave(session, answer)
}

fn measured(
    state: &mut AgentState,
    now: Now,
    id: Uuid,
    purpose: Purpose,
    outcome: Outcome,
) -> Flow {
    let plan = admitted(state, id, purpose, outcome)
        .and_then(|plan| Ok(StartPlan { uid: state.reserve_uid(id)?, ..plan }));
    match plan {
        Ok(plan) => {
            set_transition(state, id, Transition::Starting(plan.caps));
            let content = LockFile::new(START, now.wall).to_bytes();
            let (key, files) = files_of(state, id, &plan);
            let stage = Stage::Start(Start::Locking(Box::new(plan), key, purpose));
            let start = Some(Box::new(files));
            Flow::Run(stage, Work::Disk(DiskWork::Lock { id, content, start }))
        }
        Err(Refused::Capacity(refusal @ CapacityRefusal::Disk(_))) => {
            let count = DiskWork::CountHomes { within: HOMES_COUNT_MAX };
            Flow::Run(Stage::Start(Start::Counting(refusal)), Work::Disk(count))
        }
        Err(Refused::Capacity(refusal)) => {
            Flow::Done(Err(refused(state, id, refusal, (&[], None))))
        }
        Err(Refused::Otherwise(text)) => Flow::Done(Err(text)),
    }
}

/// Why there is no plan.
enum Refused {
    Capacity(CapacityRefusal),
    Otherwise(String),
}

impl From<String> for Refused {
    fn from(text: String) -> Refused {
        Refused::Otherwise(text)
    }
}

fn refused(
    state: &AgentState,
    id: Uuid,
    refusal: CapacityRefusal,
    (homes, grown): (&[(Uuid, u64)], Option<Grown>),
) -> String {
    let sentence = refusal.sentence((homes, grown), |id| state.label(id));
    format!("cannot start {}: {sentence}", state.label(id))
}

/// What of a session that starts has to be on disk, and its key, which an earlier version did not
/// give it.
fn files_of(state: &mut AgentState, id: Uuid, plan: &StartPlan) -> (SessionKey, StartFiles) {
    let record = state.session(id).and_then(|session| session.record().ok()).cloned();
    let settings = plan.has_settings.then(|| ClaudeSettings {
        has_login: record.as_ref().is_some_and(|record| record.claude_login),
        base_url: state.config.claude_base_url.clone(),
    });
    let had = record.as_ref().map_or(SessionKey::None, |record| record.ssh_key);
    let (ssh_key, change) = match had {
        SessionKey::NotMade => SessionKey::choose(KeyChoice::New, &mut state.rng, id),
        had => (had, KeyChange::Remove),
    };
    let key = match change {
        KeyChange::Write(file) => Some(file),
        KeyChange::Remove => None,
    };
    let is_unsaved = |it: &Record| {
        !it.runs || it.ssh_key != ssh_key || plan.uid.is_some_and(|uid| it.uid != Some(uid))
    };
    let unsaved = record.filter(is_unsaved);
    let (runs, ended) = (true, None);
    let metadata = unsaved
        .map(|it| Record { runs, ended, uid: plan.uid.or(it.uid), ssh_key, ..it }.to_bytes());
    let has_socket = plan.has_socket;
    let (owner, is_carried) = (plan.uid, plan.egress == Egress::List);
    let files = StartFiles { owner, metadata, key, has_socket, is_carried, settings };
    (ssh_key, files)
}

/// The plan of a start for which the host has room.
fn admitted(
    state: &AgentState,
    id: Uuid,
    purpose: Purpose,
    outcome: Outcome,
) -> Result<StartPlan, Refused> {
    let session = state.session(id).ok_or_else(|| super::not_found(id))?;
    let record = session.record()?;
    let (disk, used) = match outcome {
        Ok(Done::Measured { total_bytes, used_bytes, memory }) => {
            (Disk { total_bytes, used_bytes }, memory)
        }
        Ok(_) => return Err(WorkError::Mismatch.to_string().into()),
        Err(error) => return Err(error.to_string().into()),
    };
    let config = &state.config;
    let caps = record.caps(config.caps);
    let memory_reservation = capacity::reservation(config.memory_reservation, caps);
    let taken = state.memory_taken(&used);
    capacity::admit(config.totals, disk, taken, memory_reservation).map_err(Refused::Capacity)?;
    let has_quota = u64::from(caps.cpus.as_millis()) < config.totals.cpu_millis;
    let image = record.startup.image.as_ref();
    Ok(StartPlan {
        id,
        command: record.command(),
        port: record.port,
        protocol: record.protocol,
        docker: record.docker,
        egress: record.egress,
        publish: record.publish,
        caps,
        cpu_quota: has_quota.then_some(caps.cpus),
        memory_reservation,
        image: image.map_or_else(|| config.image.clone(), |image| image.as_str().to_owned()),
        startup: record.startup.clone(),
        uid: None,
        has_socket: record.ssh_key != SessionKey::None || record.egress == Egress::List,
        has_key: record.ssh_key != SessionKey::None,
        // The host runtime has no `/etc` of a session's own.
        has_settings: config.runtime == RuntimeKind::Docker,
        size: match purpose {
            Purpose::Attach(size) => size,
            Purpose::Restart | Purpose::Recover => TerminalSize::clamped(0, 0),
        },
    })
}

fn locked(
    state: &mut AgentState,
    id: Uuid,
    plan: Box<StartPlan>,
    (key, purpose): (SessionKey, Purpose),
    outcome: Outcome,
) -> Flow {
    if let Err(error) = outcome {
        set_transition(state, id, Transition::Nothing);
        return Flow::Done(Err(error.to_string()));
    }
    if let Some(session) = state.session_mut(id) {
        session.unconfirmed_exit = None;
        if let Body::Good(record) = &mut session.body {
            // It stands on disk by now.
            record.uid = plan.uid.or(record.uid);
            record.ssh_key = key;
            record.runs = true;
        }
    }
    // Before the command can ask.
    state.lend_key(id);
    state.carry(id);
    Flow::Run(Stage::Start(Start::Starting(purpose)), Work::Runtime(RuntimeWork::Start(plan)))
}

fn started(state: &mut AgentState, now: Now, id: Uuid, purpose: Purpose, outcome: Outcome) -> Flow {
    set_transition(state, id, Transition::Nothing);
    let answer = match outcome {
        Ok(Done::Started(running)) if running.id == id => {
            if !matches!(purpose, Purpose::Recover)
                && let Some(session) = state.session_mut(id)
            {
                session.recovery.begin_anew();
            }
            state.saw_running(now, running);
            NOTHING
        }
        Ok(_) => Err(WorkError::Mismatch.to_string()),
        Err(error) => {
            if let WorkError::EndedAtOnce(words) = &error {
                state.ended_at_once(now, id, words);
            }
            // Of one that went with the engine, the engine's return decides.
            let is_gone = matches!(error, WorkError::DockerGone(_)) && state.went_with_engine(id);
            if !matches!(purpose, Purpose::Recover) && !is_gone {
                state.rests(now, id);
            }
            state.actions.push(Action::EndLending { session: id });
            state.actions.push(Action::EndCarrying { session: id });
            Err(error.to_string())
        }
    };
    if let Err(why) = &answer {
        state.actions.warn(format!("session {id} did not start: {why}"));
    }
    Flow::Run(Stage::Start(Start::Unlocking(answer)), unlock_work(id))
}

fn set_transition(state: &mut AgentState, id: Uuid, transition: Transition) {
    if let Some(session) = state.session_mut(id) {
        session.transition = transition;
    }
}
