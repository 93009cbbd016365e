//! From a name that may be reached to a connection: its numbers are looked up, all are checked, and
//! the checked ones are dialled.

use std::net::{IpAddr, SocketAddr};

use super::super::registry::{Owner, Registry};
use super::carried::Carried;
use super::{EgressSockets, Lookup, Part, Session};
use crate::agent::egress::Refusal;
use crate::agent::egress::address::{self, Network};
use crate::base::address::{Address, Host};
use crate::base::slots::Key;
use crate::base::time::Now;
use crate::base::uuid::Uuid;
use crate::io::machine;
use crate::io::outbound::{DialEvent, Found};
use crate::limits::{EGRESS_LOOKUPS_MAX, EGRESS_NUMBERS_MAX};

impl EgressSockets {
    /// Looks up names that wait for it, a few of one session at once: the threads for it are for
    /// all.
    pub(super) fn look_up(&mut self, registry: &mut Registry, now: Now, id: Uuid) {
        while let Some(session) = self.sessions.get_mut(&id) {
            let Some(key) = session.parked.pop_front() else { return };
            let target = session.carried.get(&key).and_then(Carried::target).cloned();
            let Some(target) = target else { continue };
            if let Some(same) = session.lookups.iter_mut().find(|it| it.target == target) {
                same.keys.push(key);
                continue;
            }
            if session.lookups.len() >= EGRESS_LOOKUPS_MAX {
                session.parked.push_front(key);
                return;
            }
            let host = Host::Name(target.name.as_str().to_owned());
            let address = Address { host, port: target.port };
            match self.dialler.look_up(&mut registry.reactor, &address) {
                Ok(number) => session.lookups.push(Lookup { number, target, keys: vec![key] }),
                Err(why) => self.refuse(now, id, key, Refusal::Unreachable(why.to_string())),
            }
        }
    }

    pub(super) fn found(&mut self, registry: &mut Registry, now: Now, found: Found) {
        let number = found.lookup();
        let is_it = |session: &Session| session.lookups.iter().any(|it| it.number == number);
        let Some(id) = self.sessions.iter().find(|(_, it)| is_it(it)).map(|(id, _)| *id) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let place = session.lookups.iter().position(|it| it.number == number).unwrap_or_default();
        let lookup = session.lookups.swap_remove(place);
        let numbers = match found.numbers() {
            Ok(numbers) => checked(numbers, &self.permitted, self.shell_host),
            Err(why) => Err(Refusal::Unreachable(why.to_string())),
        };
        for key in lookup.keys {
            match &numbers {
                Ok(numbers) => self.dial(registry, now, id, key, numbers.clone()),
                Err(refusal) => self.refuse(now, id, key, refusal.clone()),
            }
        }
        self.look_up(registry, now, id);
    }

    fn dial(
        &mut self,
        registry: &mut Registry,
        now: Now,
        id: Uuid,
        key: Key,
        numbers: Vec<SocketAddr>,
    ) {
        let session = self.sessions.get_mut(&id);
        let Some(carried) = session.and_then(|it| it.carried.get_mut(&key)) else { return };
        if carried.conn.is_over() {
            return;
        }
        match registry.reserve(Owner::Egress) {
            Ok(server_key) => {
                self.owners.insert(server_key, (id, Part::Server(key)));
                let event = carried.dial(registry, server_key, numbers);
                self.dialled(now, id, key, event);
            }
            Err(error) => self.refuse(now, id, key, Refusal::Unreachable(error.to_string())),
        }
    }

    pub(super) fn dialled(&mut self, now: Now, id: Uuid, key: Key, event: DialEvent) {
        let session = self.sessions.get_mut(&id);
        let Some(carried) = session.and_then(|it| it.carried.get_mut(&key)) else { return };
        match event {
            DialEvent::None | DialEvent::ConnectStarted => {}
            DialEvent::Connected => {
                let at = carried.server_address().map(|address| address.ip());
                let is_meant = at.is_some_and(|at| address::is_named(at, &self.permitted));
                match carried.is_to_this_machine() && !is_meant {
                    true => self.refuse(now, id, key, Refusal::Address("of this host")),
                    false => carried.conn.connected(now.mono),
                }
                self.touched.insert((id, key));
            }
            DialEvent::Failed(why) => {
                self.refuse(now, id, key, Refusal::Unreachable(why.to_string()));
            }
        }
    }
}

/// The numbers of a name, if each of them may be dialled, and of those a few. One that may not says
/// enough of its owner.
fn checked(
    mut numbers: Vec<SocketAddr>,
    permitted: &[Network],
    shell_host: Option<IpAddr>,
) -> Result<Vec<SocketAddr>, Refusal> {
    let check = |number: &SocketAddr| {
        let at = number.ip().to_canonical();
        address::check(at, permitted)?;
        if address::is_named(at, permitted) {
            return Ok(());
        }
        if shell_host == Some(at) {
            return Err("of the shell host");
        }
        // The kernel may say another one of its addresses of a connection to itself.
        if machine::has_address(at) { Err("of this host") } else { Ok(()) }
    };
    match numbers.iter().try_for_each(check) {
        Ok(()) => {
            numbers.truncate(EGRESS_NUMBERS_MAX);
            Ok(numbers)
        }
        Err(what) => Err(Refusal::Address(what)),
    }
}
