//! `convocate-host update`, `status` and `uninstall` on a whole host, over the stock ssh.

mod support;

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::Need;
use support::operator::Shell;
use support::process::{self, CONVOCATE, CONVOCATE_HOST};
use support::terminal::Terminal;
use support::testbed::{Host, Kind, NEEDS};
use support::wait::{PATIENCE, poll, wait_until};

const IMAGE: &str = concat!("convocate:", env!("CARGO_PKG_VERSION"));
const PROGRAM: &str = "/usr/local/bin/convocate-agent";

/// Calls update without images; the exit status and the summaries.
fn update(shell: &Shell, hosts: &str, more: &[&str]) -> (i32, Vec<Value>) {
    let root = shell.root.dir().display().to_string();
    let mut words = vec!["update", "--json", "--root", &root];
    if !hosts.is_empty() {
        words.extend(["--host", hosts]);
    }
    words.extend(more);
    let finished = shell.call(&words);
    let lines = finished.out();
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let summaries: Vec<Value> = lines.filter(|line: &Value| line["line"] == "summary").collect();
    assert!(!summaries.is_empty(), "{}", finished.err());
    (finished.code(), summaries)
}

/// What status says of the first host.
fn status(shell: &Shell) -> (i32, Value) {
    let root = shell.root.dir().display().to_string();
    let finished = shell.call(&["status", "--json", "--root", &root]);
    let said = finished.out();
    assert!(!said.is_empty(), "{}", finished.err());
    let line = said.lines().next().expect("a line");
    (finished.code(), serde_json::from_str(line).expect("JSON"))
}

#[test]
fn an_agent_host_is_updated_looked_at_and_left() {
    let test = "an_agent_host_is_updated_looked_at_and_left";
    let needs = [Need::Program("ssh"), Need::Program("ssh-keygen"), Need::Program("tmux")];
    if !support::has(test, &NEEDS) || !support::has(test, &needs) {
        return;
    }
    let host = Host::start(Kind::Docker);
    if let Err(why) = host.bring_programs() {
        support::skip(test, &format!("program: ours do not run on Debian 12: {why}"));
        return;
    }
    let mut shell = Shell::enrolled(&host);
    updates(&host, &shell);
    rolls_back(&host, &mut shell);
    if support::has_image(IMAGE) {
        sessions_live_on(&host, &shell);
    } else {
        support::skip(test, &format!("program: no image {IMAGE}: run tests/testbed/base-image.sh"));
    }
    brings_the_image(&host, &shell);
    leaves_the_cluster(&host, &shell);
    leaves(&host, &shell);
}

fn updates(host: &Host, shell: &Shell) {
    let only = ["--no-image"];
    // An older program: it differs in a byte that nobody reads.
    host.done(&format!("cp {PROGRAM} /root/old; echo >>/root/old; install /root/old {PROGRAM}"));
    let (code, drifting) = status(shell);
    assert_eq!(code, 1, "{drifting}");
    assert!(drifting["drift"].to_string().contains(PROGRAM), "{drifting}");
    let (code, summaries) = update(shell, "web-1", &["--no-image", "--check"]);
    assert_eq!((code, &summaries[0]["result"]), (0, &"would change".into()), "{summaries:?}");
    host.done(&format!("cmp /root/old {PROGRAM}"));

    // Neither a host that is not there nor one that says nothing stops the other.
    let (code, summaries) = update(shell, "nowhere,silent,web-1", &only);
    let results: Vec<_> = summaries.iter().map(|one| one["result"].as_str()).collect();
    let failed = Some("failed");
    assert_eq!((code, results), (1, vec![failed, failed, Some("updated")]), "{summaries:?}");
    assert_eq!(summaries[2]["version"], env!("CARGO_PKG_VERSION"));
    host.done(&format!("cmp /root/old {PROGRAM}.previous && cmp /root/convocate-agent {PROGRAM}"));
    // Without a name all agents are meant. What a killed run left long ago goes.
    host.done(
        "mkdir /var/lib/convocate-host.kIlLeD; touch -d '2 days ago' /var/lib/convocate-host.*",
    );
    let (code, summaries) = update(shell, "", &only);
    assert_eq!((code, &summaries[0]["result"]), (0, &"unchanged".into()), "{summaries:?}");
    assert_eq!(host.done("ls /var/lib | grep convocate-host || true"), "");
    let (code, settled) = status(shell);
    assert_eq!((code, &settled["drift"]), (0, &Value::Array(Vec::new())), "{settled}");
    assert_eq!(settled["version"], env!("CARGO_PKG_VERSION"));
}

/// A program that does not start gives way to the one before.
fn rolls_back(host: &Host, shell: &mut Shell) {
    let broken = shell.root.dir().join("broken");
    shell.write("broken/convocate-agent", "#!/bin/sh\necho my last words >&2\nexit 3\n", 0o755);
    fs::copy(CONVOCATE_HOST, broken.join("convocate-host")).expect("it is there");
    let programs = std::mem::replace(&mut shell.programs, broken);
    let (code, summaries) = update(shell, "web-1", &["--no-image"]);
    shell.programs = programs;
    assert_eq!((code, &summaries[0]["result"]), (1, &"rolled back".into()), "{summaries:?}");
    assert_eq!(summaries[0]["version"], env!("CARGO_PKG_VERSION"), "it answers again");
    host.done(&format!("cmp /root/convocate-agent {PROGRAM}"));
    assert_eq!(host.done("systemctl is-active convocate-agent"), "active");
    assert_eq!(status(shell).0, 0);
}

/// Sessions run on from one image to the next, as do terminals from one program to the next; an
/// update that is cut short anywhere leaves the image of new sessions what it was.
fn sessions_live_on(host: &Host, shell: &Shell) {
    host.bring_image(IMAGE);
    assert_eq!(update(shell, "web-1", &[]).0, 0);
    run_session(shell, "one");
    let container = host.done("docker ps -q");
    let facts =
        format!("docker inspect -f '{{{{.State.StartedAt}}}} {{{{.Config.Image}}}}' {container}");
    let before = host.done(&facts);
    assert!(before.ends_with(IMAGE), "{before}");
    let root = shell.root.dir().display().to_string();
    let mut attach = process::command(&shell.root, CONVOCATE);
    attach.args(["attach", "one", "--root", &root]);
    let terminal = Terminal::start(&shell.root, "attached", (80, 24), &attach);
    terminal.wait_for("$");
    terminal.type_text("while sleep 0.1; do date +%s.%N; done\r");

    let next = format!("convocate:day-{}", std::process::id());
    build(shell, &next, &format!("FROM {IMAGE}\nCOPY file /\n"));
    host.done(&format!("echo >>/root/old; install /root/old {PROGRAM}"));
    host.done("systemctl restart convocate-agent");
    for cut in
        ["0 receive-image", "2000 receive-image", "0 update --request", "9000 update --request"]
    {
        shell.write("cut", cut, 0o644);
        let (code, summaries) = update(shell, "web-1", &["--image", &next]);
        assert_eq!((code, &summaries[0]["result"]), (1, &"failed".into()), "{cut}: {summaries:?}");
        assert_eq!(host.done("cat /etc/convocate-agent/current-image"), IMAGE, "{cut}");
        host.done(&format!("cmp /root/old {PROGRAM}"));
    }
    fs::remove_file(shell.root.dir().join("cut")).expect("it is there");
    run_session(shell, "two");
    assert_eq!(image_of(shell, "two"), IMAGE);

    let (summaries, silence) = thread::scope(|scope| {
        let updating = scope.spawn(|| update(shell, "web-1", &["--image", &next]));
        let silence = longest_silence(&terminal, || updating.is_finished());
        (updating.join().expect("it does not panic"), silence)
    });
    eprintln!("the terminal was silent for {silence:?}");
    remove_image(&next);
    assert_eq!((summaries.0, &summaries.1[0]["result"]), (0, &"updated".into()), "{summaries:?}");
    host.done(&format!("cmp /root/convocate-agent {PROGRAM}"));
    assert_eq!(host.done("cat /etc/convocate-agent/current-image"), next);
    assert_eq!(host.done(&facts), before, "the container was restarted");
    terminal.press("C-c");
    terminal.type_text("echo $((7 * 61))\r");
    terminal.wait_for("427");

    run_session(shell, "three");
    assert_eq!(["one", "two", "three"].map(|name| image_of(shell, name)), [IMAGE, IMAGE, &next]);
    host.done("tar -c /etc/hostname | docker import - convocate:neither");
    host.done("/etc/cron.daily/convocate-image-prune");
    host.done(&format!("docker image inspect {IMAGE} {next}"));
    assert_ne!(host.sh("docker image inspect convocate:neither").code, 0);
    for name in ["one", "two", "three"] {
        operate(shell, &["rm", name]);
    }
    wait_until(PATIENCE, "the sessions to be gone", || host.done("docker ps -aq").is_empty());
}

/// Calls `convocate` with the keys of the shell host.
fn operate(shell: &Shell, words: &[&str]) -> String {
    let mut call = process::command(&shell.root, CONVOCATE);
    call.args(words).arg("--root").arg(shell.root.dir());
    process::run(&mut call, b"", PATIENCE).expect_done().out()
}

fn run_session(shell: &Shell, name: &str) {
    operate(shell, &["new", name, "--command", "env PS1='$ ' sh"]);
    operate(shell, &["restart", name]);
}

/// The image that a session runs on.
fn image_of(shell: &Shell, name: &str) -> String {
    let listed: Value = serde_json::from_str(&operate(shell, &["ls", "--json"])).expect("JSON");
    let sessions = listed["sessions"].as_array().expect("a list");
    let session = sessions.iter().find(|session| session["name"] == name).expect("it is listed");
    session["image"].as_str().expect("a name").to_owned()
}

/// How long a screen on which something changes all the time has at most not changed, until the end
/// and the first change behind that.
fn longest_silence(terminal: &Terminal<'_>, has_ended: impl Fn() -> bool) -> Duration {
    let (mut longest, mut last) = (Duration::ZERO, String::new());
    loop {
        let (is_last, begun) = (has_ended(), Instant::now());
        let changed = poll(PATIENCE, || Some(terminal.screen()).filter(|screen| *screen != last));
        last = changed.expect("the terminal comes back by itself");
        longest = longest.max(begun.elapsed());
        if is_last {
            return longest;
        }
    }
}

/// An image of this machine's engine, with a file of ours.
fn build(shell: &Shell, name: &str, source: &str) {
    shell.write("image/file", "content\n", 0o644);
    shell.write("image/Dockerfile", source, 0o644);
    let built = Command::new("docker")
        .args(["build", "--quiet", "--tag", name])
        .arg(shell.root.dir().join("image"))
        .env("DOCKER_BUILDKIT", "0")
        .output();
    assert!(built.expect("docker runs").status.success());
}

fn remove_image(name: &str) {
    let removed = Command::new("docker").args(["rmi", "--force", name]).output();
    assert!(removed.expect("docker runs").status.success());
}

fn brings_the_image(host: &Host, shell: &Shell) {
    let name = format!("convocate-test-day-{}:1", std::process::id());
    build(shell, &name, "FROM scratch\nCOPY file /\n");
    let (code, summaries) = update(shell, "web-1", &["--image", &name]);
    remove_image(&name);
    assert_eq!((code, &summaries[0]["result"]), (0, &"updated".into()), "{summaries:?}");
    assert_eq!(host.done("cat /etc/convocate-agent/current-image"), name);
    host.done(&format!("docker image inspect {name}"));
}

/// The agent is taken out of the cluster; and so is one whose host is dead.
fn leaves_the_cluster(host: &Host, shell: &Shell) {
    let (paths, root) = (shell.root.paths(), shell.root.dir().display().to_string());
    let id = host.done("cat /etc/convocate-agent/agent-id");
    let dead = "deaddeaddead";
    let entry = paths.agent_entry(dead);
    fs::create_dir_all(entry.dir()).expect("ours");
    for name in ["host_key.pub", "shell_to_agent_ed25519_key"] {
        fs::copy(paths.agent_entry(&id).dir().join(name), entry.dir().join(name)).expect("ours");
    }
    shell.root.write(&entry.host(), "nowhere\n", 0o644);
    let line = |id: &str| format!("agent-id=\"{id}\" ssh-ed25519 AAAA agent to shell\n");
    let telling = format!("# kept\n{}{}", line(dead), line(&id));
    shell.root.write(&paths.status_authorized_keys(), &telling, 0o644);
    // What enrolment leaves there, as far as there is a shell host in this test.
    let config = "/etc/convocate-agent";
    host.done(&format!(
        "cd {config} && sed -i 's/ssh-ed25519 .*/& shell to agent/' authorized_keys && \
         echo ssh-ed25519 AAAA other >>authorized_keys && touch shell-host shell_host_key.pub"
    ));
    let remove = |id: &str, more: &[&str]| {
        let words = ["remove-agent", "--agent", id, "--root", &root];
        let done = shell.call(&[&words[..], more].concat()).expect_done();
        format!("{}{}", done.out(), done.err())
    };
    let said = remove(&id, &["--check"]);
    assert!(said.contains("who drives it … would change"), "{said}");
    assert_eq!(host.done("systemctl is-active convocate-agent"), "active");
    assert!(paths.agent_entry(&id).dir().is_dir());
    let said = remove(&id, &[]);
    assert!(said.contains("who may tell … changed"), "{said}");
    assert_ne!(host.sh("systemctl is-active convocate-agent").out.trim(), "active");
    assert_eq!(host.done(&format!("cat {config}/authorized_keys")), "ssh-ed25519 AAAA other");
    host.done(&format!("! ls {config} | grep shell.host && test -s {config}/agent-id"));
    let said = remove(dead, &[]);
    assert!(said.contains("left there: convocate-agent"), "{said}");
    assert_eq!(fs::read_to_string(paths.status_authorized_keys()).expect("ours"), "# kept\n");
    assert_eq!(fs::read_dir(paths.agent_keys()).expect("ours").count(), 0);
    let said = remove(dead, &[]);
    assert!(said.contains("0 changed"), "{said}");
}

fn leaves(host: &Host, shell: &Shell) {
    let theirs = "/etc/logrotate.d/convocate-agent-logs";
    host.done(&format!(
        "mkdir -p /home/claude/kept /var/spool/rsyslog; echo theirs >{theirs}; \
         touch /var/spool/rsyslog/convocate-forward.00000001"
    ));
    let uninstall = ["uninstall", "--host", "web-1"];
    assert_eq!(shell.call(&uninstall).code(), 2);
    shell.call(&[&uninstall[..], &["--check"]].concat()).expect_done();
    host.done(&format!("test -x {PROGRAM}"));
    shell.call(&[&uninstall[..], &["--yes"]].concat()).expect_done();
    assert_ne!(host.sh("systemctl is-active convocate-agent").out.trim(), "active");
    let left = "find / -xdev -name '*convocate*' -not -path '/root/*' -not -path '/proc/*' \
                -not -path '/usr/local/sbin/*' | sort";
    // What is known of the sessions stays with their homes, and nothing beside it.
    let state = "/var/lib/convocate-agent";
    assert_eq!(host.sh(left).out.trim(), format!("{theirs}\n{state}"));
    assert_eq!(host.sh(&format!("ls -A {state}")).out.trim(), "sessions");
    host.done("test -d /home/claude/kept && getent passwd claude");
    let again = shell.call(&[&uninstall[..], &["--yes", "--homes"]].concat()).expect_done().out();
    assert!(again.contains("web-1: 3 things taken away"), "{again}");
    assert_ne!(host.sh("getent passwd claude || test -e /home/claude").code, 0);
    let again = shell.call(&[&uninstall[..], &["--yes"]].concat()).expect_done().out();
    assert!(again.contains("web-1: 0 things taken away"), "{again}");
}
