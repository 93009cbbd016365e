//! The load of an agent, as its heartbeats tell it.
//!
//! What the core counts and what the driver has read go in, what stands in a heartbeat comes out.
//! It reads nothing itself.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::rpc::capacity::Capacity;

/// What the core counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) sessions: usize,
    /// Sessions that run, as far as it is known.
    pub(crate) running: usize,
    /// Terminals that are attached.
    pub(crate) attached: usize,
    pub(crate) operations: usize,
}

/// What a session's container has used, as the driver read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) id: Uuid,
    /// Time on processors since the container started.
    pub(crate) cpu: Duration,
    /// Memory that it has now and that cannot be taken from it, in bytes.
    pub(crate) memory: u64,
}

/// Everything that stands in a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    /// What the core counts.
    pub(crate) load: Load,
    /// By session: thousandths of a processor since the last heartbeat, if there was one, and bytes
    /// of memory.
    pub(crate) usage: SortedMap<Uuid, (Option<u64>, u64)>,
    /// Whole days until the certificate for logs ends, less than none if it has; `None` if there is
    /// no certificate.
    pub(crate) certificate_days_left: Option<i64>,
    /// What room the host has, if that can be measured.
    pub(crate) capacity: Option<Capacity>,
}

impl Heartbeat {
    /// As it goes over the wire.
    pub(crate) fn to_value(&self) -> Value {
        let Load { sessions, running, attached, operations } = self.load;
        let mut value = json!({
            "sessions": sessions, "running": running, "attached": attached,
            "operations": operations,
        });
        if !self.usage.is_empty() {
            let usage = self.usage.iter().map(|(id, used)| (id.to_string(), json!(used)));
            value["usage"] = Value::Object(usage.collect::<Map<_, _>>());
        }
        if let Some(days) = self.certificate_days_left {
            value["certificate_days_left"] = json!(days);
        }
        if let Some(capacity) = self.capacity {
            value["capacity"] = json!(capacity);
        }
        value
    }
}

/// Makes shares of processors out of counters that only grow.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    read: SortedMap<Uuid, (Mono, Duration)>,
}

impl Meter {
    /// Takes what has been read at `now`, for all sessions that run.
    pub(crate) fn measure(
        &mut self,
        now: Mono,
        used: impl Iterator<Item = Used>,
    ) -> SortedMap<Uuid, (Option<u64>, u64)> {
        let before = std::mem::take(&mut self.read);
        used.map(|used| {
            self.read.insert(used.id, (now, used.cpu));
            let share = before.get(&used.id).and_then(|(then, cpu)| {
                // Less than before: another container counts.
                share(used.cpu.checked_sub(*cpu)?, now.since(*then))
            });
            (used.id, (share, used.memory))
        })
        .collect()
    }
}

/// Thousandths of a processor; `None` if no time has passed.
fn share(cpu: Duration, passed: Duration) -> Option<u64> {
    u64::try_from((cpu.as_micros() * 1000).checked_div(passed.as_micros())?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> Uuid {
        let text = "01234567-89ab-4def-8123-45678901234D";
        Uuid::parse(&text.replace('D', &digit.to_string())).expect("an id")
    }

    fn used(digit: char, cpu: u64, memory: u64) -> Used {
        Used { id: id(digit), cpu: Duration::from_millis(cpu), memory }
    }

    fn at(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_share_needs_two_readings_of_one_container() {
        let mut meter = Meter::default();
        let first = meter.measure(at(10), [used('1', 500, 7), used('2', 0, 8)].into_iter());
        assert_eq!(first, SortedMap::from_iter([(id('1'), (None, 7)), (id('2'), (None, 8))]));
        let second = meter.measure(at(40), [used('1', 15_500, 9)].into_iter());
        assert_eq!(second, SortedMap::from_iter([(id('1'), (Some(500), 9))]));
        // Started again meanwhile; and one that was away counts anew.
        let third = meter.measure(at(70), [used('1', 100, 9), used('2', 60_000, 8)].into_iter());
        assert_eq!(third, SortedMap::from_iter([(id('1'), (None, 9)), (id('2'), (None, 8))]));
        assert_eq!(meter.measure(at(70), [used('1', 100, 9)].into_iter())[&id('1')], (None, 9));
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let load = Load { sessions: 2, running: 1, attached: 0, operations: 0 };
        let mut beat = Heartbeat {
            load,
            usage: SortedMap::new(),
            certificate_days_left: None,
            capacity: None,
        };
        let counts = json!({ "sessions": 2, "running": 1, "attached": 0, "operations": 0 });
        assert_eq!(beat.to_value(), counts);
        beat.usage.insert(id('1'), (Some(250), 1 << 20));
        beat.certificate_days_left = Some(-1);
        let value = beat.to_value();
        assert_eq!(value["usage"][id('1').to_string()], json!([250, 1 << 20]));
        assert_eq!(value["certificate_days_left"], -1);
    }
}
