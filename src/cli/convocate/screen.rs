//! `convocate screen`: what stands on the screens of sessions, as text; without one, the screen
//! over all agents, which is also what `convocate` without a command runs.

use serde_json::json;

use crate::cli::command::{Command, Flag, Operand, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSIONS};
use crate::cli::convocate::sessions::{
    ask_newer, choose_session, end_in_words, for_each_session, names_json,
};
use crate::cli::output::{Failure, Out};
use crate::cli::screen;
use crate::cli::shared_flags::{JSON, ROOT, read_flag, root_paths};
use crate::exit::Exit;
use crate::fleet::run::Runner;
use crate::fleet::select::Care;
use crate::limits::RPC_ANSWER_TIMEOUT;
use crate::rpc::call::Call;
use crate::rpc::drive::{HistoryLines, Screen, ScreenText};
use crate::rpc::field::shown;

const LINES: Flag = Flag::value("lines", "N", "and so many lines that have left it");

pub(crate) const SCREEN: Command = Command {
    name: "screen",
    summary: "show all sessions on a screen, or print what stands on a session's",
    operands: &[Operand { is_optional: true, ..SESSIONS }],
    flags: &[LINES, AGENT, JSON, ROOT],
    help: "\
Shows and drives all sessions. ? lists the keys, Q leaves, and sessions run on. As a
login shell, convocate shows it to whoever logs in with a terminal. NO_COLOR turns
colours off. Changes appear by themselves: from the status hub of this host where one
runs, else the screen asks the agents every few seconds.

With a SESSION, prints what stands on its screen, without colours; of one that does not
run, what stood there at its end. Several come each under its name.
",
    run,
};

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let lines = read_flag(parsed, &LINES, history_lines)?.unwrap_or_default();
    let only_of_sessions = [&LINES, &AGENT, &JSON];
    match parsed.operands() {
        [] => match only_of_sessions.into_iter().find(|flag| parsed.has(flag)) {
            Some(flag) => Err(Failure::Usage(format!("--{} needs a SESSION", flag.name))),
            None => screen::run(&root_paths(parsed)?, parsed.value(&ROOT), None, out),
        },
        many => {
            let mut left = many.len();
            let is_only = left == 1;
            for_each_session(parsed, out, &mut |text, runner, out| {
                left -= 1;
                show(parsed, text, lines, runner, out, !is_only)?;
                if !is_only && left > 0 && !parsed.has(&JSON) { out.text("\n") } else { Ok(()) }
            })
        }
    }
}

fn history_lines(text: &str) -> Result<HistoryLines, String> {
    let number = text.parse().map_err(|_| format!("{} must be a number", shown(text)))?;
    HistoryLines::new(number).map_err(|error| error.to_string())
}

fn show(
    parsed: &Parsed,
    text: &str,
    lines: HistoryLines,
    runner: &mut Runner,
    out: &mut Out<'_>,
    is_named: bool,
) -> Result<(), Failure> {
    let found = choose_session(parsed, text, runner, Care::Usual)?;
    let call = Call::Screen(Screen { id: found.session.uuid, lines });
    let result = ask_newer(runner, &found, &call, RPC_ANSWER_TIMEOUT)?;
    let ScreenText { running, screen, ended } = serde_json::from_value(result)
        .map_err(|error| Failure::Failed(format!("unexpected answer: {error}")))?;
    if parsed.has(&JSON) {
        let mut value = names_json(&found);
        value["running"] = json!(running);
        value["screen"] = json!(screen);
        if let Some(ended) = ended {
            value["ended"] = json!(ended);
        }
        return out.json(&value);
    }
    let name = &found.session.name;
    if is_named {
        out.text(&format!("{name:?} {} on {}:", found.session.uuid, found.host))?;
    }
    if !running {
        out.flush()?;
        let how = ended.map(|ended| end_in_words(&found, &ended, runner.wall()));
        let how =
            how.unwrap_or_else(|| "nobody knows how it ended, or whether it ever ran".to_owned());
        out.note(&format!("session {name:?} does not run: {how}"));
    }
    out.text(&screen)
}
