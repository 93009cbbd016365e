//! `convocate restart`: starts a stopped session, detached.

use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSION, SESSION_HELP};
use crate::cli::convocate::sessions::{
    choose_session, end_in_words, how_it_ended, open_fleet, print_change,
};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::fleet::select::Care;
use crate::limits::START_PROOF;
use crate::rpc::call::{Call, Id};

pub(crate) const RESTART: Command = Command {
    name: "restart",
    summary: "start a stopped session, detached",
    operands: &[SESSION],
    flags: &[AGENT, JSON, ROOT],
    help: SESSION_HELP,
    run,
};

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let mut runner = open_fleet(parsed, out)?;
    let found = choose_session(parsed, &mut runner, Care::Usual)?;
    let restart = Call::Restart(Id { id: found.session.uuid });
    runner.ask(&found.agent, &restart).map_err(Failure::Failed)?;
    runner.pause(START_PROOF);
    if let Some(ended) = how_it_ended(&mut runner, &found) {
        let name = &found.session.name;
        let how = end_in_words(&found, &ended, runner.wall());
        return Err(Failure::Failed(format!("session {name:?} was started, and {how}")));
    }
    print_change(parsed, out, &found, restart.op(), "started")
}
