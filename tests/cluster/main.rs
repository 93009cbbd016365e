//! From vanilla machines to a cluster, as an operator does it: three hosts of the testbed are
//! prepared, one becomes the shell host, all three become agents, in each of the ways that there
//! are; what can go wrong on the way goes wrong first.

#![allow(clippy::panic, reason = "helpers of tests fail like tests")]

#[path = "../support/mod.rs"]
mod support;

mod claude;
mod cost;
mod faults;
mod leaving;
mod moved;
mod operator;
mod outage;
mod ports;
mod renewal;
mod sessions;

use std::thread;

use operator::{Operator, summaries};
use support::Need;
use support::testbed::{Host, Kind, NEEDS};

/// The session image's name.
const IMAGE: &str = concat!("convocate:", env!("CARGO_PKG_VERSION"));

/// The hosts: where the operator works, an agent that is made from there, one made from elsewhere.
struct Cluster {
    shell: Host,
    near: Host,
    far: Host,
}

impl Cluster {
    fn named(&self) -> [(&'static str, &Host); 3] {
        [("shell", &self.shell), ("near", &self.near), ("far", &self.far)]
    }
}

#[test]
fn vanilla_hosts_become_a_cluster() {
    let test = "vanilla_hosts_become_a_cluster";
    let needs = [Need::Program("ssh"), Need::Program("ssh-keygen")];
    if !support::has(test, &NEEDS) || !support::has(test, &needs) {
        return;
    }
    let [shell, near, far] = [(); 3].map(|()| Host::start(Kind::Docker));
    let cluster = Cluster { shell, near, far };
    if let Err(why) = cluster.shell.bring_programs() {
        support::skip(test, &format!("program: ours do not run on Debian 12: {why}"));
        return;
    }
    let operator = Operator::new(&cluster.named());
    leaving::hosts_are_looked_at(&cluster);
    every_host_is_prepared(&operator);
    for host in [&cluster.shell, &cluster.near] {
        ports::the_operator_has_a_rule(host);
    }

    cluster.shell.bring_image(IMAGE);
    let old = renewal::an_old_authority_is_there(&cluster.shell);
    let untouched = traces(&cluster.shell);
    let told = operator.call(&["init-shell", "--host", "shell", "--check"]).expect_done().out();
    assert!(told.contains("[shell] key of the log collector … would change"), "{told}");
    assert_eq!(traces(&cluster.shell), untouched);
    let told = operator.call(&["init-shell", "--host", "shell"]).expect_done().out();
    assert!(summaries(&told)[0][1] > 20, "{told}");
    assert_second_run_changes_nothing(&operator, &["init-shell", "--host", "shell"]);

    let authority = operator.fetch_authority(&cluster.shell);
    let mut far = vec!["init-agent", "--host", "far", "--shell-host", "shell"];
    far.extend(["--ca-cert", &authority[0], "--ca-key", &authority[1]]);
    let [program, token] = claude::files(&operator);
    far.extend(["--claude", &program, "--claude-token", &token]);
    let untouched = [traces(&cluster.shell), traces(&cluster.far)];
    let told = operator.call(&[&far[..], &["--check"]].concat()).expect_done().out();
    assert!(told.contains("[shell] shell to agent key … would change"), "{told}");
    assert!(told.contains("[far] convocate-agent.service … would change"), "{told}");
    assert_eq!([traces(&cluster.shell), traces(&cluster.far)], untouched);
    faults::each_is_told_and_the_same_call_goes_on(&operator, &cluster, &far);
    assert_second_run_changes_nothing(&operator, &far);
    claude::it_is_there_and_its_login_is_the_agents(&operator, &cluster.far);
    assert!(operator.sessions_of_last_call() <= 6, "{}", operator.calls());

    // From the shell host itself: another host, and that one.
    operator.settle_on(&cluster.shell, &[("near", &cluster.near)]);
    cost::sessions_are_told(&cluster.near);
    let near = "--host near --shell-host $(cat /root/address)";
    for arguments in [near, "--shell-host $(cat /root/address)"] {
        let call = format!("su ann -c 'sudo /root/convocate-host init-agent {arguments}'");
        let call = call.replace("$(cat /root/address)", &cluster.shell.address());
        let call = || cluster.shell.done(&call);
        let is_here = !arguments.contains("--host near");
        let counted = |what| match is_here {
            true => call(),
            false => cost::counted(&cluster.near, what, call),
        };
        counted("init-agent");
        let told = counted("init-agent again");
        assert!(summaries(&told).iter().all(|counts| counts[1] == 0), "{told}");
    }
    let agents = cluster.shell.done("convocate agents --json");
    let agents: serde_json::Value = serde_json::from_str(&agents).expect("JSON");
    assert_eq!(agents["agents"].as_array().map(Vec::len), Some(3), "{agents}");
    ports::only_those_of_the_roles_are_open(&cluster);
    outage::it_holds_up_nobody(&cluster);
    sessions::each_agent_has_one(&operator, &cluster);
    leaving::the_shell_host_is_looked_at(&cluster.shell);
    renewal::old_certificates_are_renewed(&old, &cluster);
    renewal::one_authority_follows_another(&operator, &cluster, &far);
    leaving::everyone_leaves(&cluster);
}

fn every_host_is_prepared(operator: &Operator) {
    let prepare = |name: &'static str| {
        operator.call(&["install", "--host", name]).expect_done();
        assert_second_run_changes_nothing(operator, &["install", "--host", name]);
    };
    thread::scope(|scope| {
        let all = ["shell", "near", "far"].map(|name| scope.spawn(move || prepare(name)));
        for one in all {
            one.join().expect("it is prepared");
        }
    });
}

#[track_caller]
fn assert_second_run_changes_nothing(operator: &Operator, arguments: &[&str]) {
    let told = operator.call(arguments).expect_done().out();
    for counts in summaries(&told) {
        assert_eq!((counts[1], counts[3]), (0, 0), "{told}");
    }
}

/// All files that could be ours, with their times.
fn traces(host: &Host) -> String {
    let places = "/etc /usr/local /home /var/lib/convocate* /var/log/convocate-agent";
    host.sh(&format!("find {places} -newer /root/ready -type f -printf '%p %T@\\n' | sort")).out
}
