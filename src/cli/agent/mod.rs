//! The `convocate-agent` program: its table of commands.
//!
//! To add a command: write `cli/agent/VERB.rs` with a `pub(crate) const VERB: Command` (its flags,
//! its help and the function that runs it), declare the module here, and put the constant into
//! [`PROGRAM`] where the help is to show it. Flags of several commands are in
//! [`crate::cli::shared_flags`].

pub mod check;
pub mod dial;
pub mod enrol;
pub mod install;
pub mod install_certificate;
pub mod open_network;
pub mod prune_images;
pub mod serve;

use crate::cli::agent::check::CHECK_HOST;
use crate::cli::agent::dial::DIAL;
use crate::cli::agent::enrol::ENROL;
use crate::cli::agent::install::INSTALL;
use crate::cli::agent::install_certificate::INSTALL_CERTIFICATE;
use crate::cli::agent::open_network::OPEN_NETWORK;
use crate::cli::agent::prune_images::PRUNE_IMAGES;
use crate::cli::agent::serve::SERVE;
use crate::cli::command::Program;
use crate::cli::host::receive_claude::RECEIVE_CLAUDE;
use crate::cli::host::ship_image::RECEIVE_IMAGE;
use crate::cli::start::{VERSION, run_with_streams};
use crate::exit::Exit;

pub(crate) static PROGRAM: Program = Program {
    name: "convocate-agent",
    summary: "own the sessions of one host",
    commands: &[
        SERVE,
        INSTALL,
        ENROL,
        INSTALL_CERTIFICATE,
        CHECK_HOST,
        PRUNE_IMAGES,
        OPEN_NETWORK,
        DIAL,
        RECEIVE_IMAGE,
        RECEIVE_CLAUDE,
        VERSION,
    ],
    fallback: None,
    groups: &[],
    epilogue: "",
};

/// Runs the program with the process's own words and streams.
pub fn main() -> Exit {
    run_with_streams(&PROGRAM, Ok(std::env::args_os().skip(1).collect()))
}
