//! One connection that is carried: its client, its server, and what decides about it.

use std::net::SocketAddr;

use super::super::registry::Registry;
use super::side::Side;
use crate::agent::egress::Target;
use crate::agent::egress::conn::{Conn, Flow};
use crate::base::slots::Key;
use crate::base::time::{Mono, Wall};
use crate::io::outbound::{DialEvent, Outbound};
use crate::io::reactor::Ready;
use crate::io::stream::Stream;
use crate::limits::{EGRESS_HALF_CLOSED_MAX, EGRESS_TURN_BYTES};

#[derive(Debug)]
pub(super) struct Carried {
    pub(super) conn: Conn,
    client: Side,
    server: Server,
    pub(super) since: Wall,
    /// To the server, and from it.
    pub(super) moved: [u64; 2],
    /// How long it may be silent, where one side has ended.
    silent_until: Option<Mono>,
}

#[derive(Debug)]
enum Server {
    /// Nobody is dialled.
    None,
    Dialling(Outbound),
    Open(Key, Side),
}

/// How it goes on with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Wait,
    Again,
    Closed,
}

impl Carried {
    pub(super) fn new(conn: Conn, client: Stream, since: Wall) -> Carried {
        let (client, server) = (Side::new(client), Server::None);
        Carried { conn, client, server, since, moved: [0; 2], silent_until: None }
    }

    pub(super) fn client_ready(&mut self, ready: Ready) {
        self.client.note(ready);
    }

    /// What has become of dialling, if it is dialled.
    pub(super) fn server_ready(&mut self, registry: &Registry, ready: Ready) -> DialEvent {
        match &mut self.server {
            Server::Open(_, side) => side.note(ready),
            Server::Dialling(outbound) => {
                let event = outbound.ready(&registry.reactor, ready);
                let event = self.dialled(event);
                // It may have said something, and ended, with the same event.
                if let Server::Open(_, side) = &mut self.server {
                    side.note(ready);
                }
                return event;
            }
            Server::None => {}
        }
        DialEvent::None
    }

    /// Dials one of these, watched under `key`.
    pub(super) fn dial(
        &mut self,
        registry: &Registry,
        key: Key,
        numbers: Vec<SocketAddr>,
    ) -> DialEvent {
        let mut outbound = Outbound::new(key);
        let event = outbound.dial_numbers(&registry.reactor, numbers);
        self.server = Server::Dialling(outbound);
        self.dialled(event)
    }

    /// The server is on this stream, which is watched under `key`.
    pub(super) fn connected_to(&mut self, key: Key, stream: Stream) {
        self.server = Server::Open(key, Side::new(stream));
    }

    fn dialled(&mut self, event: DialEvent) -> DialEvent {
        if event == DialEvent::Connected
            && let Server::Dialling(outbound) = std::mem::replace(&mut self.server, Server::None)
        {
            let key = outbound.key();
            if let Some(stream) = outbound.into_stream() {
                self.connected_to(key, stream);
            }
        }
        event
    }

    /// Whether the server turned out to be this machine.
    pub(super) fn is_to_this_machine(&self) -> bool {
        matches!(&self.server, Server::Open(_, side) if side.stream().is_to_this_machine())
    }

    /// The server's address, if it is there.
    pub(super) fn server_address(&self) -> Option<SocketAddr> {
        match &self.server {
            Server::Open(_, side) => side.stream().peer_address(),
            _ => None,
        }
    }

    /// The key under which its server is watched.
    pub(super) fn server_key(&self) -> Option<Key> {
        match &self.server {
            Server::None => None,
            Server::Dialling(outbound) => Some(outbound.key()),
            Server::Open(key, _) => Some(*key),
        }
    }

    pub(super) fn target(&self) -> Option<&Target> {
        self.conn.target()
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        [self.conn.deadline(), self.silent_until].into_iter().flatten().min()
    }

    /// Whether it is to be closed, because its time is over.
    pub(super) fn tick(&mut self, now: Mono) -> bool {
        self.silent_until.is_some_and(|until| until <= now) || self.conn.tick(now)
    }

    /// Moves bytes both ways, a bounded share of them, through `space`.
    pub(super) fn turn(&mut self, now: Mono, space: &mut [u8]) -> Next {
        let before = self.moved;
        self.flush();
        self.read_client(now, space);
        self.flush();
        self.read_server(space);
        self.flush();
        self.tell_ends(now);
        if self.is_closed() {
            return Next::Closed;
        }
        if self.moved != before && self.silent_until.is_some() {
            self.silent_until = Some(now + EGRESS_HALF_CLOSED_MAX);
        }
        if self.has_more() { Next::Again } else { Next::Wait }
    }

    fn server(&mut self) -> Option<&mut Side> {
        match &mut self.server {
            Server::Open(_, side) => Some(side),
            Server::None | Server::Dialling(_) => None,
        }
    }

    fn read_client(&mut self, now: Mono, space: &mut [u8]) {
        let mut left = EGRESS_TURN_BYTES;
        while left > 0 && self.reads_client() {
            let flow = self.conn.client_flow();
            let room = if let Flow::Look(room) = flow { room } else { usize::MAX };
            let room = room.min(space.len());
            let count = self.client.read(&mut space[..room]);
            if count == 0 {
                break;
            }
            left = left.saturating_sub(count);
            match flow {
                Flow::Look(_) => {
                    self.conn.client_said(now, &space[..count]);
                    self.flush_conn();
                }
                Flow::Pass => {
                    self.moved[0] += count as u64;
                    if let Some(server) = self.server() {
                        server.write(&space[..count]);
                    }
                }
                Flow::Drop => {}
            }
        }
    }

    fn reads_client(&self) -> bool {
        let has_room = match (&self.server, self.conn.client_flow()) {
            (_, Flow::Drop) => true,
            (_, Flow::Look(0)) => false,
            (Server::Open(_, side), _) => side.is_clear(),
            (_, Flow::Look(_)) => true,
            (_, Flow::Pass) => false,
        };
        has_room && self.client.may_read()
    }

    fn read_server(&mut self, space: &mut [u8]) {
        let mut left = EGRESS_TURN_BYTES;
        while left > 0 && self.reads_server() {
            let Some(server) = self.server() else { return };
            let count = server.read(space);
            if count == 0 {
                break;
            }
            left = left.saturating_sub(count);
            self.moved[1] += count as u64;
            self.conn.server_said(&space[..count]);
            self.client.write(&space[..count]);
            self.flush_conn();
        }
    }

    fn reads_server(&self) -> bool {
        let Server::Open(_, side) = &self.server else { return false };
        self.conn.is_carried() && self.client.is_clear() && side.may_read()
    }

    fn flush(&mut self) {
        self.flush_conn();
        self.client.flush();
        if let Some(server) = self.server() {
            server.flush();
        }
    }

    /// What the decisions want written.
    fn flush_conn(&mut self) {
        let to_client = self.conn.take_to_client();
        if !to_client.is_empty() {
            self.client.write(&to_client);
        }
        let to_server = self.conn.take_to_server();
        self.moved[0] += to_server.len() as u64;
        if let Some(server) = self.server().filter(|_| !to_server.is_empty()) {
            server.write(&to_server);
        }
    }

    fn tell_ends(&mut self, now: Mono) {
        if self.client.has_ended() {
            self.conn.client_ended(now);
        }
        if self.conn.is_over() {
            self.client.end();
            return;
        }
        let client_ended = self.client.has_ended();
        let mut server_ended = false;
        if let Some(server) = self.server() {
            if client_ended {
                server.end();
            }
            server_ended = server.has_ended();
        }
        if server_ended {
            self.client.end();
        }
        if client_ended != server_ended && self.silent_until.is_none() {
            self.silent_until = Some(now + EGRESS_HALF_CLOSED_MAX);
        }
    }

    fn is_closed(&self) -> bool {
        if self.client.is_broken() || self.conn.is_over() && self.client.has_ended() {
            return true;
        }
        let Server::Open(_, server) = &self.server else { return false };
        // What it said before it broke is delivered.
        let is_broken = server.is_broken() && self.client.is_clear();
        is_broken || server.has_ended() && self.client.is_shut() && self.client.has_ended()
    }

    fn has_more(&self) -> bool {
        self.reads_client() || self.reads_server()
    }
}
