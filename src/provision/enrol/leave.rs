//! The plans of the way back: an agent leaves its shell host, on each side.
//!
//! The status listener reads by itself who is enrolled: it ends the agent's connections, forgets
//! what it knew and takes its names out of DNS. Logs that were collected stay.

use crate::limits::{AGENT_PORT, PROVISION_UNIT_TIMEOUT};
use crate::paths::{AGENT_UNIT, Paths};
use crate::provision::enrol::shell::{DRIVING_KEY, telling_beginning};
use crate::provision::goal::file::Absent;
use crate::provision::goal::guarded::Expect;
use crate::provision::logs::rsyslog::LogAgent;
use crate::provision::order::Command;
use crate::provision::plan::collector::{members, service};
use crate::provision::plan::log_user::LogUser;
use crate::provision::plan::parts::guarded;
use crate::provision::plan::removal::{without_drop_in, without_lines, without_rule, without_tree};
use crate::provision::step::Step;
use crate::rpc::agent_id::AgentId;

/// What the shell host's plan depends on.
pub(crate) struct LeavingAgentFacts {
    pub(crate) paths: Paths,
    pub(crate) id: AgentId,
    /// The agents whose logs are collected; this one may be among them. `None` if logs are not
    /// collected here.
    pub(crate) collected: Option<(Vec<LogAgent>, LogUser)>,
}

/// What the shell host forgets. The agent's own directory goes last: until then the same call
/// knows where it was.
pub(crate) fn shell_side(facts: &LeavingAgentFacts) -> Vec<Step> {
    let LeavingAgentFacts { paths, id, collected } = facts;
    let telling = paths.status_authorized_keys().display().to_string();
    let line = format!("^{}", telling_beginning(id));
    let mut steps = vec![without_line("who may tell", &line, &telling)];
    if let Some((agents, log_user)) = collected {
        let others: Vec<LogAgent> = agents.iter().filter(|it| it.id != *id).cloned().collect();
        steps.extend(members(paths, &others, log_user));
        steps.push(service(paths));
    }
    steps.push(without_tree(paths.agent_entry(id.as_str()).dir()));
    steps
}

/// What the agent's host gives back. Its sessions, its id and its own keys stay.
pub(crate) fn agent_side(paths: &Paths) -> Vec<Step> {
    let tls = paths.agent_tls();
    let driver = paths.agent_authorized_keys().display().to_string();
    let absent = |name: &str, path| Step::new(name, Absent(path));
    vec![
        stopped(),
        without_line("who drives it", &format!(" {DRIVING_KEY}$"), &driver),
        absent("shell host", paths.agent_shell_host()),
        absent("shell host's key", paths.agent_shell_known_host()),
        without_drop_in(&paths.rsyslog_forward(), Some("rsyslog.service")),
        without_drop_in(&paths.rsyslog_agent_confinement(), None),
        absent("own certificate", tls.certificate()),
        absent("log authority", tls.authorities()),
        without_rule(AGENT_PORT),
    ]
}

/// Nobody drives it any more. What it has started runs on.
fn stopped() -> Step {
    let disable = Command::new("systemctl", ["disable", "--now", "--quiet", AGENT_UNIT]);
    guarded(
        format!("{AGENT_UNIT} is off"),
        Command::new("systemctl", ["is-enabled", "--quiet", AGENT_UNIT]),
        Expect::Nothing,
        format!("stop {AGENT_UNIT}, and start it no more"),
        vec![disable.within(PROVISION_UNIT_TIMEOUT)],
    )
}

/// A file without the lines that match.
fn without_line(name: &str, pattern: &str, file: &str) -> Step {
    guarded(
        name,
        Command::new("grep", ["--quiet", "--no-messages", "--", pattern, file]),
        Expect::Nothing,
        format!("take its line out of {file}"),
        vec![without_lines(&format!("/{pattern}/d"), file)],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use crate::provision::goal::file::{Content, File};
    use crate::provision::logs::rsyslog::LogToken;

    #[test]
    fn the_others_stay_and_its_directory_goes_last() {
        let mut rng = Rng::from_seed([5; 32]);
        let mut agent = |id: &str| LogAgent {
            id: AgentId::parse(id).expect("an id"),
            token: LogToken::random(&mut rng),
        };
        let agents = vec![agent("abcdefghjkmn"), agent("mmmmmmmmmmmm")];
        let facts = LeavingAgentFacts {
            paths: Paths::default(),
            id: AgentId::parse("abcdefghjkmn").expect("an id"),
            collected: Some((agents, LogUser::Root)),
        };
        let steps = shell_side(&facts);
        let texts = steps.iter().filter_map(Step::goal::<File>);
        let collector = texts.into_iter().find_map(|file| match &file.content {
            Content::Text { text, .. } => Some(text.clone()),
            _ => None,
        });
        let collector = collector.expect("a drop-in");
        assert!(collector.contains("mmmmmmmmmmmm") && !collector.contains("abcdefghjkmn"));
        let last = steps.last().expect("a step");
        assert_eq!(last.name, "no /etc/convocate/agent-keys/abcdefghjkmn");
    }
}
