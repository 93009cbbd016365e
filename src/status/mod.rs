//! The hub of the shell host: it collects the events of all agents, keeps what they come to, and
//! tells whoever asks.
//!
//! Sans-IO cores. [`peer`] and [`listener`] speak with one agent, [`hub`] holds what is known,
//! [`journal`] makes it durable, [`subscribe`] tells one subscriber of the status socket what
//! [`snapshot`] reads, [`dns`] writes the names. Their drivers: [`serve`] is the hub, [`run`] a
//! program that asks it. [`twins`] tells two hosts from one that restarts.
//!
//! An event's way: line → [`listener`] (is it this agent's?) → [`hub`] (is it new? is one missing?)
//! → [`journal`] → durable → acknowledged to the agent and, from [`history`], told to subscribers.
//! Nothing is told or acknowledged before it is durable, so no number of the hub ever means two
//! events.

pub mod checkpoint;
pub mod dns;
pub mod history;
pub mod hub;
pub mod journal;
pub mod known;
pub mod line;
pub mod listener;
pub(crate) mod login_pace;
pub mod notices;
pub mod peer;
pub mod recovery;
pub mod run;
pub mod serve;
pub mod snapshot;
pub mod subscribe;
pub(crate) mod twins;
pub mod words;

#[cfg(test)]
mod tests;
