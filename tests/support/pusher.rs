//! An agent that is nothing but its events: real spool, emitter and transport, in a process that
//! can be killed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use convocate::agent::emitter::{Emitter, EmitterAction, Identity};
use convocate::agent::spool::{SpoolTuning, recovery::Recovery};
use convocate::agent::uplink::{Shell, Uplink};
use convocate::base::address::Address;
use convocate::base::endpoint::Endpoint;
use convocate::base::rng::Rng;
use convocate::base::slots::Key;
use convocate::base::time::{Now, Wall};
use convocate::base::uuid::Uuid;
use convocate::io::clock::Clock;
use convocate::io::disk::LogDirectory;
use convocate::io::entropy;
use convocate::io::outbound::{DialEvent, Dialler, Outbound};
use convocate::io::reactor::Reactor;
use convocate::rpc::SSH_USER;
use convocate::rpc::event::{Event, EventType};
use convocate::ssh::ClientConfig;
use convocate::ssh::keys::{KeyPair, PublicKey};
use serde_json::Value;

use super::agent::AgentFiles;

/// Events that are on their way to the disk at once.
const AHEAD: u64 = 4000;

/// One of them.
pub struct Pusher {
    id: String,
    clock: Clock,
    /// How far the calendar is behind, in seconds.
    pub wall_back: i64,
    shell: Arc<Shell>,
    emitter: Emitter,
    disk: LogDirectory,
    outbound: Outbound,
    uplink: Option<Uplink>,
}

/// What an agent of this kind is made of.
#[derive(Debug)]
pub struct Setup {
    /// Which one.
    pub number: u8,
    /// Where the listener is, or what stands before it.
    pub address: SocketAddr,
    /// The listener's key, as a line.
    pub host_key: String,
    /// Its spool's directory.
    pub spool: PathBuf,
    /// Its spool's size.
    pub tuning: SpoolTuning,
}

/// An agent's id and key, by number.
pub fn identity(number: u8) -> (String, KeyPair) {
    const DIGITS: &[u8] = b"abcdefghjk";
    let digit = |value: u8| char::from(DIGITS[usize::from(value % 10)]);
    let id = format!("agentxxxx{}{}{}", digit(number / 100), digit(number / 10), digit(number));
    (id, KeyPair::from_seed([number + 1; 32]))
}

/// Lets so many of them in, and nobody else.
pub fn enrol(files: &AgentFiles, agents: u8) {
    let line = |number| {
        let (id, key) = identity(number);
        format!("agent-id=\"{id}\" {}\n", key.public().to_line("test").trim_end())
    };
    let keys: String = (0..agents).map(line).collect();
    files.root.write(&files.root.paths().status_authorized_keys(), &keys, 0o644);
}

impl Pusher {
    /// A new agent with a spool below the root.
    pub fn new(files: &AgentFiles, number: u8, address: SocketAddr) -> Pusher {
        Pusher::open(&Setup {
            number,
            address,
            host_key: files.status.public_line(),
            spool: files.root.dir().join(format!("spool-{number}")),
            tuning: SpoolTuning::default(),
        })
    }

    /// An agent that goes on with what its spool has.
    pub fn open(setup: &Setup) -> Pusher {
        let (id, key) = identity(setup.number);
        let clock = Clock::new();
        let mut disk = LogDirectory::open(&setup.spool, 0o700).expect("the spool is ours");
        let mut rng = Rng::from_seed(entropy::seed());
        let files = disk.files().expect("the spool is ours");
        let mut recovery = Recovery::new(files, setup.tuning, &mut rng);
        while let Some(op) = recovery.poll_disk() {
            recovery.disk_done(disk.execute(op));
        }
        let identity = Identity {
            agent_id: id.clone(),
            version: "0.1.0".to_owned(),
            image_tag: "convocate:0.1.0".to_owned(),
        };
        let host_key = PublicKey::parse_line(&setup.host_key).expect("a key").0;
        let config =
            ClientConfig { user: SSH_USER.to_owned(), key, host_key, tuning: Default::default() };
        let shell = Arc::new(Shell {
            address: Address::from(setup.address),
            config: Arc::new(config),
            key: setup.spool.clone(),
            known_host: setup.spool.clone(),
        });
        let emitter = Emitter::new(identity, recovery.finish(), entropy::seed(), clock.now());
        let outbound = Outbound::new(Key::from_bits(setup.number.into()));
        let uplink = None;
        Pusher { id, clock, wall_back: 0, shell, emitter, disk, outbound, uplink }
    }

    /// The spool and the connection's state.
    pub fn emitter(&self) -> &Emitter {
        &self.emitter
    }

    fn now(&self) -> Now {
        let Now { mono, wall } = self.clock.now();
        Now { mono, wall: Wall::new(wall.seconds() - self.wall_back, 0) }
    }

    pub fn emit(&mut self, kind: EventType, session: Uuid, data: Value) {
        self.emitter.emit(&Event {
            kind,
            agent_id: self.id.clone(),
            session_id: Some(session),
            timestamp: self.now().wall,
            data,
            epoch: None,
            seq: None,
        });
    }

    pub fn has_room(&self) -> bool {
        self.emitter.spool().last_seq() - self.emitter.synced() < AHEAD
    }

    pub fn is_live(&self) -> bool {
        self.emitter.is_live()
    }

    pub fn is_drained(&self) -> bool {
        self.emitter.is_drained()
    }

    /// Whether there is more to do at once.
    fn turn(&mut self, dialler: &mut Dialler, reactor: &mut Reactor) -> bool {
        let now = self.now();
        self.emitter.tick(now);
        while let Some(action) = self.emitter.poll_action() {
            match action {
                EmitterAction::Dial => {
                    self.uplink = None;
                    let event = self.outbound.dial(dialler, reactor, &self.shell.address);
                    self.dialled(event);
                }
                EmitterAction::HangUp => {
                    self.uplink = None;
                    self.outbound.close();
                }
                EmitterAction::Measure => self.emitter.heartbeat(now, Value::Null),
            }
        }
        let mut more = false;
        while let Some(op) = self.emitter.poll_disk() {
            let done = self.disk.execute(op);
            self.emitter.disk_done(now, done);
            more = true;
        }
        let Some(uplink) = &mut self.uplink else { return more };
        uplink.tick(now.mono);
        uplink.work(now, &mut self.emitter);
        self.outbound.pump(now.mono, uplink);
        uplink.work(now, &mut self.emitter);
        if !self.outbound.is_open() {
            self.uplink = None;
            return true;
        }
        more || self.outbound.wants_turn(uplink)
    }

    fn dialled(&mut self, event: DialEvent) {
        let now = self.clock.mono();
        match event {
            DialEvent::None => {}
            DialEvent::ConnectStarted => self.emitter.connects_started(now),
            DialEvent::Connected => {
                self.emitter.reached(now);
                self.uplink = Some(Uplink::new(Arc::clone(&self.shell), entropy::seed(), now));
            }
            DialEvent::Failed(why) => self.emitter.unreached(now, why),
        }
    }
}

/// Drives agents until `is_enough`. Their numbers differ.
pub fn drive(agents: &mut [Pusher], mut is_enough: impl FnMut(&mut [Pusher]) -> bool) {
    // Each call watches anew, so that none has to know of those before it.
    let clock = Clock::new();
    let mut reactor = Reactor::new().expect("epoll");
    let mut dialler = Dialler::new(Key::from_bits(u64::MAX));
    for agent in &*agents {
        agent.outbound.watch(&reactor).expect("a descriptor of ours");
    }
    let mut ready = Vec::new();
    while !is_enough(agents) {
        let mut more = false;
        for agent in &mut *agents {
            more |= agent.turn(&mut dialler, &mut reactor);
        }
        // At most a few milliseconds: what ends this may come from elsewhere.
        let soon = clock.mono() + std::time::Duration::from_millis(2);
        reactor.turn(&clock, Some(soon), more, &mut ready).expect("epoll");
        for ready in &ready {
            let agent = agents.iter_mut().find(|agent| agent.outbound.key() == ready.key);
            if let Some(agent) = agent {
                let event = agent.outbound.ready(&reactor, *ready);
                agent.dialled(event);
            }
        }
    }
}
