//! The connections of tcp/222: whose key may drive this agent, and the channels of each.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::registry::{Owner, Registry};
use crate::agent::peer::{Peer, PeerEvent};
use crate::base::slots::Key;
use crate::base::time::{Mono, Now};
use crate::daemon::authorized_keys::KeyFile;
use crate::daemon::ssh_server::{ServerPeer, SshServer};
use crate::io::disk::DiskError;
use crate::io::link::Next;
use crate::io::listener::Listener;
use crate::io::reactor::Ready;
use crate::limits::SSH_CONNECTIONS_MAX;
use crate::log::Log;
use crate::paths::Paths;
use crate::ssh::keys::{AuthorizedKey, PublicKey};
use crate::ssh::{ChannelId, Conn, Error, ServerConfig};

impl ServerPeer for Peer {
    type Event = PeerEvent;

    fn new(config: Arc<ServerConfig>, seed: [u8; 32], now: Mono) -> Peer {
        Peer::new(config, seed, now)
    }

    fn poll_event(&mut self) -> Option<PeerEvent> {
        Peer::poll_event(self)
    }

    fn conn(&self) -> &Conn {
        Peer::conn(self)
    }

    fn conn_mut(&mut self) -> &mut Conn {
        Peer::conn_mut(self)
    }
}

/// The listener and everyone who came through it.
#[derive(Debug)]
pub(super) struct Peers {
    server: SshServer<Peer, ()>,
}

impl Peers {
    pub(super) fn new(
        listener: Listener,
        config: ServerConfig,
        keys: PathBuf,
        paths: &Paths,
        log: &mut Log<impl Write>,
        now: Now,
    ) -> Peers {
        let keys = KeyFile::new(keys, identify);
        let (most, known) = (SSH_CONNECTIONS_MAX, paths.agent_known_sources());
        Peers { server: SshServer::new(listener, config, keys, most, known, log, now) }
    }

    pub(super) fn listener(&self) -> &Listener {
        self.server.listener()
    }

    pub(super) fn accept(&mut self, registry: &mut Registry, log: &mut Log<impl Write>, now: Mono) {
        self.server.accept(registry, log, now, Owner::Peer);
    }

    pub(super) fn ready(&mut self, now: Mono, key: Key, ready: Ready) {
        self.server.ready(now, key, ready);
    }

    /// Reads from all that were touched.
    pub(super) fn receive(&mut self, now: Mono) {
        self.server.begin_turn(now);
        self.server.receive_all(now);
    }

    /// The next event of a connection. Whatever is done with one can cause another.
    pub(super) fn next_event(&mut self) -> Option<(Key, PeerEvent)> {
        self.server.next_event()
    }

    /// Writes to all that were touched. Gives those that are gone, and says whether there is more
    /// to do at once.
    pub(super) fn send(&mut self, registry: &mut Registry, now: Mono, gone: &mut Vec<Key>) -> bool {
        for key in self.server.take_touched() {
            match self.server.send(now, key) {
                Next::Wait => {}
                Next::Again => self.server.touch([&key]),
                Next::Closed => {
                    self.server.forget(registry, now, key);
                    gone.push(key);
                }
            }
        }
        self.server.end_turn()
    }

    #[cold]
    pub(super) fn tell_end(&self, log: &mut Log<impl Write>, key: Key, why: &Error) {
        self.server.tell_end(log, key, why);
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.server.deadline()
    }

    pub(super) fn tick(&mut self, registry: &mut Registry, log: &mut Log<impl Write>, now: Now) {
        self.server.tick(registry, log, now, Owner::Peer);
    }

    pub(super) fn keep_known_sources(&mut self, log: &mut Log<impl Write>, now: Now) {
        self.server.keep_known_sources(log, now);
    }

    // --- who may come in ---

    /// A peer offers a key: the file decides, as it is now.
    #[cold]
    pub(super) fn authorize(
        &mut self,
        log: &mut Log<impl Write>,
        now: Mono,
        key: Key,
        offered: &PublicKey,
    ) {
        self.refresh(log);
        if let Some(address) = self.server.authorize(now, key, offered) {
            let print = offered.fingerprint();
            log.warning(format_args!("key {print} from {address} is not authorized"));
        }
    }

    #[cold]
    pub(super) fn authenticated(
        &mut self,
        log: &mut Log<impl Write>,
        now: Mono,
        key: Key,
        proved: PublicKey,
    ) {
        if let Some(((), address)) = self.server.authenticated(now, key, proved) {
            let print = proved.fingerprint();
            log.info(format_args!("{address} connected with key {print}"));
        }
    }

    /// Reads the keys again if they have changed, and sends away those whose key is gone.
    pub(super) fn refresh<W: Write>(&mut self, log: &mut Log<W>) {
        let missing = |log: &mut Log<W>, error: &DiskError| {
            log.error(format_args!("nobody is let in: {error}"));
        };
        self.server.refresh(log, missing, |address: &IpAddr, ()| address.to_string());
    }

    // --- channels ---

    pub(super) fn answer(&mut self, peer: Key, channel: ChannelId, line: Vec<u8>) {
        self.with(peer, |peer| peer.answer(channel, line));
    }

    pub(super) fn open_terminal(&mut self, peer: Key, channel: ChannelId) {
        self.with(peer, |peer| peer.terminal_opened(channel));
    }

    pub(super) fn refuse_terminal(&mut self, peer: Key, channel: ChannelId, text: String) {
        self.with(peer, |peer| peer.terminal_refused(channel, text));
    }

    pub(super) fn end_terminal(&mut self, peer: Key, channel: ChannelId, status: u32) {
        self.with(peer, |peer| peer.terminal_ended(channel, status));
    }

    /// What the peer has typed and the session has not taken.
    pub(super) fn terminal_input(&self, peer: Key, channel: ChannelId) -> &[u8] {
        self.server.peer(peer).map_or(&[], |peer| peer.terminal_input(channel))
    }

    pub(super) fn terminal_consumed(&mut self, peer: Key, channel: ChannelId, len: usize) {
        if len > 0 {
            self.with(peer, |peer| peer.terminal_consumed(channel, len));
        }
    }

    /// What the session shows: as much as the peer's window has room for.
    pub(super) fn terminal_output(&mut self, peer: Key, channel: ChannelId, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        self.server.peer_mut(peer).map_or(0, |peer| peer.terminal_output(channel, bytes))
    }

    fn with(&mut self, key: Key, act: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.server.peer_mut(key) {
            act(peer);
        }
    }
}

/// Options restrict what a key may do, and none of them is known here, so a line that has any
/// admits nobody.
fn identify(line: &AuthorizedKey) -> Result<(), String> {
    match line.options.is_empty() {
        true => Ok(()),
        false => Err("its line has options".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::keys::{AuthorizedKeys, KeyPair};

    #[test]
    fn a_key_with_options_admits_nobody() {
        let line = KeyPair::from_seed([1; 32]).public().to_line("one");
        let text = format!("from=\"192.0.2.1\" {line}\ncert-authority {line}\n{line}\n");
        let keys = AuthorizedKeys::parse(&text).keys;
        let admits: Vec<bool> = keys.iter().map(|line| identify(line).is_ok()).collect();
        assert_eq!(admits, [false, false, true]);
    }
}
