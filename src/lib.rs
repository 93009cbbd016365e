//! convocate: many coding-agent sessions on many hosts, driven by one operator.
//!
//! Three programs from one crate. `convocate-host` turns machines into hosts of a cluster,
//! `convocate-agent` owns the sessions of one host, `convocate` is the operator's screen and
//! command line and the listener for status.
//!
//! # The map
//!
//! | directory | what it is |
//! | --- | --- |
//! | [`limits`], [`paths`] | every bound; every path on disk |
//! | [`base`] | values only: time, buffers, tables, identifiers |
//! | [`ssh`] | the SSH transport, sans-IO |
//! | [`x509`] | the certificates of the log channel: issue, parse, verify, renew |
//! | [`docker`] | the Docker Engine's API, sans-IO |
//! | [`terminal`] | between a session and the operator's terminal: filter, parser, leaving |
//! | [`rpc`] | the wire types of the three subsystems |
//! | [`agent`] | the agent's decisions, and its driver `agent::serve` |
//! | [`fleet`] | the shell host's side of the agents, and its driver `fleet::run` |
//! | [`status`] | the hub: the state of all agents on the shell host, and its subscribers |
//! | [`provision`] | steps that turn a machine into a host; drivers `run` (here) and `remote` |
//! | [`tui`] | the operator's screen: keys, model, update, view |
//! | [`io`] | the only place with sockets, files, processes, ttys, signals, clocks, randomness |
//! | [`log`] | lines for the journal |
//! | [`daemon`] | what agent and status listener share: event loop, SSH server, authorized keys |
//! | [`cli`] | the commands of each program, one file each |
//! | [`exit`] | the exit statuses |
//!
//! # The layers
//!
//! Imports point down only, and never in circles; `tests/layers.rs` holds the table.
//!
//! ```text
//! limits paths base <- ssh x509 docker <- agent fleet status <- serve, run <- cli <- bin
//!                      rpc terminal       provision tui         remote
//!        base       <- io         <------------------------  (drivers alone join a core to io)
//! ```
//!
//! A core takes bytes, events and the time, and gives bytes, actions and its next deadline. Time
//! and randomness are handed in, so a simulator and a fuzzer drive the very same cores.

pub mod agent;
pub mod base;
pub mod cli;
pub(crate) mod daemon;
pub mod docker;
pub mod exit;
pub mod fleet;
pub mod io;
pub mod limits;
pub mod log;
pub mod paths;
pub mod provision;
pub mod rpc;
pub mod ssh;
pub mod status;
pub mod terminal;
pub mod tui;
pub mod x509;
