//! A session as it stands in results and events, and what `ping` answers.

use serde::{Deserialize, Serialize};

use super::attention::Attention;
use super::capacity::Capacity;
use super::field::{DnsName, Protocol};
use super::network::{Egress, Publish};
use super::repository::Repository;
use super::startup::Startup;
use crate::base::text::is_plain;
use crate::base::time::Wall;
use crate::base::uuid::Uuid;
use crate::limits::{
    CLAUDE_TOKEN_DAYS, CLAUDE_TOKEN_WARN_DAYS, END_REASON_BYTES_MAX, IMAGE_TAG_BYTES_MAX,
    KEY_LINE_BYTES_MAX, LAST_SCREEN_BYTES_MAX, SESSION_COMMAND_BYTES_MAX, SESSION_NAME_CHARS_MAX,
};

/// A session as an agent tells it. Fields that an older agent does not send have their defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    pub(crate) uuid: Uuid,
    /// Its name, as the agent has it.
    pub(crate) name: String,
    /// When it was created.
    pub(crate) created_at: Wall,
    /// When a terminal was last attached, or it was created.
    pub(crate) last_accessed: Wall,
    /// Its port; 0 if it has none.
    #[serde(default)]
    pub(crate) port: u16,
    /// The protocol of its port.
    #[serde(default)]
    pub(crate) protocol: Protocol,
    /// Its DNS name; empty if it has none.
    #[serde(default)]
    pub(crate) dns_name: String,
    /// Whether its command runs.
    #[serde(default)]
    pub(crate) running: bool,
    /// Whether at least one terminal is attached.
    #[serde(default)]
    pub(crate) attached: bool,
    /// How many terminals are attached.
    #[serde(default)]
    pub(crate) attached_count: u32,
    /// Whether an operation was in flight when its agent died.
    #[serde(default)]
    pub(crate) locked: bool,
    /// The image that it runs, or would run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) image: String,
    /// Since when it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<Wall>,
    /// What runs in it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) command: String,
    /// Whether it has the host's Docker socket.
    #[serde(default)]
    pub(crate) docker: bool,
    /// Whether the Claude CLI in it gets the host's login.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub(crate) claude_login: bool,
    /// Its memory cap in bytes; 0 if the agent did not say.
    #[serde(default)]
    pub(crate) memory: u64,
    /// Its processor cap in cores; 0 if the agent did not say.
    #[serde(default)]
    pub(crate) cpus: f64,
    /// Its cap of processes; 0 if the agent did not say.
    #[serde(default)]
    pub(crate) pids: u32,
    /// What it reaches.
    #[serde(default, skip_serializing_if = "Egress::is_open")]
    pub(crate) egress: Egress,
    /// On which addresses its port is, if that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) publish: Option<Box<Publish>>,
    /// The public half of its git key in one line, or `none`; only where one session is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ssh_key: Option<Box<KeyLine>>,
    /// What it starts with, as far as this version understands it. Variables, setup command and
    /// prompt only where one session is asked for.
    #[serde(
        default,
        deserialize_with = "startup_if_known",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) startup: Option<Box<Startup>>,
    /// How its command ended last, if it does not run and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Box<Ended>>,
    /// What its program wants of a person, if that program tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attention: Option<Box<Attention>>,
    /// What the repository that it was made with is like, as far as it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<Box<Repository>>,
    /// Why its metadata cannot be read; such a session can only be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) broken: Option<Box<Sentence>>,
    /// Why `running` is only what was last known, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stale: Option<Box<Sentence>>,
}

/// A sentence of an agent's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sentence(pub(crate) String);

/// A session's key in one line, as its agent tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyLine(pub(crate) String);

/// The end of a session's command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub(crate) at: Wall,
    /// `exit`, `op`, `oom`, `asked`, `engine` or `lost`.
    pub(crate) cause: String,
    #[serde(default)]
    pub(crate) exit_code: Option<i32>,
    /// Why it could not be started again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// What stood on its screen, lines; only where one session is asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) screen: String,
}

/// What to do about a missing CLI, one sentence; `host` is the agent's, as the reader knows it.
pub(crate) fn claude_missing(host: &str) -> String {
    format!(
        "claude is not installed on {host}; run: convocate-host init-agent --host {host} --claude \
         FILE"
    )
}

/// When a token ends that was put there at `since`, if that is soon: what it does, for a sentence.
pub(crate) fn token_ends(since: Wall, now: Wall) -> Option<String> {
    let days_old = (now.seconds() - since.seconds()) / 86_400;
    match CLAUDE_TOKEN_DAYS - days_old {
        left if left > CLAUDE_TOKEN_WARN_DAYS => None,
        left if left > 0 => Some(format!("ends in {left} days")),
        _ => Some("is more than a year old and has ended".to_owned()),
    }
}

/// Whether a command is the Claude CLI, and `exit_code` the shell's for a program that is not
/// there.
pub(crate) fn lacks_claude(command: &str, exit_code: Option<i32>) -> bool {
    exit_code == Some(127) && command.split_whitespace().next() == Some("claude")
}

/// For fields that are true where an earlier version has none.
pub(crate) const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
pub(crate) const fn is_yes(value: &bool) -> bool {
    *value
}

impl Ended {
    /// What is in a sentence behind the session's name.
    pub(crate) fn in_words(&self) -> String {
        match (self.cause.as_str(), self.exit_code) {
            ("op", _) => "it was stopped by an operator".to_owned(),
            ("oom", _) => {
                "it was ended by the kernel: it wanted more memory than it may use".to_owned()
            }
            ("asked", _) => "something other than convocate asked it to end: an engine that was \
                             going down, or docker stop"
                .to_owned(),
            ("engine", _) if self.reason.is_empty() => {
                "it ended with its host or the engine there".to_owned()
            }
            ("engine", _) => format!(
                "it ended with its host or the engine there, and could not be started again: {}",
                self.reason
            ),
            ("lost", None) => "it ended, and nobody knows how".to_owned(),
            (_, Some(status)) => format!("it ended with status {status}"),
            (_, None) => "it ended".to_owned(),
        }
    }

    /// Whether an agent's words may be kept and shown.
    fn check(&self) -> bool {
        let is_line = |text: &str| !text.chars().any(char::is_control);
        self.cause.len() <= 16
            && is_line(&self.cause)
            && is_plain(&self.reason, END_REASON_BYTES_MAX)
            && self.screen.len() <= LAST_SCREEN_BYTES_MAX
            && self.screen.lines().all(is_line)
    }
}

impl Session {
    /// Whether it ended because the Claude CLI is not on its host.
    pub(crate) fn lacks_claude(&self) -> bool {
        let ended = self.ended.as_ref().filter(|ended| ended.cause == "exit");
        ended.is_some_and(|ended| lacks_claude(&self.command, ended.exit_code))
    }

    /// Whether a session's fields are what `create` admits. Names of earlier versions had other
    /// letters: any that show are let through.
    ///
    /// # Errors
    /// Which field is wrong.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let Session { name, dns_name, image, command, broken, stale, .. } = self;
        let is_short = |text: &Option<Box<Sentence>>| {
            text.as_ref().is_none_or(|text| is_plain(&text.0, SESSION_COMMAND_BYTES_MAX))
        };
        if DnsName::parse(dns_name).is_err() {
            return Err("its dns name is no host label");
        }
        if !is_plain(name, 4 * SESSION_NAME_CHARS_MAX)
            || name.chars().count() > SESSION_NAME_CHARS_MAX
        {
            return Err("its name is too long or has control characters");
        }
        if !is_plain(image, IMAGE_TAG_BYTES_MAX) || !is_plain(command, SESSION_COMMAND_BYTES_MAX) {
            return Err("its image or command is too long or has control characters");
        }
        if !self.ssh_key.as_ref().is_none_or(|line| is_plain(&line.0, KEY_LINE_BYTES_MAX)) {
            return Err("its ssh key is too long or has control characters");
        }
        if !self.ended.as_ref().is_none_or(|ended| ended.check()) {
            return Err("how it ended is too long or has control characters");
        }
        if !self.attention.as_ref().is_none_or(|attention| attention.check()) {
            return Err("its attention is too long or has control characters");
        }
        if !self.repository.as_ref().is_none_or(|it| it.check()) {
            return Err("its branch is too long or has control characters");
        }
        match is_short(broken) && is_short(stale) {
            true => Ok(()),
            false => Err("why it is broken or stale is too long or has control characters"),
        }
    }
}

fn startup_if_known<'de, D>(deserializer: D) -> Result<Option<Box<Startup>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok(serde_json::from_value(serde_json::Value::deserialize(deserializer)?).ok())
}

/// What `ping` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong<S: Default = String> {
    pub(crate) agent_id: S,
    pub(crate) version: S,
    pub(crate) server_time: Wall,
    /// The ops that it knows, sorted.
    #[serde(default)]
    pub(crate) ops: Vec<S>,
    /// `docker` or `host`; empty if the agent did not say.
    #[serde(default)]
    pub(crate) runtime: S,
    /// Whether the Claude CLI is on its host; absent if the agent did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) has_claude: Option<bool>,
    /// What its sessions log in to Claude with, `token` or `key`, if there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claude_login: Option<S>,
    /// Since when that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claude_token_since: Option<Wall>,
    /// What room its host has, and what a blank choice stands for; absent if the agent did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) capacity: Option<Capacity>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_warned_of_in_the_last_thirty_days_of_its_year() {
        let told = |days: i64| token_ends(Wall::new(0, 0), Wall::new(days * 86_400, 0));
        assert_eq!(told(334), None);
        assert_eq!(told(335).as_deref(), Some("ends in 30 days"));
        assert_eq!(told(364).as_deref(), Some("ends in 1 days"));
        assert_eq!(told(365).as_deref(), Some("is more than a year old and has ended"));
    }

    #[test]
    fn only_the_shells_word_for_no_such_program_means_a_missing_claude() {
        assert!(lacks_claude("claude --dangerously-skip-permissions", Some(127)));
        for (command, code) in [("claude", Some(1)), ("claude", None), ("bash", Some(127))] {
            assert!(!lacks_claude(command, code), "{command} {code:?}");
        }
    }
}
