//! `convocate attach`: attaches this terminal to a session.

use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::convocate::attach_terminal::{come_back, could_not, run, take_screen};
use crate::cli::convocate::session_flags::{AGENT, SESSION};
use crate::cli::convocate::sessions::{choose_session, open_fleet};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::ROOT;
use crate::exit::Exit;
use crate::fleet::select::Care;

const READ_ONLY: Flag = Flag {
    name: "read-only",
    value: None,
    summary: "only look: no key reaches the session; Ctrl-C leaves",
    choices: &[],
};

pub(crate) const ATTACH: Command = Command {
    name: "attach",
    summary: "attach this terminal to a session, and start it if it is stopped",
    operands: &[SESSION],
    flags: &[READ_ONLY, AGENT, ROOT],
    help: "\
Detach as in tmux: Ctrl-B d, unless the session's tmux says otherwise. A lost
connection is dialled again by itself; the session is not harmed by it. The status
is 0 after detaching or when the session has ended, 254 if the connection was lost
and could not be had back, 255 if there never was a terminal.
",
    run: attach,
};

fn attach(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let screen = take_screen()?;
    let mut runner = open_fleet(parsed, out).map_err(could_not)?;
    let found = choose_session(parsed, &mut runner, Care::Usual).map_err(could_not)?;
    let come_back = come_back(parsed, found.session.uuid);
    run(runner, screen, &found, parsed.has(&READ_ONLY), &come_back, out).map_err(could_not)
}
