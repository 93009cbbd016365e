//! The plan of taking in one agent on the shell host: its files below `agent-keys`, who may tell,
//! whose logs are collected.
//!
//! The key that drives the agent is made here, once, and never leaves. Its public half is written
//! behind it and from it, so a run that was cut short between the two leaves nothing that the next
//! one does not mend.

use crate::base::rng::Rng;
use crate::paths::{CONFIG_DIR, PRIVATE_KEY, PUBLIC_FILE, Paths, SERVICE_KEY};
use crate::provision::goal::file::{Content, Others};
use crate::provision::logs::rsyslog::{LogAgent, LogToken};
use crate::provision::plan::collector::{members, service};
use crate::provision::plan::log_user::LogUser;
use crate::provision::plan::parts::{access, certificate, directory, file, once, secret};
use crate::provision::step::Step;
use crate::rpc::agent_id::AgentId;
use crate::ssh::keys::KeyPair;
use zeroize::Zeroizing;

/// How a public key's file begins.
const KEY_MARK: &str = "ssh-ed25519 ";
/// The comment of the key that drives an agent, on both ends.
pub(crate) const DRIVING_KEY: &str = "shell to agent";
/// The comment of the key that an agent tells events with.
const TELLING_KEY: &str = "agent to shell";

pub(crate) struct ShellEnrolmentFacts {
    pub(crate) paths: Paths,
    pub(crate) id: AgentId,
    /// Where it is dialled.
    pub(crate) host: String,
    /// Its public host key, as a line.
    pub(crate) host_key: String,
    /// The public key that it dials with, as a line.
    pub(crate) agent_to_shell_key: String,
    /// The key that drives it.
    pub(crate) driving: DrivingKey,
    /// The secret of its log messages.
    pub(crate) token: LogToken,
    /// The other agents whose logs are collected; this one may be among them.
    pub(crate) others: Vec<LogAgent>,
    /// As whom rsyslogd runs.
    pub(crate) log_user: LogUser,
}

/// A key as a file, and its public half.
pub(crate) struct DrivingKey {
    pub(crate) file: Zeroizing<Vec<u8>>,
    /// The public half as a line without a newline.
    pub(crate) public: String,
}

impl DrivingKey {
    /// The one that is there, or a new one. A file that is no key is replaced by nothing: its step
    /// refuses it.
    pub(crate) fn of(found: Option<&[u8]>, rng: &mut Rng) -> DrivingKey {
        let there = found.and_then(|bytes| {
            let pair = KeyPair::parse_openssh(bytes).ok()?;
            Some((pair, Zeroizing::new(bytes.to_vec())))
        });
        let (pair, file) = there.unwrap_or_else(|| {
            let pair = KeyPair::from_seed(rng.bytes());
            let text = pair.to_openssh(DRIVING_KEY, rng.below(u32::MAX));
            let file = Zeroizing::new(text.as_bytes().to_vec());
            (pair, file)
        });
        let public = pair.public().to_line(DRIVING_KEY).trim_end().to_owned();
        DrivingKey { file, public }
    }
}

pub(crate) fn plan(facts: &ShellEnrolmentFacts) -> Vec<Step> {
    let ShellEnrolmentFacts { paths, id, log_user, .. } = facts;
    let entry = paths.agent_entry(id.as_str());
    let public = |name: &str, path: &std::path::Path, line: &str, mark| {
        let content = Content::Text { text: format!("{}\n", line.trim()), mark };
        file(paths, name, path, content, PUBLIC_FILE)
    };
    let key = entry.shell_to_agent_key();
    let right = if paths.is_system() { SERVICE_KEY } else { PRIVATE_KEY };
    let is_key = |bytes: &[u8]| {
        KeyPair::parse_openssh(bytes).map(drop).map_err(|error| format!("is unfit: {error}"))
    };
    let token_access = access(paths, PRIVATE_KEY);
    let token = format!("{}\n", facts.token.reveal());
    let line = telling_beginning(id);
    let entry_line = format!("{line}{} {TELLING_KEY}", key_alone(&facts.agent_to_shell_key));
    let may_report = Content::Line { line: entry_line, instead_of: Some(Others::Beginning(line)) };
    let mut agents: Vec<LogAgent> =
        facts.others.iter().filter(|it| it.id != *id).cloned().collect();
    agents.push(LogAgent { id: id.clone(), token: facts.token.clone() });
    let mut steps = vec![
        directory(paths, entry.dir(), CONFIG_DIR),
        once(paths, "shell to agent key", &key, facts.driving.file.to_vec(), right, is_key),
        public(
            "its public half",
            &entry.shell_to_agent_public_key(),
            &facts.driving.public,
            KEY_MARK,
        ),
        public("agent's host key", &entry.host_key(), &facts.host_key, KEY_MARK),
        public(
            "agent to shell key",
            &entry.agent_to_shell_public_key(),
            &facts.agent_to_shell_key,
            KEY_MARK,
        ),
        public("where the agent is", &entry.host(), &facts.host, ""),
        secret("secret of the agent's logs", &entry.log_token(), token.as_bytes(), token_access),
        file(paths, "who may tell", &paths.status_authorized_keys(), may_report, PUBLIC_FILE),
    ];
    steps.extend(members(paths, &agents, log_user));
    steps.push(service(paths));
    steps
}

/// The step that writes down which certificate an agent has: what is renewed, and who is shut out
/// at the end of a rotation, is told by it. So it comes behind the agent's own, and not before.
pub(crate) fn issued(paths: &Paths, id: &AgentId, pem: String) -> Step {
    let path = paths.agent_entry(id.as_str()).log_certificate();
    certificate(paths, "agent's certificate", &path, pem)
}

/// How the line of an agent begins in the list of who may tell.
pub(super) fn telling_beginning(id: &AgentId) -> String {
    format!("agent-id=\"{id}\" ")
}

/// A public key's line without its comment.
pub(crate) fn key_alone(line: &str) -> String {
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::goal::file::File;

    const ID: &str = "abcdefghjkmn";

    fn facts(found: Option<&[u8]>) -> ShellEnrolmentFacts {
        let mut rng = Rng::from_seed([4; 32]);
        let other = LogAgent {
            id: AgentId::parse("mmmmmmmmmmmm").expect("an id"),
            token: LogToken::random(&mut rng),
        };
        ShellEnrolmentFacts {
            paths: Paths::default(),
            id: AgentId::parse(ID).expect("an id"),
            host: "web-1".to_owned(),
            host_key: "ssh-ed25519 AAAA host".to_owned(),
            agent_to_shell_key: "ssh-ed25519 BBBB of somebody".to_owned(),
            driving: DrivingKey::of(found, &mut rng),
            token: LogToken::random(&mut rng),
            others: vec![other],
            log_user: LogUser::Root,
        }
    }

    fn contents(facts: &ShellEnrolmentFacts) -> Vec<(String, String)> {
        let shown = |content: &Content| match content {
            Content::Text { text, .. } => text.clone(),
            Content::Secret(bytes) | Content::Once { bytes, .. } => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            Content::Line { line, .. } => line.clone(),
            Content::Binary(_) => String::new(),
        };
        let file = |file: &File| (file.path.display().to_string(), shown(&file.content));
        plan(facts).iter().filter_map(Step::goal).map(file).collect()
    }

    #[test]
    fn a_key_is_never_without_its_own_half() {
        let first = facts(None);
        let again = facts(Some(&first.driving.file));
        assert_eq!(first.driving.public, again.driving.public);
        let other = KeyPair::from_seed([9; 32]);
        let other =
            DrivingKey::of(Some(other.to_openssh("x", 1).as_bytes()), &mut Rng::from_seed([1; 32]));
        assert_ne!(other.public, first.driving.public);
        let files = contents(&first);
        let place = |end: &str| files.iter().position(|(path, _)| path.ends_with(end)).expect(end);
        let key = place("/shell_to_agent_ed25519_key");
        let half = place("/shell_to_agent_ed25519_key.pub");
        assert!(key < half, "the half is written from what is there");
        let pair = KeyPair::parse_openssh(files[key].1.as_bytes()).expect("a key");
        assert_eq!(pair.public().to_line(DRIVING_KEY).trim_end(), files[half].1.trim_end());
    }

    #[test]
    fn the_agent_may_tell_and_its_logs_are_collected() {
        let files = contents(&facts(None));
        let text = |end: &str| &files.iter().find(|(path, _)| path.ends_with(end)).expect(end).1;
        let line = format!("agent-id=\"{ID}\" ssh-ed25519 BBBB agent to shell");
        assert_eq!(*text("status_authorized_keys"), line);
        assert!(text("10-convocate-server.conf").contains(&format!("\"{ID}\", \"mmmmmmmmmmmm\"")));
        assert!(text("rsyslog-agents.json").contains(text("log-token").trim()));
        assert_eq!(text("agent-host"), "web-1\n");
        // It does not have its certificate yet.
        assert!(!files.iter().any(|(path, _)| path.ends_with("client.crt")), "{files:?}");
    }
}
