//! The file that dnsmasq reads: a line per name, and nothing that somebody else wrote there.
//!
//! A name leads to the session that has had it for longest, by the hub's own numbers: neither what
//! an agent says of a session's age nor a restart of the hub gives it to another one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::hub::Hub;
use super::known::Claim;
use super::notices::{Refusal, RefusedName};
use crate::limits::REFUSED_NAMES_TOLD_MAX;
use crate::rpc::field::DnsName;
use crate::rpc::reserved::HostNames;

const BEGIN: &str = "# convocate: names of sessions, written by convocate status-serve\n";
const END: &str = "# convocate: end\n";

/// Makes the file's text, and knows which refusals have been told.
#[derive(Debug, Default)]
pub struct HostsFile {
    told: BTreeSet<RefusedName>,
}

/// What came of the names once.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// The whole text of the file.
    pub text: String,
    /// To be told ([`Hub::name_refused`]).
    pub(crate) refused: Vec<RefusedName>,
    /// Whether there are more of those.
    pub(crate) is_more: bool,
}

impl HostsFile {
    /// The file for all that the hub knows. `hosts` have their names already; `place` is where an
    /// agent's sessions are, if that is known.
    pub fn write(
        &mut self,
        hub: &Hub,
        hosts: &HostNames,
        place: impl Fn(&str) -> Option<IpAddr>,
    ) -> Written {
        self.choose(hub.names().collect(), hosts, place)
    }

    fn choose(
        &mut self,
        mut claims: Vec<Claim<'_>>,
        hosts: &HostNames,
        place: impl Fn(&str) -> Option<IpAddr>,
    ) -> Written {
        claims.sort_unstable();
        let mut text = String::from(BEGIN);
        let mut refused = BTreeSet::new();
        let mut refuse = |claim: &Claim<'_>, why| {
            let (name, agent_id) = (claim.name.into(), claim.agent_id.into());
            refused.insert(RefusedName { name, agent_id, why });
        };
        for group in claims.chunk_by(|one, next| one.name == next.name) {
            let [first, others @ ..] = group else { continue };
            let Ok(name) = DnsName::parse(first.name) else { continue };
            if let Some(why) = name.reserved(hosts) {
                group.iter().for_each(|claim| refuse(claim, Refusal::Reserved(why)));
                continue;
            }
            for other in others.iter().filter(|other| other.agent_id != first.agent_id) {
                refuse(other, Refusal::Held(first.agent_id.into()));
            }
            if let Some(address) = place(first.agent_id).filter(|_| !name.is_empty()) {
                writeln!(text, "{address} {name}").expect("memory takes every write");
            }
        }
        text.push_str(END);
        self.told.retain(|told| refused.contains(told));
        let mut news = refused.difference(&self.told).cloned();
        let refused: Vec<RefusedName> = news.by_ref().take(REFUSED_NAMES_TOLD_MAX).collect();
        let is_more = news.next().is_some();
        self.told.extend(refused.iter().cloned());
        Written { text, refused, is_more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Wall;

    fn claim<'a>(name: &'a str, agent_id: &'a str, seq: u64) -> Claim<'a> {
        // Whoever comes later says that it is older.
        Claim { name, since: (seq, Wall::new(-i64::try_from(seq).unwrap(), 0)), agent_id }
    }

    fn written(file: &mut HostsFile, claims: &[Claim<'_>]) -> Written {
        let mut hosts = HostNames::default();
        hosts.insert("web-1.example.com");
        file.choose(claims.to_vec(), &hosts, |id| match id {
            "a" => Some([10, 0, 0, 2].into()),
            "b" => Some([10, 0, 0, 3].into()),
            _ => None,
        })
    }

    fn lines(claims: &[Claim<'_>]) -> String {
        let text = written(&mut HostsFile::default(), claims).text;
        text.strip_prefix(BEGIN).unwrap().strip_suffix(END).unwrap().to_owned()
    }

    #[test]
    fn each_name_is_a_line_and_the_first_has_it() {
        assert_eq!(
            lines(&[claim("web", "a", 1), claim("db", "b", 2)]),
            "10.0.0.3 db\n10.0.0.2 web\n"
        );
        let (first, second) = (claim("web", "b", 1), claim("web", "a", 2));
        for claims in [[first, second], [second, first]] {
            assert_eq!(lines(&claims), "10.0.0.3 web\n");
        }
        // Also while nobody knows where it is.
        assert_eq!(lines(&[claim("web", "c", 1), second]), "");
    }

    #[test]
    fn what_is_no_label_or_reserved_is_no_line() {
        for text in ["x\n10.9.9.9 github.com", "a.b", "", "A", "localhost", "wpad", "-a", "web-1"] {
            assert_eq!(lines(&[claim(text, "a", 1)]), "", "{text:?}");
        }
    }

    #[test]
    fn a_refusal_is_told_once_until_the_name_is_free() {
        let (first, second) = (claim("web", "b", 1), claim("web", "a", 2));
        let mut file = HostsFile::default();
        let told = |file: &mut HostsFile, claims: &[Claim<'_>]| {
            let told = written(file, claims).refused;
            told.iter().map(|it| format!("{}: {it}", it.agent_id)).collect::<Vec<_>>()
        };
        let held = "a: dns name web is held by a session of agent b";
        assert_eq!(told(&mut file, &[first, second]), [held]);
        assert_eq!(told(&mut file, &[first, second]), [""; 0]);
        assert_eq!(told(&mut file, &[second]), [""; 0]);
        assert_eq!(told(&mut file, &[first, second]), [held]);
        let names: Vec<String> = (0..100).map(|number| format!("n{number}")).collect();
        let both = names.iter().flat_map(|name| [claim(name, "a", 1), claim(name, "b", 2)]);
        let both: Vec<Claim<'_>> = both.collect();
        let mut count = 0;
        loop {
            let Written { refused, is_more, .. } = written(&mut file, &both);
            assert!(refused.len() <= REFUSED_NAMES_TOLD_MAX);
            count += refused.len();
            if !is_more {
                break;
            }
        }
        assert_eq!(count, 100);
    }
}
