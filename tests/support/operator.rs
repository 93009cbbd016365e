//! An operator's shell host for a test: keys, an ssh of its own, and one agent that it knows.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::process::{self, CONVOCATE_HOST, Finished};
use super::root::Root;
use super::testbed::Host;

/// Programs without optimisation are copied, and services start anew.
const PATIENCE: Duration = Duration::from_secs(300);

/// A shell host that knows one agent, and its operator's ssh, which knows that host as `web-1`;
/// `nowhere` is a host that refuses, and `silent` one that takes a connection and never speaks.
pub struct Shell {
    /// Its files.
    pub root: Root,
    /// Where the programs are that are called.
    pub programs: PathBuf,
    _silent: TcpListener,
}

impl Shell {
    /// One that can reach the host as root, makes it an agent, and knows that.
    #[track_caller]
    pub fn enrolled(host: &Host) -> Shell {
        let root = Root::new();
        let programs = Path::new(CONVOCATE_HOST).parent().expect("it has one").to_owned();
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = silent.local_addr().expect("it is bound").port();
        let shell = Shell { root, programs, _silent: silent };
        let dir = shell.root.dir().display();
        let public = shell.make_key("id");
        host.done(&format!(
            "mkdir -p -m 700 /root/.ssh && echo '{public}' >/root/.ssh/authorized_keys"
        ));
        let address = host.done("ip -4 -o addr show eth0 | sed 's,.*inet \\([0-9.]*\\)/.*,\\1,'");
        let host_key = host.done("cat /etc/ssh/ssh_host_ed25519_key.pub");
        shell.write("known", &format!("testbed {host_key}\n"), 0o600);
        let settings = format!(
            "Host nowhere\n  HostName 127.0.0.1\n  Port 1\nHost silent\n  \
             HostName 127.0.0.1\n  Port {port}\nHost web-1 {address}\n  \
             HostName {address}\nHost *\n  User root\n  IdentityFile {dir}/id\n  \
             IdentitiesOnly yes\n  HostKeyAlias testbed\n  UserKnownHostsFile {dir}/known\n  \
             StrictHostKeyChecking yes\n  BatchMode yes\n"
        );
        shell.write("config", &settings, 0o600);
        let ssh = process::find("ssh").expect("it was looked for");
        // A call with the words in `cut` hears nothing behind so many bytes.
        let wrapper = format!(
            "#!/bin/sh\nset -- {} -F {dir}/config \"$@\"\nif [ -e {dir}/cut ]; then\n\
             read -r bytes words <{dir}/cut\ncase \"$*\" in *\"$words\"*)\n\
             stdbuf -o0 head -c \"$bytes\" | \"$@\"; exit;;\nesac\nfi\nexec \"$@\"\n",
            ssh.display()
        );
        shell.write("bin/ssh", &wrapper, 0o755);
        shell.enrol(host, &address);
        shell
    }

    /// Writes a file below its root.
    pub fn write(&self, name: &str, text: &str, mode: u32) {
        self.root.write(&self.root.dir().join(name), text, mode);
    }

    fn make_key(&self, name: &str) -> String {
        let path = self.root.dir().join(name);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&path)
            .status();
        assert!(made.expect("ssh-keygen runs").success());
        let public = fs::read_to_string(path.with_extension("pub")).expect("it was written");
        public.trim().to_owned()
    }

    /// Keys of both sides for the agent's own port.
    fn enrol(&self, host: &Host, address: &str) {
        let said = host.done("/root/convocate-agent install --no-image --json | tail -1");
        let agent: Value = serde_json::from_str(&said).expect("JSON");
        let id = agent["id"].as_str().expect("an id");
        let entry = self.root.paths().agent_entry(id);
        fs::create_dir_all(entry.dir()).expect("it is ours");
        let host_key = agent["host_key"].as_str().expect("a key");
        self.root.write(&entry.host(), &format!("{address}\n"), 0o644);
        self.root.write(&entry.host_key(), &format!("{host_key}\n"), 0o644);
        let public = self.make_key("shell");
        fs::rename(self.root.dir().join("shell"), entry.shell_to_agent_key()).expect("ours");
        host.done(&format!("echo '{public}' >>/etc/convocate-agent/authorized_keys"));
    }

    /// Calls `convocate-host`, and waits for its end.
    pub fn call(&self, arguments: &[&str]) -> Finished {
        process::run(&mut self.command(arguments), b"", PATIENCE)
    }

    /// A call of `convocate-host` with the operator's ssh.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = self.root.dir().join("bin");
        let all = std::iter::once(own).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(all).expect("no colon is in a name");
        let program = self.programs.join("convocate-host");
        let mut command = process::command(&self.root, program);
        command.env("PATH", path).env("TMPDIR", self.root.dir()).args(arguments);
        command
    }
}
