//! Many agents of one shell host: real processes, each with its own root; and one that is dead.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::time::Duration;

use convocate::base::uuid::Uuid;
use convocate::rpc::event::EventType;
use convocate::ssh::keys::KeyPair;
use serde_json::json;

use super::agent::{AgentFiles, listening};
use super::hub::Hub;
use super::process::{CONVOCATE_AGENT, Running, command};
use super::pusher::{Pusher, drive, enrol, identity};
use super::root::Root;
use super::wait::{PATIENCE, wait_for, wait_until};

/// A shell host with agents that live, and perhaps one that does not.
pub struct Cluster {
    pub files: AgentFiles,
    pub hub: Hub,
    /// The key that drives agents, and its public line.
    operator: (String, String),
    // In this order: processes end before what they stand on.
    _agents: Vec<Running>,
    _roots: Vec<Root>,
    hole: BlackHole,
}

/// The name of the one session of the agent that is dead.
pub const KEPT: &str = "kept";

impl Cluster {
    /// A shell host and `live` agents, all of them known to be there.
    pub fn start(live: u8) -> Cluster {
        let files = AgentFiles::write();
        enrol(&files, live + 1);
        let hub = Hub::start(&files);
        let operator = std::fs::read_to_string(files.operator.path()).expect("it was made");
        let operator = (operator, files.operator.public_line());
        // The agent that belongs to these files is none of this cluster's.
        std::fs::remove_dir_all(files.entry().dir()).expect("it was written");
        let place = Place { files: &files, hub: &hub, operator: &operator };
        let (agents, roots) = place.start(1..live + 1).into_iter().unzip();
        for number in 1..=live {
            hub.waits_for_agent(&identity(number).0, "connected");
        }
        Cluster { files, hub, operator, _agents: agents, _roots: roots, hole: BlackHole::new() }
    }

    /// One more agent, which has told of a session, is lost, and says nothing when it is dialled.
    pub fn add_a_dead_one(&self) {
        let (id, _) = identity(0);
        let mut dead = [Pusher::new(&self.files, 0, self.hub.address)];
        drive(&mut dead, |dead| dead[0].is_live());
        let session = Uuid::parse("01234567-89ab-4def-8123-456789abcdef").expect("an id");
        let now = "2026-01-02T03:04:05Z";
        let data = json!({
            "uuid": session, "name": KEPT, "created_at": now, "last_accessed": now,
            "running": true,
        });
        dead[0].emit(EventType::Created, session, data);
        drive(&mut dead, |dead| dead[0].is_drained());
        drop(dead);
        self.hub.waits_for_agent(&id, "lost");
        let place = Place { files: &self.files, hub: &self.hub, operator: &self.operator };
        place.introduce(0, self.hole.address());
    }
}

fn host_key(number: u8) -> KeyPair {
    KeyPair::from_seed([101 + number; 32])
}

/// What agents are prepared and started with.
struct Place<'a> {
    files: &'a AgentFiles,
    hub: &'a Hub,
    operator: &'a (String, String),
}

impl Place<'_> {
    /// Writes the shell host's files about an agent.
    fn introduce(&self, number: u8, address: SocketAddr) {
        let root = &self.files.root;
        let entry = root.paths().agent_entry(&identity(number).0);
        root.write(&entry.shell_to_agent_key(), &self.operator.0, 0o600);
        root.write(&entry.host_key(), &host_key(number).public().to_line("agent"), 0o644);
        root.write(&entry.host(), &format!("{address}\n"), 0o644);
    }

    /// Starts these agents, all at once, and introduces them.
    fn start(&self, numbers: Range<u8>) -> Vec<(Running, Root)> {
        let begin = |number| {
            let root = self.prepare(number);
            let mut call = command(&root, CONVOCATE_AGENT);
            call.args(["serve", "--runtime", "host", "--listen", "127.0.0.1:0", "--root"]);
            (number, Running::start(call.arg(root.dir())), root)
        };
        let begun: Vec<_> = numbers.map(begin).collect();
        let listens = |(number, mut process, root): (u8, Running, Root)| {
            let address = wait_for(PATIENCE, "an agent to listen", || {
                assert!(process.is_alive(), "an agent ended: {}", process.stderr.text());
                listening(&process.stderr.text())
            });
            self.introduce(number, address);
            (process, root)
        };
        begun.into_iter().map(listens).collect()
    }

    /// An agent's own files.
    fn prepare(&self, number: u8) -> Root {
        let (root, (id, key)) = (Root::new(), identity(number));
        let paths = root.paths();
        let secret = |key: &KeyPair| key.to_openssh("test", 1).to_string();
        root.write(&paths.agent_id(), &format!("{id}\n"), 0o644);
        root.write(&paths.agent_host_key(), &secret(&host_key(number)), 0o600);
        root.write(&paths.agent_shell_key(), &secret(&key), 0o600);
        root.write(&paths.agent_authorized_keys(), &format!("{}\n", self.operator.1), 0o644);
        self.files.status.copy_public_to(&root, &paths.agent_shell_known_host());
        root.write(&paths.agent_shell_host(), &format!("{}\n", self.hub.address), 0o644);
        for directory in [paths.skeleton(), paths.agent_state()] {
            std::fs::create_dir_all(directory).expect("the root is ours");
        }
        root
    }
}

/// A port where connections never get anywhere.
pub struct BlackHole {
    listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    /// One that is bound, with its queue full.
    pub fn new() -> BlackHole {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        rustix::net::listen(&listener, 0).expect("it is bound");
        let address = listener.local_addr().expect("it is bound");
        let mut waiting = Vec::new();
        wait_until(PATIENCE, "the queue to be full", || {
            let dialled = TcpStream::connect_timeout(&address, Duration::from_millis(100));
            let is_full = dialled.is_err();
            waiting.extend(dialled);
            is_full
        });
        BlackHole { listener, _waiting: waiting }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }
}
