//! `convocate screen`, which is also what `convocate` without a command runs.

use crate::cli::command::{Command, Parsed};
use crate::cli::output::{Failure, Out};
use crate::cli::screen;
use crate::cli::shared_flags::{ROOT, root_paths};
use crate::exit::Exit;

pub(crate) const SCREEN: Command = Command {
    name: "screen",
    summary: "the screen over all agents; without any command, too",
    operands: &[],
    flags: &[ROOT],
    help: "\
Shows and drives all sessions. ? lists the keys, Q leaves, and sessions run on. As a
login shell, convocate shows it to whoever logs in with a terminal. NO_COLOR turns
colours off. Changes appear by themselves: from the status hub of this host where one
runs, else the screen asks the agents every few seconds.
",
    run,
};

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    screen::run(&root_paths(parsed)?, parsed.value(&ROOT), None, out)
}
