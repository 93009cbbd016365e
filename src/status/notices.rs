//! What the hub says in its own log about agents, at a bounded rate.
//!
//! A flapping agent, or two hundred of them, must not fill the journal of the host. What found no
//! room is counted, and the count is said when the span is over.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use super::twins::Pair;
use crate::base::time::Mono;
use crate::limits::{
    HUB_NOTICES_PER_AGENT, HUB_NOTICES_PER_SPAN, HUB_NOTICES_SPAN, STATUS_SILENCE,
};
use crate::paths::AGENT_UNIT;

/// Something that the operator of the shell host may want to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Events are lost.
    Gap {
        agent_id: Box<str>,
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
        by: Finder,
    },
    /// A connected agent says nothing.
    Silent { agent_id: Box<str> },
    /// It says something again.
    Back { agent_id: Box<str> },
    /// What it says is not taken.
    Refused { agent_id: Box<str>, why: &'static str },
    /// It has more sessions than are kept.
    TooMany { agent_id: Box<str> },
    /// Two hosts have its identity.
    Twins { agent_id: Box<str>, pair: Pair },
    /// A name of its session leads nowhere.
    Name(RefusedName),
    /// So many more of these.
    Unsaid(u64),
}

/// A DNS name of an agent's session that is not in the hosts file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusedName {
    pub(crate) why: Refusal,
    pub(crate) name: Box<str>,
    /// Whose session it is.
    pub(crate) agent_id: Box<str>,
}

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// A session of this agent has had it for longer.
    Held(Box<str>),
    /// Nobody may have it.
    Reserved(&'static str),
}

impl fmt::Display for RefusedName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Refusal::Held(holder) => {
                write!(out, "dns name {} is held by a session of agent {holder}", self.name)
            }
            Refusal::Reserved(why) => write!(out, "dns name {} is reserved: {why}", self.name),
        }
    }
}

/// Who noticed that events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finder {
    /// The agent, whose spool was full.
    Agent,
    /// The hub, from the numbers.
    Hub,
    /// The hub, from two events with one number.
    Twins,
}

impl Notice {
    /// Whom it is about.
    fn agent_id(&self) -> &str {
        match self {
            Notice::Gap { agent_id, .. }
            | Notice::Silent { agent_id }
            | Notice::Back { agent_id }
            | Notice::Refused { agent_id, .. }
            | Notice::TooMany { agent_id }
            | Notice::Twins { agent_id, .. }
            | Notice::Name(RefusedName { agent_id, .. }) => agent_id,
            Notice::Unsaid(_) => "",
        }
    }

    /// Whether it is good news.
    pub(crate) const fn is_good(&self) -> bool {
        matches!(self, Notice::Back { .. })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Gap { agent_id, from, to, by: Finder::Agent } => write!(
                out,
                "agent {agent_id}: events {from} to {to} are lost, its spool was full before it \
                 could deliver them; its sessions are asked for again; why it could not, say: \
                 convocate agents, and on its host: journalctl -u {AGENT_UNIT}"
            ),
            Notice::Gap { agent_id, from, to, by: Finder::Hub } => write!(
                out,
                "agent {agent_id}: events {from} to {to} never came; its sessions are asked for \
                 again; if its disk was damaged, this is told on its host: journalctl -u \
                 {AGENT_UNIT}"
            ),
            Notice::Gap { agent_id, from, by: Finder::Twins, .. } => write!(
                out,
                "agent {agent_id}: an event is dropped, because another one had its number {from}: \
                 two hosts have the identity of this agent"
            ),
            Notice::Twins { agent_id, pair } => write!(out, "agent {agent_id}: {pair}"),
            Notice::Silent { agent_id } => write!(
                out,
                "agent {agent_id} is silent: its connection stands, but it has said nothing for \
                 {} s; look on its host: systemctl status {AGENT_UNIT}",
                STATUS_SILENCE.as_secs()
            ),
            Notice::Back { agent_id } => {
                write!(out, "agent {agent_id} is heard again after its silence; nothing is to do")
            }
            Notice::Refused { agent_id, why } => write!(
                out,
                "agent {agent_id}: an event or a session of it is refused: {why}; look on its \
                 host: journalctl -u {AGENT_UNIT}"
            ),
            Notice::TooMany { agent_id } => write!(
                out,
                "agent {agent_id} has more sessions than are kept here: the others are not shown \
                 and have no names; look on its host: journalctl -u {AGENT_UNIT}"
            ),
            Notice::Name(refused) => write!(
                out,
                "agent {}: {refused}; it leads nowhere; give the session another one: convocate \
                 edit SESSION --dns NAME",
                refused.agent_id
            ),
            Notice::Unsaid(count) => write!(
                out,
                "{count} more of these within {} s; all of them: convocate events --json",
                HUB_NOTICES_SPAN.as_secs()
            ),
        }
    }
}

/// Notices that wait to be logged.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    waiting: VecDeque<Notice>,
    /// When the span that is under way ends; `None` before the first notice of one.
    ends: Option<Mono>,
    /// How many of this span were taken, and of each agent.
    taken: usize,
    taken_of: BTreeMap<Box<str>, usize>,
    /// What an agent was last told of, in this span.
    last: BTreeMap<Box<str>, Notice>,
    /// How many were only counted.
    unsaid: u64,
}

impl Notices {
    /// Takes a notice, or only counts it.
    pub(crate) fn put(&mut self, now: Mono, notice: Notice) {
        self.tick(now);
        self.ends.get_or_insert(now + HUB_NOTICES_SPAN);
        let agent_id = notice.agent_id();
        let is_repeated = self.last.get(agent_id) == Some(&notice);
        let of_agent = self.taken_of.get(agent_id).copied().unwrap_or_default();
        let has_room =
            self.taken < HUB_NOTICES_PER_SPAN && self.waiting.len() < HUB_NOTICES_PER_SPAN;
        if has_room && of_agent < HUB_NOTICES_PER_AGENT && !is_repeated {
            self.taken += 1;
            self.taken_of.insert(agent_id.into(), of_agent + 1);
            self.last.insert(agent_id.into(), notice.clone());
            self.waiting.push_back(notice);
        } else {
            self.unsaid += 1;
        }
    }

    /// The next one to be logged.
    pub(crate) fn poll(&mut self) -> Option<Notice> {
        self.waiting.pop_front()
    }

    /// When [`Notices::tick`] is wanted.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.ends
    }

    /// Time has passed: at the end of a span the count is said, once there is room.
    pub(crate) fn tick(&mut self, now: Mono) {
        if self.ends.is_none_or(|at| at > now) {
            return;
        }
        (self.ends, self.taken) = (None, 0);
        self.taken_of.clear();
        self.last.clear();
        if self.unsaid > 0 && self.waiting.len() < HUB_NOTICES_PER_SPAN {
            self.waiting.push_back(Notice::Unsaid(std::mem::take(&mut self.unsaid)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> Notice {
        Notice::Silent { agent_id: "abcdefghjkmn".into() }
    }

    #[test]
    fn what_is_too_much_is_counted_and_the_count_is_said() {
        let (mut notices, start) = (Notices::default(), Mono::from_nanos(1));
        for number in 0..HUB_NOTICES_PER_SPAN + 3 {
            notices.put(start, Notice::Silent { agent_id: format!("agent{number}").into() });
        }
        // The same again.
        notices.put(start, Notice::Silent { agent_id: "agent1".into() });
        notices.put(start, Notice::Silent { agent_id: "agent1".into() });
        let said = std::iter::from_fn(|| notices.poll()).count();
        assert_eq!(said, HUB_NOTICES_PER_SPAN);
        assert_eq!(notices.deadline(), Some(start + HUB_NOTICES_SPAN));
        notices.tick(start + HUB_NOTICES_SPAN);
        assert_eq!(notices.poll(), Some(Notice::Unsaid(5)));
        assert_eq!((notices.poll(), notices.deadline()), (None, None));
        notices.put(start + 2 * HUB_NOTICES_SPAN, silent());
        assert_eq!(notices.poll(), Some(silent()));
    }

    #[test]
    fn one_agent_hides_no_other() {
        let (mut notices, now) = (Notices::default(), Mono::from_nanos(1));
        for from in 0..1000 {
            let agent_id = "bcdefghjkmnp".into();
            notices.put(now, Notice::Gap { agent_id, from, to: from, by: Finder::Hub });
        }
        notices.put(now, silent());
        let said: Vec<Notice> = std::iter::from_fn(|| notices.poll()).collect();
        assert_eq!(said.len(), HUB_NOTICES_PER_AGENT + 1);
        assert_eq!(said.last(), Some(&silent()));
    }

    #[test]
    fn every_notice_is_one_line_that_says_what_to_do() {
        let agent_id: Box<str> = "abcdefghjkmn".into();
        let gap = |by| Notice::Gap { agent_id: agent_id.clone(), from: 1, to: 2, by };
        let back = Notice::Back { agent_id: agent_id.clone() };
        let full = Notice::TooMany { agent_id: agent_id.clone() };
        let refused = Notice::Refused { agent_id: agent_id.clone(), why: "no" };
        let why = Refusal::Held("bcdefghjkmnp".into());
        let name = Notice::Name(RefusedName {
            name: "x".repeat(63).into(),
            agent_id: agent_id.clone(),
            why,
        });
        let gaps = [gap(Finder::Agent), gap(Finder::Hub)];
        for notice in
            gaps.into_iter().chain([silent(), back, full, refused, name, Notice::Unsaid(1)])
        {
            let text = notice.to_string();
            assert!(!text.contains('\n') && text.len() < 300, "{text}");
            let is_advice = ["journalctl", "systemctl", "convocate e", "nothing is to do"];
            assert!(is_advice.iter().any(|words| text.contains(words)), "{text}");
        }
    }
}
