//! DNS names that no session gets: the agent refuses them, and so does the hub.

use std::collections::BTreeSet;

use super::field::{DnsName, FieldError};

/// Such names of every network, and why.
const RESERVED_NAMES: &[(&str, &str)] = &[
    ("localhost", "it means the machine that asks"),
    ("ip6-localhost", "it means the machine that asks"),
    ("ip6-loopback", "it means the machine that asks"),
    ("broadcasthost", "it means all machines"),
    ("wpad", "browsers take their proxy from it"),
    ("isatap", "machines take their IPv6 router from it"),
    ("router", "it means the router"),
    ("gateway", "it means the router"),
    ("dns", "it means the name server"),
];

/// The names of a cluster's hosts, without their domains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames(BTreeSet<Box<str>>);

impl HostNames {
    /// Takes the name of a host, with or without a domain.
    pub fn insert(&mut self, host: &str) {
        let label = host.split('.').next().unwrap_or_default();
        if !label.is_empty() {
            self.0.insert(label.to_ascii_lowercase().into());
        }
    }
}

impl DnsName {
    /// Why no session may have this name: the network's conventions or a host use it.
    pub(crate) fn reserved(&self, hosts: &HostNames) -> Option<&'static str> {
        let name = self.as_str();
        let found = RESERVED_NAMES.iter().find(|(reserved, _)| *reserved == name);
        match found {
            Some((_, why)) => Some(why),
            None if name.starts_with("convocate-") => Some("it is a name of convocate's own"),
            None if hosts.0.contains(name) => Some("a host of this cluster has it"),
            None => None,
        }
    }

    /// # Errors
    /// If the name is reserved.
    pub(crate) fn check_reserved(&self, hosts: &HostNames) -> Result<(), FieldError> {
        match self.reserved(hosts) {
            Some(why) => Err(FieldError(format!("dns name {self} is reserved: {why}"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_mean_by_a_name_is_reserved() {
        let mut hosts = HostNames::default();
        for host in ["Web-1.example.com", "shell", ""] {
            hosts.insert(host);
        }
        let names = RESERVED_NAMES.iter().map(|(name, _)| *name);
        for name in names.chain(["convocate-web", "web-1", "shell"]) {
            let error = DnsName::parse(name).unwrap().check_reserved(&hosts).unwrap_err();
            assert!(error.0.starts_with(&format!("dns name {name} is reserved: ")), "{error}");
        }
        for name in ["web", "example", "gateway-2", "localhost2", "convocate", ""] {
            assert_eq!(DnsName::parse(name).unwrap().reserved(&hosts), None, "{name}");
        }
        // What begins with an underscore is no label.
        assert!(DnsName::parse("_dmarc").is_err());
    }
}
