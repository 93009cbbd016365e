//! The Claude CLI itself, before a model that plays a script: what it does is told as it is.
//!
//! `CONVOCATE_CLAUDE_ROUNDS` for more than once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Cluster;
use super::events::Events;
use super::support::Need;
use super::support::claude_cli::program;
use super::support::process::{Running, command};
use super::support::wait::{PATIENCE, wait_for};

/// How long a dialog shows before it takes keys.
const READING: Duration = Duration::from_millis(900);

struct Model {
    _process: Running,
    port: u16,
}

impl Model {
    fn start(cluster: &Cluster) -> Model {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e_attention");
        let mut call = command(&cluster.agent.files.root, "python3");
        call.arg("-u").arg(here.join("fake_model.py")).args(["--port", "0", "--script"]);
        let process =
            Running::start(call.arg(here.join("script.json")).args(["--log", "/dev/null"]));
        let port = wait_for(PATIENCE, "the model to listen", || {
            let said = process.stdout.text();
            said.lines().next()?.rsplit_once(':')?.1.parse().ok()
        });
        Model { _process: process, port }
    }
}

/// The session's command: the program, again and again, as a person would start it.
fn script(cluster: &Cluster, model: &Model, program: &Path) -> PathBuf {
    let path = cluster.agent.files.root.dir().join("claude.sh");
    let text = format!(
        "export IS_DEMO=1 CLAUDE_CODE_SANDBOXED=1 CLAUDE_CODE_OAUTH_TOKEN=fake \
         DISABLE_AUTOUPDATER=1 CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 \
         CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL=1 \
         ANTHROPIC_BASE_URL=http://127.0.0.1:{}\n{program} --permission-mode default\n\
         sleep 2\n{program} --permission-mode default --continue\nexec sleep 1000\n",
        model.port,
        program = program.display()
    );
    fs::write(&path, text).expect("the root is ours");
    path
}

/// What is typed, and the states that are told then, in this order; `working` may come between.
struct Step {
    name: &'static str,
    typed: &'static [&'static str],
    told: &'static [&'static str],
}

const fn step(
    name: &'static str,
    typed: &'static [&'static str],
    told: &'static [&'static str],
) -> Step {
    Step { name, typed, told }
}

const PERMISSION: &str = "waiting/permission prompt";
const ENTER: &[&str] = &["--keys", "Enter", "--answer"];
const ESCAPE: &[&str] = &["--keys", "Escape", "--answer"];

/// Everything that a person does with it in a day.
const STEPS: &[Step] = &[
    step("a turn", &["hello"], &["done/"]),
    step("a permission is asked for", &["run it"], &[PERMISSION]),
    step("it is given", ENTER, &["done/"]),
    step("a permission is asked for again", &["run it"], &[PERMISSION]),
    step("Escape at the dialog", ESCAPE, &["done/"]),
    step("a third time", &["run it"], &[PERMISSION]),
    step("it is refused", &["--keys", "4", "--answer"], &["done/"]),
    step("a question", &["ask me"], &["waiting/input needed"]),
    step("its answer", ENTER, &["done/"]),
    step("an error of the model", &["fail"], &["done/"]),
    step("a long turn", &["slow"], &["working/"]),
    step("Escape in it", ESCAPE, &["done/"]),
    step("a long turn again", &["slow"], &["working/"]),
    step("Ctrl-C in it", &["--keys", "C-c", "--answer"], &["done/"]),
    step("a helper", &["agent"], &["done/"]),
    step("a command behind it", &["background"], &["working/a background command runs", "done/"]),
    step("a menu", &["/model"], &["waiting/dialog open"]),
    step("it is left", ESCAPE, &["done/"]),
];

#[test]
fn the_claude_cli_is_told_as_it_is() {
    let test = "the_claude_cli_is_told_as_it_is";
    let Some(program) = program(test) else { return };
    let Some(cluster) = Cluster::start(test, &[Need::Program("python3")]) else { return };
    let model = Model::start(&cluster);
    let run = format!("bash {}", script(&cluster, &model, &program).display());
    let events = Events::follow(&cluster);
    let id = cluster.session("claude", &run);
    assert_eq!(events.until(&id, "idle").len(), 1);
    let rounds = std::env::var("CONVOCATE_CLAUDE_ROUNDS").ok().and_then(|it| it.parse().ok());
    let mut count = 1;
    for round in 0..rounds.unwrap_or(1) {
        for Step { name, typed, told } in STEPS {
            settle(&events, &mut count);
            let call: Vec<&str> = ["send", "claude"].iter().chain(*typed).copied().collect();
            cluster.client(&call).expect_done();
            let mut left = told.iter();
            let mut next = left.next();
            let mut seen = Vec::new();
            while let Some(wanted) = next {
                let mut told = events.next_within(PATIENCE / 4);
                if told.is_none() {
                    // A dialog's first moments take no keys, and they are long on a busy machine.
                    cluster.client(&call).expect_done();
                    told = events.next_within(PATIENCE);
                }
                let Some((_, [_, state, reason])) = told else {
                    let screen = cluster.client(&["screen", "claude"]).out();
                    panic!("round {round}, {name}: {seen:?} and not {wanted}\n{screen}");
                };
                seen.push(format!("{state}/{reason}"));
                count += 1;
                let is_it = seen.last().is_some_and(|last| last == wanted);
                // What was done is idle, because somebody has sent something.
                // A helper's end begins another turn by itself.
                let is_between = state == "working"
                    || state == "idle" && seen.len() == 1
                    || state == "done" && *name == "a command behind it";
                assert!(is_it || is_between, "round {round}, {name}: {seen:?}");
                next = if is_it { left.next() } else { next };
            }
        }
    }
    // It is killed in mid-turn, and goes on where it was.
    cluster.client(&["send", "claude", "slow"]).expect_done();
    count += events.until(&id, "working").len();
    kill_of(&cluster.home(&id));
    let seen = events.until(&id, "unknown");
    assert_eq!(seen.last().map(String::as_str), Some("unknown/the program was killed"));
    count += seen.len();
    count += events.until(&id, "idle").len();
    eprintln!("{count} transitions of the real program");
}

/// Waits until nothing has happened for a while: what runs behind a turn begins another one by
/// itself at its end. A long turn is meant to go on.
fn settle(events: &Events, count: &mut usize) {
    let mut is_working = false;
    loop {
        let span = if is_working { PATIENCE } else { READING };
        let Some((_, [_, state, _])) = events.next_within(span) else {
            assert!(!is_working, "a turn that nobody has begun does not end");
            return;
        };
        assert!(["working", "done"].contains(&state.as_str()), "{state}");
        is_working = state == "working";
        *count += 1;
    }
}

/// Kills the program that has written in a home last, without a word.
fn kill_of(home: &Path) {
    let files = fs::read_dir(super::stand_in::sessions(home)).expect("it runs").flatten();
    for file in files {
        let name = file.file_name().into_string().unwrap_or_default();
        if let Some(pid) = name.strip_suffix(".json") {
            let killed = Command::new("kill").args(["-9", pid]).status();
            assert!(killed.is_ok_and(|status| status.success()), "{name}");
        }
    }
}
