//! Measures the SSH transport, against OpenSSH where it can, for `scripts/bench ssh`.
//!
//! One call is one sample: `transport PART...`, where the parts are those of [`PARTS`]. A sample
//! prints lines of `METRIC SIDE VALUE UNIT`. Ours and the peer take turns within a sample, so that
//! a noisy machine is noisy for both, and next to the wall clock stands the time of the processors.
//!
//! The same program is the server that is measured (`transport serve DIR`): the library's transport
//! over the library's loop, with subsystems that only move bytes, and without the product's limits
//! on the number of connections.

#![expect(clippy::print_stdout, reason = "the samples are its output")]
#![expect(clippy::unwrap_used, reason = "a sample that cannot be taken has no other way to say so")]

mod bulk;
mod client;
mod cpu;
mod latency;
mod memory;
mod peers;
mod server;

#[path = "../../support/mod.rs"]
mod support;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is measured, by name.
const PARTS: &[(&str, fn())] =
    &[("bulk", bulk::sample), ("latency", latency::sample), ("memory", memory::sample)];

fn main() {
    raise_descriptor_limit();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", dir] => server::serve(dir.as_ref()),
        ["hold", dir, kind, count] => memory::hold(dir.as_ref(), kind, count.parse().unwrap()),
        ref wanted => {
            let chosen = |name: &str| wanted.is_empty() || wanted.contains(&name);
            for (_, sample) in PARTS.iter().filter(|(name, _)| chosen(name)) {
                sample();
            }
        }
    }
}

/// Thousands of connections take thousands of descriptors.
fn raise_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// One line of a sample.
fn report(metric: &str, side: &str, value: f64, unit: &str) {
    println!("{metric} {side} {value:.6} {unit}");
}

/// The middle one of some measured values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
