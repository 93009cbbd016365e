//! Terminals of a running agent: what is typed, what is shown, who is attached, and what a slow or
//! a lost one does to the others.

mod support;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::Need;
use support::agent::Agent;
use support::process::{CONVOCATE, Running, command};
use support::terminal::Terminal;
use support::wait::{PATIENCE, pause, wait_until};
use support::wire::Wire;

const SHELL: &str = "env PS1='go> ' sh";

fn needs(test: &str) -> bool {
    support::has(test, &[Need::Program("ssh-keygen"), Need::Program("tmux")])
}

fn session(wire: &mut Wire, name: &str, command: &str) -> String {
    let made = wire.call("create", &json!({ "name": name, "command": command }));
    made.expect("it is created")["uuid"].as_str().expect("an id").to_owned()
}

fn shell(agent: &Agent, name: &str) -> String {
    session(&mut Wire::to(agent), name, SHELL)
}

fn get(wire: &mut Wire, id: &str) -> Value {
    wire.call("get", &json!({ "id": id })).expect("it is there")
}

/// Waits until so many terminals are attached.
#[track_caller]
fn attached(agent: &Agent, id: &str, count: u64) {
    let mut wire = Wire::to(agent);
    wait_until(PATIENCE, "the count of terminals", || {
        let found = get(&mut wire, id);
        assert_eq!(found["attached"], json!(found["attached_count"] != 0));
        found["attached_count"] == json!(count)
    });
}

/// `convocate attach` on a terminal of the test's own.
fn person<'a>(agent: &'a Agent, name: &str, words: &[&str], size: (u16, u16)) -> Terminal<'a> {
    let root = &agent.files.root;
    let mut call = command(root, CONVOCATE);
    call.arg("attach").args(words).arg("--root").arg(root.dir());
    Terminal::start(root, name, size, &call)
}

fn detach(terminal: &Terminal) {
    terminal.press("C-b");
    terminal.press("d");
}

fn memory_kib(agent: &Agent) -> u64 {
    let path = format!("/proc/{}/status", agent.process().pid());
    let status = fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is told");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Processes that the agent has started and not reaped or ended.
fn children(agent: &Agent) -> Vec<String> {
    let pid = agent.process().pid();
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_person_attaches_types_resizes_detaches_and_comes_back() {
    if !needs("a_person_attaches_types_resizes_detaches_and_comes_back") {
        return;
    }
    let agent = Agent::start();
    let id = shell(&agent, "web");
    let first = person(&agent, "first", &["web"], (100, 30));
    first.wait_for("go>");
    first.type_text("echo sum=$((6*7)); stty size");
    first.press("Enter");
    first.wait_for("sum=42");
    first.wait_for("29 100");
    attached(&agent, &id, 1);
    first.resize(90, 20);
    wait_until(PATIENCE, "the other size", || {
        first.type_text("clear; stty size");
        first.press("Enter");
        first.screen().contains("19 90")
    });
    first.type_text("echo still-$((1+1))-here");
    first.press("Enter");
    first.wait_for("still-2-here");
    detach(&first);
    assert_eq!(first.exit_status(), 0);
    wait_until(PATIENCE, "the way back", || {
        first.history().contains("come back with: convocate attach")
    });
    attached(&agent, &id, 0);

    let second = person(&agent, "second", &[&id], (90, 20));
    second.wait_for("still-2-here");
    second.type_text("exit 3");
    second.press("Enter");
    assert_eq!(second.exit_status(), 0);
    // tmux's client ends a moment before its server.
    let mut wire = Wire::to(&agent);
    wait_until(PATIENCE, "the session's end", || get(&mut wire, &id)["running"] == false);
    wait_until(PATIENCE, "the end of all clients", || children(&agent).is_empty());
}

#[test]
fn two_terminals_share_a_session_and_one_only_looks() {
    if !needs("two_terminals_share_a_session_and_one_only_looks") {
        return;
    }
    let agent = Agent::start();
    let id = shell(&agent, "web");
    let typist = person(&agent, "typist", &["web"], (80, 24));
    typist.wait_for("go>");
    let looker = person(&agent, "looker", &["web", "--read-only"], (80, 24));
    looker.wait_for("go>");
    attached(&agent, &id, 2);
    looker.type_text("echo from-the-$((1+0))-looker");
    looker.press("Enter");
    typist.type_text("echo from-the-$((1+0))-typist");
    typist.press("Enter");
    typist.wait_for("from-the-1-typist");
    looker.wait_for("from-the-1-typist");
    assert!(!typist.screen().contains("looker"), "{}", typist.screen());

    agent.client(&["background", "web"]).expect_done();
    assert_eq!((typist.exit_status(), looker.exit_status()), (0, 0));
    assert_eq!(get(&mut Wire::to(&agent), &id)["running"], true);
    attached(&agent, &id, 0);
}

#[test]
fn read_only_holds_against_a_client_that_types_anyway() {
    if !needs("read_only_holds_against_a_client_that_types_anyway") {
        return;
    }
    let agent = Agent::start();
    let id = shell(&agent, "web");
    let mut wire = Wire::to(&agent);
    let typist = wire.attach(&id, 80, 24);
    wire.sees(typist, "go>");
    let header = json!({ "id": id, "read_only": true, "term": "xterm" });
    let looker = wire.attach_with(&header);
    wire.sees(looker, "go>");
    wire.send(looker, b"echo by-$((1+0))-looker\r\x02d\x03\x04");
    wire.send(typist, b"echo by-$((1+0))-typist\r");
    wire.sees(looker, "by-1-typist");
    let shown = wire.shown(typist);
    assert!(!shown.contains("looker"), "{shown:?}");
}

#[test]
fn what_follows_the_header_is_typed() {
    if !needs("what_follows_the_header_is_typed") {
        return;
    }
    let agent = Agent::start();
    let id = shell(&agent, "web");
    let mut wire = Wire::to(&agent);
    let channel = wire.open(convocate::rpc::ATTACH_SUBSYSTEM);
    wire.send(
        channel,
        format!("{{\"id\":\"{id}\",\"new\":[]}}\necho at-$((1+0))-once\r").as_bytes(),
    );
    wire.sees(channel, "at-1-once");
    wire.send(channel, b"exit\r");
    let seen = wire.finish(channel);
    assert_eq!((seen.exit_status, seen.has_ended), (Some(0), true));
    assert_eq!(wire.ended, None);
}

#[test]
fn output_is_complete_to_the_last_byte() {
    if !needs("output_is_complete_to_the_last_byte") {
        return;
    }
    let agent = Agent::start();
    let mut wire = Wire::to(&agent);
    for round in 0..5 {
        let id = session(&mut wire, &format!("s{round}"), SHELL);
        let channel = wire.attach(&id, 80, 24);
        wire.sees(channel, "go>");
        // Said in a way that its echo is not, and twice: what tmux reads in two pieces, as one of
        // them may be, it also draws in two.
        wire.send(channel, b"seq 1 200000; printf 'all-%s\\n' told told\r");
        wire.sees(channel, "all-told");
        // The last word comes in the same moment as the end.
        wire.send(channel, b"clear; printf last-%s word; exit\r");
        let seen = wire.finish(channel);
        let shown = String::from_utf8_lossy(&seen.bytes).into_owned();
        assert!(shown.contains("last-word"), "round {round}: {shown:.2000?}");
        assert!(shown.ends_with("[exited]\r\n"), "round {round}: {shown:.2000?}");
        assert_eq!((seen.exit_status, seen.has_ended), (Some(0), true));
    }
}

#[test]
fn a_flood_in_one_session_slows_no_keystroke_in_another() {
    if !needs("a_flood_in_one_session_slows_no_keystroke_in_another") {
        return;
    }
    let agent = Agent::start();
    let mut flooded = Wire::to(&agent);
    let loud = session(&mut flooded, "loud", "yes");
    let quiet = session(&mut flooded, "quiet", "cat");
    let flood = flooded.attach(&loud, 80, 24);
    flooded.sees(flood, "y");
    let mut wire = Wire::to(&agent);
    let typist = wire.attach(&quiet, 80, 24);
    wire.sees(typist, "\u{1b}[");
    let reader = thread::spawn(move || {
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            flooded.turn();
            flooded.take(flood);
            flooded.seen(flood).bytes.clear();
        }
    });
    let mut took = Vec::new();
    while !reader.is_finished() {
        let letter = ["a", "b", "c"][took.len() % 3];
        wire.take(typist);
        wire.seen(typist).bytes.clear();
        let start = Instant::now();
        wire.send(typist, letter.as_bytes());
        wire.sees(typist, letter);
        took.push(start.elapsed());
    }
    reader.join().expect("it reads to its end");
    took.sort();
    let median = took[took.len() / 2];
    // tmux and a busy machine have most of it.
    assert!(took.len() > 10 && median < Duration::from_millis(150), "{took:?}");
}

#[test]
fn a_reader_that_reads_nothing_costs_no_memory_and_stops_nobody() {
    if !needs("a_reader_that_reads_nothing_costs_no_memory_and_stops_nobody") {
        return;
    }
    let agent = Agent::start();
    let mut wire = Wire::to(&agent);
    let loud = session(&mut wire, "loud", "yes");
    let mut deaf = Wire::to(&agent);
    let channels: Vec<_> = (0..8).map(|_| deaf.attach(&loud, 200, 50)).collect();
    attached(&agent, &loud, 8);
    let before = memory_kib(&agent);
    // Nothing of theirs is read, while another one of the same session reads on.
    let reader = wire.attach(&loud, 80, 24);
    for _ in 0..200 {
        wire.sees(reader, "y");
    }
    let grown = memory_kib(&agent).saturating_sub(before);
    assert!(grown < 8 * 1024, "the agent grew by {grown} KiB");
    wire.call("kill", &json!({ "id": loud })).expect("it ends");
    for channel in channels {
        assert!(deaf.finish(channel).has_ended);
    }
}

#[test]
fn a_client_that_is_killed_is_gone_at_once() {
    if !needs("a_client_that_is_killed_is_gone_at_once") {
        return;
    }
    let agent = Agent::start();
    let id = shell(&agent, "web");
    let mut lost = Wire::to(&agent);
    let channel = lost.attach(&id, 80, 24);
    lost.sees(channel, "go>");
    let stays = person(&agent, "stays", &["web"], (80, 24));
    stays.wait_for("go>");
    attached(&agent, &id, 2);
    // The kernel resets a connection that is dropped with bytes unread.
    drop(lost);
    attached(&agent, &id, 1);
    let clients = pids_of("attach", agent.files.root.dir().to_str().expect("text"));
    for pid in clients {
        let pid = rustix::process::Pid::from_raw(pid).expect("a process");
        let _gone = rustix::process::kill_process(pid, Signal::KILL);
    }
    attached(&agent, &id, 0);
    wait_until(PATIENCE, "the end of all clients", || children(&agent).is_empty());
    assert_eq!(get(&mut Wire::to(&agent), &id)["running"], true);
}

/// Running clients of a root.
fn pids_of(verb: &str, root: &str) -> Vec<i32> {
    let is_it = |line: &[u8]| {
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.len() > 2
            && words[0] == CONVOCATE.as_bytes()
            && words[1] == verb.as_bytes()
            && words.contains(&root.as_bytes())
    };
    let entries = fs::read_dir("/proc").expect("it is mounted").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers
        .filter(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| is_it(&line)))
        .collect()
}

#[test]
fn a_terminal_survives_the_death_of_the_agent() {
    if !needs("a_terminal_survives_the_death_of_the_agent") {
        return;
    }
    let mut agent = Agent::start();
    let id = shell(&agent, "web");
    let mut wire = Wire::to(&agent);
    let channel = wire.attach(&id, 80, 24);
    wire.sees(channel, "go>");
    wire.send(channel, b"kept=$((20+1)); echo set-$kept\r");
    wire.sees(channel, "set-21");
    agent.restart(&["--runtime", "host"]);
    wire.until("the end of the connection", |wire| wire.ended.is_some());
    let found = get(&mut Wire::to(&agent), &id);
    assert_eq!((&found["running"], &found["locked"]), (&json!(true), &json!(false)));
    let mut wire = Wire::to(&agent);
    let channel = wire.attach(&id, 80, 24);
    wire.send(channel, b"echo kept-$kept\r");
    wire.sees(channel, "kept-21");
    attached(&agent, &id, 1);
}

#[test]
fn a_session_that_cannot_be_had_is_status_255() {
    if !needs("a_session_that_cannot_be_had_is_status_255") {
        return;
    }
    let agent = Agent::start();
    let id = session(&mut Wire::to(&agent), "short", "true");
    let nobody = person(&agent, "nobody", &["nobody"], (80, 24));
    assert_eq!(nobody.exit_status(), 255);
    // A terminal that ends at once is not always left as it was: the words are kept in a file.
    let mut call = command(&agent.files.root, "sh");
    call.args(["-c", "\"$@\" 2>words", "sh", CONVOCATE, "attach", "nobody", "--root"]);
    let nobody =
        Terminal::start(&agent.files.root, "words", (80, 24), call.arg(agent.files.root.dir()));
    assert_eq!(nobody.exit_status(), 255);
    let words = fs::read_to_string(agent.files.root.dir().join("words")).expect("a file");
    assert!(words.contains("session \"nobody\" not found"), "{words}");
    let short = person(&agent, "short", &["short"], (80, 24));
    // Either it was seen, or it had ended before it could be shown.
    let status = short.exit_status();
    assert!(status == 0 || status == 255, "{status}: {}", short.screen());
    let found = get(&mut Wire::to(&agent), &id);
    assert_eq!((&found["running"], &found["locked"]), (&json!(false), &json!(false)));
    let mut piped = command(&agent.files.root, CONVOCATE);
    piped.args(["attach", "short", "--root"]).arg(agent.files.root.dir());
    let finished = Running::start(&mut piped).finish(PATIENCE);
    assert_eq!(finished.code(), 255, "{finished:?}");
}

/// Ctrl-Z once more than once: bash leaves loops when a job of theirs stops.
#[test]
fn a_command_that_stops_itself_goes_on_and_so_does_a_client() {
    if !needs("a_command_that_stops_itself_goes_on_and_so_does_a_client") {
        return;
    }
    let agent = Agent::start();
    let mut wire = Wire::to(&agent);
    let echo = "while read -r it; do echo got-$it; done; exit 7";
    let id = session(&mut wire, "echo", echo);
    let terminal = person(&agent, "first", &["echo"], (80, 20));
    terminal.wait_for("detaches");
    for word in ["one", "two", "three"] {
        terminal.press("C-z");
        terminal.press("C-b");
        terminal.press("C-z");
        // Nobody types faster; what is typed while a job stops may be lost.
        pause(Duration::from_millis(300));
        terminal.type_text(word);
        terminal.press("Enter");
        terminal.wait_for(&format!("got-{word}"));
    }
    assert_eq!(get(&mut wire, &id)["running"], true);
    // The job has a group of its own, and deaf ones are killed all the same.
    let deaf = session(&mut wire, "deaf", "trap '' HUP; while :; do sleep 1; done");
    wire.call("restart", &json!({ "id": deaf })).expect("it starts");
    wire.call("kill", &json!({ "id": deaf })).expect("it ends");
    assert_eq!(get(&mut wire, &deaf)["running"], false);
}

#[test]
fn colours_and_the_rest_of_the_environment_reach_the_command() {
    if !needs("colours_and_the_rest_of_the_environment_reach_the_command") {
        return;
    }
    let agent = Agent::start();
    session(&mut Wire::to(&agent), "env", "env | grep -c '^COLORTERM=truecolor'; exec cat");
    for (name, term) in [("unknown", "no-such-terminal"), ("dumb", "dumb")] {
        let root = &agent.files.root;
        let mut call = command(root, "env");
        call.arg(format!("TERM={term}")).arg(CONVOCATE);
        call.args(["attach", "env", "--root"]).arg(root.dir());
        let terminal = Terminal::start(root, name, (80, 20), &call);
        terminal.wait_for("detaches");
        terminal.wait_for("1");
        detach(&terminal);
        assert_eq!(terminal.exit_status(), 0, "{}", terminal.screen());
    }
}

/// The program's own words reach whoever pressed Enter, and stay to be asked for.
#[test]
fn a_session_leaves_its_last_words() {
    if !needs("a_session_leaves_its_last_words") {
        return;
    }
    let mut agent = Agent::start();
    let mut wire = Wire::to(&agent);
    let id = session(&mut wire, "missing", "no-such-program --now");
    let terminal = person(&agent, "first", &["missing"], (80, 24));
    terminal.wait_for("with status 127");
    terminal.wait_for("no-such-program: command not found");
    let told = agent.client(&["restart", "missing"]);
    assert_eq!(told.code(), 1, "{}", told.out());
    assert!(told.err().contains("no-such-program: command not found"), "{}", told.err());

    let words = "printf 'one\\n\\033[1mtwo\\033[m\\n'; sleep 0.3; exit 7";
    let slow = session(&mut wire, "slow", words);
    let told = agent.client(&["restart", "slow"]);
    assert_eq!(told.code(), 1, "{}", told.out());
    assert!(told.err().contains("it ended with status 7"), "{}", told.err());
    assert!(told.err().contains("\n  | one\n  | two"), "{}", told.err());
    let shown = agent.client(&["show", "slow"]).expect_done().out();
    assert!(shown.contains("it ended with status 7") && shown.contains("  | two"), "{shown}");

    // It is in the record, and not in listings.
    drop(terminal);
    agent.restart(&["--runtime", "host"]);
    let mut wire = Wire::to(&agent);
    let ended = &get(&mut wire, &slow)["ended"];
    assert_eq!((&ended["exit_code"], &ended["screen"]), (&json!(7), &json!("one\ntwo")));
    let list = wire.call("list", &json!(null)).expect("a list");
    assert!(!list.to_string().contains("one\\ntwo"), "{list}");
    assert!(list.to_string().contains("\"exit_code\":7"), "{list}");
    let terminal = person(&agent, "again", &[&id], (80, 24));
    terminal.wait_for("with status 127");
}

/// What people have in their tmux.conf, all that could end a session or keep it from its end.
const WISHES: &str = "\
set -g destroy-unattached on\nset -s exit-unattached on\nset -s exit-empty off\n\
set -g remain-on-exit on\nset -g detach-on-destroy off\nset-hook -g session-closed 'display x'\n\
set-hook -g after-new-session 'display y'\nnew-session -d -s mine\nset -g status-left 'WISH '\n";

#[test]
fn neither_a_users_tmux_conf_nor_another_name_changes_what_the_session_is() {
    let test = "neither_a_users_tmux_conf_nor_another_name_changes_what_the_session_is";
    if !needs(test) {
        return;
    }
    let mut agent = Agent::start();
    let id = shell(&agent, "wishes");
    fs::write(agent.files.root.paths().sessions().join(&id).join(".tmux.conf"), WISHES).unwrap();
    for (round, keys) in ["before", "after"].into_iter().enumerate() {
        let terminal = person(&agent, keys, &["wishes"], (80, 24));
        terminal.wait_for("WISH ");
        terminal.press("C-b");
        terminal.type_text("$");
        terminal.press("C-u");
        terminal.type_text(&format!("another {round}"));
        terminal.press("Enter");
        terminal.type_text(&format!("echo was na''med {round}"));
        terminal.press("Enter");
        terminal.wait_for(&format!("was named {round}"));
        detach(&terminal);
        assert_eq!(terminal.exit_status(), 0, "{}", terminal.screen());
        attached(&agent, &id, 0);
        drop(terminal);
        agent.restart(&["--runtime", "host"]);
        assert_eq!(get(&mut Wire::to(&agent), &id)["running"], true);
    }
    let terminal = person(&agent, "last", &["wishes"], (80, 24));
    terminal.wait_for("was named 1");
    agent.client(&["background", "wishes"]).expect_done();
    assert_eq!(terminal.exit_status(), 0, "{}", terminal.screen());
    let terminal = person(&agent, "end", &["wishes"], (80, 24));
    terminal.wait_for("was named 1");
    terminal.type_text("exit 7");
    terminal.press("Enter");
    terminal.wait_for("ended with status 7");
    wait_until(PATIENCE, "its end", || get(&mut Wire::to(&agent), &id)["running"] == false);
    // And a kill ends one that has another name.
    agent.client(&["restart", "wishes"]).expect_done();
    agent.client(&["kill", "wishes"]).expect_done();
    assert_eq!(get(&mut Wire::to(&agent), &id)["running"], false);
}

/// What stands on the terminal's last line.
fn last_line(terminal: &Terminal) -> String {
    terminal.screen().trim_end().lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_silent_agent_is_said_on_the_last_line_and_can_be_left() {
    if !needs("a_silent_agent_is_said_on_the_last_line_and_can_be_left") {
        return;
    }
    let agent = Agent::start();
    shell(&agent, "web");
    let person_at = |name| {
        let terminal = person(&agent, name, &["web"], (100, 30));
        terminal.wait_for("go>");
        terminal
    };
    let first = person_at("first");
    wait_until(PATIENCE, "the session's name", || last_line(&first).contains("web · 127.0.0.1"));
    assert_eq!(first.tells("#{pane_title}"), "web · 127.0.0.1");
    agent.process().signal(Signal::STOP);
    first.type_text("echo $((40+2))");
    first.press("Enter");
    wait_until(PATIENCE, "the notice", || last_line(&first).contains("15 keys not taken"));
    assert!(last_line(&first).contains("no answer from 127.0.0.1 for"), "{}", first.screen());
    agent.process().signal(Signal::CONT);
    first.wait_for("42");
    wait_until(PATIENCE, "the status line", || last_line(&first).contains("web · "));
    assert!(!first.screen().contains("no answer"), "{}", first.screen());

    first.press("Enter");
    first.type_text("~?");
    wait_until(PATIENCE, "help", || last_line(&first).contains("~. leaves"));
    first.type_text("~.");
    assert_eq!(first.exit_status(), 0);
    let second = person_at("second");
    agent.process().signal(Signal::STOP);
    second.press("Enter");
    second.type_text("~.");
    assert_eq!(second.exit_status(), 0);
    agent.process().signal(Signal::CONT);
    wait_until(PATIENCE, "the sentence", || second.history().contains("\"web\": detached"));
}
