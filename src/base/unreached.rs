//! Why a peer was not reached: it was, and does not want us; or nobody has answered.
//!
//! The difference decides how soon it is tried again. Who refuses is there, and many who come back
//! at once would be a herd: their waits grow. Where nobody answers there is nobody to be overrun,
//! and the network may be back at any moment.

use std::fmt;

/// Why no stream came about, in words of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// The peer refuses, or the fault is ours.
    Refused(String),
    /// The network does not lead to it now.
    Silent(String),
}

impl fmt::Display for Unreached {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreached::Refused(text) | Unreached::Silent(text) => out.write_str(text),
        }
    }
}

impl std::error::Error for Unreached {}

impl Unreached {
    /// The same with other words.
    #[must_use]
    pub(crate) fn map(self, words: impl FnOnce(String) -> String) -> Unreached {
        match self {
            Unreached::Refused(text) => Unreached::Refused(words(text)),
            Unreached::Silent(text) => Unreached::Silent(words(text)),
        }
    }

    /// Whether nobody has answered.
    pub(crate) const fn is_silence(&self) -> bool {
        matches!(self, Unreached::Silent(_))
    }
}

/// A connection attempt's error of the system's: whether a peer has spoken is in its number.
impl From<std::io::Error> for Unreached {
    fn from(error: std::io::Error) -> Unreached {
        use std::io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
        let text = error.to_string();
        match error.kind() {
            HostUnreachable | NetworkDown | NetworkUnreachable | TimedOut => {
                Unreached::Silent(text)
            }
            _ => Unreached::Refused(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn only_a_peer_refuses() {
        for (kind, is_silence) in [
            (ErrorKind::ConnectionRefused, false),
            (ErrorKind::PermissionDenied, false),
            (ErrorKind::HostUnreachable, true),
            (ErrorKind::NetworkUnreachable, true),
            (ErrorKind::NetworkDown, true),
            (ErrorKind::TimedOut, true),
        ] {
            let found = Unreached::from(Error::from(kind));
            assert_eq!(found.is_silence(), is_silence, "{found}");
        }
    }
}
