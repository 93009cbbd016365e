//! What a session reaches, and who reaches it.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::field::{FieldError, Protocol, shown};

/// What a session reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// The internet.
    #[default]
    Open,
    /// The names that its rules allow, and nothing else: it has no network, and its agent carries
    /// its connections.
    List,
    /// Nothing: it has no network.
    None,
}

/// On which addresses of its host a session's port is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Publish {
    /// 127.0.0.1, and the address from which the host reaches the shell host.
    #[default]
    Default,
    /// Every address, of every interface.
    All,
    /// This one alone.
    Address(IpAddr),
}

impl Egress {
    /// Reads `open`, `list` or `none`.
    ///
    /// # Errors
    /// A sentence that shows the text.
    pub(crate) fn parse(text: &str) -> Result<Egress, FieldError> {
        match text {
            "open" => Ok(Egress::Open),
            "none" => Ok(Egress::None),
            "list" => Ok(Egress::List),
            _ => Err(FieldError(format!("egress {} must be open, list or none", shown(text)))),
        }
    }

    /// `open`, `list` or `none`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Egress::Open => "open",
            Egress::List => "list",
            Egress::None => "none",
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        *self == Egress::Open
    }

    /// Whether a session with this may have a port.
    ///
    /// # Errors
    /// A session without a network has none, and what its agent carries is TCP.
    pub(crate) fn check_port(self, has_port: bool, protocol: Protocol) -> Result<(), FieldError> {
        let why = match self {
            Egress::None if has_port => "a session with egress none cannot have a port",
            Egress::List if has_port && protocol == Protocol::Udp => {
                "a session with egress list can have a tcp port only"
            }
            _ => return Ok(()),
        };
        Err(FieldError(why.to_owned()))
    }
}

impl Publish {
    /// Reads `default`, `all` or an address.
    ///
    /// # Errors
    /// A sentence that shows the text.
    pub(crate) fn parse(text: &str) -> Result<Publish, FieldError> {
        match text {
            "default" => return Ok(Publish::Default),
            "all" => return Ok(Publish::All),
            _ => {}
        }
        let fault =
            || FieldError(format!("publish {} must be an address, all or default", shown(text)));
        let address: IpAddr = text.parse().map_err(|_| fault())?;
        match address.is_unspecified() {
            true => Ok(Publish::All),
            false if address.is_multicast() => Err(fault()),
            false => Ok(Publish::Address(address)),
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Publish::Default
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Publish::Default => out.write_str("default"),
            Publish::All => out.write_str("all"),
            Publish::Address(address) => write!(out, "{address}"),
        }
    }
}

impl Serialize for Egress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Egress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Egress, D::Error> {
        Egress::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Publish {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Publish {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Publish, D::Error> {
        Publish::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_refused() {
        assert_eq!(Publish::parse("10.0.0.1").unwrap().to_string(), "10.0.0.1");
        assert_eq!(Publish::parse("::1").unwrap().to_string(), "::1");
        assert_eq!(Publish::parse("default"), Ok(Publish::Default));
        for every in ["all", "0.0.0.0", "::"] {
            assert_eq!(Publish::parse(every), Ok(Publish::All), "{every}");
        }
        for bad in ["", "localhost", "10.0.0", "10.0.0.1:80", "224.0.0.1", "ff02::1", "\u{1b}[2J"] {
            assert!(Publish::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn egress_is_one_of_three_and_none_has_no_port() {
        assert_eq!(Egress::parse("open"), Ok(Egress::Open));
        assert_eq!(Egress::parse("list"), Ok(Egress::List));
        let told = Egress::parse("names").unwrap_err().0;
        assert_eq!(told, "egress \"names\" must be open, list or none");
        assert!(Egress::parse("No").is_err());
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        assert!(Egress::None.check_port(true, tcp).is_err());
        assert!(
            Egress::None.check_port(false, tcp).and(Egress::Open.check_port(true, udp)).is_ok()
        );
        assert!(
            Egress::List.check_port(true, tcp).and(Egress::List.check_port(false, udp)).is_ok()
        );
        assert!(Egress::List.check_port(true, udp).is_err());
    }
}
