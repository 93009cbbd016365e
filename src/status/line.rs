//! An event line as the hub reads it: without copying, and only as deep as it must.
//!
//! The line goes to the journal and to subscribers as it came. Types that this hub does not know
//! are let through: a newer agent may have more to say.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::base::text::is_plain;
use crate::base::time::Wall;
use crate::base::uuid::Uuid;
use crate::limits::{
    HEARTBEAT_BYTES_MAX, IMAGE_TAG_BYTES_MAX, KEY_USER_CHARS_MAX, REFUSED_TEXT_BYTES_MAX,
};
use crate::rpc::attention::Attention;
use crate::rpc::event::EventType;
use crate::rpc::repository::Repository;
use crate::rpc::session::Session;

/// An event's type, or an epoch, at most.
const WORD_BYTES_MAX: usize = 64;
/// A text of what was signed at most: a user's characters may all be escaped.
const SIGNED_TEXT_BYTES_MAX: usize = 12 * KEY_USER_CHARS_MAX;
/// The number of an event at most: what JSON's readers can count to.
const SEQ_MAX: u64 = 1 << 53;

/// The parts of an event line that the hub looks at, borrowed from it.
#[derive(Debug, Deserialize)]
pub(crate) struct EventLine<'a> {
    /// What happened, as text.
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    /// Which agent it claims to be from.
    pub(crate) agent_id: &'a str,
    /// Which session it is about.
    #[serde(default)]
    pub(crate) session_id: Option<&'a str>,
    /// When, RFC 3339.
    pub(crate) timestamp: &'a str,
    /// What else there is, as it came.
    #[serde(default, borrow)]
    pub(crate) data: Option<&'a RawValue>,
    /// Which spool numbered it.
    #[serde(default)]
    pub(crate) epoch: Option<&'a str>,
    #[serde(default)]
    pub(crate) seq: Option<u64>,
}

/// What an event does to the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of the wire's own types.
    Event(EventType),
    /// The hub learned of a session by asking.
    Session,
    /// The hub learned that a session is gone by asking.
    Removed,
    /// The agent is not of this cluster any more.
    Forgotten,
    /// Nothing that is kept.
    Other,
}

/// The type of [`Kind::Session`] on the wire of the status socket.
pub(crate) const HUB_SESSION: &str = "hub.session";
/// The type of [`Kind::Removed`].
pub(crate) const HUB_REMOVED: &str = "hub.removed";
/// The type of [`Kind::Forgotten`].
pub(crate) const HUB_FORGOTTEN: &str = "hub.forgotten";
/// The hub has a connection of the agent, or hears it again after silence.
pub(crate) const HUB_CONNECTED: &str = "hub.connected";
/// The connection is gone. Data: `error`.
pub(crate) const HUB_LOST: &str = "hub.lost";
/// A session has no line in the hosts file, whose name another agent's has, or nobody may have.
/// Data: `error`, `dns_name`.
pub(crate) const HUB_NAME_REFUSED: &str = "hub.name_refused";
/// Two hosts have the identity of this agent. Data: `error`.
pub(crate) const HUB_TWINS: &str = "hub.twins";
/// The connection is there, but nothing comes.
pub(crate) const HUB_SILENT: &str = "hub.silent";

impl<'a> EventLine<'a> {
    /// Reads a line without its newline.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub(crate) fn parse(line: &'a [u8]) -> Result<EventLine<'a>, String> {
        let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Checks what an agent says: every field by the rules that `create` has, or bounded.
    ///
    /// # Errors
    /// What is wrong, without the agent's own text.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if self.kind.len() > WORD_BYTES_MAX || !self.kind.bytes().all(is_word) {
            return Err("its type is no word");
        }
        if self.is_own() {
            return Err("its type is one of the hub's own");
        }
        if self.session_id.is_some_and(|id| Uuid::parse(id).is_err()) {
            return Err("its session is no UUID");
        }
        if Wall::parse_rfc3339(self.timestamp).is_none() {
            return Err("its timestamp is none");
        }
        if !self.has_sane_number() {
            return Err("its number is none");
        }
        match self.kind() {
            Kind::Event(EventType::Created | EventType::Edited | EventType::Started) => {
                let session: Session = self.data().ok_or("its session cannot be read")?;
                session.check()
            }
            Kind::Event(EventType::AgentStarted) => {
                let started: StartedData<'_> = self.data().unwrap_or_default();
                let is_kept = |text: &str| is_plain(text, IMAGE_TAG_BYTES_MAX);
                let StartedData { version, image_tag, run } = &started;
                match is_kept(version) && is_kept(image_tag) && is_kept(run) {
                    true => Ok(()),
                    false => Err("its version, image or run is too long or has control characters"),
                }
            }
            Kind::Event(EventType::Signed) => {
                let signed: SignedData = self.data().ok_or("what was signed cannot be read")?;
                match signed.is_plain() {
                    true => Ok(()),
                    false => Err("what was signed is too long or has control characters"),
                }
            }
            Kind::Event(EventType::Disk) => {
                self.data::<DiskData>().map(|_| ()).ok_or("who fills its disk cannot be read")
            }
            Kind::Event(EventType::Refused) => {
                let refused: RefusedData = self.data().ok_or("what was refused cannot be read")?;
                match refused.is_plain() {
                    true => Ok(()),
                    false => Err("what was refused is too long or has control characters"),
                }
            }
            Kind::Event(EventType::Attention) => match self.attention() {
                None => Err("its attention cannot be read"),
                Some(attention) if attention.as_ref().is_none_or(Attention::check) => Ok(()),
                Some(_) => Err("its attention is too long or has control characters"),
            },
            Kind::Event(EventType::Repository) => {
                let seen: Repository = self.data().ok_or("its repository cannot be read")?;
                match seen.check() {
                    true => Ok(()),
                    false => Err("its branch is too long or has control characters"),
                }
            }
            Kind::Event(EventType::AgentHeartbeat) => {
                match self.data.is_none_or(|data| data.get().len() <= HEARTBEAT_BYTES_MAX) {
                    true => Ok(()),
                    false => Err("its heartbeat is larger than what is kept"),
                }
            }
            _ => Ok(()),
        }
    }

    /// Whether it has one of the hub's own types.
    pub(crate) fn is_own(&self) -> bool {
        self.kind.starts_with("hub.")
    }

    fn has_sane_number(&self) -> bool {
        let is_epoch = |epoch: &str| {
            epoch.len() <= WORD_BYTES_MAX && epoch.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        self.epoch.is_none_or(is_epoch) && self.seq.is_none_or(|seq| seq <= SEQ_MAX)
    }

    /// What stands in the place of this event if it is refused: a gap with its number. `None` if it
    /// has no number.
    pub(crate) fn as_gap(&self, now: Wall) -> Option<String> {
        let (epoch, seq) = (self.epoch?, self.seq?);
        let data = json!({ "from": seq, "to": seq, "count": 1, "by": "hub" });
        let gap = json!({
            "type": "agent.gap", "agent_id": self.agent_id, "timestamp": now, "data": data,
            "epoch": epoch, "seq": seq,
        });
        self.has_sane_number().then(|| gap.to_string())
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.kind {
            "agent.started" => Kind::Event(EventType::AgentStarted),
            "agent.heartbeat" => Kind::Event(EventType::AgentHeartbeat),
            "agent.shutdown" => Kind::Event(EventType::AgentShutdown),
            "agent.gap" => Kind::Event(EventType::AgentGap),
            "container.created" => Kind::Event(EventType::Created),
            "container.edited" => Kind::Event(EventType::Edited),
            "container.started" => Kind::Event(EventType::Started),
            "container.stopped" => Kind::Event(EventType::Stopped),
            "container.deleted" => Kind::Event(EventType::Deleted),
            "session.attached" => Kind::Event(EventType::Attached),
            "session.detached" => Kind::Event(EventType::Detached),
            "session.signed" => Kind::Event(EventType::Signed),
            "agent.disk" => Kind::Event(EventType::Disk),
            "session.refused" => Kind::Event(EventType::Refused),
            "session.attention" => Kind::Event(EventType::Attention),
            "session.repository" => Kind::Event(EventType::Repository),
            HUB_SESSION => Kind::Session,
            HUB_REMOVED => Kind::Removed,
            HUB_FORGOTTEN => Kind::Forgotten,
            _ => Kind::Other,
        }
    }

    /// The data, if it is of the expected form.
    pub(crate) fn data<T: Deserialize<'a>>(&self) -> Option<T> {
        serde_json::from_str(self.data?.get()).ok()
    }

    /// What a `session.attention` says. `None` if that cannot be read.
    pub(crate) fn attention(&self) -> Option<Option<Attention>> {
        self.data.map_or(Some(None), |data| serde_json::from_str(data.get()).ok())
    }

    /// What an `agent.gap` says; `None` if it is none.
    pub(crate) fn gap(&self) -> Option<GapData> {
        (self.kind() == Kind::Event(EventType::AgentGap)).then(|| self.data()).flatten()
    }
}

/// `from` of an `agent.gap`.
#[derive(Debug, Deserialize)]
pub(crate) struct GapData {
    /// The first lost event.
    pub(crate) from: u64,
}

/// Data of `session.attached` and `session.detached`.
#[derive(Debug, Deserialize)]
pub(crate) struct AttachedData {
    /// Terminals that are attached now.
    #[serde(default)]
    pub(crate) attached_count: u32,
}

/// Data of `session.signed`.
#[derive(Debug, Deserialize)]
struct SignedData {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    host_key: String,
}

impl SignedData {
    fn is_plain(&self) -> bool {
        [&self.kind, &self.user, &self.host_key]
            .iter()
            .all(|text| is_plain(text, SIGNED_TEXT_BYTES_MAX))
    }
}

/// Data of `agent.disk`.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "it is read to see that these are numbers")]
struct DiskData {
    used_percent: u8,
    home_bytes: Option<u64>,
    grown_bytes: Option<u64>,
    seconds: Option<u64>,
}

/// Data of `session.refused`.
#[derive(Debug, Deserialize)]
struct RefusedData {
    #[serde(default)]
    what: String,
    #[serde(default)]
    why: String,
    #[serde(default)]
    allow: String,
}

impl RefusedData {
    fn is_plain(&self) -> bool {
        [&self.what, &self.why, &self.allow]
            .iter()
            .all(|text| is_plain(text, REFUSED_TEXT_BYTES_MAX))
    }
}

/// Data of `agent.started`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct StartedData<'a> {
    #[serde(default, borrow)]
    pub(crate) version: std::borrow::Cow<'a, str>,
    /// The image of its new sessions.
    #[serde(default, borrow)]
    pub(crate) image_tag: std::borrow::Cow<'a, str>,
    /// Its process; empty if it is of an earlier version.
    #[serde(default, borrow)]
    pub(crate) run: std::borrow::Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Wall;
    use crate::rpc::event::Event;

    #[test]
    fn every_type_of_the_wire_is_known_here() {
        for kind in [
            EventType::AgentStarted,
            EventType::AgentHeartbeat,
            EventType::AgentShutdown,
            EventType::AgentGap,
            EventType::Created,
            EventType::Edited,
            EventType::Started,
            EventType::Stopped,
            EventType::Deleted,
            EventType::Attached,
            EventType::Detached,
            EventType::Signed,
            EventType::Refused,
            EventType::Attention,
            EventType::Disk,
            EventType::Repository,
        ] {
            let event = Event {
                kind,
                agent_id: "a".to_owned(),
                session_id: None,
                timestamp: Wall::default(),
                data: serde_json::Value::Null,
                epoch: Some("e".to_owned()),
                seq: Some(7),
            };
            let line = serde_json::to_vec(&event).unwrap();
            let read = EventLine::parse(&line).unwrap();
            assert_eq!(read.kind(), Kind::Event(kind));
            assert_eq!((read.agent_id, read.epoch, read.seq), ("a", Some("e"), Some(7)));
        }
    }

    #[test]
    fn what_a_session_has_signed_is_short_and_plain_or_refused() {
        let long = format!(r#"{{"user":"{}"}}"#, "x".repeat(1000));
        for (data, is_fine) in [
            (r#"{"kind":"login","user":"git","host_key":"SHA256:x","later":1}"#, true),
            (r#"{"refused":3}"#, true),
            (r#"{"kind":"login","user":"a\nb"}"#, false),
            (r#"{"kind":"\u001b[2J"}"#, false),
            (long.as_str(), false),
            ("null", false),
        ] {
            let line = format!(
                r#"{{"type":"session.signed","agent_id":"a","timestamp":"2026-11-28T05:00:00Z",
                "data":{data}}}"#
            );
            let event = EventLine::parse(line.as_bytes()).unwrap();
            assert_eq!(event.check().is_ok(), is_fine, "{line}");
        }
    }

    #[test]
    fn an_attention_is_short_and_plain_or_refused() {
        let long = format!(
            r#"{{"state":"idle","since":"2026-11-28T05:00:00Z","reason":"{}"}}"#,
            "x".repeat(1000)
        );
        for (data, is_fine) in [
            (r#"{"state":"waiting","since":"2026-11-28T05:00:00Z","reason":"a","later":1}"#, true),
            (r#"{"state":"dreaming","since":"2026-11-28T05:00:00Z"}"#, true),
            ("null", true),
            (r#"{"state":"idle","since":"2026-11-28T05:00:00Z","reason":"\u001b"}"#, false),
            (r#"{"state":"idle"}"#, false),
            (long.as_str(), false),
            ("7", false),
        ] {
            let line = format!(
                r#"{{"type":"session.attention","agent_id":"a",
                "timestamp":"2026-11-28T05:00:00Z","data":{data}}}"#
            );
            let event = EventLine::parse(line.as_bytes()).unwrap();
            assert_eq!(event.check().is_ok(), is_fine, "{line}");
        }
    }

    #[test]
    fn every_cut_of_a_line_is_refused() {
        let line = br#"{"type":"x.new","agent_id":"a","timestamp":"t","data":[1],"more":{}}"#;
        assert_eq!(EventLine::parse(line).map(|read| read.kind()), Ok(Kind::Other));
        for cut in 0..line.len() {
            assert!(EventLine::parse(&line[..cut]).is_err(), "{cut}");
        }
        assert!(EventLine::parse(b"{\"type\":\"\xff\"}").is_err());
    }
}
