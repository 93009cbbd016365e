//! Two ends of one connection in memory and in virtual time, driven by a seed.

use std::sync::{Arc, LazyLock};

use convocate::base::endpoint::Endpoint;
use convocate::base::rng::Rng;
use convocate::base::time::Mono;
use convocate::limits;
use convocate::ssh::keys::KeyPair;
use convocate::ssh::{ChannelId, ClientConfig, Conn, Event, ServerConfig, Subsystem, Tuning};

pub static SUBSYSTEMS: [Subsystem; 2] = [
    Subsystem { name: "rpc", window_change: false },
    Subsystem { name: "attach", window_change: true },
];

pub fn host_key() -> KeyPair {
    KeyPair::from_seed([1; 32])
}

pub fn client_key() -> KeyPair {
    KeyPair::from_seed([2; 32])
}

pub fn server_config(tuning: Tuning) -> Arc<ServerConfig> {
    Arc::new(ServerConfig { host_key: host_key(), subsystems: &SUBSYSTEMS, tuning })
}

pub fn client_config(tuning: Tuning) -> Arc<ClientConfig> {
    Arc::new(ClientConfig {
        user: "agent".to_owned(),
        key: client_key(),
        host_key: *host_key().public(),
        tuning,
    })
}

static DEFAULT_CLIENT: LazyLock<Arc<ClientConfig>> =
    LazyLock::new(|| client_config(Tuning::default()));
static DEFAULT_SERVER: LazyLock<Arc<ServerConfig>> =
    LazyLock::new(|| server_config(Tuning::default()));

/// How bytes are cut on their way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Whole,
    Bytes,
    Random,
}

pub struct Pair {
    pub client: Conn,
    pub server: Conn,
    pub now: Mono,
    pub cut: Cut,
    pub rng: Rng,
    /// All that went over the wire.
    pub to_server: Vec<u8>,
    pub to_client: Vec<u8>,
    pub client_events: Vec<Event>,
    pub server_events: Vec<Event>,
    /// Where each turn of what went to the client ended.
    pub to_client_turns: Vec<usize>,
}

impl Pair {
    pub fn new() -> Pair {
        Pair::with(DEFAULT_CLIENT.clone(), DEFAULT_SERVER.clone())
    }

    pub fn tuned(client: Tuning, server: Tuning) -> Pair {
        Pair::with(client_config(client), server_config(server))
    }

    pub fn with(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Pair {
        let now = Mono::from_nanos(1);
        Pair {
            client: Conn::client(client, [3; 32], now),
            server: Conn::server(server, [4; 32], now),
            now,
            cut: Cut::Whole,
            rng: Rng::from_seed([5; 32]),
            to_server: Vec::new(),
            to_client: Vec::new(),
            client_events: Vec::new(),
            server_events: Vec::new(),
            to_client_turns: Vec::new(),
        }
    }

    /// Connected and authenticated, with the events of that taken.
    pub fn ready() -> Pair {
        let mut pair = Pair::new();
        pair.settle();
        pair.assert_ready();
        pair
    }

    pub fn assert_ready(&mut self) {
        let is_in = |events: &[Event]| {
            events.iter().any(|event| matches!(event, Event::Authenticated { .. }))
        };
        assert!(is_in(&self.client_events), "{:?}", self.client_events);
        assert!(is_in(&self.server_events), "{:?}", self.server_events);
        self.client_events.clear();
        self.server_events.clear();
    }

    /// Moves bytes both ways until nothing moves.
    pub fn settle(&mut self) {
        while self.turn() {}
    }

    /// One turn; says whether anything moved.
    pub fn turn(&mut self) -> bool {
        let size = match self.cut {
            Cut::Whole => usize::MAX,
            Cut::Bytes => 1,
            Cut::Random => 1 + self.rng.below(3000) as usize,
        };
        let up = carry(&mut self.client, &mut self.server, size, self.now, &mut self.to_server);
        self.take_events();
        let down = carry(&mut self.server, &mut self.client, size, self.now, &mut self.to_client);
        self.to_client_turns.push(self.to_client.len());
        let heard = self.take_events();
        up || down || heard
    }

    /// Takes events; says yes to every key.
    pub fn take_events(&mut self) -> bool {
        let mut any = false;
        while let Some(event) = self.client.poll_event() {
            self.client_events.push(event);
            any = true;
        }
        while let Some(event) = self.server.poll_event() {
            if let Event::KeyOffered { .. } = event {
                self.server.authorize(true);
            }
            self.server_events.push(event);
            any = true;
        }
        any
    }

    /// Makes the client start a key exchange; nothing of it has arrived yet.
    pub fn rekey_client(&mut self) {
        self.now = self.now + limits::SSH_REKEY_AGE;
        self.client.tick(self.now);
    }

    /// Makes the server start a key exchange; nothing of it has arrived yet.
    pub fn rekey_server(&mut self) {
        self.now = self.now + limits::SSH_REKEY_AGE;
        self.server.tick(self.now);
    }

    /// A channel that both ends know.
    pub fn open(&mut self, name: &'static str) -> (ChannelId, ChannelId) {
        let ours = self.client.open_subsystem(name).expect("ready");
        self.settle();
        assert!(self.client_events.contains(&Event::Opened { channel: ours }));
        let theirs = self.server_events.iter().find_map(|event| match event {
            Event::Subsystem { channel, name: known } if *known == name => Some(*channel),
            _ => None,
        });
        self.client_events.clear();
        self.server_events.clear();
        (ours, theirs.expect("the server knows the channel"))
    }
}

/// Carries what one end has to say, up to `size` bytes, to the other.
pub fn carry(from: &mut Conn, to: &mut Conn, size: usize, now: Mono, record: &mut Vec<u8>) -> bool {
    let mut moved = false;
    let mut left = size;
    while left > 0 {
        let space = to.input_space();
        let output = from.output();
        let len = space.len().min(output.len()).min(left);
        if len == 0 {
            break;
        }
        space[..len].copy_from_slice(&output[..len]);
        record.extend_from_slice(&output[..len]);
        from.output_sent(len);
        to.input(now, len);
        moved = true;
        left -= len;
    }
    moved
}
