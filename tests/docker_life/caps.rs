//! What a session may use, and what happens when it wants more.

use convocate::io::cgroup::Cgroups;
use convocate::paths::Paths;

use crate::house::{House, container};
use crate::support::agent::AgentFiles;
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
    let reserve = |files: &AgentFiles| {
        let conf = files.root.paths().agent_id().with_file_name("agent.conf");
        std::fs::write(conf, "memory-reservation 900g\n").expect("a file");
    };
    let Some((house, ())) = House::open_on(test, reserve) else { return };
    let id = house.create("giant", &["--memory", "900g"]);
    let refused = house.call(&["restart", "giant"]);
    assert_eq!(refused.code(), 1);
    let (text, lines) = (refused.err(), refused.err().lines().count());
    assert!(text.contains("no capacity: memory: ") && text.contains("900.0 GiB"), "{text}");
    assert_eq!(lines, 1, "{text}");
    assert_eq!(house.state(&id), "-");
    assert!(house.containers().is_empty());
}

#[test]
fn what_a_session_uses_is_read_from_its_control_group() {
    let test = "what_a_session_uses_is_read_from_its_control_group";
    let Some(house) = House::open(test) else { return };
    let session = house.create("busy", &[]);
    house.done(&["restart", &session]);
    let format = ["inspect", "--format", "{{.Id}}", &container(&session)];
    let id = house.docker(&format).expect_done().out();
    let cgroups = Cgroups::new(Paths::default().control_groups(), None);
    let usage = || cgroups.usage(id.trim()).expect("the container's group");
    let before = usage();
    let hold = "dd if=/dev/zero of=/dev/shm/held bs=1M count=32 && i=0 && \
                while [ $i -lt 300000 ]; do i=$((i+1)); done";
    house.inside(&session, hold).expect_done();
    let after = usage();
    assert!(after.cpu > before.cpu, "{before:?} {after:?}");
    // What the session has used for its start may have been given back meanwhile.
    assert!(after.memory >= before.memory + (31 << 20), "{before:?} {after:?}");
    house.done(&["kill", &session]);
    assert_eq!(cgroups.usage(id.trim()), None);
}
