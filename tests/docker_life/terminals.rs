//! Terminals that are lost, come back, or only look.

use crate::house::{House, wait_for_clients};
use crate::support::process::{CONVOCATE, Running, command};
use crate::support::wait::{PATIENCE, wait_until};
use rustix::process::Signal;

#[test]
fn a_terminal_comes_back_after_the_agent_was_killed() {
    let test = "a_terminal_comes_back_after_the_agent_was_killed";
    let Some(mut house) = House::open(test) else { return };
    let id = house.create("kept", &[]);
    // A person's terminal, not borrowed from the house that is to change.
    let mut call = command(&house.agent.files.root, "script");
    let attach =
        format!("{CONVOCATE} attach kept --root {}", house.agent.files.root.dir().display());
    let mut person = Running::start(call.args(["-qfc", &attach, "/dev/null"]));
    let mut keys = person.stdin().expect("it is piped");
    wait_until(PATIENCE, "the terminal", || person.stdout.text().contains("detaches"));
    std::io::Write::write_all(&mut keys, b"echo be''fore\r").unwrap();
    wait_until(PATIENCE, "an echo", || person.stdout.text().contains("before"));
    house.restart_agent();
    // What the dead agent left on the session is detached; the terminal is there again, once.
    wait_until(PATIENCE, "the terminal again", || {
        let shown = person.stdout.text();
        shown.split_once("reconnecting").is_some_and(|(_, again)| again.contains("detaches"))
    });
    std::io::Write::write_all(&mut keys, b"echo af''ter\r").unwrap();
    wait_until(PATIENCE, "an echo again", || person.stdout.text().contains("after"));
    wait_for_clients(&house, &id, 1);
    std::io::Write::write_all(&mut keys, b"\x02d").unwrap();
    wait_until(PATIENCE, "the end", || !person.is_alive());
    wait_for_clients(&house, &id, 0);
}

#[test]
fn a_lost_terminal_leaves_nothing_in_the_container() {
    let test = "a_lost_terminal_leaves_nothing_in_the_container";
    let Some(house) = House::open(test) else { return };
    let id = house.create("lost", &[]);
    let first = house.attach(&id, "first", &[]);
    let second = house.attach(&id, "second", &[]);
    first.type_text("yes");
    first.press("Enter");
    first.wait_for("y\ny\ny");
    wait_for_clients(&house, &id, 2);
    // The terminal's server goes with its program; `yes` fills what is not read.
    drop(second);
    wait_for_clients(&house, &id, 1);
    wait_until(PATIENCE, "one terminal", || house.show(&id)["attached_count"] == 1);
    first.press("C-c");
    drop(first);
    wait_for_clients(&house, &id, 0);
    house.wait_for_state(&id, "R");
    let left = house.inside(&id, "ps -eo args | grep -c '[a]ttach-session'");
    assert_eq!(left.out().trim(), "0");
}

#[test]
fn output_is_complete_when_the_command_ends() {
    let Some(house) = House::open("output_is_complete_when_the_command_ends") else { return };
    for round in 0..3 {
        let name = format!("tail-{round}");
        let id = house.create(&name, &[]);
        let mut call = command(&house.agent.files.root, "script");
        let root = house.agent.files.root.dir().display();
        let attach = format!("{CONVOCATE} attach {name} --root {root}");
        let mut person = Running::start(call.args(["-qfc", &attach, "/dev/null"]));
        let mut keys = person.stdin().expect("it is piped");
        wait_until(PATIENCE, "the terminal", || person.stdout.text().contains("detaches"));
        let script = b"clear; seq 1 100000; printf 'last-%s' word; exit\r";
        std::io::Write::write_all(&mut keys, script).unwrap();
        wait_until(PATIENCE, "the end", || !person.is_alive());
        let shown = person.stdout.text();
        assert!(shown.contains("last-word"), "{round}: {:?}", shown.lines().last());
        assert!(shown.contains("the session has ended"), "{round}: {:?}", shown.lines().last());
        house.wait_for_state(&id, "-");
    }
}

#[test]
fn read_only_types_nothing() {
    let Some(house) = House::open("read_only_types_nothing") else { return };
    let id = house.create("seen", &[]);
    let writer = house.attach(&id, "writer", &[]);
    let reader = house.attach(&id, "reader", &["--read-only"]);
    reader.type_text("touch typed");
    reader.press("Enter");
    writer.type_text("echo sh''own");
    writer.press("Enter");
    reader.wait_for("shown");
    assert!(!house.home(&id).join("typed").exists());
    assert!(!writer.screen().contains("touch"), "{}", writer.screen());
}

#[test]
fn a_long_paste_arrives_whole() {
    let Some(house) = House::open("a_long_paste_arrives_whole") else { return };
    let id = house.create("paste", &[]);
    let mut call = command(&house.agent.files.root, "script");
    let attach =
        format!("{CONVOCATE} attach paste --root {}", house.agent.files.root.dir().display());
    let mut person = Running::start(call.args(["-qfc", &attach, "/dev/null"]));
    let mut keys = person.stdin().expect("it is piped");
    wait_until(PATIENCE, "the terminal", || person.stdout.text().contains("detaches"));
    // Nothing echoes, so nothing but the keys themselves moves them on.
    let script = b"stty raw -echo; echo rea''dy; head -c 400000 >pasted; stty sane; echo do''ne\r";
    std::io::Write::write_all(&mut keys, script).unwrap();
    wait_until(PATIENCE, "the reader", || person.stdout.text().contains("ready"));
    std::io::Write::write_all(&mut keys, &b"0123456789".repeat(40_000)).unwrap();
    wait_until(PATIENCE, "the end of the paste", || person.stdout.text().contains("done"));
    assert_eq!(
        std::fs::read(house.home(&id).join("pasted")).unwrap(),
        b"0123456789".repeat(40_000)
    );
    person.signal(Signal::TERM);
}
