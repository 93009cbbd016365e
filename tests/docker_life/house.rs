//! An agent on the engine of this machine, with containers that are gone when the test is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::engine::Engine;
use crate::support::agent::{Agent, AgentFiles};
use crate::support::process::{CONVOCATE, Finished, command, run};
use crate::support::terminal::Terminal;
use crate::support::wait::{PATIENCE, poll, wait_for};
use crate::support::{self, Need};

/// Docker may take its time on a machine that does much else.
const DOCKER_PATIENCE: Duration = Duration::from_secs(60);

/// What these tests cannot do without.
pub const NEEDS: [Need; 4] =
    [Need::Docker, Need::Root, Need::Program("tmux"), Need::Program("ssh-keygen")];

/// The agent, the stand before its engine, and what both leave behind.
pub struct House {
    pub agent: Agent,
    pub engine: Engine,
}

/// What a house stands on, where this machine has all that it takes.
fn ground<T>(
    test: &str,
    prepare: impl FnOnce(&AgentFiles) -> T,
) -> Option<(AgentFiles, T, Engine)> {
    if !support::has(test, &NEEDS) {
        return None;
    }
    make_image();
    let files = AgentFiles::write();
    let prepared = prepare(&files);
    let engine = Engine::start(files.root.dir());
    Some((files, prepared, engine))
}

impl House {
    /// Starts an agent; `None` if `test` cannot run here, which has been reported then.
    pub fn open(test: &str) -> Option<House> {
        House::open_on(test, |_| ()).map(|(house, ())| house)
    }

    /// The same on files that `prepare` has changed.
    pub fn open_on<T>(test: &str, prepare: impl FnOnce(&AgentFiles) -> T) -> Option<(House, T)> {
        let (files, prepared, engine) = ground(test, prepare)?;
        let agent = Agent::start_with(files, &arguments(&engine));
        Some((House { agent, engine }, prepared))
    }

    /// The same with an agent that `call` starts.
    pub fn open_by<T>(
        test: &str,
        prepare: impl FnOnce(&AgentFiles) -> T,
        call: impl FnOnce(&T, &AgentFiles, &Engine, &str) -> Command,
    ) -> Option<(House, T)> {
        let (files, prepared, engine) = ground(test, prepare)?;
        let mut call = call(&prepared, &files, &engine, "127.0.0.1:0");
        let agent = Agent::start_by(files, &mut call);
        Some((House { agent, engine }, prepared))
    }

    /// Kills the agent and starts it again, on the same port.
    pub fn restart_agent(&mut self) {
        self.agent.restart(&arguments(&self.engine));
    }

    /// The same by `call`.
    pub fn restart_by(&mut self, call: impl FnOnce(&AgentFiles, &Engine, &str) -> Command) {
        let House { agent, engine } = self;
        agent.restart_by(|files, listen| call(files, engine, listen));
    }

    /// Calls the client.
    pub fn call(&self, arguments: &[&str]) -> Finished {
        self.agent.client(arguments)
    }

    /// Calls the client, which must succeed.
    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> Finished {
        self.call(arguments).expect_done()
    }

    /// Creates a session and gives its id.
    #[track_caller]
    pub fn create(&self, name: &str, more: &[&str]) -> String {
        // What other houses run on this engine counts against this host's capacity.
        let arguments = ["new", name, "--command", "bash --norc", "--cpus", "0.2", "--json"];
        let arguments = [&arguments, more].concat();
        let session: Value = json(&self.done(&arguments).out());
        session["uuid"].as_str().expect("a session has an id").to_owned()
    }

    /// What the agent says of a session.
    #[track_caller]
    pub fn show(&self, session: &str) -> Value {
        json(&self.done(&["show", session, "--json"]).out())
    }

    /// The names of all sessions in their order, none of which may be broken.
    #[track_caller]
    pub fn names(&self) -> Vec<String> {
        let listed = json(&self.done(&["ls", "--json"]).out());
        let sessions = listed["sessions"].as_array().expect("a listing has sessions");
        let name = |session: &Value| {
            assert!(session["broken"].is_null(), "{session}");
            session["name"].as_str().expect("a session has a name").to_owned()
        };
        let mut names: Vec<String> = sessions.iter().map(name).collect();
        names.sort();
        names
    }

    /// What lies in the directory of homes besides the skeleton, in its order.
    pub fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.sessions()).expect("it is there").flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| name != ".skel").collect();
        names.sort();
        names
    }

    /// The first column of a listing.
    #[track_caller]
    pub fn state(&self, session: &str) -> String {
        self.show(session)["state"].as_str().expect("a session has a state").to_owned()
    }

    /// Waits for the first column of a listing.
    #[track_caller]
    pub fn wait_for_state(&self, session: &str, state: &str) {
        let mut last = String::new();
        let seen = poll(PATIENCE, || {
            last = self.state(session);
            (last == state).then_some(())
        });
        assert!(seen.is_some(), "{last:?} is not {state:?}: {}", self.agent.log());
    }

    /// Attaches a terminal and waits for it.
    #[track_caller]
    pub fn attach(&self, session: &str, name: &str, more: &[&str]) -> Terminal<'_> {
        let mut call = command(&self.agent.files.root, CONVOCATE);
        call.args(["attach", session]).args(more).arg("--root").arg(self.agent.files.root.dir());
        let terminal = Terminal::start(&self.agent.files.root, name, (100, 30), &call);
        terminal.wait_for(if more.contains(&"--read-only") { "leaves" } else { "detaches" });
        terminal
    }

    /// The home of a session.
    pub fn home(&self, session: &str) -> PathBuf {
        self.sessions().join(session)
    }

    /// Where homes are.
    pub fn sessions(&self) -> PathBuf {
        self.agent.files.root.paths().sessions()
    }

    /// Runs something in a session's container, as its user.
    pub fn inside(&self, session: &str, script: &str) -> Finished {
        let user = self.user(session).to_string();
        self.docker(&["exec", "-u", &user, &container(session), "sh", "-c", script])
    }

    /// The number of a session's user.
    #[track_caller]
    pub fn user(&self, session: &str) -> u32 {
        let records = self.agent.files.root.paths().agent_state().join("sessions");
        let record = fs::read_to_string(records.join(format!("{session}.json")));
        let uid = json(&record.expect("it has a record"))["uid"].as_u64();
        uid.and_then(|uid| u32::try_from(uid).ok()).expect("it has a user")
    }

    /// How many clients a session's tmux has.
    pub fn clients(&self, session: &str) -> usize {
        self.inside(session, "tmux list-clients").out().lines().count()
    }

    /// Calls the docker CLI.
    pub fn docker(&self, arguments: &[&str]) -> Finished {
        let mut call = command(&self.agent.files.root, "docker");
        run(call.args(arguments), b"", DOCKER_PATIENCE)
    }

    /// The names of all containers whose home is in this house.
    pub fn containers(&self) -> Vec<String> {
        containers_below(self.agent.files.root.dir())
    }

    /// Waits for a part of the agent's log.
    #[track_caller]
    pub fn wait_for_log(&self, part: &str) {
        let found = poll(PATIENCE, || self.agent.log().contains(part).then_some(()));
        assert!(found.is_some(), "{part:?} is not in the log:\n{}", self.agent.log());
    }

    /// The agent's resident memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.agent.process().pid());
        let status = fs::read_to_string(path).expect("the agent lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("a number of KiB")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // A killed agent starts nothing behind our back.
        self.engine.come_back();
        self.agent.process().signal(rustix::process::Signal::KILL);
        for name in self.containers() {
            let _gone = self.docker(&["rm", "-f", "-v", &name]);
        }
    }
}

/// The container of a session.
pub fn container(session: &str) -> String {
    format!("convocate-session-{session}")
}

/// How long `act` takes.
pub fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (act(), start.elapsed())
}

/// Waits for a count of tmux clients.
#[track_caller]
pub fn wait_for_clients(house: &House, session: &str, count: usize) {
    wait_for(PATIENCE, &format!("{count} clients"), || {
        (house.clients(session) == count).then_some(())
    });
}

#[track_caller]
pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn arguments(engine: &Engine) -> [&str; 4] {
    let socket = engine.socket().to_str().expect("the path is text");
    ["--runtime", "docker", "--docker-socket", socket]
}

fn containers_below(root: &Path) -> Vec<String> {
    let mut call = Command::new("docker");
    call.args(["ps", "-a", "--no-trunc", "--filter", "label=convocate.session"]);
    let listed = call.args(["--format", "{{.Names}} {{.Mounts}}"]).output().expect("docker runs");
    let root = format!("{}/", root.display());
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let ours = listed.lines().filter(|line| line.contains(&root));
    ours.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The session image, made from the sources of this tree where it is missing or older.
fn make_image() {
    static MADE: Once = Once::new();
    MADE.call_once(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/base-image.sh");
        let made = Command::new("sh").arg(script).status().expect("sh runs");
        assert!(made.success(), "the session image could not be made");
    });
}
