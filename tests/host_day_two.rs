//! `convocate-host update`, `status` and `uninstall` on a whole host, over the stock ssh.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::Need;
use support::process::{self, CONVOCATE_HOST, Finished};
use support::root::Root;
use support::testbed::{Host, Kind, NEEDS};

/// Programs without optimisation are copied, and services start anew.
const PATIENCE: Duration = Duration::from_secs(300);
const PROGRAM: &str = "/usr/local/bin/convocate-agent";

/// A shell host that knows one agent, and its operator's ssh, which knows that host as `web-1`.
struct Shell {
    root: Root,
    /// Where the programs are that are called.
    programs: PathBuf,
}

impl Shell {
    fn new(host: &Host) -> Shell {
        let root = Root::new();
        let programs = Path::new(CONVOCATE_HOST).parent().expect("it has one").to_owned();
        let shell = Shell { root, programs };
        let dir = shell.root.dir().display();
        let public = shell.make_key("id");
        host.done(&format!(
            "mkdir -p -m 700 /root/.ssh && echo '{public}' >/root/.ssh/authorized_keys"
        ));
        let address = host.done("ip -4 -o addr show eth0 | sed 's,.*inet \\([0-9.]*\\)/.*,\\1,'");
        let host_key = host.done("cat /etc/ssh/ssh_host_ed25519_key.pub");
        shell.write("known", &format!("testbed {host_key}\n"), 0o600);
        let settings = format!(
            "Host nowhere\n  HostName 127.0.0.1\n  Port 1\nHost web-1 {address}\n  \
             HostName {address}\nHost *\n  User root\n  IdentityFile {dir}/id\n  \
             IdentitiesOnly yes\n  HostKeyAlias testbed\n  UserKnownHostsFile {dir}/known\n  \
             StrictHostKeyChecking yes\n  BatchMode yes\n"
        );
        shell.write("config", &settings, 0o600);
        let ssh = process::find("ssh").expect("it was looked for");
        let wrapper = format!("#!/bin/sh\nexec {} -F {dir}/config \"$@\"\n", ssh.display());
        shell.write("bin/ssh", &wrapper, 0o755);
        shell.enrol(host, &address);
        shell
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
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

    fn call(&self, arguments: &[&str]) -> Finished {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = self.root.dir().join("bin");
        let all = std::iter::once(own).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(all).expect("no colon is in a name");
        let program = self.programs.join("convocate-host");
        let mut command = process::command(&self.root, program);
        command.env("PATH", path).env("TMPDIR", self.root.dir()).args(arguments);
        process::run(&mut command, b"", PATIENCE)
    }

    /// Calls update without images; the exit status and the summaries.
    fn update(&self, hosts: &str, more: &[&str]) -> (i32, Vec<Value>) {
        let root = self.root.dir().display().to_string();
        let words = ["update", "--host", hosts, "--json", "--root", &root];
        let finished = self.call(&[&words[..], more].concat());
        let lines = finished.out();
        let lines = lines.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let summaries: Vec<Value> =
            lines.filter(|line: &Value| line["line"] == "summary").collect();
        assert!(!summaries.is_empty(), "{}", finished.err());
        (finished.code(), summaries)
    }

    fn status(&self) -> (i32, Value) {
        let root = self.root.dir().display().to_string();
        let finished = self.call(&["status", "--json", "--root", &root]);
        let said = finished.out();
        assert!(!said.is_empty(), "{}", finished.err());
        let line = said.lines().next().expect("a line");
        (finished.code(), serde_json::from_str(line).expect("JSON"))
    }
}

#[test]
fn an_agent_host_is_updated_looked_at_and_left() {
    let test = "an_agent_host_is_updated_looked_at_and_left";
    let needs = [Need::Program("ssh"), Need::Program("ssh-keygen")];
    if !support::has(test, &NEEDS) || !support::has(test, &needs) {
        return;
    }
    let host = Host::start(Kind::Docker);
    if let Err(why) = host.bring_programs() {
        support::skip(test, &format!("program: ours do not run on Debian 12: {why}"));
        return;
    }
    let mut shell = Shell::new(&host);
    updates(&host, &shell);
    rolls_back(&host, &mut shell);
    brings_the_image(&host, &shell);
    leaves(&host, &shell);
}

fn updates(host: &Host, shell: &Shell) {
    let only = ["--no-image"];
    // An older program: it differs in a byte that nobody reads.
    host.done(&format!("cp {PROGRAM} /root/old; echo >>/root/old; install /root/old {PROGRAM}"));
    let (code, drifting) = shell.status();
    assert_eq!(code, 1, "{drifting}");
    assert!(drifting["drift"].to_string().contains(PROGRAM), "{drifting}");
    let (code, summaries) = shell.update("web-1", &["--no-image", "--check"]);
    assert_eq!((code, &summaries[0]["result"]), (0, &"would change".into()), "{summaries:?}");
    host.done(&format!("cmp /root/old {PROGRAM}"));

    // A host that is not there does not stop the other.
    let (code, summaries) = shell.update("nowhere,web-1", &only);
    let results: Vec<_> = summaries.iter().map(|one| one["result"].as_str()).collect();
    assert_eq!((code, results), (1, vec![Some("failed"), Some("updated")]), "{summaries:?}");
    assert_eq!(summaries[1]["version"], env!("CARGO_PKG_VERSION"));
    host.done(&format!("cmp /root/old {PROGRAM}.previous && cmp /root/convocate-agent {PROGRAM}"));
    let (code, summaries) = shell.update("web-1", &only);
    assert_eq!((code, &summaries[0]["result"]), (0, &"unchanged".into()), "{summaries:?}");
    let (code, settled) = shell.status();
    assert_eq!((code, &settled["drift"]), (0, &Value::Array(Vec::new())), "{settled}");
    assert_eq!(settled["version"], env!("CARGO_PKG_VERSION"));
}

/// A program that does not start gives way to the one before.
fn rolls_back(host: &Host, shell: &mut Shell) {
    let broken = shell.root.dir().join("broken");
    shell.write("broken/convocate-agent", "#!/bin/sh\necho my last words >&2\nexit 3\n", 0o755);
    fs::copy(CONVOCATE_HOST, broken.join("convocate-host")).expect("it is there");
    let programs = std::mem::replace(&mut shell.programs, broken);
    let (code, summaries) = shell.update("web-1", &["--no-image"]);
    shell.programs = programs;
    assert_eq!((code, &summaries[0]["result"]), (1, &"rolled back".into()), "{summaries:?}");
    assert_eq!(summaries[0]["version"], env!("CARGO_PKG_VERSION"), "it answers again");
    host.done(&format!("cmp /root/convocate-agent {PROGRAM}"));
    assert_eq!(host.done("systemctl is-active convocate-agent"), "active");
    assert_eq!(shell.status().0, 0);
}

fn brings_the_image(host: &Host, shell: &Shell) {
    let name = format!("convocate-test-day-{}:1", std::process::id());
    shell.write("image/file", "content\n", 0o644);
    shell.write("image/Dockerfile", "FROM scratch\nCOPY file /\n", 0o644);
    let built = Command::new("docker")
        .args(["build", "--quiet", "--tag", &name])
        .arg(shell.root.dir().join("image"))
        .env("DOCKER_BUILDKIT", "0")
        .output();
    assert!(built.expect("docker runs").status.success());
    let (code, summaries) = shell.update("web-1", &["--image", &name]);
    let removed = Command::new("docker").args(["rmi", "--force", &name]).output();
    assert!(removed.expect("docker runs").status.success());
    assert_eq!((code, &summaries[0]["result"]), (0, &"updated".into()), "{summaries:?}");
    assert_eq!(host.done("cat /etc/convocate-agent/current-image"), name);
    host.done(&format!("docker image inspect {name}"));
}

fn leaves(host: &Host, shell: &Shell) {
    let theirs = "/etc/logrotate.d/convocate-agent-logs";
    host.done(&format!("mkdir -p /home/claude/kept; echo theirs >{theirs}"));
    let uninstall = ["uninstall", "--host", "web-1"];
    assert_eq!(shell.call(&uninstall).code(), 2);
    shell.call(&[&uninstall[..], &["--check"]].concat()).expect_done();
    assert_eq!(host.done("systemctl is-active convocate-agent"), "active");
    shell.call(&[&uninstall[..], &["--yes"]].concat()).expect_done();
    assert_ne!(host.sh("systemctl is-active convocate-agent").out.trim(), "active");
    let left = "find / -xdev -name '*convocate*' -not -path '/root/*' -not -path '/proc/*' \
                -not -path '/usr/local/sbin/*'";
    assert_eq!(host.sh(left).out.trim(), theirs);
    host.done("test -d /home/claude/kept && getent passwd claude");
    let again = shell.call(&[&uninstall[..], &["--yes", "--homes"]].concat()).expect_done().out();
    assert!(again.contains("web-1: 2 things taken away"), "{again}");
    assert_ne!(host.sh("getent passwd claude || test -e /home/claude").code, 0);
    let again = shell.call(&[&uninstall[..], &["--yes"]].concat()).expect_done().out();
    assert!(again.contains("web-1: 0 things taken away"), "{again}");
}
