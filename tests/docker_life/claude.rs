//! The real Claude CLI in sessions, before a model that is a stand-in: no question in an empty
//! home, and the login of the host, which stands nowhere else.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::house::{House, container};
use crate::support::claude_cli::program;
use crate::support::hub::Hub;
use crate::support::model::{ANSWER, Model};
use crate::support::process::{CONVOCATE, command};
use crate::support::terminal::Terminal;
use crate::support::wait::{PATIENCE, poll, wait_until};
use crate::support::{self, Need, agent::AgentFiles};

const TOKEN: &str = "sk-ant-oat01-the-token-of-these-tests-0123456789";
const OTHER_TOKEN: &str = "sk-ant-oat01-the-other-token-of-these-tests-98765";
const KEY: &str = "sk-ant-api03-the-key-of-these-tests-0123456789";
/// What the CLI shows below its prompt, when nothing is asked any more.
const PROMPT: &str = "bypass permissions on";

/// A house whose host has the program, a login and a model.
struct ClaudeHouse {
    house: House,
    _hub: Hub,
    model: Model,
}

impl ClaudeHouse {
    fn open(test: &str, login: &str) -> Option<ClaudeHouse> {
        let program = program(test)?;
        if !support::has(test, &[Need::Docker, Need::Root]) {
            return None;
        }
        let model = Model::start(gateway());
        let prepare = |files: &AgentFiles| {
            let paths = files.root.paths();
            let local = files.root.dir().join("usr/local/bin");
            fs::create_dir_all(&local).unwrap();
            symlink(&program, local.join("claude")).unwrap();
            let conf = format!("claude-base-url {}\n", model.url());
            files.root.write(&config(&paths, "agent.conf"), &conf, 0o644);
            files.root.write(&config(&paths, "claude-token"), &format!("{login}\n"), 0o600);
            Hub::start(files)
        };
        let (house, hub) = House::open_on(test, prepare)?;
        Some(ClaudeHouse { house, _hub: hub, model })
    }

    fn new_session(&self, name: &str, more: &[&str]) -> String {
        let made = self.house.done(&[&["new", name, "--json"], more].concat()).out();
        let made: Value = serde_json::from_str(&made).unwrap();
        made["uuid"].as_str().unwrap().to_owned()
    }

    fn attach(&self, session: &str) -> Terminal<'_> {
        let root = &self.house.agent.files.root;
        let mut call = command(root, CONVOCATE);
        call.args(["attach", session, "--root"]).arg(root.dir());
        Terminal::start(root, session, (100, 30), &call)
    }

    /// Asks something of a session that nobody has touched, and waits for the answer. The login
    /// that came with it.
    fn ask(&self, session: &str) -> String {
        let terminal = self.attach(session);
        terminal.wait_for(PROMPT);
        assert!(!terminal.screen().contains("Not logged in"), "{}", terminal.screen());
        terminal.type_text("say something");
        terminal.wait_for("say something");
        terminal.press("Enter");
        terminal.wait_for(ANSWER);
        self.model.logins().last().cloned().expect("it was asked")
    }
}

/// The address of this machine for containers.
fn gateway() -> std::net::IpAddr {
    let mut call = Command::new("docker");
    call.args(["network", "inspect", "bridge", "-f", "{{json .IPAM.Config}}"]);
    let told = call.output().expect("docker runs").stdout;
    let config: Value = serde_json::from_slice(&told).unwrap();
    let subnet = config[0]["Subnet"].as_str().unwrap().split_once(".0/").unwrap().0.to_owned();
    let found = config[0]["Gateway"].as_str().map_or(format!("{subnet}.1"), str::to_owned);
    found.parse().unwrap()
}

/// The command lines of this machine.
fn processes() -> String {
    let listed = Command::new("ps").args(["axww", "-o", "args"]).output().expect("ps runs");
    String::from_utf8_lossy(&listed.stdout).into_owned()
}

fn config(paths: &convocate::paths::Paths, name: &str) -> PathBuf {
    paths.agent_host_key().with_file_name(name)
}

/// The files below a directory that have `part` in them.
fn with_part(directory: &Path, part: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            with_part(&entry.path(), part, found);
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            if bytes.windows(part.len()).any(|piece| piece == part.as_bytes()) {
                found.push(entry.path());
            }
        }
    }
}

#[test]
fn an_empty_home_goes_straight_to_the_prompt_and_the_token_stands_nowhere() {
    let test = "an_empty_home_goes_straight_to_the_prompt_and_the_token_stands_nowhere";
    let Some(claude) = ClaudeHouse::open(test, TOKEN) else { return };
    let house = &claude.house;
    let id = claude.new_session("first", &[]);
    assert_eq!(fs::read_dir(house.home(&id)).unwrap().count(), 0);
    assert_eq!(claude.ask(&id), format!("bearer {TOKEN}"));

    let given = house.agent.files.root.paths().agent_state().join("given").join(&id);
    let settings = fs::metadata(given.join("managed-settings.json")).unwrap();
    assert_eq!((settings.uid(), settings.mode() & 0o7777), (house.user(&id), 0o400));
    for script in ["echo x >/etc/claude-code/x", "rm -f /etc/claude-code/managed-settings.json"] {
        let refused = house.inside(&id, script).err();
        assert!(refused.contains("Read-only file system"), "{script}: {refused}");
    }
    let mut found = Vec::new();
    with_part(house.agent.files.root.dir(), TOKEN, &mut found);
    found.sort();
    let paths = house.agent.files.root.paths();
    assert_eq!(found, [config(&paths, "claude-token"), given.join("managed-settings.json")]);
    let container = container(&id);
    let told = [
        house.docker(&["inspect", &container]).out(),
        house.docker(&["logs", &container]).out(),
        house.docker(&["top", &container, "axww"]).out(),
        processes(),
        house.agent.log(),
        house.done(&["show", "first", "--json"]).out(),
        house.done(&["agents", "--json"]).out(),
    ];
    for text in &told {
        assert!(!text.contains(TOKEN) && !text.is_empty(), "{text}");
    }
    let agents: Value = serde_json::from_str(told.last().unwrap()).unwrap();
    assert_eq!(agents["agents"][0]["claude_login"], "token");
    assert_eq!(agents["agents"][0]["has_claude"], true);

    // Another token is taken at the next start, and one that others read is refused.
    let path = config(&paths, "claude-token");
    fs::write(&path, OTHER_TOKEN).unwrap();
    house.done(&["kill", &id]);
    assert_eq!(claude.ask(&id), format!("bearer {OTHER_TOKEN}"));
    house.done(&["kill", &id]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = house.call(&["restart", &id]);
    assert!(refused.err().contains("claude-token has mode 0644"), "{}", refused.err());
    house.done(&["rm", &id]);
    assert!(!given.exists());
}

#[test]
fn an_api_key_is_used_without_a_question_and_not_without_the_right() {
    let test = "an_api_key_is_used_without_a_question_and_not_without_the_right";
    let Some(claude) = ClaudeHouse::open(test, KEY) else { return };
    let with = claude.new_session("with", &[]);
    assert_eq!(claude.ask(&with), format!("key {KEY}"));
    claude.house.done(&["kill", &with]);
    let without = claude.new_session("without", &["--claude-login", "no"]);
    let terminal = claude.attach(&without);
    terminal.wait_for("Not logged in");
    let listed = claude.house.inside(&without, "ls -A /etc/claude-code");
    assert_eq!(listed.out().trim(), "managed-settings.json");
    let show = claude.house.done(&["show", &without]).out();
    assert!(show.contains("claude login  none"), "{show}");
}

#[test]
fn a_missing_claude_is_named_and_one_that_comes_later_is_there() {
    let test = "a_missing_claude_is_named_and_one_that_comes_later_is_there";
    let Some(house) = House::open(test) else { return };
    house.done(&["new", "early"]);
    let advice = "claude is not installed on 127.0.0.1; run: convocate-host init-agent --host \
                  127.0.0.1 --claude FILE";
    let started = house.call(&["restart", "early"]);
    // On a busy machine it ends behind the second that restart waits for.
    assert!(started.code() == 0 || started.err().contains(advice), "{}", started.err());
    let ended =
        poll(PATIENCE, || house.done(&["show", "early"]).out().contains(advice).then_some(()));
    assert!(ended.is_some(), "{}", house.done(&["show", "early"]).out());
    for call in [&["ls"][..], &["show", "early"], &["agents"]] {
        let told = house.done(call);
        assert!(format!("{}{}", told.out(), told.err()).contains(advice), "{}", told.err());
    }
    let root = &house.agent.files.root;
    let mut call = command(root, CONVOCATE);
    call.args(["attach", "early", "--root"]).arg(root.dir());
    let terminal = Terminal::start(root, "early", (160, 30), &call);
    terminal.exit_status();
    let seen = terminal.history();
    assert!(seen.contains(advice), "{seen}\n{}", house.agent.log());

    let local = root.dir().join("usr/local/bin");
    fs::create_dir_all(&local).unwrap();
    let script = "#!/bin/sh\necho 'a claude is here'\nexec sleep infinity\n";
    fs::write(local.join("claude"), script).unwrap();
    fs::set_permissions(local.join("claude"), fs::Permissions::from_mode(0o755)).unwrap();
    // The agent looks once a second.
    wait_until(PATIENCE, "a claude", || !house.done(&["ls"]).err().contains(advice));
    house.done(&["restart", "early"]);
    let seen = poll(PATIENCE, || {
        let screen = house.done(&["screen", "early"]).out();
        screen.contains("a claude is here").then_some(())
    });
    assert!(seen.is_some());
}
