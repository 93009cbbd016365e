//! Which names a session of `egress list` may reach: rules, as people and programs say them.
//!
//! ```text
//! example.org          this name, ports 443 and 80
//! *.example.org        every name below it, and not itself
//! example.org:8443     this port alone
//! github               a set (`egress_sets`)
//! !gist.github.com     never, whatever else allows it
//! ```

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::egress_sets::{EGRESS_SETS, EgressSet};
use super::field::{FieldError, shown};
use crate::limits::{EGRESS_RULES_MAX, HOST_NAME_BYTES_MAX};

/// The ports of a rule that names none.
const USUAL_PORTS: [u16; 2] = [443, 80];

/// A name that can stand in the DNS: in lower case, without a final dot, and no address in any
/// spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostName(Box<str>);

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressRule {
    is_denial: bool,
    names: Names,
    /// Both of [`USUAL_PORTS`] if none; of a denial, all.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Names {
    One(HostName),
    Below(HostName),
    Set(&'static EgressSet),
}

/// The rules of one session, in the order in which they were said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressRules(Vec<EgressRule>);

/// What the rules say of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// A rule says so.
    Denied,
    /// No rule allows it.
    Unlisted,
}

/// What becomes of a session's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressChange {
    /// Rules that are added, denials among them. What says the opposite goes.
    #[serde(default, skip_serializing_if = "EgressRules::is_empty")]
    pub(crate) add: EgressRules,
    /// Rules that go.
    #[serde(default, skip_serializing_if = "EgressRules::is_empty")]
    pub(crate) remove: EgressRules,
}

impl HostName {
    /// Reads a name.
    ///
    /// # Errors
    /// Why it is none, to stand behind it in a sentence.
    pub(crate) fn parse(text: &str) -> Result<HostName, &'static str> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() || name.len() > HOST_NAME_BYTES_MAX {
            return Err("has no letters, or more than 253");
        }
        if !name.split('.').all(is_label) {
            return Err("is no host name: letters, digits and - between dots");
        }
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err("is an address, and only names can be allowed");
        }
        Ok(HostName(name.to_ascii_lowercase().into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_label(label: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(is_good)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Whether C libraries and browsers take a name that ends so for an address: `127.1`, `0x7f.1`.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

impl EgressRule {
    /// Reads one.
    ///
    /// # Errors
    /// A sentence that shows the text.
    pub(crate) fn parse(text: &str) -> Result<EgressRule, FieldError> {
        let (is_denial, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let (name, port) = rest.split_once(':').map_or((rest, None), |(name, it)| (name, Some(it)));
        let fault = |why: &str| FieldError(format!("allow {} {why}", shown(text)));
        let port = match port {
            None => None,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                let port = port.parse().ok().filter(|port| *port != 0);
                Some(port.ok_or_else(|| fault("must have a port of 1 to 65535 behind the colon"))?)
            }
            Some(_) => return Err(fault("must have a port of 1 to 65535 behind the colon")),
        };
        let names = match name.strip_prefix("*.") {
            Some(base) if !base.contains('.') => {
                return Err(fault("is too wide; a name with two labels must follow the star"));
            }
            Some(base) => Names::Below(HostName::parse(base).map_err(fault)?),
            None if !name.contains('.') => match EGRESS_SETS.iter().find(|set| set.name == name) {
                Some(_) if port.is_some() => {
                    return Err(fault("is a set, which has its own ports"));
                }
                Some(set) => Names::Set(set),
                None => return Err(fault(&no_set())),
            },
            None => Names::One(HostName::parse(name).map_err(fault)?),
        };
        Ok(EgressRule { is_denial, names, port })
    }

    /// The same as a denial.
    pub(crate) fn denial(self) -> EgressRule {
        EgressRule { is_denial: true, ..self }
    }

    pub(crate) fn is_denial(&self) -> bool {
        self.is_denial
    }

    fn is_opposite(&self, other: &EgressRule) -> bool {
        self.is_denial != other.is_denial && (&self.names, self.port) == (&other.names, other.port)
    }

    fn covers(&self, name: &HostName, port: u16) -> bool {
        let has_port = match self.port {
            Some(own) => own == port,
            None => self.is_denial || USUAL_PORTS.contains(&port),
        };
        match &self.names {
            Names::One(own) => has_port && own == name,
            Names::Below(base) => has_port && is_below(name, &base.0),
            Names::Set(set) => set.entries.iter().any(|entry| {
                let (own, own_port) = entry.split_once(':').unwrap_or((entry, ""));
                let has_port = match own_port.parse::<u16>() {
                    Ok(own) => self.is_denial || port == own,
                    Err(_) => has_port,
                };
                has_port
                    && match own.strip_prefix("*.") {
                        Some(base) => is_below(name, base),
                        None => name.as_str() == own,
                    }
            }),
        }
    }
}

fn is_below(name: &HostName, base: &str) -> bool {
    let labels = name.as_str().strip_suffix(base).and_then(|rest| rest.strip_suffix('.'));
    labels.is_some_and(|labels| !labels.is_empty())
}

fn no_set() -> String {
    let sets = EGRESS_SETS.map(|set| set.name).join(", ");
    format!("is neither a host name with a dot nor one of the sets {sets}")
}

impl EgressRules {
    /// Adds a rule, unless it is there. One that says the opposite goes.
    ///
    /// # Errors
    /// There are [`EGRESS_RULES_MAX`].
    pub(crate) fn add(&mut self, rule: EgressRule) -> Result<(), FieldError> {
        self.0.retain(|other| !other.is_opposite(&rule));
        if self.0.contains(&rule) {
            return Ok(());
        }
        if self.0.len() >= EGRESS_RULES_MAX {
            let text = format!("a session has at most {EGRESS_RULES_MAX} rules of what it reaches");
            return Err(FieldError(text));
        }
        self.0.push(rule);
        Ok(())
    }

    /// Takes a change over.
    ///
    /// # Errors
    /// A rule that is to go is not there, or there are too many.
    pub(crate) fn change(&mut self, change: &EgressChange) -> Result<(), FieldError> {
        for rule in &change.remove.0 {
            let before = self.0.len();
            self.0.retain(|other| other != rule && !other.is_opposite(rule));
            if self.0.len() == before {
                return Err(FieldError(format!("there is no rule {rule}; see: convocate egress")));
            }
        }
        change.add.0.iter().try_for_each(|rule| self.add(rule.clone()))
    }

    /// What they say of a name and a port.
    pub(crate) fn judge(&self, name: &HostName, port: u16) -> Verdict {
        let covering = self.0.iter().filter(|rule| rule.covers(name, port));
        covering.fold(Verdict::Unlisted, |verdict, rule| match verdict {
            Verdict::Denied => Verdict::Denied,
            _ if rule.is_denial => Verdict::Denied,
            _ => Verdict::Allowed,
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &EgressRule> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// As it is said; of a denial with its mark.
impl fmt::Display for EgressRule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_denial {
            out.write_str("!")?;
        }
        match &self.names {
            Names::One(name) => out.write_str(name.as_str())?,
            Names::Below(base) => write!(out, "*.{}", base.as_str())?,
            Names::Set(set) => out.write_str(set.name)?,
        }
        self.port.map_or(Ok(()), |port| write!(out, ":{port}"))
    }
}

impl Serialize for EgressRules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl<'de> Deserialize<'de> for EgressRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EgressRules, D::Error> {
        let mut rules = EgressRules::default();
        for text in Vec::<String>::deserialize(deserializer)? {
            let added = EgressRule::parse(&text).and_then(|rule| rules.add(rule));
            added.map_err(serde::de::Error::custom)?;
        }
        Ok(rules)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn rules(texts: &[&str]) -> EgressRules {
        let mut rules = EgressRules::default();
        texts.iter().for_each(|text| rules.add(EgressRule::parse(text).unwrap()).unwrap());
        rules
    }

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    #[test]
    fn a_name_is_a_name_in_one_spelling() {
        for (text, same) in [
            ("Example.ORG", "example.org"),
            ("example.org.", "example.org"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("1.2.3.example", "1.2.3.example"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(name(text).as_str(), same);
        }
        let longest = format!("{}.org", ["a"; 125].join("."));
        assert_eq!(longest.len(), 253);
        assert_eq!(name(&format!("{longest}.")).as_str(), longest);
        let too_long = format!("{}.org", ["a"; 126].join("."));
        let long_label = format!("{}.org", "a".repeat(64));
        for bad in [
            "",
            ".",
            "..",
            ".org",
            "a..org",
            "example.org..",
            "-a.org",
            "a-.org",
            "a_b.org",
            "a b.org",
            "a\0.org",
            "a%2eorg",
            "b\u{fc}cher.org",
            "example\u{3002}org",
            "[::1]",
            "::1",
            "user@example.org",
            "example.org/x",
            &too_long,
            &long_label,
        ] {
            assert!(HostName::parse(bad).is_err(), "{bad:?}");
        }
        // An address in the spellings that some C library or browser knows.
        for address in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "1.2.3.0x4",
            "169.254.169.254",
            "169.254.169.254.",
            "2852039166",
            "0xA9FEA9FE",
            "0x",
            "a.0x",
            "1",
        ] {
            let why = HostName::parse(address).unwrap_err();
            assert!(why.starts_with("is an address"), "{address:?}: {why}");
        }
    }

    #[test]
    fn a_rule_is_for_its_names_and_ports_alone() {
        for (rule, allowed, not) in [
            (
                "example.org",
                &["example.org:443", "example.org:80"][..],
                &["www.example.org:443", "example.org:22", "example.org:8443", "ample.org:443"][..],
            ),
            (
                "*.example.org",
                &["a.example.org:443", "a.b.example.org:80"],
                &["example.org:443", "badexample.org:443", "a.example.org:22"],
            ),
            ("example.org:22", &["example.org:22"], &["example.org:443", "example.org:80"]),
            ("Example.Org.:8443", &["example.org:8443"], &["example.org:443"]),
            (
                "github",
                &["github.com:443", "github.com:22", "raw.githubusercontent.com:443"],
                &["api.github.com:22", "gist.github.com:443", "githubusercontent.com:443"],
            ),
        ] {
            let rules = rules(&[rule]);
            let verdict = |text: &str| {
                let (host, port) = text.split_once(':').unwrap();
                rules.judge(&name(host), port.parse().unwrap())
            };
            allowed.iter().for_each(|it| assert_eq!(verdict(it), Verdict::Allowed, "{rule} {it}"));
            not.iter().for_each(|it| assert_eq!(verdict(it), Verdict::Unlisted, "{rule} {it}"));
        }
    }

    #[test]
    fn a_denial_wins_in_any_order() {
        for order in [["*.example.org", "!a.example.org"], ["!a.example.org", "*.example.org"]] {
            let rules = rules(&order);
            assert_eq!(rules.judge(&name("a.example.org"), 443), Verdict::Denied);
            assert_eq!(rules.judge(&name("a.example.org"), 22), Verdict::Denied);
            assert_eq!(rules.judge(&name("b.example.org"), 443), Verdict::Allowed);
        }
        let rules = rules(&["github", "!github.com:22"]);
        assert_eq!(rules.judge(&name("github.com"), 22), Verdict::Denied);
        assert_eq!(rules.judge(&name("github.com"), 443), Verdict::Allowed);
        // What says the opposite takes its place.
        assert_eq!(self::rules(&["github", "!github"]), self::rules(&["!github"]));
    }

    #[test]
    fn what_is_no_rule_is_refused_with_its_text() {
        for (text, why) in [
            ("githb", "allow \"githb\" is neither a host name with a dot nor one of the sets cla"),
            ("*", "allow \"*\" is neither"),
            ("*.org", "allow \"*.org\" is too wide"),
            ("a.*.org", "allow \"a.*.org\" is no host name"),
            ("1.2.3.4", "allow \"1.2.3.4\" is an address"),
            ("a.org:", "allow \"a.org:\" must have a port"),
            ("a.org:0", "allow \"a.org:0\" must have a port"),
            ("a.org:65536", "allow \"a.org:65536\" must have a port"),
            ("a.org:+1", "allow \"a.org:+1\" must have a port"),
            ("a.org:443:1", "allow \"a.org:443:1\" must have a port"),
            ("npm:443", "allow \"npm:443\" is a set"),
            ("!!a.org", "allow \"!!a.org\" is no host name"),
            ("https://a.org", "allow \"https://a.org\" "),
            ("a.org/x", "allow \"a.org/x\" is no host name"),
            ("", "allow \"\" is neither"),
            ("a\u{1b}[2J.org", "allow \"a\\u{1b}[2J.org\" is no host name"),
        ] {
            let error = EgressRule::parse(text).expect_err(text).0;
            assert!(error.starts_with(why), "{text:?}: {error}");
        }
        let mut many = EgressRules::default();
        for number in 0..EGRESS_RULES_MAX {
            many.add(EgressRule::parse(&format!("a{number}.org")).unwrap()).unwrap();
        }
        assert!(many.add(EgressRule::parse("one.more").unwrap()).is_err());
        many.add(EgressRule::parse("a0.org").unwrap()).unwrap();
    }

    #[test]
    fn they_change_and_are_said_again() {
        let mut own = rules(&["npm", "A.org", "*.b.org:8443", "!c.b.org"]);
        let text = serde_json::to_string(&own).unwrap();
        assert_eq!(text, r#"["npm","a.org","*.b.org:8443","!c.b.org"]"#);
        assert_eq!(serde_json::from_str::<EgressRules>(&text).unwrap(), own);
        let change = EgressChange { add: rules(&["!a.org", "c.b.org"]), remove: rules(&["npm"]) };
        own.change(&change).unwrap();
        assert_eq!(own, rules(&["*.b.org:8443", "!a.org", "c.b.org"]));
        let gone = EgressChange { remove: rules(&["npm"]), ..EgressChange::default() };
        let error = own.change(&gone).unwrap_err().0;
        assert_eq!(error, "there is no rule npm; see: convocate egress");
        assert!(serde_json::from_str::<EgressRules>(r#"["a.org","1.1.1.1"]"#).is_err());
    }

    #[test]
    fn the_sets_are_rules_and_in_order() {
        assert!(EGRESS_SETS.is_sorted_by_key(|set| set.name));
        for set in &EGRESS_SETS {
            assert!(is_label(set.name) && !set.name.contains('.'), "{}", set.name);
            for entry in set.entries {
                assert_eq!(EgressRule::parse(entry).unwrap().to_string(), *entry);
            }
        }
    }
}
