//! What it costs: nothing while nothing happens, and a bounded share whatever a session does.

use std::fs;
use std::time::{Duration, Instant};

use convocate::base::uuid::Uuid;
use serde_json::Value;

use super::events::Events;
use super::stand_in::{Program, sessions};
use super::support::agent::{Agent, AgentFiles};
use super::support::has;
use super::support::wait::{PATIENCE, pause, poll, wait_until};
use super::{Cluster, NEEDS};

/// How often the agent was woken, all its threads together.
fn wakes(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the agent runs");
    let count = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|it| it.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    tasks.flatten().map(count).sum()
}

/// The time that the agent has had on processors.
fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the agent runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

#[test]
fn an_idle_session_costs_no_wake_up() {
    if !has("an_idle_session_costs_no_wake_up", &NEEDS) {
        return;
    }
    // Nobody is connected, because each connection is asked for a sign of life now and then.
    let files = AgentFiles::write();
    fs::remove_file(files.root.paths().agent_shell_host()).expect("it is there");
    let agent = Agent::start_with(files, &["--runtime", "host"]);
    let programs = ["a", "b", "c"].map(|name| {
        let made = agent.client(&["new", name, "--json", "--command", "sleep 1000"]).expect_done();
        agent.client(&["start", name]).expect_done();
        let made: Value = serde_json::from_slice(&made.stdout).expect("JSON");
        let id = Uuid::parse(made["uuid"].as_str().expect("an id")).expect("a UUID");
        Program::start(&agent.files.root.paths().session(id))
    });
    let told = || agent.client(&["ls"]).expect_done().out();
    programs.iter().for_each(|program| program.tell("idle/"));
    wait_until(PATIENCE, "idle sessions", || told().matches("idle").count() == 3);
    let pid = agent.process().pid();
    let mut seen = Vec::new();
    let quiet = poll(4 * PATIENCE, || {
        let before = wakes(pid);
        pause(Duration::from_secs(10));
        seen.push(wakes(pid) - before);
        (seen.last() == Some(&0)).then_some(())
    });
    assert!(quiet.is_some(), "wake-ups in 10 seconds each: {seen:?}");
    eprintln!("wake-ups in 10 seconds each: {seen:?}");
    programs[0].tell("busy/");
    wait_until(PATIENCE, "one that works", || told().contains("working"));
}

#[test]
fn a_session_that_writes_without_end_takes_a_bounded_share() {
    let test = "a_session_that_writes_without_end_takes_a_bounded_share";
    let Some(cluster) = Cluster::start(test, &[]) else { return };
    // It changes its state, makes and removes files, and does it again, without end.
    let id = cluster.session(
        "evil",
        "mkdir -p .claude/sessions; cd .claude/sessions; start=$(cut -d\\  -f22 /proc/$$/stat); \
         f() { printf '{\"pid\":%s,\"procStart\":\"%s\",\"status\":\"%s\"}' $$ $start $1; }; \
         while :; do f busy >$$.json; f waiting >$$.json; f x >1.json; rm 1.json; done",
    );
    let good = cluster.session("good", "sleep 1000");
    let home = |id: &str| cluster.home(id);
    let program = Program::start(&home(&good));
    let events = Events::follow(&cluster);
    let pid = cluster.agent.process().pid();
    pause(Duration::from_secs(1));
    let (began, used) = (Instant::now(), processor_time(pid));
    let mut pings = Vec::new();
    for at in 0..20 {
        let asked = Instant::now();
        cluster.client(&["agents"]).expect_done();
        pings.push(asked.elapsed());
        program.tell(if at % 2 == 0 { "busy/" } else { "idle/" });
        let told = Instant::now();
        events.until(&good, if at % 2 == 0 { "working" } else { "done" });
        assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
        pause(Duration::from_millis(200));
    }
    let share = (processor_time(pid) - used).as_secs_f64() / began.elapsed().as_secs_f64();
    eprintln!("{:.1} % of a processor; calls: {}", 100.0 * share, super::summary(pings));
    assert!(share < 0.25, "the agent takes {share} of a processor");
    // So many changes came of millions of writes.
    let evil = std::iter::from_fn(|| events.next_within(Duration::from_millis(100)));
    assert!(evil.take(1000).count() < 200);
    assert!(fs::read_dir(sessions(&home(&id))).expect("it runs").count() > 0);
}
