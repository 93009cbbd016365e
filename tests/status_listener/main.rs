//! Events from a running agent to a running status listener, and all that can come between.

#[path = "../support/mod.rs"]
mod support;

mod delivery;
mod dns;
mod hostile;
mod house;
mod identity;
mod liveness;
mod old_kinds;
mod subscribers;
mod verbs;
