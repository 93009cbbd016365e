//! Why a connection ended, and the DISCONNECT that its peer gets.

use std::fmt;
use std::time::Duration;

use super::admit::AdmitState;
use super::identification::IdentificationError;
use super::kex::KexError;
use super::kexinit::NegotiationError;
use super::names::{
    SSH_DISCONNECT_BY_APPLICATION, SSH_DISCONNECT_CONNECTION_LOST,
    SSH_DISCONNECT_HOST_KEY_NOT_VERIFIABLE, SSH_DISCONNECT_KEY_EXCHANGE_FAILED,
    SSH_DISCONNECT_MAC_ERROR, SSH_DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE,
    SSH_DISCONNECT_PROTOCOL_ERROR, SSH_DISCONNECT_SERVICE_NOT_AVAILABLE,
    SSH_DISCONNECT_TOO_MANY_CONNECTIONS,
};
use super::packet::PacketError;
use super::refusal::Refusal;
use super::wire::WireError;
use crate::limits;

/// Why a connection ended. Everything is the peer's fault except the last four groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Its first lines are no identification.
    Identification(IdentificationError),
    /// Bytes that are no packet.
    Packet(PacketError),
    /// A message that is not well-formed.
    Message { number: u8, cause: WireError },
    /// A message that the state does not admit.
    Unexpected {
        number: u8,
        /// What was waited for.
        state: AdmitState,
    },
    /// The two ends do not go together.
    Negotiation(NegotiationError),
    /// A peer of our own kind that does not ask for the strict exchange: somebody took it out.
    StrictMissing,
    /// Something came before the KEXINIT of a strict exchange.
    StrictBroken,
    /// A cipher that is safe in a strict exchange only.
    CipherNeedsStrict(&'static str),
    /// A public value that is refused.
    Kex(KexError),
    /// The server is not the one that was pinned. Fingerprints.
    HostKeyMismatch {
        expected: String,
        /// The server's, or what came instead of a key.
        got: String,
    },
    /// The server does not have the key that it shows.
    HostKeySignature,
    /// Too many bytes or packets from somebody who is not authenticated.
    PreauthBudget,
    /// A service that there is not.
    Service(String),
    /// Authentication requests are used up.
    AuthAttempts,
    /// A channel that there is not.
    NoChannel {
        number: u8,
        /// The channel that it names.
        channel: u32,
    },
    /// Channel data, EOF or an answer out of turn.
    Channel { number: u8, cause: ChannelFault },
    /// A reply that nobody asked for.
    UnaskedReply { number: u8 },
    /// More requests during a key exchange than are kept.
    Flood,
    /// The peer sent DISCONNECT.
    ByPeer {
        /// A reason of RFC 4253 §11.1.
        reason: u32,
        /// Its words, without control characters, cut.
        text: String,
    },

    /// Our key is not wanted: the methods that the server takes.
    AuthRefused {
        /// As the server lists them.
        methods: String,
    },

    /// The listener has let nobody in, and told why before its identification.
    Refused(Refusal),
    /// The stream ended without a word.
    StreamEnd,
    /// Not authenticated in time.
    LoginGrace,
    /// A key exchange took too long.
    RekeyTimeout,
    /// Keepalives were not answered.
    KeepaliveTimeout,
    /// A client, or a channel of its, asked for no subsystem in time.
    SubsystemTimeout,

    /// We ended it, with this text in our DISCONNECT.
    ByUs(&'static str),
    /// We ended it for a newcomer's sake.
    Displaced,
}

/// What a peer did wrong with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelFault {
    /// More data than the window has room for.
    Window,
    /// More data in one message than the maximum packet size.
    PacketSize,
    /// A window beyond 2^32 − 1.
    WindowOverflow,
    /// Something after EOF or CLOSE.
    AfterEnd,
    /// An answer to a question that was not asked.
    Unasked,
    /// A maximum packet size of zero.
    NoPacketSize,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Identification(error) => error.fmt(out),
            Error::Packet(error) => error.fmt(out),
            Error::Message { number, cause } => write!(out, "message {number}: {cause}"),
            Error::Unexpected { number, state } => {
                write!(out, "message {number} out of turn, in state {state:?}")
            }
            Error::Negotiation(error) => error.fmt(out),
            Error::StrictMissing => out.write_str("peer of our own kind without strict kex"),
            Error::StrictBroken => out.write_str("message before the kexinit of a strict kex"),
            Error::CipherNeedsStrict(name) => {
                write!(out, "cipher {name} with a peer that has no strict kex")
            }
            Error::Kex(error) => write!(out, "key exchange: {error}"),
            Error::HostKeyMismatch { expected, got } => {
                write!(out, "host key is {got}, expected {expected}")
            }
            Error::HostKeySignature => out.write_str("host key signature does not verify"),
            Error::PreauthBudget => write!(
                out,
                "over {} bytes or {} packets before authentication",
                limits::SSH_PREAUTH_BYTES_MAX,
                limits::SSH_PREAUTH_PACKETS_MAX
            ),
            Error::Service(name) => write!(out, "service {name:?} is not available"),
            Error::AuthAttempts => out.write_str("too many authentication attempts"),
            Error::NoChannel { number, channel } => {
                write!(out, "message {number} for channel {channel}, which does not exist")
            }
            Error::Channel { number, cause } => write!(out, "message {number}: {cause}"),
            Error::UnaskedReply { number } => {
                write!(out, "message {number} answers a request that was not made")
            }
            Error::Flood => out.write_str("too many requests during a key exchange"),
            Error::ByPeer { reason, text } => {
                write!(out, "disconnected by peer, reason {reason}: {text:?}")
            }
            Error::AuthRefused { methods } => {
                write!(out, "key refused, server takes {methods:?}")
            }
            Error::Refused(refusal) => refusal.fmt(out),
            Error::StreamEnd => out.write_str("connection closed by peer"),
            Error::LoginGrace => out.write_str("not authenticated in time"),
            Error::RekeyTimeout => out.write_str("key exchange not finished in time"),
            Error::KeepaliveTimeout => out.write_str("keepalives not answered"),
            Error::SubsystemTimeout => out.write_str("no subsystem asked for in time"),
            Error::ByUs(text) => out.write_str(text),
            Error::Displaced => out.write_str("too many connections"),
        }
    }
}

impl fmt::Display for ChannelFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            ChannelFault::Window => "data beyond the window",
            ChannelFault::PacketSize => "data beyond the maximum packet size",
            ChannelFault::WindowOverflow => "window beyond 2^32 - 1",
            ChannelFault::AfterEnd => "after EOF or CLOSE",
            ChannelFault::Unasked => "an answer to what was not asked",
            ChannelFault::NoPacketSize => "maximum packet size 0",
        })
    }
}

impl std::error::Error for Error {}

impl Error {
    /// A message that is not well-formed.
    pub(super) fn message(number: u8) -> impl Fn(WireError) -> Error {
        move |cause| Error::Message { number, cause }
    }

    /// Whether the peer has broken the protocol or failed to authenticate, and did not just leave.
    pub(super) fn is_failure(&self) -> bool {
        use Error::{
            ByPeer, ByUs, Displaced, KeepaliveTimeout, LoginGrace, RekeyTimeout, StreamEnd,
        };
        !matches!(
            self,
            ByPeer { .. }
                | StreamEnd
                | LoginGrace
                | RekeyTimeout
                | KeepaliveTimeout
                | ByUs(_)
                | Displaced
        )
    }

    /// Client, before it is authenticated: how long the listener wants it to wait, if it has only
    /// too many connections.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Refused(refusal) => Some(refusal.wait()),
            Error::ByPeer { reason: SSH_DISCONNECT_TOO_MANY_CONNECTIONS, .. } => {
                Some(limits::SSH_DISPLACED_WAIT)
            }
            _ => None,
        }
    }

    /// What our DISCONNECT says: a reason of RFC 4253 §11.1 and a few words. `None` if there is
    /// nobody to send it to, or it would not be understood.
    pub(super) fn farewell(&self) -> Option<(u32, &'static str)> {
        Some(match self {
            Error::Identification(_)
            | Error::ByPeer { .. }
            | Error::Refused(_)
            | Error::StreamEnd => return None,
            Error::Packet(PacketError::Tag) => (SSH_DISCONNECT_MAC_ERROR, "wrong tag"),
            Error::Negotiation(_) => (SSH_DISCONNECT_KEY_EXCHANGE_FAILED, "nothing in common"),
            Error::StrictMissing | Error::CipherNeedsStrict(_) => {
                (SSH_DISCONNECT_KEY_EXCHANGE_FAILED, "strict key exchange required")
            }
            Error::Kex(_) => (SSH_DISCONNECT_KEY_EXCHANGE_FAILED, "bad public value"),
            Error::HostKeyMismatch { .. } | Error::HostKeySignature => {
                (SSH_DISCONNECT_HOST_KEY_NOT_VERIFIABLE, "host key not verifiable")
            }
            Error::Service(_) => (SSH_DISCONNECT_SERVICE_NOT_AVAILABLE, "no such service"),
            Error::AuthAttempts => {
                (SSH_DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, "too many authentication attempts")
            }
            Error::AuthRefused { .. } => {
                (SSH_DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, "no other key")
            }
            Error::LoginGrace => (SSH_DISCONNECT_BY_APPLICATION, "not authenticated in time"),
            Error::RekeyTimeout => {
                (SSH_DISCONNECT_KEY_EXCHANGE_FAILED, "key exchange not finished in time")
            }
            Error::KeepaliveTimeout => (SSH_DISCONNECT_CONNECTION_LOST, "no answer"),
            Error::SubsystemTimeout => (SSH_DISCONNECT_BY_APPLICATION, "no subsystem asked for"),
            Error::ByUs(text) => (SSH_DISCONNECT_BY_APPLICATION, text),
            Error::Displaced => (SSH_DISCONNECT_TOO_MANY_CONNECTIONS, "too many connections"),
            Error::Packet(_)
            | Error::Message { .. }
            | Error::Unexpected { .. }
            | Error::StrictBroken
            | Error::PreauthBudget
            | Error::NoChannel { .. }
            | Error::Channel { .. }
            | Error::UnaskedReply { .. }
            | Error::Flood => (SSH_DISCONNECT_PROTOCOL_ERROR, "protocol error"),
        })
    }
}

/// A peer's words as they may be shown: no control characters, not too many.
pub(super) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|sign| !sign.is_control()).take(limits::SSH_PEER_TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_words_are_cleaned_and_cut() {
        assert_eq!(shown(b"a\x1b[2J\nb\xff"), "a[2Jb\u{fffd}");
        assert_eq!(shown(&[b'x'; 10_000]).len(), limits::SSH_PEER_TEXT_CHARS_MAX);
    }
}
