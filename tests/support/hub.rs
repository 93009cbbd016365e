//! A running status listener on the files of an agent's root, and a program at its socket.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::agent::AgentFiles;
use super::process::{CONVOCATE, Finished, Running, command};
use super::root::Root;
use super::wait::{PATIENCE, wait_for};

/// A status listener that listens.
#[derive(Debug)]
pub struct Hub {
    process: Running,
    /// Where agents dial.
    pub address: SocketAddr,
    socket: PathBuf,
}

impl Hub {
    /// Starts a listener on a free port, and writes down for the agent where it is.
    pub fn start(files: &AgentFiles) -> Hub {
        Hub::start_by(files, &mut call(&files.root, "127.0.0.1:0"))
    }

    /// The same by a call of the caller's.
    pub fn start_by(files: &AgentFiles, call: &mut Command) -> Hub {
        let (process, address) = spawn(call);
        let paths = files.root.paths();
        files.root.write(&paths.agent_shell_host(), &format!("{address}\n"), 0o644);
        Hub { process, address, socket: paths.status_socket() }
    }

    /// Kills it, like the kernel would.
    pub fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.finish(PATIENCE);
    }

    /// Starts it again on the same files and port.
    pub fn start_again(&mut self, root: &Root) {
        (self.process, self.address) = spawn(&mut call(root, &self.address.to_string()));
    }

    /// Asks it to end, and gives what it left.
    pub fn stop(mut self) -> Finished {
        self.process.signal(Signal::TERM);
        self.process.finish(PATIENCE)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.stderr.text()
    }

    /// Its process.
    pub fn process(&self) -> &Running {
        &self.process
    }

    /// Somebody who listens, and what the hub knows now.
    pub fn listen(&self) -> (Feed, Value) {
        let stream = UnixStream::connect(&self.socket).expect("the hub listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
        let mut feed = Feed { stream: BufReader::new(stream) };
        let snapshot = feed.line();
        (feed, snapshot["snapshot"].clone())
    }

    /// What the hub knows of an agent now; null if it does not know it.
    pub fn agent(&self, id: &str) -> Value {
        let (_, snapshot) = self.listen();
        let agents = snapshot["agents"].as_array().expect("a list").clone();
        agents.into_iter().find(|agent| agent["id"] == id).unwrap_or_default()
    }

    /// Waits until the hub knows an agent to be in this state.
    #[track_caller]
    pub fn waits_for_agent(&self, id: &str, state: &str) {
        wait_for(PATIENCE, state, || (self.agent(id)["state"] == state).then_some(()));
    }
}

fn call(root: &Root, listen: &str) -> Command {
    let mut call = command(root, CONVOCATE);
    call.args(["status-serve", "--listen", listen, "--root"]).arg(root.dir());
    call
}

fn spawn(call: &mut Command) -> (Running, SocketAddr) {
    let mut process = Running::start(call);
    let address = wait_for(PATIENCE, "the status listener to listen", || {
        let log = process.stderr.text();
        assert!(process.is_alive(), "the status listener ended: {log}");
        super::agent::listening(&log)
    });
    (process, address)
}

/// Somebody who listens to the hub.
#[derive(Debug)]
pub struct Feed {
    stream: BufReader<UnixStream>,
}

impl Feed {
    /// Asks for all events behind a number again.
    pub fn ask_since(&mut self, seq: u64) {
        let request = format!("{{\"since\":{seq}}}\n");
        self.stream.get_mut().write_all(request.as_bytes()).expect("the hub reads");
    }

    /// The next line.
    #[track_caller]
    pub fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("the hub tells a line in time");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// The next line if one comes within `span`.
    pub fn line_within(&mut self, span: Duration) -> Option<Value> {
        self.stream.get_ref().set_read_timeout(Some(span)).expect("a socket has a timeout");
        let mut line = String::new();
        let read = self.stream.read_line(&mut line);
        self.stream.get_ref().set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
        read.ok().filter(|count| *count > 0).map(|_| serde_json::from_str(&line).expect("JSON"))
    }

    /// Reads until an event of this type comes, and gives it.
    #[track_caller]
    pub fn until(&mut self, kind: &str) -> Value {
        loop {
            let line = self.line();
            if line["event"]["type"] == kind {
                return line["event"].clone();
            }
        }
    }
}
