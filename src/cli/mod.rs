//! Flags and output of each program.
//!
//! A program is one table of commands ([`command`]); flags become plain values by it, then meaning
//! ([`crate::rpc::values`]), then a call ([`verbs`]). Help and completions come from the same
//! table.

pub mod agent;
pub mod check;
pub mod command;
pub mod completions;
pub mod convocate;
pub mod demo;
pub mod enrol_agent;
pub mod enrol_shell;
pub mod events;
pub mod host;
pub mod host_image;
pub mod host_init_agent;
pub mod host_init_shell;
pub mod host_install;
pub mod host_status;
pub mod host_uninstall;
pub mod host_update;
pub mod image;
pub mod install;
pub mod install_shell;
mod many;
pub mod out;
pub mod remote;
mod said;
pub mod screen;
pub mod show;
pub mod status;
pub mod steps;
pub mod table;
pub mod verbs;
pub mod words;
