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
pub mod convocate;
pub mod host;
pub mod output;
pub mod request;
pub mod screen;
pub mod shared_flags;
pub mod shell_words;
pub mod start;
pub mod steps;
pub mod table;
pub mod this_host;
