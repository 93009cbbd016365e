//! The operator's screen in a real terminal, in front of a real agent: what a person does in a day.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use support::Need;
use support::agent::{Agent, AgentFiles};
use support::hub::Hub;
use support::process::{CONVOCATE, command, run};
use support::root::Root;
use support::terminal::Terminal;
use support::wait::{PATIENCE, pause, wait_for, wait_until};

/// A session's command whose prompt is known.
const SHELL: &str = "env PS1='go> ' sh";
/// Writes the terminal's settings down before and after, and the program's id.
const WATCHED: &str = r#"
    echo "above the screen"
    stty -g >before
    sh -c 'echo $$ >pid; exec "$@"' program "$@"
    status=$?
    stty -g >after
    echo "back with $status"
    read -r _
    exit $status"#;

fn needs(test: &str) -> bool {
    support::has(test, &[Need::Program("ssh-keygen"), Need::Program("tmux")])
}

fn call(root: &Root) -> Command {
    let mut call = command(root, CONVOCATE);
    call.arg("--root").arg(root.dir());
    call
}

/// The screen, in a shell that looks at the terminal before and after.
fn watched<'a>(root: &'a Root, name: &str, size: (u16, u16)) -> Terminal<'a> {
    let mut shell = command(root, "sh");
    shell.args(["-c", WATCHED, "watched", CONVOCATE, "--root"]).arg(root.dir());
    Terminal::start(root, name, size, &shell)
}

/// Nothing of the screen is left on the terminal.
#[track_caller]
fn is_given_back(root: &Root, terminal: &Terminal<'_>, status: i32) {
    // The terminal is looked at while somebody still has it: tmux changes one that nobody has.
    terminal.wait_for(&format!("back with {status}"));
    let settings = |name: &str| fs::read_to_string(root.dir().join(name)).expect("stty wrote it");
    assert_eq!(settings("before"), settings("after"));
    let modes = "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{keypad_cursor_flag} \
                 #{scroll_region_upper}";
    assert_eq!(terminal.tells(modes), "0 1 0 0 0");
    let shown = terminal.screen();
    assert!(shown.starts_with("above the screen\n") && !shown.contains("sessions"), "{shown}");
    terminal.press("Enter");
    assert_eq!(terminal.exit_status(), status, "{shown}");
}

#[track_caller]
fn signal(root: &Root, signal: Signal) {
    let pid = wait_for(PATIENCE, "the program's id", || {
        fs::read_to_string(root.dir().join("pid")).ok()?.trim().parse().ok()
    });
    kill_process(Pid::from_raw(pid).expect("a process id"), signal).expect("it runs");
}

fn make(agent: &Agent, name: &str) {
    agent.client(&["new", name, "--command", SHELL]).expect_done();
}

#[test]
fn a_session_is_made_used_changed_copied_stopped_and_removed() {
    if !needs("a_session_is_made_used_changed_copied_stopped_and_removed") {
        return;
    }
    let agent = Agent::start();
    let root = &agent.files.root;
    let screen = watched(root, "screen", (100, 30));
    screen.wait_for("No sessions yet. N makes one.");

    // Made, with an error on the way.
    screen.type_text("n");
    screen.wait_for("new session on 127.0.0.1");
    screen.type_text("web/1");
    screen.wait_for("name \"web/1\" must be");
    screen.press("BSpace");
    screen.press("BSpace");
    screen.press("Tab");
    screen.type_text(SHELL);
    screen.press("Enter");
    screen.wait_for("created \"web\" on 127.0.0.1");

    // Used, twice.
    screen.press("Enter");
    screen.wait_for("go>");
    screen.type_text("echo sum=$((6*7))");
    screen.press("Enter");
    screen.wait_for("sum=42");
    screen.press("C-b");
    screen.press("d");
    screen.wait_for("session \"web\": detached");
    screen.wait_for("R     web");
    screen.press("Enter");
    screen.wait_for("sum=42");
    screen.resize(90, 25);
    wait_until(PATIENCE, "the session to be resized", || {
        screen.type_text("stty size\r");
        screen.screen().contains("24 90")
    });
    screen.type_text("exit\r");
    screen.wait_for("-     web");

    // What is still typed then was for the session: for a moment keys mean nothing.
    pause(Duration::from_secs(1));

    // Started without a terminal, changed, copied.
    screen.type_text("r");
    screen.wait_for("started \"web\"");
    screen.wait_for("R     web");
    screen.type_text("e");
    screen.wait_for("settings of");
    screen.type_text(" two");
    screen.press("Enter");
    screen.wait_for("changed \"web two\"");
    screen.type_text("c");
    screen.wait_for("web two copy");
    screen.press("Enter");
    screen.wait_for("cloned \"web two copy\"");

    // Removed; first the copy, which is selected.
    screen.type_text("d");
    screen.wait_for("Delete session \"web two copy\"");
    screen.press("Escape");
    screen.type_text("D");
    screen.wait_for("Delete session \"web two copy\"");
    screen.type_text("web two copy\r");
    screen.wait_for("deleted \"web two copy\"");
    screen.type_text("K");
    screen.wait_for("Kill session \"web two\"");
    screen.type_text("y");
    screen.wait_for("stopped \"web two\"");
    screen.wait_for("-     web two");
    screen.type_text("d");
    screen.wait_for("Delete session \"web two\"");
    screen.type_text("web two\r");
    screen.wait_for("No sessions yet");
    assert_eq!(agent.client(&["ls"]).expect_done().out().lines().count(), 1);
    screen.type_text("q");
    is_given_back(root, &screen, 0);
}

#[test]
fn lines_are_found_sorted_and_explained() {
    if !needs("lines_are_found_sorted_and_explained") {
        return;
    }
    let agent = Agent::start();
    for name in ["alpha", "beta", "gamma"] {
        make(&agent, name);
    }
    let root = &agent.files.root;
    let screen = watched(root, "screen", (80, 24));
    screen.wait_for("3 sessions: 3 stopped");
    screen.type_text("/bet");
    screen.wait_for("filter: bet");
    wait_until(PATIENCE, "the filter", || !screen.screen().contains("alpha"));
    screen.press("Enter");
    screen.type_text("s");
    screen.wait_for("Session \"beta\"");
    screen.press("NPage");
    screen.wait_for("This program");
    screen.press("Escape");
    screen.press("Escape");
    screen.wait_for("gamma");
    screen.type_text("?");
    screen.wait_for("With the selected session");
    screen.press("Escape");
    screen.type_text("a");
    screen.wait_for("CONNECTION");
    screen.wait_for("answers");
    screen.press("Enter");
    screen.wait_for("filter: testagent234");
    // Something is done elsewhere: it shows by itself.
    agent.client(&["rm", "alpha"]).expect_done();
    screen.wait_for("2 sessions");
    // A second screen on another terminal; both are right.
    let other = Terminal::start(root, "other", (120, 30), &call(root));
    other.wait_for("2 sessions");
    other.type_text("r");
    other.wait_for("started");
    screen.wait_for("1 running");
    other.press("C-c");
    assert_eq!(other.exit_status(), 0);
    screen.press("Q");
    is_given_back(root, &screen, 0);
}

#[test]
fn an_agent_that_is_gone_and_comes_back() {
    if !needs("an_agent_that_is_gone_and_comes_back") {
        return;
    }
    let mut agent = Agent::start();
    make(&agent, "web");
    let dir = agent.files.root.dir().to_owned();
    agent.process().signal(Signal::KILL);
    {
        let root = &agent.files.root;
        let screen = watched(root, "first", (100, 30));
        screen.wait_for("agents 0/1");
        screen.type_text("2");
        screen.wait_for("Connection refused");
        // The sentence is wrapped.
        screen.wait_for("init-agent --host 127.0.0.1");
        screen.type_text("q");
        is_given_back(root, &screen, 0);
    }
    assert!(dir.exists());
    agent.restart(&["--runtime", "host"]);
    let root = &agent.files.root;
    let screen = watched(root, "second", (100, 30));
    screen.wait_for("1 session: 1 stopped");
    screen.press("Enter");
    screen.wait_for("go>");
    agent.process().signal(Signal::KILL);
    screen.wait_for("reconnecting, Ctrl-C gives up");
    screen.press("C-c");
    screen.wait_for("could not reconnect");
    screen.wait_for("?");
    screen.wait_for("agents 0/1");
    // As above.
    pause(Duration::from_secs(1));
    screen.type_text("q");
    is_given_back(root, &screen, 0);
}

#[test]
fn a_hub_that_comes_tells_and_goes() {
    if !needs("a_hub_that_comes_tells_and_goes") {
        return;
    }
    let agent = Agent::start();
    make(&agent, "asked for");
    let root = &agent.files.root;
    let screen = watched(root, "screen", (100, 30));
    screen.wait_for("no hub");
    screen.wait_for("asked for");
    let hub = UnixListener::bind(root.paths().status_socket()).expect("the root is ours");
    let mut stream = hub.accept().expect("the screen dials again").0;
    let session = json!({
        "uuid": "0badcafe-0000-4000-8000-000000000000", "name": "told of", "running": true,
        "created_at": "2026-01-02T03:04:05Z", "last_accessed": "2026-01-02T03:04:05Z",
    });
    let told = json!({ "id": "hubagent2345", "state": "connected", "sessions": [session] });
    let mut tell = |line: serde_json::Value| {
        stream.write_all(format!("{line}\n").as_bytes()).expect("the screen reads");
    };
    tell(json!({ "snapshot": { "seq": 1, "agents": [told] } }));
    screen.wait_for("hub live");
    screen.wait_for("told of");
    // What happens shows by itself, and nothing was pressed.
    tell(json!({ "seq": 2, "event": {
        "type": "session.attached", "agent_id": "hubagent2345", "data": { "attached_count": 1 },
        "session_id": "0badcafe-0000-4000-8000-000000000000", "timestamp": "2026-01-02T04:00:00Z",
    } }));
    screen.wait_for("C     told of");
    screen.type_text("3");
    screen.wait_for("session.attached");
    screen.type_text("1");
    drop((stream, hub));
    screen.wait_for("no hub");
    screen.wait_for("1 unknown");
    screen.type_text("q");
    is_given_back(root, &screen, 0);
}

#[test]
fn what_is_done_elsewhere_shows_through_the_listener() {
    if !needs("what_is_done_elsewhere_shows_through_the_listener") {
        return;
    }
    let files = AgentFiles::write();
    let mut hub = Hub::start(&files);
    let agent = Agent::start_with(files, &["--runtime", "host"]);
    let root = &agent.files.root;
    let screen = watched(root, "screen", (100, 30));
    screen.wait_for("hub live");
    screen.wait_for("No sessions yet");
    make(&agent, "elsewhere");
    screen.wait_for("-     elsewhere");
    agent.client(&["restart", "elsewhere"]).expect_done();
    screen.wait_for("R     elsewhere");
    agent.client(&["kill", "elsewhere"]).expect_done();
    screen.wait_for("-     elsewhere");
    // Without the listener the screen asks the agents; with it again, it is told.
    hub.kill();
    screen.wait_for("no hub");
    make(&agent, "meanwhile");
    screen.wait_for("-     meanwhile");
    hub.start_again(root);
    screen.wait_for("hub live");
    agent.client(&["rm", "elsewhere"]).expect_done();
    wait_until(PATIENCE, "the deleted one to go", || !screen.screen().contains("elsewhere"));
    screen.wait_for("-     meanwhile");
    screen.type_text("q");
    is_given_back(root, &screen, 0);
}

#[test]
fn the_terminal_is_given_back_after_every_signal() {
    if !needs("the_terminal_is_given_back_after_every_signal") {
        return;
    }
    let agent = Agent::start();
    make(&agent, "web");
    let root = &agent.files.root;
    for (number, kind) in [Signal::TERM, Signal::HUP, Signal::INT].into_iter().enumerate() {
        let screen = watched(root, &format!("list-{number}"), (100, 30));
        screen.wait_for("1 session");
        signal(root, kind);
        is_given_back(root, &screen, 0);

        let screen = watched(root, &format!("form-{number}"), (100, 30));
        screen.wait_for("1 session");
        screen.type_text("n");
        screen.wait_for("new session");
        signal(root, kind);
        is_given_back(root, &screen, 0);
    }
    for (number, kind) in [Signal::TERM, Signal::HUP].into_iter().enumerate() {
        let screen = watched(root, &format!("session-{number}"), (100, 30));
        screen.wait_for("1 session");
        screen.press("Enter");
        screen.wait_for("go>");
        signal(root, kind);
        screen.wait_for("back with 0");
        let shown = screen.screen();
        assert!(shown.starts_with("above the screen\nback with 0"), "{shown}");
        is_given_back(root, &screen, 0);
    }
}

#[test]
fn as_a_login_shell_it_is_the_screen_or_a_command_and_no_shell() {
    if !needs("as_a_login_shell_it_is_the_screen_or_a_command_and_no_shell") {
        return;
    }
    let agent = Agent::start();
    make(&agent, "web");
    let root = &agent.files.root;
    let line = format!("ls --json --root {}", root.dir().display());
    let mut listed = command(root, CONVOCATE);
    let listed = run(listed.args(["-c", &line]), b"", PATIENCE).expect_done();
    assert!(listed.out().contains("\"name\":\"web\""), "{}", listed.out());
    for line in ["sh", "/bin/sh -i", "; id", "$(id)"] {
        let mut refused = command(root, CONVOCATE);
        let refused = run(refused.args(["-c", line]), b"id\n", PATIENCE);
        assert!(!refused.out().contains("uid="), "{}", refused.out());
    }
    // Without a terminal it says what there is instead.
    let mut call = command(root, "setsid");
    call.args(["-w", CONVOCATE, "--root"]).arg(root.dir());
    let refused = run(&mut call, b"", PATIENCE);
    assert_eq!(refused.code(), 2, "{}", refused.err());
    assert!(refused.err().contains("convocate ls"), "{}", refused.err());
    // With one and no command it is the screen.
    let screen =
        Terminal::start(root, "screen", (80, 24), &call_with(root, "-c", &screen_line(root)));
    screen.wait_for("1 session");
    screen.type_text("q");
    assert_eq!(screen.exit_status(), 0);
}

fn screen_line(root: &Root) -> String {
    format!("screen --root {}", root.dir().display())
}

fn call_with(root: &Root, flag: &str, line: &str) -> Command {
    let mut call = command(root, CONVOCATE);
    call.args([flag, line]);
    call
}

#[test]
fn without_agents_it_says_what_to_run() {
    if !needs("without_agents_it_says_what_to_run") {
        return;
    }
    let root = Root::new();
    let screen = watched(&root, "screen", (80, 24));
    screen.wait_for("convocate-host init-agent --host HOST");
    screen.wait_for("convocate demo");
    screen.type_text("\rdnq");
    is_given_back(&root, &screen, 0);
}

#[test]
fn every_kind_of_terminal_shows_it() {
    if !needs("every_kind_of_terminal_shows_it") {
        return;
    }
    let agent = Agent::start();
    make(&agent, "web");
    let root = &agent.files.root;
    let terms = ["xterm-256color", "screen-256color", "tmux-256color", "linux", "vt100"];
    for (number, term) in terms.into_iter().enumerate() {
        for (variable, value) in [("LANG", "C.UTF-8"), ("LANG", "C"), ("NO_COLOR", "1")] {
            let mut shell = command(root, "env");
            shell.arg(format!("TERM={term}")).arg(format!("{variable}={value}"));
            shell.arg(CONVOCATE).arg("--root").arg(root.dir());
            let name = format!("{number}-{variable}-{value}");
            let screen = Terminal::start(root, &name, (80, 24), &shell);
            screen.wait_for("1 session: 1 stopped");
            screen.type_text("d");
            screen.wait_for("Delete session \"web\"");
            let frame = if value == "C" { "+- Delete ---" } else { "┌─ Delete ───" };
            screen.wait_for(frame);
            let has_colour = screen.escapes().contains("\u{1b}[36m");
            assert_eq!(has_colour, variable != "NO_COLOR" && term != "vt100", "{name} {term}");
            screen.press("Escape");
            screen.wait_for("1 session: 1 stopped");
            screen.type_text("q");
            assert_eq!(screen.exit_status(), 0);
            assert_eq!(screen.tells("#{alternate_on}"), "0");
        }
    }
    let mut dumb = command(root, "env");
    dumb.args(["TERM=dumb", CONVOCATE, "--root"]).arg(root.dir());
    let screen = Terminal::start(root, "dumb", (80, 24), &dumb);
    assert_eq!(screen.exit_status(), 2);
    screen.wait_for("convocate ls, agents, new");
}
