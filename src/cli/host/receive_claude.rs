//! `receive-claude`: the host's part of putting the Claude CLI there.

use std::time::Duration;

use serde_json::json;

use crate::cli::command::{Command, Parsed};
use crate::cli::output::{Failure, Out};
use crate::cli::request::init_agent_request;
use crate::cli::shared_flags::REQUEST;
use crate::cli::turn::turn;
use crate::exit::Exit;
use crate::provision::engine::{StepMode, StepTally};
use crate::provision::enrol::messages::ReceiveClaude;
use crate::provision::report::ReportLine;
use crate::provision::run::receive_claude::receive;

pub(crate) const RECEIVE_CLAUDE: Command = Command {
    name: "receive-claude",
    summary: "",
    operands: &[],
    flags: &[REQUEST],
    help: "\
Not for people: convocate-host init-agent and update run it on the agent host and send the
Claude CLI on standard input.
",
    run: receive_claude,
};

fn receive_claude(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let (paths, wanted): (_, ReceiveClaude) = init_agent_request(parsed)?;
    let _turn = turn(&paths, StepMode::Apply, out)?;
    let received = receive(&paths, &wanted, &mut std::io::stdin().lock());
    out.json(&json!({ "error": received.err() }))?;
    // The step is the caller's.
    let end = ReportLine::end(StepTally::default(), StepMode::Apply, Duration::ZERO);
    out.json(&json!(end))?;
    Ok(Exit::Done)
}
