//! The file that dnsmasq reads: a line per name, and nothing that somebody else wrote there.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::base::time::Wall;
use crate::rpc::field::DnsName;

const BEGIN: &str = "# convocate: names of sessions, written by convocate status-serve\n";
const END: &str = "# convocate: end\n";

/// A session's DNS name and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    pub(crate) name: &'a str,
    /// Whose session it is.
    pub(crate) agent_id: &'a str,
    /// Whether it has the name already: that goes before age, which an agent may lie about.
    pub(crate) is_holder: bool,
    /// When that session was created: the older one has the name, should two agents use it.
    pub(crate) created_at: Wall,
    pub(crate) address: IpAddr,
}

/// The names that lead somewhere, each once and in their order. Not those that are reserved.
pub(crate) fn chosen(mut names: Vec<Name<'_>>) -> Vec<Name<'_>> {
    names.retain(|name| {
        DnsName::parse(name.name).is_ok_and(|it| !it.is_empty() && it.reserved().is_none())
    });
    names.sort_unstable_by_key(|name| (name.name, !name.is_holder, name.created_at, name.agent_id));
    names.dedup_by_key(|name| name.name);
    names
}

/// Their lines.
pub(crate) fn records(names: &[Name<'_>]) -> String {
    let mut text = String::new();
    for Name { name, address, .. } in names {
        writeln!(text, "{address} {name}").expect("memory takes every write");
    }
    text
}

/// The whole text of the file; `records` are its lines ([`records`]).
pub(crate) fn hosts(records: &str) -> String {
    format!("{BEGIN}{records}{END}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name<'a>(name: &'a str, agent_id: &'a str, age: i64, is_holder: bool) -> Name<'a> {
        let address = if agent_id == "a" { [10, 0, 0, 2] } else { [10, 0, 0, 3] };
        let created_at = Wall::new(age, 0);
        Name { name, agent_id, is_holder, created_at, address: address.into() }
    }

    fn lines(names: &[Name<'_>]) -> String {
        records(&chosen(names.to_vec()))
    }

    #[test]
    fn each_name_is_a_line_and_the_rest_is_ours() {
        let names = [name("web", "a", 1, false), name("db", "b", 1, false)];
        assert_eq!(lines(&names), "10.0.0.3 db\n10.0.0.2 web\n");
        assert_eq!(hosts("x\n"), format!("{BEGIN}x\n{END}"));
    }

    #[test]
    fn the_holder_has_the_name_and_then_the_older_session() {
        let (young, old) = (name("web", "a", 2, false), name("web", "b", 1, false));
        for names in [[young, old], [old, young]] {
            assert_eq!(lines(&names), "10.0.0.3 web\n");
        }
        assert_eq!(lines(&[name("web", "a", 2, true), old]), "10.0.0.2 web\n");
    }

    #[test]
    fn what_is_no_label_or_reserved_is_no_line() {
        for text in ["x\n10.9.9.9 github.com", "a.b", "", "A", "localhost", "wpad", "-a"] {
            assert_eq!(lines(&[name(text, "a", 1, true)]), "", "{text:?}");
        }
    }
}
