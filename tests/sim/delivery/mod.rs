//! Agents with their spools and emitters, one shell host with its hub, and all that can go wrong
//! between them: connections that are slow, split, stall, half-open or reset; either end killed at
//! any moment; disks that are full or tear; a listener that is away for long; a calendar that
//! jumps. Where there are operators, they call ops over the real fleet and SSH, and the real cores
//! of agents do them on a disk and a Docker that are slow, wrong or gone.

mod agents;
mod faults;
mod links;
mod ops;
mod shell;
mod yard;

use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use convocate::agent::emitter::Emitter;
use convocate::base::time::{Mono, Now, Wall};
use convocate::limits::RPC_ANSWER_TIMEOUT;
use convocate::status::hub::Hub;
use convocate::status::listener::Listener;
use convocate::status::subscribe::Subscriber;

use crate::check::{Ledger, Reader};
use crate::disk::Disk;
use crate::random::Dice;
use faults::Knobs;
use ops::Ops;
use yard::Yard;

/// What a run was made of, for the summary: a simulator that does nothing finds nothing.
#[derive(Default)]
pub struct Figures {
    pub events: usize,
    pub faults: usize,
    pub gaps: usize,
    pub in_gaps: usize,
    pub connections: u64,
    pub snapshots: u64,
    pub seconds: u64,
    pub calls: u64,
    pub answers: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Figures) {
        self.events += other.events;
        self.faults += other.faults;
        self.gaps += other.gaps;
        self.in_gaps += other.in_gaps;
        self.connections += other.connections;
        self.snapshots += other.snapshots;
        self.seconds += other.seconds;
        self.calls += other.calls;
        self.answers += other.answers;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} events through {} faults and {} connections in {} virtual seconds; {} gaps with {} \
             events; {} snapshots; {} calls, {} answers",
            self.events,
            self.faults,
            self.connections,
            self.seconds,
            self.gaps,
            self.in_gaps,
            self.snapshots,
            self.calls,
            self.answers
        )
    }
}

/// Bytes on their way in one direction.
const PIPE_BYTES: usize = 32 * 1024;
/// How long the keepalives of the transport take to find a peer that is gone.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(45);
/// How long everything may take to come to rest after the last fault.
const REST: Duration = Duration::from_secs(180);

/// Happenings at one moment; more, and time does not go on.
const AT_ONCE_MAX: u64 = 100_000;

pub fn run(seed: u64) -> Figures {
    let mut world = World::new(seed);
    let faults_end = world.now + world.knobs.fault_phase;
    world.run_until(faults_end);
    world.stop_faults();
    let mut end = world.now + REST;
    world.run_until(end);
    // On a slow network that is not enough for what is behind. Who gets nowhere is stuck.
    while let Some(acked) = world.still_behind() {
        end = world.now + REST;
        world.run_until(end);
        if world.still_behind().is_some_and(|now| now <= acked) {
            break;
        }
    }
    // What has begun in the last moment, the hub's asking for a list, may end.
    let last = end + RPC_ANSWER_TIMEOUT;
    while world.now < last && !world.ops_are_at_rest() {
        world.run_until(world.now + Duration::from_secs(1));
    }
    world.finish()
}

/// What happens at a time. A `life` that is over makes it nothing.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum EventRow {
    Emit { agent: usize },
    Tick { agent: usize, life: u64 },
    HubTick { life: u64 },
    Disk { agent: usize, life: u64 },
    HubDisk { life: u64 },
    Dialled { conn: u64 },
    Up { conn: u64 },
    Down { conn: u64 },
    Unstall { conn: u64 },
    Break { conn: u64, why: &'static str },
    Fault,
    StartAgent { agent: usize },
    StartHub,
    EmptyDisk { agent: usize },
    EmptyHubDisk,
    Operate,
    Ask { agent: usize },
    OpsDialled { agent: usize },
    OpsUp { agent: usize, link: u64 },
    OpsDown { agent: usize, link: u64 },
    OpsBreak { agent: usize, life: u64 },
    OpsTick,
    Work { agent: usize, life: u64 },
    Report { agent: usize, life: u64 },
    YardTick { agent: usize, life: u64 },
    DockerBack { agent: usize },
}

struct Host {
    id: String,
    disk: Disk,
    emitter: Option<Emitter>,
    yard: Option<Yard>,
    life: u64,
    conn: Option<u64>,
    tick_at: Mono,
    /// The listener had answered when the connection went: a redial is due by then.
    redial_by: Option<Mono>,
}

struct Shell {
    disk: Disk,
    hub: Option<Hub>,
    life: u64,
    tick_at: Mono,
    subscriber: Subscriber,
}

struct Conn {
    agent: usize,
    agent_life: u64,
    listener: Option<Listener>,
    inbox: Vec<u8>,
    up: VecDeque<u8>,
    down: VecDeque<u8>,
    up_scheduled: bool,
    down_scheduled: bool,
    stalled: bool,
    open: bool,
    greeted: bool,
}

struct World {
    dice: Dice,
    knobs: Knobs,
    now: Mono,
    wall_back: i64,
    calendar: BinaryHeap<std::cmp::Reverse<(Mono, u64, EventRow)>>,
    order: u64,
    hosts: Vec<Host>,
    shell: Shell,
    ops: Ops,
    conns: BTreeMap<u64, Conn>,
    next_conn: u64,
    ledgers: BTreeMap<String, Ledger>,
    reader: Reader,
    serial: u64,
    /// Happenings at this moment.
    at_once: u64,
    faulty: bool,
    figures: Figures,
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed, 0);
        let knobs = Knobs::roll(&mut dice);
        let count = 1 + dice.index(4);
        let host = |number: usize| Host {
            id: format!("agent{number:07}"),
            disk: Disk::default(),
            emitter: None,
            yard: None,
            life: 0,
            conn: None,
            tick_at: Mono::from_nanos(u64::MAX),
            redial_by: None,
        };
        let mut hosts: Vec<Host> = (0..count).map(host).collect();
        if knobs.operators {
            hosts.iter_mut().for_each(|host| host.yard = Some(Yard::new(&host.id)));
        }
        let ops = Ops::new(count, dice.seed(), Mono::from_nanos(1));
        let ledgers = hosts.iter().map(|host| (host.id.clone(), Ledger::default())).collect();
        let shell = Shell {
            disk: Disk::default(),
            hub: None,
            life: 0,
            tick_at: Mono::from_nanos(u64::MAX),
            subscriber: Subscriber::new(),
        };
        let mut world = World {
            dice,
            knobs,
            now: Mono::from_nanos(1),
            wall_back: 0,
            calendar: BinaryHeap::new(),
            order: 0,
            hosts,
            shell,
            ops,
            conns: BTreeMap::new(),
            next_conn: 1,
            ledgers,
            reader: Reader::default(),
            serial: 0,
            at_once: 0,
            faulty: true,
            figures: Figures::default(),
        };
        world.after(Duration::ZERO, EventRow::StartHub);
        for agent in 0..count {
            world.after(Duration::from_millis(1), EventRow::StartAgent { agent });
            world.after(Duration::from_millis(2), EventRow::Emit { agent });
        }
        world.after(world.knobs.fault_every, EventRow::Fault);
        if world.knobs.operators {
            world.after(Duration::from_millis(3), EventRow::OpsTick);
            world.after(Duration::from_millis(4), EventRow::Operate);
        }
        world
    }

    fn clock(&self) -> Now {
        let seconds = i64::try_from(self.now.as_nanos() / 1_000_000_000).unwrap();
        Now { mono: self.now, wall: Wall::new(1_800_000_000 + seconds - self.wall_back, 0) }
    }

    fn after(&mut self, delay: Duration, what: EventRow) {
        self.at(self.now + delay, what);
    }

    fn at(&mut self, at: Mono, what: EventRow) {
        self.order += 1;
        self.calendar.push(std::cmp::Reverse((at.max(self.now), self.order, what)));
    }

    fn soon(&mut self, max: Duration) -> Duration {
        self.dice.between(Duration::from_micros(10), max.max(Duration::from_micros(20)))
    }

    fn run_until(&mut self, end: Mono) {
        while let Some(std::cmp::Reverse((at, _, _))) = self.calendar.peek() {
            if *at > end {
                break;
            }
            let std::cmp::Reverse((at, _, what)) = self.calendar.pop().unwrap();
            self.at_once = if at == self.now { self.at_once + 1 } else { 0 };
            assert!(self.at_once < AT_ONCE_MAX, "time stands still: somebody is due for ever");
            self.now = at;
            self.happen(what);
        }
        self.now = end;
    }

    fn happen(&mut self, what: EventRow) {
        match what {
            EventRow::Emit { agent } => self.emit_again(agent),
            EventRow::Tick { agent, life } => self.tick_agent(agent, life),
            EventRow::HubTick { life } => self.tick_hub(life),
            EventRow::Disk { agent, life } => self.disk_answers(agent, life),
            EventRow::HubDisk { life } => self.hub_disk_answers(life),
            EventRow::Dialled { conn } => self.dialled(conn),
            EventRow::Up { conn } => self.deliver_up(conn),
            EventRow::Down { conn } => self.deliver_down(conn),
            EventRow::Unstall { conn } => self.unstall(conn),
            EventRow::Break { conn, why } => self.break_conn(conn, why),
            EventRow::Fault => self.next_fault(),
            EventRow::StartAgent { agent } => self.start_agent(agent),
            EventRow::StartHub => self.start_hub(),
            EventRow::EmptyDisk { agent } => self.hosts[agent].disk.full = false,
            EventRow::EmptyHubDisk => self.shell.disk.full = false,
            EventRow::Operate => self.operate(),
            EventRow::Ask { agent } => self.ask(agent),
            EventRow::OpsDialled { agent } => self.ops_dialled(agent),
            EventRow::OpsUp { agent, link } => self.ops_bytes(agent, link, true),
            EventRow::OpsDown { agent, link } => self.ops_bytes(agent, link, false),
            EventRow::OpsBreak { agent, life } => self.break_ops(agent, life),
            EventRow::OpsTick => self.tick_ops(),
            EventRow::Work { agent, life } => self.work(agent, life),
            EventRow::Report { agent, life } => self.report(agent, life),
            EventRow::YardTick { agent, life } => self.tick_yard(agent, life),
            EventRow::DockerBack { agent } => self.set_docker(agent, false),
        }
    }

    /// How many events are acknowledged in all, if there are more.
    fn still_behind(&self) -> Option<u64> {
        let emitters = || self.hosts.iter().filter_map(|host| host.emitter.as_ref());
        let is_behind = emitters().any(|emitter| !emitter.is_drained());
        is_behind.then(|| emitters().map(|emitter| emitter.spool().acked()).sum())
    }

    /// Everything has come to rest, and nothing is missing.
    fn finish(mut self) -> Figures {
        self.check_ops();
        (0..self.hosts.len()).for_each(|agent| self.check_sessions(agent));
        let lossless = self.knobs.roomy && !self.knobs.disks_fill;
        for host in &self.hosts {
            let emitter = host.emitter.as_ref().expect("every agent is back");
            assert!(emitter.is_live(), "{} has not come back: {:?}", host.id, emitter.last_error());
            let (acked, last) = (emitter.spool().acked(), emitter.spool().last_seq());
            assert!(emitter.is_drained(), "{} is stuck: {acked} of {last}", host.id);
            let ledger = &self.ledgers[&host.id];
            assert!(ledger.accepted_count() > 0);
            self.figures.in_gaps += ledger.settle(lossless);
            self.figures.gaps += ledger.gap_count();
        }
        self.figures.snapshots = self.reader.snapshots;
        self.figures.seconds = self.now.as_nanos() / 1_000_000_000;
        self.figures
    }
}
