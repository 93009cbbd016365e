//! The `convocate-host` program: what turns machines into hosts, as far as it is built.

use super::command::Program;
use super::convocate::{VERSION, run_with_streams};
use super::host_init_shell::INIT_SHELL;
use super::host_install::INSTALL;
use crate::exit::Exit;

/// The program.
pub static PROGRAM: Program = Program {
    name: "convocate-host",
    summary: "turn machines into hosts of a cluster",
    commands: &[INSTALL, INIT_SHELL, VERSION],
    fallback: None,
    epilogue: "\
An agent host gets its role by hand yet, as the README describes: this version has no
command for that.
",
};

/// Runs the program with the process's own words and streams.
pub fn main() -> Exit {
    run_with_streams(&PROGRAM, Ok(std::env::args_os().skip(1).collect()))
}
