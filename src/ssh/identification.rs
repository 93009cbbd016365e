//! The lines that open a connection, before there are packets (RFC 4253 §4.2).
//!
//! A server's identification may have other lines before it, a client's may not. The line must end
//! in CR LF: every peer in use sends it so, and what the exchange hash covers is then beyond doubt.

use std::fmt;

use super::config::Role;
use crate::limits::{SSH_IDENTIFICATION_BYTES_MAX, SSH_PRELINES_MAX};

/// Our own, without its CR LF.
pub(crate) const OURS: &str = concat!("SSH-2.0-convocate_", env!("CARGO_PKG_VERSION"));

/// What all versions of our own start with.
const OUR_KIND: &str = "SSH-2.0-convocate";

/// Why a peer's first lines are not an identification. Its fault in every case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentificationError {
    /// A line longer than [`SSH_IDENTIFICATION_BYTES_MAX`].
    TooLong,
    /// Something else came first, and a client may not send that.
    NotFirst,
    /// More than [`SSH_PRELINES_MAX`] lines before it.
    ManyLines,
    /// It ends in LF without CR.
    BareLineFeed,
    /// A byte that may not stand in it.
    Byte(u8),
    /// Another protocol version: the start of the line.
    Version(String),
}

impl fmt::Display for IdentificationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        use IdentificationError::*;
        match self {
            TooLong => write!(out, "identification over {SSH_IDENTIFICATION_BYTES_MAX} bytes"),
            NotFirst => out.write_str("peer does not start with an SSH identification"),
            ManyLines => write!(out, "over {SSH_PRELINES_MAX} lines before the identification"),
            BareLineFeed => out.write_str("identification ends in LF without CR"),
            Byte(byte) => write!(out, "byte 0x{byte:02x} in the identification"),
            Version(start) => write!(out, "identification {start:?} is not SSH-2.0"),
        }
    }
}

impl std::error::Error for IdentificationError {}

/// A peer's identification, without its CR LF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identification(String);

impl Identification {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the peer is one of ours, of whatever version.
    pub(crate) fn is_ours(&self) -> bool {
        self.0.strip_prefix(OUR_KIND).is_some_and(|rest| rest.starts_with('_'))
    }
}

/// Waits for the peer's identification.
#[derive(Debug, Default)]
pub struct Awaiting {
    lines: usize,
}

/// What the first bytes of `held` are, and how many of them they take.
#[derive(Debug, PartialEq, Eq)]
pub enum FirstLine {
    /// The line is not complete.
    Nothing,
    /// A line before the identification.
    Line(usize),
    Identification(usize, Identification),
}

impl Awaiting {
    /// Looks at the line that `held` starts with. `role` is ours.
    pub fn look(&mut self, role: Role, held: &[u8]) -> Result<FirstLine, IdentificationError> {
        let prefix = b"SSH-";
        let is_it = held.starts_with(prefix);
        if role == Role::Server && !is_it && !prefix.starts_with(held) {
            return Err(IdentificationError::NotFirst);
        }
        let window = &held[..held.len().min(SSH_IDENTIFICATION_BYTES_MAX)];
        let Some(line_feed) = window.iter().position(|&byte| byte == b'\n') else {
            return match held.len() >= SSH_IDENTIFICATION_BYTES_MAX {
                true => Err(IdentificationError::TooLong),
                false => Ok(FirstLine::Nothing),
            };
        };
        if is_it {
            return parse(&held[..line_feed])
                .map(|line| FirstLine::Identification(line_feed + 1, line));
        }
        self.lines += 1;
        match self.lines > SSH_PRELINES_MAX {
            true => Err(IdentificationError::ManyLines),
            false => Ok(FirstLine::Line(line_feed + 1)),
        }
    }
}

/// `line` is without its LF.
fn parse(line: &[u8]) -> Result<Identification, IdentificationError> {
    let line = line.strip_suffix(b"\r").ok_or(IdentificationError::BareLineFeed)?;
    if let Some(&byte) = line.iter().find(|byte| !matches!(byte, b' '..=b'~')) {
        return Err(IdentificationError::Byte(byte));
    }
    let text: String = line.iter().copied().map(char::from).collect();
    match text.strip_prefix("SSH-2.0-") {
        Some(software) if !software.is_empty() => Ok(Identification(text)),
        _ => Err(IdentificationError::Version(text.chars().take(40).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(role: Role, held: &[u8]) -> Result<FirstLine, IdentificationError> {
        Awaiting::default().look(role, held)
    }

    #[test]
    fn an_identification_is_found_only_when_its_line_is_whole() {
        let line = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\nmore";
        for role in [Role::Client, Role::Server] {
            for cut in 0..32 {
                assert_eq!(look(role, &line[..cut]), Ok(FirstLine::Nothing), "{cut}");
            }
            let Ok(FirstLine::Identification(32, found)) = look(role, line) else {
                panic!("not found");
            };
            assert_eq!(found.as_str(), "SSH-2.0-OpenSSH_9.2p1 Debian-2");
            assert!(!found.is_ours());
        }
        assert!(Identification(OURS.to_owned()).is_ours());
        assert!(!Identification("SSH-2.0-convocatex".to_owned()).is_ours());
    }

    #[test]
    fn what_is_none_is_refused() {
        use IdentificationError::*;
        let long = [b"SSH-2.0-".as_slice(), &[b'x'; 246], b"\r\n"].concat();
        for (line, error) in [
            (&b"SSH-2.0-x\n"[..], BareLineFeed),
            (b"SSH-2.0-x\0y\r\n", Byte(0)),
            (b"SSH-2.0-x\xc3\r\n", Byte(0xc3)),
            (b"SSH-1.5-x\r\n", Version("SSH-1.5-x".to_owned())),
            (b"SSH-1.99-x\r\n", Version("SSH-1.99-x".to_owned())),
            (b"SSH-2.0-\r\n", Version("SSH-2.0-".to_owned())),
            (&long, TooLong),
            (&[b'S'; 255], TooLong),
        ] {
            assert_eq!(look(Role::Client, line), Err(error), "{line:?}");
        }
        let fits = [b"SSH-2.0-".as_slice(), &[b'x'; 245], b"\r\n"].concat();
        assert!(matches!(look(Role::Server, &fits), Ok(FirstLine::Identification(255, _))));
    }

    #[test]
    fn lines_before_it_are_for_servers_only_and_counted() {
        for held in [&b"G"[..], b"\r\n", b"ssh-2.0-x\r\n", b"SSH\n"] {
            assert_eq!(look(Role::Server, held), Err(IdentificationError::NotFirst), "{held:?}");
        }
        let mut awaiting = Awaiting::default();
        for _ in 0..SSH_PRELINES_MAX {
            assert_eq!(awaiting.look(Role::Client, b"hello\nSSH-2"), Ok(FirstLine::Line(6)));
        }
        assert_eq!(awaiting.look(Role::Client, b"\n"), Err(IdentificationError::ManyLines));
    }
}
