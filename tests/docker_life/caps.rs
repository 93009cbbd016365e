//! What a session may use, and what happens when it wants more.

use crate::house::{House, container};
use crate::support::wait::{PATIENCE, poll};

#[test]
fn memory_beyond_the_cap_ends_the_hog_and_nobody_else() {
    let test = "memory_beyond_the_cap_ends_the_hog_and_nobody_else";
    let Some(house) = House::open(test) else { return };
    let hog = house.create("hog", &["--memory", "64m"]);
    let other = house.create("other", &["--memory", "64m"]);
    house.done(&["restart", "other"]);
    let terminal = house.attach(&hog, "hog", &[]);
    terminal.type_text(
        "head -c 200m /dev/zero | tail -c 200m | cat >/dev/null;  echo st''atus ${PIPESTATUS[1]}",
    );
    terminal.press("Enter");
    let limits = ["inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}"];
    let limits = house.docker(&[&limits[..], &[&container(&hog)]].concat()).expect_done().out();
    assert_eq!(limits.trim(), "67108864 67108864");
    // The kernel takes the greatest: the hog, or with it the session; then that is told.
    let ended = poll(PATIENCE, || {
        let told = house.agent.log().contains("container.stopped");
        (told || terminal.screen().contains("status 137")).then_some(())
    });
    assert!(ended.is_some(), "{}", terminal.screen());
    assert_eq!(house.state(&other), "R");
}

#[test]
fn a_fork_bomb_stops_at_its_cap() {
    let Some(house) = House::open("a_fork_bomb_stops_at_its_cap") else { return };
    let id = house.create("bomb", &["--pids", "40"]);
    let terminal = house.attach(&id, "bomb", &[]);
    terminal.type_text("for i in $(seq 200); do sleep 600 & done");
    terminal.press("Enter");
    terminal.wait_for("Resource temporarily unavailable");
    // All of the cap is in use, and the session can be ended all the same.
    house.done(&["kill", "bomb"]);
    assert_eq!(house.state(&id), "-");
}

#[test]
fn what_is_too_much_for_the_host_is_refused_in_one_sentence() {
    let test = "what_is_too_much_for_the_host_is_refused_in_one_sentence";
    let Some(house) = House::open(test) else { return };
    let id = house.create("giant", &["--memory", "900g"]);
    let refused = house.call(&["restart", "giant"]);
    assert_eq!(refused.code(), 1);
    let (text, lines) = (refused.err(), refused.err().lines().count());
    assert!(text.contains("no capacity: memory: ") && text.contains("900.0 GiB"), "{text}");
    assert_eq!(lines, 1, "{text}");
    assert_eq!(house.state(&id), "-");
    assert!(house.containers().is_empty());
}
