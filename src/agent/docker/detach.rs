//! Terminals leave a session: all of them, or the one on a named tty inside the container.
//!
//! Closing the stream of a terminal does not end the tmux client behind it; only tmux does. So this
//! runs `tmux detach-client` in the container and reads how it ended.

use super::description::container_name;
use super::{Reply, Step};
use crate::agent::work::{Done, WorkError};
use crate::base::uuid::Uuid;
use crate::docker::call::{self, ExecConfig, ExecInspect};
use crate::docker::{DockerError, DockerRequest};

/// The session is that of the note in `tmux.conf`, or of the name that an earlier image gave it.
const DETACH_ALL: &str = r#"session=$(tmux -N show-options -sqv @convocate-session) || exit
exec tmux -N detach-client -s "${session:-=claude}""#;

/// Waits for an answer.
#[derive(Debug)]
pub enum Detach {
    /// Whether the process is prepared.
    Creating,
    /// What it says until it ends.
    Running { exec: String },
    /// How it ended.
    Looking { output: String },
}

impl Detach {
    /// Detaches every terminal of a session.
    pub(crate) fn all_of(id: Uuid, user: &str) -> (Detach, DockerRequest) {
        Detach::begin(id, user, &["sh", "-c", DETACH_ALL])
    }

    /// Detaches the terminal on one tty, as it is called inside the container.
    pub(crate) fn one_of(id: Uuid, user: &str, tty: &str) -> (Detach, DockerRequest) {
        Detach::begin(id, user, &["tmux", "-N", "detach-client", "-t", tty])
    }

    fn begin(id: Uuid, user: &str, command: &[&str]) -> (Detach, DockerRequest) {
        let exec = ExecConfig { user, command, env: &[], stdin: false, directory: None };
        (Detach::Creating, call::exec_create(&container_name(id), &exec))
    }

    pub(crate) fn step(self, reply: Reply) -> Step<Detach> {
        match self {
            Detach::Creating => match reply.and_then(|response| response.created()) {
                Ok(exec) => {
                    let request = call::exec_start(&exec);
                    Step::Call(Detach::Running { exec }, request)
                }
                Err(error) => ended(error),
            },
            Detach::Running { exec } => match reply.and_then(|response| response.accepted()) {
                Ok(response) => {
                    let output = String::from_utf8_lossy(&response.body).trim().to_owned();
                    Step::Call(Detach::Looking { output }, call::exec_inspect(&exec))
                }
                Err(error) => ended(error),
            },
            Detach::Looking { output } => match reply.and_then(|response| response.exec()) {
                Ok(exec) => looked(&exec, output),
                Err(error) => ended(error),
            },
        }
    }
}

/// No terminal is attached to a container that is not there (404) or does not run (409).
fn ended(error: DockerError) -> Step<Detach> {
    match error.is_not_found() || error.is_conflict() {
        true => Step::Done(Ok(Done::Done)),
        false => Step::failed(error),
    }
}

fn looked(exec: &ExecInspect, output: String) -> Step<Detach> {
    match exec.exit_code {
        Some(0) => Step::Done(Ok(Done::Done)),
        code if output.is_empty() => {
            let code = code.unwrap_or(-1);
            Step::Done(Err(WorkError::Tmux(format!("detach-client ended with status {code}"))))
        }
        // Nobody is attached.
        _ if output.contains("no current client") => Step::Done(Ok(Done::Done)),
        _ => Step::Done(Err(WorkError::Tmux(output))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::description::tests::{ID, host, id};
    use super::super::script::{reply, run};
    use super::super::{Procedure, RuntimeWork};
    use super::*;

    fn begin() -> (Procedure, DockerRequest) {
        Procedure::begin(RuntimeWork::Detach { id: id(), uid: None }, &host())
    }

    fn exec(code: &str) -> Reply {
        reply(200, &format!("{{\"Running\":false,\"ExitCode\":{code}}}"))
    }

    #[test]
    fn create_run_look() {
        let created = reply(201, r#"{"Id":"e0"}"#);
        let (calls, outcome) = run(begin(), vec![created, reply(200, ""), exec("0")]);
        assert_eq!(calls[0], format!("Post /containers/convocate-session-{ID}/exec"));
        assert_eq!(calls[1..], ["Post /exec/e0/start", "Get /exec/e0/json"]);
        assert_eq!(outcome, Ok(Done::Done));
    }

    #[test]
    fn a_container_that_does_not_run_has_no_terminals() {
        for status in [404, 409] {
            assert_eq!(run(begin(), vec![reply(status, "")]).1, Ok(Done::Done));
        }
    }

    #[test]
    fn where_nobody_is_attached_all_are_detached() {
        let created = reply(201, r#"{"Id":"e0"}"#);
        let replies = vec![created, reply(200, "no current client\r\n"), exec("1")];
        assert_eq!(run(begin(), replies).1, Ok(Done::Done));
    }

    #[test]
    fn tmux_has_its_own_words() {
        for (output, code, words) in [
            ("can't find client: /dev/pts/9\r\n", "1", "tmux: can't find client: /dev/pts/9"),
            ("", "127", "tmux: detach-client ended with status 127"),
            ("", "null", "tmux: detach-client ended with status -1"),
        ] {
            let created = reply(201, r#"{"Id":"e0"}"#);
            let (_, outcome) = run(begin(), vec![created, reply(200, output), exec(code)]);
            assert_eq!(outcome.unwrap_err().to_string(), words);
        }
    }
}
