//! What the end-to-end tests stand on: a directory of their own, processes that end with them,
//! keys, the files of an agent, OpenSSH, a terminal, and the way to be skipped.
//!
//! Blocking and plain. Every wait has a deadline, everything that a test starts or writes is gone
//! when its guard is dropped, and two tests never share a directory, a port or a server.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::panic, reason = "a harness has no other way to fail a test")]

pub mod agent;
pub mod claude_cli;
pub mod cluster;
pub mod emulator;
pub mod git_host;
pub mod hub;
pub mod keys;
pub mod model;
pub mod openssh;
pub mod operator;
pub mod process;
pub mod pusher;
pub mod root;
pub mod terminal;
pub mod testbed;
pub mod wait;
pub mod wire;

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where the Docker engine listens.
pub const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Something of this machine that a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// An engine that answers on [`DOCKER_SOCKET`].
    Docker,
    /// A command on the `PATH`, or where servers live.
    Program(&'static str),
    /// The rights of root.
    Root,
}

impl Need {
    /// What is missing, starting with a word that `scripts/test` knows; `None` if nothing is.
    fn missing(self) -> Option<String> {
        match self {
            Need::Docker => {
                let error = ping_docker().err()?;
                Some(format!("docker: no engine answers on {DOCKER_SOCKET}: {error}"))
            }
            Need::Program(name) => {
                process::find(name).is_none().then(|| format!("program: {name} is not installed"))
            }
            Need::Root => {
                (!rustix::process::geteuid().is_root()).then(|| "root: this needs root".into())
            }
        }
    }
}

/// Whether `test` can run here. If not, it has been reported as skipped, and returns.
///
/// ```ignore
/// if !support::has("attach_echoes", &[Need::Program("tmux")]) {
///     return;
/// }
/// ```
#[must_use]
pub fn has(test: &str, needs: &[Need]) -> bool {
    let missing = needs.iter().find_map(|need| need.missing());
    if let Some(reason) = &missing {
        skip(test, reason);
    }
    missing.is_none()
}

/// Reports a test as skipped: in the file that `CONVOCATE_SKIPPED` names, which the summary of
/// `scripts/test` reads, or without one on standard error, past cargo's capture.
pub fn skip(test: &str, reason: &str) {
    let line = format!("skipped: {test}: {}\n", reason.replace('\n', " "));
    if let Some(path) = std::env::var_os("CONVOCATE_SKIPPED") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the list");
        file.write_all(line.as_bytes()).expect("the list takes a line");
    } else {
        let _unseen = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Asks the engine for a sign of life; what is wrong, if it gives none.
fn ping_docker() -> Result<(), String> {
    let mut stream = UnixStream::connect(DOCKER_SOCKET).map_err(|error| error.to_string())?;
    let limit = Some(Duration::from_secs(10));
    stream.set_read_timeout(limit).map_err(|error| error.to_string())?;
    stream
        .write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
        .map_err(|error| error.to_string())?;
    let mut head = [0; 15];
    stream.read_exact(&mut head).map_err(|error| error.to_string())?;
    if head == *b"HTTP/1.1 200 OK" { Ok(()) } else { Err(head.escape_ascii().to_string()) }
}

/// Whether the engine has an image.
pub fn has_image(tag: &str) -> bool {
    let mut call = Command::new("docker");
    let call = call.args(["image", "inspect", tag]).stdout(Stdio::null()).stderr(Stdio::null());
    call.status().is_ok_and(|status| status.success())
}
