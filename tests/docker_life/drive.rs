//! Sessions in containers that are driven without a terminal.

use serde_json::Value;

use crate::house::{House, json};
use crate::support::process::{CONVOCATE, Finished, command, run};
use crate::support::wait::{PATIENCE, poll};
use std::time::Instant;

#[track_caller]
fn shows(house: &House, session: &str, text: &str) {
    let mut last = String::new();
    let found = poll(PATIENCE, || {
        last = house.done(&["screen", session]).out();
        last.contains(text).then_some(())
    });
    assert!(found.is_some(), "{text:?} is not on the screen:\n{last}");
}

#[test]
fn a_container_is_driven_without_a_terminal() {
    let test = "a_container_is_driven_without_a_terminal";
    let Some(house) = House::open(test) else { return };
    let id = house.create("box", &[]);
    let refused = house.call(&["send", "box", "x"]);
    assert_eq!(refused.code(), 1);
    assert!(refused.err().contains("does not run; start it first"), "{}", refused.err());
    house.done(&["start", "box"]);
    // Its tmux may not be there yet.
    house.done(&["send", "box", "echo $((40 + 2)) >answer; cat answer"]);
    shows(&house, "box", "\n42\n");

    let file = house.agent.files.root.dir().join("text");
    let text: String = (0..2500).map(|number| format!("{number:>40}\n")).collect();
    assert!(text.len() > 100_000, "{}", text.len());
    std::fs::write(&file, &text).expect("the root is ours");
    house.done(&["send", "box", "clear; cat >got"]);
    house.done(&["send", "box", "--file", file.to_str().expect("text")]);
    house.done(&["send", "box", "--keys", "C-d"]);
    house.done(&["send", "box", "wc -c <got"]);
    shows(&house, "box", &text.len().to_string());
    assert!(std::fs::read_to_string(house.home(&id).join("got")).expect("it is there") == text);

    // The root is not behind the command's words.
    let exec = |words: &[&str]| {
        let mut call = command(&house.agent.files.root, CONVOCATE);
        call.args(["exec", "box", "--"]).args(words);
        run(call.env("CONVOCATE_ROOT", house.agent.files.root.dir()), b"", PATIENCE)
    };
    let script = "pwd; id -un; echo $HOME $COLORTERM; cat; printf 'a\\0\\377'; echo no >&2; exit 7";
    let Finished { stdout, stderr, status } = exec(&["sh", "-c", script]);
    let expected = b"/home/claude\nclaude\n/home/claude truecolor\na\0\xff";
    assert_eq!((&stdout[..], &stderr[..]), (&expected[..], &b"no\n"[..]));
    assert_eq!(status.code(), Some(7));
    assert_eq!(exec(&["cat", "answer"]).expect_done().out(), "42\n");
    assert_eq!(exec(&["no-such-command"]).code(), 127);
    let much = exec(&["head", "-c", "3000000", "/dev/zero"]).expect_done();
    assert_eq!(much.stdout.len(), 1024 * 1024);
    assert!(much.err().contains("is cut after 1048576 bytes"), "{}", much.err());
    let begun = Instant::now();
    assert_eq!(exec(&["sh", "-c", "sleep 1000 & echo left"]).expect_done().out(), "left\n");
    eprintln!("with one left behind: {:?}", begun.elapsed());
    let late = house.call(&["exec", "box", "sleep", "1000", "--timeout", "1s"]);
    assert_eq!(late.code(), 124, "{late:?}");

    house.done(&["send", "box", "echo bye; exit 3"]);
    let waited: Value = json(&house.done(&["wait", "box", "--timeout", "60s", "--json"]).out());
    assert_eq!((&waited["exit_status"], &waited["cause"]), (&Value::from(3), &"exit".into()));
    let last = house.done(&["screen", "box"]);
    assert!(last.out().contains("\nbye\n"), "{}", last.out());
    let refused = exec(&["true"]);
    assert_eq!(refused.code(), 125, "{refused:?}");
}
