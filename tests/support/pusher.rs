//! An agent that is nothing but its events: real spool, emitter and transport.

use std::net::SocketAddr;
use std::sync::Arc;

use convocate::agent::emitter::{Action, Emitter, Identity};
use convocate::agent::spool::{Tuning, recovery::Recovery};
use convocate::agent::uplink::{Shell, Uplink};
use convocate::base::address::Address;
use convocate::base::endpoint::Endpoint;
use convocate::base::rng::Rng;
use convocate::base::slots::Key;
use convocate::base::uuid::Uuid;
use convocate::io::clock::Clock;
use convocate::io::dial;
use convocate::io::disk::LogDirectory;
use convocate::io::entropy;
use convocate::io::reactor::Reactor;
use convocate::io::wire::{Dialled, Flow, Wire};
use convocate::rpc::SSH_USER;
use convocate::rpc::event::{Event, EventType};
use convocate::ssh::ClientConfig;
use convocate::ssh::keys::PublicKey;
use serde_json::Value;

use crate::support::agent::AgentFiles;

/// Events that are on their way to the disk at once.
const AHEAD: u64 = 4000;

pub struct Pusher {
    id: String,
    clock: Clock,
    shell: Arc<Shell>,
    emitter: Emitter,
    disk: LogDirectory,
    line: Option<(Wire, Option<Uplink>)>,
}

impl Pusher {
    pub fn new(number: u8, files: &AgentFiles, address: SocketAddr) -> Pusher {
        let (id, key) = crate::identity(number);
        let clock = Clock::new();
        let path = files.root.dir().join(format!("spool-{number}"));
        let disk = LogDirectory::open(&path, 0o700).unwrap();
        let mut rng = Rng::from_seed(entropy::seed());
        let spool = Recovery::new(Vec::new(), Tuning::default(), &mut rng).finish();
        let identity = Identity {
            agent_id: id.clone(),
            version: "0.1.0".to_owned(),
            image_tag: "convocate:0.1.0".to_owned(),
        };
        let host_key = PublicKey::parse_line(&files.status.public_line()).unwrap().0;
        let config =
            ClientConfig { user: SSH_USER.to_owned(), key, host_key, tuning: Default::default() };
        let shell = Arc::new(Shell {
            address: Address::from(address),
            config: Arc::new(config),
            key: path.clone(),
            known_host: path,
        });
        let emitter = Emitter::new(identity, spool, entropy::seed(), clock.now());
        Pusher { id, clock, shell, emitter, disk, line: None }
    }

    pub fn emit(&mut self, kind: EventType, session: Uuid, data: Value) {
        self.emitter.emit(&Event {
            kind,
            agent_id: self.id.clone(),
            session_id: Some(session),
            timestamp: self.clock.wall(),
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
    fn turn(&mut self, reactor: &Reactor, key: Key) -> bool {
        let now = self.clock.now();
        self.emitter.tick(now);
        while let Some(action) = self.emitter.poll_action() {
            match action {
                Action::Dial => {
                    let number = self.shell.address.as_socket_addr().unwrap();
                    let wire = dial::connect(reactor, key, vec![number]).unwrap();
                    self.line = Some((wire, None));
                }
                Action::HangUp => self.line = None,
                Action::Measure => self.emitter.heartbeat(now, Value::Null),
            }
        }
        let mut more = false;
        while let Some(op) = self.emitter.poll_disk() {
            let done = self.disk.execute(op);
            self.emitter.disk_done(self.clock.now(), done);
            more = true;
        }
        let Some((wire, Some(uplink))) = &mut self.line else { return more };
        uplink.tick(now.mono);
        uplink.work(now, &mut self.emitter);
        match wire.pump(now.mono, uplink) {
            Flow::Again => more = true,
            Flow::Wait => {}
            Flow::Over => {
                uplink.work(now, &mut self.emitter);
                self.line = None;
                return true;
            }
        }
        uplink.work(now, &mut self.emitter);
        more || wire.is_writable() && !uplink.output().is_empty()
    }
}

/// Drives agents until `is_enough`.
pub fn drive(agents: &mut [Pusher], mut is_enough: impl FnMut(&mut [Pusher]) -> bool) {
    // Each call watches anew, so that none has to know of those before it.
    let clock = Clock::new();
    let mut reactor = Reactor::new().unwrap();
    for (agent, key) in agents.iter().zip(0..) {
        if let Some((wire, _)) = &agent.line {
            let _ = reactor
                .watch(wire.stream(), Key::from_bits(key), convocate::io::reactor::Interests::Both)
                .unwrap();
        }
    }
    let mut ready = Vec::new();
    while !is_enough(agents) {
        let mut more = false;
        for (agent, key) in agents.iter_mut().zip(0..) {
            more |= agent.turn(&reactor, Key::from_bits(key));
        }
        // At most a few milliseconds: what ends this may come from elsewhere.
        let soon = clock.mono() + std::time::Duration::from_millis(2);
        match more {
            true => reactor.look(&mut ready).unwrap(),
            false => reactor.wait(&clock, Some(soon), &mut ready).unwrap(),
        }
        for ready in &ready {
            let Ok(at) = usize::try_from(ready.key.to_bits()) else { continue };
            let agent = &mut agents[at];
            let Some((wire, uplink)) = &mut agent.line else { continue };
            match wire.note(*ready) {
                Dialled::Unchanged => {}
                Dialled::Open => {
                    let (shell, now) = (Arc::clone(&agent.shell), agent.clock.mono());
                    *uplink = Some(Uplink::new(shell, entropy::seed(), now));
                }
                Dialled::Failed(error, _) => {
                    agent.emitter.closed(agent.clock.mono(), error.to_string());
                    agent.line = None;
                }
            }
        }
    }
}
