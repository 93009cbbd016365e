//! Driving a session without a terminal: what runs in it for a call, and what its end means.
//!
//! A screen is shown and a text is pasted by tmux, in a script that is constant text; what comes
//! from outside is an argument or in the environment. A command runs under `timeout`, so that its
//! end does not depend on this agent.

use std::time::Duration;

use serde_json::{Value, json};

use super::config::RuntimeKind;
use super::docker::description::open_network;
use super::host::socket_name;
use super::last_words::last_of;
use super::work::{Done, ExecPlan, Exited, Outcome, WorkError};
use crate::base::text::printable;
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::limits::{
    EXEC_KILL_AFTER_SECONDS, EXEC_MARGIN, EXEC_OUTPUT_BYTES_MAX, SCREEN_HISTORY_LINES_MAX,
    SCREEN_TEXT_BYTES_MAX, TERMINAL_ROWS_MAX, TMUX_PATIENCE,
};
use crate::rpc::drive::{Exec, Executed, HistoryLines, ScreenText, Send, encoded};
use crate::rpc::env::SessionEnv;
use crate::rpc::response::Answer;

const TMUX_OF_SESSION: &str = include_str!("drive/tmux_of_session.sh");
const SCREEN: &str = include_str!("drive/screen.sh");
const SEND: &str = include_str!("drive/send.sh");

/// The variable in which a text comes to the script.
const TEXT: &str = "CONVOCATE_TEXT";

/// What `timeout` ends with when it has ended its command, by asking or by killing.
const TIMED_OUT: [i32; 2] = [124, 137];

/// A call that runs something in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Drive {
    Screen(HistoryLines),
    Send(Send),
    Exec(Exec),
    /// As root, by our own program: the socket of its proxy, or so many for what is dialled in it.
    OpenNetwork(Option<usize>),
}

/// What of a session its plan needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) id: Uuid,
    pub(super) uid: Option<u32>,
    pub(super) runtime: RuntimeKind,
    pub(super) session_env: &'a SessionEnv,
}

impl Drive {
    /// What is to run. `number` is another one each time.
    pub(super) fn plan(&self, place: Place<'_>, number: u64) -> ExecPlan {
        let Place { id, uid, session_env, .. } = place;
        let plan = |argv, env, output_bytes_max, patience| ExecPlan {
            id,
            uid,
            argv,
            env,
            session_env: SessionEnv::default(),
            output_bytes_max,
            patience,
        };
        match self {
            Drive::Screen(lines) => {
                let lines = lines.get().to_string();
                let argv = script(place, SCREEN, &[&lines, &SCREEN_TEXT_BYTES_MAX.to_string()]);
                plan(argv, Vec::new(), SCREEN_TEXT_BYTES_MAX, TMUX_PATIENCE)
            }
            Drive::Send(send) => {
                let buffer = format!("convocate-{number}");
                let keys = send.keys.names().iter().map(String::as_str);
                let arguments: Vec<&str> = [buffer.as_str()].into_iter().chain(keys).collect();
                let argv = script(place, SEND, &arguments);
                let text = send.text.as_ref().map_or("", |text| text.as_str());
                plan(argv, vec![(TEXT, text.to_owned())], SCREEN_TEXT_BYTES_MAX, TMUX_PATIENCE)
            }
            Drive::OpenNetwork(pool) => {
                let plan =
                    plan(open_network(*pool), Vec::new(), SCREEN_TEXT_BYTES_MAX, TMUX_PATIENCE);
                ExecPlan { uid: Some(0), ..plan }
            }
            Drive::Exec(exec) => {
                let kill_after = EXEC_KILL_AFTER_SECONDS.to_string();
                let seconds = exec.seconds.get();
                let limit = ["timeout", "-k", &kill_after, &seconds.to_string()].map(str::to_owned);
                let argv = limit.into_iter().chain(exec.command.words().iter().cloned()).collect();
                let patience = Duration::from_secs((seconds + EXEC_KILL_AFTER_SECONDS).into());
                let session_env = session_env.clone();
                let plan = plan(argv, Vec::new(), EXEC_OUTPUT_BYTES_MAX, patience + EXEC_MARGIN);
                ExecPlan { session_env, ..plan }
            }
        }
    }

    /// The answer to the call, from what came of its plan. It began and ended at these times.
    pub(super) fn answer(&self, began: Mono, ended: Mono, outcome: Outcome) -> Answer {
        let exited = match outcome {
            Ok(Done::Exited(exited)) => exited,
            Ok(_) => return Err(WorkError::Mismatch.to_string()),
            Err(error) => return Err(error.to_string()),
        };
        match self {
            Drive::Screen(lines) => {
                let text = String::from_utf8_lossy(succeeded(&exited)?);
                let rows = usize::from(TERMINAL_ROWS_MAX) + lines.get() as usize;
                // A beginning that is cut off is less than a line.
                let whole = match text.len() >= SCREEN_TEXT_BYTES_MAX {
                    true => text.split_once('\n').map_or("", |(_, rest)| rest),
                    false => &text,
                };
                let screen = last_of(whole, rows, SCREEN_TEXT_BYTES_MAX);
                value(&ScreenText { running: true, screen, ended: None })
            }
            Drive::Send(_) => succeeded(&exited).map(|_| json!({ "taken": true })),
            Drive::OpenNetwork(_) => succeeded(&exited).map(|_| Value::Null),
            Drive::Exec(exec) => {
                let limit = Duration::from_secs(exec.seconds.get().into());
                let timed_out = TIMED_OUT.contains(&exited.status) && ended.since(began) >= limit;
                value(&Executed {
                    exit_status: exited.status,
                    stdout: encoded(&exited.output.bytes),
                    stderr: encoded(&exited.errors.bytes),
                    stdout_cut: exited.output.is_cut,
                    stderr_cut: exited.errors.is_cut,
                    timed_out,
                })
            }
        }
    }
}

const _: () = assert!(SCREEN_HISTORY_LINES_MAX as usize + TERMINAL_ROWS_MAX as usize <= 1 << 16);

fn script(place: Place<'_>, text: &str, arguments: &[&str]) -> Vec<String> {
    let socket = match place.runtime {
        RuntimeKind::Host => socket_name(place.id),
        RuntimeKind::Docker => String::new(),
    };
    let first = ["sh", "-c", &format!("{TMUX_OF_SESSION}{text}"), "drive", &socket];
    first.into_iter().chain(arguments.iter().copied()).map(str::to_owned).collect()
}

/// What a script has printed, or what tmux complained about.
fn succeeded(exited: &Exited) -> Result<&[u8], String> {
    if exited.status == 0 {
        return Ok(&exited.output.bytes);
    }
    const COMPLAINT_CHARS_MAX: usize = 400;
    let said = String::from_utf8_lossy(&exited.errors.bytes);
    let said: String = printable(said.trim()).chars().take(COMPLAINT_CHARS_MAX).collect();
    Err(match said.is_empty() {
        true => format!("tmux: ended with status {}", exited.status),
        false => format!("tmux: {said}"),
    })
}

fn value(result: &impl serde::Serialize) -> Result<Value, String> {
    Ok(serde_json::to_value(result).expect("string keys and finite numbers only"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::collected::Collected;
    use crate::rpc::drive::{ExecCommand, ExecSeconds, Keys, PastedText};

    const ID: &str = "01234567-89ab-4def-8123-456789abcdef";

    fn place(runtime: RuntimeKind) -> Place<'static> {
        static NONE: std::sync::LazyLock<SessionEnv> =
            std::sync::LazyLock::new(SessionEnv::default);
        Place { id: Uuid::parse(ID).unwrap(), uid: Some(7), runtime, session_env: &NONE }
    }

    fn exited(status: i32, output: &[u8], errors: &str) -> Outcome {
        let collected = |bytes: &[u8]| Collected { bytes: bytes.to_vec(), is_cut: false };
        let (output, errors) = (collected(output), collected(errors.as_bytes()));
        Ok(Done::Exited(Exited { status, output, errors }))
    }

    fn answer(drive: &Drive, outcome: Outcome) -> Answer {
        drive.answer(Mono::ZERO, Mono::ZERO + Duration::from_secs(2), outcome)
    }

    fn screen() -> Drive {
        Drive::Screen(HistoryLines::new(3).unwrap())
    }

    fn send() -> Send {
        Send {
            id: Uuid::parse(ID).unwrap(),
            text: Some(PastedText::new("$(id)\n".to_owned()).unwrap()),
            keys: Keys::parse("C-c Enter").unwrap(),
            answer: false,
        }
    }

    #[test]
    fn what_comes_from_outside_is_no_part_of_a_script() {
        let text = format!("{TMUX_OF_SESSION}{SEND}");
        let plan = Drive::Send(send()).plan(place(RuntimeKind::Docker), 9);
        assert_eq!(plan.argv, ["sh", "-c", &text, "drive", "", "convocate-9", "C-c", "Enter"]);
        assert_eq!((plan.env, plan.uid), (vec![(TEXT, "$(id)\n".to_owned())], Some(7)));
        let plan = screen().plan(place(RuntimeKind::Host), 0);
        assert_eq!(plan.argv[4..6], [format!("convocate-{ID}"), "3".to_owned()]);
        let command = ExecCommand::new(vec!["-x".to_owned(), "a b".to_owned()]).unwrap();
        let (id, seconds) = (plan.id, ExecSeconds::new(60).unwrap());
        let plan = Drive::Exec(Exec { id, command, seconds }).plan(place(RuntimeKind::Host), 0);
        assert_eq!(plan.argv, ["timeout", "-k", "5", "60", "-x", "a b"]);
    }

    #[test]
    fn a_screen_is_lines_that_move_no_cursor() {
        let told = answer(&screen(), exited(0, b"$ \xff\x1b[2J\ta \n\n \n", ""));
        let shown = "$ \u{fffd}\\u{1b}[2J a";
        assert_eq!(told, Ok(json!({ "running": true, "screen": shown })));
        let refused = answer(&screen(), exited(1, b"", "can't find session\u{1b}\n"));
        assert_eq!(refused, Err("tmux: can't find session\\u{1b}".to_owned()));
        assert_eq!(
            answer(&screen(), exited(3, b"", "")),
            Err("tmux: ended with status 3".to_owned())
        );
        assert!(answer(&screen(), Ok(Done::Done)).is_err());
        let long = "x".repeat(100).repeat(SCREEN_TEXT_BYTES_MAX / 100 + 1) + "\nlast";
        let cut = &long.as_bytes()[long.len() - SCREEN_TEXT_BYTES_MAX..];
        let told = answer(&screen(), exited(0, cut, "")).unwrap();
        assert_eq!(told["screen"], "last");
    }

    #[test]
    fn a_command_that_was_ended_for_its_time_is_told_so() {
        let command = ExecCommand::new(vec!["x".to_owned()]).unwrap();
        let exec = |seconds| {
            let seconds = ExecSeconds::new(seconds).unwrap();
            Drive::Exec(Exec { id: send().id, command: command.clone(), seconds })
        };
        for (seconds, status, is_told) in
            [(2, 124, true), (2, 137, true), (2, 0, false), (3, 124, false)]
        {
            let told = answer(&exec(seconds), exited(status, b"o\0", "e")).unwrap();
            assert_eq!(told["timed_out"], is_told, "{seconds} {status}");
            assert_eq!((&told["stdout"], &told["exit_status"]), (&json!("bwA="), &json!(status)));
        }
    }

    #[test]
    fn shells_read_the_scripts() {
        for text in [SCREEN, SEND] {
            let text = format!("{TMUX_OF_SESSION}{text}");
            let check = std::process::Command::new("sh").args(["-n", "-c", &text]).status();
            assert!(check.unwrap().success());
        }
    }
}
