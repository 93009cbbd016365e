//! The agent's core, driven through every operation, race and crash by a host that is not there.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod crash;
mod deleted_homes;
mod drive;
mod egress;
mod host;
mod keys;
mod life;
mod queue;
mod random;
mod recovery;
mod refuse;
mod runtime;
mod uids;
