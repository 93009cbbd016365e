//! What a seed is about, and what goes wrong in it.

use std::time::Duration;

use convocate::agent::spool;
use convocate::status::journal;

use super::{EventRow, KEEPALIVE_TIMEOUT, World};
use crate::random::Dice;

/// What this seed is about.
pub(super) struct Knobs {
    pub(super) fault_phase: Duration,
    pub(super) fault_every: Duration,
    pub(super) emit_every: Duration,
    pub(super) delay_max: Duration,
    pub(super) disk_delay_max: Duration,
    pub(super) data_bytes_max: usize,
    pub(super) spool: spool::SpoolTuning,
    pub(super) journal: journal::Tuning,
    /// Whether agents' disks may be full.
    pub(super) disks_fill: bool,
    /// Whether the spool is large enough for everything.
    pub(super) roomy: bool,
    /// Whether there are operators, and how often one does something.
    pub(super) operators: bool,
    pub(super) operate_every: Duration,
    /// What Docker and the disk take for a piece of work, and how often Docker refuses, in percent.
    pub(super) docker_delay_max: Duration,
    pub(super) docker_wrong: u32,
    pub(super) weights: [u32; FAULTS.len()],
}

impl Knobs {
    pub(super) fn roll(dice: &mut Dice) -> Knobs {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let roomy = dice.percent(50);
        let small = spool::SpoolTuning {
            segment_bytes: u64::from(8192 + dice.below(16_384)),
            segments_max: 2 + dice.index(4),
            tail_bytes_max: 2048 + dice.index(2048),
        };
        Knobs {
            fault_phase: dice.between(s(20), s(240)),
            fault_every: dice.between(ms(200), s(20)),
            emit_every: dice.between(ms(2), ms(800)),
            delay_max: dice.between(ms(1), ms(400)),
            disk_delay_max: dice.between(ms(1), ms(200)),
            data_bytes_max: 1 + dice.index(600),
            spool: if roomy {
                let segment_bytes = u64::from(8192 + dice.below(100_000));
                spool::SpoolTuning { segment_bytes, segments_max: 10_000, tail_bytes_max: 1 << 24 }
            } else {
                small
            },
            journal: journal::Tuning {
                file_bytes: u64::from(4096 + dice.below(200_000)),
                checkpoint_bytes: 1 + dice.index(2000),
            },
            operators: dice.percent(60),
            operate_every: dice.between(ms(50), s(4)),
            docker_delay_max: dice.between(ms(1), s(4)),
            docker_wrong: if dice.percent(50) { 0 } else { dice.below(30) },
            disks_fill: dice.percent(40),
            roomy,
            weights: std::array::from_fn(|_| if dice.percent(30) { 0 } else { 1 + dice.below(10) }),
        }
    }
}

#[derive(Clone, Copy)]
enum Fault {
    Reset,
    Stall,
    HalfOpen,
    KillAgent,
    KillHub,
    HubAway,
    AgentDiskFull,
    HubDiskFull,
    ClockBack,
    Burst,
    DockerGone,
    OpsReset,
    OpsHalfOpen,
}

const FAULTS: [Fault; 13] = [
    Fault::Reset,
    Fault::Stall,
    Fault::HalfOpen,
    Fault::KillAgent,
    Fault::KillHub,
    Fault::HubAway,
    Fault::AgentDiskFull,
    Fault::HubDiskFull,
    Fault::ClockBack,
    Fault::Burst,
    Fault::DockerGone,
    Fault::OpsReset,
    Fault::OpsHalfOpen,
];

impl World {
    pub(super) fn next_fault(&mut self) {
        if !self.faulty {
            return;
        }
        let total: u32 = self.knobs.weights.iter().sum();
        if total > 0 {
            let mut pick = self.dice.below(total);
            let chosen = self.knobs.weights.iter().position(|&weight| {
                let here = pick < weight;
                pick = pick.saturating_sub(weight);
                here
            });
            self.fault(FAULTS[chosen.unwrap()]);
            self.figures.faults += 1;
        }
        let every = self.knobs.fault_every;
        let delay = self.dice.between(every / 4, every * 2);
        self.after(delay, EventRow::Fault);
    }

    fn fault(&mut self, fault: Fault) {
        let agent = self.dice.index(self.hosts.len());
        let short = self.dice.between(Duration::from_millis(10), Duration::from_secs(10));
        let long = self.dice.between(Duration::from_secs(10), Duration::from_secs(90));
        let conn = self.hosts[agent].conn;
        match (fault, conn) {
            (Fault::Reset, Some(conn)) => self.break_conn(conn, "connection reset"),
            (Fault::Stall, Some(conn)) => {
                self.stall(conn);
                self.after(short, EventRow::Unstall { conn });
            }
            (Fault::HalfOpen, Some(conn)) => {
                self.stall(conn);
                self.after(KEEPALIVE_TIMEOUT, EventRow::Break { conn, why: "no keepalive" });
            }
            (Fault::Reset | Fault::Stall | Fault::HalfOpen, None) => {}
            (Fault::KillAgent, _) => self.kill_agent(agent),
            (Fault::KillHub, _) => self.kill_hub(short),
            (Fault::HubAway, _) => self.kill_hub(long),
            (Fault::AgentDiskFull, _) if self.knobs.disks_fill => {
                self.hosts[agent].disk.full = true;
                self.after(short, EventRow::EmptyDisk { agent });
            }
            (Fault::AgentDiskFull, _) => {}
            (Fault::HubDiskFull, _) => {
                self.shell.disk.full = true;
                self.after(short, EventRow::EmptyHubDisk);
            }
            (Fault::ClockBack, _) => self.wall_back += i64::from(self.dice.below(100_000)),
            (Fault::DockerGone, _) => {
                self.set_docker(agent, true);
                self.after(short, EventRow::DockerBack { agent });
            }
            (Fault::OpsReset, _) => self.reset_ops(agent),
            (Fault::OpsHalfOpen, _) => self.stall_ops(agent),
            (Fault::Burst, _) => {
                for _ in 0..self.dice.amount(300) {
                    self.emit(agent);
                }
            }
        }
    }

    pub(super) fn stall(&mut self, id: u64) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.stalled = true;
        }
    }

    pub(super) fn stop_faults(&mut self) {
        self.faulty = false;
        self.shell.disk.full = false;
        for host in &mut self.hosts {
            host.disk.full = false;
        }
        (0..self.hosts.len()).for_each(|agent| self.set_docker(agent, false));
    }
}
