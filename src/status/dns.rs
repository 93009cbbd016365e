//! The file that dnsmasq reads: a line per name, between two marks; what others wrote around them
//! stays as it is.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::base::time::Wall;

const BEGIN: &str = "# convocate: names of sessions, written by convocate status-serve\n";
const END: &str = "# convocate: end\n";

/// A session's DNS name and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    pub(crate) name: &'a str,
    /// Whose session it is.
    pub(crate) agent_id: &'a str,
    /// When that session was created: the older one has the name, should two agents use it.
    pub(crate) created_at: Wall,
    pub(crate) address: IpAddr,
}

/// Our lines, in the order of the names.
pub(crate) fn records(mut names: Vec<Name<'_>>) -> String {
    names.sort_unstable_by_key(|name| (name.name, name.created_at, name.agent_id));
    names.dedup_by_key(|name| name.name);
    let mut text = String::new();
    for Name { name, address, .. } in names {
        writeln!(text, "{address} {name}").expect("memory takes every write");
    }
    text
}

/// The file's new text, or `None` if it need not be written. `old` is what it has now, empty if it
/// is not there; `records` are our lines ([`records`]).
pub(crate) fn hosts(old: &str, records: &str) -> Option<String> {
    let (before, after) = foreign(old);
    let marks = BEGIN.len() + END.len();
    let mut text = String::with_capacity(old.len() + records.len() + marks);
    text.push_str(before);
    if !before.is_empty() && !before.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(BEGIN);
    text.push_str(records);
    text.push_str(END);
    text.push_str(after);
    (text != old).then_some(text)
}

/// What stands before and behind our lines. Without our marks everything is before them; without
/// the second mark only what looks like ours is taken away.
fn foreign(old: &str) -> (&str, &str) {
    let Some((before, rest)) = old.split_once(BEGIN) else { return (old, "") };
    match rest.split_once(END) {
        Some((_, after)) => (before, after),
        None => {
            let ours: usize =
                rest.split_inclusive('\n').take_while(|line| is_record(line)).map(str::len).sum();
            (before, &rest[ours..])
        }
    }
}

fn is_record(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|word| word.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name<'a>(name: &'a str, agent_id: &'a str, age: i64, address: &str) -> Name<'a> {
        let address = address.parse().unwrap();
        Name { name, agent_id, created_at: Wall::new(age, 0), address }
    }

    fn hosts<'a>(old: &str, names: impl IntoIterator<Item = Name<'a>>) -> Option<String> {
        super::hosts(old, &records(names.into_iter().collect()))
    }

    #[test]
    fn written_only_when_it_changes_and_in_order() {
        let names = [name("web", "b", 2, "10.0.0.2"), name("db", "a", 1, "fd00::1")];
        let text = hosts("", names).unwrap();
        assert_eq!(text, format!("{BEGIN}fd00::1 db\n10.0.0.2 web\n{END}"));
        assert_eq!(hosts(&text, names.into_iter().rev()), None);
        assert_eq!(hosts(&text, []).unwrap(), format!("{BEGIN}{END}"));
    }

    #[test]
    fn foreign_lines_stay() {
        let text = hosts("10.0.0.9 printer", [name("web", "a", 1, "10.0.0.2")]).unwrap();
        let text = text + "10.0.0.8 scanner\n";
        let text = hosts(&text, [name("db", "a", 1, "10.0.0.3")]).unwrap();
        assert_eq!(text, format!("10.0.0.9 printer\n{BEGIN}10.0.0.3 db\n{END}10.0.0.8 scanner\n"));
        let torn = format!("10.0.0.9 printer\n{BEGIN}10.0.0.3 db\n# theirs\n10.0.0.8 scanner\n");
        let text = hosts(&torn, []).unwrap();
        assert_eq!(text, format!("10.0.0.9 printer\n{BEGIN}{END}# theirs\n10.0.0.8 scanner\n"));
    }

    #[test]
    fn the_older_session_has_the_name() {
        let young = name("web", "a", 2, "10.0.0.2");
        let old = name("web", "b", 1, "10.0.0.3");
        for names in [[young, old], [old, young]] {
            assert!(hosts("", names).unwrap().contains("\n10.0.0.3 web\n"));
            assert!(!hosts("", names).unwrap().contains("10.0.0.2"));
        }
    }
}
