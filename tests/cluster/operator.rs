//! The operator: a machine with the stock ssh and settings of its own, and a user on each host.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::support::process::{self, CONVOCATE_AGENT, CONVOCATE_HOST, Finished, Running};
use super::support::root::Root;
use super::support::testbed::Host;

/// Packages are fetched and images brought meanwhile.
const PATIENCE: Duration = Duration::from_secs(900);
/// How the words of a call begin that opens a session on a host.
const SESSION: &str = "session ";

/// Whose ssh knows the hosts by their names.
pub struct Operator {
    root: Root,
}

impl Operator {
    pub fn new(hosts: &[(&'static str, &Host)]) -> Operator {
        let operator = Operator { root: Root::new() };
        let key = operator.path("id");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "operator", "-f", &key])
            .status();
        assert!(made.expect("ssh-keygen runs").success());
        let public = fs::read_to_string(format!("{key}.pub")).expect("ssh-keygen wrote it");
        for (_, host) in hosts {
            host.done(&format!(
                "useradd -m -s /bin/bash ann && install -d -o ann -g ann -m 0700 /home/ann/.ssh \
                 && echo '{}' >/home/ann/.ssh/authorized_keys && chown ann: /home/ann/.ssh/* && \
                 echo 'ann ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ann && touch /root/ready",
                public.trim()
            ));
        }
        operator.write("known", &known(hosts), 0o600);
        operator.finds(hosts);
        let ssh = process::find("ssh").expect("it was looked for");
        // Each call with a remote command is one session; the others open, ask or close.
        let wrapper = format!(
            "#!/bin/sh\ncase \" $* \" in *' -T '*) echo '{SESSION}' >>{} ;; esac\n\
             exec {} -F {} \"$@\"\n",
            operator.path("calls"),
            ssh.display(),
            operator.path("config")
        );
        operator.write("bin/ssh", &wrapper, 0o755);
        operator
    }

    /// Knows where the hosts are now: the testbed may give one that restarts another address.
    pub fn finds(&self, hosts: &[(&'static str, &Host)]) {
        let text = settings(hosts, &self.path("id"), &self.path("known"));
        self.write("config", &text, 0o600);
    }

    pub fn path(&self, name: &str) -> String {
        self.root.dir().join(name).display().to_string()
    }

    pub fn write(&self, name: &str, text: &str, mode: u32) {
        self.root.write(&self.root.dir().join(name), text, mode);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = self.root.dir().join("bin");
        let all = std::iter::once(own).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(all).expect("no colon is in a name");
        let mut command = process::command(&self.root, Path::new(CONVOCATE_HOST));
        command.env("PATH", path).env("TMPDIR", self.root.dir()).args(arguments);
        command
    }

    /// Calls `convocate-host`.
    pub fn call(&self, arguments: &[&str]) -> Finished {
        let _first = fs::remove_file(self.path("calls"));
        process::run(&mut self.command(arguments), b"", PATIENCE)
    }

    /// Starts it.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::start(&mut self.command(arguments))
    }

    /// A call on a host as the operator sees it: over ssh, with a terminal, as root.
    pub fn at_a_terminal(&self, host: &str, call: &str) -> Command {
        let mut ssh = Command::new(process::find("ssh").expect("it was looked for"));
        ssh.args(["-F", &self.path("config"), "-tt", host]);
        ssh.arg(format!("sudo TERM=xterm-256color {call}"));
        ssh
    }

    /// The calls of ssh of the last call.
    pub fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap_or_default()
    }

    /// How many sessions those were.
    pub fn sessions_of_last_call(&self) -> usize {
        self.calls().lines().filter(|line| line.starts_with(SESSION)).count()
    }

    /// Copies of the authority's certificate and key.
    pub fn fetch_authority(&self, shell: &Host) -> [String; 2] {
        ["ca.crt", "ca.key"].map(|name| {
            let text = shell.done(&format!("cat /etc/convocate/rsyslog-ca/{name}"));
            self.write(name, &format!("{text}\n"), 0o600);
            self.path(name)
        })
    }

    /// Sits down on a host, with the programs and the key of before.
    pub fn settle_on(&self, host: &Host, others: &[(&'static str, &Host)]) {
        host.put(Path::new(CONVOCATE_HOST), "/root/convocate-host");
        host.put(Path::new(CONVOCATE_AGENT), "/root/convocate-agent");
        let place = "/home/ann/.ssh";
        let known_place = format!("{place}/known");
        let files = [
            ("id", fs::read_to_string(self.path("id")).expect("it was made")),
            ("known", known(others)),
            ("config", settings(others, &format!("{place}/id"), &known_place)),
        ];
        for (name, text) in files {
            let path = format!("{place}/{name}");
            host.done(&format!("cat >{path} <<'END'\n{text}END\nchmod 0600 {path}"));
        }
        host.done(&format!("chown ann: {place}/*"));
    }
}

fn known(hosts: &[(&'static str, &Host)]) -> String {
    let line = |(name, host): &(&str, &Host)| {
        format!("{name} {}\n", host.done("cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub"))
    };
    hosts.iter().map(line).collect()
}

fn settings(hosts: &[(&'static str, &Host)], key: &str, known: &str) -> String {
    let entry = |(name, host): &(&str, &Host)| {
        format!("Host {name}\n  HostName {}\n  HostKeyAlias {name}\n", host.address())
    };
    let entries: String = hosts.iter().map(entry).collect();
    format!(
        "{entries}Host *\n  User ann\n  IdentityFile {key}\n  IdentitiesOnly yes\n  \
         UserKnownHostsFile {known}\n  StrictHostKeyChecking yes\n  BatchMode yes\n"
    )
}

/// The counts in each summary of a report: steps, changed, ok, failed.
pub fn summaries(report: &str) -> Vec<[usize; 4]> {
    let counts = |line: &str| {
        let (_, text) = line.split_once(": ")?;
        let numbers = text.split(", ").map(|part| part.split(' ').next()?.parse().ok());
        numbers.collect::<Option<Vec<usize>>>()?.try_into().ok()
    };
    let lines = report.lines().filter(|line| line.contains(" steps, "));
    let found: Vec<[usize; 4]> = lines.filter_map(counts).collect();
    assert!(!found.is_empty(), "no summary: {report}");
    found
}
