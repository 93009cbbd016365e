//! Flags and output of each program.
//!
//! A program is one table of commands ([`command`]); flags become plain values by it, then meaning
//! ([`crate::rpc::values`]), then a call ([`verbs`]). Help and completions come from the same
//! table.
//!
//! | program | its commands |
//! | --- | --- |
//! | [`convocate`] | [`verbs`], [`screen`], [`events`], [`status`], [`demo`], [`shell`] |
//! | [`agent`] | in its directory |
//! | [`host`] | in its directory |

pub mod agent;
pub mod command;
pub mod completions;
pub mod convocate;
pub mod demo;
pub mod events;
pub mod host;
pub mod out;
pub mod screen;
pub mod shell;
pub mod shell_words;
pub mod show;
pub mod status;
pub mod steps;
pub mod table;
pub mod verbs;
