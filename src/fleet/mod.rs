//! The shell host's side: the registry of agents, connections to them, requests over them.
//!
//! [`registry`] says who there is; [`connection`] keeps one agent's connection, [`member`] the
//! requests on it, [`fleet`](mod@fleet) all members. [`select`] and [`listing`] make one picture of
//! their answers, and [`attach`] gives a session's terminal to a person. All are cores without I/O;
//! [`run`] drives them.
//!
//! A request has one name in each layer. Whoever crosses a border keeps a map from the name below
//! to the name above, and gives both up with the answer:
//!
//! | layer | name | border |
//! | --- | --- | --- |
//! | `tui` | `ScreenRequestId` | `cli::screen` maps [`fleet::FleetRequestId`] to it |
//! | `fleet` | [`fleet::FleetRequestId`]: member and request | [`member`] maps `ChannelId` to it |
//! | `ssh` | `ChannelId`, one channel for each request | on the wire: the channel's number |
//! | `agent` | `Caller`: a number for that channel | the answer goes back the same way |

pub mod attach;
pub mod connection;
pub(crate) mod driver;
#[expect(clippy::module_inception, reason = "the fleet is what this layer is about")]
pub mod fleet;
pub mod listing;
pub mod member;
pub mod profiles;
pub mod registry;
pub mod run;
pub mod select;
mod silence;

#[cfg(test)]
mod testing;
