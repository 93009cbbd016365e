//! `convocate-host install` on a whole vanilla host, over the stock ssh with settings of its own.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::Need;
use support::process::{self, CONVOCATE_HOST, Finished};
use support::root::Root;
use support::testbed::{Host, Kind, NEEDS};

/// Packages are fetched and installed meanwhile.
const PATIENCE: Duration = Duration::from_secs(600);

/// An operator's machine, whose ssh knows one host as `web-1`, and as `behind` by a jump over it.
struct Operator {
    root: Root,
    address: String,
}

impl Operator {
    fn new(host: &Host) -> Operator {
        let root = Root::new();
        let key = root.dir().join("id");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "operator", "-f"])
            .arg(&key)
            .status();
        assert!(made.expect("ssh-keygen runs").success());
        let public = fs::read_to_string(key.with_extension("pub")).expect("ssh-keygen wrote it");
        host.done(&format!(
            "useradd -m -s /bin/bash ann && install -d -o ann -g ann -m 0700 /home/ann/.ssh && \
             echo '{}' >/home/ann/.ssh/authorized_keys && chown ann: /home/ann/.ssh/* && \
             echo 'ann ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ann",
            public.trim()
        ));
        let address = host.done("hostname -I | cut -d ' ' -f 1");
        let host_key = host.done("cat /etc/ssh/ssh_host_ed25519_key.pub");
        let operator = Operator { root, address };
        operator.knows(&host_key);
        operator.write_settings();
        operator
    }

    /// The file of known hosts, with one key for everything.
    fn knows(&self, key: &str) {
        self.write("known", &format!("testbed {key}\n"), 0o600);
    }

    fn write_settings(&self) {
        let dir = self.root.dir().display();
        let settings = format!(
            "Host nowhere\n  HostName 127.0.0.1\n  Port 1\n\
             Host web-1\n  HostName {}\n\
             Host behind\n  HostName 127.0.0.1\n  ProxyJump web-1\n\
             Host *\n  User ann\n  IdentityFile {dir}/id\n  IdentitiesOnly yes\n  \
             HostKeyAlias testbed\n  UserKnownHostsFile {dir}/known\n  \
             StrictHostKeyChecking yes\n  BatchMode yes\n",
            self.address
        );
        self.write("config", &settings, 0o600);
        let ssh = process::find("ssh").expect("it was looked for");
        let wrapper = format!("#!/bin/sh\nexec {} -F {dir}/config \"$@\"\n", ssh.display());
        self.write("bin/ssh", &wrapper, 0o755);
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        self.root.write(&self.root.dir().join(name), text, mode);
    }

    /// Calls `convocate-host install`.
    fn install(&self, arguments: &[&str]) -> Finished {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = self.root.dir().join("bin");
        let all = std::iter::once(own).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(all).expect("no colon is in a name");
        let mut command = process::command(&self.root, Path::new(CONVOCATE_HOST));
        command.env("PATH", path).env("TMPDIR", self.root.dir()).arg("install").args(arguments);
        process::run(&mut command, b"", PATIENCE)
    }

    /// Calls it in vain, and gives what it complains of.
    fn complaint(&self, host: &str) -> String {
        let finished = self.install(&["--host", host]);
        assert_eq!(finished.code(), 1, "{}{}", finished.out(), finished.err());
        assert_eq!(finished.out(), "");
        finished.err()
    }
}

#[test]
fn a_vanilla_host_is_prepared_over_ssh() {
    let test = "a_vanilla_host_is_prepared_over_ssh";
    let needs = [Need::Program("ssh"), Need::Program("ssh-keygen")];
    if !support::has(test, &NEEDS) || !support::has(test, &needs) {
        return;
    }
    let host = Host::start(Kind::Plain);
    if let Err(why) = host.bring_programs() {
        support::skip(test, &format!("program: ours do not run on Debian 12: {why}"));
        return;
    }
    let operator = Operator::new(&host);
    faults_are_told_before_anything_is_changed(&host, &operator);

    // A check tells all of it, and changes nothing; also behind a jump.
    for name in ["web-1", "behind"] {
        let told = operator.install(&["--host", name, "--check"]).expect_done().out();
        assert!(told.contains(&format!("[{name}] group claude (1337) … would change")), "{told}");
        assert!(told.contains(" 0 failed"), "{told}");
    }
    assert_untouched(&host);

    // Once, and then nothing is left to do.
    let told = operator.install(&["--host", "web-1"]).expect_done().out();
    assert!(told.contains(" 0 failed in "), "{told}");
    let told = operator.install(&["--host", "web-1", "--json"]).expect_done().out();
    let last: serde_json::Value =
        serde_json::from_str(told.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["line"], &last["changed"]), (&"end".into(), &0.into()), "{told}");
    assert_eq!(last["host"], "web-1");
    is_prepared(&host);

    // It is restarted when it wants to be, and the boot id proves it.
    let before = host.boot_id();
    host.done("touch /run/reboot-required");
    let told = operator.install(&["--host", "web-1"]).expect_done().out();
    assert!(told.contains("web-1: back in another boot after"), "{told}");
    assert_ne!(host.boot_id(), before);
    // This side leaves nothing behind either.
    let left = fs::read_dir(operator.root.dir()).expect("it is ours").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("convocate-")), "{left:?}");
}

fn faults_are_told_before_anything_is_changed(host: &Host, operator: &Operator) {
    let told = operator.complaint("nowhere");
    assert!(told.contains("no connection, and nothing was changed"), "{told}");

    let host_key = host.done("cat /etc/ssh/ssh_host_ed25519_key.pub");
    operator.knows(&fs::read_to_string(operator.root.dir().join("id.pub")).expect("a key"));
    let told = operator.complaint("web-1");
    assert!(told.contains("Host key verification failed"), "{told}");
    operator.knows(&host_key);

    host.done("mv /etc/sudoers.d/ann /root/ann");
    let told = operator.complaint("web-1");
    assert!(told.contains("may not run sudo without a password"), "{told}");
    host.done("mv /root/ann /etc/sudoers.d/ann");

    host.done("cp /etc/os-release /root/os; echo VERSION_ID=11 >/etc/os-release");
    host.done("echo ID=debian >>/etc/os-release");
    let told = operator.complaint("web-1");
    assert!(told.contains("it runs debian 11; Ubuntu 22.04 or Debian 12"), "{told}");
    host.done("cat /root/os >/etc/os-release");
    assert_untouched(host);

    let usage = operator.install(&["--host", "-oProxyCommand=x"]);
    assert_eq!(usage.code(), 2, "{}", usage.err());
}

fn assert_untouched(host: &Host) {
    let traces = "getent passwd claude; ls /etc/dnsmasq.d; ls -d /var/lib/convocate*";
    assert_eq!(host.sh(traces).out, "");
}

fn is_prepared(host: &Host) {
    let user = host.done("id claude");
    assert!(user.starts_with("uid=1337(claude) gid=1337(claude)"), "{user}");
    assert!(user.contains("(docker)"), "{user}");
    let firewall = host.done("ufw status verbose");
    assert!(firewall.contains("Default: deny (incoming)"), "{firewall}");
    assert!(firewall.contains("22/tcp"), "{firewall}");
    for unit in ["docker", "ssh", "dnsmasq"] {
        assert_eq!(host.done(&format!("systemctl is-active {unit}")), "active");
        assert_eq!(host.done(&format!("systemctl is-enabled {unit}")), "enabled");
    }
    assert_eq!(host.sh("ls -d /var/lib/convocate-host.*").out, "");
}
