//! The harness of the end-to-end tests, tried on programs that every machine has.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;
use support::Need;
use support::agent::{AGENT_ID, AgentFiles};
use support::process::{Running, command, run};
use support::root::Root;
use support::terminal::Terminal;
use support::wait::{PATIENCE, poll, wait_until};

#[test]
fn a_program_is_fed_and_heard() {
    let root = Root::new();
    let input = b"x".repeat(300_000);
    let call = run(command(&root, "sh").args(["-c", "cat; echo e >&2; exit 3"]), &input, PATIENCE);
    assert_eq!((call.code(), call.stdout, call.stderr), (3, input, b"e\n".to_vec()));
}

#[test]
fn a_program_that_does_not_end_is_ended() {
    let root = Root::new();
    let script = "sleep 600 & echo started; wait";
    let mut running = Running::start(command(&root, "sh").args(["-c", script]));
    wait_until(PATIENCE, "the shell's child", || running.stdout.text() == "started\n");
    running.signal(Signal::TERM);
    wait_until(PATIENCE, "the shell's end", || !running.is_alive());
    // The shell's child holds the pipes until the guard kills the group.
    assert!(!running.stdout.has_ended());
    let stdout = running.stdout.clone();
    drop(running);
    wait_until(PATIENCE, "the group's end", || stdout.has_ended());
}

#[test]
#[should_panic(expected = "runs on after")]
fn waiting_has_an_end() {
    let root = Root::new();
    run(command(&root, "sleep").arg("600"), b"", Duration::from_millis(50));
}

#[test]
fn a_root_leaves_nothing() {
    let root = Root::new();
    let dir = root.dir().to_path_buf();
    let locked = dir.join("a/b");
    root.write(&locked.join("file"), "x", 0o400);
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
    drop(root);
    assert!(!dir.exists());
}

#[test]
fn a_root_ends_the_servers_of_its_sessions() {
    if !support::has("a_root_ends_the_servers_of_its_sessions", &[Need::Program("tmux")]) {
        return;
    }
    let root = Root::new();
    let mut call = command(&root, "tmux");
    run(call.args(["-L", "convocate-x", "new-session", "-d", "sleep 600"]), b"", PATIENCE)
        .expect_done();
    let mut call = command(&root, "tmux");
    let told =
        run(call.args(["-L", "convocate-x", "display-message", "-p", "#{pid}"]), b"", PATIENCE);
    let server = format!("/proc/{}", told.expect_done().out().trim());
    assert!(std::path::Path::new(&server).exists(), "{server}");
    drop(root);
    let gone = poll(PATIENCE, || (!is_running(&server)).then_some(()));
    assert!(gone.is_some(), "{server} runs on");
}

/// Whether a process is there and not merely waiting to be reaped.
fn is_running(process: &str) -> bool {
    std::fs::read_to_string(format!("{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_terminal_is_typed_on_and_seen() {
    if !support::has("a_terminal_is_typed_on_and_seen", &[Need::Program("tmux")]) {
        return;
    }
    let root = Root::new();
    let mut shell = command(&root, "sh");
    shell.args(["-c", "read line; echo got-$line; stty size; read line; stty size; exit 7"]);
    let terminal = Terminal::start(&root, "one", (100, 30), &shell);
    terminal.type_text("word");
    terminal.press("Enter");
    terminal.wait_for("got-word");
    terminal.wait_for("30 100");
    terminal.resize(90, 20);
    terminal.press("Enter");
    terminal.wait_for("20 90");
    assert_eq!(terminal.exit_status(), 7);
}

#[test]
fn the_files_of_an_agent_are_there() {
    if !support::has("the_files_of_an_agent_are_there", &[Need::Program("ssh-keygen")]) {
        return;
    }
    let files = AgentFiles::write();
    let paths = files.root.paths();
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
    assert_eq!(read(paths.agent_id()), format!("{AGENT_ID}\n"));
    assert_eq!(read(files.entry().host_key()).trim_end(), files.host_key.public_line());
    assert!(read(paths.agent_authorized_keys()).contains(&files.operator.public_line()));
    let mode = std::fs::metadata(files.operator.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
