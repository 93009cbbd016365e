//! A running agent under a root of its own, and the shell host's files about it under the same
//! root.
//!
//! What `convocate-host init-agent` does to two machines, for one user on loopback. The layout is
//! that of `convocate::paths`.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use convocate::paths::{AgentEntry, Paths};
use rustix::process::Signal;

use super::keys::KeyFile;
use super::process::{CONVOCATE_AGENT, Finished, Running, command, run};
use super::root::Root;
use super::wait::{PATIENCE, wait_for};

/// The id of the agent that tests start; ids are twelve characters.
pub const AGENT_ID: &str = "testagent234";

/// Keys and files of one agent and its shell host, without a process.
#[derive(Debug)]
pub struct AgentFiles {
    /// Where everything is.
    pub root: Root,
    /// The key that drives the agent.
    pub operator: KeyFile,
    /// The agent's host key.
    pub host_key: KeyFile,
    /// The key that the agent proves to the status listener.
    pub pusher: KeyFile,
    /// The status listener's host key.
    pub status: KeyFile,
}

impl AgentFiles {
    /// Mints the keys and writes both sides' files; only the agent's address is still unknown.
    pub fn write() -> AgentFiles {
        let root = Root::new();
        let paths = root.paths();
        let entry = paths.agent_entry(AGENT_ID);
        let host_key = KeyFile::make(&root, &paths.agent_host_key(), "agent host key");
        let operator = KeyFile::make(&root, &entry.shell_to_agent_key(), "shell to agent");
        let pusher = KeyFile::make(&root, &paths.agent_shell_key(), "agent to shell");
        let status = KeyFile::make(&root, &paths.status_host_key(), "status host key");

        root.write(&paths.agent_id(), &format!("{AGENT_ID}\n"), 0o644);
        root.write(&paths.agent_authorized_keys(), &format!("{}\n", operator.public_line()), 0o644);
        status.copy_public_to(&root, &paths.agent_shell_known_host());
        root.write(&paths.agent_shell_host(), "127.0.0.1\n", 0o644);

        host_key.copy_public_to(&root, &entry.host_key());
        pusher.copy_public_to(&root, &entry.agent_to_shell_public_key());
        let bound = format!("agent-id=\"{AGENT_ID}\" {}\n", pusher.public_line());
        root.write(&paths.status_authorized_keys(), &bound, 0o644);
        make_directories(&paths);
        AgentFiles { root, operator, host_key, pusher, status }
    }

    /// The shell host's files about the agent.
    pub fn entry(&self) -> AgentEntry {
        self.root.paths().agent_entry(AGENT_ID)
    }
}

fn make_directories(paths: &Paths) {
    let status = paths.status_socket();
    let run = status.parent().expect("a file has a directory");
    for dir in [&paths.skeleton(), &paths.agent_state(), &paths.shell_state(), run] {
        fs::create_dir_all(dir).expect("the root is ours");
    }
}

/// An agent that answers.
#[derive(Debug)]
pub struct Agent {
    process: Running,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its files, which outlive the process.
    pub files: AgentFiles,
}

impl Agent {
    /// Starts an agent with the `host` runtime on a free port, and waits until it listens.
    pub fn start() -> Agent {
        Agent::start_with(AgentFiles::write(), &["--runtime", "host"])
    }

    /// Starts an agent on files that are there already, after a kill for example.
    pub fn start_with(files: AgentFiles, arguments: &[&str]) -> Agent {
        let mut call = call(&files, "127.0.0.1:0", arguments);
        Agent::start_by(files, &mut call)
    }

    /// The same by a call of the caller's.
    pub fn start_by(files: AgentFiles, call: &mut Command) -> Agent {
        let (process, address) = spawn(&files, call);
        Agent { process, address, files }
    }

    /// Kills the agent, like the kernel would, and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.finish(PATIENCE);
    }

    /// Kills the agent and starts it again on the same files and port.
    pub fn restart(&mut self, arguments: &[&str]) {
        self.kill();
        let address = self.address.to_string();
        let mut call = call(&self.files, &address, arguments);
        (self.process, self.address) = spawn(&self.files, &mut call);
    }

    /// The same by a call of the caller's, which is to listen on the same address.
    pub fn restart_by(&mut self, call: impl FnOnce(&AgentFiles, &str) -> Command) {
        self.kill();
        let mut call = call(&self.files, &self.address.to_string());
        (self.process, self.address) = spawn(&self.files, &mut call);
    }

    /// Asks the agent to end, and gives what it left.
    pub fn stop(mut self) -> Finished {
        self.process.signal(Signal::TERM);
        self.process.finish(PATIENCE)
    }

    /// What the agent has logged so far.
    pub fn log(&self) -> String {
        self.process.stderr.text()
    }

    /// The process, for its id and its signals.
    pub fn process(&self) -> &Running {
        &self.process
    }

    /// Calls the client on this cluster.
    pub fn client(&self, arguments: &[&str]) -> Finished {
        let root = &self.files.root;
        let mut call = command(root, super::process::CONVOCATE);
        // A verb and its own arguments come first, the place last.
        call.args(arguments).arg("--root").arg(root.dir());
        run(&mut call, b"", PATIENCE)
    }
}

fn call(files: &AgentFiles, listen: &str, arguments: &[&str]) -> Command {
    let root = &files.root;
    let mut call = command(root, CONVOCATE_AGENT);
    call.args(["serve", "--listen", listen, "--root"]).arg(root.dir()).args(arguments);
    call
}

/// Starts the process, reads the address that it got and tells the shell host's side.
fn spawn(files: &AgentFiles, call: &mut Command) -> (Running, SocketAddr) {
    let mut process = Running::start(call);
    let address = wait_for(PATIENCE, "the agent to listen", || {
        let log = process.stderr.text();
        assert!(process.is_alive(), "the agent ended: {log}");
        listening(&log)
    });
    files.root.write(&files.entry().host(), &format!("{address}\n"), 0o644);
    (process, address)
}

/// The address in the line `… listening on ADDRESS`.
pub fn listening(log: &str) -> Option<SocketAddr> {
    // The last line may still be on its way.
    let complete = &log[..=log.rfind('\n')?];
    let behind = complete.lines().find_map(|line| line.split_once("listening on "))?.1;
    behind.split([',', ' ', '\n']).next()?.parse().ok()
}
