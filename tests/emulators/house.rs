//! An agent whose session writes into the operator's terminal past its own tmux, and a terminal in
//! front of which somebody attaches to it.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::agent::Agent;
use crate::support::emulator::Emulator;
use crate::support::process::{CONVOCATE, command};
use crate::support::root::Root;
use crate::support::wait::{PATIENCE, wait_for};
use crate::support::{self, Need};

/// Stands on the screen when a session has written all.
pub const WRITTEN: &str = "all-is-written";

/// What sets every mode and value that a terminal has, on both of its screens, and stops amidst a
/// command. Much of it the filter drops.
pub const EVERYTHING: &[&str] = &[
    // On the main screen: kitty's keyboard, as often as a stack holds.
    "\x1b[?1049l\x1b[>1u\x1b[>31u\x1b[=5;1u\x1b[?1049h",
    "\x1b[>1u\x1b[>3u\x1b[>7u\x1b[=31;1u\x1b[>4;2m\x1b[>1;1m",
    "\x1b(0\x1b)0\x1b*0\x1b+0\x0e\x1bn",
    "\x1b[?7l\x1b[?5h\x1b[?6h\x1b[4h\x1b[20h\x1b[?3h\x1b[?8l\x1b[12l",
    "\x1b]4;1;#123456\x07\x1b]4;200;red\x1b\\\x1b]10;#111111\x07\x1b]11;#eeeeee\x07\x1b]12;red\x07",
    "\x1b]13;red\x07\x1b]17;blue\x07\x1b]19;blue\x07\x1b]708;red\x07",
    "\x1b[6 q\x1b[?12h\x1b[?25l",
    "\x1b[5;10r\x1b[?69h\x1b[5;40s",
    "\x1b[3g\x1b[1;5H\x1bH",
    "\x1b[?9h\x1b[?1000h\x1b[?1001h\x1b[?1002h\x1b[?1003h",
    "\x1b[?1005h\x1b[?1006h\x1b[?1015h\x1b[?1016h",
    "\x1b[?1004h\x1b[?2004h\x1b[?2031h\x1b[?2048h\x1b[?1034l\x1b[?1007h\x1b[?1070h",
    "\x1b[?1h\x1b=\x1b[?66h\x1b[?67h\x1b[?45h\x1b[?40h",
    "\x1b[21t\x1b[22;0;0t\x1b]0;evil\x07\x1b]1;evil\x07\x1b]2;evil\x07\x1b]l;evil\x07",
    "\x1b]7;file://evil/\x07\x1b]8;;http://evil.example/\x07\x1b[1;3;4;31;42m\x1b[1\"q",
    "\x1b[c\x1b[5n\x1b]11;?\x07\x1bP$qm\x1b\\\x1b[?1049$p\x1b[>q\x1b]52;c;?\x07",
    // The cursor is saved in the midst of all that.
    "\x1b7\x1b[?1048h\x1b[?2026h",
];

/// Writes it to the terminal of whoever attaches.
const HOSTILE: &str = r#"
    until tty=$(tmux list-clients -F '#{client_tty}') && [ -n "$tty" ]; do sleep 0.05; done
    sleep 0.3
    cat bytes >"$tty"
    touch wrote
    exec sleep 1000"#;

/// Looks at the terminal before and after, and reads a line of what was typed.
pub const WATCHED: &str = r#"
    printf '\033]2;mine\007above the screen\n'
    stty -g >before
    sh -c 'echo $$ >pid; exec "$@"' program "$@"
    status=$?
    stty -g >after
    echo "back with $status"
    IFS= read -r line
    echo "read:$line."
    IFS= read -r line
    exit $status"#;

#[must_use]
pub fn can(test: &str) -> bool {
    support::has(test, &[Need::Program("ssh-keygen"), Need::Program("tmux")])
}

/// An agent with a session `web` that writes `bytes` to whoever attaches.
pub fn hostile(bytes: &str) -> Agent {
    let agent = Agent::start();
    let dir = agent.files.root.dir();
    fs::write(dir.join("bytes"), bytes).expect("the root is ours");
    fs::write(dir.join("hostile"), HOSTILE).expect("the root is ours");
    let shell = format!("cd {} && sh hostile", dir.display());
    agent.client(&["new", "web", "--command", &shell]).expect_done();
    agent
}

/// An agent with a session `web` that has set everything.
pub fn everything() -> Agent {
    hostile(&format!("{}{WRITTEN}\x1b]2;cut", EVERYTHING.concat()))
}

/// A call of the client in a shell that looks at the terminal.
pub fn watched(root: &Root, words: &[&str]) -> Command {
    let mut shell = command(root, "sh");
    shell.args(["-c", WATCHED, "watched", CONVOCATE]).args(words).arg("--root").arg(root.dir());
    shell
}

/// Somebody in front of an emulator.
pub fn person(root: &Root, words: &[&str]) -> Emulator {
    Emulator::start((100, 30), &watched(root, words))
}

/// Sends the client a signal.
pub fn signal(root: &Root, signal: Signal) {
    let pid = wait_for(PATIENCE, "the program's id", || {
        fs::read_to_string(root.dir().join("pid")).ok()?.trim().parse().ok()
    });
    kill_process(Pid::from_raw(pid).expect("a process id"), signal).expect("it runs");
}

/// The settings of the terminal are as they were.
#[track_caller]
pub fn settings_are_back(root: &Root) {
    let settings = |name: &str| fs::read_to_string(root.dir().join(name)).expect("stty wrote it");
    assert_eq!(settings("before"), settings("after"));
}
