//! The agents of the world: their starts and deaths, events, disks and dials.

use std::collections::VecDeque;
use std::time::Duration;

use convocate::agent::emitter::{Emitter, EmitterAction, Identity};
use convocate::agent::spool::recovery;
use convocate::base::disk::DiskOp;
use convocate::base::time::Mono;
use convocate::rpc::event::{Event, EventType};
use serde_json::json;

use super::{Conn, EventRow, PIPE_BYTES, World};
use crate::check::fingerprint;

impl World {
    pub(super) fn start_agent(&mut self, agent: usize) {
        if self.hosts[agent].emitter.is_some() {
            return;
        }
        let (now, seed) = (self.clock(), self.dice.seed());
        let host = &mut self.hosts[agent];
        let tuning = self.knobs.spool;
        let mut recovery = recovery::Recovery::new(host.disk.lengths(), tuning, self.dice.rng());
        while let Some(op) = recovery.poll_disk() {
            recovery.disk_done(host.disk.execute(op, &mut self.dice));
        }
        let identity = Identity {
            agent_id: host.id.clone(),
            version: "1".to_owned(),
            image_tag: "image:1".to_owned(),
        };
        let spool = recovery.finish();
        let ledger = self.ledgers.get_mut(&host.id).unwrap();
        ledger.recovered(spool.epoch().as_str(), spool.synced());
        host.emitter = Some(Emitter::new(identity, spool, seed, now));
        host.tick_at = Mono::from_nanos(u64::MAX);
        let id = host.id.clone();
        self.in_yard(agent, |yard| yard.come_back(&id, now));
        self.pump_agent(agent);
    }

    pub(super) fn kill_agent(&mut self, agent: usize) {
        let host = &mut self.hosts[agent];
        if host.emitter.take().is_none() {
            return;
        }
        host.life += 1;
        host.redial_by = None;
        host.disk.crash(&mut self.dice);
        self.lose_ops(agent);
        let host = &mut self.hosts[agent];
        if let Some(conn) = host.conn.take() {
            self.leave(conn);
        }
        let away = self.dice.between(Duration::from_millis(1), Duration::from_secs(10));
        self.after(away, EventRow::StartAgent { agent });
    }

    pub(super) fn emit_again(&mut self, agent: usize) {
        self.emit(agent);
        if self.faulty {
            let every = self.knobs.emit_every;
            let delay = self.dice.between(every / 8, every * 2);
            self.after(delay, EventRow::Emit { agent });
        }
    }

    pub(super) fn emit(&mut self, agent: usize) {
        self.serial += 1;
        let serial = self.serial;
        let filler = "x".repeat(self.dice.index(self.knobs.data_bytes_max));
        let now = self.clock();
        let host = &mut self.hosts[agent];
        let Some(emitter) = &mut host.emitter else { return };
        let event = Event {
            kind: EventType::Stopped,
            agent_id: host.id.clone(),
            session_id: None,
            timestamp: now.wall,
            data: json!({ "serial": serial, "filler": filler }),
            epoch: None,
            seq: None,
        };
        let seq = emitter.emit(&event);
        let epoch = emitter.spool().epoch().as_str();
        let print = fingerprint(&serde_json::to_value(&event).unwrap());
        self.ledgers.get_mut(&host.id).unwrap().emitted(epoch, seq, print);
        self.figures.events += 1;
        self.pump_agent(agent);
    }

    pub(super) fn tick_agent(&mut self, agent: usize, life: u64) {
        let now = self.clock();
        let host = &mut self.hosts[agent];
        host.tick_at = Mono::from_nanos(u64::MAX);
        if let Some(emitter) = host.emitter.as_mut().filter(|_| host.life == life) {
            emitter.tick(now);
            self.pump_agent(agent);
        }
    }

    pub(super) fn disk_answers(&mut self, agent: usize, life: u64) {
        let now = self.clock();
        let host = &mut self.hosts[agent];
        if host.life != life {
            return;
        }
        let Some(done) = host.disk.finish(&mut self.dice) else { return };
        if host.disk.is_busy() {
            let delay = self.soon(self.knobs.disk_delay_max);
            self.after(delay, EventRow::Disk { agent, life });
        }
        let host = &mut self.hosts[agent];
        let emitter = host.emitter.as_mut().unwrap();
        emitter.disk_done(now, done);
        let epoch = emitter.spool().epoch().as_str();
        self.ledgers.get_mut(&host.id).unwrap().synced(epoch, emitter.synced());
        let bound = (self.knobs.spool.segments_max as u64 + 1) * self.knobs.spool.segment_bytes;
        assert!(host.disk.bytes() as u64 <= bound, "the spool outgrows its bound");
        self.pump_agent(agent);
        self.release_answers(agent);
    }

    /// Does what the emitter wants until it wants nothing.
    pub(super) fn pump_agent(&mut self, agent: usize) {
        loop {
            let now = self.clock();
            let Some(emitter) = &mut self.hosts[agent].emitter else { return };
            if let Some(op) = emitter.poll_disk() {
                self.start_disk(agent, op);
                continue;
            }
            if let Some(action) = emitter.poll_action() {
                match action {
                    EmitterAction::Dial => self.dial(agent),
                    EmitterAction::Measure => emitter.heartbeat(now, json!({ "load": 1 })),
                    EmitterAction::HangUp => {
                        panic!("the emitter hangs up: {:?}", emitter.last_error())
                    }
                }
                continue;
            }
            if !self.send_up(agent) {
                break;
            }
        }
        self.schedule_tick(agent);
    }

    pub(super) fn start_disk(&mut self, agent: usize, op: DiskOp) {
        if self.hosts[agent].disk.start(op) {
            let delay = self.soon(self.knobs.disk_delay_max);
            let life = self.hosts[agent].life;
            self.after(delay, EventRow::Disk { agent, life });
        }
    }

    /// Moves output into the connection. Whether anything moved.
    pub(super) fn send_up(&mut self, agent: usize) -> bool {
        let host = &mut self.hosts[agent];
        let (Some(emitter), Some(id)) = (&mut host.emitter, host.conn) else { return false };
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.open) else { return false };
        let room = PIPE_BYTES - conn.up.len();
        let count = emitter.output().len().min(room);
        if count == 0 {
            return false;
        }
        conn.up.extend(&emitter.output()[..count]);
        emitter.output_sent(count);
        self.schedule_up(id);
        true
    }

    pub(super) fn schedule_tick(&mut self, agent: usize) {
        let host = &mut self.hosts[agent];
        let deadline = host.emitter.as_ref().and_then(Emitter::deadline);
        if let Some(at) = deadline.filter(|at| *at < host.tick_at) {
            host.tick_at = at;
            let life = host.life;
            self.at(at, EventRow::Tick { agent, life });
        }
    }

    pub(super) fn dial(&mut self, agent: usize) {
        let host = &mut self.hosts[agent];
        if let Some(by) = host.redial_by.take() {
            assert!(self.now <= by, "a proven listener is redialled late");
        }
        let id = self.next_conn;
        self.next_conn += 1;
        host.conn = Some(id);
        let conn = Conn {
            agent,
            agent_life: host.life,
            listener: None,
            inbox: Vec::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            up_scheduled: false,
            down_scheduled: false,
            stalled: false,
            open: false,
            greeted: false,
        };
        self.conns.insert(id, conn);
        let delay = self.soon(self.knobs.delay_max);
        self.after(delay, EventRow::Dialled { conn: id });
    }
}
