//! Goals: the Docker network of sessions, and that it is gone.

use serde_json::Value;

use crate::docker::{DockerResponse, call};
use crate::paths::{SESSION_BRIDGE, SESSION_NETWORK, SESSION_SUBNET};
use crate::provision::order::{Action, Answer, Question};
use crate::provision::step::{Change, Goal, StepVerdict};

/// There is the network, on its bridge, and its containers do not reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionNetwork;

/// There is no such network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoSessionNetwork;

impl Goal for SessionNetwork {
    fn questions(&self) -> Vec<Question> {
        ask()
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let response = match answer(answers) {
            Ok(response) => response,
            Err(refusal) => return refusal,
        };
        if let Some(response) = response {
            return match fault(response) {
                None => StepVerdict::Holds,
                Some(fault) => StepVerdict::refuse(
                    format!("the Docker network {SESSION_NETWORK} {fault}"),
                    format!(
                        "end the sessions on it, remove it (docker network rm {SESSION_NETWORK}) \
                         and run this again"
                    ),
                ),
            };
        }
        let create = call::network_create(SESSION_NETWORK, SESSION_BRIDGE, SESSION_SUBNET);
        let mut change = Change::default();
        change.add(format!("make it, with the addresses {SESSION_SUBNET}"), Action::Engine(create));
        StepVerdict::Differs(change)
    }
}

impl Goal for NoSessionNetwork {
    fn questions(&self) -> Vec<Question> {
        ask()
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        match answer(answers) {
            Err(refusal) => refusal,
            Ok(None) => StepVerdict::Holds,
            Ok(Some(_)) => {
                let mut change = Change::default();
                let remove = call::network_remove(SESSION_NETWORK);
                change.add("remove it", Action::Engine(remove));
                StepVerdict::Differs(change)
            }
        }
    }
}

fn ask() -> Vec<Question> {
    vec![Question::Engine(call::network_inspect(SESSION_NETWORK))]
}

/// What the Engine knows of the network; `None` if there is none.
fn answer(answers: &[Answer]) -> Result<Option<&DockerResponse>, StepVerdict> {
    let (what, advice) = match answers {
        [Answer::Engine(Ok(response))] => match response.status {
            200 => return Ok(Some(response)),
            404 => return Ok(None),
            status => (
                format!("docker: {status}: {}", String::from_utf8_lossy(&response.body)),
                "see what the Docker engine says: journalctl -u docker",
            ),
        },
        [Answer::Engine(Err(why))] => (why.clone(), "start the Docker engine"),
        _ => return Err(StepVerdict::mismatch()),
    };
    Err(StepVerdict::refuse(what, advice))
}

/// What keeps the rules of sessions from holding on this network.
fn fault(response: &DockerResponse) -> Option<&'static str> {
    let network: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let option =
        |name: &str| network["Options"][format!("com.docker.network.bridge.{name}")].as_str();
    if option("name") != Some(SESSION_BRIDGE) {
        return Some("has another bridge");
    }
    (option("enable_icc") != Some("false")).then_some("lets its containers reach each other")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::goal::testing::effects;
    use serde_json::json;

    fn found(status: u16, body: &Value) -> [Answer; 1] {
        let body = body.to_string().into_bytes();
        [Answer::Engine(Ok(DockerResponse { status, body }))]
    }

    fn made(bridge: &str, icc: &str) -> Value {
        json!({ "Options": {
            "com.docker.network.bridge.name": bridge,
            "com.docker.network.bridge.enable_icc": icc,
        }})
    }

    #[test]
    fn it_is_made_once_and_never_one_that_is_open() {
        let effects = |status, body: &Value| effects(SessionNetwork.judge(&found(status, body)));
        assert_eq!(effects(404, &json!({})), ["make it, with the addresses 10.219.76.0/22"]);
        assert!(effects(200, &made("convocate0", "false")).is_empty());
        let told = "the Docker network convocate lets its containers reach each other";
        assert_eq!(effects(200, &made("convocate0", "true")), [told]);
        assert_eq!(effects(200, &json!({})), ["the Docker network convocate has another bridge"]);
        assert_eq!(effects(500, &json!("x")), ["docker: 500: \"x\""]);
    }

    #[test]
    fn it_is_removed_if_it_is_there() {
        let effects = |status| effects(NoSessionNetwork.judge(&found(status, &json!({}))));
        assert!(effects(404).is_empty());
        assert_eq!(effects(200), ["remove it"]);
    }
}
