//! The demo's cluster: a private directory with the files of both sides, an agent and a status
//! listener.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::config::RuntimeKind;
use crate::agent::image;
use crate::agent::serve::has_image;
use crate::base::address::Address;
use crate::base::rng::Rng;
use crate::cli::convocate::demo::AGENT_WORD;
use crate::fleet::run::Runner;
use crate::io::child_daemon::ChildDaemon;
use crate::io::clock::Clock;
use crate::io::disk::{self, DiskError};
use crate::io::entropy;
use crate::io::process::{Program, Signal};
use crate::limits::{AGENT_SHUTDOWN_GRACE, DEMO_START_TIMEOUT};
use crate::paths::{CONFIG_DIR, DOCKER_SOCKET, PRIVATE_KEY, PUBLIC_FILE, Paths};
use crate::rpc::agent_id::AgentId;
use crate::rpc::call::{Call, Create, Id};
use crate::rpc::field::{SessionCommand, SessionName};
use crate::rpc::session::Session;
use crate::ssh::keys::KeyPair;

/// Between two looks for what another process does.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
const AGENT_LOG: &str = "agent.log";
const HUB_LOG: &str = "status.log";

pub(super) struct Cluster {
    paths: Paths,
    agent_id: AgentId,
    entry_key: String,
    runtime: RuntimeKind,
    agent: Option<ChildDaemon>,
    hub: Option<ChildDaemon>,
    address: Option<Address>,
    clock: Clock,
}

impl Cluster {
    pub(super) fn build(runtime: Option<&str>) -> Result<Cluster, String> {
        let runtime = choose_runtime(runtime)?;
        let mut rng = Rng::from_seed(entropy::seed());
        let root = make_root(&mut rng).map_err(|error| format!("no private directory: {error}"))?;
        let paths = Paths::below(root);
        let agent_id = AgentId::random(&mut rng);
        let mut cluster = Cluster {
            paths,
            agent_id,
            entry_key: String::new(),
            runtime,
            agent: None,
            hub: None,
            address: None,
            clock: Clock::new(),
        };
        match cluster.write_files(&mut rng) {
            Ok(()) => Ok(cluster),
            Err(error) => {
                cluster.remove_root()?;
                Err(error.to_string())
            }
        }
    }

    /// What an installation and an enrolment leave on both sides.
    fn write_files(&mut self, rng: &mut Rng) -> Result<(), DiskError> {
        let host_key = KeyPair::from_seed(rng.bytes());
        let shell_key = KeyPair::from_seed(rng.bytes());
        let status_key = KeyPair::from_seed(rng.bytes());
        let pusher_key = KeyPair::from_seed(rng.bytes());
        let entry = self.paths.agent_entry(self.agent_id.as_str());
        disk::make_directories(&self.paths.agent_config(), CONFIG_DIR.1)?;
        disk::make_directories(entry.dir(), CONFIG_DIR.1)?;
        disk::make_directories(&self.paths.skeleton(), 0o700)?;
        let private = |path: PathBuf, key: &KeyPair, check| {
            disk::write_atomic(
                &path,
                key.to_openssh("convocate demo", check).as_bytes(),
                PRIVATE_KEY.1,
            )
        };
        private(self.paths.agent_host_key(), &host_key, rng.below(u32::MAX))?;
        private(entry.shell_to_agent_key(), &shell_key, rng.below(u32::MAX))?;
        private(self.paths.status_host_key(), &status_key, rng.below(u32::MAX))?;
        private(self.paths.agent_shell_key(), &pusher_key, rng.below(u32::MAX))?;
        let host_line = host_key.public().to_line("agent host key");
        self.entry_key = shell_key.public().to_line("shell to agent");
        let status_line = status_key.public().to_line("status host key");
        let pusher_line = pusher_key.public().to_line("agent to shell");
        let bound_line = format!("agent-id=\"{}\" {pusher_line}", self.agent_id);
        for (path, line) in [
            (self.paths.agent_id(), self.agent_id.as_str()),
            (self.paths.agent_authorized_keys(), &self.entry_key),
            (entry.host_key(), &host_line),
            (entry.agent_to_shell_public_key(), &pusher_line),
            (self.paths.agent_shell_known_host(), &status_line),
            (self.paths.status_authorized_keys(), &bound_line),
            (entry.shell_to_agent_public_key(), &self.entry_key),
        ] {
            disk::write_atomic(&path, format!("{}\n", line.trim_end()).as_bytes(), PUBLIC_FILE.1)?;
        }
        Ok(())
    }

    /// Starts the listener for events on a free port of loopback, and tells the agent where.
    pub(super) fn start_hub(&mut self) -> Result<(), String> {
        let mut program = Program::new("/proc/self/exe", ["status-serve"]);
        for argument in [
            format!("--root={}", self.paths.root().display()),
            "--listen=127.0.0.1:0".to_owned(),
            "--until-stdin-ends".to_owned(),
        ] {
            program.arguments.push(argument.into());
        }
        let log = self.log(HUB_LOG)?;
        let hub = ChildDaemon::spawn(&program, log).map_err(|error| error.to_string())?;
        let hub = self.hub.insert(hub);
        let address = wait_for_address(&self.clock, hub, &self.paths.status_address());
        let address = address.ok_or_else(|| self.did_not_start("status listener", HUB_LOG))?;
        let host = self.paths.agent_shell_host();
        disk::write_atomic(&host, format!("{address}\n").as_bytes(), PUBLIC_FILE.1)
            .map_err(|error| error.to_string())
    }

    /// Starts the agent on a port of loopback (0: any that is free) and waits until it listens.
    pub(super) fn start_agent(&mut self, port: u16) -> Result<(), String> {
        let address_file = self.paths.agent_address();
        let _ = fs::remove_file(&address_file);
        let log = self.log(AGENT_LOG)?;
        let mut program = Program::new("/proc/self/exe", [AGENT_WORD, "serve"]);
        for argument in [
            format!("--root={}", self.paths.root().display()),
            format!("--listen=127.0.0.1:{port}"),
            format!("--runtime={}", self.runtime.as_str()),
            "--until-stdin-ends".to_owned(),
        ] {
            program.arguments.push(argument.into());
        }
        let daemon = ChildDaemon::spawn(&program, log).map_err(|error| error.to_string())?;
        let daemon = self.agent.insert(daemon);
        let address = wait_for_address(&self.clock, daemon, &address_file);
        let address = address.ok_or_else(|| self.did_not_start("agent", AGENT_LOG))?;
        let host = self.paths.agent_entry(self.agent_id.as_str()).host();
        disk::write_atomic(&host, format!("{address}\n").as_bytes(), PUBLIC_FILE.1)
            .map_err(|error| error.to_string())?;
        self.address = Some(address);
        Ok(())
    }

    /// Kills the agent, as a power cut would. Its sessions run on.
    pub(super) fn cut_agent(&mut self) -> Result<(), String> {
        if let Some(agent) = self.agent.take() {
            end(agent, Signal::KILL)?;
        }
        Ok(())
    }

    /// Removes every session, ends the agent and removes the directory.
    pub(super) fn take_down(&mut self) -> Result<(), String> {
        let sessions = self.agent.is_some().then(|| self.remove_sessions());
        for daemon in [self.agent.take(), self.hub.take()].into_iter().flatten() {
            end(daemon, Signal::TERM)?;
        }
        sessions.unwrap_or(Ok(()))?;
        self.remove_root()
    }

    fn remove_sessions(&self) -> Result<(), String> {
        let mut runner = Runner::open(&self.paths)?;
        let listed = runner.ask(&self.agent_id, &Call::List)?;
        let sessions: Vec<Session> =
            serde_json::from_value(listed).map_err(|error| error.to_string())?;
        for session in sessions {
            runner.ask(&self.agent_id, &Call::Delete(Id { id: session.uuid }))?;
        }
        Ok(())
    }

    fn remove_root(&self) -> Result<(), String> {
        disk::remove_tree(self.paths.root()).map_err(|error| error.to_string())
    }

    fn log(&self, name: &str) -> Result<File, String> {
        let path = self.paths.root().join(name);
        let log = File::options().create(true).append(true).open(&path);
        log.map_err(|error| format!("{}: {error}", path.display()))
    }

    fn did_not_start(&self, what: &str, name: &str) -> String {
        let log = fs::read_to_string(self.paths.root().join(name)).unwrap_or_default();
        format!("the {what} did not start: {}", log.trim())
    }

    /// The session that the demo begins with: the usual command where it is installed, else a
    /// shell.
    pub(super) fn first_session(&self) -> Create {
        let has_claude = self.runtime == RuntimeKind::Host && on_path("claude");
        Create {
            command: (!has_claude).then(|| SessionCommand::parse("bash").expect("a word")),
            ..Create::new(SessionName::parse("first light").expect("letters and a space"))
        }
    }

    pub(super) fn paths(&self) -> &Paths {
        &self.paths
    }

    pub(super) fn agent_id(&self) -> &AgentId {
        &self.agent_id
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    pub(super) fn address(&self) -> String {
        self.address.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    pub(super) fn port(&self) -> u16 {
        self.address.as_ref().map_or(0, |address| address.port)
    }

    pub(super) fn runtime_text(&self) -> &'static str {
        match self.runtime {
            RuntimeKind::Docker => "sessions in containers",
            RuntimeKind::Host => "sessions in tmux on this machine, without containers",
        }
    }
}

/// Whatever happens, the agent goes and the directory with it.
impl Drop for Cluster {
    fn drop(&mut self) {
        self.agent = None;
        self.hub = None;
        // Where a directory cannot be removed there is nobody left to tell.
        let _ = self.remove_root();
    }
}

/// Waits until a daemon has written down where it listens; `None` if it does not.
fn wait_for_address(clock: &Clock, daemon: &mut ChildDaemon, file: &Path) -> Option<Address> {
    let deadline = clock.mono() + DEMO_START_TIMEOUT;
    loop {
        if let Ok(text) = fs::read_to_string(file) {
            return Address::parse(text.trim()).ok();
        }
        let has_ended = !matches!(daemon.wait(LOOK_INTERVAL), Ok(None));
        if has_ended || clock.mono() >= deadline {
            return None;
        }
    }
}

fn end(mut agent: ChildDaemon, signal: Signal) -> Result<(), String> {
    agent.signal(signal).map_err(|error| format!("cannot end the agent: {error}"))?;
    match agent.wait(AGENT_SHUTDOWN_GRACE) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot see how the agent ended: {error}")),
    }
}

fn choose_runtime(wanted: Option<&str>) -> Result<RuntimeKind, String> {
    let has_docker = || has_image(DOCKER_SOCKET.as_ref(), &image::tag());
    let has_tmux = || {
        if on_path("tmux") {
            Ok(RuntimeKind::Host)
        } else {
            Err("tmux is not installed".to_owned())
        }
    };
    match wanted {
        Some("docker") => match has_docker() {
            Ok(()) => Ok(RuntimeKind::Docker),
            Err(text) => Err(format!("no sessions in containers: {text}")),
        },
        Some("host") => has_tmux(),
        Some(other) => Err(format!("--runtime: {other:?} must be docker or host")),
        None if has_docker().is_ok() => Ok(RuntimeKind::Docker),
        None => has_tmux().map_err(|text| {
            format!("{text}, and there is no Docker engine with the image {}", image::tag())
        }),
    }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// A directory that only this user can enter. Its path is short, so that programs that know no way
/// around the length of a socket's path (108 bytes) reach the sockets of sessions below it.
fn make_root(rng: &mut Rng) -> io::Result<PathBuf> {
    let name = format!("convocate-{:08x}", u32::from_le_bytes(rng.bytes()));
    let root = std::env::temp_dir().join(name);
    disk::make_directory(&root, 0o700).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(root)
}
