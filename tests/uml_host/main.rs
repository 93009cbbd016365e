//! An agent and a status listener on a host that has a kernel of its own, with control groups of
//! version 2: what bounds sessions there and what is told of them, that the services are locked up,
//! and that all of it is there again when the power is back.
//!
//! One host for all: to boot one takes as long as everything else here.

#![allow(clippy::panic, reason = "helpers of tests fail like tests")]

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod services;

use std::time::Duration;

use support::testbed::{Host, Kind, NEEDS};
use support::wait::wait_until;

/// How long something may take there: a user-mode Linux is slow where it starts programs.
const PATIENCE: Duration = Duration::from_secs(150);

#[test]
fn a_real_kernel_keeps_what_the_units_say() {
    if !support::has("a_real_kernel_keeps_what_the_units_say", &NEEDS) {
        return;
    }
    let host = Host::start(Kind::Kernel);
    if let Err(why) = host.bring_programs() {
        let reason = format!("program: ours do not run on Debian 12: {why}");
        return support::skip("a_real_kernel_keeps_what_the_units_say", &reason);
    }
    services::are_installed(&host);
    services::are_locked_up(&host);
    bounds::are_of_this_host(&host);

    let busy = session(&host, "busy", "--memory 256m --cpus 0.2");
    bounds::burn(&host, &busy);
    let small = session(&host, "small", "--memory 64m --cpus 0.5 --pids 40");
    host.done("convocate new idle --command bash");
    bounds::of_a_session(&host, &small);
    bounds::end_a_hog(&host, &small);
    bounds::stop_a_fork_bomb(&host, &small);
    bounds::are_told_as_used(&host, &busy);

    services::come_and_go_without_sessions(&host);
    outlives(&host);
}

/// Makes a session that runs a shell, starts it, and gives its id.
fn session(host: &Host, name: &str, caps: &str) -> String {
    let made = host.done(&format!("convocate new {name} --command bash {caps} --json"));
    host.done(&format!("convocate restart {name}"));
    let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    made["uuid"].as_str().expect("it has an id").to_owned()
}

/// State and name of each session, sorted by their names.
fn listing(host: &Host) -> Vec<[String; 2]> {
    let told = host.sh("convocate ls --json").out;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap_or_default();
    let field = |row: &serde_json::Value, name| row[name].as_str().unwrap_or_default().to_owned();
    let rows = told["sessions"].as_array().cloned().unwrap_or_default();
    let mut rows: Vec<_> =
        rows.iter().map(|row| ["state", "name"].map(|it| field(row, it))).collect();
    rows.sort_by(|one, other| one[1].cmp(&other[1]));
    rows
}

/// Waits until everything is as it was left: two sessions run, one does not.
fn wait_until_all_is_there(host: &Host, what: &str) {
    let whole = [["R", "busy"], ["-", "idle"], ["R", "small"]].map(|row| row.map(str::to_owned));
    wait_until(PATIENCE, what, || listing(host) == whole);
}

/// A lost power supply. An orderly restart is for hosts that boot faster: `agent_install` has one.
fn outlives(host: &Host) {
    let (boot, limits) = (host.boot_id(), bounds::of_the_slice(host));
    host.lose_power();
    assert_ne!(host.boot_id(), boot);
    wait_until_all_is_there(host, "all sessions to be as they were when the power is back");
    assert_eq!(bounds::of_the_slice(host), limits);
}
