//! What `convocate-host` and our programs on hosts say to each other beyond the report of steps:
//! requests, one line of JSON on standard input, and answers, one line among those of the report.
//!
//! Secrets travel here and nowhere else: never in a command line, never in what is shown.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::provision::vm::spec::Sha256Hex;

/// To `convocate install`: become a shell host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShellWanted {
    pub(crate) check: bool,
    /// What the session image is built on.
    pub(crate) base: Option<String>,
    /// Whether the session image is left to others.
    pub(crate) no_image: bool,
    /// What else this host is dialled by.
    pub(crate) names: Vec<String>,
    /// What is to become of the authority of the logs, beyond being mended.
    pub(crate) rotation: Option<RotationWanted>,
}

/// A part of the way from one authority to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RotationWanted {
    /// A new one, beside the one that is there.
    Begin,
    /// Only the new one, once every agent has its certificate from it.
    Finish,
    /// Only the new one, whoever is shut out by that.
    ForceFinish,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ShellMade {
    /// The public host key of tcp/223, as a line.
    pub(crate) status_host_key: String,
    /// In a rotation, the agents that have no certificate of the new authority yet.
    pub(crate) outstanding: Option<Vec<String>>,
}

/// To `convocate-agent install`: become an agent host, as far as that can be done alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentWanted {
    pub(crate) check: bool,
    /// What its sessions are to log in to Claude with; what is there stays if none.
    #[serde(default)]
    pub(crate) claude_login: Option<SecretText>,
    /// Which Claude CLI is to be there; what is there stays if none.
    #[serde(default)]
    pub(crate) claude_release: Option<ClaudeRelease>,
}

/// The Claude CLI of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstalledClaude {
    /// In hexadecimal.
    pub(crate) sha256: String,
    /// Whether owner and mode are right.
    pub(crate) is_right: bool,
    /// What it says of itself, if it was asked.
    #[serde(default)]
    pub(crate) version: Option<String>,
}

/// A released Claude CLI, which a host fetches by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClaudeRelease {
    pub(crate) version: String,
    pub(crate) url: String,
    /// What its publisher says of it.
    pub(crate) sha256: Sha256Hex,
}

/// To `receive-claude`: the program that follows, in its place.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiveClaude {
    pub(crate) bytes: u64,
    /// In hexadecimal.
    pub(crate) sha256: String,
}

/// What no text for people ever has in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SecretText(pub(crate) String);

/// Its answer: who the agent is. While nothing is to be changed, who it could be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AgentMade {
    pub(crate) id: String,
    pub(crate) host_name: String,
    /// The public host key of tcp/222, as a line.
    pub(crate) host_key: String,
    /// The public key that it dials the shell host with, as a line.
    pub(crate) agent_to_shell_key: String,
    /// Its request for a certificate, as PEM.
    pub(crate) certificate_request: String,
    /// The certificate that it has, as PEM.
    pub(crate) certificate: Option<String>,
    /// The layers of the session image that it has, if it has it.
    pub(crate) image: Option<String>,
    /// The Claude CLI that its host has.
    #[serde(default)]
    pub(crate) claude: Option<InstalledClaude>,
}

/// To `convocate enrol`: know this agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrolAgent {
    pub(crate) check: bool,
    pub(crate) id: String,
    /// Where it is dialled: `host` or `host:port`.
    pub(crate) host: String,
    /// The public half, as a line.
    pub(crate) host_key: String,
    /// The public key that it dials with, as a line.
    pub(crate) agent_to_shell_key: String,
    /// As PEM.
    pub(crate) certificate: String,
}

/// Its answer: what the agent must know of the shell host.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AgentKnown {
    /// The public key that drives the agent, as a line.
    pub(crate) shell_to_agent_key: String,
    /// The public host key of tcp/223, as a line.
    pub(crate) status_host_key: String,
    /// The common name of the collector's certificate.
    pub(crate) collector: String,
    /// The authorities that the collector's and the agents' certificates are from, as PEM.
    pub(crate) authorities: String,
    /// The secret that the agent's log messages carry.
    pub(crate) log_token: String,
    /// The layers of the session image that this host has, if it has it.
    pub(crate) image: Option<String>,
}

/// To `convocate-agent enrol`: belong to this shell host, and start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrolHere {
    pub(crate) check: bool,
    /// Where the shell host is dialled: `host`.
    pub(crate) shell_host: String,
    /// What the shell host said.
    pub(crate) known: AgentKnown,
    /// As PEM.
    pub(crate) certificate: String,
    /// The image that new containers use.
    pub(crate) image: String,
    /// The layers that it must have.
    pub(crate) layers: Option<String>,
    /// The words of a log line that is written at the end.
    pub(crate) mark: String,
}

/// To `convocate prove`: show that this agent works, and write down what certificate it has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProveAgent {
    /// Whether nothing is to be changed: then nothing is proven either.
    pub(crate) check: bool,
    pub(crate) id: String,
    /// As PEM; the agent has it by now.
    pub(crate) certificate: String,
    /// The words of the log line that must arrive.
    pub(crate) mark: String,
}

/// An answer that says nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Done {}

impl fmt::Debug for SecretText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SecretText(..)")
    }
}

/// There is a secret in it.
impl fmt::Debug for AgentKnown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "AgentKnown({}, ..)", self.collector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_not_printed() {
        let known = AgentKnown {
            shell_to_agent_key: String::new(),
            status_host_key: String::new(),
            collector: "shell".to_owned(),
            authorities: String::new(),
            log_token: "hush".to_owned(),
            image: None,
        };
        assert_eq!(format!("{known:?}"), "AgentKnown(shell, ..)");
        let claude_login = Some(SecretText("hush".to_owned()));
        let shown =
            format!("{:?}", AgentWanted { check: false, claude_login, claude_release: None });
        assert!(!shown.contains("hush"), "{shown}");
        assert!(serde_json::to_string(&known).expect("JSON").contains("hush"));
    }
}
