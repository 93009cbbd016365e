//! What runs: one request for all containers of sessions, whatever their number.
//!
//! A container that the Engine is about to start again by its policy has a command that ended by
//! itself while nobody listened ([`super::runtime_events`]): it is stopped before the list is
//! reported, so that a session which ended stays ended.

use std::time::Duration;

use super::description::{Host, LABEL_ROOT, LABEL_SESSION, root_label, running};
use super::{Reply, Step};
use crate::agent::work::{Done, Running};
use crate::base::time::Wall;
use crate::docker::call::{self, ContainerSummary};
use crate::docker::{DockerError, DockerRequest};

/// Waits for the list, or for the end of a container that is restarting.
#[derive(Debug)]
pub enum List {
    /// For the list, of which those below another root are another agent's.
    Listing { root: String },
    /// For a stop; these are known to run, and those are to be stopped yet.
    Settling {
        /// What the listing will report.
        running: Vec<Running>,
        restarting: Vec<String>,
    },
}

impl List {
    /// Asks for the list.
    pub(crate) fn begin(host: &Host) -> (List, DockerRequest) {
        (List::Listing { root: root_label(host) }, call::containers(LABEL_SESSION))
    }

    pub(crate) fn step(self, reply: Reply) -> Step<List> {
        match self {
            List::Listing { root } => match reply.and_then(|response| response.containers()) {
                Ok(list) => listed(&root, &list),
                Err(error) => Step::failed(error),
            },
            List::Settling { running, restarting } => match reply {
                // A refusal is not ours to solve, and it does not make the list wrong.
                Ok(_) | Err(DockerError::Refused { .. }) => settle(running, restarting),
                Err(error) => Step::failed(error),
            },
        }
    }
}

fn listed(root: &str, list: &[ContainerSummary]) -> Step<List> {
    let is = |container: &&ContainerSummary, state: &str| container.state == state;
    // Those of an earlier version do not say.
    let is_ours = |container: &&ContainerSummary| {
        container.labels.get(LABEL_ROOT).is_none_or(|label| label == root)
    };
    let found = list
        .iter()
        .filter(is_ours)
        .filter(|container| is(container, "running") || is(container, "paused"))
        .filter_map(|it| running(&it.id, &it.labels, Wall::new(it.created, 0)))
        .collect();
    let restarting = list
        .iter()
        .filter(is_ours)
        .filter(|container| is(container, "restarting"))
        .map(|container| container.id.clone())
        .collect();
    settle(found, restarting)
}

fn settle(running: Vec<Running>, mut restarting: Vec<String>) -> Step<List> {
    match restarting.pop() {
        Some(container) => {
            let request = call::container_stop(&container, Duration::ZERO);
            Step::Call(List::Settling { running, restarting }, request)
        }
        None => Step::Done(Ok(Done::Listed(running))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::description::tests::{ID, host, id, plan};
    use super::super::description::{container, label_table};
    use super::super::script::{reply, run};
    use super::super::{Procedure, RuntimeWork};
    use super::*;
    use crate::agent::work::WorkError;

    fn entry(id: &str, state: &str) -> serde_json::Value {
        let labels = label_table(container(&plan(), &host())["Labels"].as_object().unwrap());
        json!({"Id": id, "Image": "i", "State": state, "Created": 7, "Labels": labels})
    }

    fn begin() -> (Procedure, DockerRequest) {
        Procedure::begin(RuntimeWork::List, &host())
    }

    #[test]
    fn one_request_tells_what_runs() {
        let foreign = json!({"Id": "x", "Image": "i", "State": "running", "Created": 1,
            "Labels": {LABEL_SESSION: "no id"}});
        let mut theirs = entry("y", "running");
        theirs["Labels"][LABEL_ROOT] = json!("/other");
        let list = [entry("a", "running"), entry("b", "exited"), foreign, theirs];
        let list = json!(list).to_string();
        let (calls, outcome) = run(begin(), vec![reply(200, &list)]);
        assert_eq!(calls.len(), 1);
        let Ok(Done::Listed(found)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id, found[0].started_at.seconds()), (id(), 7), "{ID}");
        assert_eq!(found[0].caps, Some(plan().caps));
    }

    #[test]
    fn what_is_about_to_restart_is_stopped_and_does_not_run() {
        let list = json!([entry("a", "restarting")]).to_string();
        for status in [204, 304, 404] {
            let (calls, outcome) = run(begin(), vec![reply(200, &list), reply(status, "")]);
            assert_eq!(calls[1], "Post /containers/a/stop?t=0");
            assert_eq!(outcome, Ok(Done::Listed(Vec::new())));
        }
    }

    #[test]
    fn no_answer_is_no_empty_list() {
        for (answer, error) in [
            (Err(DockerError::Closed), "connection closed in the middle of a call"),
            (Err(DockerError::Timeout), "no answer in time"),
        ] {
            let gone = Err(WorkError::DockerGone(error.to_owned()));
            assert_eq!(run(begin(), vec![answer]).1, gone);
        }
        let words = reply(500, r#"{"message":"broken"}"#);
        assert_eq!(run(begin(), vec![words]).1, Err(WorkError::Docker("broken".to_owned())));
        assert!(matches!(run(begin(), vec![reply(200, "[")]).1, Err(WorkError::Docker(_))));
    }
}
