//! The published port of a session without a network: the agent listens on the addresses that were
//! chosen, and dials the session with sockets that were made in there. A few of those are kept
//! ready; without one, whoever dials waits in the kernel.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use super::super::registry::{Owner, Registry};
use super::carried::Carried;
use super::{EgressSockets, Part, is_full};
use crate::agent::egress::conn::Conn;
use crate::base::address::{Address, Host};
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::{Mono, Now};
use crate::base::uuid::Uuid;
use crate::io::handover;
use crate::io::listener::{Accepted, Listener, Room};
use crate::io::reactor::Interests;
use crate::limits::{
    EGRESS_ACCEPTS_PER_TURN, HAND_OVER_RETRY, POOL_PACE, POOL_SOCKETS, POOL_SOCKETS_LOW,
};
use crate::rpc::network::Publish;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What one session has of it.
pub(super) struct Published {
    /// 0 for none.
    pub(super) port: (u16, Publish),
    /// And whether somebody may wait there.
    pub(super) listeners: SortedMap<Key, (Listener, bool)>,
    pool: Vec<OwnedFd>,
    /// Until when a pool is waited for that was asked for.
    asked_until: Option<Mono>,
    /// Not before this is asked for another one: whoever dials costs a command in the container.
    ask_again_at: Mono,
    /// When it goes on without an event.
    again_at: Option<Mono>,
}

impl Published {
    pub(super) fn new(port: (u16, Publish)) -> Published {
        let (listeners, pool) = (SortedMap::new(), Vec::new());
        Published {
            port,
            listeners,
            pool,
            asked_until: None,
            ask_again_at: Mono::ZERO,
            again_at: None,
        }
    }

    pub(super) fn refill(&mut self, sockets: Vec<OwnedFd>) {
        self.asked_until = None;
        let room = (2 * POOL_SOCKETS).saturating_sub(self.pool.len());
        self.pool.extend(sockets.into_iter().take(room));
    }

    pub(super) fn forget_pool(&mut self) {
        self.pool.clear();
        self.asked_until = None;
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        [self.asked_until, self.again_at].into_iter().flatten().min()
    }

    /// There may be room for one that waits.
    pub(super) fn look_again(&mut self) {
        if self.has_waiting() && !self.pool.is_empty() {
            self.again_at = Some(Mono::ZERO);
        }
    }

    fn has_waiting(&self) -> bool {
        self.listeners.values().any(|(_, has_waiting)| *has_waiting)
    }
}

impl EgressSockets {
    /// The address from which this host reaches its shell host, if that is known.
    pub(in crate::agent::serve) fn set_cluster_address(
        &mut self,
        registry: &mut Registry,
        address: Option<IpAddr>,
    ) {
        if address.is_none() || self.cluster_address == address {
            return;
        }
        self.cluster_address = address;
        let is_default = |port: &(u16, Publish)| port.0 != 0 && port.1 == Publish::Default;
        let ids: Vec<Uuid> = self
            .sessions
            .iter()
            .filter(|(_, it)| is_default(&it.published.port))
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter().for_each(|id| self.publish(registry, id));
    }

    /// Listens where a session's port is to be, and nowhere else.
    pub(super) fn publish(&mut self, registry: &mut Registry, id: Uuid) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        for key in session.published.listeners.keys() {
            self.owners.remove(key);
            registry.release(*key);
        }
        session.published.listeners.clear();
        let (port, publish) = session.published.port;
        if port == 0 {
            return session.published.forget_pool();
        }
        let at = |ip: IpAddr| Address::from(SocketAddr::new(ip, port));
        let own = self.cluster_address.filter(|address| *address != LOOPBACK);
        let addresses = match publish {
            Publish::All => vec![Address { host: Host::Any, port }],
            Publish::Address(address) => vec![at(address)],
            Publish::Default => [LOOPBACK].into_iter().chain(own).map(at).collect(),
        };
        for address in addresses {
            let listening = Listener::bind_tcp(&address).map_err(|error| error.to_string());
            let watched = listening.and_then(|listener| {
                let key = registry.watch_for(&listener, Owner::Egress, Interests::Read);
                Ok((key.map_err(|error| error.to_string())?, listener))
            });
            match watched {
                Ok((key, listener)) => {
                    self.owners.insert(key, (id, Part::Published));
                    session.published.listeners.insert(key, (listener, true));
                }
                Err(why) => {
                    self.warnings.push_back(format!("session {id} is not published: {why}"));
                }
            }
        }
        session.published.again_at = Some(Mono::ZERO);
    }

    /// Asks for sockets, if there are few left.
    pub(super) fn want_pool(&mut self, now: Mono, id: Uuid) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let published = &mut session.published;
        let is_asked = published.asked_until.is_some_and(|until| until > now);
        let is_wanted = published.port.0 != 0
            && session.proxy.is_some()
            && published.pool.len() <= POOL_SOCKETS_LOW;
        if is_wanted && !is_asked && published.ask_again_at > now {
            published.again_at = Some(published.ask_again_at);
        } else if is_wanted && !is_asked {
            published.ask_again_at = now + POOL_PACE;
            published.asked_until = Some(now + HAND_OVER_RETRY);
            self.wanted.push_back((id, Some(POOL_SOCKETS)));
        } else if !is_wanted {
            published.asked_until = None;
        }
    }

    /// Takes who dials a session's port, as many as there are sockets for.
    pub(super) fn accept_published(&mut self, registry: &mut Registry, now: Now, id: Uuid) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.published.again_at = None;
        }
        self.want_pool(now.mono, id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let published = &mut session.published;
        let port = published.port.0;
        for _ in 0..EGRESS_ACCEPTS_PER_TURN {
            if is_full(session.carried.len(), self.connections) || published.pool.is_empty() {
                return;
            }
            let waiting = published.listeners.values_mut().find(|(_, has_waiting)| *has_waiting);
            let Some((listener, has_waiting)) = waiting else { return };
            let mut accepted = Vec::new();
            if !matches!(listener.accept(1, &mut accepted), crate::io::listener::Next::Again) {
                *has_waiting = false;
            }
            let Some(one) = accepted.pop().filter(|it| it.room != Room::None) else { continue };
            let Some(socket) = published.pool.pop() else { return };
            let begun = begin(registry, one, socket, port, now);
            let Some((client_key, server_key, carried)) = begun else { continue };
            session.carried.insert(client_key, carried);
            self.connections += 1;
            self.owners.insert(client_key, (id, Part::Client));
            self.owners.insert(server_key, (id, Part::Server(client_key)));
            self.touched.insert((id, client_key));
        }
        if published.has_waiting() {
            published.again_at = Some(now.mono);
        }
        self.want_pool(now.mono, id);
    }
}

/// A connection from outside, and one to the port inside.
fn begin(
    registry: &mut Registry,
    client: Accepted,
    socket: OwnedFd,
    port: u16,
    now: Now,
) -> Option<(Key, Key, Carried)> {
    let server = handover::dial_inside(socket, port).ok()?;
    let client_key = registry.watch(&client.stream, Owner::Egress).ok()?;
    let Ok(server_key) = registry.watch(&server, Owner::Egress) else {
        registry.release(client_key);
        return None;
    };
    let mut carried = Carried::new(Conn::passing(), client.stream, now.wall);
    carried.connected_to(server_key, server);
    Some((client_key, server_key, carried))
}
