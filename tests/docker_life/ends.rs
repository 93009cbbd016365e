//! A command's own exit status, and programs that come and go on the host.

use std::fs;

use crate::house::{House, container};
use crate::support::wait::{PATIENCE, poll, wait_until};

#[test]
fn a_command_that_exits_with_143_has_ended_and_stays_so() {
    let test = "a_command_that_exits_with_143_has_ended_and_stays_so";
    let Some(house) = House::open(test) else { return };
    let id = house.create("ends", &[]);
    house.done(&["restart", &id]);
    wait_until(PATIENCE, "the container's tmux", || {
        house.inside(&id, "tmux send-keys 'exit 143' Enter").code() == 0
    });
    house.wait_for_state(&id, "-");
    house.wait_for_log("\"exit_code\":143");
    // Nor does the engine start it again.
    let format = ["inspect", "-f", "{{.State.Status}}", &container(&id)];
    let status = || house.docker(&format).out().trim().to_owned();
    assert!(poll(PATIENCE, || (status() == "exited").then_some(())).is_some(), "{}", status());
    assert_eq!((status().as_str(), house.state(&id).as_str()), ("exited", "-"));
}

#[test]
fn a_program_that_comes_later_is_there_at_the_next_start() {
    let test = "a_program_that_comes_later_is_there_at_the_next_start";
    let Some(house) = House::open(test) else { return };
    let id = house.create("late", &[]);
    house.done(&["restart", &id]);
    assert_ne!(house.inside(&id, "test -e /usr/local/bin/claude").code(), 0);
    house.done(&["kill", &id]);
    let bin = house.agent.files.root.dir().join("usr/local/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("claude"), "#!/bin/sh\n").unwrap();
    house.done(&["restart", &id]);
    house.inside(&id, "test -e /usr/local/bin/claude").expect_done();
    // And one that has gone stops no start.
    house.done(&["kill", &id]);
    fs::remove_file(bin.join("claude")).unwrap();
    house.done(&["restart", &id]);
}
