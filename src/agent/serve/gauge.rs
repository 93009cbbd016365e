//! Reads what a heartbeat tells: what containers use, and how long the certificate for logs lasts.

use std::path::PathBuf;

use crate::agent::capacity::Disk;
use crate::agent::core::Agent;
use crate::agent::load::{Heartbeat, Meter, Used};
use crate::base::sorted_map::SortedMap;
use crate::base::time::{Mono, Now, Wall};
use crate::base::uuid::Uuid;
use crate::io::cgroup::Cgroups;
use crate::io::disk::{self, Links};
use crate::limits::{CAPACITY_LOOK_INTERVAL, X509_PEM_BYTES_MAX};
use crate::paths::Paths;
use crate::rpc::capacity::Capacity;
use crate::x509::Certificate;
use crate::x509::life::days_left;

/// Remembers what it has read, as shares are made of two readings.
#[derive(Debug)]
pub(super) struct Gauge {
    cgroups: Cgroups,
    certificate: PathBuf,
    meter: Meter,
    homes: PathBuf,
    /// The last measure of the host's room, and when it was taken.
    capacity: Option<(Mono, Option<Capacity>)>,
}

impl Gauge {
    /// For the agent below `paths`, whose containers are accounted for in `cgroups`.
    pub(super) fn new(paths: &Paths, cgroups: Cgroups) -> Gauge {
        Gauge {
            cgroups,
            certificate: paths.agent_tls().certificate(),
            meter: Meter::default(),
            homes: paths.sessions(),
            capacity: None,
        }
    }

    /// What there is to tell now. A figure that cannot be had is left out.
    pub(super) fn read(&mut self, now: Now, agent: &Agent) -> Heartbeat {
        let used = agent.containers().filter_map(|(id, container)| {
            let usage = self.cgroups.usage(container)?;
            Some(Used { id, cpu: usage.cpu, memory: usage.memory })
        });
        let used: Vec<Used> = used.collect();
        let memory = used.iter().map(|used| (used.id, used.memory)).collect();
        self.capacity = Some((now.mono, self.measure(agent, &memory)));
        Heartbeat {
            load: agent.load(),
            usage: self.meter.measure(now.mono, used.into_iter()),
            certificate_days_left: self.certificate_days_left(now.wall),
            capacity: self.capacity.and_then(|(_, capacity)| capacity),
        }
    }

    /// What room the host has, as it was a short time ago at most: many may ask.
    pub(super) fn capacity(&mut self, now: Mono, agent: &Agent) -> Option<Capacity> {
        match self.capacity {
            Some((at, capacity)) if now.since(at) < CAPACITY_LOOK_INTERVAL => capacity,
            _ => {
                let containers = agent.containers();
                let used = |(id, container)| Some((id, self.cgroups.usage(container)?.memory));
                let capacity = self.measure(agent, &containers.filter_map(used).collect());
                self.capacity = Some((now, capacity));
                capacity
            }
        }
    }

    fn measure(&self, agent: &Agent, used: &SortedMap<Uuid, u64>) -> Option<Capacity> {
        let found = disk::measure(&self.homes).ok()?;
        let disk = Disk { total_bytes: found.total_bytes, used_bytes: found.used_bytes };
        Some(agent.capacity(disk, used))
    }

    fn certificate_days_left(&self, now: Wall) -> Option<i64> {
        let pem = disk::read_bounded(&self.certificate, X509_PEM_BYTES_MAX, Links::Refuse).ok()?;
        let certificate = Certificate::parse_pem(std::str::from_utf8(&pem).ok()?).ok()?;
        Some(days_left(certificate.validity(), now))
    }
}
