//! Goal: a unit of systemd, as it is loaded, at the next boot and now.
//!
//! A service that runs is restarted when something that it was started from is newer than its
//! start: its file, its program, its configuration. That is found by looking, so a run that was cut
//! short between a change and the restart is made good by the next.

use std::path::PathBuf;

use crate::base::time::Wall;
use crate::limits::{PROVISION_OUTPUT_LINES_SHOWN, PROVISION_UNIT_TIMEOUT};
use crate::provision::order::{Action, Answer, Command, Entry, Question};
use crate::provision::step::{Change, Goal, StepVerdict};

/// A unit that is loaded as its file is, and active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Its name, with its kind: `convocate-agent.service`.
    pub(crate) name: String,
    /// Whether it is started at boot by itself (`systemctl enable`).
    pub(crate) is_enabled: bool,
    /// What it was started from: newer ones restart it.
    pub(crate) made_from: Vec<PathBuf>,
}

/// What systemd says about a unit.
#[derive(Default)]
struct UnitProperties<'a> {
    load: &'a str,
    active: &'a str,
    file: &'a str,
    needs_reload: bool,
    /// `None` if it has never been active.
    active_since: Option<Wall>,
}

impl Goal for Unit {
    fn questions(&self) -> Vec<Question> {
        let show = Command::new("systemctl", ["show", "--timestamp=us+utc"])
            .with(["--property", "LoadState,ActiveState,UnitFileState"])
            .with(["--property", "NeedDaemonReload,ActiveEnterTimestamp", &self.name]);
        let looks = self.made_from.iter().cloned().map(Question::Look);
        std::iter::once(Question::Run(show)).chain(looks).collect()
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let [Answer::Ran(ran), looks @ ..] = answers else { return StepVerdict::mismatch() };
        if !ran.is_success() {
            let what = format!("systemctl {}", ran.end);
            return StepVerdict::refuse(what, "hosts of a cluster run systemd");
        }
        let properties = UnitProperties::read(&ran.output);
        let mut change = Change::default();
        if properties.load != "loaded" || properties.needs_reload {
            let command = Command::new("systemctl", ["daemon-reload"]);
            change.run("let systemd read its units again", command);
        }
        if self.is_enabled && !["enabled", "static", "alias"].contains(&properties.file) {
            let command = Command::new("systemctl", ["enable", "--quiet", &self.name]);
            change.run("start it at boot", command);
        }
        let job =
            |verb| Command::new("systemctl", [verb, &self.name]).within(PROVISION_UNIT_TIMEOUT);
        if properties.active != "active" {
            // A unit that has failed too often is not started again before it is forgiven.
            change.run("start it", job("restart"));
        } else if let Some(newer) = self.newer(&properties, looks) {
            // Many enrolments one after the other are no service that fails at its start.
            let forgive = Command::new("systemctl", ["reset-failed", &self.name]);
            change.actions.push(Action::Run(forgive));
            change.run(format!("restart it, for {} is newer", newer.display()), job("restart"));
        }
        StepVerdict::of(change)
    }

    /// What the unit itself said last.
    fn examination(&self) -> Option<Question> {
        let lines = PROVISION_OUTPUT_LINES_SHOWN.to_string();
        let command = Command::new("journalctl", ["--no-pager", "--output", "cat"]);
        Some(Question::Run(command.with(["--lines", &lines, "--unit", &self.name])))
    }
}

impl Unit {
    /// What of that which it was started from is newer than its start.
    fn newer(&self, properties: &UnitProperties<'_>, looks: &[Answer]) -> Option<&PathBuf> {
        let since = properties.active_since?;
        let is_newer = |answer: &Answer| match answer {
            Answer::Looked(Entry::File { seen, .. } | Entry::Directory(seen)) => {
                seen.changed_at > since
            }
            _ => false,
        };
        self.made_from.iter().zip(looks).find(|(_, answer)| is_newer(answer)).map(|(path, _)| path)
    }
}

impl<'a> UnitProperties<'a> {
    fn read(text: &'a str) -> UnitProperties<'a> {
        let mut properties = UnitProperties::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match name {
                "LoadState" => properties.load = value,
                "ActiveState" => properties.active = value,
                "UnitFileState" => properties.file = value,
                "NeedDaemonReload" => properties.needs_reload = value == "yes",
                "ActiveEnterTimestamp" => {
                    properties.active_since = time(value);
                }
                _ => {}
            }
        }
        properties
    }
}

/// A time as systemd tells it: `Mon 2026-11-23 01:54:05.117195 UTC`. A second is too coarse: what
/// is written right behind a start is newer than it.
fn time(text: &str) -> Option<Wall> {
    let mut words = text.split(' ').skip(1);
    let (date, time) = (words.next()?, words.next()?);
    Wall::parse_rfc3339(&format!("{date}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::goal::testing::{ran, seen};

    fn service() -> Unit {
        let made_from = vec!["/u".into(), "/b".into()];
        Unit { name: "x.service".into(), is_enabled: true, made_from }
    }

    fn file(seconds: i64) -> Answer {
        let seen = seen(0o644, Wall::new(seconds, 500_000_000));
        Answer::Looked(Entry::File { bytes: Vec::new(), seen })
    }

    fn effects(output: &str, ages: [i64; 2]) -> Vec<String> {
        match service().judge(&[ran(0, output), file(ages[0]), file(ages[1])]) {
            StepVerdict::Differs(change) => change.effects,
            other => vec![format!("{other:?}")],
        }
    }

    const RUNS: &str = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\
                        NeedDaemonReload=no\n\
                        ActiveEnterTimestamp=Thu 1970-01-01 00:01:40.600000 UTC\n";

    #[test]
    fn what_runs_as_its_files_are_is_left_alone() {
        assert_eq!(effects(RUNS, [100, 99]), ["Holds"]);
        assert_eq!(effects(RUNS, [100, 101]), ["restart it, for /b is newer"]);
        // Half a second decides: what both hosts' parts write follows a restart at once.
        let earlier = RUNS.replace("40.600000", "40.400000");
        assert_eq!(effects(&earlier, [99, 100]), ["restart it, for /b is newer"]);
    }

    #[test]
    fn a_new_unit_is_read_enabled_and_started() {
        let new = "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n\
                   NeedDaemonReload=no\nActiveEnterTimestamp=\n";
        let wanted = ["let systemd read its units again", "start it at boot", "start it"];
        assert_eq!(effects(new, [1, 1]), wanted);
    }

    #[test]
    fn a_changed_file_is_read_before_the_restart() {
        let stale = RUNS.replace("Reload=no", "Reload=yes");
        let wanted = ["let systemd read its units again", "restart it, for /u is newer"];
        assert_eq!(effects(&stale, [200, 1]), wanted);
        let failed = RUNS.replace("ActiveState=active", "ActiveState=failed");
        assert_eq!(effects(&failed, [1, 1]), ["start it"]);
    }
}
