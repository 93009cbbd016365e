//! The `convocate-host` program: what turns machines into hosts of a cluster.

use super::command::Program;
use super::convocate::{VERSION, run_with_streams};
use super::host_image::{RECEIVE_IMAGE, SHIP_IMAGE};
use super::host_init_agent::INIT_AGENT;
use super::host_init_shell::INIT_SHELL;
use super::host_install::INSTALL;
use super::host_status::STATUS;
use super::host_uninstall::UNINSTALL;
use super::host_update::UPDATE;
use crate::exit::Exit;

/// The program.
pub static PROGRAM: Program = Program {
    name: "convocate-host",
    summary: "turn machines into hosts of a cluster",
    commands: &[
        INSTALL,
        INIT_SHELL,
        INIT_AGENT,
        UPDATE,
        STATUS,
        UNINSTALL,
        SHIP_IMAGE,
        RECEIVE_IMAGE,
        VERSION,
    ],
    fallback: None,
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
