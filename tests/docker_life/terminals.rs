//! Terminals that are lost, come back, or only look.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use convocate::ssh::ChannelId;
use rustix::process::Signal;

use crate::house::{House, container, wait_for_clients};
use crate::support::process::{CONVOCATE, Running, command};
use crate::support::wait::{PATIENCE, poll, wait_until};
use crate::support::wire::Wire;

/// How many terminals the agent has lent.
fn lent(house: &House) -> usize {
    let fds = std::fs::read_dir(format!("/proc/{}/fd", house.agent.process().pid())).unwrap();
    let links = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
    links.filter(|link| link.file_name().is_some_and(|name| name == "ptmx")).count()
}

#[test]
fn bytes_go_past_the_engine_where_they_can() {
    let Some(house) = House::open("bytes_go_past_the_engine_where_they_can") else { return };
    let id = house.create("lent", &[]);
    let terminal = house.attach(&id, "first", &[]);
    assert_eq!(lent(&house), 1);
    // An engine that says nothing is not missed.
    house.engine.hang();
    terminal.type_text("stty size; echo shown mean''while");
    terminal.press("Enter");
    terminal.wait_for("shown meanwhile");
    terminal.wait_for("29 100");
    house.engine.come_back();
    terminal.press("C-b");
    terminal.press("d");
    assert_eq!(terminal.exit_status(), 0, "{}", terminal.screen());
    assert!(!terminal.history().contains("[detached"), "{}", terminal.history());
    wait_until(PATIENCE, "a terminal that is given back", || lent(&house) == 0);

    // An image of the operator's own may lack what it takes to lend it one.
    let hide = ["exec", "-u", "0", &container(&id), "mv", "/usr/bin/setsid", "/usr/bin/hidden"];
    house.docker(&hide).expect_done();
    let terminal = house.attach(&id, "second", &[]);
    assert_eq!(lent(&house), 0);
    terminal.type_text("clear; stty size; echo shown on the st''ream");
    terminal.press("Enter");
    terminal.wait_for("shown on the stream");
    terminal.wait_for("29 100");
    terminal.press("C-b");
    terminal.press("d");
    assert_eq!(terminal.exit_status(), 0, "{}", terminal.screen());
    assert!(!terminal.history().contains("[detached"), "{}", terminal.history());
}

/// A peer that says nothing any more is gone after three intervals of 15 s; a busy machine may
/// need some more to clean up.
const SILENT_FOR_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_terminal_of_a_silent_peer_leaves_nothing() {
    let Some(house) = House::open("a_terminal_of_a_silent_peer_leaves_nothing") else { return };
    let id = house.create("silent", &[]);
    house.done(&["restart", "silent"]);
    let mut wire = Wire::to(&house.agent);
    let channel = wire.attach(&id, 80, 24);
    wire.sees(channel, "bash-");
    wait_for_clients(&house, &id, 1);
    // From here on nobody moves a byte on this connection, and nobody closes it.
    let seen = poll(SILENT_FOR_MAX, || (house.clients(&id) == 0).then_some(()));
    assert!(seen.is_some(), "{}", house.agent.log());
    let show = || house.show(&id);
    wait_until(PATIENCE, "nobody attached", || show()["attached_count"] == 0);
    wait_until(PATIENCE, "no process of it", || {
        house.inside(&id, "ps -eo args | grep -c '[a]ttach'").out().trim() == "0"
    });
    assert_eq!((lent(&house), show()["state"].as_str()), (0, Some("R")));
    drop(wire);
}

/// What a person has is 20 ms, at the 99th percentile, on a host of his own. This machine does much
/// else, with a build for tests.
const ECHO_MAX: Duration = Duration::from_secs(1);
const KEYS: usize = 100;

#[test]
fn a_flood_in_one_container_slows_no_keystroke_in_another() {
    let test = "a_flood_in_one_container_slows_no_keystroke_in_another";
    let Some(house) = House::open(test) else { return };
    let (loud, quiet) = (house.create("loud", &[]), house.create("quiet", &[]));
    let mut flooded = Wire::to(&house.agent);
    let flood = flooded.attach(&loud, 80, 24);
    flooded.sees(flood, "bash-");
    flooded.send(flood, b"yes\r");
    flooded.sees(flood, "y\r\n");
    let mut wire = Wire::to(&house.agent);
    let typist = wire.attach(&quiet, 80, 24);
    wire.sees(typist, "bash-");
    let ends = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        scope.spawn(|| {
            // Not for ever: who types may have given up by a panic.
            let until = Instant::now() + 2 * PATIENCE;
            while !ends.load(Ordering::Relaxed) && Instant::now() < until {
                flooded.turn();
                flooded.take(flood);
                flooded.seen(flood).bytes.clear();
            }
        });
        let took = type_keys(&mut wire, typist);
        ends.store(true, Ordering::Relaxed);
        took
    });
    let (median, late) = (took[KEYS / 2], took[KEYS * 99 / 100]);
    assert!(late < ECHO_MAX, "99th percentile {late:?}, median {median:?}");
}

/// How long each of [`KEYS`] keys takes to be shown, in order of length.
fn type_keys(wire: &mut Wire, channel: ChannelId) -> Vec<Duration> {
    let mut took: Vec<Duration> = (0..KEYS)
        .map(|at| {
            let letter = ["a", "b", "c"][at % 3];
            wire.take(channel);
            wire.seen(channel).bytes.clear();
            let start = Instant::now();
            wire.send(channel, letter.as_bytes());
            wire.sees(channel, letter);
            start.elapsed()
        })
        .collect();
    took.sort();
    took
}

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
        // Twice: what tmux reads in two pieces, as one of them may be, it also draws in two.
        let script = b"clear; seq 1 100000; printf 'last-%s ' word word; exit\r";
        std::io::Write::write_all(&mut keys, script).unwrap();
        wait_until(PATIENCE, "the end", || !person.is_alive());
        let shown = person.stdout.text();
        assert!(shown.contains("last-word"), "{round}: {:?}", shown.lines().last());
        assert!(crate::life::says_it_ended(&shown), "{round}: {:?}", shown.lines().last());
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

/// More than once: bash leaves loops when a job of theirs stops.
#[test]
fn ctrl_z_comes_back_every_time() {
    let Some(house) = House::open("ctrl_z_comes_back_every_time") else { return };
    let echo = "while read -r it; do echo got-$it; done; exit 7";
    let made = house.done(&["new", "echo", "--command", echo, "--json"]).out();
    let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    let id = made["uuid"].as_str().expect("an id").to_owned();
    let terminal = house.attach(&id, "first", &[]);
    for word in ["one", "two", "three"] {
        terminal.press("C-z");
        terminal.press("C-b");
        terminal.press("C-z");
        terminal.type_text(word);
        terminal.press("Enter");
        terminal.wait_for(&format!("got-{word}"));
    }
    assert_eq!(house.state(&id), "C");
    let variables = house.inside(&id, "env").out();
    assert!(variables.contains("COLORTERM=truecolor"), "{variables}");
}

/// What people have in their tmux.conf, all that could end a session or keep it from its end.
const WISHES: &str = "\
set -g destroy-unattached on\nset -s exit-unattached on\nset -s exit-empty off\n\
set -g remain-on-exit on\nset -g detach-on-destroy off\nset-hook -g session-closed 'display x'\n\
new-session -d -s mine\nset -g history-limit 99\n";

#[test]
fn a_users_tmux_conf_and_another_name_change_nothing() {
    let test = "a_users_tmux_conf_and_another_name_change_nothing";
    let Some(house) = House::open(test) else { return };
    let id = house.create("own", &["--memory", "256m"]);
    let plain = house.create("plain", &["--memory", "256m"]);
    std::fs::write(house.home(&id).join(".tmux.conf"), WISHES).unwrap();
    for session in [&id, &plain] {
        house.done(&["restart", session]);
        let limit = "until tmux list-sessions >/dev/null 2>&1; do sleep 0.1; done; \
                     tmux show-options -gqv history-limit";
        let limit = house.inside(session, limit).expect_done().out();
        assert_eq!(limit.trim(), if session == &id { "99" } else { "5461" });
    }
    for name in ["once", "twice"] {
        let terminal = house.attach(&id, name, &[]);
        let rename = format!("tmux rename-session '{name} more'");
        terminal.type_text(&format!("{rename}; echo na''med {name}"));
        terminal.press("Enter");
        terminal.wait_for(&format!("named {name}"));
        house.done(&["background", "own"]);
        assert_eq!(terminal.exit_status(), 0, "{}", terminal.screen());
        assert_eq!((house.state(&id), house.clients(&id)), ("R".to_owned(), 0));
    }
    let terminal = house.attach(&id, "last", &[]);
    terminal.type_text("echo last wo''rds; exit 7");
    terminal.press("Enter");
    assert_eq!(terminal.exit_status(), 0);
    let told = terminal.history();
    assert!(told.contains("it ended with status 7") || told.contains("has ended"), "{told}");
    house.wait_for_state(&id, "-");
    let ended = &house.show(&id)["ended"];
    assert_eq!(ended["exit_code"], 7, "{ended}");
    let screen = ended["screen"].as_str().unwrap_or_default();
    assert!(screen.contains("last words"), "{ended}");
}
