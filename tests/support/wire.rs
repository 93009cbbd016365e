//! The operator's connection to an agent, on our own transport: for what no client of ours says,
//! and for what must be measured. Blocking; nothing is read unless a method is called.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use convocate::base::endpoint::Endpoint;
use convocate::base::time::Mono;
use convocate::rpc::{ATTACH_SUBSYSTEM, RPC_SUBSYSTEM, response};
use convocate::ssh::keys::{KeyPair, PublicKey};
use convocate::ssh::{ChannelId, ClientConfig, Conn, Event, Tuning};
use serde_json::{Value, json};

use super::agent::Agent;
use super::keys::KeyFile;
use super::wait::PATIENCE;

/// How long one look for bytes of the agent lasts; bytes that come end it at once.
const LOOK: Duration = Duration::from_millis(5);

/// One connection.
pub struct Wire {
    conn: Conn,
    stream: TcpStream,
    start: Instant,
    channels: BTreeMap<ChannelId, Seen>,
    is_in: bool,
    /// Why the connection is over, once it is.
    pub ended: Option<String>,
}

/// What has happened on a channel.
#[derive(Debug, Default)]
pub struct Seen {
    /// The agent has accepted the subsystem.
    pub is_open: bool,
    /// What was taken from the agent by [`Wire::take`].
    pub bytes: Vec<u8>,
    /// The exit status, once it was told.
    pub exit_status: Option<u32>,
    /// The agent sends nothing more.
    pub has_ended: bool,
    /// The channel is gone.
    pub is_closed: bool,
}

impl Wire {
    /// A connection on which the operator has proven himself.
    ///
    /// # Panics
    ///
    /// If the agent does not let him in.
    #[track_caller]
    pub fn to(agent: &Agent) -> Wire {
        let wire = Wire::with_key(agent, &agent.files.operator);
        assert_eq!(wire.ended, None, "the agent lets the operator in: {}", agent.log());
        wire
    }

    /// A connection with any key, proven or [`Wire::ended`].
    pub fn with_key(agent: &Agent, key: &KeyFile) -> Wire {
        let bytes = std::fs::read(key.path()).expect("a key file");
        let (host_key, _) = PublicKey::parse_line(&agent.files.host_key.public_line()).expect("it");
        let config = ClientConfig {
            user: "claude".to_owned(),
            key: KeyPair::parse_openssh(&bytes).expect("a key"),
            host_key,
            tuning: Tuning::default(),
        };
        let stream = TcpStream::connect(agent.address).expect("the agent listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(LOOK)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        let mut seed = [0; 32];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut it| it.read_exact(&mut seed))
            .expect("it");
        let conn = Conn::client(Arc::new(config), seed, Mono::ZERO);
        let (start, channels) = (Instant::now(), BTreeMap::new());
        let mut wire = Wire { conn, stream, start, channels, is_in: false, ended: None };
        wire.until("the proof of both keys", |wire| wire.is_in || wire.ended.is_some());
        wire
    }

    /// Opens a channel with a subsystem.
    #[track_caller]
    pub fn open(&mut self, subsystem: &'static str) -> ChannelId {
        let channel = self.conn.open_subsystem(subsystem).expect("there is room");
        self.channels.insert(channel, Seen::default());
        self.until("the channel", |wire| wire.seen(channel).is_open || wire.is_over(channel));
        channel
    }

    /// Opens a terminal in a session, of this size.
    #[track_caller]
    pub fn attach(&mut self, id: &str, cols: u32, rows: u32) -> ChannelId {
        self.attach_with(&json!({ "id": id, "cols": cols, "rows": rows }))
    }

    /// Opens a terminal with a header.
    #[track_caller]
    pub fn attach_with(&mut self, header: &Value) -> ChannelId {
        let channel = self.open(ATTACH_SUBSYSTEM);
        self.send(channel, format!("{header}\n").as_bytes());
        channel
    }

    /// One call, its parameters as they stand.
    ///
    /// # Errors
    /// The agent's sentence.
    #[track_caller]
    pub fn call(&mut self, op: &str, params: &Value) -> Result<Value, String> {
        self.request(json!({ "op": op, "params": params }).to_string().as_bytes())
    }

    /// One request line, as it stands.
    ///
    /// # Errors
    /// The agent's sentence.
    #[track_caller]
    pub fn request(&mut self, line: &[u8]) -> Result<Value, String> {
        let channel = self.open(RPC_SUBSYSTEM);
        self.send(channel, line);
        self.send(channel, b"\n");
        self.answer(channel)
    }

    /// The answer on a channel, which ends it.
    ///
    /// # Errors
    /// The agent's sentence.
    #[track_caller]
    pub fn answer(&mut self, channel: ChannelId) -> Result<Value, String> {
        let seen = self.finish(channel);
        assert_eq!(seen.bytes.last(), Some(&b'\n'), "{seen:?}");
        response::parse(&seen.bytes).expect("a response line")
    }

    /// Sends all of it, or as much as the agent takes before the channel is closed.
    #[track_caller]
    pub fn send(&mut self, channel: ChannelId, mut bytes: &[u8]) -> usize {
        let whole = bytes.len();
        self.until("room to send", |wire| {
            let sent = wire.conn.send(channel, bytes);
            bytes = &bytes[sent..];
            wire.flush();
            wire.take(channel);
            bytes.is_empty() || wire.is_over(channel)
        });
        whole - bytes.len()
    }

    /// Nothing more is sent on this channel.
    pub fn send_eof(&mut self, channel: ChannelId) {
        self.conn.send_eof(channel);
        self.flush();
    }

    /// Gives up a channel.
    pub fn close(&mut self, channel: ChannelId) {
        self.conn.close(channel);
        self.flush();
    }

    /// The terminal has another size.
    pub fn resize(&mut self, channel: ChannelId, cols: u32, rows: u32) {
        self.conn.window_change(channel, cols, rows);
        self.flush();
    }

    /// Waits until `text` has come on a channel since this was last asked.
    #[track_caller]
    pub fn sees(&mut self, channel: ChannelId, text: &str) {
        let seen = |wire: &Wire| find(&wire.channels[&channel].bytes, text.as_bytes());
        self.until(text, |wire| {
            wire.take(channel);
            seen(wire).is_some() || wire.is_over(channel)
        });
        let end = seen(self).unwrap_or_else(|| panic!("no {text:?}: {}", self.told()));
        let bytes = &mut self.seen(channel).bytes;
        bytes.drain(..end + text.len());
    }

    /// All that has come on a channel and was not looked at.
    pub fn shown(&self, channel: ChannelId) -> String {
        String::from_utf8_lossy(&self.channels[&channel].bytes).into_owned()
    }

    /// Waits for the end of a channel.
    #[track_caller]
    pub fn finish(&mut self, channel: ChannelId) -> Seen {
        self.until("the end of the channel", |wire| {
            wire.take(channel);
            wire.is_over(channel)
        });
        self.channels.remove(&channel).expect("it was opened")
    }

    /// Waits until a condition holds, talking with the agent meanwhile.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Wire) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "waited in vain for {what}: {}", self.told());
            self.turn();
        }
    }

    /// The end of what has come on each channel, and how the connection is.
    fn told(&self) -> String {
        let channels = self.channels.iter().map(|(id, seen)| {
            let tail = String::from_utf8_lossy(&seen.bytes[seen.bytes.len().saturating_sub(400)..]);
            let Seen { is_open, exit_status, has_ended, is_closed, .. } = seen;
            format!(
                "{id:?}: {tail:?}, open {is_open}, ended {has_ended}, closed {is_closed}, \
                 status {exit_status:?}"
            )
        });
        format!("{}; connection ended: {:?}", channels.collect::<Vec<_>>().join("; "), self.ended)
    }

    /// What has happened on a channel.
    pub fn seen(&mut self, channel: ChannelId) -> &mut Seen {
        self.channels.get_mut(&channel).expect("it was opened")
    }

    /// Takes what has come on a channel, which reopens its window.
    pub fn take(&mut self, channel: ChannelId) {
        let bytes = self.conn.received(channel);
        let len = bytes.len();
        self.channels.get_mut(&channel).expect("it was opened").bytes.extend_from_slice(bytes);
        self.conn.consume(channel, len);
    }

    /// One look at the stream in both directions.
    pub fn turn(&mut self) {
        self.flush();
        let space = self.conn.input_space();
        if !space.is_empty() {
            match self.stream.read(space) {
                Ok(0) => self.conn.input_end(self.now()),
                Ok(len) => self.conn.input(self.now(), len),
                Err(error) if is_nothing_yet(&error) => {}
                Err(_) => self.conn.input_end(self.now()),
            }
        }
        self.conn.tick(self.now());
        while let Some(event) = self.conn.poll_event() {
            self.hear(event);
        }
        self.flush();
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::ExitStatus { channel, code } => {
                self.seen(channel).exit_status = Some(code);
            }
            Event::Eof { channel } => self.seen(channel).has_ended = true,
            Event::Closed { channel } => {
                if let Some(seen) = self.channels.get_mut(&channel) {
                    seen.is_closed = true;
                }
            }
            Event::Disconnected(error) => self.ended = Some(error.to_string()),
            Event::Authenticated { .. } => self.is_in = true,
            Event::Opened { channel } => self.seen(channel).is_open = true,
            _ => {}
        }
    }

    fn flush(&mut self) {
        loop {
            let output = self.conn.output();
            if output.is_empty() {
                return;
            }
            let Ok(len) = self.stream.write(output) else { return };
            self.conn.output_sent(len);
        }
    }

    fn is_over(&self, channel: ChannelId) -> bool {
        self.ended.is_some() || self.channels.get(&channel).is_none_or(|seen| seen.is_closed)
    }

    fn now(&self) -> Mono {
        Mono::ZERO + self.start.elapsed()
    }
}

/// Nothing has come within the time for one look; or a signal came, which ends such a wait too
/// (signal(7)).
fn is_nothing_yet(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
