//! A network between shell host and agent that goes silent, without a word to either, and comes
//! back: three namespaces, the middle one a router that can be told to drop all.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::agent::{AGENT_ID, Agent, AgentFiles};
use crate::support::hub::Hub;
use crate::support::process::{CONVOCATE, CONVOCATE_AGENT, Finished, command, run};
use crate::support::wait::{PATIENCE, poll, wait_until};
use crate::support::{self, Need};

const SHELL: &str = "10.77.1.2";
const AGENT: &str = "10.77.2.2";
/// The promise: a peer that is gone without a word is found within this time.
const FOUND_WITHIN: Duration = Duration::from_secs(45);
/// The other one: it is back within this time of the network's return.
const BACK_WITHIN: Duration = Duration::from_secs(2);
/// What a busy machine may add to either.
const SLACK: Duration = Duration::from_secs(3);
/// From the loss to the network's return: far enough into the kernel's growing pauses.
const AWAY: Duration = Duration::from_secs(8);

/// The namespaces of this test, gone with it.
struct Network;

fn namespace(side: &str) -> String {
    format!("convocate-{}-{side}", std::process::id())
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).output().expect("ip is installed");
    assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Network {
    fn new() -> Network {
        let network = Network;
        let router = namespace("router");
        ip(&format!("netns add {router}"));
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        let mut call = Command::new("ip");
        call.args(["netns", "exec", &router, "sh", "-c", forward]);
        assert!(call.status().expect("ip is installed").success());
        for (side, address) in [("shell", SHELL), ("agent", AGENT)] {
            let (end, gate) = (namespace(side), address.trim_end_matches('2').to_owned() + "1");
            ip(&format!("netns add {end}"));
            ip(&format!("-n {end} link add line type veth peer name {side} netns {router}"));
            ip(&format!("-n {end} address add {address}/24 dev line"));
            ip(&format!("-n {router} address add {gate}/24 dev {side}"));
            ip(&format!("-n {router} link set {side} up"));
            ip(&format!("-n {end} link set line up"));
            ip(&format!("-n {end} route add default via {gate}"));
        }
        network
    }

    /// From now on nothing arrives, and nobody is told.
    fn cut(&self) {
        self.route("add");
    }

    fn heal(&self) {
        self.route("del");
    }

    fn route(&self, what: &str) {
        for end in [SHELL, AGENT] {
            ip(&format!("-n {} route {what} blackhole {end}", namespace("router")));
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for side in ["shell", "agent", "router"] {
            let _gone = Command::new("ip").args(["netns", "del", &namespace(side)]).status();
        }
    }
}

/// A shell host and an agent, each in its namespace.
struct Hosts {
    agent: Agent,
    hub: Hub,
    network: Network,
}

/// A call of a program on one of the hosts.
fn on(files: &AgentFiles, side: &str, program: &str, words: &[&str]) -> Command {
    let mut call = command(&files.root, "ip");
    call.args(["netns", "exec", &namespace(side), program]).args(words);
    call.arg("--root").arg(files.root.dir());
    call
}

impl Hosts {
    fn start() -> Hosts {
        let (network, files) = (Network::new(), AgentFiles::write());
        let listen = format!("{SHELL}:0");
        let mut call = on(&files, "shell", CONVOCATE, &["status-serve", "--listen", &listen]);
        let hub = Hub::start_by(&files, &mut call);
        let listen = format!("{AGENT}:0");
        let words = ["serve", "--listen", &listen, "--runtime", "host"];
        let mut call = on(&files, "agent", CONVOCATE_AGENT, &words);
        Hosts { agent: Agent::start_by(files, &mut call), hub, network }
    }

    fn client(&self, words: &[&str]) -> Finished {
        run(&mut on(&self.agent.files, "shell", CONVOCATE, words), b"", PATIENCE)
    }

    /// How often the shell host has logged in at the agent.
    fn logins(&self) -> usize {
        self.agent.log().matches(" connected with key ").count()
    }

    /// How long after `since` the hub came to know the agent in this state.
    fn takes(&self, since: Instant, within: Duration, state: &str) -> Duration {
        wait_until(within + SLACK, state, || self.hub.agent(AGENT_ID)["state"] == state);
        since.elapsed()
    }
}

#[test]
fn a_silent_network_is_found_out_and_its_return_too() {
    let test = "a_silent_network_is_found_out_and_its_return_too";
    let programs = ["ip", "ssh-keygen", "tmux"].map(Need::Program);
    if !support::has(test, &programs) || !support::has(test, &[Need::Root]) {
        return;
    }
    let hosts = Hosts::start();
    hosts.hub.waits_for_agent(AGENT_ID, "connected");
    hosts.client(&["new", "kept", "--command", "sh"]).expect_done();
    let kept = || hosts.hub.agent(AGENT_ID)["sessions"][0]["name"] == "kept";
    let ready = poll(PATIENCE, || (kept() && hosts.logins() >= 2).then_some(()));
    assert!(ready.is_some(), "agent:\n{}hub:\n{}", hosts.agent.log(), hosts.hub.log());

    hosts.network.cut();
    let cut = Instant::now();
    let hub_found = hosts.takes(cut, FOUND_WITHIN, "lost");
    let left = (FOUND_WITHIN + SLACK).saturating_sub(cut.elapsed());
    wait_until(left, "the agent to miss the shell host", || {
        hosts.agent.log().contains("events are kept until they can go")
    });
    let (agent_found, lost) = (cut.elapsed(), Instant::now());
    let listed = hosts.client(&["ls"]);
    assert!(listed.out().lines().any(|line| line.starts_with('?') && line.contains("kept")));
    assert!(listed.err().contains("last news"), "{}", listed.err());

    let logins = hosts.logins();
    wait_until(2 * AWAY, "the time to pass", || lost.elapsed() >= AWAY);
    hosts.network.heal();
    let healed = Instant::now();
    let events_back = hosts.takes(healed, BACK_WITHIN, "connected");
    wait_until(BACK_WITHIN + SLACK, "the shell host to be back at the agent", || {
        hosts.logins() > logins
    });
    eprintln!(
        "cut: found by the shell host after {hub_found:.1?}, by the agent after {agent_found:.1?}; \
         back: events after {events_back:.1?}, calls after {:.1?}",
        healed.elapsed()
    );
}
