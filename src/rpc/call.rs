//! A request of `convocate-agent-rpc`: `{"op":"<name>","params":<json or null>}`.
//!
//! To add an op: a variant of [`Call`] with its parameters as a struct, its name in [`OP_NAMES`],
//! [`Call::parse`], [`Call::op`] and [`Call::to_line`], and a line in the test below. What it does
//! is a file in `agent/op/`, which `agent::core` starts; a verb for it stands in `cli/convocate/`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::drive::{Exec, Screen, Send, Wait};
use super::egress::{EgressChange, EgressRules};
use super::env::{EnvChange, SessionEnv};
use super::field::{
    self, Cpus, DnsName, FieldError, KeyChoice, PortChoice, Protocol, SessionCommand, SessionName,
    shown,
};
use super::network::{Egress, Publish};
use super::startup::{Branch, ImageName, ProfileName, Prompt, RepoUrl, SetupCommand};
use crate::base::text::printable;
use crate::base::uuid::Uuid;

/// One operation with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Who is there.
    Ping,
    List,
    Get(Id),
    /// A new session; nothing runs yet.
    Create(Box<Create>),
    /// Other metadata; a running session keeps its old settings until restart.
    Edit(Edit),
    /// A copy of a session's home under a new id.
    Clone(CloneSession),
    /// Stop it and remove everything of it.
    Delete(Id),
    Kill(Id),
    /// Detach every terminal, leave it running.
    Background(Id),
    /// Start it detached.
    Restart(Id),
    /// Clear a stale lock.
    Override(Id),
    /// What stands on a session's screen, as text.
    Screen(Screen),
    /// Paste a text and press keys.
    Send(Send),
    /// Run a command beside the session's own.
    Exec(Exec),
    /// What a session reaches now, and what was refused it.
    Egress(Id),
    /// Answer when one of some sessions has ended.
    Wait(Wait),
    /// The certificate with which the agent's host sends its logs.
    Certificate,
    /// Another one in its place.
    RenewCertificate(RenewCertificate),
    /// Reserved.
    SettingsGet,
    /// Reserved.
    SettingsSet,
}

/// Every op's name, sorted.
pub const OP_NAMES: [&str; 20] = [
    "background",
    "certificate",
    "clone",
    "create",
    "delete",
    "edit",
    "egress",
    "exec",
    "get",
    "kill",
    "list",
    "override",
    "ping",
    "renew-certificate",
    "restart",
    "screen",
    "send",
    "settings-get",
    "settings-set",
    "wait",
];

/// Parameters of an op on one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Id {
    pub id: Uuid,
}

/// Parameters of `create`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    pub name: SessionName,
    #[serde(default)]
    pub(crate) port: PortChoice,
    /// The protocol of its port.
    #[serde(default)]
    pub(crate) protocol: Protocol,
    #[serde(default)]
    pub(crate) dns_name: DnsName,
    /// What runs in it; the agent's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<SessionCommand>,
    /// Whether it gets the host's Docker socket, which is root on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) docker: Option<bool>,
    /// Memory cap in bytes; the agent's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<u64>,
    /// Processor cap; the agent's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpus: Option<Cpus>,
    /// Cap of processes; the agent's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pids: Option<u32>,
    /// What it reaches; open if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) egress: Option<Egress>,
    /// Which names it reaches, where it reaches only names.
    #[serde(default, skip_serializing_if = "EgressRules::is_empty")]
    pub(crate) allow: EgressRules,
    /// On which addresses its port is; the default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) publish: Option<Publish>,
    /// Its git key; a new one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ssh_key: Option<KeyChoice>,
    /// Whether the Claude CLI in it gets the host's login; yes if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claude_login: Option<bool>,
    /// Where the operator has its settings from. The agent keeps the name, and knows no profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<ProfileName>,
    /// The image; the agent's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<ImageName>,
    #[serde(default, skip_serializing_if = "SessionEnv::is_empty")]
    pub(crate) env: SessionEnv,
    /// What it clones at its first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) repo: Option<RepoUrl>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) branch: Option<Branch>,
    /// What it runs once after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) setup: Option<SetupCommand>,
    /// What its command gets at the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt: Option<Prompt>,
}

impl Create {
    /// With the agent's defaults.
    pub(crate) fn new(name: SessionName) -> Create {
        Create {
            name,
            port: PortChoice::None,
            protocol: Protocol::Tcp,
            dns_name: DnsName::default(),
            command: None,
            docker: None,
            memory: None,
            cpus: None,
            pids: None,
            egress: None,
            allow: EgressRules::default(),
            publish: None,
            ssh_key: None,
            claude_login: None,
            profile: None,
            image: None,
            env: SessionEnv::default(),
            repo: None,
            branch: None,
            setup: None,
            prompt: None,
        }
    }
}

/// Parameters of `edit`: an absent field keeps its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    pub id: Uuid,
    /// A new name; empty keeps the old one.
    #[serde(default, deserialize_with = "name_or_empty", skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<SessionName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<PortChoice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<Protocol>,
    /// A new DNS name; the empty one removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dns_name: Option<DnsName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<SessionCommand>,
    /// With or without the host's Docker socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) docker: Option<bool>,
    /// Another memory cap in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpus: Option<Cpus>,
    /// Another cap of processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pids: Option<u32>,
    /// What it is to reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) egress: Option<Egress>,
    /// Which names it is to reach, or no more. At once, also for one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allow: Option<EgressChange>,
    /// On which addresses its port is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) publish: Option<Publish>,
    /// Another git key, or none. At once, also for one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ssh_key: Option<KeyChoice>,
    /// With or without the host's login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claude_login: Option<bool>,
    /// Variables that are set, or with null removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) env: Option<EnvChange>,
    /// A text that its command gets at the next start; the empty one removes it.
    #[serde(
        default,
        deserialize_with = "prompt_or_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) prompt: Option<PromptChoice>,
}

/// What becomes of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PromptChoice(pub(crate) Option<Prompt>);

impl PromptChoice {
    /// Reads a prompt; the empty text means none.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<PromptChoice, FieldError> {
        match text.is_empty() {
            true => Ok(PromptChoice(None)),
            false => Prompt::parse(text).map(|prompt| PromptChoice(Some(prompt))),
        }
    }
}

impl Serialize for PromptChoice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_ref().map_or("", Prompt::as_str))
    }
}

/// Parameters of `clone`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloneSession {
    /// Which session is copied.
    pub(crate) source_id: Uuid,
    pub name: SessionName,
}

/// Parameters of `renew-certificate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewCertificate {
    /// As PEM.
    pub(crate) certificate: String,
}

/// Why a request line is not a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Not JSON, or not an object of `op` and `params`.
    Request(String),
    /// No such op.
    UnknownOp(String),
    /// The op's parameters are wrong.
    Params(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Request(why) => write!(out, "decode request: {why}"),
            CallError::UnknownOp(op) => write!(out, "unknown op {}", shown(op)),
            CallError::Params(why) => write!(out, "decode params: {why}"),
        }
    }
}

impl std::error::Error for CallError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    op: String,
    #[serde(default)]
    params: Value,
}

impl Call {
    /// Whether it changes nothing that an event would tell.
    pub(crate) const fn only_reads(&self) -> bool {
        matches!(
            self,
            Call::Ping
                | Call::List
                | Call::Get(_)
                | Call::Screen(_)
                | Call::Send(_)
                | Call::Exec(_)
                | Call::Egress(_)
                | Call::Wait(_)
                | Call::Certificate
                | Call::SettingsGet
                | Call::SettingsSet
        )
    }

    /// Whether the agent is to pick a port that is free.
    pub(crate) fn wants_free_port(&self) -> bool {
        match self {
            Call::Create(create) => create.port == PortChoice::Auto,
            Call::Edit(edit) => edit.port == Some(PortChoice::Auto),
            _ => false,
        }
    }

    /// Reads a request line, whose length the caller has bounded.
    ///
    /// # Errors
    /// [`CallError`], whose text is the sentence that the peer gets.
    pub fn parse(line: &[u8]) -> Result<Call, CallError> {
        // A list of the fields in their order would be taken for an object.
        if !field::is_object(line) {
            return Err(CallError::Request("an object is expected".to_owned()));
        }
        let envelope: Envelope =
            serde_json::from_slice(line).map_err(|error| CallError::Request(one_line(&error)))?;
        let Envelope { op, params } = envelope;
        Ok(match op.as_str() {
            "ping" => Call::Ping,
            "list" => Call::List,
            "get" => Call::Get(decode(params)?),
            "create" => Call::Create(Box::new(decode(params)?)),
            "edit" => Call::Edit(decode(params)?),
            "clone" => Call::Clone(decode(params)?),
            "delete" => Call::Delete(decode(params)?),
            "kill" => Call::Kill(decode(params)?),
            "background" => Call::Background(decode(params)?),
            "restart" => Call::Restart(decode(params)?),
            "override" => Call::Override(decode(params)?),
            "screen" => Call::Screen(decode(params)?),
            "send" => Call::Send(decode(params)?),
            "exec" => Call::Exec(decode(params)?),
            "egress" => Call::Egress(decode(params)?),
            "wait" => Call::Wait(decode(params)?),
            "certificate" => Call::Certificate,
            "renew-certificate" => Call::RenewCertificate(decode(params)?),
            "settings-get" => Call::SettingsGet,
            "settings-set" => Call::SettingsSet,
            _ => return Err(CallError::UnknownOp(op)),
        })
    }

    /// The op's name on the wire.
    pub const fn op(&self) -> &'static str {
        match self {
            Call::Ping => "ping",
            Call::List => "list",
            Call::Get(_) => "get",
            Call::Create(_) => "create",
            Call::Edit(_) => "edit",
            Call::Clone(_) => "clone",
            Call::Delete(_) => "delete",
            Call::Kill(_) => "kill",
            Call::Background(_) => "background",
            Call::Restart(_) => "restart",
            Call::Override(_) => "override",
            Call::Screen(_) => "screen",
            Call::Send(_) => "send",
            Call::Exec(_) => "exec",
            Call::Egress(_) => "egress",
            Call::Wait(_) => "wait",
            Call::Certificate => "certificate",
            Call::RenewCertificate(_) => "renew-certificate",
            Call::SettingsGet => "settings-get",
            Call::SettingsSet => "settings-set",
        }
    }

    /// The request line, with its newline.
    pub fn to_line(&self) -> Vec<u8> {
        let params = match self {
            Call::Get(id)
            | Call::Delete(id)
            | Call::Kill(id)
            | Call::Background(id)
            | Call::Restart(id)
            | Call::Override(id) => serde_json::to_value(id),
            Call::Create(create) => serde_json::to_value(create),
            Call::Edit(edit) => serde_json::to_value(edit),
            Call::Clone(clone) => serde_json::to_value(clone),
            Call::Screen(screen) => serde_json::to_value(screen),
            Call::Send(send) => serde_json::to_value(send),
            Call::Exec(exec) => serde_json::to_value(exec),
            Call::Egress(call) => serde_json::to_value(call),
            Call::Wait(wait) => serde_json::to_value(wait),
            Call::RenewCertificate(renewal) => serde_json::to_value(renewal),
            Call::Ping | Call::List | Call::Certificate | Call::SettingsGet | Call::SettingsSet => {
                Ok(Value::Null)
            }
        };
        let params = params.expect("these types have only string keys and finite numbers");
        let mut line = serde_json::json!({ "op": self.op(), "params": params }).to_string();
        line.push('\n');
        line.into_bytes()
    }
}

fn decode<T: for<'de> Deserialize<'de>>(params: Value) -> Result<T, CallError> {
    if !params.is_object() {
        return Err(CallError::Params("an object is expected".to_owned()));
    }
    T::deserialize(params).map_err(|error| CallError::Params(one_line(&error)))
}

fn name_or_empty<'de, D>(deserializer: D) -> Result<Option<SessionName>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    SessionName::parse(&text).map(Some).map_err(serde::de::Error::custom)
}

fn prompt_or_empty<'de, D>(deserializer: D) -> Result<Option<PromptChoice>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    PromptChoice::parse(&text).map(Some).map_err(serde::de::Error::custom)
}

/// The sentence in place of the refusal of an agent whose version does not know a field of a call.
/// Every version refuses such a call, so that nothing is lost without a word.
pub(crate) fn refused_by_older(refusal: &str, host: &str) -> Option<String> {
    let rest = refusal.strip_prefix("decode params: unknown field `")?;
    let (field, _) = rest.split_once('`')?;
    Some(format!(
        "the agent on {host} is too old for {}, and has done nothing; update it: convocate-host \
         update",
        printable(field)
    ))
}

/// An error's text as it may stand in a one-line answer: it can quote the peer's own bytes.
fn one_line(error: &serde_json::Error) -> String {
    const TEXT_CHARS_MAX: usize = 400;
    let printable = |sign: char| if sign.is_control() { '?' } else { sign };
    error.to_string().chars().map(printable).take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
