//! What must hold of all that `convocate events --json` has told.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use serde_json::Value;

use crate::agents::Told;

/// What was told of one agent.
#[derive(Default)]
struct Position {
    epoch: String,
    seq: u64,
    /// The reader has missed events, so any number may be next.
    is_unknown: bool,
}

/// Reads what was told, as it grows.
#[derive(Default)]
pub struct Reader {
    offset: u64,
    hub_seq: u64,
    agents: BTreeMap<String, Position>,
    /// In which life of its agent each event was told.
    lives: BTreeMap<String, Vec<u32>>,
    pub figures: Figures,
}

/// What came out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub events: u64,
    pub gaps: u64,
    pub in_gaps: u64,
    /// Times that the reader was too slow for the listener's history, and was told so; and the
    /// agents' events that were in between, those in a gap there included.
    pub missed: u64,
    pub in_missed: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { events, gaps, in_gaps, missed, in_missed } = self;
        write!(
            out,
            "{events} events told, {in_gaps} in {gaps} gaps, {in_missed} in {missed} stretches \
             that the reader was told to have missed"
        )
    }
}

impl Reader {
    /// Reads all whole lines that are there by now.
    pub fn read(&mut self, path: &Path) {
        let mut file = std::fs::File::open(path).unwrap();
        file.seek(SeekFrom::Start(self.offset)).unwrap();
        let mut lines = BufReader::with_capacity(1 << 20, file);
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            self.offset += line.len() as u64;
            self.line(&serde_json::from_str(&line).unwrap());
            line.clear();
        }
    }

    /// Whether an agent's events are told up to this number.
    pub fn has(&self, agent: &str, seq: u64) -> bool {
        self.agents.get(agent).is_some_and(|position| position.seq >= seq)
    }

    fn line(&mut self, line: &Value) {
        if let Some(missed) = line.get("missed") {
            let (from, to) = (missed["from"].as_u64().unwrap(), missed["to"].as_u64().unwrap());
            assert!(from <= self.hub_seq + 1 && to > self.hub_seq, "{line} at {}", self.hub_seq);
            self.figures.missed += 1;
            self.hub_seq = to;
            self.agents.values_mut().for_each(|position| position.is_unknown = true);
            return;
        }
        let (Some(seq), event) = (line["seq"].as_u64(), &line["event"]) else { return };
        // It has the number of the event before it; a listener that was killed in the midst of a
        // commit gives none of the numbers again that may have been in it.
        if event["type"] == "agent.heartbeat" {
            assert!(seq >= self.hub_seq, "a heartbeat behind {seq} told after {}", self.hub_seq);
            self.hub_seq = seq;
            return;
        }
        assert!(seq > self.hub_seq, "hub number {seq} told after {}", self.hub_seq);
        self.hub_seq = seq;
        self.event(event);
    }

    fn event(&mut self, event: &Value) {
        let agent = event["agent_id"].as_str().unwrap();
        if !self.agents.contains_key(agent) {
            let is_unknown = self.figures.missed > 0;
            self.agents.insert(agent.to_owned(), Position { is_unknown, ..Position::default() });
            self.lives.insert(agent.to_owned(), Vec::new());
        }
        let position = self.agents.get_mut(agent).unwrap();
        let lives = self.lives.get_mut(agent).unwrap();
        let is_gap = event["type"] == "agent.gap";
        let (epoch, seq) = match (event["epoch"].as_str(), event["seq"].as_u64()) {
            (Some(epoch), Some(seq)) => (epoch, seq),
            _ if is_gap => ("", event["data"]["to"].as_u64().unwrap()),
            _ => return,
        };
        if position.epoch.is_empty() {
            epoch.clone_into(&mut position.epoch);
        }
        assert!(epoch.is_empty() || position.epoch == epoch, "a second spool of {agent}");
        let from = if is_gap { event["data"]["from"].as_u64().unwrap() } else { seq };
        let due = match position.is_unknown {
            true => from.max(position.seq + 1),
            false => position.seq + 1,
        };
        position.is_unknown = false;
        self.figures.in_missed += due - position.seq - 1;
        lives.resize(usize::try_from(seq).unwrap() + 1, 0);
        if is_gap {
            assert!(from <= due && due <= seq, "{agent}: gap {from}..{seq} where {due} is due");
            self.figures.gaps += 1;
            self.figures.in_gaps += seq - due + 1;
        } else {
            assert_eq!(seq, due, "{agent}: event {seq} told where {due} is due");
            assert_eq!(event["data"]["number"], seq, "{agent}: another event under this number");
            lives[usize::try_from(seq).unwrap()] =
                u32::try_from(event["data"]["life"].as_u64().unwrap()).unwrap();
            self.figures.events += 1;
        }
        position.seq = seq;
    }

    /// At the end: all that was durable at an agent was told, and as what it was then.
    pub fn settle(&self, agent: &str, told: &Told) {
        let (position, lives) = (&self.agents[agent], &self.lives[agent]);
        let mut from = 1;
        for (life, epoch, synced) in &told.marks {
            assert_eq!(*epoch, position.epoch, "{agent} has another spool");
            assert!(position.seq >= *synced, "{agent}: told up to {}: {synced}", position.seq);
            for number in from..=*synced {
                let told_life = u64::from(lives[usize::try_from(number).unwrap()]);
                assert!(
                    told_life <= *life,
                    "{agent}: event {number} was durable in life {life}, and told of {told_life}"
                );
            }
            from = from.max(synced + 1);
        }
    }
}
