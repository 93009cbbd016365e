//! What must always hold, as seen by one who reads all that the hub tells.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

/// What an event says, its number and time apart.
pub fn fingerprint(event: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    for part in ["type", "session_id", "data"] {
        event[part].to_string().hash(&mut hasher);
    }
    hasher.finish()
}

/// What one agent has put into its spool, and what of it has come out of the hub.
#[derive(Default)]
pub struct Ledger {
    /// What the newest event of each number says. A number that was never durable may be given
    /// again; one that was sent may not.
    emitted: BTreeMap<(String, u64), u64>,
    /// Durable at the agent: these must arrive.
    accepted: BTreeSet<(String, u64)>,
    synced_to: Option<(String, u64)>,
    seen: BTreeSet<(String, u64)>,
    gaps: Vec<(String, u64, u64)>,
    position: Option<(String, u64)>,
    /// What the agent may have forgotten because it was told to.
    pub acked: Option<(String, u64)>,
}

impl Ledger {
    pub fn emitted(&mut self, epoch: &str, seq: u64, print: u64) {
        let key = (epoch.to_owned(), seq);
        assert!(!self.accepted.contains(&key), "number {key:?} is given twice");
        self.emitted.insert(key, print);
    }

    /// The agent is back. Of what was not durable when it died, some may be there, and the rest may
    /// be announced.
    pub fn recovered(&mut self, epoch: &str, seq: u64) {
        self.synced_to = Some((epoch.to_owned(), seq));
    }

    /// Everything up to `seq` that was emitted is durable or announced at the agent.
    pub fn synced(&mut self, epoch: &str, seq: u64) {
        let from = match &self.synced_to {
            Some((known, last)) if known == epoch => last + 1,
            _ => 1,
        };
        if from <= seq {
            let span = (epoch.to_owned(), from)..=(epoch.to_owned(), seq);
            self.accepted.extend(self.emitted.range(span).map(|(key, _)| key.clone()));
            self.synced_to = Some((epoch.to_owned(), seq));
        }
    }

    /// An event with a number of the agent's has come out of the hub.
    fn told(&mut self, epoch: &str, seq: u64, event: &Value) {
        let due = self.due(epoch);
        if event["type"] == "agent.gap" {
            let from = event["data"]["from"].as_u64().unwrap();
            assert!(from <= due && seq >= due, "gap {from}..{seq} where {due} is due");
            self.gaps.push((epoch.to_owned(), from, seq));
        } else {
            assert_eq!(seq, due, "event {seq} told where {due} is due");
            let key = (epoch.to_owned(), seq);
            let print = fingerprint(event);
            assert_eq!(self.emitted.get(&key), Some(&print), "number {key:?} means two events");
            assert!(self.seen.insert(key), "event {seq} told twice");
        }
        self.position = Some((epoch.to_owned(), seq));
    }

    /// The hub itself has found that something is missing.
    fn missed(&mut self, from: u64, to: u64) {
        let (epoch, last) = self.position.clone().unwrap();
        assert_eq!(from, last + 1, "the hub announces another gap than there is");
        self.gaps.push((epoch.clone(), from, to));
        self.position = Some((epoch, to));
    }

    fn due(&self, epoch: &str) -> u64 {
        match &self.position {
            Some((known, seq)) if known == epoch => seq + 1,
            _ => 1,
        }
    }

    /// At the end: nothing that was accepted is missing without a word. How many are in gaps.
    pub fn settle(&self, lossless: bool) -> usize {
        let in_gap = |key: &(String, u64)| {
            self.gaps
                .iter()
                .any(|(epoch, from, to)| *epoch == key.0 && (from..=to).contains(&&key.1))
        };
        let missing: Vec<_> = self.accepted.difference(&self.seen).collect();
        for key in &missing {
            assert!(in_gap(key), "event {key:?} is lost without a word");
        }
        assert!(!lossless || missing.is_empty(), "events {missing:?} are lost without need");
        missing.len()
    }

    pub fn accepted_count(&self) -> usize {
        self.accepted.len()
    }

    pub fn gap_count(&self) -> usize {
        self.gaps.len()
    }
}

/// One who reads the status socket, across restarts of the hub.
#[derive(Default)]
pub struct Reader {
    partial: Vec<u8>,
    pub seq: u64,
    pub snapshots: u64,
}

impl Reader {
    /// The hub has restarted: a line that was begun will not be finished.
    pub fn reconnected(&mut self) {
        self.partial.clear();
    }

    pub fn read(&mut self, bytes: &[u8], ledgers: &mut BTreeMap<String, Ledger>) {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let line: Value = serde_json::from_slice(&line).expect("every line is JSON");
            self.line(&line, ledgers);
        }
    }

    fn line(&mut self, line: &Value, ledgers: &mut BTreeMap<String, Ledger>) {
        if line.get("snapshot").is_some() {
            self.snapshots += 1;
            return;
        }
        assert!(line.get("missed").is_none(), "a reader that keeps up has missed events: {line}");
        let (seq, event) = (line["seq"].as_u64().unwrap(), &line["event"]);
        let agent = event["agent_id"].as_str().unwrap();
        if event["type"] == "agent.heartbeat" {
            return;
        }
        assert!(seq > self.seq, "hub number {seq} told after {}", self.seq);
        self.seq = seq;
        let ledger = ledgers.get_mut(agent).unwrap();
        match (event["epoch"].as_str(), event["seq"].as_u64()) {
            (Some(epoch), Some(number)) => ledger.told(epoch, number, event),
            _ if event["type"] == "agent.gap" => {
                let bound = |name: &str| event["data"][name].as_u64().unwrap();
                ledger.missed(bound("from"), bound("to"));
            }
            _ => {}
        }
    }
}
