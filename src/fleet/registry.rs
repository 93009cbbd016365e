//! The agents that the shell host knows, from the files that enrolment left.
//!
//! One directory per agent, named by its id. An entry either becomes a [`KnownAgent`], which can be
//! dialled as it is, or a [`Problem`] that names the file and the command that repairs it; one bad
//! entry never hides another. Nothing here opens a file: the driver hands the contents in.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::address::{Address, Host};
use crate::limits::{AGENT_HOST_BYTES_MAX, AGENT_PORT};
use crate::paths::AgentEntry;
use crate::rpc::SSH_USER;
pub use crate::rpc::agent_id::AgentId;
use crate::ssh::keys::{KeyPair, PublicKey};
use crate::ssh::{ClientConfig, Tuning};

/// What was read from one file, or the system's words about why it could not be.
pub(crate) type FileContent = Result<Vec<u8>, String>;

/// One directory of the registry, as the driver read it.
pub(crate) struct EntryFiles {
    pub(crate) name: String,
    /// Where its files are.
    pub(crate) entry: AgentEntry,
    /// `agent-host`.
    pub(crate) host: FileContent,
    /// `host_key.pub`.
    pub(crate) host_key: FileContent,
    /// `shell_to_agent_ed25519_key`.
    pub(crate) key: FileContent,
}

/// An agent that can be dialled: where it is, who it must prove to be, and how we prove ourselves.
#[derive(Clone, Debug)]
pub struct KnownAgent {
    pub id: AgentId,
    /// Where it is dialled.
    pub address: Address,
    /// The host key that it must have, and the key that we prove to it.
    pub config: Arc<ClientConfig>,
    /// Its files, for messages.
    pub entry: AgentEntry,
}

impl KnownAgent {
    /// The host as people know it: its name or number, without the port.
    pub(crate) fn host(&self) -> String {
        match &self.address.host {
            Host::Any => "localhost".to_owned(),
            Host::Ip(number) => number.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    /// The command that enrols this agent again and so repairs its keys on both ends.
    pub(crate) fn repair(&self) -> String {
        repair(Some(&self.host()))
    }
}

/// Why an entry of the registry cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The directory's name, as it was found.
    pub(crate) agent: String,
    pub(crate) path: PathBuf,
    /// What is wrong with it.
    pub(crate) what: String,
    /// The command that repairs it.
    pub(crate) repair: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}; repair it with: {}", self.path.display(), self.what, self.repair)
    }
}

/// All known agents, sorted by id, and what is wrong with the other entries.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// Those that can be dialled.
    pub(crate) agents: Vec<KnownAgent>,
    pub(crate) problems: Vec<Problem>,
}

impl Registry {
    /// Reads all entries. Their number was bounded by the driver.
    pub(crate) fn parse(entries: Vec<EntryFiles>) -> Registry {
        let mut registry = Registry::default();
        for files in entries {
            match parse_entry(files) {
                Ok(agent) => registry.agents.push(agent),
                Err(problem) => registry.problems.push(problem),
            }
        }
        registry.agents.sort_by(|one, other| one.id.cmp(&other.id));
        registry.problems.sort_by(|one, other| one.path.cmp(&other.path));
        registry
    }

    /// The agents that `text` names: an id, a unique prefix of one, or a host.
    ///
    /// # Errors
    /// One sentence: nothing matches, or several do.
    pub(crate) fn find(&self, text: &str) -> Result<&KnownAgent, String> {
        if let Some(problem) = self.problems.iter().find(|problem| problem.agent == text) {
            return Err(problem.to_string());
        }
        let named = |agent: &&KnownAgent| agent.id.as_str() == text || agent.host() == text;
        let mut found: Vec<_> = self.agents.iter().filter(named).collect();
        if found.is_empty() && !text.is_empty() {
            found = self.agents.iter().filter(|it| it.id.as_str().starts_with(text)).collect();
        }
        match found[..] {
            [agent] => Ok(agent),
            [] => {
                Err(format!("agent {text:?} is not known; `convocate agents` lists those that are"))
            }
            _ => {
                let ids: Vec<_> = found.iter().map(|agent| agent.id.as_str()).collect();
                Err(format!("agent {text:?} is ambiguous: {}", ids.join(", ")))
            }
        }
    }
}

fn parse_entry(files: EntryFiles) -> Result<KnownAgent, Problem> {
    let EntryFiles { name, entry, host, host_key, key } = files;
    let problem = |path: PathBuf, what: String, host: Option<&str>| Problem {
        agent: name.clone(),
        path,
        what,
        repair: repair(host),
    };
    let id = AgentId::parse(&name).map_err(|error| Problem {
        agent: name.clone(),
        path: entry.dir().to_owned(),
        what: error.to_string(),
        repair: format!("rmdir or rename {}", entry.dir().display()),
    })?;
    let address = host.and_then(parse_host).map_err(|what| problem(entry.host(), what, None))?;
    let shown_host = address.to_string();
    let host_name = shown_host.rsplit_once(':').map_or(shown_host.as_str(), |(host, _)| host);
    let host_key = host_key
        .and_then(parse_public)
        .map_err(|what| problem(entry.host_key(), what, Some(host_name)))?;
    let key = key
        .and_then(|bytes| KeyPair::parse_openssh(&bytes).map_err(|error| error.to_string()))
        .map_err(|what| problem(entry.shell_to_agent_key(), what, Some(host_name)))?;
    let user = SSH_USER.to_owned();
    let config = ClientConfig { user, key, host_key, tuning: Tuning::default() };
    Ok(KnownAgent { id, address, config: Arc::new(config), entry })
}

fn parse_host(bytes: Vec<u8>) -> Result<Address, String> {
    if bytes.len() > AGENT_HOST_BYTES_MAX {
        return Err(format!("longer than {AGENT_HOST_BYTES_MAX} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    let text = text.trim();
    if text.is_empty() {
        return Err("empty, a host or host:port is expected".to_owned());
    }
    let address = Address::parse_or_port(text, AGENT_PORT).map_err(|error| error.to_string())?;
    if address.port == 0 || address.host == Host::Any {
        return Err(format!("{text:?} is not a host or host:port"));
    }
    Ok(address)
}

fn parse_public(bytes: Vec<u8>) -> Result<PublicKey, String> {
    let text = String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    let (key, _comment) = PublicKey::parse_line(text.trim()).map_err(|error| error.to_string())?;
    Ok(key)
}

fn repair(host: Option<&str>) -> String {
    format!("convocate-host init-agent --host {}", host.unwrap_or("HOST"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;

    const ID: &str = "abcdefghjkmn";

    fn files(name: &str, host: &str) -> EntryFiles {
        let pair = KeyPair::from_seed([7; 32]);
        EntryFiles {
            name: name.to_owned(),
            entry: Paths::below("/r").agent_entry(name),
            host: Ok(host.as_bytes().to_vec()),
            host_key: Ok(pair.public().to_line("agent").into_bytes()),
            key: Ok(pair.to_openssh("shell", 1).as_bytes().to_vec()),
        }
    }

    fn problem(files: EntryFiles) -> Problem {
        parse_entry(files).expect_err("the entry is bad")
    }

    #[test]
    fn ids_are_twelve_of_the_alphabet() {
        assert!(AgentId::parse(ID).is_ok());
        for bad in ["", "../x", "abcdefghjkm", "abcdefghjkmnp", "abcdefghijkl", "ABCDEFGHJKMN"] {
            assert!(AgentId::parse(bad).is_err(), "{bad}");
        }
        for look_alike in ["il", "o0", "1l"] {
            assert!(AgentId::parse(&format!("{look_alike}abcdefghjk")).is_err());
        }
    }

    #[test]
    fn a_good_entry_has_the_default_port() {
        for (host, address) in
            [("web-1\n", "web-1:222"), ("10.0.0.1:2222", "10.0.0.1:2222"), ("::1", "[::1]:222")]
        {
            let agent = parse_entry(files(ID, host)).expect("a good entry");
            assert_eq!(agent.address.to_string(), address);
        }
    }

    #[test]
    fn each_bad_file_is_named_with_its_repair() {
        let shown = |files| problem(files).to_string();
        for host in ["", "\n", ":222", "web-1:0", "a b", &"x".repeat(2000)] {
            let text = shown(files(ID, host));
            assert!(
                text.starts_with("/r/etc/convocate/agent-keys/abcdefghjkmn/agent-host: "),
                "{text}"
            );
        }
        let mut bad = files(ID, "web-1");
        bad.host_key = Ok(b"junk".to_vec());
        assert!(shown(bad).contains("host_key.pub: "));
        let mut bad = files(ID, "web-1");
        bad.key = Err("permission denied".to_owned());
        let text = shown(bad);
        assert!(text.contains("shell_to_agent_ed25519_key: permission denied; repair it with: "));
        assert!(text.ends_with("convocate-host init-agent --host web-1"), "{text}");
        assert!(shown(files("x", "web-1")).contains("is not an agent id"));
    }

    #[test]
    fn one_bad_entry_hides_no_other() {
        let registry = Registry::parse(vec![
            files("nmkjhgfedcba", "web-2"),
            files("junk", "web-3"),
            files(ID, "web-1"),
        ]);
        let ids: Vec<_> = registry.agents.iter().map(|agent| agent.id.as_str()).collect();
        assert_eq!(ids, [ID, "nmkjhgfedcba"]);
        assert_eq!(registry.problems.len(), 1);
    }

    #[test]
    fn an_agent_is_found_by_id_prefix_or_host() {
        let registry = Registry::parse(vec![
            files(ID, "web-1"),
            files("abccccccccch", "web-2"),
            files("x", "h"),
        ]);
        for text in [ID, "abcd", "web-1"] {
            assert_eq!(registry.find(text).map(|agent| agent.id.as_str()), Ok(ID), "{text}");
        }
        for (text, sentence) in
            [("", "not known"), ("zzz", "not known"), ("abc", "ambiguous: abcc")]
        {
            let error = registry.find(text).expect_err(text);
            assert!(error.contains(sentence), "{error}");
        }
        assert!(registry.find("x").expect_err("a bad entry").contains("is not an agent id"));
    }
}
