//! `convocate events --json`, read as it comes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Cluster;
use super::support::process::{CONVOCATE, command};
use super::support::wait::PATIENCE;

/// What the operator is told of attention.
pub struct Events {
    child: Child,
    lines: Receiver<(Instant, Value)>,
}

impl Events {
    /// Listens from now on.
    pub fn follow(cluster: &Cluster) -> Events {
        let root = &cluster.agent.files.root;
        let mut call = command(root, CONVOCATE);
        call.args(["events", "--json", "--since", "0", "--root"]).arg(root.dir());
        let mut child = call.stdout(Stdio::piped()).spawn().expect("the client starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let value: Value = serde_json::from_str(&line).expect("JSON");
                let event = value["event"].clone();
                if event["type"] == "session.attention"
                    && sender.send((Instant::now(), event)).is_err()
                {
                    return;
                }
            }
        });
        Events { child, lines }
    }

    /// The next one, and when it came: the session, the state (empty if nothing is told any more)
    /// and the reason.
    #[track_caller]
    pub fn next(&self) -> (Instant, [String; 3]) {
        let next = self.next_within(PATIENCE);
        next.expect("an attention is told in time")
    }

    pub fn next_within(&self, span: Duration) -> Option<(Instant, [String; 3])> {
        let (at, event) = self.lines.recv_timeout(span).ok()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let data = &event["data"];
        Some((at, [text(&event["session_id"]), text(&data["state"]), text(&data["reason"])]))
    }

    /// Reads until this state of this session is told; all states on the way are given.
    #[track_caller]
    pub fn until(&self, session: &str, state: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let Some((_, [id, told, reason])) = self.next_within(PATIENCE) else {
                panic!("{state} was not told; but {seen:?}");
            };
            if id == session {
                seen.push(format!("{told}/{reason}"));
                if told == state {
                    return seen;
                }
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
