//! The shell host of the world: its starts and deaths, disk, listeners and the reader.

use std::time::Duration;

use convocate::base::time::Mono;
use convocate::status::hub::HubAction;
use convocate::status::recovery;
use convocate::status::subscribe::Subscriber;
use serde_json::json;

use super::{EventRow, PIPE_BYTES, World};

impl World {
    pub(super) fn start_hub(&mut self) {
        if self.shell.hub.is_some() {
            return;
        }
        let files = self.shell.disk.lengths();
        let mut recovery = recovery::Recovery::new(files, self.knobs.journal);
        while let Some(op) = recovery.poll_disk() {
            recovery.disk_done(self.shell.disk.execute(op, &mut self.dice));
        }
        let hub = recovery.finish();
        for (id, ledger) in &self.ledgers {
            let Some((epoch, seq)) = &ledger.acked else { continue };
            let durable = hub.durable(id).expect("an acknowledged agent is remembered");
            assert_eq!(&*durable.epoch, epoch);
            assert!(durable.seq >= *seq, "event {seq} was acknowledged and is forgotten");
        }
        self.shell.subscriber = Subscriber::new();
        self.reader.reconnected();
        let since = json!({ "since": self.reader.seq }).to_string() + "\n";
        self.shell.subscriber.input(since.as_bytes(), &hub).unwrap();
        self.shell.hub = Some(hub);
        self.shell.tick_at = Mono::from_nanos(u64::MAX);
        self.pump_hub();
    }

    pub(super) fn kill_hub(&mut self, away: Duration) {
        if self.shell.hub.take().is_none() {
            return;
        }
        self.shell.life += 1;
        self.shell.disk.crash(&mut self.dice);
        let ids: Vec<u64> = self.conns.keys().copied().collect();
        for conn in ids {
            self.conns.get_mut(&conn).unwrap().listener = None;
            let delay = self.soon(Duration::from_secs(1));
            self.after(delay, EventRow::Break { conn, why: "connection reset" });
        }
        self.after(away, EventRow::StartHub);
    }

    pub(super) fn tick_hub(&mut self, life: u64) {
        let now = self.clock();
        if self.shell.life == life {
            self.shell.tick_at = Mono::from_nanos(u64::MAX);
            if let Some(hub) = &mut self.shell.hub {
                hub.tick(now);
                self.pump_hub();
            }
        }
    }

    pub(super) fn hub_disk_answers(&mut self, life: u64) {
        if self.shell.life != life {
            return;
        }
        let Some(done) = self.shell.disk.finish(&mut self.dice) else { return };
        if self.shell.disk.is_busy() {
            let delay = self.soon(self.knobs.disk_delay_max);
            self.after(delay, EventRow::HubDisk { life });
        }
        self.shell.hub.as_mut().unwrap().disk_done(self.now, done);
        self.pump_hub();
    }

    pub(super) fn pump_hub(&mut self) {
        self.hub_disk();
        let ids: Vec<u64> = self.conns.keys().copied().collect();
        for conn in ids {
            self.pump_listener(conn);
        }
        self.hub_disk();
        self.tell_reader();
        let Some(hub) = &self.shell.hub else { return };
        if let Some(at) = hub.deadline().filter(|at| *at < self.shell.tick_at) {
            self.shell.tick_at = at;
            let life = self.shell.life;
            self.at(at, EventRow::HubTick { life });
        }
    }

    pub(super) fn hub_disk(&mut self) {
        let mut wanted = Vec::new();
        loop {
            let Some(hub) = &mut self.shell.hub else { return };
            while let Some(want) = hub.poll_want() {
                if let HubAction::List(id) = want {
                    wanted.push(id);
                }
            }
            while hub.poll_notice().is_some() {}
            let Some(op) = hub.poll_disk() else { break };
            if self.shell.disk.start(op) {
                let delay = self.soon(self.knobs.disk_delay_max);
                let life = self.shell.life;
                self.after(delay, EventRow::HubDisk { life });
            }
        }
        wanted.iter().for_each(|id| self.want_list(id, Duration::ZERO));
    }

    pub(super) fn pump_listener(&mut self, id: u64) {
        let now = self.clock();
        let (Some(hub), Some(conn)) = (&mut self.shell.hub, self.conns.get_mut(&id)) else {
            return;
        };
        let Some(listener) = &mut conn.listener else { return };
        let taken = listener.input(now, &conn.inbox, hub);
        conn.inbox.drain(..taken);
        assert_eq!(listener.poll_note(), None, "our own agents send what can be read");
        assert!(!listener.is_failed());
        let count = listener.output().len().min(PIPE_BYTES - conn.down.len());
        conn.down.extend(&listener.output()[..count]);
        listener.output_sent(count, hub);
        self.schedule_up(id);
        self.schedule_down(id);
    }

    pub(super) fn tell_reader(&mut self) {
        let Some(hub) = &self.shell.hub else { return };
        loop {
            let output = self.shell.subscriber.output(hub);
            if output.is_empty() {
                return;
            }
            let count = self.dice.amount(output.len());
            let bytes = output[..count].to_vec();
            self.shell.subscriber.output_sent(count, hub);
            self.reader.read(&bytes, &mut self.ledgers);
        }
    }
}
