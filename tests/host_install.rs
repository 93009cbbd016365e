//! `convocate-host install` on a whole vanilla host, over the stock ssh with settings of its own.

mod support;

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use support::Need;
use support::process::{self, CONVOCATE_HOST, Finished, Running};
use support::root::Root;
use support::testbed::{Host, Kind, NEEDS};
use support::wait::wait_until;

/// Packages are fetched and installed meanwhile.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long until something has come about on the host.
const WAIT: Duration = Duration::from_secs(120);

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
             Host web-1\n  HostName {0}\n\
             Host behind\n  HostName 127.0.0.1\n  ProxyJump web-1\n\
             Host by-port\n  HostName {0}\n  Port 2222\n\
             Host by-agent\n  HostName {0}\n  User bob\n  IdentityAgent {dir}/agent\n  \
             IdentityFile {dir}/held.pub\n\
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

    /// A key that is nowhere but in an ssh-agent, and that bob's account takes.
    fn agent_holds_a_key(&self, host: &Host) -> Running {
        let path = |name: &str| self.root.dir().join(name);
        let found = |name: &str| Command::new(process::find(name).expect("it was looked for"));
        let done = |command: &mut Command| {
            assert!(command.output().expect("it runs").status.success());
        };
        let agent = Running::start(found("ssh-agent").arg("-D").arg("-a").arg(path("agent")));
        wait_until(WAIT, "the agent's socket", || path("agent").exists());
        let mut make = found("ssh-keygen");
        done(make.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path("held")));
        done(found("ssh-add").env("SSH_AUTH_SOCK", path("agent")).arg(path("held")));
        fs::remove_file(path("held")).expect("it was made");
        let public = fs::read_to_string(path("held.pub")).expect("it was made");
        host.done(&format!(
            "useradd -m -s /bin/bash bob && install -d -o bob -g bob -m 0700 /home/bob/.ssh && \
             echo '{}' >/home/bob/.ssh/authorized_keys && chown bob: /home/bob/.ssh/* && \
             echo 'bob ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/bob",
            public.trim()
        ));
        agent
    }

    /// Calls `convocate-host install`.
    fn install(&self, arguments: &[&str]) -> Finished {
        process::run(&mut self.command(arguments), b"", PATIENCE)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = self.root.dir().join("bin");
        let all = std::iter::once(own).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(all).expect("no colon is in a name");
        let mut command = process::command(&self.root, Path::new(CONVOCATE_HOST));
        command.env("PATH", path).env("TMPDIR", self.root.dir()).arg("install").args(arguments);
        command
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
    let needs = ["ssh", "ssh-keygen", "ssh-agent", "ssh-add"].map(Need::Program);
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

    // A check tells all of it, and changes nothing; also behind a jump, at another port, and with
    // a key that only an agent has.
    host.done("printf 'Port 22\nPort 2222\n' >/etc/ssh/sshd_config.d/ports.conf");
    host.done("systemctl restart ssh");
    let _agent = operator.agent_holds_a_key(&host);
    for name in ["web-1", "behind", "by-port", "by-agent"] {
        let told = operator.install(&["--host", name, "--check"]).expect_done().out();
        assert!(told.contains(&format!("[{name}] group claude (1337) … would change")), "{told}");
        assert!(told.contains(" 0 failed"), "{told}");
        let door = "ufw allow 2222/tcp … would change";
        assert_eq!(told.contains(door), name == "by-port", "{told}");
    }
    assert_untouched(&host);

    // Once, and then nothing is left to do.
    let told = it_waits_for_whoever_is_before_it(&host, &operator);
    assert!(told.contains(" 0 failed in "), "{told}");
    the_firewall_keeps_the_operators_rules(&host, &operator);
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

    host.done("mount -t tmpfs -o size=64m none /var");
    let told = operator.complaint("web-1");
    host.done("umount -l /var");
    assert!(told.contains("MiB are free"), "{told}");
    assert_untouched(host);

    let usage = operator.install(&["--host", "-oProxyCommand=x"]);
    assert_eq!(usage.code(), 2, "{}", usage.err());
}

/// Installs while the host's first boot is not over, and then another program has dpkg's lock.
/// cloud-init is a fake here: the real one has nothing to do in a container and ends at once.
fn it_waits_for_whoever_is_before_it(host: &Host, operator: &Operator) -> String {
    let fake = "#!/bin/sh\n[ \"$*\" = \"status --wait\" ] || exit 9\n\
                until [ -e /root/booted ]; do sleep 0.1; done\n";
    host.done(&format!("printf '%s' '{fake}' >/usr/bin/cloud-init"));
    host.done("chmod 0755 /usr/bin/cloud-init");
    // As dpkg takes it: fcntl(2), of all of the file.
    let hold = "use Fcntl; open my $file, \"+>\", \"/var/lib/dpkg/lock-frontend\" or die; \
                my $lock = pack(\"s s x4 q q l x4\", F_WRLCK, 0, 0, 0, 0); \
                fcntl $file, F_SETLK, $lock or die; \
                open my $held, \">\", \"/root/held\"; \
                select undef, undef, undef, 0.1 until -e \"/root/release\"";
    start_on(host, "hold", hold);
    wait_until(WAIT, "the lock", || host.sh("test -e /root/held").code == 0);
    let mut running = Running::start(&mut operator.command(&["--host", "web-1"]));
    let runs = |what: &str| host.sh(&format!("pgrep -f '{what}'")).code == 0;
    wait_until(WAIT, "the wait for the first boot", || runs("^/bin/sh /usr/bin/cloud-init"));
    assert_eq!(host.sh("getent passwd claude; ls /etc/dnsmasq.d").out, "");
    host.done("touch /root/booted");
    wait_until(WAIT, "the wait for dpkg's lock", || runs("^apt-get .*DPkg::Lock::Timeout=600"));
    assert_eq!(host.sh("getent passwd claude").out, "");
    host.done("touch /root/release");
    let finished = running.finish(PATIENCE).expect_done();
    host.done("rm /usr/bin/cloud-init");
    finished.out()
}

/// This machine is another host: it gets where a rule lets it, and nowhere else.
fn the_firewall_keeps_the_operators_rules(host: &Host, operator: &Operator) {
    let listen = "use IO::Socket::INET; my @all = map { IO::Socket::INET->new(LocalPort => $_, \
                  Listen => 5, ReuseAddr => 1) or die } 8080, 9999; \
                  open my $up, \">\", \"/root/listening\"; sleep 3600";
    start_on(host, "listen", listen);
    wait_until(WAIT, "two listeners", || host.sh("test -e /root/listening").code == 0);
    host.done("ufw allow 8080/tcp comment mine");
    operator.install(&["--host", "web-1"]).expect_done();
    assert!(host.done("ufw show added").contains("ufw allow 8080/tcp comment 'mine'"));
    let address = host.address();
    let is_open = |port: u16| {
        let address = format!("{address}:{port}").parse().expect("an address");
        TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok()
    };
    assert_eq!([22, 8080, 9999].map(is_open), [true, true, false]);
}

/// Starts lines of Perl as a service. They go by a file: systemd would take each `$` for its own.
fn start_on(host: &Host, name: &str, lines: &str) {
    host.done(&format!("printf '%s' '{lines}' >/root/{name}"));
    host.done(&format!("systemd-run --quiet perl /root/{name}"));
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

/// A host, an operator's ssh and a sudo as people have them.
#[test]
fn hosts_are_as_people_have_them() {
    let test = "hosts_are_as_people_have_them";
    let needs = ["ssh", "ssh-keygen"].map(Need::Program);
    if !support::has(test, &NEEDS) || !support::has(test, &needs) {
        return;
    }
    let host = Host::start(Kind::Plain);
    if let Err(why) = host.bring_programs() {
        support::skip(test, &format!("program: ours do not run on Debian 12: {why}"));
        return;
    }
    let operator = Operator::new(&host);
    host.done("apt-get update -qq && apt-get install -y -qq tcsh");
    let looks = || operator.install(&["--host", "web-1", "--check"]);
    let is_whole = |finished: Finished| {
        let told = finished.expect_done().out();
        assert!(told.contains(" 0 failed"), "{told}");
    };

    // Login shells that print, what is for the operator's own sessions, and a sudo that logs.
    host.done("printf 'echo machine of mine\necho boot of mine\n' >/home/ann/.bashrc");
    is_whole(looks());
    host.done("echo 'echo machine of mine' >/home/ann/.tcshrc; chsh -s /usr/bin/tcsh ann");
    let settings = operator.root.dir().join("config");
    let before = fs::read_to_string(&settings).expect("it was written");
    let odd = "  RemoteCommand echo mine\n  SessionType none\n  StdinNull yes\n  \
               ForkAfterAuthentication yes\n  LocalForward 127.0.0.1:22 127.0.0.1:1\n  \
               ExitOnForwardFailure yes\n";
    operator.write("config", &format!("{before}{odd}"), 0o600);
    host.done("echo 'Defaults:ann log_input, log_output' >/etc/sudoers.d/log");
    is_whole(looks());
    assert_untouched(&host);

    faults_of_the_host_are_told(&host, &operator);
    an_interrupt_lets_apt_finish(&host, &operator);
}

/// Each before anything is changed.
fn faults_of_the_host_are_told(host: &Host, operator: &Operator) {
    host.done("echo 'Defaults:ann requiretty' >/etc/sudoers.d/tty");
    let told = operator.complaint("web-1");
    assert!(told.contains("sudo there wants a terminal"), "{told}");
    host.done("rm /etc/sudoers.d/tty; mount -t tmpfs -o noexec,size=5g none /var");
    host.done("mkdir /var/lib");
    let told = operator.complaint("web-1");
    host.done("umount -l /var");
    assert!(told.contains("is /var mounted noexec?"), "{told}");

    let unit = "/etc/systemd/system/netfilter-persistent.service";
    let service = "[Service]\\nExecStart=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\n";
    for (made, words, undone) in [
        ("useradd -u 1337 leet", "claude needs the number 1337", "userdel leet"),
        ("echo >/usr/local/bin/docker", "none with a docker.service", "rm /usr/local/bin/docker"),
        (
            &format!("printf '{service}' >{unit}; systemctl enable netfilter-persistent"),
            "this host has a firewall",
            "true",
        ),
    ] {
        host.done(made);
        let finished = operator.install(&["--host", "web-1"]);
        assert_eq!(finished.code(), 1, "{}", finished.out());
        let told = finished.out();
        assert!(told.contains(words) && told.contains("1 failed"), "{told}");
        assert_untouched(host);
        host.done(undone);
    }
    let told = operator.install(&["--host", "web-1", "--firewall", "ufw", "--check"]);
    assert!(told.expect_done().out().contains(" 0 failed"));
    host.done(&format!("systemctl disable netfilter-persistent; rm {unit}"));
}

/// Packages that were left half done are mended, and those that are under way are not left so.
fn an_interrupt_lets_apt_finish(host: &Host, operator: &Operator) {
    let broken = "dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' | grep -v '^ii ' | \
                  grep -v '^rc ' || true";
    let status = "/^Package: tcsh$/,/^$/s/^Status:.*/Status: install reinstreq half-installed/";
    host.done(&format!("sed -i '{status}' /var/lib/dpkg/status"));
    assert!(host.done(broken).contains("tcsh"));
    let mut running = Running::start(&mut operator.command(&["--host", "web-1"]));
    let dpkg = "pgrep -f '[d]pkg.*--unpack|[d]pkg.*--configure' && ls /usr/sbin/dockerd";
    wait_until(PATIENCE, "docker's packages", || {
        assert!(
            running.is_alive(),
            "it ended: {} {}",
            running.stdout.text(),
            running.stderr.text()
        );
        host.sh(dpkg).code == 0
    });
    running.signal(Signal::INT);
    let finished = running.finish(PATIENCE);
    assert_ne!(finished.code(), 0, "{}", finished.out());
    assert!(finished.err().contains("interrupted"), "{}", finished.err());
    // The same call waits for what is under way, says so, and goes on.
    let finished = operator.install(&["--host", "web-1"]).expect_done();
    assert_eq!(host.done(broken), "");
    assert!(finished.out().contains(" 0 failed"), "{}", finished.out());
    let told = operator.install(&["--host", "web-1"]).expect_done().out();
    assert!(told.contains(", 0 changed"), "{told}");
    is_prepared(host);
}
