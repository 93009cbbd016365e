//! Which session is meant: a UUID, a unique name, or else a unique prefix of a UUID.
//!
//! Whatever could be meant twice is an error that lists the candidates. Where an agent is silent, a
//! name or a prefix could be on it, too: a [`Care::Exact`] choice then takes a whole UUID only.

use std::fmt;

use crate::base::time::Wall;
use crate::base::uuid::{UUID_TEXT_BYTES, Uuid};
use crate::fleet::listing::{AgentList, AgentSessions};
use crate::fleet::registry::AgentId;
use crate::rpc::session::Session;

/// How sure the choice must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// UUID, prefix or name among the agents that answer.
    Usual,
    /// UUID or whole name, and a name only if every agent has answered: what follows cannot be
    /// undone.
    Exact,
}

/// A session with its agent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selected {
    pub(crate) agent: AgentId,
    /// That agent's host, as people know it.
    pub(crate) host: String,
    pub(crate) session: Session,
}

/// One of several that could be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) host: String,
}

/// Why no session is selected. Each carries the operator's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SelectError {
    /// None matches on the agents that have answered; those that have not, each with its reason.
    NotFound(String, Vec<String>),
    Ambiguous(String, Vec<Candidate>),
    /// One matches, but a silent agent could have another; the one, and the silent hosts.
    Unsure(String, Candidate, Vec<String>),
    /// Only a prefix matches, and that is not enough here.
    PrefixOnly(String, Candidate),
}

impl fmt::Display for SelectError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SelectError::NotFound(text, silent) => {
                write!(out, "session {text:?} not found")?;
                match &silent[..] {
                    [] => Ok(()),
                    [only] if is_whole_id(text) => {
                        write!(out, ", because its agent is silent: {only}")
                    }
                    [only] => write!(out, "; it may be on {only}"),
                    _ => write!(out, "; it may be on one of\n  {}", silent.join("\n  ")),
                }
            }
            SelectError::Ambiguous(text, candidates) => {
                let is_one_id = candidates.iter().all(|it| it.id == candidates[0].id);
                match is_one_id {
                    true => write!(
                        out,
                        "session {text:?} is ambiguous: several agents have it, one of which may \
                         be a copy of another; say which one with --agent:"
                    )?,
                    false => {
                        write!(out, "session {text:?} is ambiguous; give one of these ids:")?;
                    }
                }
                candidates.iter().try_for_each(|candidate| write!(out, "\n  {candidate}"))
            }
            SelectError::Unsure(text, Candidate { id, .. }, silent) => write!(
                out,
                "session {text:?} may also be on {}, which cannot be reached; if you mean the one \
                 that is known, give its whole id {id}",
                silent.join(", ")
            ),
            SelectError::PrefixOnly(text, candidate) => write!(
                out,
                "{text:?} is only the start of an id; give the whole id or the name: {candidate}"
            ),
        }
    }
}

impl std::error::Error for SelectError {}

impl fmt::Display for Candidate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {:?} on {}", self.id, self.name, self.host)
    }
}

/// Finds the session that `text` means. Only fresh news count.
///
/// # Errors
/// [`SelectError`]
pub(crate) fn select(
    text: &str,
    agents: &[AgentList],
    care: Care,
) -> Result<Selected, SelectError> {
    let found = matches(text, agents);
    let silent = || silent_hosts(agents);
    let [(agent, session)] = found[..] else {
        return Err(match found.is_empty() {
            true => SelectError::NotFound(text.to_owned(), silent_reasons(agents)),
            false => {
                let candidates = found.iter().map(|(agent, it)| candidate(agent, it)).collect();
                SelectError::Ambiguous(text.to_owned(), candidates)
            }
        });
    };
    let is_id = is_whole_id(text);
    if care == Care::Exact && !is_id {
        if session.name != text {
            return Err(SelectError::PrefixOnly(text.to_owned(), candidate(agent, session)));
        }
        if !silent().is_empty() {
            return Err(SelectError::Unsure(text.to_owned(), candidate(agent, session), silent()));
        }
    }
    Ok(Selected { agent: agent.id.clone(), host: agent.host.clone(), session: session.clone() })
}

/// A session that is only known from before its agent fell silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastKnown {
    pub(crate) session: Candidate,
    /// Why its agent does not answer, and when it was last heard.
    pub(crate) error: String,
    pub(crate) last_news: Option<Wall>,
}

/// Where a session was that no agent that answers has, if that is clear.
pub(crate) fn last_known(text: &str, agents: &[AgentList]) -> Option<LastKnown> {
    let found = matches_among(text, agents, |news| !matches!(news, AgentSessions::Fresh { .. }));
    let [(agent, session)] = found[..] else { return None };
    let AgentSessions::Silent { error, last_news, .. } = &agent.news else { return None };
    let (session, error) = (candidate(agent, session), error.clone());
    Some(LastKnown { session, error, last_news: *last_news })
}

/// Whether `text` is a whole UUID, so that one answer that has it settles the matter.
pub(crate) fn is_whole_id(text: &str) -> bool {
    text.len() == UUID_TEXT_BYTES && Uuid::parse(text).is_ok()
}

type Match<'a> = (&'a AgentList, &'a Session);

fn matches<'a>(text: &str, agents: &'a [AgentList]) -> Vec<Match<'a>> {
    matches_among(text, agents, |news| matches!(news, AgentSessions::Fresh { .. }))
}

/// Whether `text` can mean a session: its name, or the start of its id.
pub(crate) fn means(text: &str, session: &Session) -> bool {
    let is_id =
        !text.is_empty() && session.uuid.to_string().starts_with(&text.to_ascii_lowercase());
    is_id || session.name == text
}

fn matches_among<'a>(
    text: &str,
    agents: &'a [AgentList],
    is_meant: fn(&AgentSessions) -> bool,
) -> Vec<Match<'a>> {
    let prefix = text.to_ascii_lowercase();
    if text.is_empty() {
        return Vec::new();
    }
    let all = || {
        let meant = agents.iter().filter(|it| is_meant(&it.news));
        meant.flat_map(|agent| agent.news.sessions().iter().map(move |session| (agent, session)))
    };
    let whole = all().filter(|(_, it)| it.name == text || it.uuid.to_string() == prefix);
    let whole: Vec<_> = whole.collect();
    match whole.is_empty() {
        true => all().filter(|(_, it)| it.uuid.to_string().starts_with(&prefix)).collect(),
        false => whole,
    }
}

fn silent_hosts(agents: &[AgentList]) -> Vec<String> {
    let is_silent = |agent: &&AgentList| matches!(agent.news, AgentSessions::Silent { .. });
    agents.iter().filter(is_silent).map(|agent| agent.host.clone()).collect()
}

fn silent_reasons(agents: &[AgentList]) -> Vec<String> {
    let reason = |agent: &AgentList| match &agent.news {
        AgentSessions::Silent { error, .. } => Some(format!("{}: {error}", agent.host)),
        AgentSessions::Fresh { .. } => None,
    };
    agents.iter().filter_map(reason).collect()
}

fn candidate(agent: &AgentList, session: &Session) -> Candidate {
    Candidate { id: session.uuid, name: session.name.clone(), host: agent.host.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::listing::tests::{fresh, session, silent};

    fn agents() -> Vec<AgentList> {
        vec![
            fresh(2, vec![session("abc1", "web", 1), session("abd2", "db", 2)]),
            fresh(3, vec![session("fff3", "db", 3), session("eee4", "abd", 4)]),
        ]
    }

    fn found(text: &str, care: Care) -> Result<String, String> {
        select(text, &agents(), care)
            .map(|selected| selected.session.uuid.short())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_id_a_prefix_or_a_name() {
        for (text, short) in [
            ("abc10000-0000-4000-8000-000000000000", "abc10000"),
            ("ABC10000-0000-4000-8000-000000000000", "abc10000"),
            ("abc", "abc10000"),
            ("f", "fff30000"),
            ("web", "abc10000"),
            // A name of one is the start of another's id.
            ("abd", "eee40000"),
        ] {
            assert_eq!(found(text, Care::Usual), Ok(short.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_could_be_meant_twice_lists_the_candidates() {
        for (text, ids) in [("ab", ["abc10000", "abd20000"]), ("db", ["abd20000", "fff30000"])] {
            let error = found(text, Care::Usual).expect_err(text);
            assert!(error.contains("is ambiguous"), "{error}");
            assert!(ids.iter().all(|id| error.contains(id)), "{error}");
        }
    }

    #[test]
    fn what_is_not_found_names_those_that_were_not_asked() {
        assert_eq!(found("nope", Care::Usual).unwrap_err(), "session \"nope\" not found");
        assert!(found("", Care::Usual).is_err());
        let mut all = agents();
        all.push(silent(4, vec![session("fade", "hidden", 1)]));
        let error = select("hidden", &all, Care::Usual).expect_err("silent").to_string();
        assert!(error.starts_with("session \"hidden\" not found; it may be on web-4: "), "{error}");
        all.push(silent(5, Vec::new()));
        let error = select("hidden", &all, Care::Usual).expect_err("silent").to_string();
        assert!(error.contains("on one of\n  web-4: ") && error.contains("\n  web-5: "), "{error}");
    }

    #[test]
    fn what_cannot_be_undone_needs_certainty() {
        assert!(found("web", Care::Exact).is_ok());
        assert!(found("abc", Care::Exact).unwrap_err().contains("only the start of an id"));
        let mut all = agents();
        all.push(silent(4, vec![]));
        let error = select("web", &all, Care::Exact).expect_err("unsure").to_string();
        assert!(error.contains("may also be on web-4"), "{error}");
        assert!(select("abc10000-0000-4000-8000-000000000000", &all, Care::Exact).is_ok());
        assert!(select("web", &all, Care::Usual).is_ok());
    }
}
