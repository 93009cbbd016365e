//! `attach`: this terminal, a session.

use crate::cli::command::Parsed;
use crate::cli::convocate::attach_terminal::{come_back, could_not, run, take_screen};
use crate::cli::convocate::session_flags::READ_ONLY;
use crate::cli::convocate::sessions::{chosen, open};
use crate::cli::output::{Failure, Out};
use crate::exit::Exit;
use crate::fleet::select::Care;

/// Attaches, and comes back when the person has left or there is nothing to come back to.
pub(crate) fn attach(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let screen = take_screen()?;
    let mut runner = open(parsed, out).map_err(could_not)?;
    let found = chosen(parsed, &mut runner, Care::Usual).map_err(could_not)?;
    let come_back = come_back(parsed, found.session.uuid);
    run(runner, screen, &found, parsed.has(&READ_ONLY), &come_back, out).map_err(could_not)
}
