//! The gate of one session: its rules, what was refused lately, and what events tell of that.

use serde_json::{Value, json};

use super::{Refusal, Target};
use crate::base::sorted_map::SortedMap;
use crate::base::text::printable;
use crate::base::time::{Mono, Now, Wall};
use crate::limits::{EGRESS_REFUSED_MAX, EGRESS_TOLD_MAX, EGRESS_TOLD_SPAN, HOST_NAME_BYTES_MAX};
use crate::rpc::egress::{EgressRules, HostName, Verdict};

#[derive(Debug)]
pub(crate) struct Gate {
    rules: EgressRules,
    /// By what was asked for, as it is shown.
    refused: SortedMap<String, Refused>,
    /// Until when events were told so often.
    told: (Mono, u32),
}

/// Something that was refused.
#[derive(Debug)]
struct Refused {
    target: Option<Target>,
    why: String,
    count: u64,
    at: Wall,
    /// The order in which they came last.
    number: u64,
}

impl Gate {
    pub(crate) fn new(rules: EgressRules) -> Gate {
        Gate { rules, refused: SortedMap::new(), told: (Mono::ZERO, 0) }
    }

    /// Takes other rules from now on. What they allow counts as refused no more.
    pub(crate) fn set_rules(&mut self, rules: EgressRules) {
        self.rules = rules;
        let rules = &self.rules;
        let is_allowed = |it: &Refused| {
            it.target.as_ref().is_some_and(|it| rules.judge(&it.name, it.port) == Verdict::Allowed)
        };
        let over: Vec<String> = self
            .refused
            .iter()
            .filter(|(_, it)| is_allowed(it))
            .map(|(what, _)| what.clone())
            .collect();
        for what in over {
            self.refused.remove(&what);
        }
    }

    /// Whether it may be reached, as far as its name goes.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn ask(&self, target: &Target) -> Result<(), Refusal> {
        match self.rules.judge(&target.name, target.port) {
            Verdict::Allowed => Ok(()),
            Verdict::Denied => Err(Refusal::Denied),
            Verdict::Unlisted => Err(Refusal::Unlisted),
        }
    }

    /// Takes note of a refusal. What an event tells of it, if it is the first of its kind and there
    /// were not too many of late.
    pub(crate) fn note(
        &mut self,
        now: Now,
        target: Option<&Target>,
        refusal: &Refusal,
    ) -> Option<Value> {
        let what = match (target, refusal) {
            (Some(target), _) => shown(&target.name, target.port),
            (None, Refusal::NoName { text, .. }) => {
                printable(text).chars().take(HOST_NAME_BYTES_MAX).collect()
            }
            (None, _) => String::new(),
        };
        let number = 1 + self.refused.values().map(|it| it.number).max().unwrap_or_default();
        let why = refusal.to_string();
        if let Some(known) = self.refused.get_mut(&what) {
            let is_new = known.why != why;
            known.count += 1;
            (known.at, known.number, known.why) = (now.wall, number, why);
            if !is_new {
                return None;
            }
        } else {
            self.make_room();
            let target = target.cloned();
            let refused = Refused { target, why, count: 1, at: now.wall, number };
            self.refused.insert(what.clone(), refused);
        }
        if !self.may_tell(now.mono) {
            return None;
        }
        let mut data = self.refused.get(&what)?.told(&what);
        if let Some(map) = data.as_object_mut() {
            map.remove("count");
            map.remove("at");
        }
        Some(data)
    }

    fn make_room(&mut self) {
        if self.refused.len() >= EGRESS_REFUSED_MAX {
            let oldest = self.refused.iter().min_by_key(|(_, it)| it.number);
            let oldest = oldest.map(|(what, _)| what.clone());
            oldest.map(|what| self.refused.remove(&what));
        }
    }

    fn may_tell(&mut self, now: Mono) -> bool {
        let (until, count) = &mut self.told;
        if *until <= now {
            (*until, *count) = (now + EGRESS_TOLD_SPAN, 0);
        }
        *count += 1;
        *count <= EGRESS_TOLD_MAX
    }

    /// What was refused lately, the newest first.
    pub(crate) fn refused(&self) -> Value {
        let mut all: Vec<_> = self.refused.iter().collect();
        all.sort_by_key(|(_, it)| std::cmp::Reverse(it.number));
        all.into_iter().map(|(what, it)| it.told(what)).collect()
    }
}

impl Refused {
    fn told(&self, what: &str) -> Value {
        let mut told = json!({ "what": what, "why": self.why, "count": self.count, "at": self.at });
        // A rule that would let it through; none helps where the name is not the reason.
        if let (Some(target), "no rule allows it") = (&self.target, self.why.as_str()) {
            told["allow"] = json!(match target.port {
                80 | 443 => target.name.as_str().to_owned(),
                port => format!("{}:{port}", target.name.as_str()),
            });
        }
        told
    }
}

fn shown(name: &HostName, port: u16) -> String {
    format!("{}:{port}", name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::egress::tests::rules;

    fn target(name: &str, port: u16) -> Target {
        Target { name: HostName::parse(name).unwrap(), port }
    }

    fn at(seconds: u64) -> Now {
        let mono = Mono::ZERO + std::time::Duration::from_secs(seconds);
        Now { mono, wall: Wall::new(i64::try_from(seconds).unwrap(), 0) }
    }

    #[test]
    fn a_refusal_is_told_once_with_the_rule_that_would_allow_it() {
        let mut gate = Gate::new(rules(&["a.org", "!b.a.org"]));
        assert_eq!(gate.ask(&target("a.org", 443)), Ok(()));
        let other = target("other.org", 8443);
        let refusal = gate.ask(&other).unwrap_err();
        let told = gate.note(at(1), Some(&other), &refusal).unwrap();
        let wanted = json!({
            "what": "other.org:8443", "why": "no rule allows it", "allow": "other.org:8443",
        });
        assert_eq!(told, wanted);
        assert_eq!(gate.note(at(2), Some(&other), &refusal), None);
        assert_eq!(gate.refused()[0]["count"], 2);
        let denied = target("b.a.org", 443);
        let refusal = gate.ask(&denied).unwrap_err();
        let told = gate.note(at(3), Some(&denied), &refusal).unwrap();
        assert!(told["allow"].is_null(), "{told}");
        gate.set_rules(rules(&["other.org:8443"]));
        assert_eq!(gate.refused().as_array().unwrap().len(), 1);
        assert_eq!(gate.ask(&other), Ok(()));
    }

    #[test]
    fn what_is_kept_and_told_is_bounded_and_escaped() {
        let mut gate = Gate::new(EgressRules::default());
        let mut told = 0;
        for number in 0..3 * EGRESS_REFUSED_MAX {
            let text = format!("{number}\u{1b}[2J{}", "x".repeat(9999));
            let refusal = Refusal::NoName { text, why: "is no host name" };
            told += usize::from(gate.note(at(1), None, &refusal).is_some());
        }
        assert_eq!(told, EGRESS_TOLD_MAX as usize);
        let text = gate.refused().to_string();
        assert_eq!(gate.refused().as_array().unwrap().len(), EGRESS_REFUSED_MAX);
        assert!(text.len() < EGRESS_REFUSED_MAX * 600 && !text.contains("[2J\\u001b"));
        assert!(!text.contains('\u{1b}') && !text.contains("u001b"));
        let refusal = Refusal::Unfit("x");
        assert!(gate.note(at(1 + EGRESS_TOLD_SPAN.as_secs()), None, &refusal).is_some());
    }
}
