//! Emptying the home of a deleted session as root, in a container of its own.
//!
//! The agent is no root and cannot remove what stands in somebody else's directory; a session that
//! was lent root somewhere can leave such. The container sees that one directory and nothing else
//! of the host, has no network, and of root's rights only those over files. `find` goes no way by
//! a link and into no other file system. Whether it left something is seen by whoever erases the
//! home afterwards, so how it ended is not asked.

use serde_json::{Value, json};

use super::description::Host;
use super::{Reply, Step};
use crate::agent::work::{Done, WorkError};
use crate::base::uuid::Uuid;
use crate::docker::{DockerError, DockerRequest, call};
use crate::limits::{EMPTYING_MEMORY_BYTES, EMPTYING_PIDS};

/// Where the container sees the home.
const TARGET: &str = "/remains";
/// The label that tells what the container is for. It is no session's.
const LABEL: &str = "convocate.emptying";

/// Waits for an answer.
#[derive(Debug)]
pub enum EraseAsRoot {
    /// Whether the container was created.
    Creating(Plan),
    /// Whether one that a predecessor of this agent left is removed.
    Replacing(Plan),
    /// Whether it was created now.
    CreatingAgain(Plan),
    /// Whether it was started.
    Starting(Plan),
    /// Whether it has ended. It removes itself.
    Waiting,
    /// Whether what could not be started is removed; then the work fails with this.
    Cleaning(WorkError),
}

/// What is needed until the end.
#[derive(Debug)]
pub struct Plan {
    name: String,
    image: String,
    create: DockerRequest,
}

impl EraseAsRoot {
    pub(crate) fn begin(id: Uuid, image: String, host: &Host) -> (EraseAsRoot, DockerRequest) {
        let name = format!("convocate-emptying-{id}");
        let create = call::container_create(&name, &description(id, &image, host));
        let request = create.clone();
        (EraseAsRoot::Creating(Plan { name, image, create }), request)
    }

    pub(crate) fn step(self, reply: Reply) -> Step<EraseAsRoot> {
        let outcome = reply.and_then(|response| response.accepted());
        match (self, outcome) {
            (EraseAsRoot::Creating(plan), Err(error)) if error.is_conflict() => {
                let request = call::container_remove(&plan.name);
                Step::Call(EraseAsRoot::Replacing(plan), request)
            }
            (EraseAsRoot::Creating(plan) | EraseAsRoot::CreatingAgain(plan), Ok(_)) => {
                let request = call::container_start(&plan.name);
                Step::Call(EraseAsRoot::Starting(plan), request)
            }
            (EraseAsRoot::Creating(plan) | EraseAsRoot::CreatingAgain(plan), Err(error))
                if error.is_not_found() =>
            {
                Step::Done(Err(WorkError::NoImage(plan.image)))
            }
            (EraseAsRoot::Replacing(plan), Ok(_)) => again(plan),
            // It may be removing itself right now.
            (EraseAsRoot::Replacing(plan), Err(error)) if error.is_not_found() => again(plan),
            (EraseAsRoot::Starting(plan), Ok(_)) => {
                Step::Call(EraseAsRoot::Waiting, call::container_wait(&plan.name))
            }
            (EraseAsRoot::Starting(plan), Err(error)) => {
                let request = call::container_remove(&plan.name);
                Step::Call(EraseAsRoot::Cleaning(error.into()), request)
            }
            // One that is not there any more has ended.
            (EraseAsRoot::Waiting, Ok(_) | Err(DockerError::Refused { .. })) => {
                Step::Done(Ok(Done::Done))
            }
            (EraseAsRoot::Cleaning(error), _) => Step::Done(Err(error)),
            (_, Err(error)) => Step::failed(error),
        }
    }
}

fn again(plan: Plan) -> Step<EraseAsRoot> {
    let request = plan.create.clone();
    Step::Call(EraseAsRoot::CreatingAgain(plan), request)
}

fn description(id: Uuid, image: &str, host: &Host) -> Value {
    let source = host.paths.session_remains(id).to_string_lossy().into_owned();
    let mut description = json!({
        "Image": image,
        "User": "0:0",
        "Entrypoint": ["find", TARGET, "-xdev", "-mindepth", "1", "-delete"],
        "Cmd": [],
        "Labels": { (LABEL): id.to_string() },
        "HostConfig": {
            "AutoRemove": true,
            "NetworkMode": "none",
            "ReadonlyRootfs": true,
            "Mounts": [{ "Type": "bind", "Source": source, "Target": TARGET }],
            "Memory": EMPTYING_MEMORY_BYTES,
            "MemorySwap": EMPTYING_MEMORY_BYTES,
            "PidsLimit": EMPTYING_PIDS,
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": ["ALL"],
            "CapAdd": ["DAC_OVERRIDE", "FOWNER"],
            "LogConfig": { "Type": "none" },
        },
    });
    if let Some(parent) = &host.cgroup_parent {
        description["HostConfig"]["CgroupParent"] = json!(parent);
    }
    description
}

#[cfg(test)]
mod tests {
    use super::super::description::tests::{ID, host, id};
    use super::super::script::{reply, run};
    use super::super::{Procedure, RuntimeWork};
    use super::*;

    const CREATED: &str = r#"{"Id":"c0","Warnings":[]}"#;

    fn begin() -> (Procedure, DockerRequest) {
        Procedure::begin(
            RuntimeWork::EraseAsRoot { id: id(), image: "convocate:1".into() },
            &host(),
        )
    }

    #[test]
    fn it_is_created_started_and_waited_for() {
        let replies = || vec![reply(201, CREATED), reply(204, "")];
        for end in [reply(200, r#"{"StatusCode":1}"#), reply(404, "")] {
            let (calls, outcome) = run(begin(), [replies(), vec![end]].concat());
            let name = format!("convocate-emptying-{ID}");
            assert_eq!(
                calls,
                [
                    format!("Post /containers/create?name={name}"),
                    format!("Post /containers/{name}/start"),
                    format!("Post /containers/{name}/wait"),
                ]
            );
            assert_eq!(outcome, Ok(Done::Done));
        }
        let lost = [replies(), vec![Err(DockerError::Timeout)]].concat();
        assert!(matches!(run(begin(), lost).1, Err(WorkError::DockerGone(_))));
    }

    #[test]
    fn what_a_predecessor_left_is_replaced() {
        for gone in [204, 404] {
            let first = vec![reply(409, ""), reply(gone, ""), reply(201, CREATED)];
            let (calls, outcome) =
                run(begin(), [first, vec![reply(204, ""), reply(200, "{}")]].concat());
            assert!(calls[1].starts_with("Delete ") && calls[1].contains("force=1"), "{calls:?}");
            assert_eq!(outcome, Ok(Done::Done));
        }
        let busy = vec![reply(409, ""), reply(409, "{\"message\":\"in progress\"}")];
        assert_eq!(run(begin(), busy).1, Err(WorkError::Docker("in progress".into())));
    }

    #[test]
    fn what_cannot_be_started_is_removed_and_told() {
        let replies = vec![reply(201, CREATED), reply(500, "no find"), reply(204, "")];
        let (calls, outcome) = run(begin(), replies);
        assert!(calls[2].starts_with("Delete "), "{calls:?}");
        assert_eq!(outcome, Err(WorkError::Docker("no find".into())));
        let outcome = run(begin(), vec![reply(404, "")]).1;
        assert_eq!(outcome, Err(WorkError::NoImage("convocate:1".into())));
    }

    #[test]
    fn the_container_sees_one_directory_and_has_few_rights() {
        let container = description(id(), "convocate:1", &host());
        let mounts = container["HostConfig"]["Mounts"].as_array().unwrap();
        assert_eq!(mounts.len(), 1);
        let source = mounts[0]["Source"].as_str().unwrap();
        assert!(source.ends_with(&format!("/.deleted-{ID}")), "{source}");
        assert_eq!(container["HostConfig"]["CapDrop"], json!(["ALL"]));
        assert_eq!(container["HostConfig"]["CapAdd"], json!(["DAC_OVERRIDE", "FOWNER"]));
        assert_eq!(container["HostConfig"]["NetworkMode"], "none");
        assert!(container["Labels"]["convocate.session"].is_null());
    }
}
