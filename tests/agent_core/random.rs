//! Any interleaving: every call is answered once, nothing leaks, and what is told is what is.

use convocate::agent::action::{Caller, TerminalId, WorkId};
use convocate::agent::work::{Outcome, RuntimeEvent, WorkError};
use convocate::base::rng::Rng;
use convocate::base::uuid::Uuid;
use convocate::rpc::event::EventType;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::{Host, Screen};

struct Run {
    host: Host,
    rng: Rng,
    callers: Vec<Caller>,
    terminals: Vec<TerminalId>,
    /// Done, and not reported yet.
    late: Vec<(WorkId, Outcome)>,
    crashes: bool,
}

impl Run {
    fn some_session(&mut self) -> Option<Uuid> {
        let at = self.below(self.host.homes.len());
        self.host.homes.keys().nth(at).copied()
    }

    fn turn(&mut self) {
        let choice = self.rng.below(24);
        let session = self.some_session();
        match (choice, session) {
            (0..=1, _) => self.create(),
            (2..=9, Some(id)) => self.ask(choice, id),
            (10..=11, Some(id)) => self.terminals.push(self.host.attach(id)),
            (12, _) => self.change_terminal(),
            (13, Some(id)) => self.end(id),
            (14, _) => self.host.wait(Duration::from_secs(u64::from(self.rng.below(4)))),
            (15, _) if self.crashes && self.rng.below(20) == 0 => self.crash(),
            (16, _) if self.rng.below(6) == 0 => self.outage(),
            _ => self.work(),
        }
    }

    /// The engine goes, with some of the sessions, and is back at once or after some time.
    fn outage(&mut self) {
        self.host.news(RuntimeEvent::Unreachable("gone".to_owned()));
        let ids: Vec<Uuid> = self.host.running.keys().copied().collect();
        for id in ids {
            if self.rng.below(2) == 0 {
                self.host.running.remove(&id);
            }
        }
        (0..self.rng.below(4)).for_each(|_| self.work());
        self.host.news(RuntimeEvent::Reachable);
    }

    fn create(&mut self) {
        let name = ["x", "y", ""][self.rng.below(3) as usize];
        let port = [-1, 0, 7][self.rng.below(3) as usize];
        let params = format!(r#"{{"name":"n","dns_name":"{name}","port":{port}}}"#);
        let line = format!(r#"{{"op":"create","params":{params}}}"#);
        self.callers.push(self.host.line(&line));
    }

    fn ask(&mut self, choice: u32, id: Uuid) {
        let caller = match choice {
            2 => self.host.op("kill", id),
            3 => self.host.op("restart", id),
            4 if self.rng.below(3) == 0 => self.host.op("delete", id),
            5 => self.host.op("override", id),
            6 => self.host.op("background", id),
            7 => self.host.line(&format!(
                r#"{{"op":"edit","params":{{"id":"{id}","port":-1,"dns_name":"z"}}}}"#
            )),
            8 => self
                .host
                .line(&format!(r#"{{"op":"clone","params":{{"source_id":"{id}","name":"c"}}}}"#)),
            _ => self.host.line(r#"{"op":"list","params":null}"#),
        };
        self.callers.push(caller);
    }

    /// Moves some terminal on: opens what is opening, closes any.
    fn change_terminal(&mut self) {
        let at = self.below(self.terminals.len());
        let Some(terminal) = self.terminals.get(at).copied() else { return };
        match (self.host.screens(terminal), self.rng.below(3)) {
            ([Screen::Opening], 0..=1) => self.host.opened(terminal),
            _ => self.host.closed(terminal),
        }
    }

    /// A session ends by itself; or an echo of an earlier end comes.
    fn end(&mut self, id: Uuid) {
        if self.rng.below(3) == 0 {
            self.host.news(RuntimeEvent::Ended {
                id,
                exit_code: Some(0),
                out_of_memory: false,
                was_asked: false,
            });
        } else if self.host.running.contains_key(&id) {
            self.host.ends(id, 1);
        }
    }

    /// Does some piece of work, not the oldest one. One in eight fails, and one in three is
    /// reported later, when what it tells may be old.
    fn work(&mut self) {
        if self.rng.below(4) == 0 && !self.late.is_empty() {
            let at = self.below(self.late.len());
            let (id, outcome) = self.late.remove(at);
            return self.host.report(id, outcome);
        }
        if self.host.work.is_empty() {
            return;
        }
        let at = self.below(self.host.work.len());
        let (id, work) = self.host.work.remove(at).unwrap();
        let outcome = match self.rng.below(16) {
            0 => Err(WorkError::DockerGone("gone".to_owned())),
            1 => Err(WorkError::Disk("full".to_owned())),
            _ => self.host.perform(&work),
        };
        match self.rng.below(3) {
            0 => self.late.push((id, outcome)),
            _ => self.host.report(id, outcome),
        }
    }

    fn below(&mut self, count: usize) -> usize {
        self.rng.below(u32::try_from(count).unwrap().max(1)) as usize
    }

    fn crash(&mut self) {
        self.host.crash();
        self.callers.clear();
        self.terminals.clear();
        self.late.clear();
        self.host.replies.clear();
        self.host.events.clear();
    }

    fn check_end(&mut self, seed: u8) {
        for (id, outcome) in std::mem::take(&mut self.late) {
            self.host.report(id, outcome);
        }
        self.host.settle();
        for caller in &self.callers {
            let answers = self.host.replies.get(caller).map_or(0, Vec::len);
            assert_eq!(answers, 1, "seed {seed}: {caller:?}");
        }
        // What the engine has not explained is told after a while, and asked for if it must be.
        self.host.wait(Duration::from_secs(3));
        self.host.settle();
        assert!(self.host.agent.is_idle(), "seed {seed}");
        let list = self.host.list();
        assert_eq!(list.len(), self.host.homes.len(), "seed {seed}");
        for session in &list {
            let id = crate::host::id_of(session);
            let runs = self.host.running.contains_key(&id);
            assert_eq!(session["running"], runs, "seed {seed}: {session}");
            // The other way round it may be: a deletion that could not write its lock and stopped
            // halfway is locked all the same.
            if self.host.locks.contains_key(&id) {
                assert_eq!(session["locked"], true, "seed {seed}");
            }
        }
        if !self.crashes {
            self.check_events(seed);
        }
        self.check_nothing_leaks(seed);
    }

    /// Starts and stops alternate, and the last one is what is.
    fn check_events(&self, seed: u8) {
        let mut running: BTreeMap<Uuid, bool> = BTreeMap::new();
        for event in &self.host.events {
            let id = event.session_id.expect("these are about sessions");
            match event.kind {
                EventType::Started => {
                    assert_ne!(running.insert(id, true), Some(true), "seed {seed}: twice started");
                }
                // That it could not be started again is another thing.
                EventType::Stopped if !event.data["reason"].is_null() => {
                    running.insert(id, false);
                }
                EventType::Stopped => {
                    assert_eq!(running.insert(id, false), Some(true), "seed {seed}: not running");
                }
                EventType::Deleted => {
                    assert_ne!(running.remove(&id), Some(true), "seed {seed}: deleted running");
                }
                _ => {}
            }
        }
        let told = running.values().filter(|is_running| **is_running).count();
        assert_eq!(told, self.host.running.len(), "seed {seed}");
    }

    /// After everything is deleted every port and name can be had again.
    fn check_nothing_leaks(&mut self, seed: u8) {
        for id in self.host.homes.keys().copied().collect::<Vec<_>>() {
            let delete = self.host.op("delete", id);
            self.host.settled(delete);
        }
        assert!(self.host.running.is_empty() && self.host.locks.is_empty(), "seed {seed}");
        for name in ["x", "y", "z"] {
            let params = format!(r#"{{"name":"n","dns_name":"{name}"}}"#);
            self.host.create_with(&params);
        }
        self.host.create_with(r#"{"name":"n","port":7}"#);
        let first = self.host.create_with(r#"{"name":"n","port":-1}"#);
        assert_eq!(self.host.listed(first)["port"], 1001, "seed {seed}");
    }
}

#[test]
fn every_call_is_answered_once_and_nothing_leaks() {
    for seed in 0..60 {
        let crashes = seed % 2 == 1;
        let mut run = Run {
            host: Host::new(),
            rng: Rng::from_seed([seed; 32]),
            callers: Vec::new(),
            terminals: Vec::new(),
            late: Vec::new(),
            crashes,
        };
        (0..600).for_each(|_| run.turn());
        run.check_end(seed);
    }
}
