//! The plans of an update: a newer program with the one before kept, the way back, and the image
//! that is stamped last.
//!
//! An update never makes a host an agent host: that takes keys of both sides.

use crate::base::rng::Rng;
use crate::paths::{Owner, Paths};
use crate::provision::goal::condition::Check;
use crate::provision::goal::file::Content;
use crate::provision::order::Entry;
use crate::provision::plan::agent_host::{self, AgentHostFacts, current_image, service};
use crate::provision::plan::parts::{condition, file, program};
use crate::provision::step::Step;

/// The agent's program, as its file is called.
pub(crate) const PROGRAM: &str = "convocate-agent";

/// Everything that a newer version installs; `before` is the program that is there now.
pub(crate) fn replace(facts: &AgentHostFacts, before: Option<Vec<u8>>, rng: &mut Rng) -> Vec<Step> {
    let mut steps = vec![is_agent_host(&facts.paths)];
    let kept = before.filter(|before| *before != facts.program);
    steps.extend(kept.map(|before| {
        let path = facts.paths.program_before(PROGRAM);
        file(&facts.paths, "program before", &path, Content::Binary(before), (Owner::Root, 0o755))
    }));
    steps.extend(agent_host::plan(facts, rng));
    steps
}

/// The program from before in its place again, and started.
pub(crate) fn back(paths: &Paths, before: &[u8]) -> Vec<Step> {
    vec![program(paths, PROGRAM, before), service(paths)]
}

/// New sessions get this image: the agent reads that at its start.
pub(crate) fn stamp(paths: &Paths, tag: &str) -> Vec<Step> {
    vec![current_image(paths, tag), service(paths)]
}

fn is_agent_host(paths: &Paths) -> Step {
    let check = Check::Path(paths.agent_id(), |entry| match entry {
        Entry::File { .. } => None,
        _ => Some("there is no agent here that could be updated".to_owned()),
    });
    condition("an agent host", check, "make it an agent host first: convocate-host help")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::AGENT_UNIT;
    use crate::provision::plan::log_user::LogUser;

    fn names(before: Option<&[u8]>) -> Vec<String> {
        let facts = AgentHostFacts {
            paths: Paths::default(),
            cores: 2,
            memory_bytes: 1 << 34,
            program: b"new".to_vec(),
            image: None,
            log_user: LogUser::Root,
            has_nftables: true,
        };
        let steps = replace(&facts, before.map(<[u8]>::to_vec), &mut Rng::from_seed([7; 32]));
        steps.into_iter().map(|step| step.name).collect()
    }

    #[test]
    fn the_program_before_is_kept_before_it_is_replaced() {
        let steps = names(Some(b"old"));
        let place = |name: &str| steps.iter().position(|step| step.contains(name));
        assert_eq!((place("an agent host"), place("program before")), (Some(0), Some(1)));
        assert!(place("program before") < place("program /usr/local/bin/convocate-agent"));
        for same in [None, Some(&b"new"[..])] {
            assert!(!names(same).contains(&"program before".to_owned()));
        }
    }

    #[test]
    fn the_service_is_started_last() {
        let paths = Paths::default();
        for steps in [back(&paths, b"old"), stamp(&paths, "convocate:1")] {
            assert_eq!(steps.last().map(|step| step.name.as_str()), Some(AGENT_UNIT));
        }
    }
}
