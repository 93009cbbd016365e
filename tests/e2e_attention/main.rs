//! Who waits for a person, on a running agent: by a stand-in that writes status files as the Claude
//! CLI does, with faults, and by the CLI itself before a scripted model.

#![allow(clippy::panic, reason = "a harness has no other way to fail a test")]

#[path = "../support/mod.rs"]
mod support;

mod cost;
mod events;
mod real_cli;
mod stand_in;
mod transitions;

use std::path::PathBuf;
use std::time::Duration;

use convocate::base::uuid::Uuid;
use serde_json::Value;
use support::Need;
use support::agent::Agent;
use support::hub::Hub;
use support::process::Finished;

const NEEDS: [Need; 2] = [Need::Program("ssh-keygen"), Need::Program("tmux")];

/// An agent of the `host` runtime, and the hub that it tells.
struct Cluster {
    agent: Agent,
    hub: Hub,
}

impl Cluster {
    fn start(test: &str, more: &[Need]) -> Option<Cluster> {
        if !support::has(test, &NEEDS) || !support::has(test, more) {
            return None;
        }
        let files = support::agent::AgentFiles::write();
        let hub = Hub::start(&files);
        let port = hub.address.port().to_string();
        let agent = Agent::start_with(files, &["--runtime", "host", "--shell-port", &port]);
        hub.waits_for_agent(support::agent::AGENT_ID, "connected");
        Some(Cluster { agent, hub })
    }

    /// Where a session's home is.
    fn home(&self, id: &str) -> PathBuf {
        self.agent.files.root.paths().session(Uuid::parse(id).expect("a session's id"))
    }

    fn client(&self, arguments: &[&str]) -> Finished {
        self.agent.client(arguments)
    }

    /// Creates a session that runs, and gives its id.
    #[track_caller]
    fn session(&self, name: &str, command: &str) -> String {
        let made = self.client(&["new", name, "--json", "--command", command]).expect_done();
        self.client(&["start", name]).expect_done();
        let made: Value = serde_json::from_slice(&made.stdout).expect("JSON");
        made["uuid"].as_str().expect("a session has an id").to_owned()
    }
}

/// The median and the last of a hundred of some times.
fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    format!("{} times: median {:?}, p99 {:?}", times.len(), at(50), at(99))
}
