//! A terminal that knows no sequences is sent none of ours.

use crate::house::can;
use crate::support::agent::Agent;
use crate::support::emulator::Emulator;
use crate::support::process::{CONVOCATE, command};

#[test]
fn a_dumb_terminal_is_sent_no_sequence_of_ours() {
    if !can("a_dumb_terminal_is_sent_no_sequence_of_ours") {
        return;
    }
    let agent = Agent::start();
    let root = &agent.files.root;
    agent.client(&["new", "web", "--command", "env PS1='go> ' sh"]).expect_done();
    let call = |words: &[&str]| {
        let mut call = command(root, CONVOCATE);
        call.env("TERM", "dumb").args(words).arg("--root").arg(root.dir());
        call
    };
    let mut emulator = Emulator::start((80, 24), &call(&["attach", "web"]));
    emulator.until_text("go>");
    emulator.types(b"printf '\\033]2;theirs\\007'; echo sum=$((6*7))\r");
    emulator.until_text("sum=42");
    emulator.detaches();
    emulator.until_end();
    let written = String::from_utf8_lossy(&emulator.written).into_owned();
    assert!(!written.contains("\x1b]0;") && !written.contains("\x1b]2;"), "{written:?}");
    // The session's tmux draws as it does; what is ours is the title's stack, and the question.
    assert!(!written.contains("\x1b[22;0;0t") && !written.contains("\x1b[23;0;0t"), "{written:?}");
    assert_eq!((emulator.screen.questions, emulator.screen.forbidden.len()), (0, 0), "{written:?}");
    let (_, farewell) = written.rsplit_once("session \"web\": detached").expect("a sentence");
    assert!(farewell.contains("come back with: ") && !farewell.contains('\x1b'), "{written:?}");

    let mut screen = Emulator::start((80, 24), &call(&["screen"]));
    screen.until_end();
    let written = String::from_utf8_lossy(&screen.written).into_owned();
    assert!(written.contains("cannot show a screen (TERM is \"dumb\")"), "{written:?}");
    assert!(!written.contains('\x1b'), "{written:?}");
}
