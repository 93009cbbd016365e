//! What became of a session's container, which need not run.

use super::description::container_name;
use super::{Reply, Step};
use crate::agent::work::{Done, LastRun};
use crate::base::time::Wall;
use crate::base::uuid::Uuid;
use crate::docker::call::{self, ContainerInspect};
use crate::docker::{DockerRequest, DockerResponse};

/// Waits for the answer.
#[derive(Debug)]
pub struct Look;

impl Look {
    pub(crate) fn begin(id: Uuid) -> (Look, DockerRequest) {
        (Look, call::container_inspect(&container_name(id)))
    }

    pub(crate) fn step(self, reply: Reply) -> Step<Look> {
        match reply.and_then(DockerResponse::container) {
            Ok(detail) => Step::Done(Ok(Done::LastRun(last_run(detail)))),
            Err(error) if error.is_not_found() => Step::Done(Ok(Done::LastRun(None))),
            Err(error) => Step::failed(error),
        }
    }
}

/// None of one that was made and never started: the Engine says that it was in the year 1.
fn last_run(detail: ContainerInspect) -> Option<LastRun> {
    let state = detail.state;
    if state.started_at.starts_with("0001-") {
        return None;
    }
    let since = Wall::parse_rfc3339(&state.started_at).filter(|_| state.running);
    let (exit_code, out_of_memory) = (state.exit_code, state.oom_killed);
    Some(LastRun { since, exit_code, out_of_memory, error: state.error })
}

#[cfg(test)]
mod tests {
    use super::super::description::tests::{ID, host, id};
    use super::super::script::{reply, run};
    use super::super::{Procedure, RuntimeWork};
    use super::*;
    use crate::agent::work::Outcome;

    fn looked(status: u16, body: &str) -> Outcome {
        let begin = Procedure::begin(RuntimeWork::Look { id: id() }, &host());
        let (calls, outcome) = run(begin, vec![reply(status, body)]);
        assert_eq!(calls, [format!("Get /containers/convocate-session-{ID}/json")]);
        outcome
    }

    #[test]
    fn how_it_ended_and_what_the_engine_said() {
        let body = r#"{"Id":"c0","State":{"Running":false,"ExitCode":128,"OOMKilled":true,
            "Error":"bind source path does not exist: /x","StartedAt":"2026-01-02T03:04:05Z"}}"#;
        let error = "bind source path does not exist: /x".to_owned();
        let run = LastRun { since: None, exit_code: 128, out_of_memory: true, error };
        assert_eq!(looked(200, body), Ok(Done::LastRun(Some(run))));
        let body = r#"{"Id":"c0","State":{"Running":true,"ExitCode":0,
            "StartedAt":"2026-01-02T03:04:05Z"}}"#;
        let Ok(Done::LastRun(Some(run))) = looked(200, body) else { panic!("it runs") };
        assert_eq!(run.since.map(|at| at.to_string()).as_deref(), Some("2026-01-02T03:04:05Z"));
        let body = r#"{"Id":"c0","State":{"Running":false,"ExitCode":0,
            "StartedAt":"0001-01-01T00:00:00Z"}}"#;
        assert_eq!(looked(200, body), Ok(Done::LastRun(None)));
        assert_eq!(looked(404, "{}"), Ok(Done::LastRun(None)));
        assert!(looked(500, "{}").is_err());
    }
}
