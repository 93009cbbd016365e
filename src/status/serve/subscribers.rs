//! The status socket: who listens to the hub, and the bytes of each.
//!
//! A subscriber holds a place in the hub's history and no bytes, so one that never reads costs the
//! others nothing. One that sends no more but reads on stays.

use std::collections::BTreeSet;
use std::io::Write;

use super::{Owner, Registry};
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::io::listener::{Entrance, Listener, Room};
use crate::io::reactor::Ready;
use crate::io::stream::{Moved, Stream};
use crate::limits::{SUBSCRIBER_REQUEST_BYTES_MAX, SUBSCRIBER_TURN_BYTES, SUBSCRIBERS_MAX};
use crate::log::Log;
use crate::status::hub::Hub;
use crate::status::subscribe::Subscriber;

/// The socket and the connections that came through it.
pub(super) struct Subscribers {
    entrance: Entrance,
    connections: SortedMap<Key, SubscriberConnection>,
    touched: BTreeSet<Key>,
}

struct SubscriberConnection {
    stream: Stream,
    subscriber: Subscriber,
    inward: Inward,
    is_writable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inward {
    Ready,
    Blocked,
    Ended,
}

/// What a turn with one of them came to.
enum Turn {
    Waits,
    Again,
    Gone,
}

impl Subscribers {
    pub(super) fn new(listener: Listener) -> Subscribers {
        Subscribers {
            entrance: Entrance::new(listener),
            connections: SortedMap::new(),
            touched: BTreeSet::new(),
        }
    }

    pub(super) fn accept(&mut self, registry: &mut Registry, log: &mut Log<impl Write>, now: Mono) {
        let mut accepted = Vec::new();
        if let Err(error) = self.entrance.accept(now, &mut accepted) {
            log.error(format_args!("cannot accept subscribers: {error}"));
        }
        for connection in accepted {
            if self.connections.len() >= SUBSCRIBERS_MAX {
                log.warning(format_args!("{SUBSCRIBERS_MAX} programs listen, no more are taken"));
                return;
            }
            if connection.room == Room::None {
                log.warning(
                    "few descriptors are left: a program that wants to listen is not taken",
                );
                return;
            }
            let stream = connection.stream;
            match registry.watch(&stream, Owner::Subscriber) {
                Ok(key) => {
                    let subscriber = Subscriber::new();
                    let (inward, is_writable) = (Inward::Ready, true);
                    self.connections.insert(
                        key,
                        SubscriberConnection { stream, subscriber, inward, is_writable },
                    );
                    self.touched.insert(key);
                }
                Err(error) => log.error(format_args!("subscriber dropped: {error}")),
            }
        }
    }

    pub(super) fn ready(&mut self, key: Key, ready: Ready) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if connection.inward == Inward::Blocked && (ready.readable || ready.closed) {
            connection.inward = Inward::Ready;
        }
        connection.is_writable |= ready.writable;
        self.touched.insert(key);
    }

    /// There may be something new for them.
    pub(super) fn wake(&mut self) {
        let waiting = self.connections.iter().filter(|(_, connection)| connection.is_writable);
        self.touched.extend(waiting.map(|(key, _)| *key));
    }

    /// Moves what can be moved. Whether there is more at once.
    pub(super) fn turn(
        &mut self,
        registry: &mut Registry,
        log: &mut Log<impl Write>,
        hub: &Hub,
    ) -> bool {
        for key in std::mem::take(&mut self.touched) {
            let Some(connection) = self.connections.get_mut(&key) else { continue };
            match connection.turn(log, hub) {
                Turn::Waits => {}
                Turn::Again => {
                    self.touched.insert(key);
                }
                Turn::Gone => {
                    self.connections.remove(&key);
                    registry.release(key);
                }
            }
        }
        !self.touched.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.entrance.deadline()
    }

    pub(super) fn tick(&mut self, registry: &mut Registry, log: &mut Log<impl Write>, now: Mono) {
        if self.entrance.is_due(now) {
            self.accept(registry, log, now);
        }
    }
}

impl SubscriberConnection {
    fn turn(&mut self, log: &mut Log<impl Write>, hub: &Hub) -> Turn {
        if self.inward == Inward::Ready && !self.read(log, hub) {
            return Turn::Gone;
        }
        if self.inward == Inward::Ended && self.stream.is_hung_up() {
            return Turn::Gone;
        }
        let mut left = SUBSCRIBER_TURN_BYTES;
        while self.is_writable && left > 0 {
            let output = self.subscriber.output(hub);
            if output.is_empty() {
                break;
            }
            match self.stream.write(&output[..output.len().min(left)]) {
                Moved::Bytes(count) => {
                    self.subscriber.output_sent(count, hub);
                    left -= count;
                }
                Moved::Blocked => self.is_writable = false,
                Moved::Closed | Moved::Failed(_) => return Turn::Gone,
            }
        }
        if left == 0 || self.inward == Inward::Ready { Turn::Again } else { Turn::Waits }
    }

    /// Reads once, a request at most. False if it is to be hung up on.
    fn read(&mut self, log: &mut Log<impl Write>, hub: &Hub) -> bool {
        let mut bytes = [0; SUBSCRIBER_REQUEST_BYTES_MAX];
        match self.stream.read(&mut bytes) {
            Moved::Bytes(count) => match self.subscriber.input(&bytes[..count], hub) {
                Ok(()) => {}
                Err(error) => {
                    log.warning(format_args!("subscriber hung up on: {error}"));
                    return false;
                }
            },
            Moved::Blocked => self.inward = Inward::Blocked,
            Moved::Closed => self.inward = Inward::Ended,
            Moved::Failed(_) => return false,
        }
        true
    }
}
