//! Two hundred agents that have lost the same listener, and come back to it: real emitters with
//! their waits, the real limiter, and a listener that can do one login at a time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use convocate::agent::emitter::{Emitter, EmitterAction, Identity};
use convocate::agent::spool::{SpoolTuning, recovery::Recovery};
use convocate::base::time::{Mono, Now, Wall};
use convocate::limits;
use convocate::ssh::keys::{KeyPair, PublicKey};
use convocate::ssh::limiter::{ConnectionLimiter, PlaceId};
use serde_json::Value;

use crate::disk::Disk;
use crate::random::Dice;

const AGENTS: usize = 200;
/// What a login takes the listener, all of it its processor's: ten times what is measured.
const LOGIN: Duration = Duration::from_millis(20);
/// From a dial to the listener.
const DISTANCE: Duration = Duration::from_millis(1);
/// The promise: all of them are back this long after the listener is.
const ALL_BACK: Duration = Duration::from_secs(35);
const START: Mono = Mono::from_nanos(1);

/// Where they come from.
#[derive(Clone, Copy, Debug)]
enum From {
    OwnAddresses,
    OneAddress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HerdEvent {
    Death,
    Cut,
    Return,
    /// A packet that asks for a stream: of which of the agent's dials, and how long the kernel
    /// waits before the next one.
    Connect(usize, u64, Duration),
    /// The agent finds out that its connection is cut.
    Lost(usize),
    LoginDone,
    Tick(usize),
}

struct Herd {
    now: Mono,
    calendar: BinaryHeap<Reverse<(Mono, u64, HerdEvent)>>,
    order: u64,
    agents: Vec<(Emitter, Disk)>,
    keys: Vec<PublicKey>,
    /// How often each has dialled.
    dials: Vec<u64>,
    dice: Dice,
    from: From,
    limiter: ConnectionLimiter,
    is_up: bool,
    is_cut: bool,
    logins: VecDeque<(usize, PlaceId)>,
    /// Dials that met a listener, since it is back.
    connects_started: Vec<Mono>,
    refused: usize,
}

#[derive(Debug)]
struct Outcome {
    all_back: Duration,
    refused: usize,
    /// The most dials within a tenth of a second.
    busiest: usize,
}

fn key(agent: usize) -> PublicKey {
    let mut seed = [1; 32];
    seed[..8].copy_from_slice(&agent.to_le_bytes());
    *KeyPair::from_seed(seed).public()
}

impl Herd {
    fn new(seed: u64, from: From) -> Herd {
        let mut dice = Dice::new(seed, 7);
        let agent = |number: usize| {
            let identity = Identity {
                agent_id: format!("agent{number:07}"),
                version: "1".to_owned(),
                image_tag: "image:1".to_owned(),
            };
            let spool = Recovery::new(Vec::new(), SpoolTuning::default(), dice.rng()).finish();
            let now = Now { mono: START, wall: Wall::new(1_800_000_000, 0) };
            (Emitter::new(identity, spool, dice.seed(), now), Disk::default())
        };
        let agents: Vec<_> = (0..AGENTS).map(agent).collect();
        let mut herd = Herd {
            now: START,
            calendar: BinaryHeap::new(),
            order: 0,
            agents,
            keys: (0..AGENTS).map(key).collect(),
            dials: vec![0; AGENTS],
            dice,
            from,
            limiter: ConnectionLimiter::new(limits::SSH_CONNECTIONS_MAX),
            is_up: true,
            is_cut: false,
            logins: VecDeque::new(),
            connects_started: Vec::new(),
            refused: 0,
        };
        (0..AGENTS).for_each(|agent| herd.pump(agent));
        herd
    }

    fn address(&self, agent: usize) -> IpAddr {
        let last = match self.from {
            From::OwnAddresses => u8::try_from(agent).unwrap(),
            From::OneAddress => 1,
        };
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    /// What is overdue happens now: time does not run backwards.
    fn at(&mut self, at: Mono, what: HerdEvent) {
        self.order += 1;
        self.calendar.push(Reverse((at.max(self.now), self.order, what)));
    }

    fn pump(&mut self, agent: usize) {
        let (emitter, disk) = &mut self.agents[agent];
        while let Some(op) = emitter.poll_disk() {
            let done = disk.execute(op, &mut self.dice);
            emitter.disk_done(Now { mono: self.now, wall: Wall::default() }, done);
        }
        let sent = emitter.output().len();
        emitter.output_sent(sent);
        let mut connects_started = false;
        while let Some(action) = emitter.poll_action() {
            match action {
                EmitterAction::Dial => connects_started = true,
                EmitterAction::Measure => {
                    emitter.heartbeat(Now { mono: self.now, wall: Wall::default() }, Value::Null);
                }
                EmitterAction::HangUp => {}
            }
        }
        if connects_started {
            self.dials[agent] += 1;
            self.agents[agent].0.connects_started(self.now);
            let first = HerdEvent::Connect(agent, self.dials[agent], Duration::from_secs(1));
            self.at(self.now + DISTANCE, first);
        }
        if let Some(at) = self.agents[agent].0.deadline() {
            self.at(at, HerdEvent::Tick(agent));
        }
    }

    fn happen(&mut self, what: HerdEvent) {
        match what {
            HerdEvent::Death => {
                self.is_up = false;
                self.limiter = ConnectionLimiter::new(limits::SSH_CONNECTIONS_MAX);
                self.logins.clear();
                (0..AGENTS).for_each(|agent| self.drop(agent, "connection reset"));
            }
            HerdEvent::Cut => {
                self.is_cut = true;
                // What keepalives find out, and when, at this end and at the other.
                self.limiter = ConnectionLimiter::new(limits::SSH_CONNECTIONS_MAX);
                self.logins.clear();
                for agent in 0..AGENTS {
                    let found = Duration::from_millis(30_000 + u64::from(self.dice.below(15_000)));
                    self.at(self.now + found, HerdEvent::Lost(agent));
                }
            }
            HerdEvent::Lost(agent) => self.drop(agent, "no word within 45 s"),
            HerdEvent::Return => {
                (self.is_up, self.is_cut) = (true, false);
                (self.connects_started, self.refused) = (Vec::new(), 0);
            }
            HerdEvent::Connect(agent, dial, _) if self.dials[agent] != dial => {}
            HerdEvent::Connect(agent, dial, wait) if self.is_cut => {
                self.at(self.now + wait, HerdEvent::Connect(agent, dial, wait * 2));
            }
            HerdEvent::Connect(agent, ..) if !self.is_up => self.drop(agent, "connection refused"),
            HerdEvent::Connect(agent, ..) => {
                self.agents[agent].0.reached(self.now);
                self.connects_started.push(self.now);
                let place = match self.limiter.admit(self.now, self.address(agent)) {
                    Ok(admitted) => {
                        assert_eq!(admitted.displaced, None, "there is room for a herd");
                        admitted.place
                    }
                    Err(refused) => {
                        self.refused += 1;
                        return self.drop(agent, &refused.refusal.to_string());
                    }
                };
                self.logins.push_back((agent, place));
                if self.logins.len() == 1 {
                    self.at(self.now + LOGIN, HerdEvent::LoginDone);
                }
            }
            HerdEvent::LoginDone => {
                let Some((agent, place)) = self.logins.pop_front() else { return };
                assert!(self.limiter.authenticated(self.now, place, self.keys[agent]));
                let now = Now { mono: self.now, wall: Wall::default() };
                self.agents[agent].0.opened(self.now);
                self.agents[agent].0.input(now, b"{\"hello\":{\"ack\":true}}\n");
                self.pump(agent);
                if !self.logins.is_empty() {
                    self.at(self.now + LOGIN, HerdEvent::LoginDone);
                }
            }
            HerdEvent::Tick(agent) => {
                if self.agents[agent].0.deadline().is_some_and(|at| at <= self.now) {
                    let now = Now { mono: self.now, wall: Wall::default() };
                    self.agents[agent].0.tick(now);
                    self.pump(agent);
                }
            }
        }
    }

    fn drop(&mut self, agent: usize, why: &str) {
        self.agents[agent].0.closed(self.now, why.to_owned());
        self.pump(agent);
    }

    /// One happening; whether it was not behind `end`.
    fn step(&mut self, end: Mono) -> bool {
        let Some(Reverse((at, _, what))) = self.calendar.pop() else { return false };
        self.now = at;
        self.happen(what);
        at <= end
    }

    fn is_whole(&self) -> bool {
        self.agents.iter().all(|(emitter, _)| emitter.is_live())
    }

    /// Until all are there, or `end`.
    fn gather(&mut self, end: Mono) {
        while self.step(end) && !self.is_whole() {}
    }

    /// Until `end`, whoever is there.
    fn pass(&mut self, end: Mono) {
        while self.step(end) {}
    }
}

/// All are there; the listener, or the network before it, is away for so long.
fn come_back(seed: u64, from: From, (what, away): (HerdEvent, Duration)) -> Outcome {
    let mut herd = Herd::new(seed, from);
    herd.gather(START + Duration::from_secs(600));
    assert!(herd.is_whole(), "they come at first");
    let death = herd.now + Duration::from_secs(20);
    let back = death + away;
    herd.at(death, what);
    herd.at(back, HerdEvent::Return);
    herd.pass(back);
    assert!(!herd.is_whole(), "they were away");
    herd.gather(back + Duration::from_secs(600));
    let tenth = Duration::from_millis(100);
    let from_there = |at: Mono| herd.connects_started.iter().skip_while(move |it| **it < at);
    let within = |at: Mono| from_there(at).take_while(move |it| **it < at + tenth).count();
    let busiest = herd.connects_started.iter().map(|at| within(*at)).max().unwrap_or(0);
    Outcome { all_back: herd.now.since(back), refused: herd.refused, busiest }
}

#[test]
fn two_hundred_agents_come_back_without_a_herd() {
    let absences = [
        (HerdEvent::Death, Duration::from_millis(300)),
        (HerdEvent::Death, Duration::from_secs(5)),
        (HerdEvent::Death, Duration::from_secs(300)),
        (HerdEvent::Cut, Duration::from_secs(300)),
    ];
    for from in [From::OwnAddresses, From::OneAddress] {
        for away in absences {
            let outcomes: Vec<Outcome> = (0..20).map(|seed| come_back(seed, from, away)).collect();
            let last = outcomes.iter().map(|it| it.all_back).max().unwrap();
            let refused = outcomes.iter().map(|it| it.refused).max().unwrap();
            let busiest = outcomes.iter().map(|it| it.busiest).max().unwrap();
            eprintln!(
                "{from:?}, away {away:?}: all back after {last:?}, at most {refused} refused, at \
                 most {busiest} dials in 100 ms"
            );
            assert!(last <= ALL_BACK, "{from:?} {away:?}: {last:?}");
            assert!(busiest <= AGENTS * 2 / 5, "{from:?} {away:?}: {busiest} at once");
        }
    }
}
