//! A program that tells its state in a file, as the Claude CLI does; the test writes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// One program: a process that sleeps, and the file about it.
pub struct Program {
    child: Child,
    sessions: PathBuf,
    start: String,
    started_at: u64,
}

pub fn millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_millis()).expect("it is before the year 500,000,000")
}

/// The directory of status files in a session's home.
pub fn sessions(home: &Path) -> PathBuf {
    home.join(".claude/sessions")
}

impl Program {
    /// Starts in a session's home.
    pub fn start(home: &Path) -> Program {
        let child = Command::new("sleep").arg("1000").spawn().expect("sleep is there");
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it runs");
        let fields: Vec<&str> =
            stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let sessions = sessions(home);
        fs::create_dir_all(&sessions).expect("the home is ours");
        Program { child, sessions, start: fields[19].to_owned(), started_at: millis() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn file(&self) -> PathBuf {
        self.sessions.join(format!("{}.json", self.pid()))
    }

    /// What it would write: `waiting/permission prompt`, say.
    pub fn text(&self, status: &str) -> Value {
        let space = fs::read_link("/proc/self/ns/pid").expect("this process lives somewhere");
        let now = millis();
        let mut value = json!({
            "pid": self.pid(), "sessionId": "x", "cwd": "/", "startedAt": self.started_at,
            "procStart": self.start, "version": "2.1.332", "kind": "interactive",
            "pidDomain": format!("linux:0:{}", space.display()), "name": "n",
            "updatedAt": now, "statusUpdatedAt": now,
        });
        let (status, waits) = status.split_once('/').unzip();
        if let Some(waits) = waits.filter(|waits| !waits.is_empty()) {
            value["waitingFor"] = json!(waits);
        }
        value["status"] = json!(status);
        value
    }

    pub fn tell(&self, status: &str) {
        fs::write(self.file(), self.text(status).to_string()).expect("the home is ours");
    }

    /// Ends without a word, as by `kill -9`.
    pub fn kill(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
