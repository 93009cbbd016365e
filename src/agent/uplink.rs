//! One SSH connection to the shell host, and the status channel on it.
//!
//! It carries the emitter's bytes and tells the emitter when the channel is open and why it is
//! gone. It decides nothing: when to dial is the emitter's affair, the stream is the driver's. An
//! uplink is made when a stream is open, and is of no use once its channel is gone.
//!
//! ```text
//! Authenticating ─both ends have proven themselves→ Opening ─channel→ Open ─anything ends→ Over
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use super::emitter::Emitter;
use crate::base::address::Address;
use crate::base::endpoint::Wraps;
use crate::base::time::{Mono, Now};
use crate::rpc::STATUS_SUBSYSTEM;
use crate::ssh::{self, ChannelId, ClientConfig, Conn};

/// Where events go: the shell host, who it must prove to be, and how we prove ourselves.
#[derive(Clone, Debug)]
pub struct Shell {
    /// Where it is dialled.
    pub address: Address,
    /// The host key that it must have, and the key that we prove to it.
    pub config: Arc<ClientConfig>,
    /// Where our key stands, for messages.
    pub key: PathBuf,
    /// Where its pinned key stands, for messages.
    pub known_host: PathBuf,
}

/// What is run on the shell host to repair the keys of both ends.
const REPAIR: &str = "convocate-host init-agent --host THIS-HOST";

impl Shell {
    /// What an end of the connection means, one sentence that says what to do.
    pub(crate) fn why(&self, error: &ssh::Error) -> String {
        let Shell { address, key, known_host, .. } = self;
        match error {
            ssh::Error::HostKeyMismatch { expected, got } => format!(
                "host key mismatch: {} pins {expected}, {address} shows {got}; if the shell host \
                 was really set up anew, run there: {REPAIR}",
                known_host.display()
            ),
            ssh::Error::AuthRefused { .. } => format!(
                "{address} does not accept the key {}; to enrol this agent again, run there: \
                 {REPAIR}",
                key.display()
            ),
            error => format!("connection to {address}: {error}"),
        }
    }
}

#[derive(Debug)]
pub struct Uplink {
    shell: Arc<Shell>,
    conn: Conn,
    state: UplinkState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UplinkState {
    Authenticating,
    Opening,
    Open(ChannelId),
    Over,
}

impl Uplink {
    /// A connection on a stream that is open now. `seed` is fresh entropy for it alone.
    pub fn new(shell: Arc<Shell>, seed: [u8; 32], now: Mono) -> Uplink {
        let conn = Conn::client(Arc::clone(&shell.config), seed, now);
        Uplink { shell, conn, state: UplinkState::Authenticating }
    }

    /// Tells the emitter what has happened and moves its bytes. To be called after every other
    /// call, and whenever the emitter may have output.
    pub fn work(&mut self, now: Now, emitter: &mut Emitter) {
        let mut refused = None;
        while let Some(event) = self.conn.poll_event() {
            refused = self.on_event(now, event, emitter).or(refused);
        }
        // If the connection has ended, why was told behind this.
        if let Some(why) = refused {
            self.end(now.mono, emitter, why);
        }
        let UplinkState::Open(channel) = self.state else { return };
        while !emitter.output().is_empty() {
            let taken = self.conn.send(channel, emitter.output());
            if taken == 0 {
                return;
            }
            emitter.output_sent(taken);
        }
    }

    /// Says goodbye. The emitter is told nothing.
    pub(crate) fn leave(&mut self) {
        self.state = UplinkState::Over;
        self.conn.disconnect("done");
    }

    /// Gives why it must end, unless another event says more.
    fn on_event(&mut self, now: Now, event: ssh::Event, emitter: &mut Emitter) -> Option<String> {
        match event {
            ssh::Event::Authenticated { .. } => match self.conn.open_subsystem(STATUS_SUBSYSTEM) {
                Ok(_) => self.state = UplinkState::Opening,
                Err(error) => return Some(error.to_string()),
            },
            ssh::Event::Opened { channel } => {
                self.state = UplinkState::Open(channel);
                emitter.opened(now.mono);
                // Who has read that the channel is open has a hello on its way.
                self.conn.probe();
            }
            ssh::Event::Readable { channel } => {
                let bytes = self.conn.received(channel);
                let len = bytes.len();
                emitter.input(now, bytes);
                self.conn.consume(channel, len);
            }
            ssh::Event::Probed => emitter.has_no_hello(now),
            ssh::Event::Refused { reason, .. } => {
                let address = &self.shell.address;
                let text = format!("{address} has no {STATUS_SUBSYSTEM} for us: {reason}");
                self.end(now.mono, emitter, text);
            }
            ssh::Event::Eof { .. } | ssh::Event::Closed { .. } => {
                let text = format!("{} has closed the status channel", self.shell.address);
                self.end(now.mono, emitter, text);
            }
            ssh::Event::Disconnected(error) => {
                let text = self.shell.why(&error);
                self.end(now.mono, emitter, text);
            }
            // What only a server hears, or what says nothing here: work() sends what there is.
            _ => {}
        }
        None
    }

    fn end(&mut self, now: Mono, emitter: &mut Emitter, why: String) {
        if self.state != UplinkState::Over {
            self.leave();
            emitter.closed(now, why);
        }
    }
}

impl Wraps for Uplink {
    type Inner = Conn;

    fn inner(&self) -> &Conn {
        &self.conn
    }

    fn inner_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}
