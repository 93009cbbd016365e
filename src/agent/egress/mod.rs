//! What a session of `egress list` may reach: each of its connections, decided byte by byte.
//!
//! Such a session has no network but its loopback, on which the agent listens as a proxy
//! ([`crate::agent::serve`] has the sockets). A client names a host: by `CONNECT`, by the address
//! of a plain HTTP request, or by SOCKS5. The session's rules are asked ([`gate`]), the name is
//! looked up, all its addresses are checked ([`address`]), and one of those is dialled. What the
//! client says first must fit the name: the server name of a TLS ClientHello ([`hello`]), the
//! `Host` of an HTTP request ([`http`]). Then the bytes go through as they are. TLS is not opened.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`conn`] | one connection, from its first byte to its end |
//! | [`http`], [`hello`], [`socks`] | what clients say, strictly |
//! | [`address`] | addresses that are never dialled, and those that `agent.conf` permits |
//! | [`gate`] | one session: its rules, what was refused lately, what an event tells of that |

pub(crate) mod address;
pub(crate) mod conn;
pub(crate) mod gate;
pub(crate) mod hello;
pub(crate) mod http;
pub(crate) mod socks;

use std::fmt;

use crate::rpc::egress::HostName;

/// What a client wants to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: HostName,
    pub(crate) port: u16,
}

/// Why a client does not get what it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A rule denies the name.
    Denied,
    /// No rule allows the name and the port.
    Unlisted,
    /// What is asked for is no name. The text is the client's.
    NoName { text: String, why: &'static str },
    /// What was said is not understood, or not let through.
    Unfit(&'static str),
    /// It was said too late.
    Late,
    /// One of the name's addresses is not for sessions.
    Address(&'static str),
    /// The name cannot be looked up, or nobody answers there.
    Unreachable(String),
}

impl Refusal {
    /// Whether the session tried what it may not, as opposed to what did not work.
    pub(crate) fn is_attempt(&self) -> bool {
        !matches!(self, Refusal::Late | Refusal::Unreachable(_))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Denied => out.write_str("a rule denies it"),
            Refusal::Unlisted => out.write_str("no rule allows it"),
            Refusal::NoName { why, .. } => out.write_str(why),
            Refusal::Unfit(why) => out.write_str(why),
            Refusal::Late => out.write_str("nothing was said in time"),
            Refusal::Address(what) => write!(out, "its address is {what}"),
            Refusal::Unreachable(why) => out.write_str(why),
        }
    }
}
