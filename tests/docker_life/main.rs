//! A session's whole life in containers of the engine of this machine, with the real programs, and
//! what happens to it meanwhile.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a harness has no other way to fail a test")]

mod caps;
mod claude;
mod drive;
mod egress;
mod ends;
mod engine;
mod faults;
mod full;
mod homes;
mod hostile;
mod house;
mod keys;
mod life;
mod profiles;
mod recovery;
#[path = "../support/mod.rs"]
mod support;
mod terminals;
mod users;
mod world;
