//! A session's persistent metadata, in the names of the wire: a file that only the agent writes.
//!
//! Earlier versions kept it as `session.json` in the home, where the session may write. What is
//! found there is taken over once, as a proposal.
//!
//! It holds what the operator chose. What was left to the agent (command, caps) is absent and
//! follows the agent's defaults. Fields that this version does not know are kept as they are, so
//! that going back to an older agent loses nothing.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::session_key::SessionKey;
use crate::base::time::Wall;
use crate::base::uuid::Uuid;
use crate::limits::{SESSION_FILE_BYTES_MAX, SESSION_UIDS};
use crate::rpc::egress::EgressRules;
use crate::rpc::field::{Caps, Cpus, DnsName, Protocol, SessionCommand, SessionName};
use crate::rpc::network::{Egress, Publish};
use crate::rpc::session::Ended;
use crate::rpc::startup::Startup;

/// The metadata of one session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its id; also the name of its directory.
    pub(crate) uuid: Uuid,
    pub(crate) name: SessionName,
    /// When it was created.
    pub(crate) created_at: Wall,
    /// When a terminal was last attached, or it was created.
    pub(crate) last_accessed: Wall,
    /// Its port; 0 for none.
    #[serde(default)]
    pub(crate) port: u16,
    /// The protocol of its port.
    #[serde(default)]
    pub(crate) protocol: Protocol,
    #[serde(default)]
    pub(crate) dns_name: DnsName,
    /// What runs in it; absent for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<SessionCommand>,
    /// Whether it gets the host's Docker socket.
    #[serde(default)]
    pub(crate) docker: bool,
    /// Memory cap in bytes; absent for the agent's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<u64>,
    /// Processor cap; absent for the agent's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpus: Option<Cpus>,
    /// Cap of processes; absent for the agent's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pids: Option<u32>,
    /// What it reaches.
    #[serde(default, skip_serializing_if = "Egress::is_open")]
    pub(crate) egress: Egress,
    /// Which names it reaches, where it reaches only names.
    #[serde(default, skip_serializing_if = "EgressRules::is_empty")]
    pub(crate) allow: EgressRules,
    /// On which addresses its port is.
    #[serde(default, skip_serializing_if = "Publish::is_default")]
    pub(crate) publish: Publish,
    /// Whether it was started and nobody has stopped it since: one that does not run then is
    /// started again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) runs: bool,
    /// How its command ended last; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Ended>,
    /// The user and group number of its processes and files, where each session has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<u32>,
    /// Its git key.
    #[serde(default, skip_serializing_if = "SessionKey::is_not_made")]
    pub(crate) ssh_key: SessionKey,
    /// Whether the Claude CLI in it gets the host's login; not those of which nobody has said so.
    #[serde(default)]
    pub(crate) claude_login: bool,
    /// What it starts with.
    #[serde(flatten)]
    pub(crate) startup: Box<Startup>,
    /// Fields of a newer version.
    #[serde(flatten)]
    pub(crate) unknown: Map<String, Value>,
}

/// Why a file is not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecordError {
    /// It has no bytes.
    Empty,
    /// It is longer than [`SESSION_FILE_BYTES_MAX`]: its length.
    TooLong(usize),
    /// It ends too early.
    Torn,
    /// It is not metadata: what the reader says.
    Unknown(String),
    /// It belongs to another session.
    WrongUuid(Uuid),
}

impl fmt::Display for RecordError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Empty => out.write_str("record is empty"),
            RecordError::TooLong(bytes) => {
                write!(out, "record is {bytes} bytes, more than {SESSION_FILE_BYTES_MAX}")
            }
            RecordError::Torn => out.write_str("record is torn"),
            RecordError::Unknown(why) => write!(out, "record: {why}"),
            RecordError::WrongUuid(uuid) => {
                write!(out, "record belongs to session {uuid}")
            }
        }
    }
}

impl std::error::Error for RecordError {}

impl Record {
    /// Reads the metadata of session `id`.
    ///
    /// # Errors
    /// Why the session is broken. The text has no control characters.
    pub(crate) fn parse(id: Uuid, bytes: &[u8]) -> Result<Record, RecordError> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(RecordError::Empty);
        }
        if bytes.len() > SESSION_FILE_BYTES_MAX {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let record: Record = serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
        record.check().map_err(RecordError::Unknown)?;
        if record.uuid != id {
            return Err(RecordError::WrongUuid(record.uuid));
        }
        Ok(record)
    }

    /// What a home of an earlier version proposes for session `id`, or the defaults if that is
    /// nothing, with the reason. It never asks for the host's Docker socket, nor to be published on
    /// more than the default, nor for an image or what else only later versions keep. Whether its
    /// port and its name are free is not known here.
    pub(crate) fn propose(
        id: Uuid,
        proposal: &Result<Vec<u8>, String>,
        now: Wall,
    ) -> (Record, Option<String>) {
        let parsed = match proposal {
            Ok(bytes) => Record::parse(id, bytes).map(|record| (record, None)).or_else(|error| {
                let mended = without_bad_fields(id, bytes);
                mended.map(|(record, why)| (record, Some(why))).ok_or(error.to_string())
            }),
            Err(why) => Err(why.clone()),
        };
        match parsed {
            Ok((record, why)) => {
                let (first, last) = (record.created_at, record.last_accessed);
                let created_at = first.clamp(Wall::default(), now);
                let last_accessed = last.clamp(Wall::default(), now);
                let unknown = Map::new();
                let (docker, publish, ended, uid) = (false, Publish::Default, None, None);
                let runs = false;
                let claude_login = false;
                let ssh_key = SessionKey::NotMade;
                let startup = Box::default();
                let known =
                    Record { created_at, last_accessed, ssh_key, startup, unknown, ..record };
                (Record { docker, publish, runs, ended, uid, claude_login, ..known }, why)
            }
            Err(why) => (Record::nameless(id, now), Some(why)),
        }
    }

    /// A session of which nothing is known.
    fn nameless(id: Uuid, now: Wall) -> Record {
        Record {
            uuid: id,
            name: SessionName::parse(&id.short()).expect("hexadecimal digits are a name"),
            created_at: now,
            last_accessed: now,
            port: 0,
            protocol: Protocol::Tcp,
            dns_name: DnsName::default(),
            command: None,
            docker: false,
            memory: None,
            cpus: None,
            pids: None,
            egress: Egress::Open,
            allow: EgressRules::default(),
            publish: Publish::Default,
            runs: false,
            ended: None,
            uid: None,
            ssh_key: SessionKey::NotMade,
            claude_login: false,
            startup: Box::default(),
            unknown: Map::new(),
        }
    }

    /// The caps hold, whoever wrote the file: they are never unlimited. Nor is its user one of the
    /// host's.
    fn check(&self) -> Result<(), String> {
        self.egress.check_port(self.port != 0, self.protocol).map_err(|error| error.0)?;
        if let Some(uid) = self.uid.filter(|uid| !SESSION_UIDS.contains(uid)) {
            let (first, last) = (SESSION_UIDS.start(), SESSION_UIDS.end());
            return Err(format!("uid {uid} is not in {first} to {last}"));
        }
        let memory = self.memory.map_or(Ok(0), Caps::check_memory);
        let pids = self.pids.map_or(Ok(0), Caps::check_pids);
        memory.map(drop).and(pids.map(drop)).map_err(|error| error.0)
    }

    /// The file, indented for people, with a final newline.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes =
            serde_json::to_vec_pretty(self).expect("a record has only string keys and numbers");
        bytes.push(b'\n');
        bytes
    }

    /// What it may use at most, where `default` stands for what was not chosen.
    pub(crate) fn caps(&self, default: Caps) -> Caps {
        Caps {
            memory: self.memory.unwrap_or(default.memory),
            cpus: self.cpus.unwrap_or(default.cpus),
            pids: self.pids.unwrap_or(default.pids),
        }
    }

    /// What runs in it.
    pub(crate) fn command(&self) -> SessionCommand {
        self.command.clone().unwrap_or_default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// What a record says apart from the fields that our rules refuse, with why they do: names with
/// other letters, DNS names of several labels.
fn without_bad_fields(id: Uuid, bytes: &[u8]) -> Option<(Record, String)> {
    let fields: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    let (mut kept, mut refused) = (fields.clone(), Vec::new());
    for (field, blank) in [("dns_name", json!("")), ("port", json!(0)), ("name", json!(id.short()))]
    {
        let Some(value) = fields.get(field) else { continue };
        let alone = json!({
            "uuid": id, "name": id.short(), "created_at": Wall::default(),
            "last_accessed": Wall::default(), field: value,
        });
        if let Err(error) = Record::parse(id, alone.to_string().as_bytes()) {
            refused.push(format!("{field}: {error}"));
            kept.insert(field.to_owned(), blank);
        }
    }
    let record = Record::parse(id, Value::Object(kept).to_string().as_bytes()).ok()?;
    (!refused.is_empty()).then(|| (record, refused.join("; ")))
}

fn unreadable(error: &serde_json::Error) -> RecordError {
    if error.is_eof() {
        return RecordError::Torn;
    }
    RecordError::Unknown(error.to_string().chars().filter(|sign| !sign.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01234567-89ab-4def-8123-456789abcdef";

    fn id() -> Uuid {
        Uuid::parse(ID).unwrap()
    }

    fn sample() -> Record {
        Record {
            uuid: id(),
            name: SessionName::parse("web").unwrap(),
            created_at: Wall::new(1, 0),
            last_accessed: Wall::new(2, 5),
            port: 1001,
            protocol: Protocol::Udp,
            dns_name: DnsName::parse("web").unwrap(),
            command: Some(SessionCommand::default()),
            docker: true,
            memory: Some(1 << 30),
            cpus: Cpus::from_millis(1500),
            pids: Some(64),
            egress: Egress::Open,
            allow: EgressRules::default(),
            publish: Publish::All,
            runs: true,
            ended: None,
            uid: Some(*SESSION_UIDS.start()),
            ssh_key: SessionKey::None,
            claude_login: false,
            startup: serde_json::from_value(serde_json::json!({
                "profile": "team", "image": "convocate:1.2", "env": { "A": "1" },
                "repo": "https://host.example/web.git", "branch": "main", "setup": "make",
                "prompt": "fix it",
            }))
            .unwrap(),
            unknown: Map::new(),
        }
    }

    #[test]
    fn goes_there_and_back() {
        let record = sample();
        assert_eq!(Record::parse(id(), &record.to_bytes()), Ok(record));
    }

    #[test]
    fn the_least_that_an_older_version_wrote_is_read() {
        let text = format!(
            r#"{{"uuid":"{ID}","name":"a","created_at":"2026-01-02T03:04:05Z",
            "last_accessed":"2026-01-02T03:04:05.5+01:00","protocol":""}}"#
        );
        let record = Record::parse(id(), text.as_bytes()).unwrap();
        assert_eq!((record.port, record.protocol, record.docker), (0, Protocol::Tcp, false));
        let default = Caps { memory: 1 << 30, cpus: Cpus::from_millis(2000).unwrap(), pids: 99 };
        assert_eq!(record.caps(default), default);
    }

    #[test]
    fn fields_of_a_newer_version_survive_a_save() {
        let mut value: Value = serde_json::from_slice(&sample().to_bytes()).unwrap();
        value["colour"] = serde_json::json!({ "fore": [1, 2, "x"] });
        let record = Record::parse(id(), value.to_string().as_bytes()).unwrap();
        let saved: Value = serde_json::from_slice(&record.to_bytes()).unwrap();
        assert_eq!(saved, value);
    }

    #[test]
    fn every_cut_is_torn_or_empty_and_no_changed_byte_panics() {
        let bytes = sample().to_bytes();
        for cut in 0..bytes.len() - 2 {
            let error = Record::parse(id(), &bytes[..cut]).expect_err("cut");
            assert!(matches!(error, RecordError::Torn | RecordError::Empty), "{cut}: {error}");
        }
        for at in 0..bytes.len() {
            for flip in [1, 0x20, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                if let Err(error) = Record::parse(id(), &changed) {
                    assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
                }
            }
        }
    }

    #[test]
    fn a_proposal_never_gets_the_hosts_socket_and_nothing_readable_is_no_obstacle() {
        let now = Wall::new(9, 0);
        let mut value: Value = serde_json::from_slice(&sample().to_bytes()).unwrap();
        value["root"] = serde_json::json!(true);
        value["last_accessed"] = serde_json::json!("2999-01-01T00:00:00Z");
        let (record, why) = Record::propose(id(), &Ok(value.to_string().into_bytes()), now);
        let (publish, last_accessed) = (Publish::Default, now);
        let (uid, ssh_key) = (None, SessionKey::NotMade);
        let startup = Box::default();
        let chosen = Record { docker: false, runs: false, publish, startup, ..sample() };
        let expected = Record { last_accessed, uid, ssh_key, ..chosen };
        assert_eq!((record, why), (expected, None));
        let unlimited = Record { memory: Some(0), ..sample() }.to_bytes();
        for proposal in [Err("no such file".to_owned()), Ok(Vec::new()), Ok(unlimited)] {
            let (record, why) = Record::propose(id(), &proposal, now);
            assert_eq!((record.name.as_str(), record.port), ("01234567", 0));
            assert!(why.is_some());
        }
    }

    #[test]
    fn a_proposal_with_bad_fields_keeps_the_good_ones() {
        let mut value: Value = serde_json::from_slice(&sample().to_bytes()).unwrap();
        value["dns_name"] = json!("web.example.com");
        let proposal = Ok(value.to_string().into_bytes());
        let (record, why) = Record::propose(id(), &proposal, Wall::new(9, 0));
        assert_eq!(
            (record.name.as_str(), record.port, record.dns_name.as_str()),
            ("web", 1001, "")
        );
        let why = why.unwrap();
        assert!(why.starts_with("dns_name: ") && why.contains("web.example.com"), "{why}");
        value["name"] = json!("a/b");
        value["egress"] = json!("everything");
        let proposal = Ok(value.to_string().into_bytes());
        let (record, why) = Record::propose(id(), &proposal, Wall::new(9, 0));
        assert_eq!(record.name.as_str(), "01234567", "{why:?}");
    }

    #[test]
    fn what_is_broken_says_why() {
        let other = Uuid::parse("11111111-89ab-4def-8123-456789abcdef").unwrap();
        assert_eq!(Record::parse(other, &sample().to_bytes()), Err(RecordError::WrongUuid(id())));
        assert_eq!(Record::parse(id(), b" \n"), Err(RecordError::Empty));
        let long = vec![b'x'; SESSION_FILE_BYTES_MAX + 1];
        assert_eq!(Record::parse(id(), &long), Err(RecordError::TooLong(long.len())));
        assert!(matches!(Record::parse(id(), b"[]"), Err(RecordError::Unknown(_))));
        let unlimited = Record { memory: Some(0), ..sample() };
        let error = Record::parse(id(), &unlimited.to_bytes()).unwrap_err().to_string();
        assert_eq!(error, "record: memory 0 must be at least 16777216 bytes");
        for uid in [0, 1000, 1337, SESSION_UIDS.end() + 1, u32::MAX] {
            let root = Record { uid: Some(uid), ..sample() };
            let error = Record::parse(id(), &root.to_bytes()).unwrap_err().to_string();
            assert_eq!(error, format!("record: uid {uid} is not in 2000000 to 2065535"));
        }
    }
}
