//! The fields of a session, each a type that admits only what product rules allow.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::{
    DNS_LABEL_CHARS_MAX, SESSION_COMMAND_BYTES_MAX, SESSION_NAME_BYTES_MAX, SESSION_NAME_CHARS_MAX,
};

/// What is wrong with a field, as one sentence without a final stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError(pub String);

impl fmt::Display for FieldError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for FieldError {}

/// Gives a type that wraps checked text its conversions and its JSON form.
macro_rules! text_field {
    ($name:ident) => {
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $name::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use text_field;

/// A session's name: 1–64 of letters and digits of any script, space, `_`, `-`, `.`; not only
/// blanks. So it has no control characters, none that reorder text, and no blanks but the space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionName(String);

text_field!(SessionName);

impl SessionName {
    /// Checks a name.
    ///
    /// # Errors
    /// A sentence that shows the name, cut to a screen's width and with control characters escaped.
    pub(crate) fn parse(text: &str) -> Result<SessionName, FieldError> {
        if text.is_empty() || text.bytes().all(|byte| byte == b' ') {
            return Err(FieldError("name must not be empty".to_owned()));
        }
        if text.len() > SESSION_NAME_BYTES_MAX
            || text.chars().count() > SESSION_NAME_CHARS_MAX
            || !text.chars().all(is_in_names)
        {
            return Err(FieldError(format!(
                "name {} must be 1 to {SESSION_NAME_CHARS_MAX} letters, digits, spaces, '_', '-' \
                 or '.', and at most {SESSION_NAME_BYTES_MAX} bytes",
                shown(text)
            )));
        }
        Ok(SessionName(text.to_owned()))
    }
}

/// Letters that show nothing: fillers of Hangul, with and without width.
const BLANK_LETTERS: [char; 4] = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}'];

fn is_in_names(sign: char) -> bool {
    " _-.".contains(sign) || (sign.is_alphanumeric() && !BLANK_LETTERS.contains(&sign))
}

/// No DNS name, or one lowercase RFC 1123 host label.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DnsName(String);

text_field!(DnsName);

impl DnsName {
    /// Checks a name; the empty text means none.
    ///
    /// # Errors
    /// A sentence that shows the name and the rule.
    pub(crate) fn parse(text: &str) -> Result<DnsName, FieldError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_label = text.len() <= DNS_LABEL_CHARS_MAX
            && text.bytes().all(allowed)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if !is_label {
            return Err(FieldError(format!(
                "dns name {} must be one host label: 1 to {DNS_LABEL_CHARS_MAX} lowercase letters, \
                 digits or '-', not at either end",
                shown(text)
            )));
        }
        Ok(DnsName(text.to_owned()))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What tmux runs in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCommand(String);

text_field!(SessionCommand);

impl SessionCommand {
    /// Checks a command: not empty, no control characters, bounded.
    ///
    /// # Errors
    /// A sentence that says which of these it is.
    pub fn parse(text: &str) -> Result<SessionCommand, FieldError> {
        if text.trim().is_empty() {
            return Err(FieldError("command must not be empty".to_owned()));
        }
        if text.len() > SESSION_COMMAND_BYTES_MAX {
            return Err(FieldError(format!(
                "command is {} bytes, at most {SESSION_COMMAND_BYTES_MAX} are allowed",
                text.len()
            )));
        }
        if text.chars().any(char::is_control) {
            return Err(FieldError(format!("command {} has control characters", shown(text))));
        }
        Ok(SessionCommand(text.to_owned()))
    }
}

impl Default for SessionCommand {
    fn default() -> SessionCommand {
        SessionCommand("claude --dangerously-skip-permissions".to_owned())
    }
}

/// Transport protocol of a session's port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    #[default]
    Tcp,
    /// The other one.
    Udp,
}

impl Protocol {
    /// Reads `tcp` or `udp`, in lower case.
    ///
    /// # Errors
    /// A sentence that shows the text.
    pub(crate) fn parse(text: &str) -> Result<Protocol, FieldError> {
        match text {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            _ => Err(FieldError(format!("protocol {} must be tcp or udp", shown(text)))),
        }
    }

    /// `tcp` or `udp`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Protocol, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The system of the seeds leaves the field empty for its default.
        if text.is_empty() {
            return Ok(Protocol::Tcp);
        }
        Protocol::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Which git key a session is to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyChoice {
    /// One that nobody has had before.
    #[default]
    New,
    None,
}

impl KeyChoice {
    /// Reads `new` or `none`.
    ///
    /// # Errors
    /// A sentence that shows the text.
    pub(crate) fn parse(text: &str) -> Result<KeyChoice, FieldError> {
        match text {
            "new" => Ok(KeyChoice::New),
            "none" => Ok(KeyChoice::None),
            _ => Err(FieldError(format!("ssh key {} must be new or none", shown(text)))),
        }
    }

    /// `new` or `none`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            KeyChoice::New => "new",
            KeyChoice::None => "none",
        }
    }
}

impl Serialize for KeyChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for KeyChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KeyChoice, D::Error> {
        KeyChoice::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The port that a session is asked to have: `0`, `-1` or a number in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PortChoice {
    /// `0`: no port
    #[default]
    None,
    /// `-1`: the agent picks a free one
    Auto,
    /// `1` to `65535`
    Fixed(u16),
}

impl PortChoice {
    /// Reads the number of the wire.
    ///
    /// # Errors
    /// A sentence that shows the number and the range.
    pub(crate) fn from_number(number: i64) -> Result<PortChoice, FieldError> {
        match number {
            0 => Ok(PortChoice::None),
            -1 => Ok(PortChoice::Auto),
            _ => u16::try_from(number).map(PortChoice::Fixed).map_err(|_| {
                FieldError(format!(
                    "port {number} must be 1 to 65535, 0 for none or -1 for any free one"
                ))
            }),
        }
    }
}

impl Serialize for PortChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(match *self {
            PortChoice::None => 0,
            PortChoice::Auto => -1,
            PortChoice::Fixed(port) => i64::from(port),
        })
    }
}

impl<'de> Deserialize<'de> for PortChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PortChoice, D::Error> {
        PortChoice::from_number(i64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Processor time, in thousandths of a core; a plain number of cores in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpus(u32);

/// What one session may use at most. Never unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Memory, in bytes.
    pub memory: u64,
    pub cpus: Cpus,
    pub pids: u32,
}

impl Caps {
    /// The least memory with which a container starts: Docker itself demands 6 MiB.
    pub(crate) const MEMORY_MIN: u64 = 16 * 1024 * 1024;

    /// Checks a memory cap in bytes.
    ///
    /// # Errors
    /// A sentence that shows the number and the least allowed.
    pub(crate) fn check_memory(bytes: u64) -> Result<u64, FieldError> {
        if bytes < Caps::MEMORY_MIN {
            let least = Caps::MEMORY_MIN;
            return Err(FieldError(format!("memory {bytes} must be at least {least} bytes")));
        }
        Ok(bytes)
    }

    /// Checks a cap of processes.
    ///
    /// # Errors
    /// A sentence that shows the number and the range.
    pub(crate) fn check_pids(pids: u32) -> Result<u32, FieldError> {
        if !(8..=4_194_304).contains(&pids) {
            return Err(FieldError(format!("pids {pids} must be 8 to 4194304")));
        }
        Ok(pids)
    }
}

impl Cpus {
    /// From thousandths of a core; `None` below 10 or above 1024 cores.
    pub fn from_millis(millis: u32) -> Option<Cpus> {
        (10..=1_024_000).contains(&millis).then_some(Cpus(millis))
    }

    /// In thousandths of a core.
    pub(crate) const fn as_millis(self) -> u32 {
        self.0
    }

    /// From a number of cores, cut to thousandths.
    ///
    /// # Errors
    /// A sentence that shows the number and the range.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is in range when it is cast"
    )]
    pub(crate) fn from_cores(cores: f64) -> Result<Cpus, FieldError> {
        let in_range = (0.01..=1024.0).contains(&cores);
        if !in_range {
            return Err(FieldError(format!("cpus {cores} must be 0.01 to 1024")));
        }
        Ok(Cpus((cores * 1000.0) as u32))
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", f64::from(self.0) / 1000.0)
    }
}

impl Serialize for Cpus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cpus, D::Error> {
        Cpus::from_cores(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Whether a line of JSON begins like an object. Its fields in their order as a list would be read
/// as well, and are not the format.
pub(super) fn is_object(line: &[u8]) -> bool {
    line.trim_ascii_start().first() == Some(&b'{')
}

/// Text of unknown origin, quoted, escaped and cut, as it may stand in a sentence.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let mut quoted = format!("{:?}", text.chars().take(SHOWN_CHARS_MAX).collect::<String>());
    if text.chars().count() > SHOWN_CHARS_MAX {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "語".repeat(64);
        for good in
            ["a", "web server 1", "A_b-c.d", &"x".repeat(64), "Überblick é", "日本語", &long]
        {
            assert!(SessionName::parse(good).is_ok(), "{good}");
        }
        // Controls, what reorders, what has no width, blanks that look like a space, symbols.
        let hostile = [
            "a\u{85}b",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{200b}b",
            "a\u{200d}b",
            "a\u{feff}b",
            "a\u{ad}b",
            "a\u{a0}b",
            "a\u{2003}b",
            "a\u{3000}b",
            "\u{3164}",
            "\u{115f}a",
            "a\u{2028}b",
            "a\u{301}",
            "🦀",
            "a·b",
            "e\u{e0041}",
        ];
        let long = ["x".repeat(65), "𝐱".repeat(65), "語".repeat(65)];
        let plain = ["", "   ", "a\nb", "a\u{1b}[2J", "a/b"];
        let long = long.iter().map(String::as_str);
        for bad in plain.into_iter().chain(hostile).chain(long) {
            let error = SessionName::parse(bad).expect_err(bad).to_string();
            assert!(!error.chars().any(char::is_control), "{error}");
        }
    }

    #[test]
    fn dns_names() {
        for good in ["", "a", "web-1", "1web", &"x".repeat(63)] {
            assert!(DnsName::parse(good).is_ok(), "{good}");
        }
        for bad in ["Web", "-a", "a-", "a.b", "a_b", &"x".repeat(64)] {
            assert!(DnsName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports() {
        assert_eq!(PortChoice::from_number(0), Ok(PortChoice::None));
        assert_eq!(PortChoice::from_number(-1), Ok(PortChoice::Auto));
        assert_eq!(PortChoice::from_number(65535), Ok(PortChoice::Fixed(65535)));
        for bad in [-2, 65536, i64::MIN, i64::MAX] {
            assert!(PortChoice::from_number(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cpus() {
        assert_eq!(Cpus::from_cores(1.5).map(Cpus::as_millis), Ok(1500));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1025.0] {
            assert!(Cpus::from_cores(bad).is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&Cpus::from_millis(500)).unwrap(), "0.5");
    }

    #[test]
    fn commands() {
        assert!(SessionCommand::parse("sh -c 'echo hi'").is_ok());
        for bad in ["", " ", "a\nb", &"x".repeat(SESSION_COMMAND_BYTES_MAX + 1)] {
            assert!(SessionCommand::parse(bad).is_err());
        }
    }
}
