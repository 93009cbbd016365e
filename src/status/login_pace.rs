//! How often each agent may log in: one that does it again and again costs neither lines of the log
//! nor events of its coming and going.

use std::fmt;
use std::net::IpAddr;

use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::limits::{AGENT_LOGIN_BURST, AGENT_LOGIN_PACE, SSH_TALLY_SPAN};
use crate::rpc::agent_id::AgentId;

/// Of all agents that have logged in lately, so at most of those that are enrolled.
#[derive(Debug, Default)]
pub(crate) struct LoginPace {
    rows: SortedMap<AgentId, Row>,
}

#[derive(Debug)]
struct Row {
    /// When its logins would have come at [`AGENT_LOGIN_PACE`].
    paced: Mono,
    last: IpAddr,
    /// Another address than the last one.
    other: Option<IpAddr>,
    refused: u64,
    told: Option<Mono>,
}

/// Why an agent is sent away, for the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyLogins {
    agent: AgentId,
    refused: u64,
    last: IpAddr,
    other: Option<IpAddr>,
}

impl LoginPace {
    /// An agent has logged in.
    ///
    /// # Errors
    /// It is to be sent away; with what the log tells of it, once a minute.
    pub(crate) fn login(
        &mut self,
        now: Mono,
        agent: &AgentId,
        from: IpAddr,
    ) -> Result<(), Option<TooManyLogins>> {
        self.rows.retain(|_, row| now.since(row.paced) < AGENT_LOGIN_BURST);
        let first = || Row { paced: now, last: from, other: None, refused: 0, told: None };
        let row = self.rows.or_insert_with(agent.clone(), first);
        if from != row.last {
            row.other = Some(std::mem::replace(&mut row.last, from));
        }
        if row.paced.since(now) <= AGENT_LOGIN_BURST {
            row.paced = row.paced.max(now) + AGENT_LOGIN_PACE;
            return Ok(());
        }
        row.refused += 1;
        if row.told.is_some_and(|told| now.since(told) < SSH_TALLY_SPAN) {
            return Err(None);
        }
        row.told = Some(now);
        let refused = std::mem::take(&mut row.refused);
        let (agent, last, other) = (agent.clone(), row.last, row.other);
        Err(Some(TooManyLogins { agent, refused, last, other }))
    }
}

impl fmt::Display for TooManyLogins {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooManyLogins { agent, refused, last, other } = self;
        write!(
            out,
            "agent {agent} logs in again and again, last from {last}: {refused} of its connections \
             were ended at once"
        )?;
        match other {
            None => Ok(()),
            Some(other) => write!(
                out,
                "; others came from {other}: if these are two hosts, one is a copy of the other, \
                 with the same keys"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::ZERO + Duration::from_millis(millis)
    }

    fn agent(name: &str) -> AgentId {
        AgentId::parse(name).unwrap()
    }

    #[test]
    fn an_agent_that_logs_in_without_end_has_a_pace_and_a_line_a_minute() {
        let (busy, other) = (agent("abcdefghjkmn"), agent("bcdefghjkmnp"));
        let from = [IpAddr::from([192, 0, 2, 7]), IpAddr::from([192, 0, 2, 8])];
        let mut pace = LoginPace::default();
        let (mut let_in, mut lines) = (0, Vec::new());
        for millis in (0..600_000).step_by(10) {
            let source = from[usize::from(millis % 20 == 0)];
            match pace.login(at(millis), &busy, source) {
                Ok(()) => let_in += 1,
                Err(line) => lines.extend(line.map(|line| line.to_string())),
            }
        }
        let sustained = Duration::from_secs(600).as_secs() / AGENT_LOGIN_PACE.as_secs();
        let burst = AGENT_LOGIN_BURST.as_secs() / AGENT_LOGIN_PACE.as_secs();
        assert!((sustained..=sustained + burst + 2).contains(&let_in), "{let_in}");
        assert_eq!(lines.len(), 10, "{lines:#?}");
        assert!(lines[1].contains("192.0.2.7") && lines[1].contains("192.0.2.8"), "{}", lines[1]);
        assert!(lines[1].contains(" 598") || lines[1].contains(" 599"), "{}", lines[1]);
        assert_eq!(pace.login(at(600_000), &other, from[0]), Ok(()), "others are not sent away");
    }

    #[test]
    fn an_agent_that_comes_back_after_each_of_many_cuts_is_let_in() {
        let mut pace = LoginPace::default();
        let (id, from) = (agent("abcdefghjkmn"), IpAddr::from([192, 0, 2, 7]));
        for second in 0..50 {
            assert_eq!(pace.login(at(second * 500), &id, from), Ok(()), "{second}");
        }
        for minute in 2..200 {
            assert_eq!(pace.login(at(minute * 60_000), &id, from), Ok(()), "{minute}");
        }
        assert_eq!(pace.login(at(99_999_999), &agent("bcdefghjkmnp"), from), Ok(()));
        assert_eq!(pace.rows.len(), 1, "who is quiet is forgotten");
    }
}
