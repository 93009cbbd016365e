//! What goes wrong. Faults come as events come, so that a slow machine sees as many of each; what a
//! fault has broken is good again so many events later. An agent that comes back has a calendar
//! that is some hours behind the last one.

use std::fmt;
use std::time::{Duration, Instant};

use convocate::base::rng::Rng;

use crate::agents::Agent;
use crate::check::Reader;
use crate::house::{self, Disk, House};
use crate::relay::Relay;
use crate::support::pusher::identity;
use crate::support::wait::{wait_for, wait_until};

/// How long, how much, how bad.
pub struct Plan {
    pub seed: u64,
    pub events: u64,
    pub faults: u64,
    pub agents: u8,
    /// Events a second of each agent.
    pub rate: u64,
    /// How long everything may take to come to rest, and one step to happen.
    pub patience: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Reset,
    HalfOpen,
    KillAgent,
    KillHub,
    HubAway,
    AgentDiskFull,
    HubDiskFull,
}

const FAULTS: [Fault; 7] = [
    Fault::Reset,
    Fault::HalfOpen,
    Fault::KillAgent,
    Fault::KillHub,
    Fault::HubAway,
    Fault::AgentDiskFull,
    Fault::HubDiskFull,
];

/// What is good again at a time, counted in faults.
#[derive(Clone, Copy, Debug)]
enum Repair {
    Agent(usize),
    Hub,
    Connections(usize),
    AgentDisk(usize),
    HubDisk,
}

struct World {
    rng: Rng,
    // In the order in which they are to go: disks are below the house's root, and agents' on them.
    agents: Vec<Agent>,
    relays: Vec<Relay>,
    disks: Vec<Option<Disk>>,
    house: House,
    repairs: Vec<(u64, Repair)>,
    counts: [u64; FAULTS.len()],
    wall_back: u64,
}

/// Runs the plan.
pub fn run(plan: &Plan) {
    let start = Instant::now();
    eprintln!("DELIVERY_SEED={}", plan.seed);
    let mut world = World::start(plan);
    let mut reader = Reader::default();
    for step in 1..=plan.faults {
        let due = plan.events * step / (plan.faults + 1);
        world.repair(step);
        // An agent that is dead tells nothing: then time goes on by what the others tell.
        wait_for(plan.patience, "the next events", || {
            let told: u64 = world.agents.iter().map(Agent::newest).sum();
            let goes_on = world.agents.iter().any(Agent::goes_on);
            (told >= due || !goes_on).then_some(())
        });
        while !world.fault(step) {}
        reader.read(&world.house.output);
    }
    world.repair(u64::MAX);
    let patience = plan.patience.max(Duration::from_secs(120));
    wait_until(patience, "all agents to have delivered all", || {
        reader.read(&world.house.output);
        world.agents.iter().all(Agent::is_drained)
    });
    for (agent, number) in world.agents.iter().zip(0..) {
        let (id, told) = (identity(number).0, agent.told());
        wait_until(patience, "the last event to be told", || {
            reader.read(&world.house.output);
            reader.has(&id, told.newest)
        });
        reader.settle(&id, &told);
    }
    let newest: u64 = world.agents.iter().map(Agent::newest).sum();
    let figures = reader.figures;
    eprintln!("{newest} events through {world} in {:.0?}: {figures}", start.elapsed());
    let accounted = figures.events + figures.in_gaps;
    assert_eq!(accounted + figures.in_missed, newest);
}

impl World {
    fn start(plan: &Plan) -> World {
        let house = House::start(plan.agents);
        let host_key = house.files.status.public_line();
        let goal = plan.events / u64::from(plan.agents);
        let (mut relays, mut agents, mut disks) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..plan.agents {
            let relay = Relay::start(number + 1, house.address);
            let home = house.files.root.dir().join(format!("agent-{number}"));
            disks.push(Disk::mount(&home, "6m"));
            let mut agent = Agent::new(number, (goal, plan.rate), &host_key, home);
            agent.start(relay.address, 0);
            relays.push(relay);
            agents.push(agent);
        }
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&plan.seed.to_le_bytes());
        let rng = Rng::from_seed(seed);
        let counts = [0; FAULTS.len()];
        World { rng, agents, relays, disks, house, repairs: Vec::new(), counts, wall_back: 0 }
    }

    /// Breaks something. False if it was broken already.
    fn fault(&mut self, step: u64) -> bool {
        let index = self.rng.below(7) as usize;
        let at = self.rng.below(4) as usize % self.agents.len();
        let soon = step + 1 + u64::from(self.rng.below(4));
        let late = step + 5 + u64::from(self.rng.below(40));
        let done = match FAULTS[index] {
            Fault::Reset => {
                self.relays[at].reset();
                true
            }
            // Every other one is left to the keepalives.
            Fault::HalfOpen => {
                self.relays[at].swallow();
                if self.rng.below(2) == 0 {
                    self.repairs.push((late, Repair::Connections(at)));
                }
                true
            }
            Fault::KillAgent => {
                self.repairs.push((soon, Repair::Agent(at)));
                self.agents[at].kill()
            }
            Fault::KillHub => {
                self.repairs.push((soon, Repair::Hub));
                self.house.kill()
            }
            Fault::HubAway => {
                self.repairs.push((late, Repair::Hub));
                self.house.kill()
            }
            Fault::AgentDiskFull => {
                self.repairs.push((soon, Repair::AgentDisk(at)));
                self.disks[at].is_some() && {
                    house::fill(self.agents[at].home());
                    true
                }
            }
            Fault::HubDiskFull => {
                self.repairs.push((soon, Repair::HubDisk));
                self.house.has_own_disk() && {
                    house::fill(&self.house.state());
                    true
                }
            }
        };
        self.counts[index] += u64::from(done);
        done
    }

    fn repair(&mut self, step: u64) {
        let (due, later) = self.repairs.drain(..).partition(|(at, _)| *at <= step);
        self.repairs = later;
        let due: Vec<(u64, Repair)> = due;
        for (_, repair) in due {
            match repair {
                Repair::Agent(at) if !self.agents[at].is_alive() => {
                    self.wall_back += u64::from(self.rng.below(10_000));
                    house::empty(self.agents[at].home());
                    self.agents[at].start(self.relays[at].address, self.wall_back);
                }
                Repair::Agent(_) => {}
                Repair::Hub => {
                    house::empty(&self.house.state());
                    self.house.start_again();
                }
                Repair::Connections(at) => self.relays[at].reset(),
                Repair::AgentDisk(at) => house::empty(self.agents[at].home()),
                Repair::HubDisk => house::empty(&self.house.state()),
            }
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.counts.iter().sum();
        write!(out, "{total} faults (")?;
        for (fault, count) in FAULTS.iter().zip(self.counts) {
            write!(out, "{count} {fault:?}, ")?;
        }
        write!(out, "calendars back by {} s)", self.wall_back)
    }
}
