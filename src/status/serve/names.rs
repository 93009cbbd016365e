//! The hosts file of dnsmasq: where each session's name leads, written by a thread when it changes.
//!
//! An agent's number is that of its `agent-host` file, looked up by a thread if it is a name; until
//! one is known, the address from which the agent has connected.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::base::address::{Address, Host};
use crate::base::sorted_map::SortedMap;
use crate::base::time::{Mono, Now};
use crate::fleet::registry::Registry as Known;
use crate::io::disk::{self, DiskError, FileStatus, Kind, Links, WatchedPath};
use crate::io::machine;
use crate::io::reactor::Waker;
use crate::io::resolve::resolve;
use crate::io::worker::{Crew, Worker};
use crate::limits::{AGENTS_MAX, DNS_HOSTS_BYTES_MAX, DNS_RETRY};
use crate::log::Log;
use crate::paths::PUBLIC_FILE;
use crate::rpc::agent_id::AgentId;
use crate::rpc::reserved::HostNames;
use crate::status::dns::{HostsFile, Written};
use crate::status::hub::Hub;

type Looked = (AgentId, Option<IpAddr>);

/// The names, and where agents are.
pub(super) struct Names {
    writer: Worker<String, Result<(), DiskError>>,
    resolver: Worker<(AgentId, Address), Looked>,
    places: SortedMap<AgentId, Place>,
    file: HostsFile,
    /// What stands on the disk, which others may change, too.
    watched: WatchedPath,
    /// This host and those of the registry.
    hosts: HostNames,
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
        let watched = WatchedPath::new(path.clone());
        Ok(Names {
            writer: Worker::start(writer, waker, move |text: String| write(&path, &text))?,
            resolver: Worker::start(resolver, waker, look_up)?,
            places: SortedMap::new(),
            file: HostsFile::default(),
            watched,
            hosts: HostNames::default(),
            due: None,
            logged: None,
        })
    }

    /// Where the agents of the registry are from now on. An agent that has left it keeps its place.
    pub(super) fn enrol(&mut self, known: &Known, now: Mono) {
        let mut hosts = HostNames::default();
        hosts.insert(&machine::host_name());
        for agent in &known.agents {
            if let Host::Name(name) = &agent.address.host {
                hosts.insert(name);
            }
        }
        if self.hosts != hosts {
            (self.hosts, self.due) = (hosts, Some(now));
        }
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

    /// Looks whether somebody has changed the file. It may have been us: then it stays as it is.
    pub(super) fn look(&mut self, now: Mono) {
        if self.watched.has_changed() {
            self.want(now);
        }
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
    pub(super) fn turn(&mut self, now: Now, hub: &mut Hub, seen: &SortedMap<AgentId, IpAddr>) {
        if self.due.is_none_or(|at| at > now.mono) || self.writer.is_full() {
            return;
        }
        self.due = None;
        let place = |id: &str| {
            let id = AgentId::parse(id).ok()?;
            let number = self.places.get(&id).and_then(|place| place.number);
            number.or_else(|| seen.get(&id).copied())
        };
        let Written { text, refused, is_more } = self.file.write(hub, &self.hosts, place);
        for refused in &refused {
            hub.name_refused(now, refused);
        }
        if is_more {
            self.due = Some(now.mono + DNS_RETRY);
        }
        // The writer is idle: it was just looked at.
        let _ = self.writer.submit(text);
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.due.filter(|_| !self.writer.is_full())
    }
}

fn write(path: &Path, text: &str) -> Result<(), DiskError> {
    let found = disk::look(path)?;
    // Whatever else is there is replaced, also what cannot be read.
    match found {
        Some(FileStatus { kind: Kind::File, mode, .. }) if mode == PUBLIC_FILE.1 => {
            let bytes = disk::read_bounded(path, DNS_HOSTS_BYTES_MAX, Links::Refuse);
            if bytes.is_ok_and(|bytes| bytes == text.as_bytes()) {
                return Ok(());
            }
        }
        // No file can take a directory's place, and what is in it is not ours to remove.
        Some(FileStatus { kind: Kind::Directory, .. }) => {
            disk::rename_new(path, &path.with_added_extension("found"))?;
        }
        _ => {}
    }
    disk::write_atomic(path, text.as_bytes(), PUBLIC_FILE.1)
}

fn look_up((agent, address): (AgentId, Address)) -> Looked {
    let found = resolve(&address).ok().and_then(|numbers| numbers.first().copied());
    (agent, found.map(|number| number.ip()))
}
