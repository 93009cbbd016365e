//! `convocate demo`: a whole cluster on loopback for one user, without root.
//!
//! It starts an agent with fresh keys below a private directory, creates a session and shows the
//! screen; with `--script` it runs through what a person would do. Nothing is simulated: the agent
//! is a process of its own, reached over SSH. Leaving stops and removes all of it.

mod cluster;
mod script;

use std::path::PathBuf;

use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::output::{Failure, Out};
use crate::cli::screen;
use crate::exit::Exit;
use crate::fleet::run::{Runner, Screen};
use crate::fleet::select::Selected;
use crate::io::signals::Signals;
use crate::rpc::call::Call;
use crate::rpc::session::Session;
use cluster::Cluster;

const SCRIPT: Flag =
    Flag::switch("script", "run through every step unattended, and print each with its time");
const RUNTIME: Flag = Flag::choice(
    "runtime",
    "KIND",
    "docker or host; by default docker, if an engine answers and has the image",
    &["docker", "host"],
);

pub(crate) const DEMO: Command = Command {
    name: "demo",
    summary: "try convocate out: a whole cluster on this machine, for you alone",
    operands: &[],
    flags: &[SCRIPT, RUNTIME],
    help: "\
Starts an agent on a free port of loopback, with fresh keys below a private directory,
creates a session and shows the screen. Needs no root. Sessions run in Docker if an
engine answers and has the session image, else in tmux on this machine, without
containers. Leaving the screen stops and removes everything.
",
    run: demo,
};

/// The first argument that makes this program run as the demo's agent.
pub(crate) const AGENT_WORD: &str = "demo-agent";

fn demo(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    // Before any thread, and so that no signal ends this before everything is removed.
    let _signals = Signals::block().map_err(|error| Failure::Failed(error.to_string()))?;
    let mut cluster = Cluster::build(parsed.value(&RUNTIME)).map_err(Failure::Failed)?;
    let result = if parsed.has(&SCRIPT) {
        script::run(&mut cluster, out)
    } else {
        interactive(&mut cluster, out)
    };
    let left = cluster.take_down();
    match (result, left) {
        (Ok(exit), Ok(())) => Ok(exit),
        (Err(failure), _) => Err(failure),
        (Ok(_), Err(text)) => Err(Failure::Failed(text)),
    }
}

/// Shows the screen until the person leaves it.
fn interactive(cluster: &mut Cluster, out: &mut Out<'_>) -> Result<Exit, Failure> {
    // First, so that nothing is started where there is no terminal.
    Screen::open().map(drop).map_err(|text| {
        let hint = "without a terminal, run: convocate demo --script";
        Failure::Exit(Exit::Usage, format!("{text}; {hint}"))
    })?;
    cluster.start_hub().map_err(Failure::Failed)?;
    cluster.start_agent(0).map_err(Failure::Failed)?;
    let selected = first_session(cluster)?;
    let greetings = greetings(cluster, &selected.session);
    let root = cluster.paths().root().to_string_lossy().into_owned();
    screen::run(cluster.paths(), Some(&root), Some(&greetings), out)
}

fn first_session(cluster: &Cluster) -> Result<Selected, Failure> {
    let create = cluster.first_session();
    let mut runner = Runner::open(cluster.paths()).map_err(Failure::Failed)?;
    let value =
        runner.ask(cluster.agent_id(), &Call::Create(Box::new(create))).map_err(Failure::Failed)?;
    let session: Session =
        serde_json::from_value(value).map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(Selected { session, agent: cluster.agent_id().clone(), host: cluster.address() })
}

/// The first messages on the screen; the last one stands below the table.
fn greetings(cluster: &Cluster, session: &Session) -> [String; 2] {
    let root = cluster.paths().root().display();
    let program = std::env::current_exe().map_or("convocate".into(), PathBuf::into_os_string);
    let about = format!(
        "agent {} on {}, {}; from another terminal: {} ls --root {root}",
        cluster.agent_id(),
        cluster.address(),
        cluster.runtime_text(),
        program.to_string_lossy(),
    );
    let now = format!(
        "the demo: {}. Enter attaches {:?}, C-b d comes back, Q stops and removes everything",
        cluster.runtime_text(),
        session.name
    );
    [about, now]
}

/// Prints a step's name, does it, and prints how long it took.
fn step<T>(
    out: &mut Out<'_>,
    clock: &crate::io::clock::Clock,
    name: &str,
    act: impl FnOnce() -> Result<T, String>,
) -> Result<T, Failure> {
    let start = clock.mono();
    let result = act();
    let took = clock.mono().since(start);
    let text = if result.is_ok() { "ok" } else { "FAILED" };
    out.text(&format!("{name:<58} {text:<6} {:>9.1} ms", took.as_secs_f64() * 1000.0))?;
    out.flush()?;
    result.map_err(|error| Failure::Failed(format!("{name}: {error}")))
}
