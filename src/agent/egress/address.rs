//! Which addresses of an allowed name are dialled. A name's owner says where it leads, and that may
//! be a neighbour, the host itself or its metadata: whatever is not the internet is refused, in
//! every form in which IPv6 carries IPv4. Private networks can be permitted, by the host's operator
//! alone (`agent.conf`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::rpc::field::shown;

/// A private network that `agent.conf` permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

const NOT_INTERNET: &str = "reserved, and not of the internet";
const PRIVATE: &str = "private; agent.conf can permit its network with egress-private";

/// Networks of IPv4 that are not the internet, and what they are. Those of private use come first.
const V4: [([u8; 4], u8, &str); 17] = [
    ([10, 0, 0, 0], 8, PRIVATE),
    ([172, 16, 0, 0], 12, PRIVATE),
    ([192, 168, 0, 0], 16, PRIVATE),
    ([100, 64, 0, 0], 10, PRIVATE),
    ([0, 0, 0, 0], 8, "of this host"),
    ([127, 0, 0, 0], 8, "of this host"),
    ([169, 254, 169, 254], 32, "where clouds keep their metadata"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([192, 0, 0, 0], 24, NOT_INTERNET),
    ([192, 88, 99, 0], 24, NOT_INTERNET),
    ([198, 18, 0, 0], 15, NOT_INTERNET),
    ([224, 0, 0, 0], 4, "multicast"),
    ([255, 255, 255, 255], 32, "broadcast"),
    ([240, 0, 0, 0], 4, NOT_INTERNET),
    ([100, 100, 100, 200], 32, "where clouds keep their metadata"),
    ([168, 63, 129, 16], 32, "where clouds keep their metadata"),
    // The bridge of the sessions that reach the internet.
    ([10, 219, 76, 0], 22, "of other sessions"),
];

/// How many of [`V4`] may be permitted.
const V4_PRIVATE: usize = 4;

/// Whether an address may be dialled where these networks are `permitted`.
///
/// # Errors
/// What it is, if it may not.
pub(crate) fn check(address: IpAddr, permitted: &[Network]) -> Result<(), &'static str> {
    // The form that a socket would take it in.
    let address = address.to_canonical();
    match refusal(address) {
        Some(PRIVATE) if permitted.iter().any(|it| it.has(address)) => Ok(()),
        Some(what) => Err(what),
        None => Ok(()),
    }
}

/// Whether the operator of the host has named this very address: then it may be one of the host's
/// own, which a network that it lies in does not open.
pub(crate) fn is_named(address: IpAddr, permitted: &[Network]) -> bool {
    permitted.iter().any(|it| it.is_one_address() && it.has(address.to_canonical()))
}

fn refusal(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => refusal_v4(address),
        IpAddr::V6(address) => refusal_v6(address),
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    let is_in =
        |(network, bits, _): &&([u8; 4], u8, &str)| has_prefix(&address.octets(), network, *bits);
    // The smallest says most.
    V4.iter().filter(is_in).max_by_key(|(_, bits, _)| *bits).map(|(.., what)| *what)
}

fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    let [a, b, ..] = address.segments();
    match (a, b) {
        (0, 0) if address.is_loopback() || address.is_unspecified() => Some("of this host"),
        (0xfd00, 0x0ec2) => Some("where clouds keep their metadata"),
        (0xfc00..=0xfdff, _) => Some(PRIVATE),
        (0xfe80..=0xfebf, _) => Some("link-local"),
        (0xff00..=0xffff, _) => Some("multicast"),
        // 6to4, which leads to an IPv4 address by a way of its own; NAT64 (RFC 6052) is below.
        (0x2002, _) => Some(NOT_INTERNET),
        // Teredo, ORCHID, benchmarks, and what else 2001::/23 has for protocols.
        (0x2001, 0..=0x1ff) => Some(NOT_INTERNET),
        // Everything else that is anybody's is in 2000::/3; what IPv4 stands in is not.
        (0x2000..=0x3fff, _) => None,
        _ => Some(NOT_INTERNET),
    }
}

fn has_prefix(address: &[u8], network: &[u8], bits: u8) -> bool {
    let (whole, rest) = (usize::from(bits / 8), bits % 8);
    let mask = |byte: u8| u16::from(byte) >> (8 - rest);
    address[..whole] == network[..whole]
        && (rest == 0 || mask(address[whole]) == mask(network[whole]))
}

impl Network {
    /// Reads a private network, as `10.1.0.0/16`; an address alone is a network of one.
    ///
    /// # Errors
    /// A sentence that shows the text.
    pub(crate) fn parse(text: &str) -> Result<Network, String> {
        let fault = |why: &str| format!("egress-private {} {why}", shown(text));
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(it, bits)| (it, Some(bits)));
        let like = || fault("must be a network like 10.1.0.0/16");
        let address: IpAddr = address.parse().map_err(|_| like())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(like)?,
        };
        let network = Network { address, bits };
        match network.is_private() {
            true => Ok(network),
            false => Err(fault(
                "must lie in 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or fc00::/7",
            )),
        }
    }

    fn is_private(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => V4[..V4_PRIVATE].iter().any(|(network, bits, _)| {
                self.bits >= *bits && has_prefix(&address.octets(), network, *bits)
            }),
            IpAddr::V6(address) => self.bits >= 7 && has_prefix(&address.octets(), &[0xfc], 7),
        }
    }

    fn is_one_address(&self) -> bool {
        self.bits == if self.address.is_ipv4() { 32 } else { 128 }
    }

    fn has(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(it)) => has_prefix(&it.octets(), &own.octets(), self.bits),
            (IpAddr::V6(own), IpAddr::V6(it)) => has_prefix(&it.octets(), &own.octets(), self.bits),
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, permitted: &[&str]) -> Result<(), &'static str> {
        let networks: Vec<Network> =
            permitted.iter().map(|network| Network::parse(network).unwrap()).collect();
        check(text.parse().unwrap(), &networks)
    }

    #[test]
    fn what_is_not_the_internet_is_refused_in_every_form() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "168.63.129.16",
            "10.219.77.5",
            "64:ff9b::127.0.0.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "64:ff9b::1:0:0:1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001::1",
            "2001:20::1",
            "fc00::1",
            "fd00:ec2::254",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
            "100::1",
            "4000::1",
            "5f00::1",
        ] {
            assert!(checked(address, &[]).is_err(), "{address}");
        }
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "128.0.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860::8888",
        ] {
            assert_eq!(checked(address, &[]), Ok(()), "{address}");
        }
    }

    #[test]
    fn a_private_network_can_be_permitted_and_nothing_else() {
        assert_eq!(checked("172.17.0.1", &["172.17.0.0/16"]), Ok(()));
        assert_eq!(checked("::ffff:172.17.0.1", &["172.17.0.0/16"]), Ok(()));
        assert_eq!(checked("172.18.0.1", &["172.17.0.0/16"]), Err(PRIVATE));
        assert_eq!(checked("fd12::1", &["fd12::/16"]), Ok(()));
        assert_eq!(checked("fd12::1", &["fd13::/16", "10.0.0.0/8"]), Err(PRIVATE));
        // It is in a network of others, and never a session's.
        assert!(checked("100.100.100.200", &["100.64.0.0/10"]).is_err());
        assert!(checked("fd00:ec2::254", &["fd00::/8"]).is_err());
        assert_eq!(checked("10.219.77.5", &["10.0.0.0/8"]), Err("of other sessions"));
        assert!(checked("64:ff9b::10.0.0.1", &["10.0.0.0/8"]).is_err());
        for bad in [
            "",
            "x",
            "0.0.0.0/0",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "10.0.0.0/7",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "8.8.8.8",
            "::/0",
            "fe80::/10",
            "fc00::/6",
            "::1",
            "172.16.0.0/11",
        ] {
            assert!(Network::parse(bad).is_err(), "{bad}");
        }
        assert!(checked("169.254.169.254", &[]).is_err_and(|what| what.contains("metadata")));
        assert_eq!(Network::parse("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
    }
}
