//! Which ports, DNS names and user numbers are taken, by sessions that are there and by those that
//! are on their way.
//!
//! A port or name is reserved when an operation is admitted and given back when it fails, so that
//! operations at the same moment never get the same port. tcp:53 and udp:53 are two ports.

use std::collections::BTreeMap;
use std::fmt;

use super::record::Record;
use crate::base::uuid::Uuid;
use crate::limits::{SESSION_AUTO_PORT_MIN, SESSION_UIDS};
use crate::rpc::field::{DnsName, PortChoice, Protocol};

/// Every value is the session that has the key.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    ports: BTreeMap<(Protocol, u16), Uuid>,
    names: BTreeMap<DnsName, Uuid>,
    /// Ports of the host that somebody else may have; no automatic port is one of them.
    in_use: Vec<(Protocol, u16)>,
    uids: BTreeMap<u32, Uuid>,
    /// The user number that was given last: one that was given back is the last to be given again.
    last_uid: Option<u32>,
}

/// Why a port or name cannot be reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReservationError {
    Port { port: u16, protocol: Protocol, owner: Uuid },
    Name { name: DnsName, owner: Uuid },
    NoPortLeft(Protocol),
    NoUidLeft,
}

impl ReservationError {
    /// The session that has it already.
    pub(super) fn owner(&self) -> Option<Uuid> {
        match self {
            ReservationError::Port { owner, .. } | ReservationError::Name { owner, .. } => {
                Some(*owner)
            }
            ReservationError::NoPortLeft(_) | ReservationError::NoUidLeft => None,
        }
    }
}

/// Without the owner: only the caller knows its name.
impl fmt::Display for ReservationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReservationError::Port { port, protocol, .. } => {
                write!(out, "port {port}/{protocol} already in use")
            }
            ReservationError::Name { name, .. } => {
                write!(out, "dns name \"{name}\" already in use")
            }
            ReservationError::NoPortLeft(protocol) => {
                write!(out, "no {protocol} port from {SESSION_AUTO_PORT_MIN} up is free")
            }
            ReservationError::NoUidLeft => out.write_str("no user number for a session is free"),
        }
    }
}

impl Reservations {
    /// Reserves what a session on disk has. If two have the same port (somebody edited the files),
    /// the first one keeps it; the other one is listed, and fails when it starts.
    pub(super) fn adopt(&mut self, record: &Record) {
        if record.port != 0 {
            self.ports.entry((record.protocol, record.port)).or_insert(record.uuid);
        }
        if !record.dns_name.is_empty() {
            self.names.entry(record.dns_name.clone()).or_insert(record.uuid);
        }
    }

    /// Reserves the user number of a session on disk. Says whether it is its own: of two that have
    /// the same one (a directory that came from another host), the first keeps it.
    pub(super) fn adopt_uid(&mut self, record: &Record) -> bool {
        record.uid.is_none_or(|uid| {
            self.last_uid = self.last_uid.max(Some(uid));
            *self.uids.entry(uid).or_insert(record.uuid) == record.uuid
        })
    }

    /// The user number of `owner`: the one that it has, or one that nobody has.
    pub(super) fn reserve_uid(&mut self, owner: Uuid) -> Result<u32, ReservationError> {
        if let Some((&uid, _)) = self.uids.iter().find(|(_, other)| **other == owner) {
            return Ok(uid);
        }
        let next = self.last_uid.map_or(*SESSION_UIDS.start(), |last| last + 1);
        let mut all = (next..=*SESSION_UIDS.end()).chain(SESSION_UIDS);
        let free = all.find(|uid| !self.uids.contains_key(uid));
        let uid = free.ok_or(ReservationError::NoUidLeft)?;
        self.uids.insert(uid, owner);
        self.last_uid = Some(uid);
        Ok(uid)
    }

    /// Reserves a port and a name for `owner`, both or neither. What it has already is no obstacle,
    /// and stays reserved until [`Reservations::keep_only`]. Returns the port; 0 for none.
    pub(super) fn reserve(
        &mut self,
        owner: Uuid,
        choice: PortChoice,
        protocol: Protocol,
        name: &DnsName,
    ) -> Result<u16, ReservationError> {
        if let Some(&other) = self.names.get(name).filter(|&&other| other != owner) {
            return Err(ReservationError::Name { name: name.clone(), owner: other });
        }
        let port = self.choose(owner, choice, protocol)?;
        if port != 0 {
            self.ports.insert((protocol, port), owner);
        }
        if !name.is_empty() {
            self.names.insert(name.clone(), owner);
        }
        Ok(port)
    }

    /// Takes note of the ports that are in use on the host, sessions' own among them.
    pub(super) fn note_in_use(&mut self, ports: Vec<(Protocol, u16)>) {
        self.in_use = ports;
    }

    /// Gives back all that `owner` has.
    pub(super) fn release(&mut self, owner: Uuid) {
        self.ports.retain(|_, other| *other != owner);
        self.names.retain(|_, other| *other != owner);
        self.uids.retain(|_, other| *other != owner);
    }

    /// Gives back all of the record's owner but what stands in the record.
    pub(super) fn keep_only(&mut self, record: &Record) {
        let port = (record.protocol, record.port);
        self.ports.retain(|key, owner| *owner != record.uuid || *key == port);
        self.names.retain(|name, owner| *owner != record.uuid || *name == record.dns_name);
    }

    fn choose(
        &self,
        owner: Uuid,
        choice: PortChoice,
        protocol: Protocol,
    ) -> Result<u16, ReservationError> {
        match choice {
            PortChoice::None => Ok(0),
            PortChoice::Auto => self.free_port(owner, protocol),
            PortChoice::Fixed(port) => match self.ports.get(&(protocol, port)) {
                Some(&other) if other != owner => {
                    Err(ReservationError::Port { port, protocol, owner: other })
                }
                _ => Ok(port),
            },
        }
    }

    /// The owner's own automatic port if it has one, else the lowest that is free.
    fn free_port(&self, owner: Uuid, protocol: Protocol) -> Result<u16, ReservationError> {
        let range = SESSION_AUTO_PORT_MIN..=u16::MAX;
        let mut taken = self.ports.range((protocol, *range.start())..=(protocol, *range.end()));
        if let Some((&(_, port), _)) = taken.find(|(_, other)| **other == owner) {
            return Ok(port);
        }
        let is_free = |port: &u16| {
            let port = (protocol, *port);
            !self.ports.contains_key(&port) && !self.in_use.contains(&port)
        };
        range.clone().find(is_free).ok_or(ReservationError::NoPortLeft(protocol))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ports.len() + self.names.len() + self.uids.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn ids() -> (Uuid, Uuid) {
        let mut rng = Rng::from_seed([1; 32]);
        (Uuid::random(&mut rng), Uuid::random(&mut rng))
    }

    fn none() -> DnsName {
        DnsName::default()
    }

    #[test]
    fn protocols_are_apart_and_the_owner_is_named() {
        let (first, second) = ids();
        let mut reservations = Reservations::default();
        let fixed = PortChoice::Fixed(53);
        assert_eq!(reservations.reserve(first, fixed, Protocol::Udp, &none()), Ok(53));
        assert_eq!(reservations.reserve(second, fixed, Protocol::Tcp, &none()), Ok(53));
        let error = reservations.reserve(second, fixed, Protocol::Udp, &none()).unwrap_err();
        assert_eq!(error.to_string(), "port 53/udp already in use");
        assert_eq!(error.owner(), Some(first));
        assert_eq!(reservations.reserve(first, fixed, Protocol::Udp, &none()), Ok(53));
    }

    #[test]
    fn both_or_neither() {
        let (first, second) = ids();
        let name = DnsName::parse("web").unwrap();
        let mut reservations = Reservations::default();
        reservations.reserve(first, PortChoice::None, Protocol::Tcp, &name).unwrap();
        let before = reservations.len();
        let error =
            reservations.reserve(second, PortChoice::Auto, Protocol::Tcp, &name).unwrap_err();
        assert_eq!(error.to_string(), "dns name \"web\" already in use");
        assert_eq!(reservations.len(), before);
        reservations.release(first);
        assert_eq!(reservations.len(), 0);
    }

    #[test]
    fn automatic_ports_differ_and_are_used_again() {
        let mut rng = Rng::from_seed([2; 32]);
        let mut reservations = Reservations::default();
        let owners: Vec<_> = (0..64).map(|_| Uuid::random(&mut rng)).collect();
        let auto = |reservations: &mut Reservations, owner| {
            reservations.reserve(owner, PortChoice::Auto, Protocol::Tcp, &none()).unwrap()
        };
        for (offset, owner) in (0..).zip(&owners) {
            assert_eq!(auto(&mut reservations, *owner), 1001 + offset);
        }
        reservations.release(owners[7]);
        assert_eq!(auto(&mut reservations, Uuid::random(&mut rng)), 1008);
        assert_eq!(auto(&mut reservations, owners[9]), 1010, "it keeps its own");
    }

    #[test]
    fn an_automatic_port_is_free_on_the_host() {
        let (first, second) = ids();
        let mut reservations = Reservations::default();
        let in_use = [(Protocol::Tcp, 1001), (Protocol::Tcp, 1002), (Protocol::Udp, 1003)];
        reservations.note_in_use(in_use.to_vec());
        let auto = |reservations: &mut Reservations, owner, protocol| {
            reservations.reserve(owner, PortChoice::Auto, protocol, &none())
        };
        assert_eq!(auto(&mut reservations, first, Protocol::Tcp), Ok(1003));
        assert_eq!(auto(&mut reservations, second, Protocol::Udp), Ok(1001));
        reservations.note_in_use(vec![(Protocol::Tcp, 1003)]);
        assert_eq!(auto(&mut reservations, first, Protocol::Tcp), Ok(1003), "it keeps its own");
    }

    #[test]
    fn running_out_is_an_error() {
        let (first, second) = ids();
        let mut reservations = Reservations::default();
        for port in SESSION_AUTO_PORT_MIN..=u16::MAX {
            reservations.reserve(first, PortChoice::Fixed(port), Protocol::Tcp, &none()).unwrap();
        }
        let error =
            reservations.reserve(second, PortChoice::Auto, Protocol::Tcp, &none()).unwrap_err();
        assert_eq!(error.to_string(), "no tcp port from 1001 up is free");
    }
}
