//! `convocate attach`: attaches this terminal to a session.

use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::convocate::attach_terminal::{not_attached, run, take_screen};
use crate::cli::convocate::session_flags::{AGENT, SESSION};
use crate::cli::convocate::sessions::{choose_session, open_fleet};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::ROOT;
use crate::exit::Exit;
use crate::fleet::select::Care;
use crate::rpc::call::{Call, Id};
use crate::rpc::predecessor;

const READ_ONLY: Flag =
    Flag::switch("read-only", "only watch: no key reaches the session; Ctrl-C leaves");

pub(crate) const ATTACH: Command = Command {
    name: "attach",
    summary: "attach this terminal to a session, and start it if it is stopped",
    operands: &[SESSION],
    flags: &[READ_ONLY, AGENT, ROOT],
    help: "\
Detach as in tmux: Ctrl-B d, unless the session's tmux says otherwise; or with ~. behind
Enter, which works whatever the network does (~? helps, ~~ types one ~). When nothing has
come for 3 s to what you type, the last line says so, and how many keys are not taken.
convocate reconnects by itself when the connection is lost; the session is not harmed. Your
terminal gets what draws: nothing that asks it for something, and no images. What a
session copies (OSC 52) goes to the clipboard unless CONVOCATE_CLIPBOARD=off. The exit
status is 0 after you detach or when the session has ended, 254 if the connection was
lost and convocate could not reconnect, or the session ended with its host or the engine
there, 255 if the terminal was never attached.
",
    run: attach,
};

fn attach(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let screen = take_screen()?;
    let mut runner = open_fleet(parsed, out).map_err(not_attached)?;
    let found = choose_session(parsed, parsed.required(0), &mut runner, Care::Usual)
        .map_err(not_attached)?;
    // There, attaching starts nothing.
    if predecessor::has(&found.session) && !found.session.running {
        let start = Call::Restart(Id { id: found.session.uuid });
        let started = runner.ask(&found.agent, &start);
        started.map_err(|why| not_attached(Failure::Failed(why)))?;
    }
    let read_only = parsed.has(&READ_ONLY);
    run(parsed, runner, screen, &found, read_only, out).map_err(not_attached)
}
