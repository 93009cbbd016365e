//! OpenSSH as a client of ours: the stock `ssh`, told to trust one host key and offer one key.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::agent::Agent;
use super::keys::KeyFile;
use super::process::{Finished, command, run};
use super::root::Root;
use super::wait::PATIENCE;

/// Calls of `ssh` to one server.
#[derive(Debug)]
pub struct OpenSsh<'a> {
    root: &'a Root,
    address: SocketAddr,
    key: PathBuf,
    known_hosts: PathBuf,
}

impl<'a> OpenSsh<'a> {
    /// The operator's `ssh` to an agent.
    pub fn to_agent(agent: &'a Agent) -> OpenSsh<'a> {
        let files = &agent.files;
        OpenSsh::to(&files.root, agent.address, &files.operator, &files.host_key)
    }

    /// `ssh` to any server on loopback that has `host_key`, with `key`.
    pub fn to(
        root: &'a Root,
        address: SocketAddr,
        key: &KeyFile,
        host_key: &KeyFile,
    ) -> OpenSsh<'a> {
        let known_hosts = root.dir().join(format!("known_hosts-{}", address.port()));
        let line = format!("[{}]:{} {}\n", address.ip(), address.port(), host_key.public_line());
        root.write(&known_hosts, &line, 0o600);
        OpenSsh { root, address, key: key.path().to_path_buf(), known_hosts }
    }

    /// The same with another key.
    pub fn with_key(mut self, key: &KeyFile) -> OpenSsh<'a> {
        self.key = key.path().to_path_buf();
        self
    }

    /// `ssh OPTIONS user@host ARGUMENTS`, as a command that is not started yet.
    pub fn command(&self, options: &[&str], arguments: &[&str]) -> Command {
        let mut call = command(self.root, "ssh");
        call.args(["-F", "/dev/null", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"])
            .args(["-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=/dev/null"])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", self.known_hosts.display()))
            .arg("-i")
            .arg(&self.key)
            .args(["-p", &self.address.port().to_string()])
            .args(options)
            .arg(format!("claude@{}", self.address.ip()))
            .args(arguments);
        call
    }

    /// Runs it to its end with `input` on its standard input.
    pub fn run(&self, options: &[&str], arguments: &[&str], input: &[u8]) -> Finished {
        run(&mut self.command(options, arguments), input, PATIENCE)
    }

    /// Runs a subsystem to its end.
    pub fn subsystem(&self, name: &str, input: &[u8]) -> Finished {
        self.run(&["-s"], &[name], input)
    }
}
