//! The agent dies in the middle; the engine is gone, or says nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::house::{House, timed};
use crate::support::process::{CONVOCATE, Running, command};
use crate::support::wait::{PATIENCE, poll, wait_until};

/// How far into an operation the agent is killed, in milliseconds.
const KILLED_AFTER_MS: [u64; 6] = [0, 10, 40, 120, 300, 700];

#[test]
fn an_agent_killed_in_an_operation_leaves_nothing_half() {
    let test = "an_agent_killed_in_an_operation_leaves_nothing_half";
    let Some(mut house) = House::open(test) else { return };
    for (round, &delay) in KILLED_AFTER_MS.iter().enumerate() {
        let [stopped, running, gone] = ["stopped", "running", "gone"]
            .map(|what| house.create(&format!("{what} {round}"), &[]));
        house.done(&["restart", &running]);
        house.done(&["restart", &gone]);
        let fresh = format!("fresh {round}");
        let copy = format!("copy {round}");
        let calls: [&[&str]; 6] = [
            &["new", &fresh],
            &["clone", &stopped, &copy],
            &["edit", &stopped, "--pids", "99"],
            &["restart", &stopped],
            &["kill", &running],
            &["rm", &gone],
        ];
        let asked: Vec<Running> = calls.iter().map(|call| start(&house, call)).collect();
        pause(Duration::from_millis(delay));
        house.restart_agent();
        drop(asked);
        all_can_be_deleted(&house, delay);
    }
}

/// Every session lists whole, and can be deleted; nothing else is left.
fn all_can_be_deleted(house: &House, delay: u64) {
    let list = house.done(&["ls", "--json"]).out();
    let listed: serde_json::Value = serde_json::from_str(&list).expect("a listing is JSON");
    let sessions = listed.as_array().or_else(|| listed["sessions"].as_array());
    for session in sessions.expect("a listing has sessions") {
        assert!(session["broken"].is_null(), "after {delay} ms: {session}");
        let id = session["uuid"].as_str().expect("a session has an id");
        wait_until(PATIENCE, "a session that can be deleted", || delete(house, id));
    }
    let left = poll(PATIENCE, || house.containers().is_empty().then_some(()));
    assert!(left.is_some(), "after {delay} ms: {:?}", house.containers());
    // Homes of deleted sessions are erased behind the answer.
    let left = poll(PATIENCE, || house.entries().is_empty().then_some(()));
    assert!(left.is_some(), "after {delay} ms: {:?}", house.entries());
}

/// A lock that the dead agent left is overridden; what the new one does by itself ends by itself,
/// and until then the session is not deleted.
fn delete(house: &House, id: &str) -> bool {
    let locked = house.show(id)["locked"] == true;
    (!locked || house.call(&["override", id]).code() == 0) && house.call(&["rm", id]).code() == 0
}

fn start(house: &House, call: &[&str]) -> Running {
    let root = &house.agent.files.root;
    Running::start(command(root, CONVOCATE).args(call).arg("--root").arg(root.dir()))
}

/// The moment of a fault, which is the one thing here that is not waited for by its effect.
fn pause(time: Duration) {
    let _never = poll(time, || None::<()>);
}

/// So many that copying and erasing them takes a while.
const FILES: usize = 20_000;

#[test]
fn an_agent_killed_amid_many_files_leaves_nothing_half() {
    let test = "an_agent_killed_amid_many_files_leaves_nothing_half";
    let Some(mut house) = House::open(test) else { return };
    let zoo = house.create("zoo", &[]);
    let many = house.home(&zoo).join("many");
    fs::create_dir(&many).expect("the home is there");
    (0..FILES).for_each(|file| fs::write(many.join(file.to_string()), "small").expect("room"));

    let cloning = start(&house, &["clone", "zoo", "ark"]);
    kill_amid(&mut house, ".new-");
    drop(cloning);
    house.restart_agent();
    assert_eq!(house.names(), ["zoo"]);
    wait_until(PATIENCE, "the half copy to go", || house.entries() == [zoo.as_str()]);
    house.done(&["clone", "zoo", "ark"]);
    assert_eq!(house.names(), ["ark", "zoo"]);
    let ark = house.show("ark")["uuid"].as_str().expect("an id").to_owned();
    assert_eq!(files_in(&house.home(&ark)), FILES);

    // A deletion is answered before its files are gone.
    let deleting = start(&house, &["rm", "zoo"]);
    kill_amid(&mut house, ".deleted-");
    drop(deleting);
    house.restart_agent();
    assert_eq!(house.names(), ["ark"]);
    wait_until(PATIENCE, "the half home to go", || house.entries() == [ark.as_str()]);
    assert_eq!(files_in(&house.home(&ark)), FILES);
    house.done(&["rm", "ark"]);
    assert!(house.names().is_empty());
}

/// Kills the agent when a home whose name begins so has some of its files and not all.
fn kill_amid(house: &mut House, prefix: &str) {
    let half = |house: &House| {
        let name = house.entries().into_iter().find(|name| name.starts_with(prefix))?;
        let count = files_in(&house.sessions().join(name));
        (1..FILES).contains(&count).then_some(count)
    };
    let seen = poll(PATIENCE, || half(house));
    house.agent.kill();
    let left = half(house);
    assert!(left.is_some(), "{prefix}: {seen:?} were seen, {:?} are left", house.entries());
    eprintln!("{prefix}: killed with {left:?} of {FILES} files there");
}

fn files_in(home: &Path) -> usize {
    fs::read_dir(home.join("many")).map_or(0, |files| files.flatten().count())
}

#[test]
fn an_agent_killed_while_the_engine_is_at_it_is_told_by_the_lock() {
    let test = "an_agent_killed_while_the_engine_is_at_it_is_told_by_the_lock";
    let Some(mut house) = House::open(test) else { return };
    for (name, call) in [("stops", "kill"), ("goes", "rm")] {
        let id = house.create(name, &[]);
        house.done(&["restart", name]);
        house.engine.hang();
        let asked = start(&house, &[call, name]);
        let lock = house.sessions().join(format!("{id}.lock"));
        wait_until(PATIENCE, "the lock", || lock.exists());
        house.agent.kill();
        drop(asked);
        house.engine.come_back();
        house.restart_agent();
        assert_eq!(house.state(&id), "L");
        let refused = house.call(&["restart", name]);
        assert!(
            refused.code() == 1 && refused.err().contains("was in flight"),
            "{}",
            refused.err()
        );
        house.done(&[call, name]);
        assert!(!lock.exists());
    }
    assert_eq!(house.names(), ["stops"]);
    assert_eq!(house.state("stops"), "-");
    house.done(&["rm", "stops"]);
    assert!(house.containers().is_empty(), "{:?}", house.containers());
}

#[test]
fn an_engine_that_is_gone_is_told_and_not_waited_for() {
    let test = "an_engine_that_is_gone_is_told_and_not_waited_for";
    let Some(house) = House::open(test) else { return };
    let id = house.create("left", &[]);
    house.create("still", &[]);
    house.done(&["restart", "left"]);
    house.engine.go_down();
    wait_until(PATIENCE, "stale news", || house.show(&id)["stale"].is_string());
    let (shown, took) = timed(|| house.show(&id));
    assert_eq!((&shown["running"], shown["state"].as_str()), (&true.into(), Some("?")), "{shown}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    for call in [["restart", "still"], ["kill", "left"], ["background", "left"], ["rm", "left"]] {
        let (finished, took) = timed(|| house.call(&call));
        assert_eq!(finished.code(), 1, "{call:?}: {}", finished.out());
        assert!(finished.err().contains("docker"), "{call:?}: {}", finished.err());
        assert!(took < Duration::from_secs(5), "{call:?}: {took:?}");
    }
    // What needs no engine works without one.
    house.done(&["edit", "still", "--pids", "99"]);
    house.create("new", &[]);
    house.engine.come_back();
    wait_until(PATIENCE, "fresh news", || house.show(&id)["stale"].is_null());
    assert_eq!(house.state(&id), "R");
    house.done(&["kill", "left"]);
    assert_eq!(house.state(&id), "-");
}

#[test]
fn an_engine_that_says_nothing_holds_up_nothing() {
    let Some(house) = House::open("an_engine_that_says_nothing_holds_up_nothing") else { return };
    let id = house.create("hung", &[]);
    house.done(&["restart", "hung"]);
    house.engine.hang();
    let (shown, took) = timed(|| house.show(&id));
    assert!(shown["stale"].is_string(), "{shown}");
    // The client asks twice: which session is meant, and what there is to know of it.
    assert!(took < Duration::from_secs(15), "{took:?}");
    house.engine.come_back();
    wait_until(PATIENCE, "fresh news", || house.show(&id)["stale"].is_null());
    house.done(&["rm", "hung"]);
    assert!(house.containers().is_empty());
}
