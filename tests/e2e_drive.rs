//! Sessions that are driven without a terminal, on a running agent: `screen`, `send`, `exec` and
//! `wait`.

#![allow(clippy::panic, reason = "a harness has no other way to fail a test")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::Need;
use support::agent::{Agent, AgentFiles};
use support::hub::Hub;
use support::process::{CONVOCATE, Finished, Running, command, run};
use support::wait::{PATIENCE, poll, wait_until};

const SHELL: &str = "env PS1='$ ' sh";

fn start(test: &str) -> Option<Agent> {
    let needs = [Need::Program("ssh-keygen"), Need::Program("tmux"), Need::Program("timeout")];
    support::has(test, &needs).then(Agent::start)
}

/// A call of the client; its arguments may end with another command's.
fn call(agent: &Agent, arguments: &[&str]) -> Command {
    let mut call = command(&agent.files.root, CONVOCATE);
    call.args(arguments).env("CONVOCATE_ROOT", agent.files.root.dir());
    call
}

fn client(agent: &Agent, arguments: &[&str]) -> Finished {
    run(&mut call(agent, arguments), b"", PATIENCE)
}

/// Creates a session that runs, and gives its id.
#[track_caller]
fn session(agent: &Agent, name: &str, command: &str) -> String {
    let made = client(agent, &["new", name, "--command", command, "--json"]).expect_done();
    client(agent, &["start", name]).expect_done();
    json(&made)["uuid"].as_str().expect("a session has an id").to_owned()
}

#[track_caller]
fn json(finished: &Finished) -> Value {
    serde_json::from_slice(&finished.stdout).unwrap_or_else(|_| panic!("{finished:?}"))
}

#[track_caller]
fn shows(agent: &Agent, session: &str, text: &str) -> String {
    let mut last = String::new();
    let found = poll(PATIENCE, || {
        last = client(agent, &["screen", session]).expect_done().out();
        last.contains(text).then_some(())
    });
    assert!(found.is_some(), "{text:?} is not on the screen:\n{last}");
    last
}

#[track_caller]
fn fails(finished: &Finished, status: i32, words: &str) {
    assert_eq!(finished.code(), status, "{finished:?}");
    assert!(finished.err().contains(words), "{}", finished.err());
}

#[test]
fn a_screen_is_text() {
    let Some(agent) = start("a_screen_is_text") else { return };
    session(&agent, "web", SHELL);
    session(&agent, "db", "printf '\\033[31mred\\033[0m\\tend\\n'; exec cat");
    client(&agent, &["send", "web", "seq 100; echo $((40 + 2))"]).expect_done();
    let shown = shows(&agent, "web", "\n42\n");
    assert!(!shown.contains("\n50\n"), "{shown}");
    let long = client(&agent, &["screen", "web", "--lines", "90"]).expect_done().out();
    assert!(long.contains("\n50\n") && long.contains("\n42\n"), "{long}");
    assert!(shows(&agent, "db", "red").contains("red     end\n"));

    let both = client(&agent, &["screen", "web", "db"]).expect_done().out();
    let heads: Vec<_> = both.lines().filter(|line| line.ends_with(':')).collect();
    assert!(heads[0].starts_with("\"web\" ") && heads[1].starts_with("\"db\" "), "{both}");
    let half = client(&agent, &["screen", "web", "nobody", "--json"]);
    fails(&half, 1, "session \"nobody\" not found");
    let told = json(&half);
    assert_eq!((&told["name"], &told["running"]), (&json!("web"), &json!(true)));
    assert!(told["screen"].as_str().expect("text").contains("\n42\n"), "{told}");

    client(&agent, &["send", "web", "echo bye; exit 3"]).expect_done();
    client(&agent, &["wait", "web"]).expect_done();
    let last = client(&agent, &["screen", "web"]).expect_done();
    assert!(last.out().contains("\nbye\n"), "{}", last.out());
    assert!(last.err().contains("does not run: it ended with status 3"), "{}", last.err());
    let told = json(&client(&agent, &["screen", "web", "--json"]).expect_done());
    assert_eq!((&told["running"], &told["ended"]["exit_code"]), (&json!(false), &json!(3)));
    client(&agent, &["new", "fresh"]).expect_done();
    let never = client(&agent, &["screen", "fresh"]).expect_done();
    assert_eq!(never.out(), "");
    assert!(never.err().contains("session \"fresh\" does not run"), "{}", never.err());
}

#[test]
fn a_text_is_pasted_as_one() {
    let Some(agent) = start("a_text_is_pasted_as_one") else { return };
    let text: String = (0..2000).map(|number| format!("{number:>40}\t'\"$(id)é\n")).collect();
    assert!(text.len() > 100_000, "{}", text.len());
    let text = text.trim_end();
    // The brackets of the paste, and Enter.
    let bytes = text.len() + 2 * "\x1b[200~".len() + 1;
    let reader = format!(
        "stty raw -echo; printf '\\033[?2004hready'; head -c {bytes} >got; echo all; exec cat"
    );
    let id = session(&agent, "paste", &reader);
    shows(&agent, "paste", "ready");
    let root = agent.files.root.dir();
    let mut call = call(&agent, &["send", "paste", "--file", "-", "--json"]);
    let sent = run(&mut call, format!("{text}\n").as_bytes(), PATIENCE).expect_done();
    let told = json(&sent);
    assert_eq!((&told["taken"], &told["bytes"]), (&json!(true), &json!(text.len())));
    assert_eq!(told["keys"], json!(["Enter"]));
    shows(&agent, "paste", "all");
    let got = fs::read_to_string(agent.files.root.paths().sessions().join(id).join("got"));
    let expected = format!("\x1b[200~{}\x1b[201~\r", text.replace('\n', "\r"));
    assert!(got.expect("it was written") == expected, "it is not what was sent");

    let too_long = "x".repeat(120 * 1024 + 1);
    let file = root.join("long");
    fs::write(&file, too_long).expect("the root is ours");
    let file = file.to_str().expect("text");
    fails(&client(&agent, &["send", "paste", "--file", file]), 2, "more than 122880");
    fails(&client(&agent, &["send", "paste", "a\rb"]), 2, "carriage return (U+000D)");
}

#[test]
fn keys_are_pressed_and_copy_mode_does_not_take_them() {
    let Some(agent) = start("keys_are_pressed_and_copy_mode_does_not_take_them") else { return };
    let id = session(&agent, "keys", SHELL);
    shows(&agent, "keys", "$");
    client(&agent, &["send", "keys", "--no-enter", "--", "sleep 1000"]).expect_done();
    shows(&agent, "keys", "$ sleep 1000");
    let socket = format!("convocate-{id}");
    let copy = ["tmux", "-L", &socket, "copy-mode", "-t", "=claude:"];
    client(&agent, &[&["exec", "keys", "--"][..], &copy].concat()).expect_done();
    client(&agent, &["send", "keys", "--keys", "Enter C-c"]).expect_done();
    client(&agent, &["send", "keys", "echo a-$((1 + 1))"]).expect_done();
    shows(&agent, "keys", "\na-2\n");
    client(&agent, &["send", "keys", "exit 4", "--keys", "Space Enter"]).expect_done();
    let waited = client(&agent, &["wait", "keys", "--timeout", "20s"]).expect_done();
    assert!(waited.out().contains("session \"keys\""), "{}", waited.out());
    assert!(waited.out().contains("it ended with status 4"), "{}", waited.out());
    let refused = client(&agent, &["send", "keys", "x"]);
    fails(&refused, 1, "session \"keys\" does not run; start it first: convocate start");
    fails(&client(&agent, &["send", "keys", "--keys", "Retrun"]), 2, "\"Retrun\" is none of Enter");
}

#[test]
fn a_command_runs_beside_the_session() {
    let Some(agent) = start("a_command_runs_beside_the_session") else { return };
    let id = session(&agent, "box", SHELL);
    let exec = |words: &[&str]| client(&agent, &[&["exec", "box", "--"][..], words].concat());
    let script = "pwd; echo $HOME $COLORTERM; cat; printf 'a\\0\\377\\033[2J'; echo no >&2; exit 7";
    let done = exec(&["sh", "-c", script]);
    let home = agent.files.root.paths().sessions().join(&id);
    let home = home.to_str().expect("text");
    let expected = format!("{home}\n{home} truecolor\n");
    assert_eq!(done.stdout, [expected.as_bytes(), b"a\0\xff\x1b[2J"].concat(), "{done:?}");
    assert_eq!((done.code(), done.err().as_str()), (7, "no\n"));
    assert_eq!(exec(&["true"]).expect_done().stdout, b"");
    fails(&exec(&["no-such-command"]), 127, "no-such-command");
    assert_eq!(exec(&["sh", "-c", "kill -TERM $$"]).code(), 143);

    let much = exec(&["head", "-c", "3000000", "/dev/zero"]).expect_done();
    assert_eq!(much.stdout.len(), 1024 * 1024);
    assert!(
        much.err().contains("the standard output is cut after 1048576 bytes"),
        "{}",
        much.err()
    );
    let begun = Instant::now();
    // It leaves one behind that keeps its output.
    assert_eq!(exec(&["sh", "-c", "sleep 1000 & echo left"]).expect_done().out(), "left\n");
    let late = ["exec", "box", "--timeout", "1s", "--", "sh", "-c", "echo first; sleep 1000"];
    let late = client(&agent, &late);
    fails(&late, 124, "the command was ended after 1 s");
    assert_eq!(late.out(), "first\n");
    eprintln!("one left behind and one too late: {:?}", begun.elapsed());

    let told =
        json(&client(&agent, &["exec", "box", "--json", "--", "sh", "-c", "echo é; exit 3"]));
    assert_eq!((&told["exit_status"], &told["stdout"]), (&json!(3), &json!("é\n")));
    assert_eq!((&told["timed_out"], &told["stdout_cut"]), (&json!(false), &json!(false)));

    // Nobody waits behind a command, not even the session's end.
    let script = "touch begun; exec sleep 1000";
    let mut long = Running::start(&mut call(&agent, &["exec", "box", "--", "sh", "-c", script]));
    wait_until(PATIENCE, "the command to run", || Path::new(home).join("begun").exists());
    client(&agent, &["ls"]).expect_done();
    client(&agent, &["kill", "box"]).expect_done();
    assert!(long.is_alive());
    fails(&exec(&["true"]), 125, "session \"box\" does not run");
    fails(&client(&agent, &["exec", "nobody", "--", "true"]), 125, "not found");
}

#[test]
fn an_end_is_waited_for() {
    let Some(agent) = start("an_end_is_waited_for") else { return };
    for name in ["one", "two", "three"] {
        session(&agent, name, SHELL);
    }
    let late = client(&agent, &["wait", "one", "two", "--timeout", "1"]);
    fails(&late, 1, "not ended after 1 s: \"one\", \"two\"");
    let waiting = |words: &[&str]| Running::start(&mut call(&agent, words));
    let mut any = waiting(&["wait", "one", "two", "--any", "--json"]);
    let mut all = waiting(&["wait", "one", "two", "three", "--for", "ended", "--timeout", "1h"]);
    client(&agent, &["send", "two", "exit 9"]).expect_done();
    let first = any.finish(PATIENCE).expect_done();
    let told = json(&first);
    assert_eq!((&told["name"], &told["exit_status"]), (&json!("two"), &json!(9)));
    assert_eq!((&told["cause"], &told["deleted"]), (&json!("exit"), &json!(false)));
    client(&agent, &["kill", "one"]).expect_done();
    assert!(all.is_alive());
    client(&agent, &["rm", "three"]).expect_done();
    let done = all.finish(PATIENCE).expect_done();
    assert_eq!(done.out().lines().count(), 3, "{}", done.out());
    assert!(done.out().contains("\"one\""), "{}", done.out());
    client(&agent, &["wait", "one", "two"]).expect_done();
    fails(&client(&agent, &["wait", "one", "nobody"]), 1, "not found");
}

#[test]
fn a_wait_outlives_its_agent() {
    let Some(mut agent) = start("a_wait_outlives_its_agent") else { return };
    session(&agent, "one", SHELL);
    client(&agent, &["new", "never"]).expect_done();
    let mut waiting = Running::start(&mut call(&agent, &["wait", "one", "never"]));
    wait_until(PATIENCE, "the first answer", || waiting.stdout.text().contains("\"never\""));
    agent.restart(&["--runtime", "host"]);
    wait_until(PATIENCE, "the loss to be told", || {
        waiting.stderr.text().contains("waiting to reconnect") || !waiting.is_alive()
    });
    assert!(waiting.is_alive(), "{}", waiting.stderr.text());
    client(&agent, &["send", "one", "exit 2"]).expect_done();
    let done = waiting.finish(Duration::from_secs(60)).expect_done();
    assert!(done.out().contains("it ended with status 2"), "{}", done.out());
}

#[test]
fn what_has_happened_is_told_as_far_as_it_is_known() {
    let test = "what_has_happened_is_told_as_far_as_it_is_known";
    if !support::has(test, &[Need::Program("ssh-keygen"), Need::Program("tmux")]) {
        return;
    }
    let files = AgentFiles::write();
    let hub = Hub::start(&files);
    let agent = Agent::start_with(files, &["--runtime", "host"]);
    session(&agent, "one", SHELL);
    session(&agent, "other", SHELL);
    client(&agent, &["send", "one", "echo bye; exit 5"]).expect_done();
    client(&agent, &["wait", "one"]).expect_done();
    let mut told = Value::Null;
    let all = poll(PATIENCE, || {
        told = json(&client(&agent, &["logs", "one", "--json"]).expect_done());
        let last = told["events"].as_array()?.last()?;
        (last["type"] == "container.stopped").then_some(())
    });
    assert!(all.is_some(), "{told}");
    let kinds = told["events"].as_array().expect("a list").iter();
    let kinds: Vec<_> = kinds.map(|event| event["type"].as_str().expect("text")).collect();
    assert_eq!(kinds, ["container.created", "container.started", "container.stopped"]);
    assert_eq!(told["ended"]["exit_code"], 5);
    let logs = client(&agent, &["logs", "one", "--lines", "1"]).expect_done().out();
    assert!(logs.contains("container.stopped") && !logs.contains("started"), "{logs}");
    assert!(logs.contains("it ended with status 5") && logs.contains("| bye"), "{logs}");
    drop(hub);
    let logs = client(&agent, &["logs", "one"]).expect_done();
    assert!(logs.err().contains("no status hub runs on this host"), "{}", logs.err());
    assert!(logs.out().contains("it ended with status 5"), "{}", logs.out());
}

/// The script of the README, as it stands there.
fn readme_script() -> String {
    let readme = include_str!("../README.md");
    let begin = readme.find("    #!/bin/sh\n").expect("it has a script");
    let lines = readme[begin..].lines().take_while(|line| line.is_empty() || line.starts_with(' '));
    lines.map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect()
}

#[test]
fn the_script_of_the_readme_drives_three_sessions_to_a_result() {
    let test = "the_script_of_the_readme_drives_three_sessions_to_a_result";
    let Some(agent) = start(test) else { return };
    let script = readme_script();
    assert!((20..40).contains(&script.trim_end().lines().count()), "{script}");
    let programs = Path::new(CONVOCATE).parent().expect("it has one");
    let path = std::env::var("PATH").expect("there is one");
    let mut call = command(&agent.files.root, "sh");
    call.args(["-c", &script]).env("PATH", format!("{}:{path}", programs.display()));
    call.env("CONVOCATE_ROOT", agent.files.root.dir());
    let done = run(&mut call, b"", Duration::from_secs(120)).expect_done();
    for line in ["2 squared is 4", "3 squared is 9", "5 squared is 25"] {
        assert!(done.out().contains(line), "{}{}", done.out(), done.err());
    }
    let listed = json(&client(&agent, &["ls", "--json"]).expect_done());
    assert_eq!(listed["sessions"], json!([]));
}

#[test]
fn what_a_person_stumbles_over_is_said() {
    let test = "what_a_person_stumbles_over_is_said";
    if !support::has(test, &[Need::Program("ssh-keygen"), Need::Program("tmux")]) {
        return;
    }
    let files = AgentFiles::write();
    let hub = Hub::start(&files);
    let mut agent = Agent::start_with(files, &["--runtime", "host"]);
    let ask = |agent: &Agent, words: &[&str], status: i32, sentence: &str| {
        let told = client(agent, words);
        assert_eq!(told.code(), status, "{words:?}: {told:?}");
        let text = format!("{}{}", told.out(), told.err());
        assert!(text.contains(sentence), "{words:?}: {text}");
    };
    let first = client(&agent, &["new", "web", "--command", "sh", "--json"]).expect_done();
    let id = json(&first)["uuid"].as_str().expect("an id").to_owned();
    ask(
        &agent,
        &["exec", "web", "ls", "-la"],
        2,
        "write -- between SESSION and COMMAND: exec web --",
    );
    ask(&agent, &["new", "a", "--publish", "all"], 1, "publish all is for a port");
    ask(&agent, &["kill", "web"], 0, "nothing ran in: session \"web\"");
    ask(&agent, &["start", "web"], 0, "started");
    ask(&agent, &["edit", "web", "--ssh-key", "none"], 0, "its old git key has ended already");
    ask(&agent, &["edit", "web", "--pids", "99"], 0, "keeps its old settings until");
    ask(&agent, &["edit", "web", "--name", "site"], 0, "this holds already");
    ask(&agent, &["wait", "site", "--timeout", "1s"], 1, "not ended after 1 s: \"site\"");
    ask(
        &agent,
        &["new", "site", "--command", "sh"],
        0,
        &format!("session {id} is called \"site\", too"),
    );
    ask(&agent, &["new", "two words", "--command", "sh"], 0, "created");

    let told = json(&client(&agent, &["agents", "--json"]).expect_done());
    let room = &told["agents"][0]["capacity"];
    let number = |name: &str| room[name].as_u64().expect("a number");
    assert!((1..number("memory")).contains(&number("memory_left")), "{room}");
    assert!(number("default_memory") > 0 && number("disk") > number("disk_left"), "{room}");
    let table = client(&agent, &["agents"]).expect_done().out();
    assert!(table.starts_with("HOST") && table.contains("MEMORY"), "{table}");

    // What a shell completes.
    wait_until(PATIENCE, "the names that the hub knows", || {
        let names = client(&agent, &["names", "sessions"]).expect_done().out();
        assert!(!names.contains(' '), "{names}");
        names.lines().filter(|name| *name == "site").count() == 2 && names.lines().count() == 3
    });
    let path = Path::new(CONVOCATE).parent().expect("a directory").to_str().expect("text");
    let line = format!(
        "export PATH=$PATH:{path} CONVOCATE_ROOT={}; source <(convocate completions bash)
         for words in 'attach si' 'ls --agent 127'; do
             COMP_WORDS=(convocate $words); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _convocate
             echo \"${{COMPREPLY[*]}}\"
         done",
        agent.files.root.dir().display()
    );
    let mut shell = command(&agent.files.root, "bash");
    let told = run(shell.args(["-c", &line]), b"", PATIENCE).expect_done().out();
    assert_eq!(told, "site site\n127.0.0.1\n");

    // An agent that is away, of which the hub knows.
    agent.kill();
    for verb in ["show", "logs", "wait"] {
        let text = "session \"two words\" is on 127.0.0.1, which is not reachable";
        ask(&agent, &[verb, "two words"], 1, text);
    }
    ask(&agent, &["show", "nobody"], 1, "\"nobody\" not found");
    drop(hub);
}
