//! Events through faults, with real processes: the status listener, agents that are nothing but
//! their events, and `convocate events`, with relays between them that break connections.
//!
//! Whatever dies, breaks or fills up: every event comes out of `convocate events` once and in
//! order, or lies in a gap that is announced. `scripts/sim --real` runs the long way; a plain
//! `cargo test` a short one.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`agents`] | the processes that tell events: started, killed, started again |
//! | [`relay`] | TCP between an agent and the listener, to be reset or swallowed |
//! | [`house`] | the listener, its disk, and the one who reads it |
//! | [`faults`] | what goes wrong, and when it is good again |
//! | [`check`] | what must hold of all that was told |

#![expect(clippy::unwrap_used, reason = "all of this is a test; a panic is its verdict")]

#[path = "../support/mod.rs"]
mod support;

mod agents;
mod check;
mod faults;
mod house;
mod relay;

use std::time::Duration;

use faults::Plan;
use support::Need;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn events_survive_real_faults() {
    if !support::has("events_survive_real_faults", &[Need::Program("ssh-keygen")]) {
        return;
    }
    let plan = Plan {
        seed: number("DELIVERY_SEED").unwrap_or_else(|| u64::from(std::process::id())),
        events: number("DELIVERY_EVENTS").unwrap_or(24_000),
        faults: number("DELIVERY_FAULTS").unwrap_or(40),
        agents: 4,
        rate: number("DELIVERY_RATE").unwrap_or(1500),
        patience: Duration::from_secs(number("DELIVERY_PATIENCE").unwrap_or(120)),
    };
    faults::run(&plan);
}

/// Not a test: the process of an agent, which [`agents`] starts.
#[test]
fn agent_process() {
    agents::be_one_if_asked();
}
