//! Strangers with hundreds of sockets at the listeners of a running agent and a running status
//! listener, from many addresses of loopback, an IPv6 network, and containers, while an operator
//! and an agent dial anew and one connection is open: all are let in.
//!
//! What it took is printed, with `--nocapture`; only that it ends is held. `scripts/bench
//! listeners` plays it for longer, with optimised programs.

#[path = "../support/mod.rs"]
mod support;

mod attack;
mod beside;
mod outside;
mod shortage;
mod visit;

use std::net::Ipv4Addr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::attack::{Act, KINDS};
use self::support::Need;
use self::support::agent::{Agent, AgentFiles};
use self::support::hub::Hub;
use self::visit::{Asked, Way, round};

/// Where the operator is whose address has proven a key.
const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn can(test: &str) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let _more = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    support::has(test, &[Need::Program("ssh-keygen"), Need::Program("tmux")])
}

/// All kinds of attack, one after the other.
fn attack_all(way: &Way, port: &str, asked: &mut Asked<'_>) {
    way.try_once(HOME.into()).expect("it is let in");
    for kind in KINDS {
        let acts: Vec<Act> = (0..kind.threads)
            .map(|number| -> Act { Box::new(move |attack| (kind.act)(attack, number)) })
            .collect();
        let way = way.sparing_fresh(kind.spares_fresh);
        round(&way, &[port, kind.name], &acts, Some(&mut *asked));
    }
}

#[test]
fn the_agents_listener_lets_the_operator_in() {
    if !can("the_agents_listener_lets_the_operator_in") {
        return;
    }
    let agent = Agent::start();
    let way = Way::to_agent(&agent);
    let mut guest = way.enter(HOME.into()).expect("it is let in");
    let mut ping = || guest.ping().expect("it answers");
    attack_all(&way, "222", &mut Asked::often("ping on an open connection", &mut ping));
    check_log(&agent.log());
}

#[test]
fn the_status_listener_lets_the_agent_in() {
    if !can("the_status_listener_lets_the_agent_in") {
        return;
    }
    let files = AgentFiles::write();
    let hub = Hub::start(&files);
    let way = Way::to_hub(&hub, &files);
    let mut listen = || _ = hub.listen();
    attack_all(&way, "223", &mut Asked::often("a local subscriber's snapshot", &mut listen));
    check_log(&hub.log());
}

/// The log does not grow with the attack: 65 rows, two lines of each within a minute, and for each
/// login that was let in one when it came and at most two when it went.
fn check_log(log: &str) {
    let is_login = |line: &&str| line.contains(" connected ");
    let (logins, others): (Vec<&str>, Vec<&str>) = log.lines().partition(is_login);
    eprintln!("  {} logins in the log, {} other lines", logins.len(), others.len());
    let minutes = attack::seconds() * 9 / 60 + 1;
    let most = 2 * logins.len() + usize::try_from(minutes).expect("few") * 130 + 100;
    assert!(others.len() < most, "{:#?}", &others[others.len() - 10..]);
}
