//! The simulator: real cores of a whole cluster in virtual time, from one seed.
//!
//! A number is a seed; a seed is a whole run, faults and their rates included. `SIM_SEED` runs that
//! one, `SIM_SEEDS` that many fresh ones from `SIM_FIRST` on (`scripts/sim`), and no more than
//! begin within `SIM_SECONDS`. A run that breaks an invariant, or does not come to rest once the
//! faults have stopped, prints its seed and the command that runs it again.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is a test; a panic is its verdict"
)]

mod check;
mod delivery;
mod disk;
mod herd;
#[path = "../agent_core/host.rs"]
#[allow(dead_code, reason = "the tests of the core use more of it")]
mod host;
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Seeds of a plain `cargo test`.
const SEEDS_DEFAULT: u64 = 12;
/// Seeds that once failed, and what was wrong; a plain `cargo test` runs them, too.
const KNOWN_SEEDS: &[u64] = &[
    // The spool forgot a hole before its first segment when it restarted.
    1_795_922_479_070,
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn events_arrive_once_in_order_or_in_an_announced_gap() {
    let (first, count) = match number("SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (number("SIM_FIRST").unwrap_or(1), number("SIM_SEEDS").unwrap_or(SEEDS_DEFAULT)),
    };
    if number("SIM_SEED").or(number("SIM_FIRST")).is_none() {
        for &seed in KNOWN_SEEDS {
            delivery::run(seed);
        }
    }
    let until = number("SIM_SECONDS").map(|it| Instant::now() + Duration::from_secs(it));
    let (mut total, mut done) = (delivery::Figures::default(), 0);
    for seed in first..first + count {
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        done += 1;
        match catch_unwind(AssertUnwindSafe(|| delivery::run(seed))) {
            Ok(figures) => total += figures,
            Err(_) => panic!(
                "seed {seed}, after {} good ones; to run it again:\n    SIM_SEED={seed} cargo test \
                 --test sim -- --nocapture",
                seed - first
            ),
        }
    }
    eprintln!("{done} seeds from {first}: {total}");
    assert!(done < 10 || total.faults > 0 && total.gaps > 0, "the simulator did nothing: {total}");
}
