//! `convocate-host migrate-session` to a whole host, over the stock ssh: a home with everything in
//! it, cut short all along the way; all orphans at once; and what is refused.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::XattrFlags;
use serde_json::Value;
use support::Need;
use support::operator::Shell;
use support::process::{self, CONVOCATE};
use support::testbed::{Host, Kind, NEEDS};
use support::wait::{PATIENCE, wait_until};

const LARGE: &str = "11111111-1111-4111-8111-111111111111";
const OTHERS: [&str; 2] =
    ["22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333"];
/// What homes belong to.
const CLAUDE: u32 = 1337;
const FILES: usize = 100_000;
/// Names, kinds, modes, owners, sizes, times and targets of all but directories' own sizes.
const LIST: &str = "find . ( -type d -printf %P\\t%y%m\\t%U:%G\\t%T@\\0 ) -o ( -not -type s \
                    -printf %P\\t%y%m\\t%U:%G\\t%T@\\t%n\\t%s\\t%l\\0 )";

#[test]
fn a_session_moves_whole_and_wherever_it_is_cut() {
    let test = "a_session_moves_whole_and_wherever_it_is_cut";
    let needs = [Need::Program("ssh"), Need::Program("ssh-keygen")];
    if !support::has(test, &NEEDS) || !support::has(test, &needs) {
        return;
    }
    let host = Host::start(Kind::Docker);
    if let Err(why) = host.bring_programs() {
        support::skip(test, &format!("program: ours do not run on Debian 12: {why}"));
        return;
    }
    // A container's own disk takes minutes for so many files; the one of its engine is a real one.
    host.done("mkdir /var/lib/docker/home && mount --bind /var/lib/docker/home /home");
    let shell = Shell::enrolled(&host);
    refuses(&shell);
    let (home, _listener) = make_large(&shell);
    let wanted = listing(&home);
    cuts_and_goes_on(&host, &shell, &home);
    arrived_whole(&host, &shell, &wanted);
    all_orphans_move(&host, &shell);
}

/// `convocate ls` of the shell host.
fn list(shell: &Shell) -> Command {
    let mut list = process::command(&shell.root, CONVOCATE);
    list.arg("ls").arg("--root").arg(shell.root.dir());
    list
}

fn home(shell: &Shell, id: &str) -> PathBuf {
    shell.root.dir().join("home/claude").join(id)
}

/// The words of a call.
fn words(shell: &Shell, more: &[&str]) -> Vec<String> {
    let entry = fs::read_dir(shell.root.paths().agent_keys()).expect("an agent").next();
    let agent = entry.expect("one").expect("readable").file_name().into_string().expect("text");
    let root = shell.root.dir().display().to_string();
    let all = ["migrate-session", "--agent", &agent, "--json", "--root", &root];
    all.iter().chain(more).map(|&word| word.to_owned()).collect()
}

fn call(shell: &Shell, more: &[&str]) -> (i32, String) {
    let words = words(shell, more);
    let finished = shell.call(&words.iter().map(String::as_str).collect::<Vec<_>>());
    (finished.code(), format!("{}{}", finished.out(), finished.err()))
}

fn refuses(shell: &Shell) {
    for wrong in ["../../etc", "x", "/etc", "11111111-1111-4111-8111-11111111111/"] {
        let (code, said) = call(shell, &["--session", wrong]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("is not a session UUID"), "{said}");
    }
    let (code, said) = call(shell, &["--session", LARGE]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("is not there"), "{said}");
}

fn make(shell: &Shell, id: &str, name: &str) -> PathBuf {
    let home = home(shell, id);
    fs::create_dir_all(&home).expect("it is ours");
    let metadata = format!(
        r#"{{"uuid":"{id}","name":"{name}","created_at":"2026-01-02T03:04:05Z",
            "last_accessed":"2026-01-02T03:04:05Z"}}"#
    );
    fs::write(home.join("session.json"), metadata).expect("it is ours");
    for path in [&home, &home.join("session.json")] {
        chown(path, Some(CLAUDE), Some(CLAUDE)).expect("root may");
    }
    home
}

/// A home with everything that a file system has.
fn make_large(shell: &Shell) -> (PathBuf, UnixListener) {
    let home = make(shell, LARGE, "a large one");
    let at = |name: &str| home.join(name);
    fs::create_dir_all(at("many")).expect("ours");
    for number in 0..FILES {
        fs::write(at(&format!("many/{number}")), b"").expect("ours");
    }
    let mut random = vec![0; 48 << 20];
    fs::File::open("/dev/urandom").expect("random").read_exact(&mut random).expect("random");
    fs::write(at("random"), random).expect("ours");
    let sparse = fs::File::create(at("sparse")).expect("ours");
    sparse.set_len(1 << 36).expect("a hole is free");
    sparse.write_all_at(b"far away", 1 << 35).expect("ours");
    fs::write(at("a name\nof two lines"), "x").expect("ours");
    fs::hard_link(at("random"), at("many/linked")).expect("ours");
    symlink("/etc/shadow", at("out")).expect("ours");
    lchown(at("out"), Some(7), Some(8)).expect("root may");
    assert!(Command::new("mkfifo").arg(at("fifo")).status().expect("it runs").success());
    fs::write(at("set-id"), "y").expect("ours");
    chown(at("set-id"), Some(4), Some(5)).expect("root may");
    fs::set_permissions(at("set-id"), fs::Permissions::from_mode(0o6711)).expect("ours");
    rustix::fs::setxattr(at("set-id"), "user.note", b"kept", XattrFlags::empty())
        .expect("this file system has them");
    let listener = UnixListener::bind(at("socket")).expect("ours");
    (home, listener)
}

/// What is in a directory, in one order.
fn lines(output: &str) -> BTreeSet<String> {
    output.split('\0').map(str::to_owned).collect()
}

fn listing(home: &Path) -> BTreeSet<String> {
    let mut find = Command::new("find");
    let output = find.current_dir(home).args(LIST.split_whitespace().skip(1)).output();
    let output = output.expect("find runs");
    lines(&String::from_utf8_lossy(&output.stdout))
}

/// Calls until a phase is told, and ends the call there: whether it was told.
fn cut_at(shell: &Shell, phase: &str, cut: impl FnOnce(u32)) -> bool {
    let words = words(shell, &["--session", LARGE]);
    let mut command = shell.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let is_phase = |line: &String| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line["phase"] == phase
    };
    let mut told = output.lines().map_while(Result::ok);
    let was_told = told.any(|line| is_phase(&line));
    if was_told {
        cut(child.id());
    }
    let status = child.wait().expect("it was started");
    assert!(was_told || status.success(), "{phase}: {status}");
    was_told
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is ours");
}

fn cuts_and_goes_on(host: &Host, shell: &Shell, home: &Path) {
    let (code, said) = call(shell, &["--session", LARGE, "--check"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("would move"), "{said}");
    let there = format!("test -d /home/claude/{LARGE}");
    // A call that was killed may have told the agent to start again.
    let settle = || {
        wait_until(PATIENCE, "the agent answers", || {
            process::run(&mut list(shell), b"", PATIENCE).code() == 0
        });
    };
    assert_ne!(host.sh(&there).code, 0, "--check changes nothing");
    let aside = home.with_file_name(format!(".deleted-{LARGE}"));
    assert!(cut_at(shell, "sending", kill));
    assert!(home.is_dir() && host.sh(&there).code != 0, "nothing has its name yet");
    // The other side of the connection is lost.
    assert!(cut_at_and_fail(host, shell));
    assert!(home.is_dir() && host.sh(&there).code != 0, "nothing has its name yet");
    assert!(cut_at(shell, "arrived", kill));
    assert!(home.is_dir() && host.sh(&there).code == 0, "both are whole");
    for phase in ["comparing", "listed", "set-aside"] {
        settle();
        cut_at(shell, phase, kill);
        host.done(&there);
    }
    settle();
    let (code, said) = call(shell, &["--session", LARGE]);
    assert_eq!(code, 0, "{said}");
    assert!(!home.exists() && !aside.exists(), "{said}");
    let (code, said) = call(shell, &["--session", LARGE]);
    assert_eq!(code, 0, "again: {said}");
    let left = host.done("ls -A /home/claude | grep -e arriv -e deleted || true");
    assert_eq!(left, "", "nothing of the tries is left");
}

/// Ends the connection there while the directory is on its way.
fn cut_at_and_fail(host: &Host, shell: &Shell) -> bool {
    let words = words(shell, &["--session", LARGE]);
    let mut command = shell.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let mut told = output.lines().map_while(Result::ok);
    let was_told = told.any(|line| line.contains("\"sending\""));
    host.sh("pkill -KILL -f 'sshd: root'");
    let rest: Vec<String> = told.collect();
    let status = child.wait().expect("it was started");
    assert!(!status.success(), "{rest:?}");
    was_told
}

fn arrived_whole(host: &Host, shell: &Shell, wanted: &BTreeSet<String>) {
    let list = LIST.replace('(', "\\(").replace(')', "\\)").replace("%P\\t", "'%P\\t");
    let list = list.replace("\\0", "\\0'");
    let told = host.sh(&format!("cd /home/claude/{LARGE} && {list}"));
    let found = lines(&told.out);
    // The socket was left out; the home's own times are the agent's by now.
    let own = |line: &&String| !line.starts_with('\t') && !line.starts_with("session.json");
    let [wanted, found] =
        [wanted, &found].map(|all| all.iter().filter(own).collect::<BTreeSet<_>>());
    let lost: Vec<_> = wanted.difference(&found).take(5).collect();
    let new: Vec<_> = found.difference(&wanted).take(5).collect();
    assert!(lost.is_empty() && new.is_empty(), "lost {lost:?}, new {new:?}");
    assert!(wanted.len() > FILES);
    let within = format!("/home/claude/{LARGE}");
    let blocks = host.done(&format!("stat -c %b {within}/sparse"));
    assert!(blocks.parse::<u64>().expect("a number") < 256, "{blocks} blocks");
    let tail = format!("tail -c +$((1 + (1 << 35))) {within}/sparse | head -c 8");
    assert_eq!(host.done(&tail), "far away");
    let note = "perl -e '$a = \"user.note\"; $b = \"\\0\" x 99; \
                $n = syscall(191, $ARGV[0], $a, $b, 99); print substr($b, 0, $n)'";
    if cfg!(target_arch = "x86_64") {
        assert_eq!(host.done(&format!("{note} {within}/set-id")), "kept");
    }
    host.done(&format!("test {within}/random -ef {within}/many/linked"));
    let root = shell.root.dir().display().to_string();
    let mut show = process::command(&shell.root, CONVOCATE);
    let shown = process::run(show.args(["show", "a large one", "--root", &root]), b"", PATIENCE);
    assert!(shown.expect_done().out().contains(LARGE));
}

fn all_orphans_move(host: &Host, shell: &Shell) {
    for id in OTHERS {
        make(shell, id, &format!("orphan {}", &id[..4]));
    }
    // It is the agent's, whatever lies here.
    let here = make(shell, LARGE, "another");
    let (code, said) = call(shell, &["--session", LARGE]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("has one of this id"), "{said}");
    let (code, said) = call(shell, &["--all"]);
    assert_eq!(code, 0, "{said}");
    for id in OTHERS {
        assert!(!home(shell, id).exists());
        host.done(&format!("test -f /home/claude/{id}/session.json"));
    }
    assert!(here.is_dir(), "what was refused stays");
    let (code, said) = call(shell, &["--all"]);
    assert_eq!((code, said.as_str()), (0, ""));
    let listed = process::run(&mut list(shell), b"", PATIENCE).expect_done().out();
    assert!(listed.contains("orphan 2222") && listed.contains("orphan 3333"), "{listed}");
}
