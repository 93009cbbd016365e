//! The connections of the world: how they come about, carry bytes and break.

use std::time::Duration;

use convocate::limits::REDIAL_FIRST;
use convocate::status::listener::Listener;

use super::{EventRow, KEEPALIVE_TIMEOUT, PIPE_BYTES, World};

impl World {
    pub(super) fn dialled(&mut self, id: u64) {
        let now = self.clock();
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let (agent, life) = (conn.agent, conn.agent_life);
        let Some(hub) = &mut self.shell.hub else {
            return self.break_conn(id, "connection refused");
        };
        assert!(hub.connected(now, &self.hosts[agent].id));
        conn.listener = Some(Listener::new(&self.hosts[agent].id, hub));
        conn.open = true;
        self.figures.connections += 1;
        let host = &mut self.hosts[agent];
        if host.life == life && host.conn == Some(id) {
            host.emitter.as_mut().unwrap().opened(self.now);
            self.pump_agent(agent);
        }
        self.pump_hub();
    }

    pub(super) fn schedule_up(&mut self, id: u64) {
        let delay = self.soon(self.knobs.delay_max);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let due = !conn.up_scheduled && !conn.stalled && !conn.up.is_empty();
        if due && conn.inbox.len() < PIPE_BYTES {
            conn.up_scheduled = true;
            self.after(delay, EventRow::Up { conn: id });
        }
    }

    pub(super) fn schedule_down(&mut self, id: u64) {
        let delay = self.soon(self.knobs.delay_max);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.down_scheduled && !conn.stalled && !conn.down.is_empty() {
            conn.down_scheduled = true;
            self.after(delay, EventRow::Down { conn: id });
        }
    }

    pub(super) fn deliver_up(&mut self, id: u64) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.up_scheduled = false;
        if conn.stalled || conn.up.is_empty() {
            return;
        }
        let count = self.dice.amount(conn.up.len());
        conn.inbox.extend(conn.up.drain(..count));
        let agent = conn.agent;
        self.pump_hub();
        self.pump_agent(agent);
        self.schedule_up(id);
    }

    pub(super) fn deliver_down(&mut self, id: u64) {
        let now = self.clock();
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.down_scheduled = false;
        if conn.stalled || conn.down.is_empty() {
            return;
        }
        let count = self.dice.amount(conn.down.len());
        let bytes: Vec<u8> = conn.down.drain(..count).collect();
        let agent = conn.agent;
        let host = &mut self.hosts[agent];
        if host.conn == Some(id) && host.life == conn.agent_life {
            conn.greeted |= bytes.contains(&b'\n');
            let emitter = host.emitter.as_mut().unwrap();
            emitter.input(now, &bytes);
            let epoch = emitter.spool().epoch().as_str().to_owned();
            let acked = emitter.spool().acked();
            if acked > 0 {
                self.note_acked(agent, epoch, acked);
            }
        }
        self.pump_agent(agent);
        self.schedule_down(id);
        self.pump_hub();
    }

    /// What the agent holds for acknowledged; a recovered spool may start above zero by itself.
    pub(super) fn note_acked(&mut self, agent: usize, epoch: String, acked: u64) {
        let durable = self.shell.hub.as_ref().and_then(|hub| hub.durable(&self.hosts[agent].id));
        if durable.is_some_and(|durable| *durable.epoch == *epoch) {
            self.ledgers.get_mut(&self.hosts[agent].id).unwrap().acked = Some((epoch, acked));
        }
    }

    pub(super) fn unstall(&mut self, id: u64) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.stalled = false;
            self.schedule_up(id);
            self.schedule_down(id);
        }
    }

    /// Both ends learn that the connection is gone.
    pub(super) fn break_conn(&mut self, id: u64, why: &str) {
        let now = self.clock();
        let Some(conn) = self.conns.remove(&id) else { return };
        let newest = !self.conns.values().any(|other| other.agent == conn.agent);
        let host = &mut self.hosts[conn.agent];
        if let Some(hub) = self.shell.hub.as_mut().filter(|_| conn.open && newest) {
            hub.lost(now, &host.id, why);
        }
        if host.conn == Some(id) && host.life == conn.agent_life {
            host.conn = None;
            host.redial_by =
                conn.greeted.then(|| self.now + REDIAL_FIRST + Duration::from_millis(1));
            host.emitter.as_mut().unwrap().closed(self.now, why.to_owned());
            self.pump_agent(conn.agent);
        }
        self.pump_hub();
    }

    /// The agent's machine is gone: the other end is told at once, or finds out by itself.
    pub(super) fn leave(&mut self, id: u64) {
        let delay = match self.dice.percent(50) {
            true => self.soon(Duration::from_secs(1)),
            false => KEEPALIVE_TIMEOUT,
        };
        self.after(delay, EventRow::Break { conn: id, why: "connection reset" });
    }
}
