//! libvirt's network `default`, as `virsh net-dumpxml` tells of it: who has an address, and which
//! is free.
//!
//! What libvirt prints is always in one form: a tag a line, attributes between single quotes. Only
//! that is read.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::base::rng::Rng;

/// Why no machine can have an address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAddress {
    /// It gives out none.
    NoRange,
    /// All that it gives out are taken.
    Full,
}

/// An address of the network's range that nobody has, out of what the network says of itself and
/// what it has lent (`virsh net-dhcp-leases`).
///
/// # Errors
/// [`NoAddress`]
pub(crate) fn free_address(
    network: &str,
    leases: &str,
    rng: &mut Rng,
) -> Result<Ipv4Addr, NoAddress> {
    let (start, end) = range(network).ok_or(NoAddress::NoRange)?;
    let mut taken: BTreeSet<Ipv4Addr> = BTreeSet::new();
    for line in network.lines() {
        taken.extend(attribute(line, "ip").and_then(|text| text.parse::<Ipv4Addr>().ok()));
        taken.extend(attribute(line, "address").and_then(|text| text.parse::<Ipv4Addr>().ok()));
    }
    let lent = leases.split_whitespace().filter_map(address_of);
    taken.extend(lent);
    let (start, end) = (u32::from(start), u32::from(end));
    let count = (end - start).saturating_add(1);
    // Any of them, so that one that has just been given back is not the next: who knew the machine
    // before would find another.
    let first = rng.below(count);
    let next = |at: u32| if at + 1 < count { at + 1 } else { 0 };
    let places = std::iter::successors(Some(first), |at| Some(next(*at)));
    let mut any = places.map(|place| Ipv4Addr::from(start + place)).take(taken.len() + 1);
    any.find(|address| !taken.contains(address)).ok_or(NoAddress::Full)
}

/// An address with the length of its network's prefix behind it, or without.
fn address_of(word: &str) -> Option<Ipv4Addr> {
    word.split('/').next()?.parse().ok()
}

/// The addresses that it gives out.
fn range(network: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let line = network.lines().find(|line| line.trim_start().starts_with("<range "))?;
    let address = |name| attribute(line, name)?.parse::<Ipv4Addr>().ok();
    let (start, end) = (address("start")?, address("end")?);
    (start <= end).then_some((start, end))
}

/// The value of an attribute in a line with one tag.
fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}='"))?;
    rest.split('\'').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: &str = "<network>\n  <name>default</name>\n  \
        <mac address='52:54:00:00:00:01'/>\n  \
        <dns>\n    <host ip='192.168.122.3'>\n      <hostname>a.b</hostname>\n    \
        </host>\n  </dns>\n  \
        <ip address='192.168.122.1' netmask='255.255.255.0'>\n    <dhcp>\n      \
        <range start='192.168.122.2' end='192.168.122.5'/>\n      \
        <host mac='52:54:00:00:00:02' name='a' ip='192.168.122.3'/>\n    \
        </dhcp>\n  </ip>\n</network>\n";
    const LEASES: &str = " Expiry Time  MAC address  Protocol  IP address  Hostname\n---\n \
        2026-11-27 10:00:00  52:54:00:00:00:09  ipv4  192.168.122.5/24  -  -\n";

    fn free(network: &str, leases: &str, seed: u8) -> Result<String, NoAddress> {
        let address = free_address(network, leases, &mut Rng::from_seed([seed; 32]));
        address.map(|it| it.to_string())
    }

    #[test]
    fn only_what_nobody_has_is_free() {
        let found: BTreeSet<String> =
            (0..64).map(|seed| free(NETWORK, LEASES, seed).unwrap()).collect();
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, ["192.168.122.2", "192.168.122.4"]);
        let full = LEASES.replace("122.5/24", "122.5/24 192.168.122.2/24 192.168.122.4/24");
        assert_eq!(free(NETWORK, &full, 1), Err(NoAddress::Full));
    }

    #[test]
    fn a_network_without_a_range_gives_nothing() {
        let backwards = NETWORK.replace("122.5'/>", "122.1'/>");
        for network in ["", "<network/>", &NETWORK.replace("range", "rage"), &backwards] {
            assert_eq!(free(network, "", 1), Err(NoAddress::NoRange));
        }
        let whole = "<range start='0.0.0.0' end='255.255.255.255'/>";
        assert!(free(whole, "", 1).is_ok());
    }
}
