//! Reads what a heartbeat tells: what containers use, and how long the certificate for logs lasts.

use std::path::PathBuf;

use crate::agent::core::Agent;
use crate::agent::load::{Heartbeat, Meter, Used};
use crate::base::time::{Now, Wall};
use crate::io::cgroup::Cgroups;
use crate::io::disk::{self, Links};
use crate::limits::X509_PEM_BYTES_MAX;
use crate::paths::Paths;
use crate::x509::Certificate;
use crate::x509::life::days_left;

/// Remembers what it has read, as shares are made of two readings.
#[derive(Debug)]
pub(super) struct Gauge {
    cgroups: Cgroups,
    certificate: PathBuf,
    meter: Meter,
}

impl Gauge {
    /// For the agent below `paths`, whose containers are accounted for in `cgroups`.
    pub(super) fn new(paths: &Paths, cgroups: Cgroups) -> Gauge {
        Gauge { cgroups, certificate: paths.agent_tls().certificate(), meter: Meter::default() }
    }

    /// What there is to tell now. A figure that cannot be had is left out.
    pub(super) fn read(&mut self, now: Now, agent: &Agent) -> Heartbeat {
        let used = agent.containers().filter_map(|(id, container)| {
            let usage = self.cgroups.usage(container)?;
            Some(Used { id, cpu: usage.cpu, memory: usage.memory })
        });
        Heartbeat {
            load: agent.load(),
            usage: self.meter.measure(now.mono, used),
            certificate_days_left: self.certificate_days_left(now.wall),
        }
    }

    fn certificate_days_left(&self, now: Wall) -> Option<i64> {
        let pem = disk::read_bounded(&self.certificate, X509_PEM_BYTES_MAX, Links::Refuse).ok()?;
        let certificate = Certificate::parse_pem(std::str::from_utf8(&pem).ok()?).ok()?;
        Some(days_left(certificate.validity(), now))
    }
}
