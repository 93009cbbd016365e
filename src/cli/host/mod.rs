//! The `convocate-host` program: what turns machines into hosts of a cluster.
//!
//! To add a subcommand: a file here, named as the verb, with its `Command` (flags, help, `run`),
//! and its line in [`PROGRAM`]. What it does on hosts goes into a file of the same name in
//! [`provision::workflow`](crate::provision::workflow), by `HostSession`s, and reports
//! `HostEvent`s.

mod create_vm;
mod flags;
mod init_agent;
mod init_shell;
mod install;
mod migrate_session;
mod output;
pub(crate) mod receive_claude;
mod remove_agent;
pub(crate) mod ship_image;
mod status;
mod uninstall;
mod update;

use crate::cli::command::Program;
use crate::cli::host::create_vm::CREATE_VM;
use crate::cli::host::init_agent::INIT_AGENT;
use crate::cli::host::init_shell::INIT_SHELL;
use crate::cli::host::install::INSTALL;
use crate::cli::host::migrate_session::{MIGRATE_SESSION, RECEIVE_SESSION};
use crate::cli::host::receive_claude::RECEIVE_CLAUDE;
use crate::cli::host::remove_agent::REMOVE_AGENT;
use crate::cli::host::ship_image::{RECEIVE_IMAGE, SHIP_IMAGE};
use crate::cli::host::status::STATUS;
use crate::cli::host::uninstall::UNINSTALL;
use crate::cli::host::update::UPDATE;
use crate::cli::start::{VERSION, run_with_streams};
use crate::exit::Exit;

pub(crate) static PROGRAM: Program = Program {
    name: "convocate-host",
    summary: "turn machines into hosts of a cluster",
    commands: &[
        INSTALL,
        INIT_SHELL,
        INIT_AGENT,
        UPDATE,
        STATUS,
        REMOVE_AGENT,
        UNINSTALL,
        MIGRATE_SESSION,
        CREATE_VM,
        SHIP_IMAGE,
        RECEIVE_IMAGE,
        RECEIVE_CLAUDE,
        RECEIVE_SESSION,
        VERSION,
    ],
    fallback: None,
    groups: &[],
    epilogue: "\
From vanilla machines to a cluster: install on each of them, init-shell on the one
where you work, and there init-agent for each that is to have sessions. Each says with
--check what it would do, and can be run again at any time.
",
};

/// Runs the program with the process's own words and streams.
pub fn main() -> Exit {
    run_with_streams(&PROGRAM, Ok(std::env::args_os().skip(1).collect()))
}
