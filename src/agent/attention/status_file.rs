//! A status file of the Claude CLI, `~/.claude/sessions/PID.json`: what it says, bounded, and what
//! of it is believed.
//!
//! The file belongs to the session and may say anything. It counts only with a process that is
//! there: the same number in the session's own space of numbers, started at the same tick. A file
//! of a program that was killed stays with its last words, and its number may be somebody else's.

use serde_json::Value;

use crate::base::time::Wall;
use crate::limits::STATUS_WORD_BYTES_MAX;

/// What one file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatusFile {
    pub(crate) program: Program,
    /// The space of process numbers that it means, as the kernel names it (`pid:[4026531836]`).
    pub(crate) domain: Option<String>,
    /// What it is doing; `None` in its first moments.
    pub(super) status: Option<String>,
    pub(super) waiting_for: Option<String>,
    /// Milliseconds since 1970, as are the next.
    pub(super) started_at: u64,
    pub(super) status_since: Option<u64>,
    /// Whether a person sits before it: it is no helper that another program has started.
    is_interactive: bool,
}

/// Which program a file is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Program {
    /// Its number in the session.
    pub(crate) pid: u32,
    /// When it started, in ticks since the boot (proc_pid_stat(5), field 22).
    pub(crate) start: u64,
}

impl StatusFile {
    /// Reads a file that is named after process `pid`. `None` if it is none: half written, of
    /// another form, or about another process than its name says.
    pub(crate) fn parse(pid: u32, bytes: &[u8]) -> Option<StatusFile> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let word = |name: &str| match value.get(name) {
            None | Some(Value::Null) => Some(None),
            Some(Value::String(text)) if text.len() <= STATUS_WORD_BYTES_MAX => {
                Some(Some(text.clone()))
            }
            Some(_) => None,
        };
        let start = value.get("procStart")?;
        let start = start.as_str().map_or_else(|| start.as_u64(), |text| text.parse().ok())?;
        if value.get("pid")?.as_u64()? != u64::from(pid) {
            return None;
        }
        let domain = word("pidDomain")?;
        Some(StatusFile {
            program: Program { pid, start },
            domain: domain.and_then(|it| it.rfind("pid:[").map(|at| it[at..].to_owned())),
            status: word("status")?,
            waiting_for: word("waitingFor")?,
            started_at: value.get("startedAt").and_then(Value::as_u64).unwrap_or_default(),
            status_since: value.get("statusUpdatedAt").and_then(Value::as_u64),
            is_interactive: word("kind")?.is_none_or(|kind| kind == "interactive"),
        })
    }

    /// Whether it says anything that counts.
    pub(super) fn counts(&self) -> bool {
        self.is_interactive && self.status.is_some()
    }

    /// Since when it is so by its own words, if that can be: a time in the future cannot.
    pub(super) fn since(&self, now: Wall) -> Option<Wall> {
        let millis = self.status_since?;
        let seconds = i64::try_from(millis / 1000).ok()?;
        let nanos = u32::try_from(millis % 1000).ok()? * 1_000_000;
        Some(Wall::new(seconds, nanos)).filter(|since| *since <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = r#"{"pid":7798,"sessionId":"c84084f0","cwd":"/x","startedAt":1795966453861,
        "procStart":"38586","version":"2.1.332","peerProtocol":1,"kind":"interactive",
        "pidDomain":"linux:3d1219c7c4c5404aaa1f6d2a48adfda4:pid:[4026531836]","name":"x-20",
        "status":"waiting","waitingFor":"permission prompt","updatedAt":1795966454000,
        "statusUpdatedAt":1795966454001}"#;

    #[test]
    fn the_real_one_is_read() {
        let file = StatusFile::parse(7798, REAL.as_bytes()).unwrap();
        assert_eq!(file.program, Program { pid: 7798, start: 38586 });
        assert_eq!(file.domain.as_deref(), Some("pid:[4026531836]"));
        assert_eq!(file.status.as_deref(), Some("waiting"));
        assert_eq!(file.waiting_for.as_deref(), Some("permission prompt"));
        assert!(file.counts());
        let said = Wall::new(1_795_966_454, 1_000_000);
        assert_eq!(file.since(Wall::new(1_795_966_455, 0)), Some(said));
        assert_eq!(file.since(Wall::new(1_795_966_454, 0)), None, "that is in the future");
    }

    #[test]
    fn every_cut_is_none_and_so_is_another_process() {
        for cut in 0..REAL.len() {
            assert_eq!(StatusFile::parse(7798, &REAL.as_bytes()[..cut]), None, "{cut}");
        }
        assert_eq!(StatusFile::parse(7799, REAL.as_bytes()), None);
    }

    #[test]
    fn every_field_may_lie() {
        let long = "x".repeat(STATUS_WORD_BYTES_MAX + 1);
        for bad in [
            "null",
            "[]",
            "{}",
            r#"{"pid":1}"#,
            r#"{"pid":-1,"procStart":"1"}"#,
            r#"{"pid":1.5,"procStart":"1"}"#,
            r#"{"pid":1,"procStart":"-1"}"#,
            r#"{"pid":1,"procStart":[]}"#,
            r#"{"pid":1,"procStart":"1","status":7}"#,
            r#"{"pid":1,"procStart":"1","kind":{}}"#,
            r#"{"pid":1,"procStart":"99999999999999999999999"}"#,
            &format!(r#"{{"pid":1,"procStart":"1","status":"{long}"}}"#),
            "\u{0}",
        ] {
            assert_eq!(StatusFile::parse(1, bad.as_bytes()), None, "{bad}");
        }
        let sparse = StatusFile::parse(1, br#"{"pid":1,"procStart":7,"startedAt":"soon"}"#);
        let sparse = sparse.unwrap();
        assert!(!sparse.counts(), "it has no status yet");
        let far = format!(r#"{{"pid":1,"procStart":1,"statusUpdatedAt":{}}}"#, u64::MAX);
        let far = StatusFile::parse(1, far.as_bytes()).unwrap();
        assert_eq!(far.since(Wall::new(1_795_966_454, 0)), None);
        let helper = br#"{"pid":1,"procStart":1,"status":"busy","kind":"bg"}"#;
        assert!(!StatusFile::parse(1, helper).unwrap().counts());
    }
}
