//! The start of a session: create, start, look.
//!
//! A stopped container of the same name is replaced; a running one is not, and the Engine's refusal
//! says so. A start that fails leaves no container. One that failed because its control groups were
//! taken from under it is made once more.

use super::description::{Host, container, container_name};
use super::{Reply, Step};
use crate::agent::last_words::{IN_CONTAINER, LastWords};
use crate::agent::work::{Done, Running, StartPlan, WorkError};
use crate::base::time::Wall;
use crate::base::uuid::Uuid;
use crate::docker::call::{self, ContainerInspect};
use crate::docker::{DockerError, DockerRequest};
use crate::rpc::field::Caps;
use crate::rpc::network::Egress;

/// Waits for an answer.
#[derive(Debug)]
pub enum Start {
    /// Whether the container was created.
    Creating(Plan),
    /// Whether the one of its name was removed that stands in its way.
    Replacing(Plan),
    /// Whether it was created now.
    CreatingAgain(Plan),
    /// Whether it was started.
    Starting(Plan),
    /// Since when it runs.
    Looking(Plan),
    /// What a command left that has ended already, with this status.
    Reading(Plan, i32),
    /// Whether what could not be started is removed; then the start fails with this.
    Cleaning(WorkError),
}

/// What a start needs until its end.
#[derive(Debug)]
pub struct Plan {
    id: Uuid,
    image: String,
    caps: Caps,
    uid: Option<u32>,
    is_carried: bool,
    create: DockerRequest,
    /// It has lost its control groups once.
    is_second: bool,
}

impl Start {
    pub(crate) fn begin(plan: &StartPlan, host: &Host) -> (Start, DockerRequest) {
        let create = call::container_create(&container_name(plan.id), &container(plan, host));
        let request = create.clone();
        let (image, caps, uid) = (plan.image.clone(), plan.caps, plan.uid);
        let (id, is_carried) = (plan.id, plan.egress == Egress::List);
        let plan = Plan { id, image, caps, uid, is_carried, create, is_second: false };
        (Start::Creating(plan), request)
    }

    pub(crate) fn step(self, reply: Reply) -> Step<Start> {
        match self {
            Start::Creating(plan) => match accepted(reply) {
                Err(error) if error.is_conflict() => {
                    let request = call::container_remove_stopped(&container_name(plan.id));
                    Step::Call(Start::Replacing(plan), request)
                }
                outcome => created(plan, outcome),
            },
            Start::Replacing(plan) => match accepted(reply) {
                Err(error) if !error.is_not_found() => Step::failed(error),
                _ => {
                    let request = plan.create.clone();
                    Step::Call(Start::CreatingAgain(plan), request)
                }
            },
            Start::CreatingAgain(plan) => created(plan, accepted(reply)),
            Start::Starting(plan) => match accepted(reply) {
                Ok(()) => {
                    let request = call::container_inspect(&container_name(plan.id));
                    Step::Call(Start::Looking(plan), request)
                }
                Err(error) if !plan.is_second && lost_its_groups(&error) => {
                    let request = call::container_remove(&container_name(plan.id));
                    Step::Call(Start::Replacing(Plan { is_second: true, ..plan }), request)
                }
                Err(error) => clean(&plan, error.into()),
            },
            Start::Looking(plan) => match reply.and_then(|response| response.container()) {
                Ok(detail) => looked(plan, &detail),
                Err(error) => Step::failed(error),
            },
            Start::Reading(plan, code) => {
                let words = read_last_words(reply);
                clean(&plan, WorkError::EndedAtOnce(LastWords { exit_code: Some(code), ..words }))
            }
            // What came of it changes nothing: the next start replaces what is left.
            Start::Cleaning(error) => Step::Done(Err(error)),
        }
    }
}

fn accepted(reply: Reply) -> Result<(), DockerError> {
    reply.and_then(|response| response.accepted()).map(|_| ())
}

/// What a session left in its container; nothing if that cannot be had.
pub(crate) fn read_last_words(reply: Reply) -> LastWords {
    let archive = reply.and_then(|response| response.accepted());
    archive.map_or_else(|_| LastWords::default(), |it| LastWords::from_archive(&it.body))
}

/// On a host whose control groups are of version 1, systemd sometimes takes the groups of a new
/// scope for those of one that has ended, and removes them while runc is about to enter them.
fn lost_its_groups(error: &DockerError) -> bool {
    let text = error.to_string();
    ["OCI runtime create failed", "cgroup", "no such file or directory"]
        .iter()
        .all(|words| text.contains(words))
}

fn created(plan: Plan, outcome: Result<(), DockerError>) -> Step<Start> {
    match outcome {
        Ok(()) => {
            let request = call::container_start(&container_name(plan.id));
            Step::Call(Start::Starting(plan), request)
        }
        // It may be the network that is not there.
        Err(error) if error.is_not_found() && error.to_string().contains("image") => {
            Step::Done(Err(WorkError::NoImage(plan.image)))
        }
        Err(error) => Step::failed(error),
    }
}

fn clean(plan: &Plan, error: WorkError) -> Step<Start> {
    let request = call::container_remove(&container_name(plan.id));
    Step::Call(Start::Cleaning(error), request)
}

/// A command that has ended already is a start that failed: nobody could attach to it.
fn looked(plan: Plan, detail: &ContainerInspect) -> Step<Start> {
    let state = &detail.state;
    if !state.running || state.restarting {
        let request = call::container_archive(&container_name(plan.id), IN_CONTAINER);
        return Step::Call(Start::Reading(plan, state.exit_code), request);
    }
    match Wall::parse_rfc3339(&state.started_at) {
        Some(started_at) => {
            let (image, caps) = (plan.image, Some(plan.caps));
            let container = detail.id.clone();
            let (id, uid) = (plan.id, plan.uid);
            let is_carried = plan.is_carried;
            let running = Running { id, started_at, container, image, caps, uid, is_carried };
            Step::Done(Ok(Done::Started(running)))
        }
        None => Step::failed(DockerError::Unexpected(format!("started at {:?}", state.started_at))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::description::tests::{ID, host, id, plan};
    use super::super::script::{reply, run};
    use super::super::{Procedure, RuntimeWork};
    use super::*;
    use crate::base::ustar;

    const CREATED: &str = r#"{"Id":"c0","Warnings":[]}"#;
    const RUNS: &str = r#"{"Id":"c0","State":{"Running":true,"Restarting":false,"ExitCode":0,
        "StartedAt":"2026-01-02T03:04:05.678Z"}}"#;

    fn begin() -> (Procedure, DockerRequest) {
        Procedure::begin(RuntimeWork::Start(Box::new(plan())), &host())
    }

    fn words(text: &str) -> String {
        format!("{{\"message\":\"{text}\"}}")
    }

    #[test]
    fn create_start_look() {
        let replies = vec![reply(201, CREATED), reply(204, ""), reply(200, RUNS)];
        let (calls, outcome) = run(begin(), replies);
        let name = format!("convocate-session-{ID}");
        assert_eq!(
            calls,
            [
                format!("Post /containers/create?name={name}"),
                format!("Post /containers/{name}/start"),
                format!("Get /containers/{name}/json"),
            ]
        );
        let Ok(Done::Started(running)) = outcome else { panic!("{outcome:?}") };
        assert_eq!((running.id, running.caps), (id(), Some(plan().caps)));
        assert_eq!(running.started_at.to_string(), "2026-01-02T03:04:05.678000000Z");
    }

    #[test]
    fn a_stopped_leftover_is_replaced_and_a_running_one_is_not() {
        let taken = || reply(409, &words("name is in use"));
        for gone in [204, 404] {
            let rest = vec![reply(201, CREATED), reply(204, ""), reply(200, RUNS)];
            let replies = [vec![taken(), reply(gone, "")], rest].concat();
            let (calls, outcome) = run(begin(), replies);
            assert_eq!(calls[1], format!("Delete /containers/convocate-session-{ID}?v=1"));
            assert!(outcome.is_ok());
        }
        let replies = vec![taken(), reply(409, &words("it runs"))];
        assert_eq!(run(begin(), replies).1, Err(WorkError::Docker("it runs".to_owned())));
        let replies = vec![taken(), reply(204, ""), reply(409, &words("again"))];
        assert_eq!(run(begin(), replies).1, Err(WorkError::Docker("again".to_owned())));
    }

    #[test]
    fn a_missing_image_is_named() {
        let (_, outcome) = run(begin(), vec![reply(404, &words("No such image"))]);
        assert_eq!(outcome, Err(WorkError::NoImage("convocate:1.2.3".to_owned())));
        let (_, outcome) = run(begin(), vec![reply(404, &words("network x not found"))]);
        assert_eq!(outcome, Err(WorkError::Docker("network x not found".to_owned())));
    }

    #[test]
    fn a_failed_start_leaves_no_container() {
        let refused = reply(500, &words("port is already allocated"));
        let (calls, outcome) = run(begin(), vec![reply(201, CREATED), refused, reply(204, "")]);
        assert!(calls[2].starts_with("Delete ") && calls[2].contains("force=1"), "{calls:?}");
        assert_eq!(outcome, Err(WorkError::Docker("port is already allocated".to_owned())));
        for state in [RUNS.replace("true", "false"), RUNS.replace("false", "true")] {
            let looked = reply(200, &state.replace("\"ExitCode\":0", "\"ExitCode\":127"));
            let text = "127\nclaude: command not found\n";
            let header = ustar::header("last-words", 0o644, text.len() as u64);
            let archive = String::from_utf8(header.to_vec()).unwrap() + text;
            for (words, why) in [
                (reply(200, &archive), ": claude: command not found"),
                (reply(404, &words("no such file")), ""),
            ] {
                let replies = vec![
                    reply(201, CREATED),
                    reply(204, ""),
                    looked.clone(),
                    words,
                    reply(204, ""),
                ];
                let error = run(begin(), replies).1.unwrap_err().to_string();
                assert_eq!(error, format!("the command ended at once with status 127{why}"));
            }
        }
    }

    #[test]
    fn a_start_whose_groups_were_taken_away_is_made_once_more() {
        let text = "failed to create shim task: OCI runtime create failed: runc create failed: \
                    unable to start container process: error during container init: error \
                    mounting 'cgroup' to rootfs at '/sys/fs/cgroup': stat \
                    /sys/fs/cgroup/devices/a.slice/docker-c0.scope: no such file or directory: \
                    unknown";
        let first = || vec![reply(201, CREATED), reply(500, &words(text)), reply(204, "")];
        let second = vec![reply(201, CREATED), reply(204, ""), reply(200, RUNS)];
        let (calls, outcome) = run(begin(), [first(), second].concat());
        assert!(calls[2].starts_with("Delete ") && calls[2].contains("force=1"), "{calls:?}");
        assert!(calls[3].starts_with("Post /containers/create"), "{calls:?}");
        assert!(outcome.is_ok(), "{outcome:?}");
        let (calls, outcome) = run(begin(), [first(), first()].concat());
        assert_eq!((calls.len(), outcome), (6, Err(WorkError::Docker(text.to_owned()))));
    }

    #[test]
    fn an_engine_that_goes_away_ends_the_start_where_it_is() {
        let answers = [reply(201, CREATED), reply(204, "")];
        for count in 0..=answers.len() {
            let mut replies: Vec<Reply> = answers[..count].to_vec();
            replies.push(Err(DockerError::Closed));
            // A failed start is cleaned up after, even if that is in vain.
            if count == 1 {
                replies.push(Err(DockerError::Closed));
            }
            assert!(matches!(run(begin(), replies).1, Err(WorkError::DockerGone(_))), "{count}");
        }
    }
}
