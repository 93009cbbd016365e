//! Which agent a key belongs to: `status_authorized_keys`, read again when it has changed.
//!
//! A line binds one key to one agent, `agent-id="ID" ssh-ed25519 …`. A line without the id, or with
//! any other option, admits nobody: what an option means to restrict is not known here.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::io::disk::{DiskError, Look, WatchedFile};
use crate::limits::SSH_AUTHORIZED_KEYS_BYTES_MAX;
use crate::rpc::agent_id::AgentId;
use crate::ssh::keys::{AuthorizedKey, AuthorizedKeys, PublicKey};

/// The option that names the agent.
const AGENT_ID: &str = "agent-id";

/// The file and what stood in it.
#[derive(Debug)]
pub(super) struct AgentKeys {
    file: WatchedFile,
    keys: Vec<(PublicKey, AgentId)>,
}

/// What one look at the file gave.
#[derive(Debug)]
pub(super) enum Refreshed {
    /// It is as it was.
    Same,
    /// It has changed. Lines that admit nobody are told, a sentence each.
    Changed(Vec<String>),
    /// It cannot be read: nobody is let in until it can.
    Unreadable(DiskError),
}

impl AgentKeys {
    pub(super) fn new(path: PathBuf) -> AgentKeys {
        let file = WatchedFile::new(path, SSH_AUTHORIZED_KEYS_BYTES_MAX);
        AgentKeys { file, keys: Vec::new() }
    }

    /// Whose key this is, as the file said when it was last read.
    pub(super) fn agent(&self, key: &PublicKey) -> Option<&AgentId> {
        self.keys.iter().find(|(known, _)| known == key).map(|(_, agent)| agent)
    }

    /// All agents that have a key.
    pub(super) fn agents(&self) -> BTreeSet<&str> {
        self.keys.iter().map(|(_, agent)| agent.as_str()).collect()
    }

    /// Where the file is, for messages.
    pub(super) fn path(&self) -> std::path::Display<'_> {
        self.file.path().display()
    }

    /// Reads the file again if it has changed.
    pub(super) fn refresh(&mut self) -> Refreshed {
        match self.file.look() {
            Look::Same => Refreshed::Same,
            Look::Changed(bytes) => Refreshed::Changed(self.read(&bytes)),
            Look::Unreadable(error) => {
                self.keys.clear();
                Refreshed::Unreadable(error)
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Vec<String> {
        let parsed = AuthorizedKeys::parse(&String::from_utf8_lossy(bytes));
        let path = self.file.path().display();
        let unreadable = parsed.problems.iter();
        let mut problems: Vec<String> =
            unreadable.map(|(line, error)| format!("{path}: line {line}: {error}")).collect();
        self.keys.clear();
        for line in &parsed.keys {
            match bound_agent(line) {
                Ok(agent) => self.keys.push((line.key, agent)),
                Err(why) => {
                    let print = line.key.fingerprint();
                    problems.push(format!("{path}: key {print} admits nobody: {why}"));
                }
            }
        }
        problems
    }
}

fn bound_agent(line: &AuthorizedKey) -> Result<AgentId, String> {
    match &line.options[..] {
        [(name, Some(id))] if name == AGENT_ID => {
            AgentId::parse(id).map_err(|error| error.to_string())
        }
        [] => Err(format!("it has no {AGENT_ID}=\"…\" before it")),
        _ => Err(format!("it may have {AGENT_ID}=\"…\" before it, and nothing else")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::io::scratch::Scratch;
    use crate::ssh::keys::KeyPair;

    fn line(number: u8) -> String {
        KeyPair::from_seed([number; 32]).public().to_line("agent")
    }

    #[test]
    fn a_key_is_bound_to_its_agent_and_to_no_other_thing() {
        let scratch = Scratch::new();
        let path = scratch.join("status_authorized_keys");
        let text = format!(
            "agent-id=\"abcdefghjkmn\" {}\n{}\nagent-id=\"x\" {}\n\
             agent-id=\"abcdefghjkmn\",pty {}\n",
            line(1),
            line(2),
            line(3),
            line(4)
        );
        fs::write(&path, text).unwrap();
        let mut keys = AgentKeys::new(path.clone());
        let Refreshed::Changed(problems) = keys.refresh() else { panic!("it is new") };
        assert_eq!(problems.len(), 3, "{problems:?}");
        let agent = |keys: &AgentKeys, number: u8| {
            keys.agent(KeyPair::from_seed([number; 32]).public()).map(ToString::to_string)
        };
        assert_eq!(agent(&keys, 1).as_deref(), Some("abcdefghjkmn"));
        assert!((2..5).all(|number| agent(&keys, number).is_none()));
        fs::remove_file(&path).unwrap();
        assert!(matches!(keys.refresh(), Refreshed::Unreadable(_)));
        assert_eq!(agent(&keys, 1), None);
    }
}
