//! The end of a session's container: stopped, or stopped and removed. What is not there, does not
//! run, or is being removed already is no error.

use std::time::Duration;

use super::description::{LABEL_SESSION, container_name};
use super::{Reply, Step};
use crate::agent::work::Done;
use crate::base::uuid::Uuid;
use crate::docker::{DockerError, DockerRequest, DockerResponse, call};
use crate::limits::SESSION_STOP_GRACE;

/// Waits for an answer.
#[derive(Debug)]
pub enum Stop {
    /// To the stop.
    Stopping(Uuid),
    /// To a look. The Engine says that a container has stopped before its own list knows it, and
    /// lets nobody look between the two.
    Looking(Uuid),
    /// To the question what its list says now.
    Listing(Uuid),
    /// To the removal of one that runs on in the list alone: on a full disk the Engine cannot note
    /// that a container has ended.
    Removing,
}

impl Stop {
    /// Asks the container to end, and has it killed after `grace`.
    pub(crate) fn begin(id: Uuid, grace: Duration) -> (Stop, DockerRequest) {
        (Stop::Stopping(id), call::container_stop(&container_name(id), grace))
    }

    pub(crate) fn step(self, reply: Reply) -> Step<Stop> {
        match (self, reply.and_then(|response| response.accepted())) {
            (Stop::Looking(id), Ok(_)) => {
                let request = call::containers(&format!("{LABEL_SESSION}={id}"));
                Step::Call(Stop::Listing(id), request)
            }
            (Stop::Looking(_), Err(_)) => Step::Done(Ok(Done::Done)),
            (Stop::Listing(id), outcome) => listed(id, outcome),
            (Stop::Removing, outcome) => removed(outcome),
            (Stop::Stopping(id), Ok(_)) => {
                Step::Call(Stop::Looking(id), call::container_inspect(&container_name(id)))
            }
            (Stop::Stopping(_), Err(error)) if error.is_not_found() => Step::Done(Ok(Done::Done)),
            (Stop::Stopping(_), Err(error)) => Step::failed(error),
        }
    }
}

/// Waits for an answer.
#[derive(Debug)]
pub enum Remove {
    /// To the stop.
    Stopping(Uuid),
    /// To the removal.
    Removing,
}

impl Remove {
    /// Asks the container to end first, so that its command can save what it has.
    pub(crate) fn begin(id: Uuid) -> (Remove, DockerRequest) {
        let request = call::container_stop(&container_name(id), SESSION_STOP_GRACE);
        (Remove::Stopping(id), request)
    }

    pub(crate) fn step(self, reply: Reply) -> Step<Remove> {
        let outcome = reply.and_then(|response| response.accepted());
        match (self, outcome) {
            (Remove::Stopping(_), Err(error)) if error.is_not_found() => Step::Done(Ok(Done::Done)),
            // The removal kills what would not stop.
            (Remove::Stopping(id), Ok(_) | Err(DockerError::Refused { .. })) => {
                Step::Call(Remove::Removing, call::container_remove(&container_name(id)))
            }
            (Remove::Removing, outcome) => removed(outcome),
            (Remove::Stopping(_), Err(error)) => Step::failed(error),
        }
    }
}

/// What the Engine's list says of a container that has stopped.
fn listed(id: Uuid, outcome: Result<DockerResponse, DockerError>) -> Step<Stop> {
    match outcome.and_then(DockerResponse::containers) {
        Ok(list) if list.iter().any(|container| container.state == "running") => {
            Step::Call(Stop::Removing, call::container_remove(&container_name(id)))
        }
        _ => Step::Done(Ok(Done::Done)),
    }
}

/// What a removal has come to.
fn removed<S>(outcome: Result<DockerResponse, DockerError>) -> Step<S> {
    match outcome {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Step::failed(error),
        _ => Step::Done(Ok(Done::Done)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::description::tests::{ID, host, id};
    use super::super::script::{reply, run};
    use super::super::{Procedure, RuntimeWork};
    use super::*;
    use crate::agent::work::WorkError;

    #[test]
    fn stopping_what_does_not_run_is_done() {
        let begin = || {
            let work = RuntimeWork::Stop { id: id(), grace: Duration::from_secs(3) };
            Procedure::begin(work, &host())
        };
        let (calls, outcome) = run(begin(), vec![reply(404, "")]);
        assert_eq!(calls, [format!("Post /containers/convocate-session-{ID}/stop?t=3")]);
        assert_eq!(outcome, Ok(Done::Done));
        for stop in [204, 304] {
            for look in [reply(404, ""), Err(DockerError::Closed)] {
                let (calls, outcome) = run(begin(), vec![reply(stop, ""), look]);
                assert_eq!(calls[1], format!("Get /containers/convocate-session-{ID}/json"));
                assert_eq!(outcome, Ok(Done::Done));
            }
            for list in [reply(200, "[]"), reply(200, &listed("exited")), Err(DockerError::Closed)]
            {
                let replies = vec![reply(stop, ""), reply(200, "{}"), list];
                let (calls, outcome) = run(begin(), replies);
                assert!(calls[2].starts_with("Get /containers/json?all=1&filters="), "{calls:?}");
                assert!(calls[2].contains(ID), "{calls:?}");
                assert_eq!(outcome, Ok(Done::Done));
            }
        }
        let work = RuntimeWork::Stop { id: id(), grace: Duration::ZERO };
        let (_, outcome) = run(Procedure::begin(work, &host()), vec![reply(500, "stuck")]);
        assert_eq!(outcome, Err(WorkError::Docker("stuck".to_owned())));
    }

    fn listed(state: &str) -> String {
        json!([{"Id": "c0", "Image": "i", "State": state, "Created": 7}]).to_string()
    }

    #[test]
    fn what_is_stopped_and_runs_on_in_the_list_is_removed() {
        for (removal, expected) in [
            (204, Ok(Done::Done)),
            (404, Ok(Done::Done)),
            (409, Ok(Done::Done)),
            (500, Err(WorkError::Docker("busy".to_owned()))),
        ] {
            let work = RuntimeWork::Stop { id: id(), grace: Duration::from_secs(3) };
            let list = reply(200, &listed("running"));
            let replies = vec![reply(204, ""), reply(200, "{}"), list, reply(removal, "busy")];
            let (calls, outcome) = run(Procedure::begin(work, &host()), replies);
            assert!(calls[3].starts_with("Delete ") && calls[3].contains("force=1"), "{calls:?}");
            assert_eq!(outcome, expected);
        }
    }

    #[test]
    fn removing_is_done_when_nothing_is_left() {
        let begin = || Procedure::begin(RuntimeWork::Remove { id: id() }, &host());
        assert_eq!(run(begin(), vec![reply(404, "")]).1, Ok(Done::Done));
        for stop in [204, 304, 500] {
            for removal in [204, 404, 409] {
                let (_, outcome) = run(begin(), vec![reply(stop, ""), reply(removal, "")]);
                assert_eq!(outcome, Ok(Done::Done), "{stop} {removal}");
            }
        }
        let (_, outcome) = run(begin(), vec![reply(204, ""), reply(500, "busy")]);
        assert_eq!(outcome, Err(WorkError::Docker("busy".to_owned())));
        let (_, outcome) = run(begin(), vec![Err(DockerError::Timeout)]);
        assert!(matches!(outcome, Err(WorkError::DockerGone(_))));
    }
}
