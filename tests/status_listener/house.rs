//! A shell host and an agent host under one root.

use serde_json::Value;

use crate::support::agent::{Agent, AgentFiles};
use crate::support::hub::Hub;
use crate::support::openssh::OpenSsh;
use crate::support::{self, Need};

/// Both, with the listener first.
pub struct House {
    pub agent: Agent,
    pub hub: Hub,
}

/// Whether `test` can run here.
#[must_use]
pub fn can(test: &str) -> bool {
    support::has(test, &[Need::Program("ssh-keygen"), Need::Program("tmux"), Need::Program("ssh")])
}

impl House {
    pub fn start() -> House {
        let files = AgentFiles::write();
        let hub = Hub::start(&files);
        House { agent: Agent::start_with(files, &["--runtime", "host"]), hub }
    }

    /// Makes a session and gives its id.
    pub fn create(&self, arguments: &[&str]) -> String {
        let all = [&["new"], arguments, &["--command", "sh", "--json"]].concat();
        let made = self.agent.client(&all).expect_done().out();
        let made: Value = serde_json::from_str(&made).expect("JSON");
        made["uuid"].as_str().expect("an id").to_owned()
    }

    pub fn hosts(&self) -> String {
        let path = self.agent.files.root.paths().dns_hosts();
        std::fs::read_to_string(path).unwrap_or_default()
    }
}

/// A shell host alone, at which the stock client can be the agent: one connection speaks for an
/// agent, so a real one would take its place.
pub struct Shell {
    pub files: AgentFiles,
    pub hub: Hub,
}

impl Shell {
    pub fn start() -> Shell {
        let files = AgentFiles::write();
        let hub = Hub::start(&files);
        Shell { files, hub }
    }

    /// The stock client at the listener, with the agent's key.
    pub fn ssh(&self) -> OpenSsh<'_> {
        let AgentFiles { root, pusher, status, .. } = &self.files;
        OpenSsh::to(root, self.hub.address, pusher, status)
    }
}
