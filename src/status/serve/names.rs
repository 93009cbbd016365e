//! The hosts file of dnsmasq: where each session's name leads, written by a thread when it changes.
//!
//! An agent's number is that of its `agent-host` file, looked up by a thread if it is a name; until
//! one is known, the address from which the agent has connected.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::base::address::{Address, Host};
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::fleet::registry::Registry as Known;
use crate::io::disk::{self, DiskError, Links};
use crate::io::reactor::Waker;
use crate::io::resolve::resolve;
use crate::io::worker::{Crew, Worker};
use crate::limits::{AGENTS_MAX, DNS_HOSTS_BYTES_MAX, DNS_RETRY};
use crate::log::Log;
use crate::paths::PUBLIC_FILE;
use crate::rpc::agent_id::AgentId;
use crate::status::dns::{self, Name};
use crate::status::hub::Hub;

type Looked = (AgentId, Option<IpAddr>);

/// The names, and where agents are.
pub(super) struct Names {
    writer: Worker<String, Result<(), DiskError>>,
    resolver: Worker<(AgentId, Address), Looked>,
    places: SortedMap<AgentId, Place>,
    /// Which agent has each name that was written last.
    holders: BTreeMap<Box<str>, Box<str>>,
    /// When the file is to be written.
    due: Option<Mono>,
    /// What was logged about a file that cannot be written.
    logged: Option<String>,
}

struct Place {
    address: Address,
    number: Option<IpAddr>,
}

impl Names {
    pub(super) fn start(path: PathBuf, waker: &Waker) -> io::Result<Names> {
        let writer = Crew { name: "dns", threads: 1, jobs_max: 1 };
        let resolver = Crew { name: "resolver", threads: 1, jobs_max: AGENTS_MAX };
        Ok(Names {
            writer: Worker::start(writer, waker, move |records: String| write(&path, &records))?,
            resolver: Worker::start(resolver, waker, look_up)?,
            places: SortedMap::new(),
            holders: BTreeMap::new(),
            due: None,
            logged: None,
        })
    }

    /// Where the agents of the registry are from now on. An agent that has left it keeps its place.
    pub(super) fn enrol(&mut self, known: &Known, now: Mono) {
        for agent in &known.agents {
            let had = self.places.remove(&agent.id);
            let number = match &agent.address.host {
                Host::Ip(number) => Some(*number),
                Host::Name(_) | Host::Any => {
                    // If too many wait already, the next look at the registry asks again.
                    let _ = self.resolver.submit((agent.id.clone(), agent.address.clone()));
                    had.as_ref().filter(|had| had.address == agent.address).and_then(|it| it.number)
                }
            };
            if had.is_none_or(|had| had.number != number) {
                self.due = Some(now);
            }
            self.places.insert(agent.id.clone(), Place { address: agent.address.clone(), number });
        }
    }

    pub(super) fn want(&mut self, now: Mono) {
        self.due = Some(now);
    }

    /// The threads have results.
    pub(super) fn collect(&mut self, log: &mut Log<impl Write>, now: Mono) {
        while let Some((agent, number)) = self.resolver.next_result() {
            let Some(place) = self.places.get_mut(&agent) else { continue };
            if number.is_some() && place.number != number {
                place.number = number;
                self.due = Some(now);
            }
        }
        while let Some(written) = self.writer.next_result() {
            let failed = written.err().map(|error| error.to_string());
            if failed.is_some() {
                self.due = Some(now + DNS_RETRY);
            }
            if let Some(why) = failed.as_ref().filter(|_| failed != self.logged) {
                log.error(format_args!("names of sessions are not written: {why}"));
            }
            self.logged = failed;
        }
    }

    /// Has the file written if that is due.
    pub(super) fn turn(&mut self, now: Mono, hub: &Hub, seen: &SortedMap<AgentId, IpAddr>) {
        if self.due.is_none_or(|at| at > now) || self.writer.is_full() {
            return;
        }
        self.due = None;
        let place = |id: &str| {
            let id = AgentId::parse(id).ok()?;
            let number = self.places.get(&id).and_then(|place| place.number);
            number.or_else(|| seen.get(&id).copied())
        };
        let is_host = |name: &str| {
            self.places.values().any(|place| match &place.address.host {
                Host::Name(host) => host.split('.').next() == Some(name),
                Host::Ip(_) | Host::Any => false,
            })
        };
        let names = hub.names().filter(|(name, ..)| !is_host(name));
        let names = names.filter_map(|(name, agent_id, created_at)| {
            let is_holder = self.holders.get(name).is_some_and(|holder| **holder == *agent_id);
            Some(Name { name, agent_id, is_holder, created_at, address: place(agent_id)? })
        });
        let names = dns::chosen(names.collect());
        let records = dns::records(&names);
        self.holders = names.iter().map(|it| (it.name.into(), it.agent_id.into())).collect();
        // The writer is idle: it was just looked at.
        let _ = self.writer.submit(records);
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.due.filter(|_| !self.writer.is_full())
    }
}

fn write(path: &Path, records: &str) -> Result<(), DiskError> {
    let text = dns::hosts(records);
    // Whatever else is there is replaced, also what cannot be read.
    match disk::read_bounded(path, DNS_HOSTS_BYTES_MAX, Links::Refuse) {
        Ok(bytes) if bytes == text.as_bytes() => Ok(()),
        _ => disk::write_atomic(path, text.as_bytes(), PUBLIC_FILE.1),
    }
}

fn look_up((agent, address): (AgentId, Address)) -> Looked {
    let found = resolve(&address).ok().and_then(|numbers| numbers.first().copied());
    (agent, found.map(|number| number.ip()))
}
