//! A program in a session's container, beside the session's command: create, start, look.
//!
//! Its outputs are a stream that the driver reads on a connection of its own. When the stream has
//! ended, or is not waited for any longer, the Engine is asked how the program ended.

use std::time::Duration;

use super::description::{HOME, Host, container_name};
use super::{Reply, Step};
use crate::agent::environment::SESSION_ENV;
use crate::agent::work::{Done, ExecPlan, Exited, WorkError};
use crate::docker::call::{self, ExecConfig};
use crate::docker::outputs::Outputs;
use crate::docker::{DockerError, DockerRequest};

/// What the session's own command has in its environment, too (`image/entrypoint.sh`).
const USER_ENV: [(&str, &str); 4] =
    [("HOME", HOME), ("USER", "claude"), ("LOGNAME", "claude"), ("SHELL", "/bin/bash")];

/// Waits for an answer.
#[derive(Debug)]
pub enum Exec {
    /// Whether the program is prepared.
    Creating { outputs: Outputs, patience: Duration },
    /// What it says, with [`Exec::read`]; a refusal comes as an answer.
    Running { exec: String, outputs: Outputs, patience: Duration },
    /// How it ended.
    Looking(Outputs),
}

impl Exec {
    pub(crate) fn begin(plan: &ExecPlan, host: &Host) -> (Exec, DockerRequest) {
        let own = plan.env.iter().map(|(name, value)| (*name, value.as_str()));
        let env = USER_ENV.into_iter().chain(SESSION_ENV).chain(own);
        let env: Vec<String> = env.map(|(name, value)| format!("{name}={value}")).collect();
        let command: Vec<&str> = plan.argv.iter().map(String::as_str).collect();
        let user = host.user(plan.uid);
        let exec = ExecConfig {
            user: &user,
            command: &command,
            env: &env,
            stdin: false,
            directory: Some(HOME),
        };
        let outputs = Outputs::new(plan.output_bytes_max);
        let exec_state = Exec::Creating { outputs, patience: plan.patience };
        (exec_state, call::exec_create(&container_name(plan.id), &exec))
    }

    pub(crate) fn step(self, reply: Reply) -> Step<Exec> {
        match self {
            Exec::Creating { outputs, patience } => {
                match reply.and_then(|response| response.created()) {
                    Ok(exec) => {
                        let request = call::exec_start_piped(&exec);
                        Step::Stream(Exec::Running { exec, outputs, patience }, request)
                    }
                    Err(error) => Step::failed(error),
                }
            }
            Exec::Running { .. } => {
                let refused = reply.and_then(|response| response.accepted()).err();
                let silent = || DockerError::Unexpected("the program's outputs".to_owned());
                Step::failed(refused.unwrap_or_else(silent))
            }
            Exec::Looking(Outputs { output, errors, .. }) => {
                Step::Done(match reply.and_then(|response| response.exec()) {
                    Ok(exec) => match exec.exit_code.filter(|_| !exec.running) {
                        Some(status) => Ok(Done::Exited(Exited { status, output, errors })),
                        None => Err(WorkError::NotEnded),
                    },
                    Err(error) => Err(error.into()),
                })
            }
        }
    }

    /// How long its stream may take.
    pub(crate) fn patience(&self) -> Duration {
        match self {
            Exec::Creating { patience, .. } | Exec::Running { patience, .. } => *patience,
            Exec::Looking(_) => Duration::ZERO,
        }
    }

    /// Takes what the program has said, all of it.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), DockerError> {
        match self {
            Exec::Running { outputs, .. } => outputs.read(bytes),
            Exec::Creating { .. } | Exec::Looking(_) => Ok(()),
        }
    }

    /// The stream has ended, or is not waited for: asks how the program ended.
    pub(crate) fn look(self) -> Step<Exec> {
        match self {
            Exec::Running { exec, outputs, .. } => {
                Step::Call(Exec::Looking(outputs), call::exec_inspect(&exec))
            }
            Exec::Creating { .. } | Exec::Looking(_) => Step::Done(Err(WorkError::Mismatch)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::description::tests::{ID, host, id};
    use super::super::script::reply;
    use super::*;
    use crate::agent::work::Outcome;
    use crate::rpc::env::SessionEnv;

    fn plan() -> ExecPlan {
        let argv = ["ls", "-l"].map(str::to_owned).to_vec();
        let env = vec![("TEXT", "a\nb".to_owned())];
        let patience = Duration::from_secs(9);
        let session_env = SessionEnv::default();
        ExecPlan { id: id(), uid: Some(7), argv, env, session_env, output_bytes_max: 4, patience }
    }

    fn running() -> Exec {
        let (exec, _) = Exec::begin(&plan(), &host());
        match exec.step(reply(201, r#"{"Id":"e0"}"#)) {
            Step::Stream(exec, request) => {
                assert_eq!(request.target, "/exec/e0/start");
                exec
            }
            other => panic!("{other:?}"),
        }
    }

    fn done(step: Step<Exec>) -> Outcome {
        match step {
            Step::Done(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_runs_as_the_sessions_user_in_its_home_with_pipes() {
        let (_, request) = Exec::begin(&plan(), &host());
        assert_eq!(request.target, format!("/containers/convocate-session-{ID}/exec"));
        let body: Value = serde_json::from_slice(&request.body.unwrap().1).unwrap();
        assert_eq!((&body["Cmd"], &body["User"]), (&json!(["ls", "-l"]), &json!("7:7")));
        assert_eq!((&body["Tty"], &body["AttachStdin"]), (&json!(false), &json!(false)));
        assert_eq!(body["WorkingDir"], "/home/claude");
        for variable in ["HOME=/home/claude", "COLORTERM=truecolor", "TEXT=a\nb"] {
            assert!(body["Env"].as_array().unwrap().contains(&json!(variable)), "{body}");
        }
    }

    #[test]
    fn what_it_said_and_how_it_ended() {
        let mut exec = running();
        exec.read(b"\x01\0\0\0\0\0\0\x06output\x02\0\0\0\0\0\0\x01!").unwrap();
        let Step::Call(exec, request) = exec.look() else { panic!("no call") };
        assert_eq!(request.target, "/exec/e0/json");
        let outcome = done(exec.step(reply(200, r#"{"Running":false,"ExitCode":3}"#)));
        let Ok(Done::Exited(Exited { status, output, errors })) = outcome else { panic!() };
        assert_eq!((status, &output.bytes[..], output.is_cut), (3, &b"outp"[..], true));
        assert_eq!(errors.bytes, b"!");
    }

    #[test]
    fn what_cannot_run_or_does_not_end_says_so() {
        let refusal = || reply(409, r#"{"message":"Container x is not running"}"#);
        let refused = Err(WorkError::Docker("Container x is not running".to_owned()));
        assert_eq!(done(Exec::begin(&plan(), &host()).0.step(refusal())), refused);
        assert_eq!(done(running().step(refusal())), refused);
        let Step::Call(exec, _) = running().look() else { panic!("no call") };
        let runs = reply(200, r#"{"Running":true,"ExitCode":null}"#);
        assert_eq!(done(exec.step(runs)), Err(WorkError::NotEnded));
    }
}
