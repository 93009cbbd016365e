//! What an agent of the world does for its operators: the real core of an agent on a disk and a
//! Docker that are slow, wrong or gone, and the answers that wait for their events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use convocate::agent::action::{Caller, WorkId};
use convocate::agent::config::Config;
use convocate::agent::work::{DiskWork, LastRun, Outcome, RuntimeEvent, Work, WorkError};
use convocate::base::time::{Mono, Now};
use convocate::base::uuid::Uuid;
use convocate::rpc::call::Call;
use convocate::rpc::response::{self, Answer};
use convocate::ssh::ChannelId;
use serde_json::Value;

use super::{EventRow, World};
use crate::check::fingerprint;
use crate::host;

/// What a piece of work takes when nothing is wrong.
const QUICK: Duration = Duration::from_millis(10);

/// A host for sessions.
pub(super) struct Yard {
    pub(super) host: host::Host,
    /// Whether Docker cannot be reached.
    pub(super) is_docker_gone: bool,
    /// Sessions that have gone with Docker, and no operator has had to do with them since.
    fell: BTreeSet<Uuid>,
    /// Who waits for an answer: over which link, on which channel.
    pub(super) callers: BTreeMap<Caller, (u64, ChannelId)>,
    /// Answers that may go when this event is durable.
    held: VecDeque<(u64, Caller, Answer)>,
    /// Done, and not reported yet.
    late: Vec<(WorkId, Outcome)>,
    works: bool,
    tick_at: Mono,
}

impl Yard {
    pub(super) fn new(id: &str) -> Yard {
        Yard {
            host: host::Host::with(config(id)),
            is_docker_gone: false,
            fell: BTreeSet::new(),
            callers: BTreeMap::new(),
            held: VecDeque::new(),
            late: Vec::new(),
            works: false,
            tick_at: Mono::from_nanos(u64::MAX),
        }
    }

    /// The agent is killed and comes back: the homes, their locks and what runs are still there.
    pub(super) fn come_back(&mut self, id: &str, now: Now) {
        let Yard { callers, held, late, works, tick_at, .. } = self;
        callers.clear();
        held.clear();
        late.clear();
        (*works, *tick_at) = (false, Mono::from_nanos(u64::MAX));
        self.host.now = now;
        self.host.replies.clear();
        self.host.events.clear();
        self.host.crash_into(config(id));
    }

    /// An operator decides what becomes of a session.
    pub(super) fn note_order(&mut self, call: &Call) {
        if matches!(call, Call::Kill(_) | Call::Delete(_) | Call::Override(_) | Call::Restart(_)) {
            let order = format!("{call:?}");
            self.fell.retain(|id| !order.contains(&id.to_string()));
        }
    }

    /// Whether nothing is under way.
    pub(super) fn is_at_rest(&self) -> bool {
        let Yard { host, held, late, callers, .. } = self;
        host.agent.is_idle() && held.is_empty() && late.is_empty() && callers.is_empty()
    }
}

fn config(id: &str) -> Config {
    Config { agent_id: id.to_owned(), ..host::config() }
}

impl World {
    /// Does something with an agent's yard, and then what follows from it.
    pub(super) fn in_yard(&mut self, agent: usize, act: impl FnOnce(&mut Yard)) {
        let now = self.clock();
        if self.hosts[agent].emitter.is_none() {
            return;
        }
        let Some(yard) = &mut self.hosts[agent].yard else { return };
        yard.host.now = now;
        act(yard);
        self.settle_yard(agent);
    }

    /// Events go to the spool, answers wait for them, work is begun.
    pub(super) fn settle_yard(&mut self, agent: usize) {
        let host = &mut self.hosts[agent];
        let (Some(yard), Some(emitter)) = (&mut host.yard, &mut host.emitter) else { return };
        let ledger = self.ledgers.get_mut(&host.id).unwrap();
        for event in yard.host.events.drain(..) {
            let seq = emitter.emit(&event);
            let told = serde_json::to_value(&event).unwrap();
            ledger.emitted(emitter.spool().epoch().as_str(), seq, fingerprint(&told));
            self.figures.events += 1;
        }
        let last = emitter.spool().last_seq();
        for (caller, answers) in std::mem::take(&mut yard.host.replies) {
            let [answer] = <[Answer; 1]>::try_from(answers).expect("a call is answered once");
            yard.held.push_back((last, caller, answer));
        }
        let life = host.life;
        let begins = !yard.works && !yard.host.work.is_empty();
        yard.works |= begins;
        let deadline = yard.host.agent.deadline().filter(|at| *at < yard.tick_at);
        yard.tick_at = deadline.unwrap_or(yard.tick_at);
        if begins {
            // What has piled up is done once nothing is slow any more.
            let slow = if self.faulty { self.knobs.docker_delay_max } else { QUICK };
            let delay = self.soon(slow);
            self.after(delay, EventRow::Work { agent, life });
        }
        if let Some(at) = deadline {
            self.at(at, EventRow::YardTick { agent, life });
        }
        self.pump_agent(agent);
        self.release_answers(agent);
    }

    /// Answers whose events are durable go out. An operation is never told as done before that.
    pub(super) fn release_answers(&mut self, agent: usize) {
        let host = &mut self.hosts[agent];
        let (Some(yard), Some(emitter)) = (&mut host.yard, &host.emitter) else { return };
        let mut touched = false;
        while yard.held.front().is_some_and(|(seq, ..)| *seq <= emitter.synced()) {
            let (_, caller, answer) = yard.held.pop_front().unwrap();
            let Some((link, channel)) = yard.callers.remove(&caller) else { continue };
            let Some(link) = self.ops.links.get_mut(&link) else { continue };
            link.peer.answer(channel, response::to_line(&answer));
            self.figures.answers += 1;
            touched = true;
        }
        if touched {
            self.pump_ops(agent);
        }
    }

    /// Does some piece of work, with the faults that Docker and the disk have now.
    pub(super) fn work(&mut self, agent: usize, life: u64) {
        let wrong = self.faulty && self.dice.percent(self.knobs.docker_wrong);
        let is_late = self.faulty && self.dice.percent(20);
        let host = &mut self.hosts[agent];
        let (is_full, is_this) = (host.disk.full, host.life == life);
        let Some(yard) = host.yard.as_mut().filter(|_| is_this) else { return };
        yard.works = false;
        if yard.host.work.is_empty() {
            return;
        }
        let at = self.dice.index(yard.host.work.len());
        let (id, work) = yard.host.work.remove(at).unwrap();
        let outcome = match &work {
            Work::Runtime(_) if yard.is_docker_gone => {
                Err(WorkError::DockerGone("connection refused".to_owned()))
            }
            Work::Runtime(_) if wrong => Err(host::docker_error()),
            Work::Disk(DiskWork::Measure { .. }) => yard.host.perform(&work),
            Work::Disk(_) if is_full => Err(WorkError::Disk("no space left on device".to_owned())),
            _ => yard.host.perform(&work),
        };
        if is_late {
            yard.late.push((id, outcome));
            let delay = self.soon(Duration::from_secs(3));
            self.after(delay, EventRow::Report { agent, life });
            self.settle_yard(agent);
        } else {
            self.in_yard(agent, |yard| yard.host.report(id, outcome));
        }
    }

    /// What was done earlier is reported now.
    pub(super) fn report(&mut self, agent: usize, life: u64) {
        let host = &mut self.hosts[agent];
        let is_this = host.life == life;
        let Some(yard) = host.yard.as_mut().filter(|_| is_this) else { return };
        if yard.late.is_empty() {
            return;
        }
        let at = self.dice.index(yard.late.len());
        let (id, outcome) = yard.late.remove(at);
        self.in_yard(agent, |yard| yard.host.report(id, outcome));
    }

    pub(super) fn tick_yard(&mut self, agent: usize, life: u64) {
        if self.hosts[agent].life == life {
            self.in_yard(agent, |yard| {
                yard.tick_at = Mono::from_nanos(u64::MAX);
                yard.host.wait(Duration::ZERO);
            });
        }
    }

    /// Docker is gone, or back.
    pub(super) fn set_docker(&mut self, agent: usize, is_gone: bool) {
        if is_gone {
            self.take_down_some(agent);
        }
        if let Some(yard) = &mut self.hosts[agent].yard {
            yard.is_docker_gone = is_gone;
        }
        let news = match is_gone {
            true => RuntimeEvent::Unreachable("connection refused".to_owned()),
            false => RuntimeEvent::Reachable,
        };
        self.in_yard(agent, |yard| yard.host.news(news));
    }

    /// Sessions go with Docker, which does not bring them back. Of some of them the agent hears it.
    fn take_down_some(&mut self, agent: usize) {
        let Some(yard) = &self.hosts[agent].yard else { return };
        if yard.is_docker_gone {
            return;
        }
        let running: Vec<_> = yard.host.running.keys().copied().collect();
        for id in running {
            if self.dice.percent(50) {
                continue;
            }
            let is_told = self.dice.percent(50);
            let Some(yard) = &mut self.hosts[agent].yard else { return };
            let (since, exit_code, out_of_memory) = (None, 143, false);
            let run = LastRun { since, exit_code, out_of_memory, error: String::new() };
            yard.host.running.remove(&id);
            yard.host.last_runs.insert(id, run);
            yard.fell.insert(id);
            if is_told {
                let (exit_code, was_asked) = (Some(exit_code), true);
                let news = RuntimeEvent::Ended { id, exit_code, out_of_memory, was_asked };
                self.in_yard(agent, |yard| yard.host.news(news));
            }
        }
    }

    /// A session's command ends by itself; Docker tells, unless it is gone.
    pub(super) fn end_some_session(&mut self, agent: usize) {
        let Some(yard) = &mut self.hosts[agent].yard else { return };
        let ids: Vec<_> = yard.host.running.keys().copied().collect();
        if ids.is_empty() || yard.is_docker_gone {
            return;
        }
        let id = ids[self.dice.index(ids.len())];
        self.in_yard(agent, |yard| yard.host.ends(id, 1));
    }

    /// At the end: what the hub knows of an agent's sessions is what is.
    pub(super) fn check_sessions(&mut self, agent: usize) {
        let id = self.hosts[agent].id.clone();
        let Some(yard) = &mut self.hosts[agent].yard else { return };
        let Yard { held, late, callers, host, .. } = &*yard;
        assert!(
            yard.is_at_rest(),
            "{id}: {callers:?} wait, {held:?} are held, {late:?} are late, {:?}",
            host.work
        );
        let truth: BTreeMap<String, Value> = yard
            .host
            .list()
            .into_iter()
            .map(|session| (session["uuid"].as_str().unwrap().to_owned(), session))
            .collect();
        for id in &yard.fell {
            let Some(session) = truth.get(&id.to_string()) else { continue };
            let rests = session["running"] == false && session["locked"] == false;
            let record: Value = serde_json::from_slice(&yard.host.homes[id]).unwrap();
            let is_forgotten = session["ended"].is_null() && record["runs"] == true;
            assert!(
                !(rests && (is_forgotten || session["ended"]["cause"] == "lost")),
                "it went with Docker and was not started again: {session}"
            );
        }
        let hub = self.shell.hub.as_ref().unwrap();
        let known: BTreeMap<String, Value> = hub
            .agent(&id)
            .unwrap()
            .sessions
            .iter()
            .map(|(uuid, session)| (uuid.to_string(), serde_json::to_value(session).unwrap()))
            .collect();
        let same = |field: &str| {
            let one = truth.iter().map(|(id, session)| (id, &session[field]));
            one.eq(known.iter().map(|(id, session)| (id, &session[field])))
        };
        for field in ["uuid", "name", "port", "dns_name", "running"] {
            assert!(same(field), "{id}: the hub's {field} differ: {known:?} for {truth:?}");
        }
    }
}
