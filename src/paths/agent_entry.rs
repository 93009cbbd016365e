//! The files of one agent in the shell host's registry.

use std::path::{Path, PathBuf};

/// What the shell host keeps about one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentEntry {
    pub(super) dir: PathBuf,
}

impl AgentEntry {
    /// The directory ([`CONFIG_DIR`](super::CONFIG_DIR)).
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the agent is dialled, one line: `host` or `host:port`
    /// ([`PUBLIC_FILE`](super::PUBLIC_FILE)).
    pub fn host(&self) -> PathBuf {
        self.dir.join("agent-host")
    }

    /// The agent's pinned host key ([`PUBLIC_FILE`](super::PUBLIC_FILE)).
    pub fn host_key(&self) -> PathBuf {
        self.dir.join("host_key.pub")
    }

    /// The key that the shell host dials the agent with ([`SERVICE_KEY`](super::SERVICE_KEY)).
    pub fn shell_to_agent_key(&self) -> PathBuf {
        self.dir.join("shell_to_agent_ed25519_key")
    }

    /// Its public half ([`PUBLIC_FILE`](super::PUBLIC_FILE)).
    pub fn shell_to_agent_public_key(&self) -> PathBuf {
        self.dir.join("shell_to_agent_ed25519_key.pub")
    }

    /// The key that the agent dials the shell host with ([`PUBLIC_FILE`](super::PUBLIC_FILE)).
    pub fn agent_to_shell_public_key(&self) -> PathBuf {
        self.dir.join("agent_to_shell_ed25519_key.pub")
    }

    /// The certificate that was issued to it last ([`PUBLIC_FILE`](super::PUBLIC_FILE)).
    pub fn log_certificate(&self) -> PathBuf {
        self.dir.join("client.crt")
    }

    /// The secret that its log messages carry ([`PRIVATE_KEY`](super::PRIVATE_KEY)).
    pub fn log_token(&self) -> PathBuf {
        self.dir.join("log-token")
    }
}
