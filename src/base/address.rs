//! Where to listen or to dial, as an operator writes it: `:222`, `host:port`, `[v6]:port`.
//!
//! Text to value and back, nothing else: names are not looked up here. An IPv6 address needs its
//! brackets, because `::1:222` could mean two things.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::limits::HOST_NAME_CHARS_MAX;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub(crate) host: Host,
    /// The port; 0 asks the system for a free one, which makes sense for a listener only.
    pub(crate) port: u16,
}

/// The host part of an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// None was named: a listener takes every address of the machine.
    Any,
    Ip(IpAddr),
    /// A name, still to be looked up: 1 to 253 of letters, digits, `-`, `_` and `.`.
    Name(String),
}

/// Why a text is no address. Each carries the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// No `:port` at its end, and no default either.
    NoPort(String),
    /// What stands behind the last colon is no number from 0 to 65535.
    BadPort(String),
    /// What stands before it is neither a name nor a number.
    BadHost(String),
}

impl Address {
    /// Reads `:port`, `host:port`, `v4:port` or `[v6]:port`.
    ///
    /// # Errors
    /// [`AddressError`], with the text in it.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let (host, port) = split_port(text).ok_or_else(|| AddressError::NoPort(text.to_owned()))?;
        Ok(Address { host: parse_host(host, text)?, port: parse_port(port, text)? })
    }

    /// Reads what [`Address::parse`] does, or a host without a port, which then is `port`.
    ///
    /// # Errors
    /// [`AddressError`], with the text in it.
    pub(crate) fn parse_or_port(text: &str, port: u16) -> Result<Address, AddressError> {
        if let Ok(number) = text.parse::<Ipv6Addr>() {
            return Ok(Address { host: Host::Ip(IpAddr::V6(number)), port });
        }
        match split_port(text) {
            Some(_) => Address::parse(text),
            None if text.is_empty() => Err(AddressError::BadHost(String::new())),
            None => Ok(Address { host: parse_host(text, text)?, port }),
        }
    }

    /// The address as numbers, if no name has to be looked up first.
    pub fn as_socket_addr(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Any => Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.port))),
            Host::Ip(number) => Some(SocketAddr::from((number, self.port))),
            Host::Name(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address { host: Host::Ip(address.ip()), port: address.port() }
    }
}

/// The form that [`Address::parse`] reads.
impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => write!(out, ":{}", self.port),
            Host::Ip(IpAddr::V4(number)) => write!(out, "{number}:{}", self.port),
            Host::Ip(IpAddr::V6(number)) => write!(out, "[{number}]:{}", self.port),
            Host::Name(name) => write!(out, "{name}:{}", self.port),
        }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = "an address is :port, host:port or [v6]:port";
        match self {
            AddressError::NoPort(text) => write!(out, "{text:?} has no port; {form}"),
            AddressError::BadPort(text) => {
                write!(out, "{text:?} has no port from 0 to 65535; {form}")
            }
            AddressError::BadHost(text) => write!(out, "{text:?} names no host; {form}"),
        }
    }
}

impl std::error::Error for AddressError {}

/// Cuts at the colon before the port; `None` if there is none.
fn split_port(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('[') {
        Some(_) => {
            let end = text.find(']')? + 1;
            Some((&text[..end], text[end..].strip_prefix(':')?))
        }
        None => text.rsplit_once(':'),
    }
}

fn parse_port(port: &str, text: &str) -> Result<u16, AddressError> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| port.parse().ok())
        .flatten()
        .ok_or_else(|| AddressError::BadPort(text.to_owned()))
}

fn parse_host(host: &str, text: &str) -> Result<Host, AddressError> {
    let bad = || AddressError::BadHost(text.to_owned());
    if host.is_empty() {
        return Ok(Host::Any);
    }
    if let Some(inside) = host.strip_prefix('[') {
        let number = inside.strip_suffix(']').and_then(|number| number.parse::<Ipv6Addr>().ok());
        return number.map(|number| Host::Ip(IpAddr::V6(number))).ok_or_else(bad);
    }
    if let Ok(number) = host.parse::<std::net::Ipv4Addr>() {
        return Ok(Host::Ip(IpAddr::V4(number)));
    }
    let fits = host.len() <= HOST_NAME_CHARS_MAX && !host.starts_with(['-', '.']);
    let letters = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    // A name of nothing but digits and dots is a number with a slip in it, and no name.
    let named = host.bytes().any(|byte| !byte.is_ascii_digit() && byte != b'.');
    (fits && letters && named).then(|| Host::Name(host.to_owned())).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_and_writes() {
        for text in [":222", "0.0.0.0:0", "example.org:65535", "[::1]:223", "node_1:1"] {
            assert_eq!(Address::parse(text).map(|address| address.to_string()), Ok(text.into()));
        }
        let any = Address::parse(":222").map(|address| address.as_socket_addr());
        assert_eq!(any, Ok("[::]:222".parse().ok()));
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_text() {
        for text in [
            "",
            "222",
            "host",
            "host:",
            "host:65536",
            "host:+1",
            "host:1x",
            "::1:222",
            "[::1]",
            "[::1]222",
            "[::1",
            "[::x]:1",
            "[1.2.3.4]:1",
            "a b:1",
            "a/b:1",
            "-a:1",
            ".a:1",
            "1.2.3:1",
            "256.1.1.1:1",
            "user@host:1",
        ] {
            let error = Address::parse(text).expect_err(text);
            assert!(error.to_string().starts_with(&format!("{text:?}")), "{error}");
        }
        assert!(Address::parse(&format!("{}:1", "a".repeat(254))).is_err());
    }

    #[test]
    fn a_default_port_fills_in() {
        let parse = |text| Address::parse_or_port(text, 222).map(|address| address.to_string());
        assert_eq!(parse("host"), Ok("host:222".into()));
        assert_eq!(parse("host:1"), Ok("host:1".into()));
        assert_eq!(parse("::1"), Ok("[::1]:222".into()));
        assert_eq!(parse("10.0.0.1"), Ok("10.0.0.1:222".into()));
        assert!(parse("").is_err());
        assert!(parse("host:").is_err());
    }
}
