//! Issue by issue through all operations.

use crate::house::{House, container, timed};
use crate::support::wait::{PATIENCE, poll, wait_until};
use std::time::Duration;

#[test]
fn a_session_lives_from_new_to_rm() {
    let Some(house) = House::open("a_session_lives_from_new_to_rm") else { return };
    let one = house.create("one", &[]);
    assert_eq!(house.state(&one), "-");
    assert!(house.containers().is_empty());

    let terminal = house.attach(&one, "one", &[]);
    house.wait_for_state(&one, "C");
    terminal.type_text("echo $((40 + 2)) >answer; cat answer");
    terminal.press("Enter");
    terminal.wait_for("42");
    terminal.press("C-b");
    terminal.press("d");
    assert_eq!(terminal.exit_status(), 0);
    assert!(terminal.history().contains("\"one\": detached;"), "{}", terminal.history());
    assert!(!terminal.history().contains("[detached"), "{}", terminal.history());
    house.wait_for_state(&one, "R");

    house.done(&["clone", "one", "two"]);
    assert_eq!(house.state("two"), "-");
    let two = house.show("two")["uuid"].as_str().unwrap().to_owned();
    assert_eq!(std::fs::read_to_string(house.home(&two).join("answer")).unwrap(), "42\n");

    house.done(&["edit", "one", "--pids", "77"]);
    assert_eq!(pids_limit(&house, &one), "1024");
    let refused = house.call(&["start", "one"]);
    assert_eq!(refused.code(), 1);
    assert!(refused.err().contains("one"), "{}", refused.err());

    house.done(&["kill", "one"]);
    assert_eq!(house.state(&one), "-");
    house.done(&["restart", "one"]);
    assert_eq!(house.state(&one), "R");
    assert_eq!(pids_limit(&house, &one), "77");

    house.done(&["rm", "one"]);
    assert!(!house.home(&one).exists());
    assert!(house.containers().is_empty(), "{:?}", house.containers());
    assert_eq!(house.call(&["show", &one]).code(), 1);
    house.done(&["override", "two"]);
    assert_eq!(house.state("two"), "-");
}

fn pids_limit(house: &House, session: &str) -> String {
    let limit = ["inspect", "-f", "{{.HostConfig.PidsLimit}}", &container(session)];
    house.docker(&limit).expect_done().out().trim().to_owned()
}

#[test]
fn background_detaches_three_terminals() {
    let Some(house) = House::open("background_detaches_three_terminals") else { return };
    let id = house.create("many", &[]);
    let terminals = ["a", "b", "c"].map(|name| house.attach(&id, name, &[]));
    assert_eq!(house.show(&id)["attached_count"], 3);
    house.done(&["background", "many"]);
    for terminal in &terminals {
        assert_eq!(terminal.exit_status(), 0, "{}", terminal.screen());
    }
    house.wait_for_state(&id, "R");
    assert_eq!(house.clients(&id), 0);
    // And once more, with nobody there.
    house.done(&["background", "many"]);
}

#[test]
fn a_stop_takes_no_longer_than_the_command_does() {
    let Some(house) = House::open("a_stop_takes_no_longer_than_the_command_does") else { return };
    let id = house.create("quick", &[]);
    let terminal = house.attach(&id, "quick", &[]);
    terminal.wait_for("bash-");
    let (_, took) = timed(|| house.done(&["kill", "quick"]));
    // The grace of a command that does not end is three seconds, twice.
    assert!(took < Duration::from_secs(3), "{took:?}");
    terminal.exit_status();
    assert_eq!(house.state(&id), "-");
}

#[test]
fn an_end_by_itself_is_seen_at_once() {
    let Some(house) = House::open("an_end_by_itself_is_seen_at_once") else { return };
    let id = house.create("short", &[]);
    house.done(&["restart", "short"]);
    let ((), took) = timed(|| {
        house.docker(&["kill", &container(&id)]).expect_done();
        house.wait_for_log("container.stopped");
    });
    assert_eq!(house.state(&id), "-");
    assert!(house.agent.log().contains(r#""exit_code":137"#), "{}", house.agent.log());
    assert!(took < Duration::from_secs(5), "{took:?}");

    // Nobody is attached: one who was would ask at once whether the session is still there, and
    // that the Engine has it no more can be known before the Engine tells how it ended.
    house.done(&["restart", "short"]);
    wait_until(PATIENCE, "the container's tmux", || {
        house.inside(&id, "tmux send-keys 'exit 7' Enter").code() == 0
    });
    house.wait_for_log(r#""exit_code":7"#);
    house.wait_for_state(&id, "-");
    let terminal = house.attach(&id, "short", &[]);
    terminal.type_text("exit");
    terminal.press("Enter");
    assert_eq!(terminal.exit_status(), 0);
    house.wait_for_state(&id, "-");
}

/// With its status, or without where the container takes long to end.
pub fn says_it_ended(shown: &str) -> bool {
    shown.contains("it ended with status 0") || shown.contains("the session has ended")
}

#[test]
fn an_end_is_never_told_as_a_detach() {
    let Some(house) = House::open("an_end_is_never_told_as_a_detach") else { return };
    let id = house.create("ends", &[]);
    for round in 0..4 {
        let terminal = house.attach(&id, &format!("ends-{round}"), &[]);
        // What outlives its terminal keeps the container for a moment.
        terminal.type_text("trap '' HUP TERM; setsid sleep 60 & exit");
        terminal.press("Enter");
        assert_eq!(terminal.exit_status(), 0);
        assert!(says_it_ended(&terminal.history()), "{}", terminal.history());
        house.wait_for_state(&id, "-");
    }
}

/// For so long nothing must happen. What polls does so more often.
const QUIET: Duration = Duration::from_secs(3);

#[test]
fn a_session_at_rest_wakes_nobody_and_leaves_no_zombies() {
    let test = "a_session_at_rest_wakes_nobody_and_leaves_no_zombies";
    let Some(house) = House::open(test) else { return };
    let id = house.create("rest", &[]);
    house.done(&["edit", "rest", "--command", "(true &); (true &); exec sleep 1000"]);
    house.done(&["restart", "rest"]);
    wait_until(PATIENCE, "a time without a wake-up", || {
        let before = wake_ups(&house, &id);
        // The time itself is what is looked at.
        let _never = poll(QUIET, || None::<()>);
        before.len() >= 5 && wake_ups(&house, &id) == before
    });
    let listed = house.docker(&["top", &container(&id), "-eo", "pid,stat,args"]).expect_done();
    let listed = listed.out();
    assert!(!listed.contains(" Z"), "{listed}");
    assert!(listed.contains("sleep 1000"), "{listed}");
}

/// Each process of a session, and how often it has begun to run after waiting. The Engine's own
/// init looks around once a second, which is not ours to change.
fn wake_ups(house: &House, session: &str) -> Vec<(String, String)> {
    let listed = house.docker(&["top", &container(session), "-eo", "pid,comm"]).expect_done();
    let listed = listed.out();
    let ours = listed.lines().skip(1).filter(|line| !line.contains("docker-init"));
    let pids = ours.filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    let status = |pid: String| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("voluntary")).map(str::to_owned);
        (pid, line.unwrap_or_default())
    };
    pids.map(status).collect()
}
