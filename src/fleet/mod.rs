//! The shell host's side: the registry of agents, connections to them, requests over them.
//!
//! [`registry`] says who there is; [`connection`] keeps one agent's connection, [`member`] the
//! requests on it, [`fleet`](mod@fleet) all members. [`select`] and [`listing`] make one picture of
//! their answers, and [`attach`] gives a session's terminal to a person. All are cores without I/O;
//! [`run`] drives them.

pub mod attach;
pub mod connection;
#[expect(clippy::module_inception, reason = "the fleet is what this layer is about")]
pub mod fleet;
pub mod listing;
pub mod member;
pub mod registry;
pub mod run;
pub mod select;

#[cfg(test)]
mod testing;
